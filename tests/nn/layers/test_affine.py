"""Fixed constants, weight · x + bias: a number, one a channel, one a unit, wherever they stand in a
network, against both referees and the check; what does not fit is refused."""
import numpy as np
import pytest
from random_networks import check_layers
from reference import close

import nn
from nn import Add, Affine, AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, Network, Softmax, Tanh

SHAPES = {"a number": lambda shape: (), "a channel": lambda shape: shape[:1],
          "a column": lambda shape: (shape[0], 1, 1), "a unit": lambda shape: shape}


def constants(rng, kinds, shape):
    return Affine(*(rng.normal(size=SHAPES[kind](shape)) for kind in kinds))


@pytest.mark.parametrize("kinds", [(a, b) for a in SHAPES for b in SHAPES])
def test_at_every_place_of_a_network(kinds):
    """On the image, behind a convolution, two poolings and a Flatten, in a branch, at the end."""
    rng = np.random.default_rng(0)
    layers = {"image": constants(rng, kinds, (2, 7, 6)), "conv": Conv2d(2, 3, 2),
              "maps": constants(rng, kinds, (3, 6, 5)), "tanh": Tanh(), "max": MaxPool2d(2, 1),
              "pooled": constants(rng, kinds, (3, 5, 4)), "avg": AvgPool2d((1, 2)),
              "branch": constants(rng, kinds, (3, 5, 2)), "add": Add(), "flat": Flatten(),
              "row": constants(rng, kinds, (30, 1, 1)), "fc": Linear(30, 4),
              "end": constants(rng, kinds, (4, 1, 1)), "softmax": Softmax()}
    network = Network(layers, (2, 7, 6), {"add": ("branch", "avg")})
    check_layers(network, rng.normal(size=(2, 2, 7, 6)))


ALL = ("complex step", "dense", "differences", "torch jacfwd", "torch jacrev", "jax jacfwd",
       "jax jacrev", "autograd")


@pytest.mark.parametrize("against", [
    ("complex step", "dense"), pytest.param(ALL, marks=pytest.mark.slow)], ids=["own", "all"])
def test_the_check_of_the_referees(against):
    if against == ALL:
        for package in ("torch", "jax", "autograd"):
            pytest.importorskip(package)
    rng = np.random.default_rng(1)
    network = Network([Affine(1 / np.array([0.2, 0.3]), [-2, 1]), Conv2d(2, 3, 3), Tanh(),
                       Flatten(), Affine(0.1, rng.normal(size=(48, 1, 1))), Linear(48, 3)],
                      (2, 6, 6))
    report = nn.check_network(network, rng.uniform(size=(2, 2, 6, 6)), against=against)
    assert report.verdict == "right" and not report.missing, report
    report = nn.check_network(network, rng.uniform(size=(2, 2, 6, 6)).astype(np.float32))
    assert report.verdict == "right", report


def test_a_wrong_derivative_shows():
    class Forgotten(Affine):
        """The weight is missing in the forward derivative."""

        def forward_derivative(self, jacobian, saved):
            return jacobian

    network = Network([Linear(3, 4), Forgotten(2.0, 1.0), Linear(4, 2)], (3,))
    report = nn.check_network(network, np.random.default_rng(0).uniform(size=(1, 3)))
    assert report.verdict == "wrong" and report.layer == "1", report


def test_normalised_images_as_people_write_them():
    rng = np.random.default_rng(0)
    x, mean, std = rng.uniform(size=(3, 2, 4, 5)), np.array([0.4, 0.5]), np.array([0.2, 0.3])
    network = Network([Affine(1 / std, -mean / std)], (2, 4, 5))
    expected = (x - mean[:, None, None]) / std[:, None, None]
    close(network.logits(x), expected.reshape(3, -1), 1e-14)
    x = rng.uniform(size=(2, 2, 4, 5)).astype(np.float32)
    assert network.logits(x).dtype == network.forward_derivative(x).dtype == np.float32


def test_they_are_saved_and_not_trained(tmp_path):
    network = Network([Affine([0.5, 2.0], 0.1), Flatten(), Linear(2, 2)], (2, 1, 1))
    before = {name: array.copy() for name, array in network.parameters().items()}
    x = np.random.default_rng(0).normal(size=(5, 2))
    logits, saved = network.forward(x)
    assert set(network.gradients(np.ones_like(logits), saved)) == {"2.weight", "2.bias"}
    path = tmp_path / "weights.npz"
    nn.save_weights(path, network)
    other = Network([Affine([1.0, 1.0], 0.0), Flatten(), Linear(2, 2)], (2, 1, 1))
    nn.load_weights(path, other)
    for name, array in other.parameters().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(("arguments", "said"), [
    ((np.ones((2, 2)),), "weight must be finite, a number, .c,. or .c, y, x.; got the shape .2, 2"),
    ((1, np.nan), "bias must be finite"), (("a",), "weight must hold real numbers; got 'a'"),
    ((1, 1j), "bias must hold real numbers"), (([1, [2]],), "weight must hold real numbers"),
])
def test_what_are_no_constants(arguments, said):
    with pytest.raises(ValueError, match=said) as caught:
        Affine(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weight", [np.ones(3), np.ones((2, 4, 1)), np.ones((1, 1, 1))])
def test_constants_that_do_not_fit(weight):
    with pytest.raises(ValueError, match="layer '0': .*weight must be a number, one for each "
                                         "channel or one for each unit of 2×4×5; got the shape"):
        Network([Affine(weight)], (2, 4, 5))
