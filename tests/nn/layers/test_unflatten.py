"""A row of units as an image again, against both referees: behind a Linear, behind a Flatten, on a
flat input, with convolutions, poolings and a sum behind it."""
import numpy as np
import pytest
from random_networks import check_layers

from nn import (
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Network,
    Softmax,
    Tanh,
    Unflatten,
    check_network,
)

DECODERS = {
    "a decoder": ([Linear(5, 24), Unflatten((2, 3, 4)), Conv2d(2, 3, 2, padding=1), Tanh(),
                   MaxPool2d(2, 1), Flatten(), Linear(36, 3), Softmax()], (5,)),
    "an autoencoder": ([Conv2d(1, 2, 3), Tanh(), Flatten(), Linear(36, 12), Unflatten((3, 2, 2)),
                        Conv2d(3, 1, 2, 1, 1), AvgPool2d(2, 1)], (1, 5, 8)),
    "a flat input": ([Unflatten((2, 3, 2)), Conv2d(2, 2, 2), Flatten(), Linear(4, 2)], (12,)),
    "rows read anew": ([Conv2d(2, 3, 2), Flatten(), Unflatten((2, 3, 4)), Conv2d(2, 2, (1, 2), 2)],
                       (2, 3, 5)),
    "behind one position": ([Conv2d(1, 8, (3, 4), 2), Unflatten((2, 2, 2)), Tanh()],
                            (1, 4, 5)),
    "twice": ([Linear(3, 8), Unflatten((2, 2, 2)), Flatten(), Linear(8, 6), Unflatten((1, 2, 3)),
               Flatten()], (3,)),
}


@pytest.mark.parametrize("case", DECODERS)
def test_against_both_referees(case):
    layers, shape = DECODERS[case]
    network = Network(layers, shape)
    x = np.random.default_rng(0).normal(size=(2, *shape))
    check_layers(network, x)
    assert check_network(network, x).verdict == "right"


def test_in_branches():
    layers = {"fc": Linear(6, 12), "image": Unflatten((1, 3, 4)), "flat": Flatten(),
              "again": Linear(12, 12), "other": Unflatten((1, 3, 4)), "add": Add(),
              "conv": Conv2d(1, 2, 2), "end": Flatten()}
    network = Network(layers, (6,), {"add": ("other", "image")})
    check_layers(network, np.random.default_rng(0).normal(size=(2, 6)))


@pytest.mark.parametrize("size", [4, (2, 3), (2, 0, 3), (1, 2.0, 3), "image", (1, 2, 3, 4)])
def test_what_is_no_shape_of_an_image(size):
    with pytest.raises(ValueError, match="unflattened_size must be .channels, height, width.") as e:
        Unflatten(size)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("shape", [(11,), (3, 2, 2)])
def test_what_does_not_fit(shape):
    with pytest.raises(ValueError, match="layer '0': Unflatten.* takes 12 features; its input has"):
        Network([Unflatten((3, 2, 2))], shape)
