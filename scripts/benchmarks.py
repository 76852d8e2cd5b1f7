"""What `jsma bench` measures: the rows of its table, each with its target and with the peers that do the same work.

In: the shipped network and digits. Out: `Measurement`s, one after the other.
"""
import itertools
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from attack import best_pair, craft, craft_run, processes
from data import load_mnist
from nn import LeNet
from nn.training import SGD, train_epoch
from scripts import peers
from scripts.craft import pair_up
from scripts.experiment import UPSILON

DIGITS, STEPS, ACTIVE = 100, 10, 32


class Peer(NamedTuple):
    """`ways`: [(what, count, how to make its action), …], of which the fastest counts; `wanted`: times ours, at least."""
    ways: list
    wanted: float | None = None


class Measurement(NamedTuple):
    """`action()` works on `count` samples; `target`: the median hoped for, in `unit`; `peers`: {library: `Peer`}.

    The unit MB stands for the most memory that the action holds at once.
    """
    what: str
    unit: str
    count: float
    action: Callable
    target: float | None = None
    peers: dict = {}


def measurements():
    """Yields the measurements, one after the other."""
    network, digits = LeNet.pretrained(), load_mnist("test")
    yield from _derivatives(network, digits[0])
    yield from _crafting(network, *digits)
    yield from _pairs()
    yield _epoch()
    yield Measurement("start of jsma --help", "s", 1, partial(
        subprocess.run, [sys.executable, "-m", "scripts", "--help"], check=True, stdout=subprocess.DEVNULL), 0.3)


def _derivatives(network, images):
    batch = images[:16]
    yield Measurement("logits, batch 16, a sample", "ms", 16, partial(network.logits, batch))
    for what, derivative, peer, target, wanted in (
            ("forward", network.forward_derivative, peers.jacfwd, 1.7, 50),
            ("backward", network.backward_derivative, peers.jacrev, 0.45, 2)):
        ways = [(f", batch {size}", size, partial(peer, network, images[:size])) for size in (1, 16, 64)]
        yield Measurement(f"{what} derivative (10×784), batch 16, a sample", "ms", 16, partial(derivative, batch), target,
                          {f"torch.func.{peer.__name__} + vmap": Peer(ways, wanted)})


def _crafting(network, images, labels):
    """Steps of samples that all stay in work, then whole crafts of the first digits to all other classes."""
    index, targets = pair_up(np.arange(DIGITS), labels[:DIGITS], "all")
    everything = {"max_distortion": UPSILON, "derivative": "backward"}
    lasting = np.flatnonzero(craft(network, images[index], targets, **everything).iterations >= STEPS)[:ACTIVE]
    for derivative, target in (("backward", 0.12), ("forward", None)):
        yield Measurement(
            f"crafting step, {derivative}, pair search included, {ACTIVE} active", "ms", STEPS * ACTIVE,
            partial(craft, network, images[index[lasting]], targets[lasting], derivative=derivative,
                    max_distortion=100 * 2 * STEPS / 784), target)
    work = network, images[index], targets
    art = [(f", batch {size}", len(index), partial(peers.art, *work, UPSILON, size)) for size in (1, 32)]
    nine = network, images[index[:9]], targets[:9]
    yield Measurement(f"crafting, backward, {DIGITS} digits × 9, a sample", "ms", len(index),
                      partial(craft, *work, **everything), 2.3,
                      {"ART SaliencyMapMethod": Peer(art, 10),
                       "torchattacks JSMA": Peer([(", 9 samples", 9, partial(peers.torchattacks, *nine, UPSILON))], 60)})
    yield from _two_processes(work, everything)
    yield Measurement(f"crafting, forward, {DIGITS} digits × 9, a sample", "ms", len(index),
                      partial(craft, *work, max_distortion=UPSILON), 35)


def _two_processes(work, options):
    number = itertools.count()
    with tempfile.TemporaryDirectory() as folder, processes(2) as executor:
        def crafted():
            """The same samples by two processes with one BLAS thread each, from disk to disk."""
            craft_run(*work, Path(folder) / str(next(number)), shard_size=90, executor=executor, **options)
        yield Measurement("the same with --jobs 2", "ms", len(work[2]), crafted)


def _pairs():
    rng = np.random.default_rng(0)
    for features, rows, target in ((784, 32, 12), (150_528, 1, 10)):
        alpha, beta = rng.normal(size=(2, rows, features)).astype(np.float32)
        search, what = partial(best_pair, alpha, beta), f"exact pair search, M = {features:,}"
        if features == 784:
            dense = {"the whole table": Peer([("", rows, partial(peers.dense_search, alpha, beta))], 300)}
            yield Measurement(f"{what}, {rows} rows, a row", "µs", rows, search, target, dense)
        else:
            yield Measurement(f"{what}, a row", "ms", rows, search, target)
            yield Measurement(f"{what}, most memory", "MB", rows, search, 50)


def _epoch():
    network, share = LeNet(0), [part[:5120] for part in load_mnist("train")]
    optimizer, epochs = SGD(network, 0.05, 0.9), 5120 / 50_000
    return Measurement("training epoch, batch 128 (5,120 digits, scaled to 50,000)", "s", epochs,
                       lambda: train_epoch(network, *share, optimizer, 128, 0, 0),
                       peers={"torch, CPU": Peer([("", epochs, partial(peers.epoch, LeNet(0), *share, 128))], 1.25)})
