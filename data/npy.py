"""Arrays in NumPy's own files (`.npy`, and the members of an `.npz`); nothing is ever unpickled.

In: a path, or a stream. Out: what the header claims, the array, or one line that says what is
wrong with which file.
"""
import io
import warnings

from numpy.lib import format as npy

from data.body import read_body
from data.sources import IdxError, opened

HEADER = 1 << 14  # bytes: NumPy's own headers have 128


def npy_header(name, stream):
    """What an `.npy` stream claims: (shape, in Fortran's order?, type, size of the header).

    `IdxError` where it is none, holds Python objects or anything but real numbers.
    """
    start = io.BytesIO(stream.read(HEADER))
    try:
        version = npy.read_magic(start)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that need a second look
            shape, fortran, dtype = read(start)
    except Exception as error:  # NumPy evaluates the header as Python text, fails in many ways
        reason = " ".join(str(error).split())
        raise IdxError(f"{name}: not a readable NumPy file (not a NumPy array ({reason}))"
                       ) from None
    if dtype.hasobject:
        raise IdxError(f"{name}: not a readable NumPy file "
                       f"(it holds Python objects, a pickle; none is ever loaded)")
    if dtype.kind not in "biuf":
        raise IdxError(f"{name}: expected numbers; got {dtype}")
    if any(n < 0 for n in shape):
        raise IdxError(f"{name}: not a readable NumPy file (the shape {shape})")
    return shape, fortran, dtype, start.tell()


def read_npy_header(path):
    """What the `.npy` file `path` claims to hold, (type, shape); `path` may lead into an `.npz`."""
    with opened(path) as (name, stream, _, _):
        shape, _, dtype, _ = npy_header(name, stream)
        return dtype, shape


def read_npy(path):
    """The array of the `.npy` file `path`, which may lead into an `.npz`; errors as `read_idx`."""
    with opened(path) as source:
        shape, fortran, dtype, start = npy_header(source.name, source.stream)
        source.stream.seek(start)
        array = read_body(source, dtype, shape[::-1] if fortran else shape, start)
        array = array.T if fortran else array
        return array.astype(dtype.newbyteorder("="), copy=False)
