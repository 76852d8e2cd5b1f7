"""One image from a file of any kind: IDX, NumPy, PNG or JPEG, however damaged or hostile it is.

In: a path. Out: the first 28×28 image of the file in [0, 1], or one line that names the file and
what is wrong with it; pictures of another size are scaled (`data.pictures`). Sizes are checked
before anything is allocated, one image is all that is read of a large file, and nothing is ever
unpickled.
"""
import io
import math
import warnings
from functools import partial

import numpy as np

from data.idx import read_header, read_idx
from data.npy import npy_header
from data.pictures import SIDE, as_digit, header
from data.sources import as_path, opened_zip

PIXELS = SIDE * SIDE
MOST_BYTES = 1 << 26      # of a picture's file
MOST_PIXELS = 25_000_000  # of a picture


def read_image(path, decode=None, invert=None, tell=None):
    """The first 28×28 image of the file `path`; the file's first bytes tell what it is.

    Args:
        path: IDX (bytes stand for 0 to 255; also in a zip archive), .npy, .npz (the first array),
            PNG or JPEG. An array of several images begins with the one that is read.
        decode: reads a picture, from a binary file object and "png" or "jpeg", into an array
            (height, width) or (height, width, channels), as `matplotlib.image.imread` does; without
            it pictures are refused.
        invert: whether dark becomes light. None: where a picture's edge is light; never for arrays.
        tell: called with one line on what was done to the image, if anything was.

    Returns:
        (28, 28) in [0, 1], in the type that the file has; IDX bytes become float64, pictures
        float32. A picture of another size is scaled, its ink centred as MNIST's digits are.

    Raises:
        ValueError, OSError: one line that names the file and what is wrong with it.
    """
    path = as_path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: expected a file, found a directory, device or pipe")
    with open(path, "rb") as file:
        start = file.read(3)
    kind = "PNG" if start[:2] == b"\x89P" else "JPEG" if start == b"\xff\xd8\xff" else None
    if kind:
        image, words = _read_picture(path, kind, decode, invert)
    else:
        image = {b"\x93N": _read_npy, b"PK": _read_npz}.get(start[:2], _read_idx)(path)
        words = []
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"{path}: expected values in [0, 1]; "
                         f"got {image.min():g} to {image.max():g}")
    if invert and not kind:
        image, words = 1 - image, ["inverted"]
    if tell and words:
        tell(", ".join(words))
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


# PNG and JPEG

def _read_picture(path, kind, decode, invert):
    """(image, what was done to it in words)."""
    if decode is None:
        raise ValueError(f"{path}: a {kind} picture, which only a decoder can read (decode)")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path}: not a readable {kind} (more than {MOST_BYTES:,} bytes)")
    with open(path, "rb") as file:
        content = file.read(path.stat().st_size)
    try:
        height, width, orientation = header(content)
    except ValueError as error:
        raise ValueError(f"{path}: not a readable {kind} ({error})") from None
    if not 0 < height * width <= MOST_PIXELS:
        raise ValueError(f"{path}: expected a picture of 1 to {MOST_PIXELS:,} pixels; got "
                         f"{width:,} × {height:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = decode(io.BytesIO(content), kind.lower())
    except Exception as error:  # a damaged picture fails in many ways
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not a readable {kind} ({reason})") from None
    try:
        return as_digit(picture, orientation, invert)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
