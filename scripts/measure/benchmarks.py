"""What `jsma bench` times in its own process: derivatives, crafting, pair search, training, each
beside the same work by other libraries.

In: a `Trial`; the shipped network and digits. Out: a `Reading` for each number of the row.
"""
import itertools
import tempfile
from functools import cache, partial
from pathlib import Path

import numpy as np

from attack import best_pair, craft, craft_run, processes
from attack.goals import every_other
from data import load_mnist
from nn import LeNet, check_network
from nn.training import SGD, train_epoch
from scripts.measure import peers
from scripts.measure.beside import Work, beside, fastest
from scripts.measure.timing import Reading, alternating, peak_memory
from scripts.paper.experiment import UPSILON

DIGITS = 100
FEW = 20         # digits where a measurement is slow
ITERATIONS = 10
ACTIVE = 32      # samples that are crafted at once
TRAINING = 5120  # digits of an epoch
SLOW = 3         # rounds of what takes long
# Millions of multiplications and additions of LeNet: once forward (or back with one cotangent), and
# the forward derivative
ONE_WAY = 2 * (576 * 25 * 20 + 64 * 500 * 50 + 800 * 500 + 500 * 10) / 1e6
FORWARD = 330


@cache
def _shipped():
    """The network, the test images and their labels."""
    return LeNet.pretrained(), *load_mnist("test")


def logits(trial):
    """The value, of a batch of 16."""
    network, images, _ = _shipped()
    return beside(trial, "ms", Work(16, partial(network.logits, images[:16])), mflop=ONE_WAY)


def forward(trial):
    """The forward derivative of a batch of 16, beside torch's."""
    network, images, _ = _shipped()
    return beside(trial, "ms", Work(16, partial(network.forward_derivative, images[:16])),
                  [partial(_torch, peers.jacfwd)], FORWARD)


def backward(trial):
    """The backward derivative of a batch of 16, beside torch's."""
    network, images, _ = _shipped()
    return beside(trial, "ms", Work(16, partial(network.backward_derivative, images[:16])),
                  [partial(_torch, peers.jacrev)], 11 * ONE_WAY)


def one_sample(trial):
    """The forward derivative of one sample, and how many times that of one among 16 it takes."""
    network, images, _ = _shipped()
    one, sixteen = alternating([partial(network.forward_derivative, images[:count])
                                for count in (1, 16)], trial.repeat)
    return [Reading([1e3 * seconds for seconds in one]),
            Reading([16 * alone / batch for alone, batch in zip(one, sixteen)])]


def step(trial, derivative):
    """An iteration of samples that all stay in work."""
    network, images, labels = _shipped()
    index, targets = every_other(labels[:DIGITS], network.classes)
    crafted = craft(network, images[index], targets, max_distortion=UPSILON, derivative="backward")
    lasting = np.flatnonzero(crafted.iterations >= ITERATIONS)[:ACTIVE]
    action = partial(craft, network, images[index[lasting]], targets[lasting],
                     derivative=derivative, max_distortion=100 * 2 * ITERATIONS / 784)
    return beside(trial, "ms", Work(ITERATIONS * len(lasting), action),
                  mflop=3 * ONE_WAY if derivative == "backward" else ONE_WAY + FORWARD)


def both_ways(trial):
    """Crafting by the forward derivative, and how many times the backward one's time it takes."""
    samples = _samples(FEW)
    forward_craft, backward_craft = alternating(
        [partial(craft, *samples, max_distortion=UPSILON, derivative=derivative)
         for derivative in ("forward", "backward")], min(SLOW, trial.repeat))
    return [Reading([1e3 * seconds / len(samples[2]) for seconds in forward_craft]),
            Reading([ours / other for ours, other in zip(forward_craft, backward_craft)])]


def crafting(trial):
    """Crafting by the backward derivative, beside ART and torchattacks."""
    network, images, targets = samples = _samples(DIGITS)
    action = partial(craft, *samples, max_distortion=UPSILON, derivative="backward")

    def torchattacks():
        """Nine samples, each of which takes it long."""
        return Work(9, peers.torchattacks(network, images[:9], targets[:9], UPSILON), "9 samples")

    return beside(trial, "ms", Work(len(targets), action), [partial(_art, *samples), torchattacks])


def two_processes(trial, derivative, digits):
    """The same by two processes with one BLAS thread each, from disk to disk."""
    samples = _samples(digits)
    count = len(samples[2])
    number = itertools.count()
    with tempfile.TemporaryDirectory() as folder, processes(2) as executor:
        def run():
            """Craft all into a folder of its own."""
            craft_run(*samples, Path(folder) / str(next(number)), shard_size=count // 10,
                      executor=executor, max_distortion=UPSILON, derivative=derivative)
        return beside(trial, "ms", Work(count, run))


def search_digits(trial):
    """The exact pair search in the derivatives of digits, beside the whole table of pairs."""
    network, images, _ = _shipped()
    jacobian = network.backward_derivative(images[:ACTIVE])
    return _search(trial, jacobian[:, 0], jacobian.sum(axis=1) - jacobian[:, 0])


def search_random(trial):
    """The same in random numbers."""
    return _search(trial, *np.random.default_rng(0).normal(size=(2, ACTIVE, 784)).astype(
        np.float32))


def search_large(trial):
    """The exact pair search in a row as long as a colour image of 224×224, and its most memory."""
    action = partial(best_pair, *np.random.default_rng(0).normal(size=(2, 1, 150_528)).astype(
        np.float32))
    return [*beside(trial, "ms", Work(1, action)), Reading([peak_memory(action)])]


def check(trial):
    """`check_network` at one digit, as `jsma verify` has it."""
    network = LeNet.pretrained()
    network.load({name: array.astype(np.float64) for name, array in network.parameters().items()})
    digit = _shipped()[1][:1].astype(np.float64)
    return beside(trial, "s", Work(1, partial(check_network, network, digit)))


def training(trial):
    """An epoch on some digits, scaled to 50,000, and how many times torch's time it takes."""
    network = LeNet(0)
    digits = [part[:TRAINING] for part in load_mnist("train")]
    optimizer = SGD(network, 0.05, 0.9)
    epochs = TRAINING / 50_000

    def torch():
        """The same by torch."""
        return Work(epochs, peers.epoch(LeNet(0), *digits, 128))

    ours, share, *ratios = beside(
        trial, "s", Work(epochs, partial(train_epoch, network, *digits, optimizer, 128, 0, 0)),
        [torch], 50_000 * 3 * ONE_WAY)
    return [ours, share, *(ratio._replace(values=[1 / value for value in ratio.values])
                           for ratio in ratios)]


def _samples(digits):
    """The network, and the first digits with all other classes as their targets."""
    network, images, labels = _shipped()
    index, targets = every_other(labels[:digits], network.classes)
    return network, images[index], targets


def _torch(peer):
    """One of torch's derivatives at its best batch size."""
    network, images, _ = _shipped()
    return fastest(Work(size, peer(network, images[:size]), f"batch {size}")
                   for size in (1, 16, 64))


def _art(network, images, targets):
    """ART on all samples, at the batch size that is the faster one for the first 90."""
    works = {size: Work(90, peers.art(network, images[:90], targets[:90], UPSILON, size),
                        f"batch {size}") for size in (1, 32)}
    best = fastest(works.values())
    size = next(size for size, work in works.items() if work is best)
    return Work(len(targets), peers.art(network, images, targets, UPSILON, size), best.what)


def _search(trial, alpha, beta):
    def table():
        """All scores, one row after the other."""
        return Work(len(alpha), peers.dense_search(alpha, beta))

    return beside(trial, "µs", Work(len(alpha), partial(best_pair, alpha, beta)), [table])
