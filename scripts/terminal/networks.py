"""The networks that commands know by name (--network), each with the images it is for.

In: a name, a weights file or none, a split. Out: a `Network`, images and labels. `lenet` is the
paper's; `resnet` reads the same digits with residual blocks; `colour` is the same architecture for
32×32 pictures of coloured shapes, which are drawn from a seed (`data.shapes`).
"""
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from data import draw_shapes, load_mnist
from nn import LeNet, ResNet, load_weights
from scripts.terminal.text import one_line

COLOUR = (3, 32, 32)
SPLITS = {"train": (30_000, 0), "validation": (2_000, 1), "test": (2_000, 2)}  # pictures and seed


class Known(NamedTuple):
    """How a network is had, and its images.

    `new(seed)` makes the network, `pretrained()` the shipped one; `images(split, directory)` gives
    (images, labels).
    """
    new: Callable
    pretrained: Callable
    images: Callable


def _coloured(split, directory=None):
    if directory is not None:
        raise ValueError("--data is for MNIST; the pictures of --network colour are drawn from a "
                         f"seed; got {directory}")
    return draw_shapes(*SPLITS[split])


NETWORKS = {
    "lenet": Known(LeNet, LeNet.pretrained, load_mnist),
    "resnet": Known(ResNet, ResNet.pretrained, load_mnist),
    "colour": Known(partial(ResNet, image=COLOUR, width=8), partial(ResNet.pretrained, COLOUR),
                    _coloured),
}


def network_option(parser):
    """The option --network."""
    parser.add_argument("--network", choices=NETWORKS, default="lenet",
                        help="lenet (default), resnet (the same digits) or colour (32×32 pictures "
                             "of coloured shapes)")


def load_network(name, weights, **options):
    """The network `name` with the weights of the file `weights`, or the shipped one for None.

    `options` make the network that the file is for (LeNet's activation). What was recognised in
    the file is said in a line on the standard error.
    """
    known = NETWORKS[name]
    if weights is None:
        return known.pretrained()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        network = load_weights(weights, known.new(**options))
    for warning in said:
        print(f"jsma: {one_line(warning.message)}", file=sys.stderr)
    return network
