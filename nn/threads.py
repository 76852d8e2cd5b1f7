"""The parts of a batch on all cores: Python threads, each with one BLAS thread.

We make thousands of small matrix products. Shared by two BLAS threads, each of them waits for the
slower one: that wins little on a quiet machine and loses a factor of ten on a busy one. So samples
are shared, not products; NumPy lets other threads run while it computes. In: a function and the
parts of its work. Out: its results, in order; they do not depend on which thread made them. Read on
in `outputs`.
"""
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from functools import cache

BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
                "VECLIB_MAXIMUM_THREADS")

LARGE = 100_000  # multiplications a sample, from which on several threads are worth their start

_here = threading.local()  # `alone` is true in a thread that works on one part
_chosen = None  # what `set_num_threads` was called with


def get_num_threads():
    """How many parts of a batch are computed at once.

    As many as there are cores, if BLAS can be held to one thread meanwhile: by `threadpoolctl`,
    where it is installed, or because the environment asks for one (OPENBLAS_NUM_THREADS=1).
    Otherwise 1, as in a thread that works on a part already.
    """
    if getattr(_here, "alone", False):
        return 1
    return _chosen or (_cores() if one_blas_thread() else 1)


def set_num_threads(number):
    """Compute `number` parts of a batch at once, whatever BLAS does; None: as `get_num_threads`
    says. ValueError if it is no whole number of at least 1."""
    global _chosen
    if number is not None and (not isinstance(number, int) or number < 1):
        raise ValueError(f"number must be a whole number of at least 1, or None; got {number!r}")
    _chosen = number


def in_threads(function, parts, number=None):
    """[function(part) for part in parts], `number` at once (None: as `get_num_threads` says).

    What a part raises is raised here; parts that have not begun are not begun then.
    """
    parts = list(parts)
    number = get_num_threads() if number is None else number
    if number < 2 or len(parts) < 2:
        return [function(part) for part in parts]
    over = threading.Event()

    def work(part):
        """One part, in a thread that splits it no further."""
        if over.is_set():
            return None
        try:
            with alone():
                return function(part)
        except BaseException:
            over.set()
            raise

    with _BLAS_HELD_TO_ONE:
        futures = [_pool(number).submit(copy_context().run, work, part) for part in parts]
        try:
            return [future.result() for future in futures]
        finally:
            over.set()


@contextmanager
def alone():
    """In this block the present thread computes all parts itself."""
    before = getattr(_here, "alone", False)
    _here.alone = True
    try:
        yield
    finally:
        _here.alone = before


def one_blas_thread():
    """Whether BLAS runs, or can be made to run, with one thread."""
    asked = {os.environ[name] for name in BLAS_THREADS if os.environ.get(name)}
    return asked == {"1"} or _controller() is not None


class Threaded:
    """A network whose samples are computed in several threads; `layers` and `shapes` as there."""

    alone = staticmethod(alone)

    @property
    def num_threads(self):
        """How many parts of a batch are computed at once: `get_num_threads()`, 1 if it is small."""
        multiplications = sum(array.size * self.shapes[name][1] * self.shapes[name][2]
                              for name, layer in self.layers.items()
                              for array in layer.parameters.values())
        return get_num_threads() if multiplications >= LARGE else 1

    def in_threads(self, function, parts):
        """[function(part) for part in parts], `num_threads` at once."""
        return in_threads(function, parts, self.num_threads)


def _cores():
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@cache
def _pool(number):
    return ThreadPoolExecutor(number, "forward-derivative")


@cache
def _controller():
    """threadpoolctl's controller of the BLAS libraries, or None where it is not installed."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas")


class _HeldToOne:
    """A block in which BLAS has one thread, where threadpoolctl is installed.

    BLAS has one number of threads for the whole process: the first block to begin sets it, the last
    to end puts back what was there.
    """

    def __init__(self):
        self.begin_anew()

    def begin_anew(self):
        """Nobody is inside."""
        self._lock = threading.Lock()
        self._inside = 0
        self._limit = None

    def __enter__(self):
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                controller = _controller()
                self._limit = controller.limit(limits=1) if controller else nullcontext()
                self._limit.__enter__()

    def __exit__(self, *error):
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limit.__exit__(*error)


_BLAS_HELD_TO_ONE = _HeldToOne()


def _after_fork():
    """The threads do not live on in a forked process."""
    _pool.cache_clear()
    _BLAS_HELD_TO_ONE.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
