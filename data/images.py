"""One image from a file of any kind: IDX, .npy, .npz or PNG, however damaged or hostile it is.

In: a path. Out: the first 28×28 image of the file in [0, 1], or one line that names the file and
what is wrong with it. Sizes are checked before anything is allocated, one image is all that is read
of a large file, and nothing is ever unpickled.
"""
import io
import math
import warnings
from functools import partial

import numpy as np

from data.idx import read_header, read_idx
from data.npy import npy_header
from data.sources import as_path, opened_zip

SIDE = 28
PIXELS = SIDE * SIDE
MOST_PNG = 1 << 20  # bytes of a picture of 28×28 at most


def read_image(path, decode_png=None):
    """The first 28×28 image of the file `path`; the file's first bytes tell what it is.

    Args:
        path: IDX (bytes stand for 0 to 255; also in a zip archive), .npy, .npz (the first array) or
            PNG. An array of several images begins with the one that is read.
        decode_png: reads a PNG from a binary file object into an array (28, 28) or (28, 28,
            channels) in [0, 1], as `matplotlib.image.imread` does; without it a PNG is refused.

    Returns:
        (28, 28) in [0, 1], in the type that the file has; IDX bytes become float64.

    Raises:
        ValueError, OSError: one line that names the file and what is wrong with it.
    """
    path = as_path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: expected a file, found a directory, device or pipe")
    with open(path, "rb") as file:
        start = file.read(2)
    readers = {b"\x93N": _read_npy, b"PK": _read_npz,
               b"\x89P": partial(_read_png, decode=decode_png)}
    image = readers.get(start, _read_idx)(path)
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"{path}: expected values in [0, 1]; "
                         f"got {image.min():g} to {image.max():g}")
    return image


def _check_shape(path, shape):
    if shape[-2:] != (SIDE, SIDE) or not math.prod(shape):
        raise ValueError(f"{path}: expected an image of 28×28 or several; got the shape {shape}")


def _read_idx(path):
    dtype, shape = read_header(path)
    _check_shape(path, shape)
    image = read_idx(path, PIXELS).reshape(SIDE, SIDE)
    return image / 255 if dtype == np.uint8 else image


# NumPy's files

def _read_npy(path):
    return _first_image(path, partial(open, path, "rb"))


def _read_npz(path):
    with open(path, "rb") as file, opened_zip(file, path, ".npz file of NumPy") as archive:
        names = archive.namelist()
        if not names:
            raise ValueError(f"{path}: not a readable NumPy file (it holds no array)")
        if names[0].endswith(".npy"):
            return _first_image(path, partial(archive.open, names[0]))
    return _read_idx(path)


def _first_image(path, opened):
    """The first image of an `.npy` stream, which `opened()` gives from its start."""
    with opened() as stream:
        shape, fortran, dtype, start = npy_header(path, stream)
    _check_shape(path, shape)
    if fortran and math.prod(shape) != PIXELS:
        raise ValueError(f"{path}: expected one image where an array is in Fortran's order; "
                         f"got the shape {shape}")
    with opened() as stream:
        stream.read(start)
        content = stream.read(PIXELS * dtype.itemsize)
    if len(content) < PIXELS * dtype.itemsize:
        raise ValueError(f"{path}: not a readable NumPy file (it is cut short)")
    return np.frombuffer(content, dtype).reshape((SIDE, SIDE), order="F" if fortran else "C")


# PNG

def _read_png(path, decode):
    if decode is None:
        raise ValueError(f"{path}: a PNG picture, which only a decoder can read (decode_png)")
    with open(path, "rb") as file:
        content = file.read(MOST_PNG + 1)
    if len(content) > MOST_PNG or content.count(b"IHDR") > 1:  # the only one has the size
        raise ValueError(f"{path}: not a readable PNG (more than {MOST_PNG:,} bytes, "
                         f"or of two sizes)")
    if len(content) >= 24:
        height, width = content[20:24], content[16:20]
        _check_shape(path, tuple(int.from_bytes(number, "big") for number in (height, width)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = decode(io.BytesIO(content))
    except Exception as error:  # a damaged picture fails in many ways
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not a readable PNG ({reason})") from None
    if picture.ndim == 2:
        return picture
    return picture[..., :3].mean(axis=2) if picture.shape[2] > 2 else picture[..., 0]
