"""Numbers at the edge of their types: no warning, no NaN among what is chosen, the same bytes from
the same seed.

Huge logits in the loss are in tests/nn/test_training.py, infinite scores of pairs in
tests/attack/test_pairs.py.
"""
import itertools
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from fuzz import count

from attack import craft
from data import load_mnist
from nn import (
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
    check_network,
)
from nn.training import SGD, train_epoch

ROOT = Path(__file__).parent.parent.parent
SCALES = (0.0, 1e-30, 1.0, 1e30, 3e37)
IMAGES = {"zeros": np.zeros((1, 12, 12)), "ones": np.ones((1, 12, 12)),
          "digit": load_mnist("test")[0][:1, 8:20, 8:20]}


def small(scale, dtype, activation=Tanh):
    """Every kind of layer, with all weights multiplied by `scale`."""
    rng = np.random.default_rng(0)
    network = Network({"conv": Conv2d(1, 4, 3, rng=rng), "pool": MaxPool2d(2),
                       "act1": activation(), "flatten": Flatten(), "fc1": Linear(100, 20, rng=rng),
                       "act2": activation(), "fc2": Linear(20, 4, rng=rng), "softmax": Softmax()},
                      (12, 12))
    return network.load({name: (scale * array).astype(dtype)
                         for name, array in network.parameters().items()})


@pytest.fixture(autouse=True)
def no_warning():
    """Whatever NumPy would print on a user's terminal fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("activation", [Tanh, pytest.param(Sigmoid, marks=pytest.mark.slow),
                                        pytest.param(ReLU, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", SCALES)
def test_weights_of_any_size_choose_no_nan(scale, dtype, activation):
    """Products that are denormal or overflow, saturated activations, black and white images."""
    network = small(scale, dtype, activation)
    for image, derivative, of, theta in itertools.product(
            IMAGES.values(), ("forward", "backward"), ("logits", "centred", "probabilities"),
            (1.0, -0.5)):
        x = image.astype(dtype)
        try:
            crafted = craft(network, x, 2, derivative=derivative, of=of, theta=theta,
                            max_distortion=3, trace=True)
        except ValueError as error:  # ∞ − ∞
            assert scale >= 1e30 and activation is ReLU and "model gives NaN" in str(error)
            count("crafting with extreme weights", "refused")
            continue
        for step in crafted.trace[0]:
            p, q = step.pair
            assert (p, q) == (-1, -1) or p < q and np.isfinite(step.score) and step.score >= 0
            assert p < 0 or np.isfinite([step.alpha[[p, q]], step.beta[[p, q]]]).all()
        assert 0 <= crafted.adversarial.min() and crafted.adversarial.max() <= 1
        assert crafted.adversarial.dtype == dtype and crafted.reason[0] in (
            "target_reached", "already_target", "max_iterations", "domain_empty", "no_pair")
        count("crafting with extreme weights", "right")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saturated_activations_leave_the_image_alone(dtype):
    """f' = 0 everywhere: the forward derivative is 0, no pair qualifies, nothing is touched."""
    network = small(1.0, dtype)
    network.load({name: np.full_like(array, 1e4) if name == "fc1.bias" else array
                  for name, array in network.parameters().items()})
    image = IMAGES["digit"].astype(dtype)
    target = (int(network.predict(image)[0]) + 1) % 4
    assert not network.forward_derivative(image).any()
    assert not network.backward_derivative(image).any()
    crafted = craft(network, image, target, max_distortion=None)
    assert crafted.reason[0] == "no_pair" and np.array_equal(crafted.adversarial, image)


@pytest.mark.parametrize("activation", [Tanh, Sigmoid])
@pytest.mark.parametrize("scale", [0.0, 1e3, 1e30])
def test_the_dense_referee_agrees_where_activations_are_saturated(scale, activation):
    report = check_network(small(scale, np.float64, activation), IMAGES["digit"].astype(float),
                           against=["dense"])
    assert report.verdict == "right" and np.isfinite(report.rows[-1].errors["dense"].absolute)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_is_stable(dtype):
    """Logits up to the type's largest: probabilities that sum to 1, a finite derivative."""
    largest = np.finfo(dtype).max
    for logits in ([largest, -largest, 0], [largest, largest, -largest], [1e4, -1e4, 9999],
                   [-largest] * 3, [1e-40, 0, 0]):
        network = Network({"fc": Linear(1, 3), "softmax": Softmax()}, (1,))
        network.load({"fc.weight": np.zeros((3, 1), dtype), "fc.bias": np.array(logits, dtype)})
        x = np.ones((1, 1), dtype)
        p = network.probabilities(x)
        assert p.dtype == dtype and np.isfinite(p).all() and p.sum() == pytest.approx(1)
        wide = np.array(logits, np.longdouble)
        expected = np.exp(wide - wide.max()) / np.exp(wide - wide.max()).sum()
        np.testing.assert_allclose(p[0], expected.astype(float), rtol=4 * np.finfo(dtype).eps,
                                   atol=np.finfo(dtype).tiny)
        assert np.isfinite(network.forward_derivative(x, of="probabilities")).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("theta", [1e-30, -1e-30, 1e-9, 1e30, -1e300, 1e-320, 9.99e-4])
def test_a_theta_of_any_size_comes_to_an_end(theta, dtype):
    """θ that is lost when it is added, or 10⁹ times too small, would go on for ever where Υ = ∞."""
    network, image = small(1.0, dtype), IMAGES["digit"].astype(dtype)
    target = (int(network.predict(image)[0]) + 1) % 4
    crafted = craft(network, image, target, theta=theta, max_distortion=10)
    assert ((crafted.adversarial >= 0) & (crafted.adversarial <= 1)).all()
    assert crafted.iterations[0] <= 7
    if abs(theta) < 1e-3:
        with pytest.raises(ValueError, match="theta must be at least 0.001"):
            craft(network, image, target, theta=theta, max_distortion=None)
    else:
        assert craft(network, image, target, theta=theta,
                     max_distortion=None).reason[0] != "max_iterations"


def test_black_and_white_images_can_be_learned():
    network = small(1.0, np.float32)
    images = np.repeat([np.zeros((12, 12)), np.ones((12, 12))], 20, axis=0).astype(np.float32)
    loss = [train_epoch(network, images, np.repeat([0, 1], 20), SGD(network, 0.1), 10, 0, epoch)
            for epoch in range(3)]
    assert loss[2] < loss[0]


CODE = """
import sys, numpy as np
from attack import craft
from data import load_mnist
from nn import LeNet
images = load_mnist("test")[0][:6].astype(sys.argv[1])
network = LeNet.pretrained()
network.load({name: array.astype(sys.argv[1]) for name, array in network.parameters().items()})
crafted = craft(network, images, [(n + 1) % 10 for n in range(6)], derivative=sys.argv[2])
np.savez(sys.argv[3], J=network.forward_derivative(images), logits=network.logits(images),
         pairs=crafted.pairs)
"""


@pytest.mark.slow
@pytest.mark.parametrize("derivative", ["forward", "backward"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-5)])
def test_one_and_two_threads(dtype, tolerance, derivative, tmp_path):
    """Twice with one thread: the same bytes. With two: equal to rounding, the same pairs."""
    for name, threads in (("one", "1"), ("again", "1"), ("two", "2")):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", CODE, dtype, derivative,
                        str(tmp_path / f"{name}.npz")], cwd=ROOT,
                       env=environment, check=True)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    one, two = np.load(tmp_path / "one.npz"), np.load(tmp_path / "two.npz")
    for name in ("J", "logits"):
        assert np.abs(one[name] - two[name]).max() <= tolerance * np.abs(one[name]).max()
    np.testing.assert_array_equal(one["pairs"], two["pairs"])
    count("one and two threads", "right")


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_the_commands_print_no_warning(scale, tmp_path):
    """LeNet with such weights, on real digits, as a user starts it."""
    from nn import save_weights
    network = LeNet(0)
    network.load({name: np.float32(scale) * array for name, array in network.parameters().items()})
    save_weights(tmp_path / "w.npz", network)
    for words in (["craft", "--count", "1", "--target", "3", "--max-distortion", "2", "--out",
                   str(tmp_path / "out")],
                  ["verify", "--json", "--against", "dense"],
                  ["explain", "--target", "3", "--max-distortion", "1", "--out",
                   str(tmp_path / "p.html")]):
        done = subprocess.run([sys.executable, "-m", "scripts", *words, "--weights",
                               str(tmp_path / "w.npz")], cwd=ROOT,
                              capture_output=True, text=True)
        assert done.returncode in (0, 1) and done.stderr == "", (words, done.stderr)
        assert "NaN" not in done.stdout and "Infinity" not in done.stdout
        count("commands with extreme weights", "right")
