"""Images and labels: the IDX file format, MNIST (or any set in its form) as arrays, one image from
a file of any kind (`images`; `pictures` makes a digit of a photograph), and coloured shapes that
are drawn from a seed.

In: paths. Out: numpy arrays, or one line that says what is wrong with which file.
"""
from data.idx import IdxError, read_idx, write_idx
from data.images import read_image
from data.mnist import load_emnist, load_mnist
from data.shapes import draw_shapes

__all__ = ["IdxError", "draw_shapes", "load_emnist", "load_mnist", "read_idx", "read_image",
           "write_idx"]
