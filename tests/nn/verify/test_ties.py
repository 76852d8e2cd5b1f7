"""Exactly tied pooling windows: the first maximum in row-major order wins, forward and backward, as
in PyTorch.

The black background of MNIST ties a large part of all pooling windows. The weights here are small
multiples of 1/16 and the pixels 0 or 1, so every sum is exact in any order and a tie is a tie for
every referee.
"""
import numpy as np
import pytest
from reference import close, complex_step, logits_and_jacobian

from data import load_mnist
from nn import AvgPool2d, Conv2d, Flatten, LeNet, Linear, MaxPool2d, Network, ReLU, check_network

IMAGES = {
    "digits": load_mnist("test")[0][:6].round(),
    "zeros": np.zeros((1, 28, 28)),
    "ones": np.ones((1, 28, 28)),
    "half": np.repeat([[[0.0, 1.0]]], 14, axis=2).repeat(28, axis=1),
    "stripes": np.tile([[[0.0, 0.0, 1.0]], [[1.0, 0.0, 1.0]]], (1, 28, 10))[:, :, :28],
}


def with_exact_weights(network, seed=0):
    rng = np.random.default_rng(seed)
    for layer in network.layers.values():
        for key, array in layer.parameters.items():
            layer.parameters[key] = rng.integers(-8, 9, array.shape) / 16
    return network


def lenet_in_small():
    """Convolution and pooling as in LeNet, with a rectifier in place of the tanh, which would
    round."""
    return with_exact_weights(Network({
        "conv1": Conv2d(1, 3, 5), "pool1": MaxPool2d(2), "relu1": ReLU(),
        "conv2": Conv2d(3, 4, 5), "pool2": MaxPool2d(2), "relu2": ReLU(),
        "flatten": Flatten(), "fc": Linear(64, 5)}, (28, 28)))


def overlapping():
    """Windows that share pixels, so that one winner wins several times; a pool of a pool; a padded
    convolution."""
    return with_exact_weights(Network([
        MaxPool2d(3, 2), Conv2d(1, 2, 3, 1, 2), MaxPool2d((2, 3), 1), AvgPool2d(2, 2),
        MaxPool2d(2, 1), Flatten(), Linear(60, 4)], (28, 28)))


def padded():
    """Windows that stick out of the image on all sides: what is padded never wins, nor ties."""
    return with_exact_weights(Network([
        MaxPool2d(3, 2, 1), Conv2d(1, 2, 3, 1, 1), ReLU(), MaxPool2d((2, 3), 2, 1, ceil_mode=True),
        MaxPool2d(3, 3, 1, ceil_mode=True), Flatten(), Linear(18, 4)], (28, 28)))


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("make", [lenet_in_small, overlapping, padded])
def test_the_first_maximum_wins(make, kind):
    network, x = make(), IMAGES[kind].astype(np.float64)
    expected = [logits_and_jacobian(network, image) for image in x]
    close(network.logits(x), [logits for logits, _ in expected], 1e-14)
    close(network.forward_derivative(x), [jacobian for _, jacobian in expected], 1e-14)
    close(network.backward_derivative(x), [jacobian for _, jacobian in expected], 1e-14)
    close(network.forward_derivative(x[:1])[0], complex_step(network.logits, x[0]), 1e-14)


def test_another_rule_would_be_seen():
    """The images above do tie: were the last maximum the winner, the derivatives would differ."""
    x = IMAGES["digits"].astype(np.float64)
    network, upside_down = (
        Network([Conv2d(1, 3, 5), MaxPool2d(2), Flatten(), Linear(432, 5)], (28, 28))
        for _ in range(2))
    conv, fc = (layer.parameters for layer in with_exact_weights(network).layers.values()
                if layer.parameters)
    upside_down.load({
        "0.weight": conv["weight"][:, :, ::-1, ::-1], "0.bias": conv["bias"], "3.bias": fc["bias"],
        "3.weight": fc["weight"].reshape(5, 3, 12, 12)[:, :, ::-1, ::-1].reshape(5, 432)})
    assert (network.logits(x) == upside_down.logits(x[:, ::-1, ::-1])).all()
    here, there = network.forward_derivative(x), upside_down.forward_derivative(x[:, ::-1, ::-1])
    assert (here != there[:, :, ::-1]).any(axis=(1, 2)).all()


def test_one_window_by_hand():
    """Four tied pixels: all of the derivative goes to the first, none to the others (a difference
    would see ½ or ¼)."""
    network = Network([MaxPool2d(2), Flatten()], (2, 4))
    x = np.array([[[1.0, 1.0, 0.0, 3.0], [1.0, 1.0, 3.0, 0.0]]])
    expected = np.zeros((2, 8))
    expected[0, 0] = expected[1, 3] = 1
    for derivative in (network.forward_derivative, network.backward_derivative):
        np.testing.assert_array_equal(derivative(x)[0], expected)


@pytest.mark.parametrize(("dtype", "relative"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_lenet_on_digits_forward_is_backward(dtype, relative):
    network, x = LeNet.pretrained(), load_mnist("test")[0][:8].astype(dtype)
    x[-2], x[-1] = 0, 1
    close(network.forward_derivative(x), network.backward_derivative(x), relative)


@pytest.mark.parametrize("kind", IMAGES)
def test_torch_gives_the_same_numbers(kind):
    torch = pytest.importorskip("torch", reason="PyTorch, the referee, is not installed")
    f = torch.nn.functional
    network, x = lenet_in_small(), IMAGES[kind].astype(np.float64)
    parameters = {name: torch.tensor(array) for name, array in network.parameters().items()}

    def logits(image):
        h = image[None, None]
        for name in ("conv1", "conv2"):
            h = f.conv2d(h, parameters[f"{name}.weight"], parameters[f"{name}.bias"])
            h = torch.relu(f.max_pool2d(h, 2))
        return f.linear(h.flatten(1), parameters["fc.weight"], parameters["fc.bias"])[0]

    jacobian = torch.func.jacrev(logits)
    expected = [jacobian(torch.tensor(image)).reshape(5, 784).numpy() for image in x]
    close(network.forward_derivative(x), expected)
    close(network.backward_derivative(x), expected)


def test_ties_of_padded_windows_are_counted():
    """As many as there are windows with two largest units, however many of their units are
    padding; torch follows the same rule."""
    pytest.importorskip("torch", reason="torch is not installed (pip install 'jsma[referees]')")
    network, x = padded(), np.zeros((1, 28, 28))
    report = check_network(network, x, against=["complex step", "dense", "torch jacfwd"])
    assert report.verdict == "right", str(report)
    assert report.rows[0].ties == 14 * 14  # the smallest window, in a corner, sees 2×2 pixels
