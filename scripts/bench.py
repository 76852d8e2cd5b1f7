"""How long everything takes: `jsma bench` prints medians measured in one run on this machine, beside other libraries.

In: nothing but the shipped network and digits. Out: a line a measurement (median, fastest, slowest), below it each peer
at its best batch size with how many times as long it takes, the BLAS kernel and the number of threads; --json FILE
writes the same with every single timing. Peers that are not installed are named.
"""
import ctypes
import importlib.metadata
import json
import os
import platform
import statistics
import time
from functools import partial
from itertools import product
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from attack import best_pair, craft
from data import load_mnist
from data.idx import replacing
from nn import LeNet
from nn.training import SGD, train_epoch
from scripts import checks, peers
from scripts.craft import pair_up
from scripts.experiment import UPSILON
from scripts.options import whole

SCALES = {"ms": 1e3, "µs": 1e6, "s": 1}


class Measurement(NamedTuple):
    """`action()` works on `count` samples; `peers`: {library: [(what, count, how to make its action), …]}."""
    what: str
    unit: str
    count: float
    action: Callable
    peers: dict = {}


def arguments(parser):
    """Describe the words of `jsma bench`."""
    parser.add_argument("--repeat", type=whole(1), default=9, metavar="N", help="timings of each row (default: 9)")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
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
    print(f"{'what':62} {'median':>10} {'fastest':>10} {'slowest':>10}  times ours")
    rows = []
    for one in _measurements():
        row = _measured(one, args.repeat)
        rows.append(row)
        _show(row)
        for name, candidates in ({} if args.no_peers else one.peers).items():
            row["peers"][name] = peer = _peer(name, one, candidates, args.repeat)
            _show(peer, row)
    if args.json:
        with replacing(args.json) as file:
            file.write((json.dumps({"machine": machine, "rows": rows}, indent=1, ensure_ascii=False) + "\n").encode())


def _measured(one, repeat):
    values = [SCALES[one.unit] * seconds / one.count for seconds in _time(one.action, repeat)]
    return {"what": one.what, "unit": one.unit, "median": statistics.median(values), "timings": values, "peers": {}}


def _peer(name, one, candidates, repeat):
    """The fastest of a peer's ways, timed up to three times each; or why it could not be asked."""
    best = None
    for what, count, make in candidates:
        try:
            found = _measured(Measurement(f"  {name}{what}", one.unit, count, make()), min(repeat, 3))
        except ImportError as error:
            return {"what": f"  {name}", "missing": str(error)}
        best = found if best is None or found["median"] < best["median"] else best
    return best


def _show(row, ours=None):
    if "missing" in row:
        print(f"{row['what']:62} not installed: {row['missing']}", flush=True)
        return
    values = row["median"], min(row["timings"]), max(row["timings"])
    shown = (f"{value:7.3g} {row['unit']:2}" for value in values)
    print(f"{row['what']:62}", *shown, "" if ours is None else f" {row['median'] / ours['median']:8.1f} ×", flush=True)


def _measurements():
    """Yields the measurements, one after the other."""
    network = LeNet.pretrained()
    images, labels = load_mnist("test")
    batch = images[:16]
    yield Measurement("logits, batch 16, a sample", "ms", 16, lambda: network.logits(batch))
    for what, derivative, peer in (("forward", network.forward_derivative, peers.jacfwd),
                                   ("backward", network.backward_derivative, peers.jacrev)):
        name = f"torch.func.{peer.__name__} + vmap"
        yield Measurement(f"{what} derivative (10×784), batch 16, a sample", "ms", 16, partial(derivative, batch), {
            name: [(f", batch {size}", size, partial(peer, network, images[:size])) for size in (1, 16, 64)]})
    index, targets = pair_up(np.arange(8), labels[:8], "all")
    for derivative in ("forward", "backward"):
        crafting = partial(craft, network, images[index], targets, max_distortion=UPSILON, derivative=derivative)
        steps = int(craft(network, images[index], targets, derivative="backward").iterations.sum())
        yield Measurement(f"crafting step, {derivative}, pair search included", "ms", steps, crafting)
        yield Measurement(f"crafting, Υ = 14.5 %, {derivative}, a sample", "ms", len(index), crafting, {
            "ART SaliencyMapMethod": [(f", batch {size}", len(index), partial(
                peers.art, network, images[index], targets, UPSILON, size)) for size in (1, 32)],
            "torchattacks JSMA": [("", 9, partial(peers.torchattacks, network, images[index[:9]], targets[:9], UPSILON))],
        } if derivative == "backward" else {})
    for features, rows in ((784, 32), (150_528, 1)):
        alpha, beta = np.random.default_rng(0).normal(size=(2, rows, features)).astype(np.float32)
        dense = {"the whole table": [("", rows, partial(peers.dense_search, alpha, beta))]} if rows > 1 else {}
        yield Measurement(f"exact pair search, M = {features:,}, a row", "µs", rows, partial(best_pair, alpha, beta), dense)
    fresh, share = LeNet(0), [part[:5120] for part in load_mnist("train")]
    optimizer = SGD(fresh, 0.05, 0.9)
    yield Measurement("training epoch, batch 128 (5,120 digits, scaled to 50,000)", "s", 5120 / 50_000,
                      lambda: train_epoch(fresh, *share, optimizer, 128, 0, 0),
                      {"torch, CPU": [("", 5120 / 50_000, partial(peers.epoch, LeNet(0), *share, 128))]})


def _time(action, repeat):
    action()
    seconds = []
    for _ in range(repeat):
        begun = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begun)
    return seconds


def _machine():
    found = {"cores": os.cpu_count(), **_blas(), "numpy": np.__version__, "python": platform.python_version()}
    for package in ("scipy", "torch", "adversarial-robustness-toolbox", "torchattacks"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


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
