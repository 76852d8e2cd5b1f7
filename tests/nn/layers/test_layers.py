"""Eq. 5 in every layer: forward derivative, backward chain, value on hundreds of random networks.

Each network is held against the dense reference of `reference.py` and against the complex step, in
float64, to 1e-10 of the largest entry. The gradients of the parameters are held against the complex
step through the reference's value.
"""
import numpy as np
import pytest
from random_networks import FAMILIES, check, random_chain
from reference import STEP, close, logits_and_jacobian, trace, with_random_weights

from nn import (
    AvgPool2d,
    Conv2d,
    Flatten,
    GroupNorm,
    LayerNorm,
    Linear,
    MaxPool2d,
    Network,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)

SEEDS = 45


CASES = [(family, seed) for family in FAMILIES for seed in range(SEEDS)]


@pytest.mark.parametrize(("family", "seed"), CASES)
def test_random_networks(family, seed):
    check(*random_chain(family, seed))


def test_the_random_networks_reach_the_corners():
    """What makes the test above worth something: each unusual setting occurs.

    And the derivatives are not all zero.
    """
    seen, alive = {}, 0
    for case in CASES:
        network, x = random_chain(*case)
        alive += network.forward_derivative(x[:1]).any()
        layers = list(network.layers.values())
        for number, layer in enumerate(layers):
            kind = type(layer).__name__
            before = type(layers[number - 1]).__name__ if number else "image"
            marks = {f"{before} {kind}"}
            if any(isinstance(one, (LayerNorm, GroupNorm)) for one in layers[:number]):
                marks |= {f"shared {kind}"}  # all units have one window there
            if isinstance(layer, (Conv2d, MaxPool2d, AvgPool2d)):
                (ky, kx), (sy, sx) = layer.kernel, layer.stride
                marks |= {f"{kind} not square"} if ky != kx else set()
                marks |= {f"{kind} stride > kernel"} if sy > ky else set()
                marks |= {f"{kind} overlapping"} if sx < kx else set()
            if isinstance(layer, (MaxPool2d, AvgPool2d)):
                marks |= {f"{kind} padded"} if max(layer.padding) else set()
                marks |= {f"{kind} ceil_mode"} if layer.ceil_mode else set()
            if isinstance(layer, Conv2d):
                top = layer.margins[0][0]
                marks |= {"padding >= kernel"} if top >= layer.kernel[0] else set()
                where = "padding on the image" if before == "image" else "padding inside"
                marks |= {where} if np.any(layer.margins) else set()
                marks |= {"same"} if layer.padding == "same" else set()
                marks |= {"dilation"} if max(layer.dilation) > 1 else set()
                marks |= {"groups"} if layer.groups > 1 else set()
            for mark in marks:
                seen[mark] = seen.get(mark, 0) + 1
    wanted = [f"{kind} {word}" for kind in ("Conv2d", "MaxPool2d", "AvgPool2d")
              for word in ("not square", "stride > kernel", "overlapping")]
    wanted += [f"{kind} {word}" for kind in ("MaxPool2d", "AvgPool2d")
               for word in ("padded", "ceil_mode")]
    wanted += ["same", "dilation", "groups", "Conv2d GroupNorm", "shared Conv2d",
               "shared MaxPool2d", "shared AvgPool2d", "shared AdaptiveAvgPool2d", "shared Linear"]
    wanted += ["padding >= kernel", "padding on the image", "padding inside", "Conv2d Conv2d",
               "MaxPool2d AvgPool2d", "MaxPool2d MaxPool2d", "image Conv2d", "image MaxPool2d",
               "image AvgPool2d", "image Flatten", "image Linear", "image Tanh", "Flatten Linear",
               "Flatten ReLU"]
    assert {mark: seen.get(mark, 0) for mark in wanted if seen.get(mark, 0) < 3} == {}
    assert alive > 0.8 * len(CASES)


# Table I of LeCun et al. 1998: which of S2's maps each of C3's 16 maps sees
C3 = np.array([[row in rows for row in range(6)] for rows in (
    *[{n, (n + 1) % 6, (n + 2) % 6} for n in range(6)],
    *[{(n + k) % 6 for k in range(4)} for n in range(6)],
    {0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}, set(range(6)))])

HAND_PICKED = {
    "LeNet in small": ((1, 10, 10), lambda: [
        Conv2d(1, 3, 3), MaxPool2d(2), Tanh(), Conv2d(3, 4, 2), MaxPool2d(2), Tanh(),
        Flatten(), Linear(4, 5), Tanh(), Linear(5, 3), Softmax()]),
    "conv, conv, conv": ((2, 9, 8), lambda: [
        Conv2d(2, 3, (3, 2), 2), Conv2d(3, 2, (2, 3)), Conv2d(2, 2, 2), Flatten(), Linear(4, 2)]),
    "padded image, padded inside": ((3, 5, 4), lambda: [
        Conv2d(3, 2, 3, 1, 1), Conv2d(2, 3, 3, 2, 2), Tanh(), Conv2d(3, 2, 2, 1, 1),
        Flatten(), Linear(40, 2)]),
    "padding beyond the kernel": ((1, 3, 3), lambda: [
        Conv2d(1, 2, 2, 1, 5), Tanh(), Conv2d(2, 2, (1, 2), 3, (4, 3)), MaxPool2d(2),
        Flatten(), Linear(18, 2)]),
    "padding seen by a pool": ((1, 4, 4), lambda: [
        Conv2d(1, 2, 3, 1, 3), MaxPool2d(3, 2), AvgPool2d(2, 1), Flatten(), Linear(8, 2)]),
    "kernel as large as the image": ((2, 4, 5), lambda: [
        Conv2d(2, 6, (4, 5)), Tanh(), Conv2d(6, 3, 1)]),
    "a window as large as the image, beside it": ((1, 3, 3), lambda: [
        Conv2d(1, 2, 3, 4, 1), Tanh()]),
    "kernel 1": ((3, 3, 4), lambda: [
        Conv2d(3, 2, 1), Conv2d(2, 4, 1), ReLU(), Conv2d(4, 2, 1, 2), Flatten(), Linear(8, 3)]),
    "stride 4, kernel 2": ((1, 8, 7), lambda: [
        Conv2d(1, 2, 2, 4), Conv2d(2, 3, 1, 2), Flatten(), Linear(3, 2)]),
    "stride > kernel in a pool of a pool": ((2, 8, 8), lambda: [
        MaxPool2d(1, 3), MaxPool2d(2, 3), Flatten(), Linear(2, 2)]),
    "overlapping pools": ((2, 7, 6), lambda: [
        MaxPool2d(3, 1), AvgPool2d((2, 3), 1), MaxPool2d(2, 1), Flatten(), Linear(6, 3)]),
    "average of the image": ((1, 6, 6), lambda: [AvgPool2d(2), Flatten(), Linear(9, 2)]),
    "average of an average after a conv": ((1, 9, 9), lambda: [
        Conv2d(1, 2, 2), AvgPool2d(2), AvgPool2d((3, 2), (1, 2)), Conv2d(2, 2, 2, 1, 1),
        Flatten(), Linear(18, 2)]),
    "pool larger than 255 taps": ((1, 17, 17), lambda: [MaxPool2d(16, 1), Flatten(), Linear(4, 3)]),
    "activation first": ((2, 4, 4), lambda: [Sigmoid(), Conv2d(2, 2, 3), Flatten(), Linear(8, 2)]),
    "activation, pool, activation": ((1, 5, 5), lambda: [
        Tanh(), MaxPool2d(2, 1), Tanh(), Flatten(), Tanh(), Linear(16, 2)]),
    "flatten the image": ((2, 3, 4), lambda: [Flatten(), Linear(24, 5), Tanh(), Linear(5, 2)]),
    "flatten twice": ((2, 4, 4), lambda: [Conv2d(2, 3, 3), Flatten(), Flatten(), Linear(12, 2)]),
    "flatten without a Linear": ((2, 4, 4), lambda: [Conv2d(2, 3, 3, 1, 1), Tanh(), Flatten()]),
    "dense": ((5,), lambda: [
        Linear(5, 4), Tanh(), Linear(4, 4), ReLU(), Linear(4, 3), Softmax()]),
    "dense on (height, width)": ((3, 2), lambda: [Flatten(), Linear(6, 1), Sigmoid()]),
    "one number in, one out": ((1,), lambda: [Linear(1, 1), Tanh(), Linear(1, 1)]),
    "one pixel": ((1, 1, 1), lambda: [
        Conv2d(1, 2, 1), Tanh(), MaxPool2d(1), Flatten(), Linear(2, 2)]),
    "one row": ((2, 1, 9), lambda: [
        Conv2d(2, 3, (1, 3), (1, 2)), MaxPool2d((1, 2)), Tanh(), Flatten(), Linear(6, 2)]),
    "Linear on one position": ((1, 3, 3), lambda: [Conv2d(1, 4, 3), Tanh(), Linear(4, 2)]),
    "no flatten": ((2, 5, 4), lambda: [Conv2d(2, 3, 2), Tanh()]),
    "no flatten, softmax at the end": ((1, 4, 4), lambda: [Conv2d(1, 3, 3), Softmax()]),
    "softmax in the middle": ((2, 4, 4), lambda: [
        Conv2d(2, 3, 2), Softmax(), Conv2d(3, 2, 2), Flatten(), Linear(8, 3)]),
    "softmax first": ((3, 2, 2), lambda: [Softmax(), Flatten(), Linear(12, 2)]),
    "only a pool": ((2, 4, 4), lambda: [MaxPool2d(2)]),
    "only an output activation": ((4,), lambda: [Softmax()]),
    "LeNet-5's C3, sparse as in LeCun et al. 1998": ((6, 7, 6), lambda: [
        Conv2d(6, 16, 5, connections=C3), Tanh(), Flatten(), Linear(96, 3)]),
    "rows and columns left over": ((1, 10, 11), lambda: [
        Conv2d(1, 2, 3, 3), MaxPool2d(2, 2), Flatten(), Linear(2, 2)]),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", HAND_PICKED)
def test_hand_picked_networks(name, batch):
    image, layers = HAND_PICKED[name]
    rng = np.random.default_rng(len(name))
    check(with_random_weights(Network(layers(), image), rng), rng.normal(size=(batch, *image)))


@pytest.mark.parametrize(("family", "seed"),
                         [(family, seed) for family in FAMILIES for seed in range(8)])
def test_gradients_of_the_parameters(family, seed):
    """Σ_b v_b · logits, differentiated along random directions of every parameter on its own."""
    network, x = random_chain(family, seed)
    rng = np.random.default_rng(seed)
    logits, saved = network.forward(x)
    v, parameters = rng.normal(size=logits.shape), network.parameters()
    gradients = network.gradients(v, saved)
    assert set(gradients) == {name for name in parameters
                              if not name.endswith(("running_mean", "running_var"))}
    for name, gradient in gradients.items():
        array = parameters[name]
        assert gradient.shape == array.shape
        for direction in rng.normal(size=(2, *array.shape)):
            moved = {**parameters, name: array + 1j * STEP * direction}
            values = np.array([logits_and_jacobian(network, sample, moved)[0] for sample in x])
            expected = (v * values).imag.sum() / STEP
            scale = np.abs(gradient * direction).sum()
            assert (gradient * direction).sum() == pytest.approx(
                expected, rel=1e-10, abs=1e-10 * scale)


@pytest.mark.parametrize("name", HAND_PICKED)
def test_every_layer_on_its_own(name):
    """Not only the logits: value and Jacobian of every layer, the output's activation included."""
    image, layers = HAND_PICKED[name]
    rng = np.random.default_rng(len(name))
    network, x = with_random_weights(Network(layers(), image), rng), rng.normal(size=(2, *image))
    expected = [trace(network, sample) for sample in x]
    layers_traced = list(network.trace(x))
    assert [name for name, _, _ in layers_traced] == list(network.layers)
    for number, (_, value, jacobian) in enumerate(layers_traced):
        close(value, [one[number][1] for one in expected])
        close(jacobian.dense(2).reshape(2, -1, network.features),
              [one[number][2] for one in expected])


def test_activations_do_not_overflow():
    x = np.array([-1e4, -800.0, -40.0, 0.0, 40.0, 800.0, 1e4]).reshape(1, 1, 1, -1)
    with np.errstate(all="raise", under="ignore"):
        sigmoid, softmax, tanh = (layer.forward(x)[0].reshape(-1)
                                  for layer in (Sigmoid(), Softmax(), Tanh()))
    np.testing.assert_allclose(sigmoid, [0, 0, 0, 0.5, 1, 1, 1], atol=1e-15)
    np.testing.assert_array_equal(softmax, [0, 0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(tanh, np.sign(x.reshape(-1)))


def test_relu_is_flat_at_zero():
    """As in PyTorch: f'(0) = 0, forward and backward."""
    network = Network([ReLU()], (3,))
    for derivative in (network.forward_derivative, network.backward_derivative):
        np.testing.assert_array_equal(
            derivative(np.array([[-1.0, 0.0, 2.0]]))[0], np.diag([0.0, 0.0, 1.0]))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Conv2d(1, 2, 0), "kernel_size must be .* at least 1.*; got 0"),
    (lambda: Conv2d(1, 2, (3, 2, 1)), r"kernel_size .*; got \(3, 2, 1\)"),
    (lambda: Conv2d(1, 2, 2.5), "kernel_size .*; got 2.5"),
    (lambda: Conv2d(1, 2, 3, 0), "stride .*; got 0"),
    (lambda: Conv2d(1, 2, 3, padding=-1), "padding must be .* at least 0.*; got -1"),
    (lambda: MaxPool2d("2"), "kernel_size .*; got '2'"),
    (lambda: MaxPool2d(2, (1, 0)), r"stride .*; got \(1, 0\)"),
    (lambda: AvgPool2d(-2), "kernel_size .*; got -2"),
])
def test_bad_sizes_are_named(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
