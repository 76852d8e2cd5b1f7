"""Large runs: crafting in shards on disk, which any executor may work on and which go on where they were stopped.

In: a model, images, targets, a folder. Out: a `Run`: what `craft` returns, shard by shard, less the images (`replay`
makes these from the pairs). A killed run goes on to the same bytes, and a damaged shard is crafted again. Only the
shards in work are in memory. Read on in `runs.processes`.
"""
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from contextlib import contextmanager

import numpy as np

from attack.crafting import REASONS, craft
from attack.runs.shards import COLUMNS, missing_shards, open_run

AHEAD = 4       # shards that are handed to an executor before they are needed


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
    index = range(len(images)) if index is None else _check_index(np.asarray(index), len(images))
    targets = np.broadcast_to(np.asarray(targets), (len(index),))
    if options.get("trace") or not isinstance(options.get("domain", "paper"), str):
        raise ValueError("a run in shards keeps no trace and takes no domain array")
    craft(model, np.zeros((0, *images.shape[1:]), np.float32), 0, **options)  # wrong options are refused at once
    run = open_run(model, images, targets, index, folder, shard_size, options)
    say = say or (lambda line: None)
    missing = missing_shards(run, say)
    done = run.count - sum(len(targets[run.rows(shard)]) for shard in missing)
    if done:
        say(f"{run.folder}: {done:,} of {run.count:,} samples are there; going on")
    if progress is not None:
        progress(done, run.count)

    def jobs():
        """What is left to do, image by image only when it is asked for."""
        for shard in missing:
            rows = run.rows(shard)
            yield shard, (model, np.asarray(images[np.asarray(index[rows])]), targets[rows], options)

    for shard, found in _inline(jobs()) if executor is None else _handed_out(jobs(), executor):
        run.keep(shard, found)
        done += len(found["success"])
        if progress is not None:
            progress(done, run.count)
    return run


def _inline(jobs):
    for shard, job in jobs:
        yield shard, _craft_shard(*job)


def _handed_out(jobs, executor):
    """Yields (shard, its arrays) as they come back; at most `AHEAD` more than are being worked on are handed out."""
    waiting, ahead = {}, AHEAD + (getattr(executor, "_max_workers", None) or 0)
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
    """Ctrl-C and SIGTERM wait for the end of the block: nobody would end a process that is half started."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = []
    before = {number: signal.signal(number, lambda number, _: came.append(number))
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _returned(waiting):
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        try:
            yield waiting.pop(future), future.result()
        except BrokenExecutor as error:
            raise ChildProcessError("a process ended before its work was done (killed, or out of memory); what is "
                                    "crafted stays, and the same run goes on") from error


def _check_index(index, count):
    if index.size and not 0 <= index.min() <= index.max() < count:
        raise ValueError(f"index must lie in 0..{count - 1}; got {index.min()}..{index.max()}")
    return index


def _craft_shard(model, images, targets, options):
    crafted = craft(model, images, targets, **options)
    used = int(crafted.iterations.max(initial=0))
    found = {name: getattr(crafted, name) for name in COLUMNS}
    reason = np.array([REASONS.index(reason) for reason in crafted.reason], np.uint8)
    return {**found, "reason": reason, "pairs": crafted.pairs[:, :used].astype(np.int32)}
