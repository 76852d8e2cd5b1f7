"""A network of 36 pixels and 4 classes, and samples for it: what the tests of the attack try every
option on; and any network as the functions of one sample that `attack.textbook` takes."""
import numpy as np

from nn import Conv2d, Flatten, Linear, MaxPool2d, Network, Tanh


class Small(Network):
    """A network of 36 pixels and 4 classes, so that every option can be tried on hundreds of
    samples."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        layers = [Conv2d(1, 4, 3, rng=rng), MaxPool2d(2), Tanh(), Flatten(), Linear(16, 4, rng=rng)]
        layers[0].parameters["weight"] *= 3
        layers[-1].parameters["weight"] *= 3
        super().__init__(layers, (6, 6))


def some_samples(count, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    images = rng.random((count, 6, 6)) * (rng.random((count, 6, 6)) < 0.6)
    return np.round(images, 1).astype(dtype), rng.integers(0, 4, count)


def functions_of(network):
    """F: (M,) → (N,) logits and dF: (M,) → (N, M), of one flat sample."""
    return (lambda x: network.logits(x[None])[0],
            lambda x: network.forward_derivative(x[None])[0])
