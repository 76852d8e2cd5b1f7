"""An image of one's own for a command: its options, and what was done to a picture, in one line.

In: --image, --invert, --no-invert. Out: the file's name and its image (28, 28) in [0, 1].
"""
import argparse
import os
from pathlib import Path

from data import read_image
from scripts.terminal.text import one_line


def image_option(group):
    """The option --image, in a group of which one may be named."""
    group.add_argument("--image", type=Path, metavar="FILE",
                       help="a picture of one's own (PNG or JPEG of any size), or the first 28×28 "
                            "image of an IDX file or of a .npy or .npz array in [0, 1]")


def invert_option(parser):
    """The options --invert and --no-invert."""
    parser.add_argument("--invert", action=argparse.BooleanOptionalAction,
                        help="with --image: dark becomes light, or stays dark (default: dark "
                             "where the picture's edge is light)")


def own_image(path, invert):
    """(name, image) of a file; its name need not be sound UTF-8, what is shown of it is."""
    name = os.fsencode(path.name).decode("utf-8", "replace")
    return name, read_image(path, decode, invert,
                            tell=lambda words: print(one_line(f"{name}: {words}")))


def decode(file, kind):
    """The pixels of a picture, from an open file."""
    from matplotlib.image import imread  # starts slowly: only where there is a picture

    return imread(file, kind)
