"""A network of 36 pixels and 4 classes, and samples for it: what the tests of the attack try every
option on; two for digits that are quicker than the LeNet; and any network as the functions of one
sample that `attack.textbook` takes."""
import numpy as np

from nn import Conv2d, Flatten, Linear, MaxPool2d, Network, Softmax, Tanh


class Small(Network):
    """A network of 36 pixels and 4 classes, so that every option can be tried on hundreds of
    samples."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        layers = [Conv2d(1, 4, 3, rng=rng), MaxPool2d(2), Tanh(), Flatten(), Linear(16, 4, rng=rng)]
        layers[0].parameters["weight"] *= 3
        layers[-1].parameters["weight"] *= 3
        super().__init__(layers, (6, 6))


def quick(seed=1):
    """A network for digits in a tenth of the LeNet's time; its weights are drawn, not trained.

    Its biases differ, so that some targets take long.
    """
    rng = np.random.default_rng(seed)
    layers = [Conv2d(1, 4, 5, 3, rng=rng), Tanh(), Flatten(), Linear(256, 10, rng=rng)]
    layers[0].parameters["weight"] *= 2
    layers[-1].parameters["bias"] += rng.normal(size=10) / 2
    return Network(layers, (28, 28))


def narrow_lenet(seed=0):
    """The layers of the LeNet, by their names, with a fifth of the channels; drawn."""
    rng = np.random.default_rng(seed)
    return Network({
        "conv1": Conv2d(1, 4, 5, rng=rng), "pool1": MaxPool2d(2), "tanh1": Tanh(),
        "conv2": Conv2d(4, 10, 5, rng=rng), "pool2": MaxPool2d(2), "tanh2": Tanh(),
        "flatten": Flatten(), "fc1": Linear(160, 100, rng=rng), "tanh3": Tanh(),
        "fc2": Linear(100, 10, rng=rng), "softmax": Softmax()}, (28, 28))


def some_samples(count, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    images = rng.random((count, 6, 6)) * (rng.random((count, 6, 6)) < 0.6)
    return np.round(images, 1).astype(dtype), rng.integers(0, 4, count)


def functions_of(network):
    """F: (M,) → (N,) logits and dF: (M,) → (N, M), of one flat sample."""
    return (lambda x: network.logits(x[None])[0],
            lambda x: network.forward_derivative(x[None])[0])


class Sure:
    """A linear model in the precision of its images, sure of its answers: logits so far apart."""

    def __init__(self, apart):
        self.weights = np.random.default_rng(0).normal(size=(4, 20)).astype(np.float32)
        self.start = np.array([apart, 0, 5, -5], np.float32)

    def logits(self, x):
        """(B, 20) → (B, 4)."""
        return (x @ self.weights.T.astype(x.dtype) + self.start).astype(x.dtype)

    def forward_derivative(self, x):
        """(B, 20) → (B, 4, 20)."""
        return np.broadcast_to(self.weights.astype(x.dtype), (len(x), 4, 20))

    def backward_derivative(self, x, cotangents):
        """(B, 20), v (B, K, 4) → (B, K, 20)."""
        return cotangents @ self.weights.astype(x.dtype)
