"""What an experiment of the paper is: a function from a `Setup` (model, digits, size) to an `Outcome` (numbers, rows).

In: network, digits, derivative, size. Out: samples crafted in shards (`attack.runs.run`), so that the paper's own sizes can
be stopped and go on; rows for the report with the paper's value, ours with its 95 % interval and a verdict. The
experiments themselves: `toy`, `single`, `population`, `hardness`, `defences`, `threat`; the list: `experiments`.
"""
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from scipy import stats

from attack import craft, craft_run, distortion_interval, processes, replay, truncate
from attack.crafting import REASONS
from data import load_mnist
from nn.training import SGD, cross_entropy, train_epoch
from scripts.craft import pair_up
from scripts.terminal.progress import Progress

UPSILON = 14.5
ALIKE = 0.5   # the rank correlation from which on two tables are called similar
ENOUGH = 45  # of the 90 pairs of classes, to compare two tables
SHARD = {"small": 45, "full": 900}


class Row(NamedTuple):
    """One claim of the paper: what, its value, ours, "agrees" or "differs" (or "–" for no claim), and why."""
    claim: str
    paper: str
    ours: str
    verdict: str
    why: str = ""


@dataclass
class Outcome:
    """What an experiment found: JSON-able `numbers`, `rows` for the report, `arrays` for its figure, a table (heads,
    rows of text) to show as it is."""
    numbers: dict
    rows: list
    arrays: dict = field(default_factory=dict)
    table: tuple = ()


class Samples:
    """Crafted samples: `index` of the digit in `images`, source class, target class, and what came of each."""

    def __init__(self, images, index, sources, targets, run, theta):
        self.images, self.index, self.sources, self.targets = images, index, sources, targets
        self.run, self.theta, self._truncated = run, theta, {}
        self.success, self.iterations, self.distortion, reason = run.columns("success", "iterations", "distortion",
                                                                             "reason")
        self.reason = np.array(REASONS)[reason]

    def __len__(self):
        return len(self.index)

    def shards(self):
        """Yields (rows, the images they started from, their pairs) shard by shard."""
        for shard in range(len(self.run)):
            rows = self.run.rows(shard)
            yield rows, self.images[self.index[rows]], self.run.load(shard)["pairs"]

    def truncated(self, upsilon):
        """(success, distortion) of all samples as a run at the smaller Υ would have left them."""
        if upsilon not in self._truncated:
            parts = [truncate(images, pairs, self.iterations[rows], self.success[rows], upsilon, self.theta)
                     for rows, images, pairs in self.shards()]
            self._truncated[upsilon] = tuple(np.concatenate(part) for part in zip(*parts))
        return self._truncated[upsilon]

    def adversarial(self):
        """Yields (rows, the adversarial images) shard by shard."""
        for rows, images, pairs in self.shards():
            yield rows, replay(images, pairs, self.theta)


@dataclass
class Setup:
    """What the experiments share. `scale`: "small" (`digits` of each set) or "full" (the paper's sizes), whose samples
    lie in `folder`/runs and go on where they were stopped. `jobs` processes craft at once. `answers`: files of the human
    study (`survey`)."""
    network: object
    directory: object = None
    derivative: str = "forward"
    digits: int = 10
    scale: str = "small"
    jobs: int = 1
    folder: object = None
    answers: tuple = ()

    def __post_init__(self):
        self._open = ExitStack()
        self._samples = {}

    def __enter__(self):
        """Processes and temporary folders live until the block ends."""
        self._executor = self._open.enter_context(processes(self.jobs)) if self.jobs > 1 else None
        if self.scale == "full":
            self._runs = Path(self.folder) / "runs"
        else:
            self._runs = Path(self._open.enter_context(TemporaryDirectory(prefix=".runs-", dir=self.folder)))
        return self

    def __exit__(self, *error):
        return self._open.__exit__(*error)

    @property
    def full(self):
        return self.scale == "full"

    def sized(self, paper, small=None):
        """The paper's number of digits, or a small one (default: `digits`)."""
        return paper if self.full else min(paper, small or self.digits)

    def load(self, split, count):
        """The first `count` digits of a split, at the small scale the first of each class in turn: images, labels."""
        images, labels = load_mnist(split, self.directory)
        if not len(images):
            raise ValueError(f"{self.directory}: there are no {split} digits")
        if self.full:
            return images[:count], labels[:count]
        turn = np.empty(len(labels), int)
        for label in np.unique(labels):
            turn[labels == label] = np.arange((labels == label).sum())
        chosen = np.lexsort([labels, turn])[:count]
        return images[chosen], labels[chosen]

    def craft(self, images, targets, label, model=None, **options):
        """`attack.craft` with a progress line, for a few samples; by default on this setup's network, with its
        derivative."""
        progress = Progress(label)
        crafted = craft(model or self.network, images, targets, progress=progress,
                        **{"derivative": self.derivative, **options})
        progress.close()
        return crafted

    def samples(self, split, count, theta=1.0, max_distortion=UPSILON, network=None, called=""):
        """The first `count` digits of a split, crafted to the nine other classes; made once, whoever asks for them.

        `network`: another one than the setup's, and what it is `called`.
        """
        name = f"{split}, {count:,} digits, θ = {theta:g}, Υ = {max_distortion:g} %"
        if network not in (None, self.network):
            name += f", {called}"
        if name not in self._samples:
            images, labels = self.load(split, count)
            index, targets = pair_up(np.arange(len(images)), labels, "all")
            progress = Progress(name)
            run = craft_run(network or self.network, images, targets, self._runs / name, index=index,
                            shard_size=SHARD[self.scale], executor=self._executor, progress=progress,
                            say=lambda line: print(line, file=sys.stderr), theta=theta,
                            max_distortion=max_distortion, derivative=self.derivative)
            progress.close()
            self._samples[name] = Samples(images, index, labels[index], targets, run, theta)
        return self._samples[name]

    @cached_property
    def one_of_each(self):
        """The first test digit of each class that the network reads correctly: images (10, 28, 28)."""
        images, labels = (part[:1000] for part in load_mnist("test", self.directory))
        right = self.network.predict(images) == labels
        missing = set(range(10)) - set(labels[right].tolist())
        if missing:
            raise ValueError(f"of the first {len(images)} test digits no {sorted(missing)} is read correctly")
        return images[[np.flatnonzero(right & (labels == digit))[0] for digit in range(10)]]


def fitted(network, x, wanted, name, *, epochs, lr, batch, momentum=0.0, decay=1.0, seed=0, loss=cross_entropy):
    """`network`, trained in place by `nn.training` with a progress line; settings as in `scripts.train.RECIPES`."""
    optimizer = SGD(network, lr, momentum)
    progress = Progress(name, "samples")
    for epoch in range(epochs):
        optimizer.lr = lr * decay**epoch
        train_epoch(network, x, wanted, optimizer, batch, seed, epoch, loss=loss,
                    progress=lambda done, total, _, before=epoch: progress(before * total + done, epochs * total))
    progress.close()
    return network


# Words and numbers for the rows

def verdict(holds):
    """"agrees", "differs", or "–" for None."""
    return "–" if holds is None else "agrees" if holds else "differs"


def below(a, b):
    """True where the interval a lies below the interval b, False where above, None where they overlap."""
    return True if a[1] < b[0] else False if a[0] > b[1] else None


def spread(value, interval, unit=" %", form=".2f"):
    """A number with its interval as text; "–" where it is unknown."""
    if value is None or np.isnan(value):
        return "–"
    low, high = interval
    text = f"{value:{form}}{unit}" + ("" if np.isnan(low) else f" [{low:{form}}, {high:{form}}]")
    return text.replace("-", "−")


def measured(claim, paper, ours, interval):
    """A row for a percentage that the paper gives: it agrees where our interval holds it."""
    low, high = interval
    if np.isnan(ours):
        return Row(claim, f"{paper:.2f} %", "–", verdict(None), "nothing to average")
    inside = low <= paper <= high
    why = "" if inside else f"the paper's value lies {'above' if paper > high else 'below'} our 95 % interval"
    return Row(claim, f"{paper:.2f} %", spread(ours, interval), verdict(inside), why)


def rank_correlation(a, b):
    """Spearman's ρ of two tables over the cells that both have, and its 95 % interval (Fisher's z); NaN if constant."""
    both = ~np.isnan(a) & ~np.isnan(b)
    if both.sum() < 4 or not np.ptp(a[both]) or not np.ptp(b[both]):
        return float("nan"), (float("nan"),) * 2
    rho = float(stats.spearmanr(a[both], b[both]).statistic)
    half = 1.96 * 1.03 / np.sqrt(both.sum() - 3)
    centre = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    return rho, (float(np.tanh(centre - half)), float(np.tanh(centre + half)))


def similar(claim, a, b):
    """A row for "this table looks like that one": their rank correlation is above `ALIKE`, interval and all."""
    cells, (rho, interval) = int((~np.isnan(a) & ~np.isnan(b)).sum()), rank_correlation(a, b)
    few = np.isnan(rho) or cells < ENOUGH
    return Row(claim, "similar", spread(rho, interval, "", "+.2f"), verdict(None if few else below((ALIKE,) * 2, interval)),
               f"rank correlation of {cells} pairs of classes" + (": too few to tell" if few else ""))


def mean_of(values, groups):
    """The mean of values (n,) and its 95 % interval over whole groups."""
    return float(np.mean(values)) if len(values) else float("nan"), distortion_interval(values, groups)


def plain(array):
    """An array as nested lists for JSON, None for NaN."""
    return [None if np.isnan(v) else float(v) for v in array] if array.ndim == 1 else [plain(row) for row in array]
