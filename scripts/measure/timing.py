"""Timings: a median of several runs, a peak of memory, and what the machine was, for `jsma bench`.

In: actions to be timed. Out: dicts that go to the terminal and into JSON as they are.
"""
import ctypes
import importlib.metadata
import platform
import statistics
import time
import tracemalloc
from itertools import product
from pathlib import Path

import numpy as np

from scripts.terminal.options import cores

SCALES = {"ms": 1e3, "µs": 1e6, "s": 1}
SPEED = "GFLOP/s of a large float32 product"
PATIENCE = 20  # seconds after which three timings are enough


def timed(action, count, unit, repeat):
    """Time `repeat` runs of an action, after one that is not counted.

    Where `PATIENCE` is over, three runs are enough, and the first one counts too.

    Args:
        action: a function without arguments.
        count: how many samples it works on.
        unit: one of `SCALES`.
        repeat: how many runs are counted.

    Returns:
        {"median", "timings"}, in `unit` for each of `count`.
    """
    seconds = [_once(action)]
    start = time.perf_counter()
    while len(seconds) <= repeat:
        if len(seconds) >= 3 and time.perf_counter() - start > PATIENCE:
            break
        seconds.append(_once(action))
    counted = seconds[1:] if len(seconds) > repeat else seconds
    values = [SCALES[unit] * each / count for each in counted]
    return {"median": statistics.median(values), "timings": values}


def peak_memory(action):
    """The most memory in MB (10⁶ bytes) that `action` held at once beyond what was there before.

    The BLAS buffers of its threads are not seen.
    """
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        action()
        return (tracemalloc.get_traced_memory()[1] - before) / 1e6
    finally:
        tracemalloc.stop()


def machine(packages):
    """What the timings depend on: cores, BLAS library and its speed, the versions of `packages`."""
    about = {"cores": cores(), **_blas(), SPEED: round(_gigaflops()),
             "numpy": np.__version__, "python": platform.python_version()}
    for package in packages:
        try:
            about[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            about[package] = "not installed"
    return about


def _once(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _gigaflops(size=2048):
    a = np.ones((size, size), np.float32)
    return 2e-9 * size ** 3 / min(_once(lambda: a @ a) for _ in range(5))


def _blas():
    """Name of the BLAS library, of the kernel it runs here, and its threads, as far as it tells."""
    info = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    about = {"BLAS": f"{info.get('name')} {info.get('version')}", "kernel": "unknown",
             "threads": "unknown"}
    for path in sorted((Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*")):
        library = ctypes.CDLL(str(path))
        for prefix, suffix in product(("scipy_openblas", "openblas"), ("64_", "")):
            name = getattr(library, f"{prefix}_get_corename{suffix}", None)
            count = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
            if name and count:
                name.restype = ctypes.c_char_p
                return {**about, "kernel": name().decode(), "threads": count()}
    return about
