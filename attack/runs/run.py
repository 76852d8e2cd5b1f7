"""Large runs: crafting in shards on disk, which any executor may work on and which go on where they
were stopped.

In: a model, images, targets, a folder. Out: a `Run`: what `craft` returns, shard by shard, less the
images (`replay` makes these from the pairs). A killed run goes on to the same bytes, and a damaged
shard is crafted again. Only the shards in work are in memory. Read on in `runs.processes`.
"""
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from contextlib import contextmanager, nullcontext

import numpy as np

from attack.crafted import REASONS
from attack.crafting import craft
from attack.runs.shards import COLUMNS, missing_shards, open_run

AHEAD = 4  # shards that are handed to an executor before they are needed


def craft_run(model, images, targets, folder, *, index=None, shard_size=512, executor=None,
              progress=None, say=None, labels=None, **options):
    """`craft` for any number of samples, in shards; a folder that holds a part of this run goes on.

    Args:
        model: as for `craft`; it travels to the executor by pickle.
        images: (n, …) as for `craft`, an array or memory map.
        targets: one class, or (m,) classes.
        folder: where the shards lie; made if it is not there.
        index: (m,) integers, which image each sample starts from (default: 0..n−1).
        shard_size: samples in a shard.
        executor: any `concurrent.futures.Executor` (`processes(2)`, dask's `client.get_executor()`,
            …); None = here.
        progress: called with (samples done, m).
        say: called with a line about what was there in the folder.
        labels: (m,) true classes, as in `craft`.
        options: those of `craft`, less domain arrays and trace.

    Returns:
        A `Run`. It does not depend on executor, interruptions or order, as long as one sample is
        computed with the same number of BLAS threads.

    Raises:
        ValueError: wrong options; `folder` holds another run.
        OSError: it cannot be written; whatever is done by then stays.
    """
    index = range(len(images)) if index is None else _check_index(np.asarray(index), len(images))
    targets = np.broadcast_to(np.asarray(targets), (len(index),))
    if options.get("trace") or not isinstance(options.get("domain", "paper"), str):
        raise ValueError("a run in shards keeps no trace and takes no domain array")
    no_images = np.zeros((0, *images.shape[1:]), np.float32)
    craft(model, no_images, 0, **options)  # wrong options are refused at once
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != targets.shape:
            raise ValueError(f"labels must be {len(targets)} classes, one a sample; "
                             f"got the shape {labels.shape}")
    run = open_run(model, images, targets, index, folder, shard_size, options, labels)
    say = say or (lambda line: None)
    progress = progress or (lambda done, count: None)
    missing = missing_shards(run, say)
    done = run.count - sum(len(targets[run.rows(shard)]) for shard in missing)
    if done:
        say(f"{run.folder}: {done:,} of {run.count:,} samples are there; going on")
    progress(done, run.count)

    def jobs():
        """What is left to do; a shard's images are read when it is asked for."""
        for shard in missing:
            rows = run.rows(shard)
            images_of_shard = np.asarray(images[np.asarray(index[rows])])
            of_shard = {} if labels is None else {"labels": labels[rows]}
            yield shard, (model, images_of_shard, targets[rows], {**options, **of_shard})

    shards = _one_by_one(jobs()) if executor is None else _handed_out(jobs(), executor)
    for shard, arrays in shards:
        run.keep(shard, arrays)
        done += len(arrays["success"])
        progress(done, run.count)
    return run


def _one_by_one(jobs):
    for shard, job in jobs:
        yield shard, _craft_shard(*job)


def _handed_out(jobs, executor):
    """Yields (shard, its arrays) as they come back; `AHEAD` more than are in work are handed
    out."""
    waiting = {}  # future: shard
    ahead = AHEAD + (getattr(executor, "_max_workers", None) or 0)
    try:
        for shard, job in jobs:
            with _uninterrupted():
                waiting[executor.submit(_craft_shard, *job)] = shard
            if len(waiting) >= ahead:
                yield from _returned(waiting)
        while waiting:
            yield from _returned(waiting)
    finally:
        for future in waiting:
            future.cancel()


@contextmanager
def _uninterrupted():
    """Ctrl-C and SIGTERM wait for the end of the block.

    Nobody would end a process that is half started.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = []
    handlers = {number: signal.signal(number, lambda number, _: signals.append(number))
                for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if signals:
            signal.raise_signal(signals[0])


def _returned(waiting):
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        try:
            yield waiting.pop(future), future.result()
        except BrokenExecutor as error:
            raise ChildProcessError("a process ended before its work was done (killed, or out of "
                                    "memory); what is crafted stays, and the same run goes on"
                                    ) from error


def _check_index(index, count):
    if index.size and not 0 <= index.min() <= index.max() < count:
        raise ValueError(f"index must lie in 0..{count - 1}; got {index.min()}..{index.max()}")
    return index


def _craft_shard(model, images, targets, options):
    """The arrays of a shard; its reasons as places in `REASONS`."""
    with getattr(model, "alone", nullcontext)():  # the same bytes, however many cores there are
        crafted = craft(model, images, targets, **options)
    used = int(crafted.iterations.max(initial=0))
    arrays = {name: getattr(crafted, name) for name in COLUMNS}
    arrays["reason"] = np.array([REASONS.index(reason) for reason in crafted.reason], np.uint8)
    arrays["pairs"] = crafted.pairs[:, :used].astype(np.int32)
    return arrays
