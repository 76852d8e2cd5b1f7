"""How a `Network` runs: in batches, in threads, layer by layer with `trace`; and what it refuses to
be built of."""
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from reference import close, complex_step, with_random_weights

from nn import (
    AndNetwork,
    AvgPool2d,
    Conv2d,
    Flatten,
    LeNet,
    Linear,
    MaxPool2d,
    Network,
    Sigmoid,
    Softmax,
    Tanh,
)


def small(*end):
    """Two channels of 5×6 pixels → 3 kernels 2×2 → pooled to 3 × 1 × 2; then `end`."""
    network = Network([Conv2d(2, 3, 2, 1, (1, 0)), MaxPool2d(2), Tanh(), AvgPool2d((2, 1)),
                       Flatten(),
                       *(end or [Linear(6, 4)])], (2, 5, 6))
    return with_random_weights(network, np.random.default_rng(0))


# batches and threads

@pytest.fixture(scope="module")
def one_by_one():
    """[(function of (x, v), its answers at each of 257 samples alone)], the samples x and v."""
    network, rng = small(Linear(6, 3), Softmax()), np.random.default_rng(0)
    x, v = rng.normal(size=(257, 2, 5, 6)), rng.normal(size=(257, 2, 3))
    functions = [*(lambda x, _, f=f: f(x) for f in (
        network.logits, network.probabilities, network.predict, network.forward_derivative,
        network.backward_derivative)), network.backward_derivative,
        lambda x, _: network.forward_derivative(x, of="centred")]
    return x, v, [(function, np.concatenate([function(x[n:n + 1], v[n:n + 1])
                                             for n in range(len(x))])) for function in functions]


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40, 256, 257])
def test_results_do_not_depend_on_the_batches(count, one_by_one):
    x, v, functions = one_by_one
    for function, alone in functions:
        close(function(x[:count], v[:count]), alone[:count], 1e-13)


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
        traced = [array for _, value, jacobian in network.trace(x)
                  for array in (value, jacobian.dense(len(x)))]
        return [network.logits(x), network.forward_derivative(x), network.backward_derivative(x),
                *traced]

    alone = [work(x) for x in inputs]
    with ThreadPoolExecutor(4) as threads:
        for expected, got in zip(alone, threads.map(work, inputs)):
            for one, other in zip(expected, got):
                np.testing.assert_array_equal(other, one)
        lenet, images = LeNet(5), np.random.default_rng(0).random((4, 1, 784))
        for one, other in zip(map(lenet.forward_derivative, images),
                              threads.map(lenet.forward_derivative, images)):
            close(other, one, 1e-13)


# the trace

def test_trace_against_the_complex_step():
    """Every H_k and ∂H_k/∂x of a small convolutional network."""
    network = small(Linear(6, 5), Sigmoid(), Linear(5, 3), Softmax())
    x = np.random.default_rng(0).normal(size=(2, 60))
    names = [str(n) for n in range(9)]
    steps = list(network.trace(x))
    assert [name for name, _, _ in steps] == names == list(network.layers)
    shapes = [(3, 6, 5), (3, 3, 2), (3, 3, 2), (3, 1, 2), (6, 1, 1), (5, 1, 1), (5, 1, 1),
              (3, 1, 1), (3, 1, 1)]
    for number, ((name, value, jacobian), shape) in enumerate(zip(steps, shapes)):
        assert value.shape == (2, *shape) and network.shapes[name] == shape
        assert jacobian.dense(2).shape == (2, *shape, 60)
        for b in range(2):
            def layer_value(z, n=number):
                return list(network.trace(z))[n][1].reshape(len(z), -1)

            close(jacobian.dense(2)[b].reshape(-1, 60), complex_step(layer_value, x[b]))
    close(steps[-2][1].reshape(2, -1), network.logits(x), 1e-14)
    close(steps[-1][1].reshape(2, -1), network.probabilities(x), 1e-14)
    close(steps[-2][2].dense(2).reshape(2, 3, 60), network.forward_derivative(x), 1e-14)
    close(steps[-1][2].dense(2).reshape(2, 3, 60),
          network.forward_derivative(x, of="probabilities"), 1e-14)


def test_windows_of_lenet():
    """The receptive fields of Fig. 8: kernel 5, then 6 with stride 2, 14, 16 with stride 4, then
    the whole image."""
    x = np.random.default_rng(0).random((2, 28, 28)).astype(np.float32)
    expected = {"conv1": (5, 1, 24, 20), "pool1": (6, 2, 12, 20), "tanh1": (6, 2, 12, 20),
                "conv2": (14, 2, 8, 50),
                "pool2": (16, 4, 4, 50), "tanh2": (16, 4, 4, 50), "flatten": (28, 1, 1, 800),
                "fc1": (28, 1, 1, 500),
                "tanh3": (28, 1, 1, 500), "fc2": (28, 1, 1, 10), "softmax": (28, 1, 1, 10)}
    for name, value, jacobian in LeNet().trace(x):
        window, stride, units, channels = expected.pop(name)
        assert jacobian.values.shape[:2] == (window, window)
        assert jacobian.values.shape[2] == 1 and jacobian.values.shape[-1] == channels
        assert (jacobian.stride, jacobian.start) == ((stride, stride), (0, 0))
        assert jacobian.units == (units, units)
        assert value.shape == (2, channels, units, units)
    assert not expected


def test_windows_of_a_padded_network_begin_outside_the_image():
    network = Network([Conv2d(1, 2, 3, 2, (1, 2)), Conv2d(2, 2, (3, 1), (1, 2), (2, 0)),
                       AvgPool2d(2, 1)], (9, 12))
    windows = [(j.values.shape[:2], j.stride, j.start, j.units)
               for _, _, j in network.trace(np.ones((1, 9, 12)))]
    assert windows == [((3, 3), (2, 2), (-1, -2), (5, 7)), ((7, 3), (2, 4), (-5, -2), (7, 4)),
                     ((9, 7), (2, 4), (-5, -2), (6, 3))]


# construction

@pytest.mark.parametrize(("layers", "input_shape", "message"), [
    ({"conv1": Conv2d(2, 3, 3)}, (1, 8, 8), "'conv1'.*takes 2 channels; its input has 1"),
    ({"conv1": Conv2d(1, 3, 3), "conv2": Conv2d(1, 3, 3)}, (8, 8),
     "'conv2'.*takes 1 channels; its input has 3"),
    ({"conv1": Conv2d(1, 3, (9, 2))}, (8, 8), "'conv1'.*does not fit into an input of 8×8"),
    ([Tanh(), MaxPool2d((2, 9))], (8, 8), "'1': MaxPool2d.*does not fit into an input of 8×8"),
    ([AvgPool2d(2)], (5,), "'0': AvgPool2d.*does not fit into an input of 1×1"),
    ({"conv": Conv2d(1, 2, 3), "fc": Linear(72, 2)}, (8, 8),
     "'fc'.*72 features; its input has 2×6×6.*Flatten"),
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
    (lambda p: p.pop("0.bias"), "missing .*0.bias"),
    (lambda p: p.update(extra=np.ones(1)), "unknown .*extra"),
    (lambda p: p.update({"0.weight": np.ones((2, 3))}),
     r"0.weight must have the shape \(3, 2\); got \(2, 3\)"),
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
