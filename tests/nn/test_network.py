"""What goes into a `Network` and what comes out: shapes, types, the order of the features, the
kinds of output."""
import numpy as np
import pytest
from reference import STEP, close, complex_step, logits_and_jacobian, with_random_weights

from nn import (
    AndNetwork,
    AvgPool2d,
    Conv2d,
    Flatten,
    LeNet,
    Linear,
    MaxPool2d,
    Network,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)

ENDS = {
    "softmax": [Linear(12, 4), Softmax()],
    "sigmoid": [Linear(12, 4), Sigmoid()],
    "none": [Linear(12, 4)],
    "one sigmoid": [Linear(12, 1), Sigmoid()],
    "only flat": [],
    "only flat, softmax": [Softmax()],
}


def small(*end, dtype=np.float64):
    """Two channels of 5×6 pixels → 3 kernels 2×2 → pooled to 3 × 1 × 2; then `end`."""
    network = Network([Conv2d(2, 3, 2, 1, (1, 0)), MaxPool2d(2), Tanh(), AvgPool2d((2, 1)),
                       Flatten(),
                       *(end or [Linear(6, 4)])], (2, 5, 6))
    with_random_weights(network, np.random.default_rng(0))
    return network.load({name: array.astype(dtype) for name, array in network.parameters().items()})


def ended(end):
    """A network with one of ENDS behind a padded convolution, and three samples for it."""
    rng = np.random.default_rng(3)
    network = Network([Conv2d(2, 2, 3, 1, (0, 1)), Tanh(), MaxPool2d((1, 2)), Flatten(),
                       *ENDS[end]], (2, 4, 6))
    return with_random_weights(network, rng), rng.normal(size=(3, 2, 4, 6))


def outputs(network):
    """{of: the function that is differentiated}."""
    return {"logits": network.logits, "probabilities": network.probabilities,
            "centred": lambda x: network.logits(x) - network.logits(x).mean(axis=1, keepdims=True)}


# shapes and values that come in

@pytest.mark.parametrize(("input_shape", "accepted"), [
    ((6,), [(6,), (6, 1, 1)]), ((2, 3), [(6,), (2, 3), (1, 2, 3)]),
    ((1, 2, 3), [(6,), (2, 3), (1, 2, 3)]),
    ((2, 1, 3), [(6,), (2, 1, 3)]),
])
def test_accepted_shapes_and_no_others(input_shape, accepted):
    network = Network([Flatten(), Linear(6, 3)], input_shape)
    x = np.random.default_rng(0).normal(size=(4, 6))
    for shape in accepted:
        for method in (network.logits, network.forward_derivative, network.backward_derivative):
            np.testing.assert_array_equal(method(x.reshape(4, *shape)), method(x))
    every = {(6,), (2, 3), (3, 2), (1, 2, 3), (2, 1, 3), (1, 1, 6), (2, 3, 1), (6, 1, 1), (3,),
             (7,)}
    for shape in every - {*accepted}:
        with pytest.raises(ValueError,
                           match=r"x must have the shape .*\(B, 6\).*; got \(4, ") as caught:
            network.logits(np.zeros((4, *shape)))
        assert "\n" not in str(caught.value)
        assert all(str(("B", *shape)).replace("'", "") in str(caught.value) for shape in accepted)


@pytest.mark.parametrize("shape", [(), (784,), (28,), (1, 1, 1, 28, 28)])
def test_a_sample_without_a_batch_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(B, 784\) or \(B, 28, 28\) or \(B, 1, 28, 28\)"):
        LeNet().logits(np.zeros(shape))


@pytest.mark.parametrize("method",
                         ["logits", "probabilities", "predict", "forward_derivative",
                          "backward_derivative",
                                    "forward", "trace"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, complex(0, np.nan)])
def test_nan_and_infinity_are_refused(method, value):
    x = np.zeros((3, 2), type(value))
    x[1, 1] = value
    with pytest.raises(ValueError, match="finite"):
        list(getattr(AndNetwork(), method)(x))


@pytest.mark.parametrize("x", [np.array([["0", "1"]]), np.array([[None, 1]]),
                               np.array([[b"0", b"1"]])])
def test_what_is_no_number_is_refused(x):
    with pytest.raises(TypeError, match="numbers"):
        AndNetwork().logits(x)


def test_lists_and_views_are_inputs_too_and_stay_as_they_are():
    network, x = small(), np.random.default_rng(1).normal(size=(2, 6, 5, 2))
    view, before = x.transpose(0, 3, 2, 1), x.copy()
    view.flags.writeable = False
    close(network.forward_derivative(view), network.forward_derivative(view.copy()), 1e-14)
    close(network.logits(view.tolist()), network.logits(view).astype(np.float64), 1e-14)
    np.testing.assert_array_equal(x, before)


# the order of the features

@pytest.mark.parametrize("channels", [1, 2, 3])
def test_features_stand_in_row_major_order(channels):
    """∂F/∂x_i against a difference in pixel (c, y, x), i = (c·H + y)·W + x, exact because F is
    linear."""
    shape = (channels, 3, 4)
    rng = np.random.default_rng(channels)
    network = Network([Conv2d(channels, 2, 2), Flatten(), Linear(12, 3)], shape)
    network.load({name: rng.integers(-5, 6, array.shape).astype(float)
                  for name, array in network.parameters().items()})
    jacobian = network.forward_derivative(np.zeros((1, *shape)))[0]
    for c, y, x in np.ndindex(shape):
        image = np.zeros((1, *shape))
        image[0, c, y, x] = 1
        change = network.logits(image) - network.logits(0 * image)
        np.testing.assert_array_equal(jacobian[:, (c * shape[1] + y) * shape[2] + x], change[0])


# types

@pytest.mark.parametrize(("dtype", "expected"), [
    (np.float32, np.float32), (np.float64, np.float64), (np.float16, np.float32),
    (np.uint8, np.float32),
    (np.int64, np.float32), (bool, np.float32), (np.complex64, np.complex64),
    (np.complex128, np.complex128),
])
@pytest.mark.parametrize("own", [np.float32, np.float64])
@pytest.mark.parametrize("end",
                         [[], [Linear(6, 3), ReLU(), Linear(3, 2), Sigmoid()],
                          [Linear(6, 2), Softmax()]])
def test_types(dtype, expected, own, end):
    """The precision is the input's, in every result and at every step, whatever the parameters'
    own."""
    network = small(*end, dtype=own)
    x = np.random.default_rng(0).integers(0, 2, (3, 2, 5, 6)).astype(dtype)
    logits, saved = network.forward(x)
    results = {"logits": network.logits(x), "probabilities": network.probabilities(x),
               "forward": logits}
    for of in ("logits", "centred", "probabilities"):
        results["forward " + of] = network.forward_derivative(x, of=of)
        results["backward " + of] = network.backward_derivative(x, of=of)
    results.update({"gradient " + name: array
                    for name, array in network.gradients(logits, saved).items()})
    results["cotangents"] = network.backward_derivative(x, np.ones((1, network.classes)))
    for name, value, jacobian in network.trace(x):
        results["value of " + name] = value
        if np.dtype(dtype).kind != "c":  # what does not depend on x stays real
            results["windows of " + name] = jacobian.values
            results["jacobian of " + name] = jacobian.dense(3)
    assert {name: array.dtype for name, array in results.items() if array.dtype != expected} == {}
    assert all(array.dtype == own for array in network.parameters().values())


def test_float32_is_close_to_float64():
    network, x = LeNet(1), np.random.default_rng(0).random((1, 28, 28))
    for of in ("logits", "probabilities"):
        close(network.forward_derivative(x.astype(np.float32), of=of),
              network.forward_derivative(x, of=of), 1e-5)
        close(network.backward_derivative(x.astype(np.float32), of=of),
              network.backward_derivative(x, of=of), 1e-5)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layers",
                         [[Linear(3, 4), Tanh(), Linear(4, 2)], [Linear(3, 2), Sigmoid()],
                          [Linear(3, 2)]])
def test_complex_input_has_a_forward_derivative(layers, batch):
    """Away from the real axis it is the derivative of the analytic function: a complex step of it
    is the second one."""
    network, rng = Network(layers, (3,)), np.random.default_rng(0)
    x, h = rng.normal(size=(batch, 3)), STEP
    for of in ("logits", "probabilities"):
        moved = network.forward_derivative(x + 1j * h * np.eye(3)[0], of=of)
        close(moved.real, network.forward_derivative(x, of=of), 1e-14)
        difference = (network.forward_derivative(x + 1e-6 * np.eye(3)[0], of=of)
                      - network.forward_derivative(x - 1e-6 * np.eye(3)[0], of=of)) / 2e-6
        np.testing.assert_allclose(moved.imag / h, difference, atol=1e-8)
        close(network.backward_derivative(x + 1j * h * np.eye(3)[0], of=of), moved, 1e-14)


def test_a_real_precision_is_not_lost_to_the_byte_order():
    network, x = LeNet(1), np.random.default_rng(0).random((2, 784))
    np.testing.assert_array_equal(network.logits(x.astype(">f8")), network.logits(x))
    np.testing.assert_array_equal(network.logits(x.astype(">f4")), network.logits(x.astype("f4")))


# what comes out

@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("of", ["logits", "centred", "probabilities"])
def test_derivatives_of_each_output(of, end):
    network, x = ended(end)
    function = outputs(network)[of]
    expected = [complex_step(function, image) for image in x]
    close(network.forward_derivative(x, of=of), expected)
    close(network.backward_derivative(x, of=of), expected)


@pytest.mark.parametrize("end", ENDS)
def test_probabilities_are_the_outputs_activation_of_the_logits(end):
    network, x = ended(end)
    z = np.array([logits_and_jacobian(network, image)[0] for image in x])
    close(network.logits(x), z)
    softmax = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    close(network.probabilities(x), 1 / (1 + np.exp(-z)) if "sigmoid" in end else softmax)


@pytest.mark.parametrize("end", [[], [Softmax()], [Sigmoid()]])
@pytest.mark.parametrize("of", ["logits", "centred", "probabilities"])
def test_outputs_with_several_positions(of, end):
    """A network that ends without `Flatten`: logits in the order (C, Y, X), each `of` its
    function's derivative."""
    rng = np.random.default_rng(0)
    network = Network([Conv2d(1, 3, 2), *end], (3, 4))
    x = rng.normal(size=(2, 3, 4))
    for method in (network.logits, network.probabilities):
        assert method(x).shape == (2, 3 * 2 * 3)
    function = outputs(network)[of]
    expected = np.array([complex_step(function, image) for image in x])
    close(network.forward_derivative(x, of=of), expected)
    v = rng.normal(size=(2, 18))
    close(network.backward_derivative(x, v, of=of), v @ expected)
    if end:  # the layer that stands at the end is what `trace` runs too
        close(network.probabilities(x), list(network.trace(x))[-1][1].reshape(2, -1))


def test_cotangents():
    network, x = ended("softmax")
    rng = np.random.default_rng(0)
    jacobian = np.array([logits_and_jacobian(network, image)[1] for image in x])
    v, w = rng.normal(size=(5, 4)), rng.normal(size=(3, 2, 4))
    close(network.backward_derivative(x), jacobian)
    close(network.backward_derivative(x, v), v @ jacobian)
    close(network.backward_derivative(x, w), w @ jacobian)
    close(network.backward_derivative(x, v.tolist()), v @ jacobian)
    close(network.backward_derivative(x[:1], v[:1]), (v[:1] @ jacobian)[:1])
    many, each = x[rng.integers(0, 3, 37)], rng.normal(size=(37, 2, 4))
    close(network.backward_derivative(many, each),
          each @ np.array([logits_and_jacobian(network, image)[1] for image in many]))


@pytest.mark.parametrize("shape", [(4,), (5, 3), (2, 1, 4), (4, 1, 4), (1, 3, 1, 4)])
def test_cotangents_of_another_shape_are_refused(shape):
    network, x = ended("none")
    message = r"cotangents must have the shape \(K, 4\) or \(3, K, 4\); got "
    with pytest.raises(ValueError, match=message) as caught:
        network.backward_derivative(x, np.ones(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("method", ["forward_derivative", "backward_derivative"])
def test_another_of_is_refused(method):
    with pytest.raises(ValueError,
                       match="of must be one of logits, centred, probabilities; got 'softmax'"):
        getattr(AndNetwork(), method)(np.zeros((1, 2)), of="softmax")


def test_predict_takes_the_lowest_of_equals():
    network = Network([Linear(4, 4)], (4,)).load({"0.weight": np.eye(4), "0.bias": np.zeros(4)})
    x = np.array([[0, 1, 1, 0], [3, 1, 3, 3], [0, 0, 0, 0], [-1, -1, -2, -1], [0, 1, 2, 3]], float)
    assert network.predict(x).tolist() == [1, 0, 0, 0, 3]
    assert network.predict(x.astype(complex)).tolist() == [1, 0, 0, 0, 3]


def test_predict_with_one_output():
    network = AndNetwork().load({"hidden.weight": 9 * np.eye(2), "hidden.bias": np.full(2, -4.5),
                                 "output.weight": np.full((1, 2), 10.0),
                                 "output.bias": np.array([-15.0])})
    x = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    assert network.predict(x).tolist() == [0, 0, 0, 1]


def test_results_are_the_callers_own():
    """They may be written on, and that reaches neither the network nor a later result."""
    rng = np.random.default_rng(0)
    cases = [(Network([Linear(3, 1), *end], (3,)), rng.random((1, 3)))
             for end in ([Sigmoid()], [Tanh()], [])]
    cases.append((small(), rng.random((2, 60))))
    for network, x in cases:
        network.load({name: array.astype(np.float64)
                      for name, array in network.parameters().items()})
        weights = {name: array.copy() for name, array in network.parameters().items()}
        for of in ("logits", "centred", "probabilities"):
            for method in (network.forward_derivative, network.backward_derivative):
                first = method(x, of=of)
                before = first.copy()
                first[:] = 0
                np.testing.assert_array_equal(method(x, of=of), before)
        for name, array in network.parameters().items():
            np.testing.assert_array_equal(array, weights[name])
