"""What `Network` promises around the layers: shapes, types, outputs, batches, threads, the trace and its errors."""
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from reference import STEP, close, complex_step, logits_and_jacobian

from nn import AndNetwork, AvgPool2d, Conv2d, Flatten, LeNet, Linear, MaxPool2d, Network, ReLU, Sigmoid, Softmax, Tanh

ENDS = {
    "softmax": [Linear(12, 4), Softmax()],
    "sigmoid": [Linear(12, 4), Sigmoid()],
    "none": [Linear(12, 4)],
    "one sigmoid": [Linear(12, 1), Sigmoid()],
    "only flat": [],
    "only flat, softmax": [Softmax()],
}


def small(*end, dtype=np.float64, seed=0):
    """Two channels of 5×6 pixels → 3 kernels 2×2 → pooled to 3 × 2 × 2; then `end`."""
    rng = np.random.default_rng(seed)
    network = Network([Conv2d(2, 3, 2, 1, (1, 0)), MaxPool2d(2), Tanh(), AvgPool2d((2, 1)), Flatten(),
                       *(end or [Linear(6, 4)])], (2, 5, 6))
    for layer in network.layers.values():
        for key, array in layer.parameters.items():
            layer.parameters[key] = rng.normal(size=array.shape).astype(dtype)
    return network


def ended(end):
    """A network with one of ENDS behind a padded convolution, and three samples for it."""
    rng = np.random.default_rng(3)
    network = Network([Conv2d(2, 2, 3, 1, (0, 1)), Tanh(), MaxPool2d((1, 2)), Flatten(), *ENDS[end]], (2, 4, 6))
    for layer in network.layers.values():
        for key, array in layer.parameters.items():
            layer.parameters[key] = rng.normal(size=array.shape)
    return network, rng.normal(size=(3, 2, 4, 6))


# shapes and values that come in

@pytest.mark.parametrize(("input_shape", "accepted"), [
    ((6,), [(6,), (6, 1, 1)]), ((2, 3), [(6,), (2, 3), (1, 2, 3)]), ((1, 2, 3), [(6,), (2, 3), (1, 2, 3)]),
    ((2, 1, 3), [(6,), (2, 1, 3)]),
])
def test_accepted_shapes_and_no_others(input_shape, accepted):
    network = Network([Flatten(), Linear(6, 3)], input_shape)
    x = np.random.default_rng(0).normal(size=(4, 6))
    for shape in accepted:
        for method in (network.logits, network.forward_derivative, network.backward_derivative):
            np.testing.assert_array_equal(method(x.reshape(4, *shape)), method(x))
    for shape in {(6,), (2, 3), (3, 2), (1, 2, 3), (2, 1, 3), (1, 1, 6), (2, 3, 1), (6, 1, 1), (3,), (7,)} - {*accepted}:
        with pytest.raises(ValueError, match=r"x must have the shape .*\(B, 6\).*; got \(4, ") as caught:
            network.logits(np.zeros((4, *shape)))
        assert "\n" not in str(caught.value)
        assert all(str(("B", *shape)).replace("'", "") in str(caught.value) for shape in accepted)


@pytest.mark.parametrize("shape", [(), (784,), (28,), (1, 1, 1, 28, 28)])
def test_a_sample_without_a_batch_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(B, 784\) or \(B, 28, 28\) or \(B, 1, 28, 28\)"):
        LeNet().logits(np.zeros(shape))


@pytest.mark.parametrize("method", ["logits", "probabilities", "predict", "forward_derivative", "backward_derivative",
                                    "forward", "trace"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, complex(0, np.nan)])
def test_nan_and_infinity_are_refused(method, value):
    x = np.zeros((3, 2), type(value))
    x[1, 1] = value
    with pytest.raises(ValueError, match="finite"):
        list(getattr(AndNetwork(), method)(x))


@pytest.mark.parametrize("x", [np.array([["0", "1"]]), np.array([[None, 1]]), np.array([[b"0", b"1"]])])
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
    """∂F/∂x_i against a difference in pixel (c, y, x), i = (c·H + y)·W + x, exact because F is linear."""
    shape = (channels, 3, 4)
    rng = np.random.default_rng(channels)
    network = Network([Conv2d(channels, 2, 2), Flatten(), Linear(12, 3)], shape)
    network.load({name: rng.integers(-5, 6, array.shape).astype(float) for name, array in network.parameters().items()})
    jacobian = network.forward_derivative(np.zeros((1, *shape)))[0]
    for c, y, x in np.ndindex(shape):
        image = np.zeros((1, *shape))
        image[0, c, y, x] = 1
        change = network.logits(image) - network.logits(0 * image)
        np.testing.assert_array_equal(jacobian[:, (c * shape[1] + y) * shape[2] + x], change[0])


# types

@pytest.mark.parametrize(("given", "expected"), [
    (np.float32, np.float32), (np.float64, np.float64), (np.float16, np.float32), (np.uint8, np.float32),
    (np.int64, np.float32), (bool, np.float32), (np.complex64, np.complex64), (np.complex128, np.complex128),
])
@pytest.mark.parametrize("own", [np.float32, np.float64])
@pytest.mark.parametrize("end", [[], [Linear(6, 3), ReLU(), Linear(3, 2), Sigmoid()], [Linear(6, 2), Softmax()]])
def test_types(given, expected, own, end):
    """The precision is the input's, in every result and at every step, whatever the parameters' own."""
    network = small(*end, dtype=own)
    x = np.random.default_rng(0).integers(0, 2, (3, 2, 5, 6)).astype(given)
    logits, saved = network.forward(x)
    found = {"logits": network.logits(x), "probabilities": network.probabilities(x), "forward": logits}
    for of in ("logits", "centred", "probabilities"):
        found["forward " + of] = network.forward_derivative(x, of=of)
        found["backward " + of] = network.backward_derivative(x, of=of)
    found.update({"gradient " + name: array for name, array in network.gradients(logits, saved).items()})
    found["cotangents"] = network.backward_derivative(x, np.ones((1, network.classes)))
    for name, value, jacobian in network.trace(x):
        found["value of " + name] = value
        if np.dtype(given).kind != "c":  # what does not depend on x stays real
            found["windows of " + name], found["jacobian of " + name] = jacobian.values, jacobian.dense(3)
    assert {name: array.dtype for name, array in found.items() if array.dtype != expected} == {}
    assert all(array.dtype == own for array in network.parameters().values())


def test_float32_is_close_to_float64():
    network, x = LeNet(1), np.random.default_rng(0).random((1, 28, 28))
    for of in ("logits", "probabilities"):
        close(network.forward_derivative(x.astype(np.float32), of=of), network.forward_derivative(x, of=of), 1e-5)
        close(network.backward_derivative(x.astype(np.float32), of=of), network.backward_derivative(x, of=of), 1e-5)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layers", [[Linear(3, 4), Tanh(), Linear(4, 2)], [Linear(3, 2), Sigmoid()], [Linear(3, 2)]])
def test_complex_input_has_a_forward_derivative(layers, batch):
    """Away from the real axis it is the derivative of the analytic function: a complex step of it is the second one."""
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
    function = {"logits": network.logits, "probabilities": network.probabilities,
                "centred": lambda z: network.logits(z) - network.logits(z).mean(axis=1, keepdims=True)}[of]
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
    """A network that ends without `Flatten`: logits in the order (C, Y, X), each `of` the derivative of its function."""
    rng = np.random.default_rng(0)
    network = Network([Conv2d(1, 3, 2), *end], (3, 4))
    x = rng.normal(size=(2, 3, 4))
    for method in (network.logits, network.probabilities):
        assert method(x).shape == (2, 3 * 2 * 3)
    function = {"logits": network.logits, "probabilities": network.probabilities,
                "centred": lambda z: network.logits(z) - network.logits(z).mean(axis=1, keepdims=True)}[of]
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
    with pytest.raises(ValueError, match=r"cotangents must have the shape \(K, 4\) or \(3, K, 4\); got ") as caught:
        network.backward_derivative(x, np.ones(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("method", ["forward_derivative", "backward_derivative"])
def test_another_of_is_refused(method):
    with pytest.raises(ValueError, match="of must be one of logits, centred, probabilities; got 'softmax'"):
        getattr(AndNetwork(), method)(np.zeros((1, 2)), of="softmax")


def test_predict_takes_the_lowest_of_equals():
    network = Network([Linear(4, 4)], (4,)).load({"0.weight": np.eye(4), "0.bias": np.zeros(4)})
    x = np.array([[0, 1, 1, 0], [3, 1, 3, 3], [0, 0, 0, 0], [-1, -1, -2, -1], [0, 1, 2, 3]], float)
    assert network.predict(x).tolist() == [1, 0, 0, 0, 3]
    assert network.predict(x.astype(complex)).tolist() == [1, 0, 0, 0, 3]


def test_predict_with_one_output():
    network = AndNetwork().load({"hidden.weight": 9 * np.eye(2), "hidden.bias": np.full(2, -4.5),
                                 "output.weight": np.full((1, 2), 10.0), "output.bias": np.array([-15.0])})
    assert network.predict([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).tolist() == [0, 0, 0, 1]


def test_results_are_the_callers_own():
    """They may be written on, and that reaches neither the network nor a later result."""
    rng = np.random.default_rng(0)
    for network, x in [(Network([Linear(3, 1), end], (3,)), rng.random((1, 3))) for end in (Sigmoid(), Tanh())] + [
            (Network([Linear(3, 1)], (3,)), rng.random((1, 3))), (small(), rng.random((2, 60)))]:
        network.load({name: array.astype(np.float64) for name, array in network.parameters().items()})
        weights = {name: array.copy() for name, array in network.parameters().items()}
        for of in ("logits", "centred", "probabilities"):
            for method in (network.forward_derivative, network.backward_derivative):
                first = method(x, of=of)
                before = first.copy()
                first[:] = 0
                np.testing.assert_array_equal(method(x, of=of), before)
        for name, array in network.parameters().items():
            np.testing.assert_array_equal(array, weights[name])


# batches and threads

@pytest.mark.parametrize("count", [1, 15, 16, 17, 40, 256, 257])
def test_results_do_not_depend_on_the_batches(count):
    network, x = small(Linear(6, 3), Softmax()), np.random.default_rng(count).normal(size=(count, 2, 5, 6))
    v = np.random.default_rng(0).normal(size=(count, 2, 3))
    for function in (network.logits, network.probabilities, network.predict, network.forward_derivative,
                     network.backward_derivative, lambda z: network.forward_derivative(z, of="centred")):
        close(function(x), np.concatenate([function(x[n:n + 1]) for n in range(count)]), 1e-13)
    close(network.backward_derivative(x, v),
          np.concatenate([network.backward_derivative(x[n:n + 1], v[n:n + 1]) for n in range(count)]), 1e-13)


@pytest.mark.parametrize("make", [LeNet, AndNetwork, small])
def test_no_samples(make):
    network = make()
    x, (n, m) = np.zeros((0, network.features)), (network.classes, network.features)
    assert network.logits(x).shape == network.probabilities(x).shape == (0, n)
    assert network.predict(x).shape == (0,)
    assert network.forward_derivative(x).shape == network.backward_derivative(x).shape == (0, n, m)
    assert network.backward_derivative(x, np.ones((2, n))).shape == (0, 2, m)
    assert network.backward_derivative(x, np.ones((0, 3, n))).shape == (0, 3, m)


def test_no_samples_in_forward_and_trace():
    network = small()
    x = np.zeros((0, 2, 5, 6))
    assert network.forward(x)[0].shape == (0, 4)
    assert all(value.shape == (0, *network.shapes[name]) for name, value, _ in network.trace(x))


def test_threads_share_a_network():
    network = small(Linear(6, 3), Tanh(), Linear(3, 3), Softmax())
    inputs = [np.random.default_rng(n).normal(size=(n % 3 + 1, 2, 5, 6)) for n in range(60)]

    def work(x):
        traced = [array for _, value, jacobian in network.trace(x) for array in (value, jacobian.dense(len(x)))]
        return [network.logits(x), network.forward_derivative(x), network.backward_derivative(x), *traced]

    alone = [work(x) for x in inputs]
    with ThreadPoolExecutor(4) as threads:
        for expected, got in zip(alone, threads.map(work, inputs)):
            for one, other in zip(expected, got):
                np.testing.assert_array_equal(other, one)
        lenet, images = LeNet(5), np.random.default_rng(0).random((4, 1, 784))
        for one, other in zip(map(lenet.forward_derivative, images), threads.map(lenet.forward_derivative, images)):
            close(other, one, 1e-13)


# the trace

def test_trace_against_the_complex_step():
    """Every H_k and ∂H_k/∂x of a small convolutional network."""
    network, x = small(Linear(6, 5), Sigmoid(), Linear(5, 3), Softmax()), np.random.default_rng(0).normal(size=(2, 60))
    names = [str(n) for n in range(9)]
    steps = list(network.trace(x))
    assert [name for name, _, _ in steps] == names == list(network.layers)
    shapes = [(3, 6, 5), (3, 3, 2), (3, 3, 2), (3, 1, 2), (6, 1, 1), (5, 1, 1), (5, 1, 1), (3, 1, 1), (3, 1, 1)]
    for number, ((name, value, jacobian), shape) in enumerate(zip(steps, shapes)):
        assert value.shape == (2, *shape) and network.shapes[name] == shape
        assert jacobian.dense(2).shape == (2, *shape, 60)
        for b in range(2):
            step = complex_step(lambda z: list(network.trace(z))[number][1].reshape(len(z), -1), x[b])
            close(jacobian.dense(2)[b].reshape(-1, 60), step)
    close(steps[-2][1].reshape(2, -1), network.logits(x), 1e-14)
    close(steps[-1][1].reshape(2, -1), network.probabilities(x), 1e-14)
    close(steps[-2][2].dense(2).reshape(2, 3, 60), network.forward_derivative(x), 1e-14)
    close(steps[-1][2].dense(2).reshape(2, 3, 60), network.forward_derivative(x, of="probabilities"), 1e-14)


def test_windows_of_lenet():
    """The receptive fields of Fig. 8: kernel 5, then 6 with stride 2, 14, 16 with stride 4, then the whole image."""
    x = np.random.default_rng(0).random((2, 28, 28)).astype(np.float32)
    expected = {"conv1": (5, 1, 24, 20), "pool1": (6, 2, 12, 20), "tanh1": (6, 2, 12, 20), "conv2": (14, 2, 8, 50),
                "pool2": (16, 4, 4, 50), "tanh2": (16, 4, 4, 50), "flatten": (28, 1, 1, 800), "fc1": (28, 1, 1, 500),
                "tanh3": (28, 1, 1, 500), "fc2": (28, 1, 1, 10), "softmax": (28, 1, 1, 10)}
    for name, value, jacobian in LeNet().trace(x):
        window, stride, units, channels = expected.pop(name)
        assert jacobian.values.shape[:2] == (window, window)
        assert jacobian.values.shape[2] == 1 and jacobian.values.shape[-1] == channels
        assert (jacobian.stride, jacobian.start, jacobian.units) == ((stride, stride), (0, 0), (units, units))
        assert value.shape == (2, channels, units, units)
    assert not expected


def test_windows_of_a_padded_network_begin_outside_the_image():
    network = Network([Conv2d(1, 2, 3, 2, (1, 2)), Conv2d(2, 2, (3, 1), (1, 2), (2, 0)), AvgPool2d(2, 1)], (9, 12))
    found = [(j.values.shape[:2], j.stride, j.start, j.units) for _, _, j in network.trace(np.ones((1, 9, 12)))]
    assert found == [((3, 3), (2, 2), (-1, -2), (5, 7)), ((7, 3), (2, 4), (-5, -2), (7, 4)),
                     ((9, 7), (2, 4), (-5, -2), (6, 3))]


# construction

@pytest.mark.parametrize(("layers", "input_shape", "message"), [
    ({"conv1": Conv2d(2, 3, 3)}, (1, 8, 8), "'conv1'.*takes 2 channels; its input has 1"),
    ({"conv1": Conv2d(1, 3, 3), "conv2": Conv2d(1, 3, 3)}, (8, 8), "'conv2'.*takes 1 channels; its input has 3"),
    ({"conv1": Conv2d(1, 3, (9, 2))}, (8, 8), "'conv1'.*does not fit into an input of 8×8"),
    ([Tanh(), MaxPool2d((2, 9))], (8, 8), "'1': MaxPool2d.*does not fit into an input of 8×8"),
    ([AvgPool2d(2)], (5,), "'0': AvgPool2d.*does not fit into an input of 1×1"),
    ({"conv": Conv2d(1, 2, 3), "fc": Linear(72, 2)}, (8, 8), "'fc'.*72 features; its input has 2×6×6.*Flatten"),
    ({"flat": Flatten(), "fc": Linear(63, 2)}, (8, 8), "'fc'.*takes 63 features; its input has 64"),
    ({"fc1": Linear(4, 3), "fc2": Linear(4, 2)}, (4,), "'fc2'.*takes 4 features; its input has 3"),
    ({}, (4,), "at least one layer"), ([], (4,), "at least one layer"),
    ([Tanh()], (0,), r"input_shape must be \(M,\).*; got \(0,\)"),
    ([Tanh()], (28, -1), r"input_shape must be .*; got \(28, -1\)"),
    ([Tanh()], (1, 2, 3, 4), r"input_shape must be .*; got \(1, 2, 3, 4\)"),
])
def test_bad_networks_are_refused_in_one_line(layers, input_shape, message):
    with pytest.raises(ValueError, match=message) as caught:
        Network(layers, input_shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("change", "message"), [
    (lambda p: p.pop("0.bias"), "missing .*0.bias"), (lambda p: p.update(extra=np.ones(1)), "unknown .*extra"),
    (lambda p: p.update({"0.weight": np.ones((2, 3))}), r"0.weight must have the shape \(3, 2\); got \(2, 3\)"),
])
def test_load_takes_all_or_nothing(change, message):
    network = Network([Linear(2, 3)], (2,))
    before = {name: array.copy() for name, array in network.parameters().items()}
    parameters = {"0.weight": np.ones((3, 2)), "0.bias": np.ones(3)}
    change(parameters)
    with pytest.raises(ValueError, match=message):
        network.load(parameters)
    for name, array in network.parameters().items():
        np.testing.assert_array_equal(array, before[name])


def test_load_copies():
    network, bias = Network([Linear(2, 3)], (2,)), np.zeros(3)
    network.load({"0.weight": np.ones((3, 2)), "0.bias": bias})
    bias[:] = 7
    assert not network.parameters()["0.bias"].any()
    network.parameters()["0.bias"][:] = 5  # the arrays themselves, as the docstring says
    np.testing.assert_array_equal(network.logits(np.zeros((1, 2))), [[5, 5, 5]])
