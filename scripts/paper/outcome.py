"""What an experiment gives: numbers, and the paper's claims beside ours, each with a verdict.

In: values with their intervals (`intervals`). Out: an `Outcome`; its `Claim`s are the rows of the
report, and the entries `claims` of `results.json`.
"""
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from scripts.paper.intervals import below, rank_correlation, with_interval

ALIKE = 0.5  # the rank correlation from which on two tables are called similar
ENOUGH = 45  # of the 90 pairs of classes, to compare two tables


class Claim(NamedTuple):
    """A claim of the paper, its value, ours, "agrees" or "differs" (or "–": no claim), and why."""
    claim: str
    paper: str
    ours: str
    verdict: str
    why: str = ""


@dataclass
class Outcome:
    """What an experiment gives.

    `numbers` go into `results.json`; `rows` are `Claim`s, `arrays` what the figure is drawn from,
    and `table` (heads, rows of text) is shown as it is.
    """
    numbers: dict
    rows: list
    arrays: dict = field(default_factory=dict)
    table: tuple = ()


def verdict(holds):
    """"agrees", "differs", or "–" for None."""
    if holds is None:
        return "–"
    return "agrees" if holds else "differs"


def measured(claim, paper, ours, interval):
    """The `Claim` for a percentage that the paper gives: it agrees where our interval holds it.

    Args:
        claim: what is claimed, in words.
        paper: the paper's value in percent.
        ours: our value in percent, NaN where there was nothing to average.
        interval: (low, high), the 95 % interval of our value.
    """
    low, high = interval
    if np.isnan(ours):
        return Claim(claim, f"{paper:.2f} %", "–", verdict(None), "nothing to average")
    inside = low <= paper <= high
    where = "above" if paper > high else "below"
    why = "" if inside else f"the paper's value lies {where} our 95 % interval"
    return Claim(claim, f"{paper:.2f} %", with_interval(ours, interval), verdict(inside), why)


def similar(claim, a, b):
    """The `Claim` that tables a and b look alike: their rank correlation is above `ALIKE`."""
    cells = int((~np.isnan(a) & ~np.isnan(b)).sum())
    rho, interval = rank_correlation(a, b)
    few = np.isnan(rho) or cells < ENOUGH
    holds = None if few else below((ALIKE,) * 2, interval)
    why = (f"rank correlation of {cells} pairs of classes"
           + (": too few to tell" if few else f"; alike from {ALIKE:g} on (our threshold)"))
    return Claim(claim, "similar", with_interval(rho, interval, "", "+.2f"), verdict(holds), why)


def plain(array):
    """An array as nested lists for JSON, None for NaN."""
    if array.ndim > 1:
        return [plain(row) for row in array]
    return [None if np.isnan(value) else float(value) for value in array]
