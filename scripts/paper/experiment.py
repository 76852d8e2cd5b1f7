"""What the experiments share: a `Setup` of network, digits and size, and the samples it crafts.

An experiment is a function from a `Setup` to an `Outcome`. In: the options of `jsma reproduce`.
Out: digits, and `Samples` that are crafted in shards (`attack.craft_run`), so that the paper's own
sizes can be stopped and go on. The experiments themselves: `toy`, `single`, `population`,
`hardness`, `defences`, `threat`; the list: `experiments`.
"""
import sys
import threading
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from attack import craft, craft_run
from attack.goals import every_other
from data import load_mnist
from scripts.paper.on_torch import BATCH, OnTorch
from scripts.paper.samples import Samples, joined
from scripts.paper.work import Whole, Workers, result
from scripts.terminal.progress import Line

SETS = ("train", "validation", "test")
UPSILON = 14.5
UPSILONS = (0.3, 1.3, 2.6, 5.1, 7.7, 10.2, 12.8, 25.5, 38.3)
SHARD = {"small": 45, "full": 900}  # samples in a shard
SOON = 4   # experiments that begin first
SAME_FOR_ONE = {"once": "paper", "cleverhans": "unsaturated"}
SEED = 0   # of the digits that are drawn
WHOLE = 10_000  # digits: a set of the paper
PIECE = 30  # samples that a worker crafts at once where all are needed together


@dataclass
class Setup:
    """What the experiments share; used as `with Setup(…) as setup:`.

    `scale`: "small" (`digits` of each set) or "full" (the paper's sizes), whose samples lie in
    `folder`/runs and go on where they were stopped. `jobs` processes craft at once. `answers`:
    files of the human study (`survey`). `derivative` is that of the many samples, `shown` that of
    the few in Fig. 1 and 9 (default: the same). How the paper is read: `of` and `rule` as in
    `attack.craft`, and `called`, the network's name; `sets` are those of Fig. 11. `torch`: the
    device on which torch does the networks' work, None where they do it themselves. `runs`: where
    samples lie that another setup shares.
    """
    network: object
    directory: object = None
    derivative: str = "forward"
    digits: int = 50
    scale: str = "small"
    jobs: int = 1
    folder: object = None
    answers: tuple = ()
    shown: str | None = None
    of: str = "logits"
    rule: str = "paper"
    called: str = "lenet"
    sets: tuple = SETS
    torch: str | None = None
    runs: object = None

    def __post_init__(self):
        if self.torch:
            self.network = OnTorch(self.network, self.torch)
        self.shown = self.shown or self.derivative
        self.workers = Workers(self.jobs)
        self.line = Line()
        self.whole = Whole(self.line, {}, {}, self.jobs)
        self._open = ExitStack()
        self._lock = threading.Lock()
        self._once = {}  # what is made once, whoever asks: a Future by its name

    def __enter__(self):
        """Processes and temporary folders live until the block ends."""
        if self.full:
            self.runs = Path(self.folder) / "runs"
        elif self.runs is None:
            temporary = TemporaryDirectory(prefix=".runs-", dir=self.folder)
            self.runs = Path(self._open.enter_context(temporary))
        self._open.enter_context(self.workers)
        return self

    def __exit__(self, *error):
        return self._open.__exit__(*error)

    def outcomes(self, experiments):
        """Yields (name, `Outcome`) of experiments {name: `Experiment`} as they come.

        Those that need a quiet machine come last, when nothing else runs.
        """
        self.whole = whole = Whole(
            self.line, {name: one.title for name, one in experiments.items()},
            {name: one.seconds(self) for name, one in experiments.items()}, self.jobs)
        whole.show()

        def run(name):
            """The experiment `name`, for a thread or for now."""
            one = experiments[name]
            return lambda: whole.run(name, lambda: one.run(self), one.stages)

        names = [name for name, one in experiments.items() if not one.alone]
        # the first figures soon, then what goes step by step, so that it does not end last
        steps = [name for name in names[SOON:] if experiments[name].stages > 2]
        together = list(dict.fromkeys([*names[:SOON], *steps, *names]))
        yield from self.workers.all({name: run(name) for name in together}, whole.show)
        for name in [name for name in experiments if name not in together]:
            whole.show(now=True)
            yield name, run(name)()

    @property
    def full(self):
        """Whether the experiments have the paper's sizes."""
        return self.scale == "full"

    def sized(self, paper, small=None):
        """The paper's number of digits, or a small one (default: `digits`)."""
        return paper if self.full else min(paper, small or self.digits)

    def few(self, number):
        """`number` digits where `sized` is too many, a tenth of `digits` at least."""
        return max(min(number, self.digits), self.digits // 10)

    def load(self, split, count):
        """`count` digits of a split, drawn from all of it, one of each class in turn; the paper's
        10,000 are the first.

        Returns:
            images (count, 28, 28), labels (count,).
        """
        images, labels, order = self._made_once(split, lambda: self._split(split))
        chosen = slice(count) if count >= WHOLE else order[:count]
        return images[chosen], labels[chosen]

    def number(self, split, place):
        """The number in its split of one of the digits that `load` draws."""
        return int(self._made_once(split, lambda: self._split(split))[2][place])

    def _split(self, split):
        """Images and labels of a split, and the order in which they are drawn."""
        images, labels = load_mnist(split, self.directory)
        if not len(images):
            raise ValueError(f"{self.directory}: there are no {split} digits")
        turn = np.empty(len(labels), int)  # how many digits of the same class come before
        rng = np.random.default_rng(SEED)
        for label in np.unique(labels):
            turn[labels == label] = rng.permutation((labels == label).sum())
        return images, labels, np.lexsort([labels, turn])

    def craft(self, images, targets, model=None, **options):
        """`attack.craft` for a few samples, by the workers.

        Args:
            images: (n, 28, 28).
            targets: (n,) classes, or None for a goal without a target.
            model: what is attacked (default: this setup's network).
            options: those of `attack.craft`; the derivative is this setup's by default.

        Returns:
            An `attack.Crafted`.
        """
        model = model or self.network
        options = {"derivative": self.derivative, "of": self.of, "rule": self.rule, **options}
        if self.jobs == 1:
            self.whole.begin()
            return craft(model, images, targets, progress=self.whole.tell, **options)
        pieces = [slice(start, start + PIECE) for start in range(0, len(images), PIECE)]
        return joined(self.each(craft, [
            (model, images[piece], None if targets is None else targets[piece])
            for piece in pieces], **options))

    def each(self, function, calls, **options):
        """[function(*call, **options) for call in calls], by the workers."""
        self.whole.begin()
        parts = (self.workers.later(function, *call, **options) for call in calls)
        if self.jobs > 1:
            parts = list(parts)
        results = []
        for part in parts:
            results.append(result(part))
            self.whole.tell(len(results), len(calls))
        return results

    def away(self, function, *args, **options):
        """function(*args, **options), by a worker."""
        return self.each(function, [args], **options)[0]

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
        # a step of 1 takes a feature out of Γ at once, so these rules are the same there
        rule = SAME_FOR_ONE.get(self.rule, self.rule) if abs(theta) == 1 else self.rule
        name += self._reading_by(rule)
        options = {"theta": theta, "max_distortion": max_distortion, "derivative": self.derivative,
                   "of": self.of, "rule": rule}
        if self.torch:
            options["batch_size"] = BATCH
        return self._made_once(name, lambda: self._crafted(
            name, network or self.network, split, count, options))

    def _crafted(self, name, network, split, count, options):
        """The `Samples` of a run in the folder `name`."""
        images, labels = self.load(split, count)
        index, targets = every_other(labels, self.network.classes)
        self.whole.begin()

        def progress(done, total):
            """For this thread's experiment."""
            self.workers.go_on()
            self.whole.tell(done, total)

        run = craft_run(network, images, targets, self.runs / name, index=index,
                        shard_size=SHARD[self.scale] if self.jobs > 1 else max(SHARD.values()),
                        executor=self.workers.executor,
                        progress=progress, say=self._say, **options)
        return Samples(images, index, labels[index], targets, run, options["theta"],
                       self.workers.go_on)

    def test_samples(self):
        """The test digits of Fig. 11 (θ = +1, Υ = 14.5 %).

        At the small scale they are those of the sweep over Υ, which is crafted at the largest one,
        truncated: a sample takes the same way whatever its budget is.
        """
        if self.full:
            return self.samples("test", self.sized(10_000))
        swept = self.samples("test", self.sized(1000), max_distortion=max(UPSILONS))
        return self._made_once(f"truncated, {len(swept)}{self._reading_by(self.rule)}",
                               lambda: swept.part(upsilon=UPSILON))

    def _reading_by(self, rule):
        """What tells this reading, by that rule, from the usual one: in the names of what is made
        once."""
        words = [word for word, usual in ((self.called, "lenet"), (self.of, "logits"),
                                          (rule, "paper")) if word != usual]
        return "".join(f", {word}" for word in words)

    def _say(self, text):
        self.line.clear()
        print(text, file=sys.stderr)

    def _made_once(self, name, make):
        """make(), by the first who asks for `name`; the others wait for it."""
        with self._lock:
            first = name not in self._once
            future = self._once.setdefault(name, Future())
        if first:
            try:
                future.set_result(make())
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    @property
    def one_of_each(self):
        """The first correctly read test digit of each class: images (10, 28, 28)."""
        return self._made_once(f"one of each, {self.called}", self._first_of_each)

    def _first_of_each(self):
        images, labels, _ = self._made_once("test", lambda: self._split("test"))
        images, labels = images[:1000], labels[:1000]
        right = np.zeros(len(labels), bool)
        missing = set(range(10))
        for start in range(0, len(labels), 100):  # the first hundred most often do
            rows = slice(start, start + 100)
            right[rows] = self.network.predict(images[rows]) == labels[rows]
            missing -= set(labels[right].tolist())
            if not missing:
                break
        if missing:
            raise ValueError(f"of the first {len(images)} test digits no {sorted(missing)} is read "
                             "correctly")
        return images[[np.flatnonzero(right & (labels == digit))[0] for digit in range(10)]]
