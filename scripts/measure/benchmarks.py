"""What `jsma bench` measures: the rows of its table, each with its target and with the peers that do the same work.

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

DIGITS, FEW, STEPS, ACTIVE = 100, 20, 10, 32
# Millions of multiplications and additions of LeNet: once forward (or back with one cotangent), and by the forward chain
ONE_WAY = 2 * (576 * 25 * 20 + 64 * 500 * 50 + 800 * 500 + 500 * 10) / 1e6
CHAIN = 2 * (64 * 30 * 30 * 20 * 50 + 64 * 64 * 50 * 500 + 784 * 500 * 10) / 1e6


class Peer(NamedTuple):
    """`ways`: [(what, count, how to make its action), …], of which the fastest counts; `wanted`: times ours, at least."""
    ways: list
    wanted: float | None = None


class Measurement(NamedTuple):
    """`action()` works on `count` samples; `target`: the median hoped for, in `unit`; `peers`: {library: `Peer`};
    `mflop`: how many million multiplications and additions one of `count` is inside matrix products.

    The unit MB stands for the most memory that the action holds at once.
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
    network, digits = LeNet.pretrained(), load_mnist("test")
    yield from _derivatives(network, digits[0])
    yield from _crafting(network, *digits)
    yield from _pairs(network, digits[0])
    yield _epoch()
    yield Measurement("start of jsma --help", "s", 1, partial(
        subprocess.run, [sys.executable, "-m", "scripts", "--help"], check=True, stdout=subprocess.DEVNULL), 0.3)


def _derivatives(network, images):
    batch = images[:16]
    yield Measurement("logits, batch 16, a sample", "ms", 16, partial(network.logits, batch), mflop=ONE_WAY)
    for what, derivative, peer, target, wanted, mflop in (
            ("forward", network.forward_derivative, peers.jacfwd, 1.7, 50, ONE_WAY + CHAIN),
            ("backward", network.backward_derivative, peers.jacrev, 0.45, 2, 11 * ONE_WAY)):
        ways = [(f", batch {size}", size, partial(peer, network, images[:size])) for size in (1, 16, 64)]
        yield Measurement(f"{what} derivative (10×784), batch 16, a sample", "ms", 16, partial(derivative, batch), target,
                          {f"torch.func.{peer.__name__} + vmap": Peer(ways, wanted)}, mflop)


def _crafting(network, images, labels):
    """Steps of samples that all stay in work, then whole crafts of the first digits to all other classes."""
    index, targets = every_other(labels[:DIGITS], network.classes)
    crafted = craft(network, images[index], targets, max_distortion=UPSILON, derivative="backward")
    lasting = np.flatnonzero(crafted.iterations >= STEPS)[:ACTIVE]
    for derivative, target, mflop in (("backward", 0.12, 3 * ONE_WAY), ("forward", None, 2 * ONE_WAY + CHAIN)):
        yield Measurement(
            f"crafting step, {derivative}, pair search included, {ACTIVE} active", "ms", STEPS * ACTIVE,
            partial(craft, network, images[index[lasting]], targets[lasting], derivative=derivative,
                    max_distortion=100 * 2 * STEPS / 784), target, mflop=mflop)
    for derivative, digits, target, wanted, other in (("backward", DIGITS, 2.3, 10, 60),
                                                      ("forward", FEW, 35, 1 / 1.4, None)):
        work = network, images[index[:9 * digits]], targets[:9 * digits]
        options = {"max_distortion": UPSILON, "derivative": derivative}
        art = [(f", batch {size}", 9 * digits, partial(peers.art, *work, UPSILON, size)) for size in (1, 32)]
        few = [(", 9 samples", 9, partial(peers.torchattacks, network, images[index[:9]], targets[:9], UPSILON))]
        yield Measurement(f"crafting, {derivative}, {digits} digits × 9, a sample", "ms", 9 * digits,
                          partial(craft, *work, **options), target,
                          {"ART SaliencyMapMethod": Peer(art, wanted), "torchattacks JSMA": Peer(few, other)})
        yield from _two_processes(work, options)


def _two_processes(work, options):
    number = itertools.count()
    with tempfile.TemporaryDirectory() as folder, processes(2) as executor:
        def crafted():
            """The same samples by two processes with one BLAS thread each, from disk to disk."""
            craft_run(*work, Path(folder) / str(next(number)), shard_size=len(work[2]) // 10, executor=executor, **options)
        yield Measurement("  the same by --jobs 2", "ms", len(work[2]), crafted)


def _pairs(network, images):
    jacobian = network.backward_derivative(images[:ACTIVE])
    alpha = jacobian[:, 0]
    yield from _search("of digits", alpha, jacobian.sum(axis=1) - alpha, 12, 300)
    random = np.random.default_rng(0).normal(size=(2, ACTIVE, 784)).astype(np.float32)
    yield from _search("of random numbers", *random, None, None)
    large = partial(best_pair, *np.random.default_rng(0).normal(size=(2, 1, 150_528)).astype(np.float32))
    yield Measurement("exact pair search, M = 150,528, a row", "ms", 1, large, 10)
    yield Measurement("exact pair search, M = 150,528, most memory", "MB", 1, large, 50)


def _search(what, alpha, beta, target, wanted):
    table = Peer([("", len(alpha), partial(peers.dense_search, alpha, beta))], wanted)
    yield Measurement(f"exact pair search, M = 784, {len(alpha)} rows {what}, a row", "µs", len(alpha),
                      partial(best_pair, alpha, beta), target, {"the whole table": table})


def _epoch():
    network, share = LeNet(0), [part[:5120] for part in load_mnist("train")]
    optimizer, epochs = SGD(network, 0.05, 0.9), 5120 / 50_000
    return Measurement("training epoch, batch 128 (5,120 digits, scaled to 50,000)", "s", epochs,
                       lambda: train_epoch(network, *share, optimizer, 128, 0, 0),
                       peers={"torch, CPU": Peer([("", epochs, partial(peers.epoch, LeNet(0), *share, 128))], 1.25)},
                       mflop=50_000 * 3 * ONE_WAY)
