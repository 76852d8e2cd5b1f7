"""Weights as `.npz` files with PyTorch's names and shapes (`conv1.weight` is (20, 1, 5, 5)).

In: a file and the network it is for; every name, shape, type and value is checked before anything
is taken over, and no pickle is read. Out: the network with the file's weights, or one line that
says what is wrong with the file. Read on in `verify.network`.
"""
import io
import math
import os
import warnings
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

HEADER = 1 << 14  # bytes: NumPy's own headers have 128
CHUNK = 1 << 20  # bytes
LARGE = 1 << 28  # bytes that a file may have beside the numbers that are wanted
SPARE = 64  # members beyond those that are wanted, whose names are still told
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError,
              UnicodeDecodeError)  # what `zipfile` raises for a damaged archive


class WeightsError(ValueError):
    """A weights file that does not fit the network or is damaged; the message is one line."""


def save_weights(path, network):
    """Write the network's parameters to `path` (.npz); an existing file is replaced only by a
    complete one."""
    save_arrays(path, network.parameters())


def load_weights(path, network):
    """Read `path` (.npz, float32 or float64) into `network` and return it; a WeightsError leaves it
    as it was.

    The counter that a `state_dict` has beside the statistics of a batch normalisation is passed
    over.
    """
    shapes = {name: array.shape for name, array in network.parameters().items()}
    counters = {f"{name}.num_batches_tracked"
                for name, layer in network.layers.items() if layer.fixed}
    return network.load(load_arrays(path, shapes, counters))


def save_arrays(path, arrays):
    """Write {name: array} to `path` as `npz_bytes` gives it; the file appears whole or not at all.
    An OSError names it."""
    path = Path(path)
    content = npz_bytes(arrays)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def npz_bytes(arrays):
    """An uncompressed `.npz` of {name: array}, whose bytes depend on the arrays only."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, np.asanyarray(array), allow_pickle=False)
    return file.getvalue()


def load_arrays(path, shapes, passed_over=()):
    """Read exactly the arrays of `shapes` {name: shape} from `path`: finite, float32 or float64, no
    pickle; names in `passed_over` may be there too.

    Each array's header is held against `shapes` before its values are read, so a file cannot ask
    for memory.
    """
    path = Path(path)
    size = sum(8 * math.prod(shape) for shape in shapes.values())
    with open_npz(path, len(shapes) + SPARE, size) as archive:
        names = [name for name in archive.namelist()
                 if name.removesuffix(".npy") not in passed_over]
        _check_names(path, names, [f"{name}.npy" for name in shapes])
        return {name: _read(path, archive, name, shape) for name, shape in shapes.items()}


@contextmanager
def open_npz(path, members, size=0):
    """The zip archive `path`, for reading, checked so that it cannot ask for memory or for ever.

    members: how many it may have; size: how many bytes beside `LARGE`. Stored and deflated members
    only, as NumPy writes them. `WeightsError` for anything else, and for what goes wrong while it
    is read.
    """
    if path.exists() and not path.is_file():
        raise WeightsError(f"{path}: expected a .npz file, found a folder, device or pipe")
    with open(path, "rb") as file:
        file_size = os.fstat(file.fileno()).st_size
        if file_size > LARGE + size:
            raise WeightsError(
                f"{path}: expected {LARGE + size:,} bytes at most; found {file_size:,}")
        # Counted before it is opened: in memory a member takes ten times its entry in the table
        if sum(part.count(b"PK\1\2") for part in iter(lambda: file.read(CHUNK), b"")) > members:
            raise WeightsError(f"{path}: expected {members} members at most; found more")
        try:
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                        raise WeightsError(
                            f"{path}: {member.filename!r} must be stored or deflated, as NumPy "
                            f"writes it; got the method {member.compress_type}")
                yield archive
        except UNREADABLE as error:
            raise WeightsError(f"{path}: not a readable .npz file of NumPy ({error})") from None


def array_header(stream):
    """What an `.npy` stream claims: (shape, in Fortran's order?, type, size of the header);
    ValueError if it is none."""
    start = io.BytesIO(stream.read(HEADER))
    try:
        first = npy.read_magic(start) == (1, 0)
        read = npy.read_array_header_1_0 if first else npy.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that need a second look
            return (*read(start), start.tell())
    except Exception as error:  # NumPy evaluates the header as Python; that fails in many ways
        raise ValueError(f"not a NumPy array ({' '.join(str(error).split())})") from None


def _check_names(path, names, wanted):
    missing = sorted(set(wanted) - set(names))
    unknown = sorted(set(names) - set(wanted))
    if missing or unknown or len(names) != len(set(names)):
        wrong = [f"{word} {', '.join(map(repr, some[:5]))}"
                 for word, some in (("missing", missing), ("unknown", unknown)) if some]
        raise WeightsError(f"{path}: expected the members {', '.join(wanted)}; "
                           f"{'; '.join(wrong or ['a name stands twice'])}")


def _read(path, archive, name, shape):
    with archive.open(f"{name}.npy") as member:
        try:
            file_shape, _, dtype, _ = array_header(member)
        except ValueError as error:
            raise WeightsError(f"{path}: {name} is {error}") from None
    if dtype.kind == "O":
        raise WeightsError(
            f"{path}: {name} holds Python objects (a pickle), which are never loaded")
    if dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise WeightsError(f"{path}: {name} must be float32 or float64; got {dtype}")
    if file_shape != tuple(shape):
        raise WeightsError(f"{path}: {name} must have the shape {tuple(shape)}; got {file_shape}")
    with archive.open(f"{name}.npy") as member, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            array = npy.read_array(member, allow_pickle=False)
        except ValueError as error:
            raise WeightsError(f"{path}: {name} is cut short or damaged ({error})") from None
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: {name} has NaN or infinite values")
    return array.astype(dtype.newbyteorder("="), copy=False)
