"""Weights as `.npz` files with PyTorch's names and shapes (`conv1.weight` is (20, 1, 5, 5)).

In: a file and the network it is for; every name, shape, type and value is checked before anything
is taken over, and no pickle is read. Out: the network with the file's weights, or one line that
says what is wrong with the file. Read on in `matching`.
"""
import io
import math
import os
import warnings
import zipfile
import zlib
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from nn.formats import other_format
from nn.matching import Unmatched, in_keras_order, match, weights_among

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
    """Read weights (.npz, float32 or float64) into `network` and return it; a WeightsError leaves
    it as it was.

    path: text, bytes or a `Path`, `.npz` may be left out; or an open binary file.

    What else people have is recognised (`nn.matching`) and said by a warning of one line: a prefix
    before all names, a checkpoint's other entries, Keras' names and order of axes, arrays of other
    names in the network's order. Whatever is not certain is refused.
    """
    count = len(network.parameters())
    size = sum(8 * array.size for array in network.parameters().values())
    with open_npz(path, 4 * count + SPARE, size) as (name, archive):
        members = archive.namelist()
        names = [member.removesuffix(".npy") for member in members]
        shapes = {one: array.shape for one, array in network.parameters().items()}
        if len(set(names)) < len(names) or not all(one.endswith(".npy") for one in members):
            _check_names(name, members, shapes)
        try:
            places, notes = match(names, lambda one: _header(name, archive, one)[0], network)
        except Unmatched as error:
            if not str(error):
                _check_names(name, [f"{one}.npy" for one in weights_among(names, shapes)], shapes)
            raise WeightsError(f"{name}: {error}") from None
        arrays = {one: np.asarray(place.turn(_read(name, archive, place.name, place.shape)),
                                  order="C") for one, place in places.items()}
    if notes:
        warnings.warn(f"{name}: {'; '.join(notes)}", stacklevel=2)
    return network.load(arrays)


def save_arrays(path, arrays):
    """Write {name: array} to `path` as `npz_bytes` gives it; the file appears whole or not at all.
    An OSError names it."""
    path = Path(os.fsdecode(path))
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


def load_arrays(path, shapes):
    """Read exactly the arrays of `shapes` {name: shape} from `path`: finite, float32 or float64, no
    pickle.

    Each array's header is held against `shapes` before its values are read, so a file cannot ask
    for memory.
    """
    size = sum(8 * math.prod(shape) for shape in shapes.values())
    with open_npz(path, len(shapes) + SPARE, size) as (name, archive):
        _check_names(name, archive.namelist(), shapes)
        return {one: _read(name, archive, one, shape) for one, shape in shapes.items()}


@contextmanager
def open_npz(path, members, size=0):
    """The zip archive `path`, for reading, checked so that it cannot ask for memory or for ever:
    (its name, archive).

    members: how many it may have; size: how many bytes beside `LARGE`. Stored and deflated members
    only, as NumPy writes them. `WeightsError` for anything else, and for what goes wrong while it
    is read.
    """
    name, opened = _opened(path)
    with opened as file:
        head = file.read(512)
        file_size = file.seek(0, os.SEEK_END)
        if other := other_format(head, name):
            raise WeightsError(f"{name}: not a readable .npz file of NumPy but {other}")
        if file_size > LARGE + size:
            raise WeightsError(
                f"{name}: expected {LARGE + size:,} bytes at most; found {file_size:,}")
        file.seek(0)
        # Counted before it is opened: in memory a member takes ten times its entry in the table
        if sum(part.count(b"PK\1\2") for part in iter(lambda: file.read(CHUNK), b"")) > members:
            raise WeightsError(f"{name}: expected {members} members at most; found more")
        try:
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                        raise WeightsError(
                            f"{name}: {member.filename!r} must be stored or deflated, as NumPy "
                            f"writes it; got the method {member.compress_type}")
                yield name, archive
        except UNREADABLE as error:
            raise WeightsError(f"{name}: not a readable .npz file of NumPy ({error})") from None


def _opened(path):
    """(name, context that gives the open file) of a path or an open file."""
    if hasattr(path, "read"):
        name = str(getattr(path, "name", "the open file"))
        if isinstance(path.read(0), str) or not path.seekable():
            raise WeightsError(f"{name}: expected a file opened as 'rb' that can seek "
                               "(a stream: io.BytesIO(stream.read()))")
        path.seek(0)
        return name, nullcontext(path)
    path = Path(os.fsdecode(path))
    longer = path.with_name(f"{path.name}.npz") if path.name else path
    path = longer if not path.exists() and longer.is_file() else path  # as numpy.savez names it
    if path.exists() and not path.is_file():
        raise WeightsError(f"{path}: expected a .npz file, found a folder, device or pipe")
    return str(path), open(path, "rb")


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


def _check_names(path, members, wanted):
    wanted = [f"{name}.npy" for name in wanted]
    missing = sorted(set(wanted) - set(members))
    unknown = sorted(set(members) - set(wanted))
    if missing or unknown or len(members) != len(set(members)):
        wrong = [f"{word} {', '.join(map(repr, some[:5]))}"
                 for word, some in (("missing", missing), ("unknown", unknown)) if some]
        raise WeightsError(f"{path}: expected the members {', '.join(wanted)}; "
                           f"{'; '.join(wrong or ['a name stands twice'])}")


def _header(path, archive, name):
    """What an array of the archive claims, as `array_header`."""
    with archive.open(f"{name}.npy") as member:
        try:
            return array_header(member)
        except ValueError as error:
            raise WeightsError(f"{path}: {name} is {error}") from None


def _read(path, archive, name, shape):
    file_shape, _, dtype, _ = _header(path, archive, name)
    if dtype.kind == "O":
        raise WeightsError(
            f"{path}: {name} holds Python objects (a pickle), which are never loaded")
    if dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise WeightsError(f"{path}: {name} must be float32 or float64; got {dtype}")
    if file_shape != tuple(shape):
        other = {2: ": is it (in, out)? save array.T",
                 4: ": is it Keras' (y, x, in, out)? save array.transpose(3, 2, 0, 1)"}
        hint = other[len(shape)] if file_shape == in_keras_order(shape) else ""
        raise WeightsError(f"{path}: {name} must have the shape {tuple(shape)}; got {file_shape}"
                           + hint)
    with archive.open(f"{name}.npy") as member, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            array = npy.read_array(member, allow_pickle=False)
        except ValueError as error:
            raise WeightsError(f"{path}: {name} is cut short or damaged ({error})") from None
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: {name} has NaN or infinite values")
    return array.astype(dtype.newbyteorder("="), copy=False)
