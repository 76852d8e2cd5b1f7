"""The paper's two architectures: the LeNet of Fig. 8 and the AND network of Fig. 3.

In: a seed, or the shipped weights. Out: a `Network`. Read on in `training`, or with the attack in `attack.model`.
"""
from pathlib import Path

import numpy as np

from nn.activation import Sigmoid, Softmax, Tanh
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.network import Network
from nn.pool import MaxPool2d
from nn.weights import load_weights

PRETRAINED = Path(__file__).parent / "pretrained"


class LeNet(Network):
    """Fig. 8: 28×28 → 20 kernels 5×5 → max pool 2×2 → 50 kernels 5×5 → max pool 2×2 → 500 → 10, tanh, softmax.

    Tanh stands after the pooling, as in the recipe of the time. Weights start as PyTorch starts them, drawn
    from `seed`; `output_weights` says how the last layer starts: "random", or "zero" as in that recipe, which keeps
    Σ_j W_j = 0 through all of training and with it β = −α for every pixel.
    """

    def __init__(self, seed=0, output_weights="random"):
        if output_weights not in ("random", "zero"):
            raise ValueError(f"output_weights must be 'random' or 'zero'; got {output_weights!r}")
        rng = np.random.default_rng(seed)
        layers = {
            "conv1": Conv2d(1, 20, 5, rng=rng), "pool1": MaxPool2d(2), "tanh1": Tanh(),
            "conv2": Conv2d(20, 50, 5, rng=rng), "pool2": MaxPool2d(2), "tanh2": Tanh(),
            "flatten": Flatten(), "fc1": Linear(800, 500, rng=rng), "tanh3": Tanh(),
            "fc2": Linear(500, 10, rng=rng), "softmax": Softmax(),
        }
        if output_weights == "zero":
            for array in layers["fc2"].parameters.values():
                array[:] = 0
        super().__init__(layers, (1, 28, 28))

    @classmethod
    def pretrained(cls):
        """The shipped LeNet; `nn/pretrained/lenet.json` says how it was trained."""
        return load_weights(PRETRAINED / "lenet.npz", cls())


class AndNetwork(Network):
    """Fig. 3: 2 inputs, 2 sigmoid hidden neurons, 1 sigmoid output, started from `seed`."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        super().__init__({"hidden": Linear(2, 2, rng=rng), "sigmoid": Sigmoid(),
                          "output": Linear(2, 1, rng=rng), "sigmoid2": Sigmoid()}, (2,))

    @classmethod
    def pretrained(cls):
        """The shipped network, trained to be AND as in Fig. 3 (`scripts.toy`)."""
        return load_weights(PRETRAINED / "and.npz", cls())
