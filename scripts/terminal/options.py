"""Options that several commands share, and how they are read: numbers, percentages, folders.

In: text from the command line. Out: values, or one line that names the option, the value and what
is allowed.
"""
import argparse
import os
from pathlib import Path


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def whole(least, most=None):
    """A reader of whole numbers ≥ `least` and ≤ `most` for argparse."""
    def read(text):
        """The number in `text`; commas and underscores may stand between its digits."""
        try:
            number = int(text.replace(",", "").replace("_", ""))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is below {least}")
        if most is not None and number > most:
            raise argparse.ArgumentTypeError(f"{number} is above {most}")
        return number
    return read


def distortion(text):
    """Υ in percent for argparse, or None for `none`."""
    if text.lower() in ("none", "inf"):
        return None
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a number of percent nor 'none'") from None


def add_data(parser):
    """The option --data."""
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="folder or zip archive of IDX files, or mnist.npz (default: the "
                             "shipped MNIST)")


def indices(text):
    """Whole numbers with commas between them, for argparse."""
    return [whole(0)(part) for part in text.split(",")]


def weights_option(parser):
    """The option --weights."""
    parser.add_argument("--weights", type=Path, metavar="FILE.npz",
                        help="LeNet weights (default: the shipped ones)")


def torch_option(parser):
    """The option --torch."""
    parser.add_argument("--torch", metavar="DEVICE",
                        help="let torch do the networks' work, on cpu, cuda, …: on a GPU much "
                             "faster (default: NumPy)")


def add_model(parser):
    """The options --weights and --derivative."""
    weights_option(parser)
    parser.add_argument("--derivative", choices=["forward", "backward"], default="backward",
                        help="the transposed chain (default), which chooses the same pixels faster,"
                             " or the paper's forward derivative")


def note_said(parser, names):
    """Options `names` that nobody says are absent from the arguments until `with_defaults`."""
    defaults = {}
    for action in parser._actions:
        if action.dest in names:
            defaults[action.dest], action.default = action.default, argparse.SUPPRESS
    parser.set_defaults(defaults=defaults)


def with_defaults(args):
    """The arguments with the defaults of what was not said."""
    return argparse.Namespace(**{**args.defaults, **vars(args)})


def refuse_ignored(args, names, where):
    """ValueError where options `names`, which mean nothing `where`, were said."""
    said = [f"--{'no-' if vars(args)[name] is False else ''}{name.replace('_', '-')}"
            for name in names if name in vars(args)]
    if said:
        raise ValueError(f"{' and '.join(said)} would be ignored {where}")
