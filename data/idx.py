"""The IDX file format, plain or gzipped: two zero bytes, a type, the rank, dimensions, numbers.

In: a path (and an array to write). Out: an array in native byte order (or a file). Dimensions and
numbers are big-endian in the file. A header is held against the file's size before anything is
allocated.
"""
import contextlib
import gzip
import math
import os
import stat
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

from data.files import replacing

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
CODES = {name: code for code, name in TYPES.items()}
MAX_RANK = 32  # numpy 1's limit, so that a file is readable everywhere or nowhere
MAX_DIMENSION = 2**32 - 1
CHUNK = 1 << 20  # bytes at a time, so that a gzip stream needs little memory beside the result
GZIP = b"\x1f\x8b"
GZIP_RATIO = 1032  # deflate spends at least two bits on a run of 258 bytes
FOREIGN = (
    (b"version https://git-lfs",
     "a Git LFS pointer (the file itself was not fetched: git lfs pull)"),
    (b"PK", "a zip archive"),
    (b"\x93NUMPY", "a .npy array"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (GZIP, "a gzip file inside a gzip file"),
)


class IdxError(ValueError):
    """An unsound file: one line with the file, the offset, what was expected, what was found."""


def read_idx(path, most=None):
    """Read the IDX file `path`, plain or gzipped (told by its first two bytes, not by its name).

    most: read only so many numbers, the file's first, and leave the rest of a gzip stream alone.

    Returns a new array of the file's shape (rank 0 to 32; with `most`, flat) in native byte order:
    uint8, int8, int16, int32, float32 or float64. Memory beside the result is about one MiB.

    Raises FileNotFoundError for a missing file and `IdxError` for everything that is no sound IDX
    file.
    """
    with _opened(path) as (path, stream, size, zipped):
        dtype, shape = _read_header(path, stream)
        claim = _check_size(path, dtype, shape, size, zipped)
        try:
            array = np.empty(shape if most is None else min(most, math.prod(shape)), dtype)
        except (MemoryError, ValueError) as error:
            raise IdxError(f"{path}: expected {claim}, found no memory for it ({error})") from error
        end = 4 + 4 * len(shape) + math.prod(shape) * dtype.itemsize
        _fill(path, stream, array, claim, end)
        if most is None and stream.read(1):
            raise IdxError(f"{path}: body too long: expected {claim}, found more bytes")
        return array.byteswap(inplace=True) if sys.byteorder == "little" else array


def read_header(path):
    """What the IDX file `path` claims to hold, (type, shape), without reading its numbers.

    Errors as in `read_idx`.
    """
    with _opened(path) as (path, stream, _, _):
        return _read_header(path, stream)


def write_idx(path, array):
    """Write `array` as the IDX file `path`.

    A name that ends in `.gz` is compressed, to the same bytes every time. The file appears whole or
    not at all: a failure leaves an older file as it was.

    array: any shape up to rank 32; uint8, int8, int16, int32, float32 or float64 in any byte order.

    Raises TypeError for another type, ValueError for a shape IDX cannot hold, OSError naming
    `path`.
    """
    path = Path(path)
    header, body = encode(array)
    with replacing(path) as file:
        if path.name.endswith(".gz"):
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
    return header, memoryview(big_endian.reshape(-1).view(np.uint8))


@contextlib.contextmanager
def _opened(path):
    """The file `path` as (path, stream of uncompressed bytes, size on disk, is it zipped)."""
    path = Path(path)
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "folder" if stat.S_ISDIR(mode) else "device or pipe"
        raise IdxError(f"{path}: expected a file, found a {kind}")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        zipped = file.read(2) == GZIP
        file.seek(0)
        try:
            yield path, gzip.GzipFile(fileobj=file) if zipped else file, size, zipped
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise IdxError(f"{path}: damaged or truncated gzip stream: expected it whole, "
                           f"found: {error}") from error


def _check_size(path, dtype, shape, size, zipped):
    """Hold what the header claims against the file's size; the claim in words."""
    start = 4 + 4 * len(shape)
    end = start + math.prod(shape) * dtype.itemsize
    form = " x ".join(map(str, shape)) or "one"
    claim = f"{form} {dtype.name} from offset {start} to {end}"
    if zipped and end > GZIP_RATIO * size:
        raise IdxError(f"{path}: body too short: expected {claim}, found a gzip file of {size} "
                       f"bytes, which holds {GZIP_RATIO * size} at most")
    if not zipped and end != size:
        raise IdxError(f"{path}: body too {'short' if size < end else 'long'}: expected {claim}, "
                       f"found a file of {size} bytes")
    return claim


def _fill(path, stream, array, claim, end):
    """Read the array's bytes, a chunk at a time; `claim` and `end` are for the error."""
    left = memoryview(array.reshape(-1).view(np.uint8))
    while left:
        count = stream.readinto(left[:CHUNK])
        if not count:
            raise IdxError(f"{path}: body too short: expected {claim}, "
                           f"found the end at {end - len(left)}")
        left = left[count:]


def _read_header(path, stream):
    head = stream.read(4)
    if not head:
        raise IdxError(f"{path}: expected an IDX file, found an empty one")
    if any(head[:2]):
        look = _looks_like(head + stream.read(508))
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


def _looks_like(head):
    """What a file that begins with these bytes is, in words; "" where nothing is sure."""
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "an HTML page (or XML), as a failed download leaves it"
    if head.startswith(b"PK") and b".npy" in head:
        return "a .npz archive"
    for start, name in FOREIGN:
        if head.startswith(start):
            return name
    if head[2:4] == b"\0\0" and head[1] in TYPES:
        return "a little-endian IDX file (byte order swapped)"
    if head.isascii() and all(byte >= 32 or byte in b"\t\n\f\r" for byte in head):
        return "plain text"
    return ""
