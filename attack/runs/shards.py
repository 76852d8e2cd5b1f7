"""The folder of a large run: a manifest that says which run it is, and shards, each written whole
or not at all.

In: the arrays of a shard, or a folder that others may have damaged or forged. Out: files; arrays,
or one line that says what is wrong. A shard carries a checksum over its content, its number and the
run it belongs to, and its arrays are held against what a run makes. Read on in
`scripts.paper.experiment`.
"""
import hashlib
import io
import json
import os
import pickle
import uuid
from pathlib import Path

import numpy as np

from attack.crafted import REASONS

COLUMNS = ("success", "predicted", "iterations", "distortion")
TYPES = {"success": np.dtype(bool), "predicted": np.dtype(int), "iterations": np.dtype(int),
         "distortion": np.dtype(float), "reason": np.dtype(np.uint8), "pairs": np.dtype(np.int32)}
COMMENT = (64).to_bytes(2, "little")
MANIFEST = 1 << 16  # bytes, several times the longest


class Run:
    """The shards of a run in `folder`, read as they are asked for.

    Args:
        folder: where the shards lie.
        count: samples in all.
        size: samples in a shard.
        key: which run it is; it is part of every shard's checksum.
        features: M.

    `damaged` names the shards that were crafted again.
    """

    def __init__(self, folder, count, size, key, features):
        self.folder = Path(folder)
        self.count = count
        self.size = size
        self.key = key
        self.features = features
        self.damaged = []

    def __len__(self):
        return -(-self.count // self.size)

    def rows(self, shard):
        """The samples of a shard, as a slice."""
        return slice(shard * self.size, min((shard + 1) * self.size, self.count))

    def path(self, shard):
        """Where a shard lies."""
        return self.folder / f"shard-{shard:05d}.npz"

    def load(self, shard):
        """The arrays of a shard by the names of `TYPES`; ValueError if it is damaged."""
        rows = self.rows(shard)
        return _read(self.path(shard), self.key, shard, rows.stop - rows.start, self.features)

    def keep(self, shard, arrays):
        """Write the arrays of a shard, whole or not at all. OSError names the file."""
        _replace(self.path(shard), _encode(arrays, self.key, shard))

    def columns(self, *names):
        """The arrays `names` of `TYPES`, of all samples; "pairs" (samples, steps, 2) is as wide as
        the longest sample needs, with −1 behind the pairs of the others."""
        unknown = set(names) - set(TYPES)
        if unknown:
            raise ValueError(f"a run has the columns {', '.join(TYPES)}; "
                             f"got {', '.join(map(repr, sorted(unknown)))}")
        parts = {name: [] for name in names}
        for shard in range(len(self)):
            arrays = self.load(shard)
            for name, part in parts.items():
                part.append(arrays[name])
        return tuple(_joined(name, parts[name]) for name in names)


def _joined(name, parts):
    """A column from those of the shards; pairs get one width."""
    empty = np.zeros(0, TYPES[name])
    if name == "pairs":
        width = max((part.shape[1] for part in parts), default=0)
        parts = [np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=-1)
                 for part in parts]
        empty = np.zeros((0, width, 2), TYPES[name])
    return np.concatenate([empty, *parts])


def open_run(model, images, targets, index, folder, size, options, labels=None):
    """The run that `folder` holds, or a new one.

    Args:
        model, images, targets, index, folder, options: as for `craft_run`.
        size: samples in a shard.
        labels: (m,), or None.

    Returns:
        A `Run`.

    Raises:
        ValueError: `folder` holds another run, or a damaged manifest.
    """
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"shard_size must be a whole number of at least 1; got {size!r}")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; a run needs a folder")
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"format": 1, "samples": len(index), "shard_size": int(size),
                "model": fingerprint(model), "images": _hash_images(images),
                "targets": _hash_numbers(targets), "index": _hash_numbers(index),
                "options": {key: options[key] for key in sorted(options)}}
    if labels is not None:
        manifest["labels"] = _hash_numbers(labels)
    manifest = json.loads(json.dumps(manifest, default=lambda array: array.tolist()))
    path = folder / "manifest.json"
    if not path.exists():
        _replace(path, (json.dumps(manifest, indent=1) + "\n").encode())
    _check_same_run(folder, _read_manifest(path), manifest)
    key = _hash(json.dumps(manifest, sort_keys=True).encode())
    return Run(folder, len(index), int(size), key, int(np.prod(images.shape[1:])))


def _check_same_run(folder, stored, manifest):
    for name in {**manifest, **stored}:
        if stored.get(name) != manifest.get(name):
            there, here = (str(one.get(name))[:200] for one in (stored, manifest))
            raise ValueError(f"{folder}: holds another run "
                             f"({name}: {there!r} there, {here!r} here)")


def _read_manifest(path):
    try:
        if not path.is_file() or path.stat().st_size > MANIFEST:
            raise ValueError(f"not a file of {MANIFEST:,} bytes at most")
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError("no table of settings")
        return manifest
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged ({error}); if the shards are this run's, remove it and "
                         "start again") from None


def missing_shards(run, say):
    """The numbers of the shards that are still to be crafted; `say` is told of damaged ones."""
    missing = []
    for shard in range(len(run)):
        try:
            run.load(shard)
        except FileNotFoundError:
            missing.append(shard)
        except ValueError as error:
            say(f"{error}; crafted again")
            run.damaged.append(shard)
            missing.append(shard)
    return missing


def fingerprint(model):
    """A hash of what the model computes: of its layers and parameters, or else of its pickle."""
    if callable(getattr(model, "parameters", None)) and isinstance(model.parameters(), dict):
        built = getattr(model, "layers", type(model).__name__), getattr(model, "inputs", None)
        digest = hashlib.sha256(repr(built).encode())
        for name, array in model.parameters().items():
            digest.update(f"{name} {_hash(np.asarray(array))}".encode())
        return digest.hexdigest()
    return hashlib.sha256(pickle.dumps(model)).hexdigest()


def _hash(data):
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256(f"{data.dtype.str} {data.shape} ".encode())
    digest.update(np.ascontiguousarray(data).data)
    return digest.hexdigest()


def _hash_images(images):
    return _hash_rows(f"{np.dtype(images.dtype).str} {images.shape}", images, images.dtype)


def _hash_numbers(numbers):
    """As `_hash` of the whole numbers (m,), a range among them, as int64."""
    return _hash_rows(f"{np.dtype(np.int64).str} {(len(numbers),)} ", numbers, np.int64)


def _hash_rows(header, array, dtype, rows=4096):
    digest = hashlib.sha256(header.encode())
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start:start + rows], dtype).data)
    return digest.hexdigest()


def _encode(arrays, key, shard):
    """An uncompressed `.npz` whose archive comment is the checksum of all that comes before it."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    body = buffer.getvalue()[:-2] + COMMENT  # a zip file ends with the length of its comment: 0
    return body + _checksum(body, key, shard)


def _replace(path, content):
    """Write `path` whole or not at all, whoever else writes it: an own file first, then renamed."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _checksum(body, key, shard):
    digest = hashlib.sha256(f"{key} {shard} ".encode())
    digest.update(body)
    return digest.hexdigest().encode()


def _read(path, key, shard, count, features):
    """A shard's arrays of `count` samples; ValueError where it is damaged or of another run."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: damaged (a folder, device or pipe)")
    data = path.read_bytes()
    if data[-66:-64] != COMMENT or data[-64:] != _checksum(memoryview(data)[:-64], key, shard):
        raise ValueError(f"{path}: damaged, or of another run (the checksum differs)")
    arrays = _decode(data)
    if arrays is None or not _sound(arrays, count, features):
        raise ValueError(f"{path}: damaged (the checksum is right, but these are no arrays of a "
                         "run)")
    return arrays


def _decode(data):
    """The arrays of an uncompressed `.npz`, None where it is none or holds others than a shard."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            compressed = any(entry.compress_type for entry in archive.zip.infolist())
            if set(archive.files) == set(TYPES) and not compressed:
                return {name: archive[name] for name in archive.files}
    except Exception:  # a checksum can be forged, and NumPy fails in many ways
        return None


def _sound(arrays, count, features):
    """Is this what a run makes of `count` samples?"""
    for name, array in arrays.items():
        dimensions = 3 if name == "pairs" else 1
        if (array.dtype.kind, array.ndim) != (TYPES[name].kind, dimensions) or len(array) != count:
            return False
    pairs, iterations, distortion = arrays["pairs"], arrays["iterations"], arrays["distortion"]
    return bool(pairs.shape[2] == 2
                and (arrays["reason"] < len(REASONS)).all() and (arrays["predicted"] >= 0).all()
                and ((iterations >= 0) & (iterations <= pairs.shape[1])).all()
                and ((distortion >= 0) & (distortion <= 100)).all()
                and ((pairs >= -1) & (pairs < features)).all())
