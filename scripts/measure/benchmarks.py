"""What `jsma bench` measures: the rows of its table, each with its target and its peers.

In: the shipped network and digits. Out: `Measurement`s, one after the other.
"""
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attack import best_pair, craft, craft_run, processes
from attack.goals import every_other
from data import load_mnist
from nn import LeNet
from nn.training import SGD, train_epoch
from scripts.measure import peers
from scripts.paper.experiment import UPSILON

DIGITS = 100
FEW = 20         # digits where a measurement is slow
ITERATIONS = 10
ACTIVE = 32      # samples that are crafted at once
# Millions of multiplications and additions of LeNet: once forward (or back with one cotangent), and
# by the forward chain
ONE_WAY = 2 * (576 * 25 * 20 + 64 * 500 * 50 + 800 * 500 + 500 * 10) / 1e6
CHAIN = 2 * (64 * 30 * 30 * 20 * 50 + 64 * 64 * 50 * 500 + 784 * 500 * 10) / 1e6


class Peer(NamedTuple):
    """Another library's way to the same result.

    `ways`: [(what, count, how to make its action), …], of which the fastest counts; `wanted`: how
    many times as long as ours it is hoped to take, at least.
    """
    ways: list
    wanted: float | None = None


class Measurement(NamedTuple):
    """A row of the table.

    `action()` works on `count` samples; `target`: the median hoped for, in `unit`; `peers`:
    {library: `Peer`}; `mflop`: how many million multiplications and additions one of `count` is
    inside matrix products. The unit MB stands for the most memory that the action holds at once.
    """
    what: str
    unit: str
    count: float
    action: Callable
    target: float | None = None
    peers: dict = {}
    mflop: float | None = None


def measurements():
    """Yields the measurements, one after the other."""
    network = LeNet.pretrained()
    images, labels = load_mnist("test")
    yield from _derivatives(network, images)
    yield from _steps(network, images, labels)
    yield from _whole_crafts(network, images, labels)
    yield from _pairs(network, images)
    yield _epoch()
    start = partial(subprocess.run, [sys.executable, "-m", "scripts", "--help"], check=True,
                    stdout=subprocess.DEVNULL)
    yield Measurement("start of jsma --help", "s", 1, start, 0.3)


def _derivatives(network, images):
    batch = images[:16]
    yield Measurement("logits, batch 16, a sample", "ms", 16, partial(network.logits, batch),
                      mflop=ONE_WAY)
    for what, derivative, peer, target, wanted, mflop in (
            ("forward", network.forward_derivative, peers.jacfwd, 1.7, 50, ONE_WAY + CHAIN),
            ("backward", network.backward_derivative, peers.jacrev, 0.45, 2, 11 * ONE_WAY)):
        ways = [(f", batch {size}", size, partial(peer, network, images[:size]))
                for size in (1, 16, 64)]
        yield Measurement(f"{what} derivative (10×784), batch 16, a sample", "ms", 16,
                          partial(derivative, batch), target,
                          {f"torch.func.{peer.__name__} + vmap": Peer(ways, wanted)}, mflop)


def _steps(network, images, labels):
    """Iterations of samples that all stay in work."""
    index, targets = every_other(labels[:DIGITS], network.classes)
    crafted = craft(network, images[index], targets, max_distortion=UPSILON, derivative="backward")
    lasting = np.flatnonzero(crafted.iterations >= ITERATIONS)[:ACTIVE]
    for derivative, target, mflop in (("backward", 0.12, 3 * ONE_WAY),
                                      ("forward", None, 2 * ONE_WAY + CHAIN)):
        action = partial(craft, network, images[index[lasting]], targets[lasting],
                         derivative=derivative, max_distortion=100 * 2 * ITERATIONS / 784)
        yield Measurement(f"crafting step, {derivative}, pair search included, {ACTIVE} active",
                          "ms", ITERATIONS * ACTIVE, action, target, mflop=mflop)


def _whole_crafts(network, images, labels):
    """The first digits crafted to all other classes."""
    index, targets = every_other(labels[:DIGITS], network.classes)
    for derivative, digits, target, wanted, wanted_torch in (("backward", DIGITS, 2.3, 10, 60),
                                                             ("forward", FEW, 35, 1 / 1.4, None)):
        count = 9 * digits
        work = network, images[index[:count]], targets[:count]
        options = {"max_distortion": UPSILON, "derivative": derivative}
        art = [(f", batch {size}", count, partial(peers.art, *work, UPSILON, size))
               for size in (1, 32)]
        few = partial(peers.torchattacks, network, images[index[:9]], targets[:9], UPSILON)
        yield Measurement(f"crafting, {derivative}, {digits} digits × 9, a sample", "ms", count,
                          partial(craft, *work, **options), target,
                          {"ART SaliencyMapMethod": Peer(art, wanted),
                           "torchattacks JSMA": Peer([(", 9 samples", 9, few)], wanted_torch)})
        yield from _two_processes(work, options)


def _two_processes(work, options):
    number = itertools.count()
    count = len(work[2])
    with tempfile.TemporaryDirectory() as folder, processes(2) as executor:
        def crafted():
            """The same samples by two processes with one BLAS thread each, from disk to disk."""
            craft_run(*work, Path(folder) / str(next(number)), shard_size=count // 10,
                      executor=executor, **options)
        yield Measurement("  the same by --jobs 2", "ms", count, crafted)


def _pairs(network, images):
    jacobian = network.backward_derivative(images[:ACTIVE])
    alpha = jacobian[:, 0]
    yield from _search("of digits", alpha, jacobian.sum(axis=1) - alpha, 12, 300)
    random = np.random.default_rng(0).normal(size=(2, ACTIVE, 784)).astype(np.float32)
    yield from _search("of random numbers", *random, None, None)
    large = np.random.default_rng(0).normal(size=(2, 1, 150_528)).astype(np.float32)
    large = partial(best_pair, *large)
    yield Measurement("exact pair search, M = 150,528, a row", "ms", 1, large, 10)
    yield Measurement("exact pair search, M = 150,528, most memory", "MB", 1, large, 50)


def _search(what, alpha, beta, target, wanted):
    table = Peer([("", len(alpha), partial(peers.dense_search, alpha, beta))], wanted)
    yield Measurement(f"exact pair search, M = 784, {len(alpha)} rows {what}, a row", "µs",
                      len(alpha), partial(best_pair, alpha, beta), target,
                      {"the whole table": table})


def _epoch():
    network = LeNet(0)
    digits = [part[:5120] for part in load_mnist("train")]
    optimizer = SGD(network, 0.05, 0.9)
    epochs = 5120 / 50_000
    torch = Peer([("", epochs, partial(peers.epoch, LeNet(0), *digits, 128))], 1.25)
    return Measurement("training epoch, batch 128 (5,120 digits, scaled to 50,000)", "s", epochs,
                       lambda: train_epoch(network, *digits, optimizer, 128, 0, 0),
                       peers={"torch, CPU": torch}, mflop=50_000 * 3 * ONE_WAY)
