"""How long everything takes: `jsma bench` prints a table of medians, measured in one run on this machine.

In: nothing but the shipped network and digits. Out: a line a measurement (median, fastest, slowest), the BLAS kernel
and the number of threads; --json FILE writes the same with every single timing.
"""
import ctypes
import json
import os
import platform
import statistics
import time
from itertools import product
from pathlib import Path

import numpy as np

from attack import best_pair, craft
from data import load_mnist
from data.idx import replacing
from nn import LeNet
from nn.training import SGD, train_epoch
from scripts import checks
from scripts.craft import pair_up
from scripts.options import whole


def arguments(parser):
    """Describe the words of `jsma bench`."""
    parser.add_argument("--repeat", type=whole(1), default=9, metavar="N", help="timings of each row (default: 9)")
    parser.add_argument("--checks", action="store_true",
                        help="instead: which wrong derivatives our check and those of torch, jax and autograd find")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")


def run(args):
    """Measure, print the table."""
    if args.checks:
        print(checks.text(checks.table(load_mnist("test")[0][:4])))
        return
    machine = _machine()
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    rows = []
    print(f"{'what':58} {'median':>10} {'fastest':>10} {'slowest':>10}")
    for name, unit, count, action in _measurements():
        seconds = _time(action, args.repeat)
        scale = {"ms": 1e3, "µs": 1e6, "s": 1}[unit] / count
        values = [scale * value for value in seconds]
        rows.append({"what": name, "unit": unit, "median": statistics.median(values), "timings": values})
        shown = (f"{value:7.3g} {unit:2}" for value in (statistics.median(values), min(values), max(values)))
        print(f"{name:58}", *shown, flush=True)
    if args.json:
        with replacing(args.json) as file:
            file.write((json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n").encode())


def _measurements():
    """Yields (what, unit, number of samples that one call works on, the call)."""
    network = LeNet.pretrained()
    images, labels = load_mnist("test")
    batch = images[:16]
    yield "logits, batch 16, a sample", "ms", 16, lambda: network.logits(batch)
    yield "forward derivative (10×784), batch 16, a sample", "ms", 16, lambda: network.forward_derivative(batch)
    yield "backward derivative (10×784), batch 16, a sample", "ms", 16, lambda: network.backward_derivative(batch)
    index, targets = pair_up(np.arange(8), labels[:8], "all")
    chosen = images[index]
    for derivative in ("forward", "backward"):
        steps = int(craft(network, chosen, targets, derivative="backward").iterations.sum())
        yield (f"crafting step, {derivative}, pair search included", "ms", steps,
               lambda derivative=derivative: craft(network, chosen, targets, derivative=derivative))
        yield (f"crafting, Υ = 14.5 %, {derivative}, a sample", "ms", len(index),
               lambda derivative=derivative: craft(network, chosen, targets, derivative=derivative))
    for features, rows in ((784, 32), (150_528, 1)):
        alpha, beta = np.random.default_rng(0).normal(size=(2, rows, features)).astype(np.float32)
        yield f"exact pair search, M = {features:,}, a row", "µs", rows, lambda a=alpha, b=beta: best_pair(a, b)
    fresh, digits = LeNet(0), load_mnist("train")
    optimizer = SGD(fresh, 0.05, 0.9)
    share = [part[:5120] for part in digits]
    yield ("training epoch, batch 128 (5,120 digits, scaled to 50,000)", "s", 5120 / 50_000,
           lambda: train_epoch(fresh, *share, optimizer, 128, 0, 0))


def _time(action, repeat):
    action()
    seconds = []
    for _ in range(repeat):
        begun = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begun)
    return seconds


def _machine():
    return {"cores": os.cpu_count(), **_blas(), "numpy": np.__version__, "python": platform.python_version()}


def _blas():
    """Name of the BLAS library, of the kernel it runs here, and its threads, as far as it tells."""
    info = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    found = {"BLAS": f"{info.get('name')} {info.get('version')}", "kernel": "unknown", "threads": "unknown"}
    for path in sorted((Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*")):
        library = ctypes.CDLL(str(path))
        for prefix, suffix in product(("scipy_openblas", "openblas"), ("64_", "")):
            name = getattr(library, f"{prefix}_get_corename{suffix}", None)
            count = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
            if name and count:
                name.restype = ctypes.c_char_p
                return {**found, "kernel": name().decode(), "threads": count()}
    return found
