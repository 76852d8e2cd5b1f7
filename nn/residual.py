"""A small residual network, to show the forward derivative where branches meet: ∂H/∂x of a sum is the sum of its
branches', whose windows differ in size.

In: a seed and the shape of the images, or the shipped weights. Out: a `Network` with two residual blocks (He et al.
2016), the second with stride 2 and a 1×1 convolution beside it. Read on in `training`.
"""
from pathlib import Path

import numpy as np

from nn.activation import ReLU, Softmax
from nn.conv import Conv2d
from nn.layer import count
from nn.linear import Flatten, Linear
from nn.merge import Add
from nn.network import Network
from nn.normal import BatchNorm2d
from nn.pool import AdaptiveAvgPool2d
from nn.weights import load_weights

SHIPPED = {(1, 28, 28): ("resnet.npz", 16), (3, 32, 32): ("colour.npz", 8)}  # image: (weights, width)


class ResNet(Network):
    """3×3 convolution with stride 2, two residual blocks, global average pooling, a fully connected layer, softmax.

    `image` is (channels, height, width), `width` the channels of the first block; the second has twice as many.
    """

    def __init__(self, seed=0, image=(1, 28, 28), classes=10, width=16):
        if len(image) != 3:
            raise ValueError(f"image must be (channels, height, width); got {image}")
        rng = np.random.default_rng(seed)
        width = count(width, "width")
        layers = {**_conv("", 1, image[0], width, 2, rng), "relu1": ReLU()}
        layers |= _block("block1", width, width, 1, rng) | _block("block2", width, 2 * width, 2, rng)
        layers |= {"pool": AdaptiveAvgPool2d(1), "flatten": Flatten(),
                   "fc": Linear(2 * width, count(classes, "classes"), rng=rng), "softmax": Softmax()}
        super().__init__(layers, image, {
            "block1.add": ("block1.bn2", "relu1"),
            "block2.short": "block1.relu2", "block2.add": ("block2.bn2", "block2.bn3")})

    @classmethod
    def pretrained(cls, image=(1, 28, 28)):
        """The shipped weights for MNIST, or for the coloured shapes of `data.shapes` with `image` = (3, 32, 32)."""
        if tuple(image) not in SHIPPED:
            raise ValueError(f"image must be one of {', '.join(map(str, SHIPPED))}; got {image}")
        file, width = SHIPPED[tuple(image)]
        return load_weights(Path(__file__).parent / "pretrained" / file, cls(image=tuple(image), width=width))


def _conv(prefix, number, into, out, stride, rng):
    return {f"{prefix}conv{number}": Conv2d(into, out, 3, stride, 1, bias=False, rng=rng),
            f"{prefix}bn{number}": BatchNorm2d(out)}


def _block(name, into, out, stride, rng):
    """conv, bn, relu, conv, bn, beside it nothing or a 1×1 convolution with its bn; their sum, relu."""
    layers = _conv(f"{name}.", 1, into, out, stride, rng) | {f"{name}.relu1": ReLU()}
    layers |= _conv(f"{name}.", 2, out, out, 1, rng)
    if stride > 1:
        layers |= {f"{name}.short": Conv2d(into, out, 1, stride, bias=False, rng=rng), f"{name}.bn3": BatchNorm2d(out)}
    return layers | {f"{name}.add": Add(), f"{name}.relu2": ReLU()}
