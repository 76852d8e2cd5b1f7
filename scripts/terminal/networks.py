"""The networks that commands know by name (--network), each with the images it is for.

In: a name, a weights file or none, a split. Out: a `Network`, images and labels. `lenet` is the
paper's; `resnet` reads the same digits with residual blocks; `colour` is the same architecture for
32×32 pictures of coloured shapes, which are drawn from a seed (`data.shapes`).
"""
import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data import draw_shapes, load_mnist
from nn import LeNet, ResNet, load_weights
from nn.models import ACTIVATIONS
from scripts.terminal.text import one_line

COLOUR = (3, 32, 32)
LONGEST = 1 << 20  # letters of a record
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


def load_network(name, weights, activation=None):
    """The network `name` with the weights of the file `weights`, or the shipped one for None.

    `activation` is that of the LeNet which the file is for; by default what the record of
    `jsma train` beside the file says, else tanh. What was recognised in the file is said in a line
    on the standard error.
    """
    known = NETWORKS[name]
    if weights is None:
        return known.pretrained()
    of_lenet = {"activation": activation or recorded(weights)} if name == "lenet" else {}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        network = load_weights(weights, known.new(**of_lenet))
    for warning in said:
        print(f"jsma: {one_line(warning.message)}", file=sys.stderr)
    return network


def recorded(weights):
    """The activation in the record of `jsma train` beside a file of weights; "tanh" without one."""
    try:
        with open(Path(weights).with_suffix(".json"), encoding="utf-8") as file:
            activation = json.loads(file.read(LONGEST))["settings"]["activation"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "tanh"
    return activation if activation in ACTIVATIONS else "tanh"
