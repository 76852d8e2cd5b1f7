"""What the experiments share: a `Setup` of network, digits and size, and the samples it crafts.

An experiment is a function from a `Setup` to an `Outcome`. In: the options of `jsma reproduce`.
Out: digits, and `Samples` that are crafted in shards (`attack.craft_run`), so that the paper's own
sizes can be stopped and go on. The experiments themselves: `toy`, `single`, `population`,
`hardness`, `defences`, `threat`; the list: `experiments`.
"""
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from attack import craft, craft_run, processes
from attack.goals import every_other
from data import load_mnist
from scripts.paper.samples import Samples
from scripts.terminal.progress import Progress

UPSILON = 14.5
SHARD = {"small": 45, "full": 900}  # samples in a shard


@dataclass
class Setup:
    """What the experiments share; used as `with Setup(…) as setup:`.

    `scale`: "small" (`digits` of each set) or "full" (the paper's sizes), whose samples lie in
    `folder`/runs and go on where they were stopped. `jobs` processes craft at once. `answers`:
    files of the human study (`survey`). `derivative` is that of the many samples, `shown` that of
    the few in Fig. 1 and 9 (default: the same).
    """
    network: object
    directory: object = None
    derivative: str = "forward"
    digits: int = 10
    scale: str = "small"
    jobs: int = 1
    folder: object = None
    answers: tuple = ()
    shown: str | None = None

    def __post_init__(self):
        self.shown = self.shown or self.derivative
        self._open = ExitStack()
        self._samples = {}

    def __enter__(self):
        """Processes and temporary folders live until the block ends."""
        self._executor = None
        if self.jobs > 1:
            self._executor = self._open.enter_context(processes(self.jobs))
        if self.full:
            self._runs = Path(self.folder) / "runs"
        else:
            temporary = TemporaryDirectory(prefix=".runs-", dir=self.folder)
            self._runs = Path(self._open.enter_context(temporary))
        return self

    def __exit__(self, *error):
        return self._open.__exit__(*error)

    @property
    def full(self):
        """Whether the experiments have the paper's sizes."""
        return self.scale == "full"

    def sized(self, paper, small=None):
        """The paper's number of digits, or a small one (default: `digits`)."""
        return paper if self.full else min(paper, small or self.digits)

    def load(self, split, count):
        """The first `count` digits of a split, at the small scale the first of each class in turn.

        Returns:
            images (count, 28, 28), labels (count,).
        """
        images, labels = load_mnist(split, self.directory)
        if not len(images):
            raise ValueError(f"{self.directory}: there are no {split} digits")
        if self.full:
            return images[:count], labels[:count]
        turn = np.empty(len(labels), int)  # how many digits of the same class come before
        for label in np.unique(labels):
            turn[labels == label] = np.arange((labels == label).sum())
        chosen = np.lexsort([labels, turn])[:count]
        return images[chosen], labels[chosen]

    def craft(self, images, targets, label, model=None, **options):
        """`attack.craft` with a progress line, for a few samples.

        Args:
            images: (n, 28, 28).
            targets: (n,) classes, or None for a goal without a target.
            label: what the progress line says.
            model: what is attacked (default: this setup's network).
            options: those of `attack.craft`; the derivative is this setup's by default.

        Returns:
            An `attack.Crafted`.
        """
        progress = Progress(label)
        options = {"derivative": self.derivative, **options}
        crafted = craft(model or self.network, images, targets, progress=progress, **options)
        progress.close()
        return crafted

    def samples(self, split, count, theta=1.0, max_distortion=UPSILON, network=None, called=""):
        """The first `count` digits of a split, each crafted to the nine other classes.

        They are made once, whoever asks for them.

        Args:
            split, count: as in `load`.
            theta, max_distortion: θ, and Υ in percent.
            network: another one than this setup's.
            called: what that network is called.

        Returns:
            `Samples`, nine a digit.
        """
        name = f"{split}, {count:,} digits, θ = {theta:g}, Υ = {max_distortion:g} %"
        if network not in (None, self.network):
            name += f", {called}"
        if name not in self._samples:
            images, labels = self.load(split, count)
            index, targets = every_other(labels, self.network.classes)
            progress = Progress(name)
            run = craft_run(network or self.network, images, targets, self._runs / name,
                            index=index, shard_size=SHARD[self.scale], executor=self._executor,
                            progress=progress, say=lambda line: print(line, file=sys.stderr),
                            theta=theta, max_distortion=max_distortion, derivative=self.derivative)
            progress.close()
            self._samples[name] = Samples(images, index, labels[index], targets, run, theta)
        return self._samples[name]

    @cached_property
    def one_of_each(self):
        """The first correctly read test digit of each class: images (10, 28, 28)."""
        images, labels = (part[:1000] for part in load_mnist("test", self.directory))
        right = self.network.predict(images) == labels
        missing = set(range(10)) - set(labels[right].tolist())
        if missing:
            raise ValueError(f"of the first {len(images)} test digits no {sorted(missing)} is read "
                             "correctly")
        return images[[np.flatnonzero(right & (labels == digit))[0] for digit in range(10)]]
