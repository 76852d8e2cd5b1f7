"""Timings: runs of several actions in turn, a peak of memory, and what the machine was, for `jsma
bench`.

In: actions to be timed. Out: seconds, and dicts that go to the terminal and into JSON as they are.
"""
import ctypes
import importlib.metadata
import os
import platform
import statistics
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scripts.terminal.options import cores

SCALES = {"ms": 1e3, "µs": 1e6, "s": 1}
SPEED = "GFLOP/s of float32 products on all cores"
PATIENCE = 20  # seconds after which three timings are enough


class Trial(NamedTuple):
    """How a row of the table is measured.

    In `repeat` rounds, beside the `peers` or without them; `speed`: that of float32 products on all
    cores, in GFLOP/s, while nothing else runs.
    """
    repeat: int
    peers: bool
    speed: float


class Reading(NamedTuple):
    """The `values` of a number of the table, one a round; `note`: with what, or why there are none.

    `failed`: since something went wrong, not for want of a library.
    """
    values: list
    note: str = ""
    failed: bool = False


def alternating(actions, repeat):
    """Time actions in turn, `repeat` rounds after one that is not counted.

    What changes the speed of the machine for a while changes it for all of them. Where `PATIENCE`
    is over, three rounds are enough, and the first one counts too.

    Returns:
        A list of seconds for each of `actions`, a number a round.
    """
    rounds = [[_once(action) for action in actions]]
    start = time.perf_counter()
    while len(rounds) <= repeat:
        if len(rounds) >= 3 and time.perf_counter() - start > PATIENCE:
            break
        rounds.append([_once(action) for action in actions])
    counted = rounds[1:] if len(rounds) > repeat else rounds
    return [list(seconds) for seconds in zip(*counted)]


def timed(action, count, unit, repeat):
    """Time `repeat` runs of one action, as `alternating` does.

    Args:
        action: a function without arguments.
        count: how many samples it works on.
        unit: one of `SCALES`.
        repeat: how many runs are counted.

    Returns:
        {"median", "timings"}, in `unit` for each of `count`.
    """
    values = [SCALES[unit] * each / count for each in alternating([action], repeat)[0]]
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


def product_speed(size=1024, rounds=9):
    """GFLOP/s of float32 products on all cores: the best of some rounds of a product on each core.

    The products run at the same time, in a thread each, since NumPy releases Python's lock in them;
    where BLAS has threads of its own, in as many fewer.
    """
    threads = _blas()["threads"]
    count = max(1, cores() // (threads if isinstance(threads, int) else 1))
    factor = np.ones((size, size), np.float32)
    products = [np.empty_like(factor) for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        seconds = min(_once(lambda: list(pool.map(partial(np.matmul, factor, factor), products)))
                      for _ in range(rounds))
    return 2e-9 * count * size ** 3 / seconds


def machine(packages):
    """What the timings depend on: cores and who wants them, the BLAS library and its speed, the
    versions of `packages`.
    """
    about = {"cores": cores(), **_blas(), SPEED: round(product_speed()), **_beside_others(),
             "numpy": np.__version__, "python": platform.python_version()}
    for package in packages:
        try:
            about[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            about[package] = "not installed"
    return about


def _beside_others():
    """Our priority, and how many programs wanted a core in the last minute, where that is told."""
    about = {"nice": os.nice(0)} if hasattr(os, "nice") else {}
    if hasattr(os, "getloadavg"):
        about["load of the last minute"] = round(os.getloadavg()[0], 1)
    return about


def _once(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


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
