"""The table of `jsma bench`: its rows, what each line of them shows, and the goals.

In: nothing. Out: `ROWS`, by the name that `--only` takes. The first rows are what people wait for;
they are measured on a quiet and on a busy machine. The others are single steps.
"""
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from scripts.measure import benchmarks, waits

LOADS = "quiet", "busy"


class Line(NamedTuple):
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
    """What is measured at once: `measure(trial)` gives a `Reading` for each of the `lines`.

    Without peers it leaves out the last ones. `loads`: those under which it is measured by default;
    `minutes`: it takes minutes.
    """
    measure: Callable
    lines: tuple
    loads: tuple = LOADS
    minutes: bool = False


def _step(measure, *lines):
    return Row(measure, lines, ("quiet",))


def _share(quiet=None, busy=None):
    return Line("  of the float32 product speed of all cores", "%", "≥", quiet, busy)


def _jobs(derivative, digits):
    return _step(partial(benchmarks.two_processes, derivative=derivative, digits=digits),
                 Line(f"crafting, {derivative}, {digits} digits × 9, --jobs 2", "ms"))


TABLE = "  the whole table, times ours"
ROWS = {
    "reproduce": Row(waits.reproduce, (
        Line(f"jsma reproduce --digits {waits.DIGITS}", "s", "≤", 60, 180),
        Line("  its first figure on the terminal", "s", "≤", 5, 15)), minutes=True),
    "tests": Row(waits.default_tests, (
        Line("default tests", "s", "≤", 100, 300),), minutes=True),
    "explain": Row(waits.explain, (
        Line("jsma explain", "s", "≤", 2, 5),)),
    "forward": Row(benchmarks.forward, (
        Line("forward derivative, batch 16, a sample", "ms"),
        _share(45, 20),
        Line("  torch.func.jacfwd + vmap, times ours", "×", "≥", 30))),
    "one": Row(benchmarks.one_sample, (
        Line("forward derivative, one sample", "ms"),
        Line("  times a sample of a batch of 16", "×", "≤", 1.5))),
    "ways": Row(benchmarks.both_ways, (
        Line(f"crafting, forward, {benchmarks.FEW} digits × 9, a sample", "ms"),
        Line("  times crafting by the backward one", "×", "≤", 8))),
    "crafting": Row(benchmarks.crafting, (
        Line(f"crafting, backward, {benchmarks.DIGITS} digits × 9, a sample", "ms"),
        Line("  ART SaliencyMapMethod, times ours", "×", "≥", 12, 6),
        Line("  torchattacks JSMA, times ours", "×", "≥", 70, 35))),
    "check": Row(benchmarks.check, (
        Line("check_network, LeNet, one digit", "s", "≤", 1.5),)),
    "training": Row(benchmarks.training, (
        Line("training epoch, batch 128, 50,000 digits", "s"),
        _share(),
        Line("  times torch's epoch", "×", "≤", 0.8))),

    "logits": _step(benchmarks.logits, Line("logits, batch 16, a sample", "ms"), _share()),
    "backward": _step(
        benchmarks.backward, Line("backward derivative, batch 16, a sample", "ms", "≤", 0.45),
        _share(), Line("  torch.func.jacrev + vmap, times ours", "×", "≥", 2)),
    "step-backward": _step(
        partial(benchmarks.step, derivative="backward"),
        Line(f"crafting step, backward, {benchmarks.ACTIVE} active, a sample", "ms", "≤", 0.12),
        _share()),
    "step-forward": _step(
        partial(benchmarks.step, derivative="forward"),
        Line(f"crafting step, forward, {benchmarks.ACTIVE} active, a sample", "ms"), _share()),
    "jobs-backward": _jobs("backward", benchmarks.DIGITS),
    "jobs-forward": _jobs("forward", benchmarks.FEW),
    "pairs": _step(
        benchmarks.search_digits,
        Line(f"exact pair search, {benchmarks.ACTIVE} digits, a row", "µs", "≤", 12),
        Line(TABLE, "×", "≥", 300)),
    "pairs-random": _step(
        benchmarks.search_random,
        Line(f"exact pair search, {benchmarks.ACTIVE} × random, a row", "µs"), Line(TABLE, "×")),
    "pairs-large": _step(
        benchmarks.search_large, Line("exact pair search, M = 150,528, a row", "ms", "≤", 10),
        Line("  most memory", "MB", "≤", 50)),
    "start": _step(waits.beginning, Line("start of jsma --help", "s", "≤", 0.3)),
}
