"""The networks of the paper, LeNet (Fig. 8) and AND (Fig. 3), and a small residual network.

The residual network (He et al. 2016) shows the forward derivative where branches meet: ∂H/∂x of a
sum is the sum of its branches' ∂H/∂x, whose windows differ in size. In: a seed, from which all
weights are drawn, or `pretrained()`. Out: a `Network`. Read on in `training`.
"""
from pathlib import Path

import numpy as np

from nn.layers.activation import Sigmoid, Softmax, Tanh
from nn.layers.base import count
from nn.layers.convolution import Conv2d
from nn.layers.linear import Flatten, Linear
from nn.layers.merge import Add
from nn.layers.normalization import BatchNorm2d
from nn.layers.piecewise import ReLU
from nn.layers.pooling import AdaptiveAvgPool2d, MaxPool2d
from nn.network import Network
from nn.weights import load_weights

ACTIVATIONS = {"tanh": Tanh, "relu": ReLU, "sigmoid": Sigmoid}
PRETRAINED = Path(__file__).parent / "pretrained"
# The shipped LeNets, {name: activation}: "lenet" by `jsma train`; "paper-S-E" by `--recipe paper
# --seed S` after E epochs, with "relu" or "sigmoid" in front by that activation
LENETS = {"lenet": "tanh", "paper-0-20": "tanh", "paper-0-60": "tanh", "paper-0-100": "tanh",
          "paper-0-200": "tanh", "paper-1-60": "tanh", "paper-1-200": "tanh", "paper-2-60": "tanh",
          "paper-2-200": "tanh", "relu-0-200": "relu", "sigmoid-0-200": "sigmoid"}
# The shipped residual networks, {image: (weights, width)}
SHIPPED = {(1, 28, 28): ("resnet.npz", 16), (3, 32, 32): ("colour.npz", 8)}


class LeNet(Network):
    """Fig. 8: 28×28 → 20 kernels 5×5 → max pool 2×2 → 50 kernels 5×5 → max pool 2×2 → 500 → 10,
    with an activation (the paper names none) and a softmax.

    The activation stands after the pooling, as in the recipe of the time.

    Args:
        seed: of the generator from which all weights are drawn.
        output_weights: how the last layer starts: "random", or "zero" as in that recipe, which
            keeps Σ_j W_j = 0 through all of training and with it β = −α for every pixel.
        init: how the others start: "pytorch", as there, or "tutorial", as in that recipe (the LeNet
            of the Theano deep learning tutorials; `tutorial_start`), the last layer at 0.
        activation: "tanh", "relu" or "sigmoid".

    Raises:
        ValueError: another word, or output_weights="random" where asked for with "tutorial".
    """

    def __init__(self, seed=0, output_weights=None, init="pytorch", activation="tanh"):
        _check_words(output_weights=(output_weights, (None, "random", "zero")),
                     init=(init, ("pytorch", "tutorial")), activation=(activation, ACTIVATIONS))
        if init == "tutorial" and output_weights == "random":
            raise ValueError("output_weights must be 'zero' where init is 'tutorial'; got 'random'")
        rng = np.random.default_rng(seed)
        hidden = ACTIVATIONS[activation]
        layers = {
            "conv1": Conv2d(1, 20, 5, rng=rng),  # (20, 24, 24)
            "pool1": MaxPool2d(2),  # (20, 12, 12)
            f"{activation}1": hidden(),
            "conv2": Conv2d(20, 50, 5, rng=rng),  # (50, 8, 8)
            "pool2": MaxPool2d(2),  # (50, 4, 4)
            f"{activation}2": hidden(),
            "flatten": Flatten(),  # (800,)
            "fc1": Linear(800, 500, rng=rng),
            f"{activation}3": hidden(),
            "fc2": Linear(500, 10, rng=rng),
            "softmax": Softmax(),
        }
        if init == "tutorial":
            tutorial_start(layers, np.random.default_rng(seed), activation)
        if init == "tutorial" or output_weights == "zero":
            for array in layers["fc2"].parameters.values():
                array[:] = 0
        super().__init__(layers, (1, 28, 28))

    @classmethod
    def pretrained(cls, name="lenet"):
        """A shipped LeNet, one of `LENETS`; `nn/pretrained/*.json` say how they were trained."""
        _check_words(name=(name, LENETS))
        return load_weights(PRETRAINED / f"{name}.npz", cls(activation=LENETS[name]))


def tutorial_start(layers, rng, activation):
    """Start LeNet's layers as the recipe of the time: all biases 0; weights uniform in
    ±√(6 / (fan_in + fan_out)), where the fan_out of a convolution is divided by the area of the
    pooling behind it (±0.2, ±0.086, ±0.068), four times as wide in the hidden layer where the
    activation is a sigmoid."""
    for name, pooled, wider in (("conv1", 4, 1), ("conv2", 4, 1),
                                ("fc1", 1, 4 if activation == "sigmoid" else 1)):
        weight, bias = (layers[name].parameters[key] for key in ("weight", "bias"))
        taps = int(np.prod(weight.shape[2:]))
        fan_in, fan_out = weight.shape[1] * taps, weight.shape[0] * taps / pooled
        bound = wider * np.sqrt(6 / (fan_in + fan_out))
        weight[:] = rng.uniform(-bound, bound, weight.shape)
        bias[:] = 0


def _check_words(**words):
    for name, (value, allowed) in words.items():
        if value not in allowed:
            raise ValueError(f"{name} must be {' or '.join(repr(word) for word in allowed if word)}"
                             f"; got {value!r}")


class AndNetwork(Network):
    """Fig. 3: 2 inputs, 2 sigmoid hidden neurons, 1 sigmoid output, started from `seed`."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        super().__init__({"hidden": Linear(2, 2, rng=rng), "sigmoid": Sigmoid(),
                          "output": Linear(2, 1, rng=rng), "sigmoid2": Sigmoid()}, (2,))

    @classmethod
    def pretrained(cls):
        """The shipped network, trained to be AND as in Fig. 3 (`scripts.paper.toy`)."""
        return load_weights(PRETRAINED / "and.npz", cls())


class ResNet(Network):
    """A 3×3 convolution with stride 2, two residual blocks, global average pooling, a fully
    connected layer and a softmax.

    Args:
        seed: of the generator from which all weights are drawn, as PyTorch starts them.
        image: the shape of a sample, (channels, height, width).
        classes: how many outputs.
        width: how many channels the first block has; the second has twice as many.

    Raises:
        ValueError: `image`, `classes` or `width` is none of these.
    """

    def __init__(self, seed=0, image=(1, 28, 28), classes=10, width=16):
        if len(image) != 3:
            raise ValueError(f"image must be (channels, height, width); got {image}")
        rng = np.random.default_rng(seed)
        width = count(width, "width")
        layers = {
            **_convolution("", 1, image[0], width, 2, rng),
            "relu1": ReLU(),
            **_block("block1", width, width, 1, rng),
            **_block("block2", width, 2 * width, 2, rng),
            "pool": AdaptiveAvgPool2d(1),
            "flatten": Flatten(),
            "fc": Linear(2 * width, count(classes, "classes"), rng=rng),
            "softmax": Softmax(),
        }
        inputs = {
            "block1.add": ("block1.bn2", "relu1"),
            "block2.short": "block1.relu2",
            "block2.add": ("block2.bn2", "block2.bn3"),
        }
        super().__init__(layers, image, inputs)

    @classmethod
    def pretrained(cls, image=(1, 28, 28)):
        """The shipped weights for MNIST, or with `image` = (3, 32, 32) for the coloured shapes of
        `data.shapes`."""
        if tuple(image) not in SHIPPED:
            raise ValueError(f"image must be one of {', '.join(map(str, SHIPPED))}; got {image}")
        file, width = SHIPPED[tuple(image)]
        return load_weights(PRETRAINED / file, cls(image=tuple(image), width=width))


def _convolution(prefix, number, channels, out, stride, rng):
    return {
        f"{prefix}conv{number}": Conv2d(channels, out, 3, stride, 1, bias=False, rng=rng),
        f"{prefix}bn{number}": BatchNorm2d(out),
    }


def _block(name, channels, out, stride, rng):
    """conv, bn, relu, conv, bn; beside it nothing, or a 1×1 convolution with its bn; the sum of the
    two, relu."""
    layers = _convolution(f"{name}.", 1, channels, out, stride, rng)
    layers[f"{name}.relu1"] = ReLU()
    layers |= _convolution(f"{name}.", 2, out, out, 1, rng)
    if stride > 1:
        layers[f"{name}.short"] = Conv2d(channels, out, 1, stride, bias=False, rng=rng)
        layers[f"{name}.bn3"] = BatchNorm2d(out)
    layers[f"{name}.add"] = Add()
    layers[f"{name}.relu2"] = ReLU()
    return layers
