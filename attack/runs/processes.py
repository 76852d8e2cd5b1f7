"""Processes that craft at the same time, one BLAS thread each, and end when their parent does.

In: how many. Out: an executor for `craft_run`. Read on in `runs.shards`.
"""
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

ALONE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
         "MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1)}


@contextmanager
def processes(jobs):
    """An executor of `jobs` processes with one BLAS thread each; they end with this process,
    however it ends."""
    environment = {name: os.environ.get(name) for name in ALONE}
    os.environ.update(ALONE)  # read by the children when they start
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"),
                               initializer=_follow_parent)
    try:
        yield pool
    except BaseException:
        _abandon(pool)
        raise
    finally:
        pool.shutdown()
        for name, value in environment.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _abandon(pool):
    """End the processes of a pool at once, whatever they do, without a word from the pool's own
    thread.

    That thread must have removed the cancelled work from its table before it sees that they died,
    and may not wait for a queue that nobody reads any more; Python has no public way to either.
    """
    queue = getattr(pool, "_call_queue", None)
    manager = getattr(pool, "_executor_manager_thread", None)
    if queue is not None:
        queue.cancel_join_thread()
    pool.shutdown(wait=False, cancel_futures=True)
    for _ in range(50):
        pending = list(getattr(manager, "pending_work_items", {}).values())
        if not any(work.future.cancelled() for work in pending):
            break
        time.sleep(0.01)
    for child in multiprocessing.active_children():
        child.kill()


def _follow_parent():
    """In a child: end when the parent does; Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
