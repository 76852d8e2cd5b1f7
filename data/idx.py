"""The IDX file format, plain or gzipped: two zero bytes, a type, the rank, dimensions, numbers.

In: a path (and an array to write). Out: an array in native byte order (or a file). Dimensions and
numbers are big-endian in the file. A header is held against the file's size before anything is
allocated (`data.body`).
"""
import gzip
import struct
import sys

import numpy as np

from data.body import read_body
from data.files import replacing
from data.kinds import looks_like
from data.sources import IdxError, as_path, opened

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
CODES = {name: code for code, name in TYPES.items()}
MAX_RANK = 32  # numpy 1's limit, so that a file is readable everywhere or nowhere
MAX_DIMENSION = 2**32 - 1


def read_idx(path, most=None):
    """Read the IDX file `path`, plain, gzipped or in a zip archive (told by its first bytes, not by
    its name).

    path: text, bytes or a `Path`; it may lead into an archive, as `digits.zip/train-labels`. Or an
        open binary file, which is read from where it stands.
    most: read only so many numbers, the file's first, and leave the rest of a gzip stream alone.

    Returns a new array of the file's shape (rank 0 to 32; with `most`, flat) in native byte order:
    uint8, int8, int16, int32, float32 or float64. Memory beside the result is about one MiB.

    Raises FileNotFoundError for a missing file and `IdxError` for everything that is no sound IDX
    file.
    """
    with opened(path) as source:
        dtype, shape = _read_header(source.name, source.stream)
        array = read_body(source, dtype, shape, 4 + 4 * len(shape), most)
        return array.byteswap(inplace=True) if sys.byteorder == "little" else array


def read_header(path):
    """What the IDX file `path` claims to hold, (type, shape), without reading its numbers.

    Errors as in `read_idx`.
    """
    with opened(path) as (name, stream, _, _):
        return _read_header(name, stream)


def write_idx(path, array):
    """Write `array` as the IDX file `path`.

    A name that ends in `.gz` is compressed, to the same bytes every time. The file appears whole or
    not at all: a failure leaves an older file as it was.

    array: any shape up to rank 32; uint8, int8, int16, int32, float32 or float64 in any byte order.

    Raises TypeError for another type, ValueError for a shape IDX cannot hold, OSError naming
    `path`.
    """
    path = as_path(path)
    header, body = encode(array)
    with replacing(path) as file:
        if path.name.lower().endswith(".gz"):
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as stream:
                stream.write(header)
                stream.write(body)
        else:
            file.write(header)
            file.write(body)


def encode(array):
    """The bytes of `array`'s IDX file as (header bytes, body memoryview of bytes).

    Errors as in `write_idx`.
    """
    array = np.asarray(array)
    code = CODES.get(array.dtype.str[1:])
    if code is None:
        allowed = ", ".join(np.dtype(name).name for name in CODES)
        raise TypeError(f"array has type {array.dtype}, IDX allows {allowed}")
    if array.ndim > MAX_RANK or max(array.shape, default=0) > MAX_DIMENSION:
        raise ValueError(f"array has shape {array.shape}, "
                         f"IDX allows rank {MAX_RANK} and dimensions of {MAX_DIMENSION} at most")
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    big_endian = array.astype(array.dtype.newbyteorder(">"), copy=False)
    return header, memoryview(big_endian.ravel().view(np.uint8))


def _read_header(path, stream):
    head = stream.read(4)
    if not head:
        raise IdxError(f"{path}: expected an IDX file, found an empty one")
    if any(head[:2]):
        look = looks_like(head + stream.read(508))
        raise IdxError(f"{path}: wrong magic: expected the bytes 00 00 at offset 0, "
                       f"found {head.hex(' ')}{look and f', which looks like {look}'}")
    if len(head) < 4:
        raise IdxError(f"{path}: shorter than its header: expected 4 bytes at offset 0, "
                       f"found {len(head)}")
    code, rank = head[2:]
    if code not in TYPES:
        allowed = ", ".join(f"0x{known:02X}" for known in TYPES)
        raise IdxError(f"{path}: unknown type code: expected one of {allowed} at offset 2, "
                       f"found 0x{code:02X}")
    if rank > MAX_RANK:
        raise IdxError(f"{path}: rank too high: expected {MAX_RANK} dimensions at most at "
                       f"offset 3, found {rank}")
    dimensions = stream.read(4 * rank)
    if len(dimensions) < 4 * rank:
        raise IdxError(f"{path}: shorter than its header: expected {rank} dimensions at offset 4, "
                       f"{4 * rank} bytes, found {len(dimensions)}")
    return np.dtype(TYPES[code]), struct.unpack(f">{rank}I", dimensions)
