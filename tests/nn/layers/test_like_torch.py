"""Layers and options with PyTorch's names: value, forward derivative, backward step and the
gradients of the parameters as torch has them, and right by every referee."""
from collections import Counter

import numpy as np
import pytest
from random_networks import FAMILIES, random_chain, random_graph
from reference import close, logits_and_jacobian, trace, with_random_weights

from nn import (
    GELU,
    AdaptiveAvgPool2d,
    Affine,
    AvgPool2d,
    Conv2d,
    Flatten,
    GroupNorm,
    Hardtanh,
    LayerNorm,
    Linear,
    MaxPool2d,
    Network,
    PReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Unflatten,
    check_network,
    from_torch,
    to_torch,
)
from nn.convert.table import TABLE
from nn.layers.activation import Activation
from nn.layers.base import Layer
from nn.verify.frameworks import FOREIGN

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch: it may be slow
IMAGE = (4, 6, 5)
QUICK = [name for name in FOREIGN if "jax" not in name]  # jax compiles each network anew
JAX = [name for name in FOREIGN if "jax" in name]

ACTIVATIONS = {
    "SiLU": SiLU, "GELU": GELU, "GELU, tanh": lambda: GELU("tanh"), "PReLU, one slope": PReLU,
    "PReLU, a slope a channel": lambda: PReLU(4), "Hardtanh": Hardtanh,
    "Hardtanh, bounds": lambda: Hardtanh(-0.3, 1.5), "ReLU6": ReLU6,
}
CONVOLUTIONS = {
    "dilation": lambda: Conv2d(4, 3, (3, 2), 1, 1, dilation=2),
    "dilation and stride": lambda: Conv2d(4, 3, 2, 2, (2, 1), dilation=(3, 2)),
    "groups": lambda: Conv2d(4, 6, 3, 1, 1, groups=2),
    "depthwise": lambda: Conv2d(4, 4, (2, 3), 2, groups=4, bias=False),
    "groups and dilation": lambda: Conv2d(4, 2, 2, 1, 1, dilation=(1, 2), groups=2),
    "same": lambda: Conv2d(4, 3, 3, padding="same"),
    "same, even": lambda: Conv2d(4, 3, (2, 4), padding="same"),
    "same, dilation": lambda: Conv2d(4, 2, (2, 3), padding="same", dilation=(3, 2), groups=2),
    "valid": lambda: Conv2d(4, 3, 2, padding="valid"),
}
POOLS = {
    f"{kind.__name__}, {name}": lambda kind=kind, options=options, own=own: kind(*options, **own)
    for kind in (MaxPool2d, AvgPool2d) for name, (options, own) in {
        "padding": ((3, 2, 1), {}), "padding along one axis": (((2, 3), 1, (0, 1)), {}),
        "ceil_mode": ((2,), {"ceil_mode": True}), "both": ((3, 2, 1), {"ceil_mode": True}),
        "a window behind the end": ((3, (4, 3), 1), {"ceil_mode": True}),
        "larger than the image": ((8, 2, 4), {"ceil_mode": True})}.items()
}
POOLS |= {
    "padding does not count": lambda: AvgPool2d(3, 2, 1, count_include_pad=False),
    "nor does it in ceil_mode": lambda: AvgPool2d((3, 2), 2, 1, ceil_mode=True,
                                                  count_include_pad=False),
    "a divisor": lambda: AvgPool2d(3, 2, 1, divisor_override=5, ceil_mode=True),
    **{f"adaptive, {size}": lambda size=size: AdaptiveAvgPool2d(size)
       for size in (1, 2, (3, 5), (2, 1), (None, 3), (6, 5), (8, 7))}}
NORMS = {
    "LayerNorm": lambda: LayerNorm(IMAGE),
    "LayerNorm, each channel": lambda: LayerNorm(IMAGE[1:]),
    "LayerNorm, no bias": lambda: LayerNorm(IMAGE, bias=False),
    "LayerNorm, plain": lambda: LayerNorm(IMAGE, 0.1, elementwise_affine=False),
    "GroupNorm, 1": lambda: GroupNorm(1, 4), "GroupNorm, 2": lambda: GroupNorm(2, 4, 0.1),
    "GroupNorm, each channel": lambda: GroupNorm(4, 4, affine=False),
}
LAYERS = {**ACTIVATIONS, **CONVOLUTIONS, **POOLS, **NORMS}


def network(layer, place, seed=0):
    """`layer` on the image itself, behind a convolution, or between two."""
    before = [] if place == "first" else [Conv2d(4, 4, 3, 1, 1)]
    layers = [*before, layer]
    shape = IMAGE
    for one in layers:
        shape = one.output_shape(shape)
    if place == "between":
        after = Conv2d(shape[0], 2, (min(2, shape[1]), 1), 1, (0, 1))
        layers, shape = [*layers, after], after.output_shape(shape)
    layers += [Flatten(), Linear(int(np.prod(shape)), 3)]
    rng = np.random.default_rng(seed)
    return with_random_weights(Network(layers, IMAGE), rng), rng.normal(size=(2, *IMAGE))


def torch_of(ours):
    torch = pytest.importorskip(
        "torch", reason="torch is not installed (pip install 'jsma[referees]')")
    return torch, to_torch(ours)


@pytest.mark.parametrize("place", [
    pytest.param("first", marks=pytest.mark.slow), pytest.param("behind", marks=pytest.mark.slow),
    "between"])
@pytest.mark.parametrize("name", LAYERS)
def test_right_by_every_referee(name, place):
    ours, x = network(LAYERS[name](), place)
    against = ["complex step", "dense"]
    wanted = ["autograd"] if place == "between" else ["differences", *QUICK]
    against += [referee for referee in wanted if _installed(referee)]
    report = check_network(ours, x, against=against)
    assert report.verdict == "right" and not report.missing, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_right_by_jax(name):
    pytest.importorskip("jax", reason="jax is not installed (pip install 'jsma[referees]')")
    report = check_network(*network(LAYERS[name](), "between"), against=JAX)
    assert report.verdict == "right" and not report.missing, str(report)


def _installed(referee):
    try:
        __import__(referee.split()[0])
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("name", LAYERS)
def test_values_gradients_and_the_way_back(name):
    """What torch makes of two samples, its gradients of all parameters, and float32 as it is."""
    ours, x = network(LAYERS[name](), "between")
    torch, module = torch_of(ours)
    logits, saved = ours.forward(x)
    v = np.random.default_rng(1).normal(size=logits.shape)
    theirs = module(torch.from_numpy(x))
    close(logits, theirs.detach().numpy())
    (theirs * torch.from_numpy(v)).sum().backward()
    gradients = ours.gradients(v, saved)
    expected = {key: one.grad.numpy() for key, one in module.named_parameters()}
    assert set(gradients) == set(expected)
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    for key, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[key], rtol=0, atol=1e-10 * largest)
    again = from_torch(module, IMAGE)
    assert [repr(one) for one in again.layers.values()] == list(map(repr, ours.layers.values()))
    small = x.astype(np.float32)
    for derivative in (ours.logits, ours.forward_derivative, ours.backward_derivative):
        assert derivative(small).dtype == np.float32
        close(derivative(small), derivative(x), 1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_flat_and_one_position(name):
    """The same layers where all stands in channels, if they take that."""
    layer, rng = LAYERS[name](), np.random.default_rng(2)
    try:
        layers = [Linear(5, 4), layer, Linear(layer.output_shape((4, 1, 1))[0], 3)]
        ours = with_random_weights(Network(layers, (5,)), rng)
    except ValueError:
        return
    x = rng.normal(size=(2, 5))
    report = check_network(ours, x, against=["complex step", "dense", "differences"])
    assert report.verdict == "right", str(report)
    close(ours.forward_derivative(x), ours.backward_derivative(x))


# kinks

KINKS = [(Hardtanh(), (-1.0, 1.0)), (Hardtanh(-0.5, 2), (-0.5, 2.0)), (ReLU6(), (0.0, 6.0)),
         (PReLU(), (0.0,)), (PReLU(3), (0.0,))]


@pytest.mark.parametrize(("layer", "places"), KINKS, ids=lambda value: repr(value))
def test_at_a_kink_the_slope_is_torchs(layer, places):
    ours = Network([layer], (3,))
    torch, module = torch_of(ours)
    for place in places:
        x = np.array([[place, np.nextafter(place, -9), np.nextafter(place, 9)]])
        z = torch.from_numpy(x).requires_grad_()
        module.double()(z).sum().backward()
        for derivative in (ours.forward_derivative, ours.backward_derivative):
            np.testing.assert_array_equal(np.diag(derivative(x)[0]), z.grad.numpy()[0])


@pytest.mark.parametrize(("layer", "places"), KINKS, ids=lambda value: repr(value))
def test_units_on_a_kink_are_counted(layer, places):
    """The check says how many there are, and judges by those who follow the same rule."""
    ours = Network([Flatten(), layer, Linear(3, 2)], (3,))
    with_random_weights(ours, np.random.default_rng(0))
    x = np.array([[*places, 0.3, -0.2][:3]])
    report = check_network(ours, x, against=["complex step", "dense", "differences"])
    assert report.verdict == "right", str(report)
    assert report.rows[1].ties == len(places) and report.rows[2].ties == 0
    smooth = check_network(ours, x + 0.01)
    assert smooth.verdict == "right" and not sum(row.ties for row in smooth.rows)


def test_torch_takes_a_layer_norm_as_it_was_made():
    """Of all channels at one position: without a Flatten torch would normalise along the row."""
    pytest.importorskip("torch", reason="torch is not installed (pip install 'jsma[referees]')")
    layers = [Conv2d(1, 3, 2), LayerNorm(3)]
    with pytest.raises(ValueError, match="^layer '1': torch needs a Flatten before LayerNorm$"):
        to_torch(Network(layers, (2, 2)))
    with pytest.raises(ValueError, match="^layer '0': in torch LayerNorm takes images; its input"):
        to_torch(Network([LayerNorm((3, 1, 1))], (3,)))


def test_a_prelu_with_slope_1_has_no_kink():
    layer = PReLU(3, init=1)
    report = check_network(Network([layer], (3,)), np.array([[0.0, 1, -1]]))
    assert report.verdict == "right" and not report.rows[0].ties


@pytest.mark.parametrize(("make", "message"), [
    (lambda: GELU("exact"), "approximate must be 'none' or 'tanh'; got 'exact'"),
    (lambda: Hardtanh(1, 1), "min_val must be below max_val; got 1 and 1"),
    (lambda: Hardtanh(np.inf), "min_val must be a finite number; got inf"),
    (lambda: PReLU(0), "num_parameters must be a whole number of at least 1; got 0"),
    (lambda: Conv2d(4, 3, 2, groups=2), "groups must divide in_channels and out_channels; got 2 "
                                        "for 4 and 3"),
    (lambda: Conv2d(4, 4, 2, groups=0), "groups must be a whole number of at least 1; got 0"),
    (lambda: Conv2d(4, 4, 2, dilation=0), "dilation must be a whole number of at least 1, or two; "
                                          "got 0"),
    (lambda: Conv2d(4, 4, 2, 2, "same"), r"padding='same' goes with stride 1 only; got \(2, 2\)"),
    (lambda: Conv2d(4, 4, 2, 1, "full"), "padding must be whole numbers, 'valid' or 'same'; got "
                                         "'full'"),
    (lambda: Network([Conv2d(1, 1, 3, dilation=3)], (6, 9)),
     r"layer '0': Conv2d\(.*dilation=\(3, 3\)\) does not fit into an input of 6×9"),
    (lambda: MaxPool2d(3, 1, 2), "padding must be at most half of kernel_size; got 2 and 3"),
    (lambda: AvgPool2d(2, divisor_override=0), "divisor_override must be a whole number of at "
                                               "least 1; got 0"),
    (lambda: AdaptiveAvgPool2d((2, 0)), r"output_size must be a whole number of at least 1 or "
                                        r"None, or two; got \(2, 0\)"),
    (lambda: LayerNorm((1, 2, 3, 4)), r"normalized_shape must be .*; got \(1, 2, 3, 4\)"),
    (lambda: Network([LayerNorm((2, 3))], (3, 2)),
     r"layer '0': LayerNorm\(.*\) takes all units of a sample; its input has 1×3×2"),
    (lambda: GroupNorm(2, 3), "num_groups must divide num_channels; got 2 and 3"),
    (lambda: Network([GroupNorm(2, 4)], (3, 2, 2)),
     r"layer '0': GroupNorm\(.*\) takes 4 channels; its input has 3"),
    (lambda: Network([PReLU(3)], (4,)), r"layer '0': PReLU\(3\) takes 3 channels; its input has 4"),
])
def test_bad_options_are_named(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


class WrongSiLU(SiLU):
    """f' without its second part."""

    def forward(self, x):
        y, slope = super().forward(x)
        return y, slope - y * (1 - y)


class Cube(Activation):
    """A user's own: z³, with an f' of 2z²."""

    def forward(self, x):
        return x ** 3, 2 * x * x


class WrongLayerNorm(LayerNorm):
    """The derivative of the deviation is forgotten."""

    def forward_derivative(self, jacobian, saved):
        return super().forward_derivative(jacobian, (0 * saved[0], saved[1]))


class WrongGroupNorm(GroupNorm):
    """Backward takes all channels for one group."""

    def backward(self, grad_y, saved):
        shape = (*saved[0].shape[:3], 1, -1)
        return super().backward(grad_y, (saved[0].reshape(shape), saved[1].mean()))


class WrongGroups(Conv2d):
    """The gradient of the other group."""

    def gradients(self, grad_y, saved):
        gradients = super().gradients(grad_y, saved)
        return {**gradients, "weight": gradients["weight"][::-1]}


class WrongDivisor(AvgPool2d):
    """Every window is divided by its whole area."""

    def forward_derivative(self, jacobian, saved):
        whole = AvgPool2d(self.kernel, self.stride, self.padding, ceil_mode=True,
                          divisor_override=int(np.prod(self.kernel)))
        return whole.forward_derivative(jacobian, saved)


class WrongPReLU(PReLU):
    """The gradient of the slopes counts what is above 0."""

    def gradients(self, grad_y, saved):
        return super().gradients(grad_y, (saved[0], -saved[1]))


@pytest.mark.parametrize(("layer", "part"), [
    (WrongSiLU(), "forward derivative"), (Cube(), "forward derivative"),
    (WrongLayerNorm(IMAGE), "forward derivative"), (WrongGroupNorm(2, 4), "backward"),
    (WrongGroups(4, 6, 2, groups=2), "gradient"), (WrongPReLU(4), "gradient"),
    (WrongDivisor(3, 2, 1, ceil_mode=True, count_include_pad=False), "forward derivative")],
                         ids=lambda value: getattr(type(value), "__name__", value))
def test_a_wrong_one_is_named(layer: Layer, part):
    ours, x = network(layer, "between")
    report = check_network(ours, x)
    assert (report.verdict, report.layer, report.part) == ("wrong", "1", part), str(report)


# random networks

COUNT, TENTH = 2000, 200


def with_constants(ours, rng):
    """A chain with an `Affine` somewhere, and half of those with a `Flatten` go back to an image
    behind it and become a row again."""
    layers, shapes = list(ours.layers.values()), [ours.image, *ours.shapes.values()]
    place = rng.integers(len(layers))
    shape = shapes[place]
    constants = [rng.uniform(0.5, 2, [(), shape[0], shape][rng.integers(3)]) for _ in range(2)]
    row = next((n for n, layer in enumerate(layers) if isinstance(layer, Flatten)), None)
    if row is not None and rng.random() < 0.5:
        units = int(np.prod(shapes[row + 1]))
        sizes = [n for n in range(1, units + 1) if units % n == 0]
        channels = int(rng.choice(sizes))
        height = int(rng.choice([n for n in sizes if units // channels % n == 0]))
        there_and_back = [Unflatten((channels, height, units // channels // height)), Flatten()]
        layers[row + 1:row + 1] = there_and_back
        place += 2 * (place > row)
    layers.insert(place, Affine(*constants))
    return Network(layers, ours.input_shape)


def random_network(number):
    """A chain of one family after the other, every third a graph, such as torch can have: (network,
    samples, torch's module). Every fifth chain has constants."""
    for attempt in range(20):
        seed = number + 10_000 * attempt
        ours, x = random_graph(seed) if number % 3 == 2 else random_chain(
            FAMILIES[number % len(FAMILIES)], seed)
        if number % 15 in (0, 4, 10) and ours.is_chain:
            ours = with_constants(ours, np.random.default_rng(seed))
        try:
            return ours, x, torch_of(ours)[1]
        except ValueError as error:
            assert "flat" in str(error).lower()
    raise AssertionError(number)


def agrees(ours, x, module):
    """Value, forward and backward derivative of one sample against torch and the textbook, the
    gradients of the parameters against torch."""
    import torch
    sample = torch.from_numpy(x[:1]).requires_grad_()
    value = module(sample)
    outputs = list(ours.layers.values())[-1]
    of = "probabilities" if isinstance(outputs, (Softmax, Sigmoid)) else "logits"
    if of == "logits":
        close(ours.logits(x[:1]).reshape(-1), value.detach().numpy().reshape(-1))
    else:
        close(ours.probabilities(x[:1]).reshape(-1), value.detach().numpy().reshape(-1))
    forward, backward = (derivative(x[:1], of=of)[0] for derivative in (
        ours.forward_derivative, ours.backward_derivative))
    traced = trace(ours, x[0])
    terms = max(np.abs(table).max(initial=1) for _, _, table in traced)
    _, jacobian = logits_and_jacobian(ours, x[0], traced=traced)
    table = jacobian if of == "logits" else traced[-1][2]
    close(forward, table, terms=terms)
    close(backward, table, terms=terms)
    v = np.eye(len(table)) if len(table) <= 4 else np.random.default_rng(0).normal(
        size=(4, len(table)))
    theirs = [torch.autograd.grad((value.reshape(-1) * torch.from_numpy(row)).sum(), sample,
                                  retain_graph=True)[0].numpy().reshape(-1) for row in v]
    close(v @ forward, theirs, terms=terms)
    if of == "logits" and ours.parameters():
        _gradients_agree(ours, x, module)


def _gradients_agree(ours, x, module):
    import torch
    logits, saved = ours.forward(x)
    v = np.random.default_rng(1).normal(size=logits.shape)
    module.zero_grad()
    (module(torch.from_numpy(x)).reshape(v.shape) * torch.from_numpy(v)).sum().backward()
    expected = {key: one.grad.numpy() for key, one in module.named_parameters()}
    for name, layer in ours.layers.items():
        if getattr(layer, "connections", None) is not None:  # torch lets these zeros learn
            expected[f"{name}.weight"][~layer.connections] = 0
    gradients = ours.gradients(v, saved)
    assert set(gradients) == set(expected)
    terms = max((np.abs(gradient).max() for gradient in expected.values()), default=0)
    for key, gradient in gradients.items():
        close(gradient, expected[key], terms=10 * terms)


@pytest.mark.parametrize("first", [
    pytest.param(first, marks=[pytest.mark.slow] * (first > 0))
    for first in range(0, COUNT, TENTH)])
def test_random_networks_agree_with_torch_and_the_textbook(first):
    for number in range(first, first + TENTH):
        ours, x, module = random_network(number)
        try:
            agrees(ours, x, module)
        except AssertionError as error:
            raise AssertionError(f"network {number}: {list(ours.layers.values())}") from error


@pytest.mark.slow
def test_the_random_networks_have_every_layer():
    """What makes the test above worth something: each kind of layer occurs, three times or more."""
    seen = Counter(type(layer) for number in range(TENTH) for layer in random_network(
        number)[0].layers.values())
    assert set(seen) >= {row.layer for row in TABLE.values()}
    assert min(seen.values()) >= 3, seen
