"""How time and memory grow with features M, classes N, batch and samples: `jsma bench --scale`.

In: how often to time. Out: a dict a line, with the median, the most memory held at once, and the
power with which both grew since the line before (1: as fast as what was varied).
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
    """Measure each series; the powers are those since the line before of the same name.

    Yields:
        {"what", "by", "size", "unit", "median", "timings", "memory" (MB), "power", "memory_power"}.
    """
    for series in (_pairs, _features, _classes, _batches, _samples):
        last = {}  # name: row
        for by, size, what, unit, action in series():
            row = {"what": what, "by": by, "size": size, "unit": unit,
                   **timed(action, 1, unit, repeat), "memory": peak_memory(action), "power": None,
                   "memory_power": None}
            name = what.split(",")[0]
            if name in last:
                row["power"] = _power(last[name], row, "median")
                row["memory_power"] = _power(last[name], row, "memory")
            last[name] = row
            yield row


def _power(before, row, key):
    """The exponent with which `key` grew with the size."""
    return float(np.log(row[key] / before[key]) / np.log(row["size"] / before["size"]))


def _pairs():
    rng = np.random.default_rng(0)
    for features in (784, 3_136, 12_544, 50_176, 150_528):
        alpha, beta = rng.normal(size=(2, 1, features)).astype(np.float32)
        what = f"exact pair search, M = {features:,}, a row"
        yield "M", features, what, "ms", partial(best_pair, alpha, beta)


def _network(width, classes):
    """LeNet's layers on images of width × width pixels."""
    rng = np.random.default_rng(0)
    pooled = ((width - 4) // 2 - 4) // 2  # width of the last feature maps
    return Network([Conv2d(1, 20, 5, rng=rng), MaxPool2d(2), Tanh(),
                    Conv2d(20, 50, 5, rng=rng), MaxPool2d(2), Tanh(),
                    Flatten(), Linear(50 * pooled * pooled, 500, rng=rng), Tanh(),
                    Linear(500, classes, rng=rng)], (width, width))


def _derivatives(network, images):
    yield "forward derivative", partial(network.forward_derivative, images)
    yield "backward derivative", partial(network.backward_derivative, images)


def _features():
    for width in (28, 40, 56, 80):
        images = np.random.default_rng(0).random((4, width, width), np.float32)
        for what, action in _derivatives(_network(width, 10), images):
            yield "M", width**2, f"{what}, M = {width**2:,}, 4 samples", "ms", action


def _classes():
    images = np.random.default_rng(0).random((4, 28, 28), np.float32)
    for classes in (10, 30, 100, 300):
        for what, action in _derivatives(_network(28, classes), images):
            yield "N", classes, f"{what}, N = {classes}, 4 samples", "ms", action


def _batches():
    network = LeNet.pretrained()
    images, _ = load_mnist("test")
    for batch in (1, 4, 16, 64, 256):
        for what, action in _derivatives(network, images[:batch]):
            yield "batch", batch, f"{what}, {batch} samples", "ms", action


def _samples():
    """Crafting from disk to disk, one pair of pixels a sample."""
    network = LeNet.pretrained()
    images, labels = load_mnist("test")
    targets = (labels + 1) % 10
    for count in (250, 1_000, 4_000):
        def crafted(count=count):
            """A new run in a new folder."""
            with tempfile.TemporaryDirectory() as folder:
                craft_run(network, images[:count], targets[:count], Path(folder) / "run",
                          shard_size=250, max_distortion=TINY, derivative="backward")
        what = f"crafting in shards of 250 by one pair of pixels, {count:,} samples"
        yield "samples", count, what, "s", crafted
