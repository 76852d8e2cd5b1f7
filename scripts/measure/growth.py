"""How time and memory grow: `jsma bench --scale`, with features M, classes N, the batch, and the number of samples.

In: how often to time. Out: a dict a line, with the median, the most memory held at once, and the power with which both
grew since the line before (1: as fast as what was varied).
"""
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from attack import best_pair, craft_run
from data import load_mnist
from nn import Conv2d, Flatten, LeNet, Linear, MaxPool2d, Network, Tanh
from scripts.measure.timing import peak_memory, timed

TINY = 100 * 2 / 784  # Υ in percent that is one pair of pixels


def growth(repeat):
    """Yields {"what", "by", "size", "unit", "median", "timings", "memory" (MB), "power", "memory_power"}."""
    for series in (_pairs, _features, _classes, _batches, _samples):
        last = {}
        for by, size, what, unit, action in series():
            row = {"what": what, "by": by, "size": size, "unit": unit, **timed(action, 1, unit, repeat),
                   "memory": peak_memory(action), "power": None, "memory_power": None}
            before = last.get(what.split(",")[0])
            if before:
                step = np.log(size / before["size"])
                row["power"] = float(np.log(row["median"] / before["median"]) / step)
                row["memory_power"] = float(np.log(row["memory"] / before["memory"]) / step)
            last[what.split(",")[0]] = row
            yield row


def _pairs():
    rng = np.random.default_rng(0)
    for features in (784, 3_136, 12_544, 50_176, 150_528):
        alpha, beta = rng.normal(size=(2, 1, features)).astype(np.float32)
        yield "M", features, f"exact pair search, M = {features:,}, a row", "ms", partial(best_pair, alpha, beta)


def _network(side, classes):
    """LeNet's layers on images of side × side pixels."""
    rng, end = np.random.default_rng(0), ((side - 4) // 2 - 4) // 2
    return Network([Conv2d(1, 20, 5, rng=rng), MaxPool2d(2), Tanh(), Conv2d(20, 50, 5, rng=rng), MaxPool2d(2), Tanh(),
                    Flatten(), Linear(50 * end * end, 500, rng=rng), Tanh(), Linear(500, classes, rng=rng)], (side, side))


def _derivatives(network, images):
    yield "forward derivative", partial(network.forward_derivative, images)
    yield "backward derivative", partial(network.backward_derivative, images)


def _features():
    for side in (28, 40, 56, 80):
        images = np.random.default_rng(0).random((4, side, side), np.float32)
        for what, action in _derivatives(_network(side, 10), images):
            yield "M", side * side, f"{what}, M = {side * side:,}, 4 samples", "ms", action


def _classes():
    images = np.random.default_rng(0).random((4, 28, 28), np.float32)
    for classes in (10, 30, 100, 300):
        for what, action in _derivatives(_network(28, classes), images):
            yield "N", classes, f"{what}, N = {classes}, 4 samples", "ms", action


def _batches():
    network, images = LeNet.pretrained(), load_mnist("test")[0]
    for batch in (1, 4, 16, 64, 256):
        for what, action in _derivatives(network, images[:batch]):
            yield "batch", batch, f"{what}, {batch} samples", "ms", action


def _samples():
    """Crafting from disk to disk, one pair of pixels a sample."""
    network, (images, labels) = LeNet.pretrained(), load_mnist("test")
    for count in (250, 1_000, 4_000):
        def crafted(count=count):
            """A new run in a new folder."""
            with tempfile.TemporaryDirectory() as folder:
                craft_run(network, images[:count], (labels[:count] + 1) % 10, Path(folder) / "run", shard_size=250,
                          max_distortion=TINY, derivative="backward")
        yield "samples", count, f"crafting in shards of 250 by one pair of pixels, {count:,} samples", "s", crafted
