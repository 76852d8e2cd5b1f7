"""The table of `jsma bench`: its rows, the numbers that each of them gives, and the goals.

In: nothing. Out: `ROWS`, by the name that `--only` takes. The first rows are what people wait for;
they are measured on a quiet and on a busy machine. The others are single steps.
"""
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from scripts.measure import benchmarks, waits

LOADS = "quiet", "busy"


class Number(NamedTuple):
    """A number of a row: `what` it is, in which `unit`, and its goals.

    `sign`: "≤" or "≥", of the goals on a quiet and on a busy machine (None: no goal).
    """
    what: str
    unit: str
    sign: str = "≤"
    quiet: float | None = None
    busy: float | None = None

    def goal(self, load):
        """The goal for one of `LOADS`, or None."""
        return {"quiet": self.quiet, "busy": self.busy}[load]

    def met(self, load, value):
        """Whether `value` meets the goal for a load; None where there is no goal."""
        goal = self.goal(load)
        if goal is None:
            return None
        return value <= goal if self.sign == "≤" else value >= goal


class Row(NamedTuple):
    """What is measured at once: `measure(trial)` gives a `Reading` for each of its `numbers`.

    Without peers it leaves out the last ones. `loads`: those under which it is measured by default;
    `minutes`: it takes minutes.
    """
    measure: Callable
    numbers: tuple
    loads: tuple = LOADS
    minutes: bool = False


def _step(measure, *numbers):
    return Row(measure, numbers, ("quiet",))


def _share(quiet=None, busy=None):
    return Number("  of the float32 product speed of all cores", "%", "≥", quiet, busy)


def _jobs(derivative, digits):
    return _step(partial(benchmarks.two_processes, derivative=derivative, digits=digits),
                 Number(f"crafting, {derivative}, {digits} digits × 9, --jobs 2", "ms"))


TABLE = "  the whole table, times ours"
ROWS = {
    "reproduce": Row(waits.reproduce, (
        Number(f"jsma reproduce --digits {waits.DIGITS}", "s", "≤", 60, 180),
        Number("  its first figure on the terminal", "s", "≤", 5, 15)), minutes=True),
    "tests": Row(waits.default_tests, (
        Number("default tests", "s", "≤", 100, 300),), minutes=True),
    "explain": Row(waits.explain, (
        Number("jsma explain", "s", "≤", 2, 5),)),
    "forward": Row(benchmarks.forward, (
        Number("forward derivative, batch 16, a sample", "ms"),
        _share(45, 20),
        Number("  torch.func.jacfwd + vmap, times ours", "×", "≥", 30))),
    "one": Row(benchmarks.one_sample, (
        Number("forward derivative, one sample", "ms"),
        Number("  times a sample of a batch of 16", "×", "≤", 1.5))),
    "ways": Row(benchmarks.both_ways, (
        Number(f"crafting, forward, {benchmarks.FEW} digits × 9, a sample", "ms"),
        Number("  times crafting by the backward one", "×", "≤", 8))),
    "crafting": Row(benchmarks.crafting, (
        Number(f"crafting, backward, {benchmarks.DIGITS} digits × 9, a sample", "ms"),
        Number("  ART SaliencyMapMethod, times ours", "×", "≥", 12, 6),
        Number("  torchattacks JSMA, times ours", "×", "≥", 70, 35))),
    "check": Row(benchmarks.check, (
        Number("check_network, LeNet, one digit", "s", "≤", 1.5),)),
    "training": Row(benchmarks.training, (
        Number("training epoch, batch 128, 50,000 digits", "s"),
        _share(),
        Number("  times torch's epoch", "×", "≤", 0.8))),

    "logits": _step(benchmarks.logits, Number("logits, batch 16, a sample", "ms"), _share()),
    "backward": _step(
        benchmarks.backward, Number("backward derivative, batch 16, a sample", "ms", "≤", 0.45),
        _share(), Number("  torch.func.jacrev + vmap, times ours", "×", "≥", 2)),
    "step-backward": _step(
        partial(benchmarks.step, derivative="backward"),
        Number(f"crafting step, backward, {benchmarks.ACTIVE} active, a sample", "ms", "≤", 0.12),
        _share()),
    "step-forward": _step(
        partial(benchmarks.step, derivative="forward"),
        Number(f"crafting step, forward, {benchmarks.ACTIVE} active, a sample", "ms"), _share()),
    "jobs-backward": _jobs("backward", benchmarks.DIGITS),
    "jobs-forward": _jobs("forward", benchmarks.FEW),
    "pairs": _step(
        benchmarks.search_digits,
        Number(f"exact pair search, {benchmarks.ACTIVE} digits, a row", "µs", "≤", 12),
        Number(TABLE, "×", "≥", 300)),
    "pairs-random": _step(
        benchmarks.search_random,
        Number(f"exact pair search, {benchmarks.ACTIVE} × random, a row", "µs"),
        Number(TABLE, "×")),
    "pairs-large": _step(
        benchmarks.search_large, Number("exact pair search, M = 150,528, a row", "ms", "≤", 10),
        Number("  most memory", "MB", "≤", 50)),
    "start": _step(waits.beginning, Number("start of jsma --help", "s", "≤", 0.3)),
}
