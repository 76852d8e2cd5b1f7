"""Large runs: crafting in shards on disk, which any executor may work on and which go on where they were stopped.

In: a model, images, targets, a folder. Out: a `Run`: what `craft` returns, shard by shard, less the images (`replay`
makes these from the pairs). A shard is written whole or not at all and carries a checksum over its content, its number
and the run it belongs to, so a killed run goes on to the same bytes and a damaged shard is crafted again. Only the
shards in work are in memory. Read on in `scripts.experiment`.
"""
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import signal
import threading
import uuid
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from attack.crafting import REASONS, craft

AHEAD = 4       # shards that are handed to an executor before they are needed
ALONE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
         "MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1)}
COLUMNS = ("success", "predicted", "iterations", "distortion")
COMMENT = (64).to_bytes(2, "little")


class Run:
    """The shards of a run in `folder`, read as they are asked for. `damaged` names those that were crafted again."""

    def __init__(self, folder, count, size, key):
        self.folder, self.count, self.size, self.key, self.damaged = Path(folder), count, size, key, []

    def __len__(self):
        return -(-self.count // self.size)

    def rows(self, shard):
        """The samples of a shard, as a slice."""
        return slice(shard * self.size, min((shard + 1) * self.size, self.count))

    def path(self, shard):
        """Where a shard lies."""
        return self.folder / f"shard-{shard:05d}.npz"

    def load(self, shard):
        """{"success", "predicted", "iterations", "distortion", "pairs", "reason": array}; ValueError if damaged."""
        return _read(self.path(shard), self.key, shard)

    def columns(self, *names):
        """The arrays `names` (not "pairs", whose width differs) of all samples."""
        parts = [[] for _ in names]
        for shard in range(len(self)):
            found = self.load(shard)
            for part, name in zip(parts, names):
                part.append(found[name])
        return tuple(np.concatenate(part) for part in parts)


def craft_run(model, images, targets, folder, *, index=None, shard_size=512, executor=None, progress=None, say=None,
              **options):
    """`craft` for any number of samples, in shards in `folder`; a folder that holds a part of this run goes on.

    images: (n, …), an array or memory map; targets: (m,) classes; index: (m,) which image each sample starts from
    (default: 0..n−1). executor: any `concurrent.futures.Executor` (`processes(2)`, dask's `client.get_executor()`, …);
    the model and the shards' images travel to it by pickle. progress: called with (samples done, m). say: called with
    a line about what was found in the folder. options: those of `craft`, less domain arrays and trace.

    Returns a `Run`. The result does not depend on executor, interruptions or order, as long as one sample is computed
    with the same number of BLAS threads. ValueError where `folder` holds another run; OSError where it cannot be
    written; whatever is done by then stays.
    """
    index = np.arange(len(images)) if index is None else np.asarray(index)
    targets = np.broadcast_to(np.asarray(targets), index.shape)
    if options.get("trace") or not isinstance(options.get("domain", "paper"), str):
        raise ValueError("a run in shards keeps no trace and takes no domain array")
    if index.size and not 0 <= index.min() <= index.max() < len(images):
        raise ValueError(f"index must lie in 0..{len(images) - 1}; got {index.min()}..{index.max()}")
    craft(model, np.zeros((0, *images.shape[1:]), np.float32), 0, **options)  # wrong options are refused at once
    run = _open(model, images, targets, index, folder, shard_size, options)
    say = say or (lambda line: None)
    missing = _missing(run, say)
    done = run.count - sum(len(targets[run.rows(shard)]) for shard in missing)
    if done:
        say(f"{run.folder}: {done:,} of {run.count:,} samples are there; going on")
    if progress is not None:
        progress(done, run.count)

    def jobs():
        """What is left to do, image by image only when it is asked for."""
        for shard in missing:
            rows = run.rows(shard)
            yield shard, (model, np.asarray(images[index[rows]]), targets[rows], options)

    for shard, found in _inline(jobs()) if executor is None else _handed_out(jobs(), executor):
        _write(run.path(shard), found, run.key, shard)
        done += len(found["success"])
        if progress is not None:
            progress(done, run.count)
    return run


@contextmanager
def processes(jobs):
    """An executor of `jobs` processes with one BLAS thread each; they end with this process, however it ends."""
    before = {name: os.environ.get(name) for name in ALONE}
    os.environ.update(ALONE)  # read by the children when they start
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_follow_parent)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.kill()
        raise
    finally:
        pool.shutdown()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _follow_parent():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C

    def follow():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _inline(jobs):
    for shard, job in jobs:
        yield shard, _craft_shard(*job)


def _handed_out(jobs, executor):
    """Yields (shard, its arrays) as they come back; at most `AHEAD` more than are being worked on are handed out."""
    waiting, ahead = {}, AHEAD + (getattr(executor, "_max_workers", None) or 0)
    try:
        for shard, job in jobs:
            waiting[executor.submit(_craft_shard, *job)] = shard
            if len(waiting) >= ahead:
                yield from _returned(waiting)
        while waiting:
            yield from _returned(waiting)
    finally:
        for future in waiting:
            future.cancel()


def _returned(waiting):
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        yield waiting.pop(future), future.result()


def _craft_shard(model, images, targets, options):
    crafted = craft(model, images, targets, **options)
    used = int(crafted.iterations.max(initial=0))
    found = {name: getattr(crafted, name) for name in COLUMNS}
    reason = np.array([REASONS.index(reason) for reason in crafted.reason], np.uint8)
    return {**found, "reason": reason, "pairs": crafted.pairs[:, :used].astype(np.int32)}


# The folder

def _open(model, images, targets, index, folder, size, options):
    """The run that `folder` holds, or a new one; ValueError where it holds another."""
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"shard_size must be a whole number of at least 1; got {size!r}")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; a run needs a folder")
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"format": 1, "samples": len(index), "shard_size": int(size), "model": fingerprint(model),
                "images": _hash_images(images), "targets": _hash(np.asarray(targets, np.int64)),
                "index": _hash(np.asarray(index, np.int64)), "options": {key: options[key] for key in sorted(options)}}
    path = folder / "manifest.json"
    if not path.exists():
        _replace(path, (json.dumps(manifest, indent=1) + "\n").encode())
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); if the shards are this run's, remove it and start again") from None
    manifest = json.loads(json.dumps(manifest))
    different = [key for key in manifest if not isinstance(found, dict) or found.get(key) != manifest[key]]
    if different:
        there = found.get(different[0]) if isinstance(found, dict) else found
        raise ValueError(f"{folder}: holds another run ({different[0]}: {there} there, {manifest[different[0]]} here)")
    return Run(folder, len(index), int(size), _hash(json.dumps(manifest, sort_keys=True).encode()))


def _missing(run, say):
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
    """A hash of what the model computes: its layers and parameters where it names them, else its pickle."""
    if callable(getattr(model, "parameters", None)) and isinstance(model.parameters(), dict):
        digest = hashlib.sha256(repr(getattr(model, "layers", type(model).__name__)).encode())
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


def _hash_images(images, rows=4096):
    digest = hashlib.sha256(f"{np.dtype(images.dtype).str} {images.shape}".encode())
    for start in range(0, len(images), rows):
        digest.update(np.ascontiguousarray(images[start:start + rows]).data)
    return digest.hexdigest()


def _write(path, arrays, key, shard):
    """An uncompressed `.npz` whose archive comment is the checksum of all that comes before it."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    body = buffer.getvalue()[:-2] + COMMENT  # a zip file ends with the length of its comment, here 0
    _replace(path, body + _checksum(body, key, shard))


def _replace(path, content):
    """Write `path` whole or not at all, whoever else writes it: an own file first, on disk, then renamed."""
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
    return hashlib.sha256(f"{key} {shard} ".encode() + body).hexdigest().encode()


def _read(path, key, shard):
    """A shard's arrays; ValueError with one line where it is damaged or of another run."""
    data = path.read_bytes()
    body = data[:-64]
    if not body.endswith(COMMENT) or data[-64:] != _checksum(body, key, shard):
        raise ValueError(f"{path}: damaged, or of another run (the checksum differs)")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return dict(archive)
