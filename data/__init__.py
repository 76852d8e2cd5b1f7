"""Images and labels: the IDX file format, and MNIST (or any set in its form) as arrays, and
coloured shapes that are drawn from a seed.

In: paths. Out: numpy arrays, or one line that says what is wrong with which file.
"""
from data.idx import IdxError, read_idx, write_idx
from data.mnist import load_mnist
from data.shapes import draw_shapes

__all__ = ["IdxError", "draw_shapes", "load_mnist", "read_idx", "write_idx"]
