"""Weights as `.npz` files with PyTorch's names and shapes (`conv1.weight` is (20, 1, 5, 5)), read without pickle.

In: a file and the network it is for; every name, shape, type and value is checked before anything is taken over.
Out: the network with the file's weights, or one line that says what is wrong with the file. Read on in `checking`.
"""
import io
import lzma
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

HEADER = 1 << 14  # bytes: NumPy's own headers have 128


class WeightsError(ValueError):
    """A weights file that does not fit the network or is damaged; the message is one line."""


def save_weights(path, network):
    """Write the network's parameters to `path` (.npz); an existing file is replaced only by a complete one."""
    save_arrays(path, network.parameters())


def load_weights(path, network):
    """Read `path` (.npz, float32 or float64) into `network` and return it; WeightsError leaves it untouched."""
    shapes = {name: array.shape for name, array in network.parameters().items()}
    return network.load(load_arrays(path, shapes))


def save_arrays(path, arrays):
    """Write {name: array} as an uncompressed `.npz` whose bytes depend on the arrays only."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, array in arrays.items():
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                        npy.write_array(member, np.asanyarray(array), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_arrays(path, shapes):
    """Read exactly the arrays of `shapes` {name: shape} from `path`: finite, float32 or float64, no pickle.

    Each array's header is held against `shapes` before its values are read, so a file cannot ask for memory.
    """
    path = Path(path)
    if path.is_dir():
        raise WeightsError(f"{path}: a folder, not a .npz file")
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check_names(path, archive.namelist(), [f"{name}.npy" for name in shapes])
                return {name: _read(path, archive, name, shape) for name, shape in shapes.items()}
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError,
                RuntimeError, UnicodeDecodeError) as error:
            raise WeightsError(f"{path}: not a readable .npz file ({error})") from None


def _check_names(path, names, wanted):
    missing, unknown = sorted(set(wanted) - set(names)), sorted(set(names) - set(wanted))
    if missing or unknown or len(names) != len(set(names)):
        said = [f"{word} {', '.join(map(repr, some[:5]))}"
                for word, some in (("missing", missing), ("unknown", unknown)) if some] or ["a name stands twice"]
        names = ", ".join(name.removesuffix(".npy") for name in wanted)
        raise WeightsError(f"{path}: expected the arrays {names}; {'; '.join(said).replace('.npy', '')}")


def _read(path, archive, name, shape):
    with archive.open(f"{name}.npy") as member:
        found, dtype = _header(path, name, member)
    if dtype.kind == "O":
        raise WeightsError(f"{path}: {name} holds Python objects (a pickle), which are never loaded")
    if dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise WeightsError(f"{path}: {name} must be float32 or float64; got {dtype}")
    if found != tuple(shape):
        raise WeightsError(f"{path}: {name} must have the shape {tuple(shape)}; got {found}")
    with archive.open(f"{name}.npy") as member:
        try:
            array = npy.read_array(member, allow_pickle=False)
        except ValueError as error:
            raise WeightsError(f"{path}: {name} is cut short or damaged ({error})") from None
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: {name} has NaN or infinite values")
    return array.astype(dtype.newbyteorder("="))


def _header(path, name, member):
    start = io.BytesIO(member.read(HEADER))
    try:
        version = npy.read_magic(start)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        found, _, dtype = read(start)
        return found, dtype
    except Exception as error:  # NumPy evaluates the header as Python text, which fails in many ways
        raise WeightsError(f"{path}: {name} is not a NumPy array ({' '.join(str(error).split())})") from None
