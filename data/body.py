"""The numbers behind a file's header, which is held against the file's size before they are read.

In: an opened file, what its header claims. Out: an array, or one line that says what is wrong.
"""
import math

import numpy as np

from data.sources import CHUNK, RATIO, IdxError


def read_body(source, dtype, shape, start, most=None):
    """The array of `shape` that lies in `source` (a `Source`, `start` bytes of it read).

    most: only so many numbers, flat. Raises `IdxError`. Memory beside the result is about one MiB.
    """
    end = start + math.prod(shape) * dtype.itemsize
    form = " x ".join(map(str, shape)) or "one"
    claim = f"{form} {dtype.name} from offset {start} to {end}"
    _check_size(source, end, claim)
    try:
        array = np.empty(shape if most is None else min(most, math.prod(shape)), dtype)
    except (MemoryError, ValueError) as error:
        raise IdxError(f"{source.name}: expected {claim}, found no memory for it ({error})"
                       ) from error
    left = memoryview(array.reshape(-1).view(np.uint8))
    while left:
        count = source.stream.readinto(left[:CHUNK])
        if not count:
            raise IdxError(f"{source.name}: body too short: expected {claim}, "
                           f"found the end at {end - len(left)}")
        left = left[count:]
    if most is None and source.stream.read(1):
        raise IdxError(f"{source.name}: body too long: expected {claim}, found more bytes")
    return array


def _check_size(source, end, claim):
    name, _, size, zipped = source
    if zipped and end > RATIO * size:
        raise IdxError(f"{name}: body too short: expected {claim}, found a gzip file of {size} "
                       f"bytes, which holds {RATIO * size} at most")
    if not zipped and end != size:
        raise IdxError(f"{name}: body too {'short' if size < end else 'long'}: expected {claim}, "
                       f"found a file of {size} bytes")
