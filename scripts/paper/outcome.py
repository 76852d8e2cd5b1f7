"""What an experiment gives: numbers, and the paper's claims beside ours, each with a verdict.

In: values with their intervals (`intervals`). Out: an `Outcome`; its `Claim`s are the rows of the
report, and the entries `claims` of `results.json`.
"""
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from scripts.paper.intervals import below, rank_correlation, with_interval

ALIKE = 0.5  # the rank correlation from which on two tables are called similar
# what a verdict needs, so that it says something of the claim and not of the sample's size
ENOUGH = 45    # of the 90 pairs of classes, to compare two tables
CELL = 3       # samples for each pair of classes, or digits of each class, where these are compared
# digits, or people: a 95 % interval from five holds the mean in about 83 of 100 draws (digits like
# ours, nine samples each), one from three in 67, one from ten in 92
FEWEST = 5
WIDEST = 0.4   # of the paper's value: a wider interval holds nearly every value
ALWAYS = 90.0  # percent: what happens each time in a sample is "always" if the interval is above it
TOO_FEW = "too few"
PRINTED = 0.005  # half of the last digit of the paper's numbers


class Claim(NamedTuple):
    """A claim of the paper, its value, ours, "agrees" or "differs", and why; the verdict is "–"
    where nothing is claimed, and where there are `TOO_FEW` samples to tell (`why` begins so)."""
    claim: str
    paper: str
    ours: str
    verdict: str
    why: str = ""


@dataclass
class Outcome:
    """What an experiment gives.

    `numbers` go into `results.json`; `rows` are `Claim`s, `arrays` what the figure is drawn from,
    and `table` (heads, rows of text) is shown as it is. `no_picture` says why there is none.
    """
    numbers: dict
    rows: list
    arrays: dict = field(default_factory=dict)
    table: tuple = ()
    no_picture: str = ""


def verdict(holds):
    """"agrees", "differs", or "–" for None."""
    if holds is None:
        return "–"
    return "agrees" if holds else "differs"


def too_few(claim, what):
    """The claim without a verdict: `what` is all that there is, in words."""
    why = f"{TOO_FEW}: {what}"
    return claim._replace(verdict=verdict(None), why="; ".join(filter(None, (why, claim.why))))


def counted(claim, draws, of="digits"):
    """The claim, without a verdict where its interval is from fewer than `FEWEST` draws."""
    if draws >= FEWEST or claim.verdict == verdict(None):
        return claim
    return too_few(claim, f"{draws} of the {FEWEST} {of} that are needed")


def narrow(interval, paper=100.0):
    """Whether an interval says something: it is no wider than `WIDEST` of the paper's value."""
    return interval[1] - interval[0] <= WIDEST * abs(paper)


def measured(claim, paper, ours, interval, draws, of="digits"):
    """The `Claim` for a percentage that the paper gives: it agrees where our interval holds a
    number that is printed so, with two digits.

    Args:
        claim: what is claimed, in words.
        paper: the paper's value in percent.
        ours: our value in percent, NaN where there was nothing to average.
        interval: (low, high), the 95 % interval of our value.
        draws: how many digits, or people, it is from.
        of: what these are.
    """
    low, high = interval
    if np.isnan(ours):
        return Claim(claim, f"{paper:.2f} %", "–", verdict(None), "nothing to average")
    inside = low <= paper + PRINTED and paper - PRINTED <= high
    where = "above" if paper > high else "below"
    why = "" if inside else f"the paper's value lies {where} our 95 % interval"
    row = Claim(claim, f"{paper:.2f} %", with_interval(ours, interval), verdict(inside), why)
    if inside and not narrow(interval, paper):
        return too_few(row, f"the interval is wider than {100 * WIDEST:g} % of the paper's value")
    return counted(row, draws, of)


def always(claim, happens, interval, why):
    """The `Claim` that something happens each time: one exception refutes it, and it agrees where
    the interval of its share lies above `ALWAYS`.

    Args:
        claim: what is claimed, in words.
        happens: (n,) boolean.
        interval: (low, high) of its share in percent.
        why: the remark.
    """
    share = 100 * float(np.mean(happens)) if len(happens) else float("nan")
    row = Claim(claim, "always", with_interval(share, interval),
                verdict(bool(happens.all()) if len(happens) else None), why)
    if row.verdict == "agrees" and not interval[0] > ALWAYS:
        return too_few(row, f"the interval is not above {ALWAYS:g} %")
    return row


def similar(claim, a, b, samples):
    """The `Claim` that tables a and b look alike: their rank correlation is above `ALIKE`.

    `samples`: how many each pair of classes has at least.
    """
    cells = int((~np.isnan(a) & ~np.isnan(b)).sum())
    rho, interval = rank_correlation(a, b)
    holds = None if np.isnan(rho) else below((ALIKE,) * 2, interval)
    row = Claim(claim, "similar", with_interval(rho, interval, "", "+.2f"), verdict(holds),
                f"rank correlation; alike from {ALIKE:g} on (our threshold)")
    if cells < ENOUGH:
        return too_few(row, f"{cells} pairs of classes, {ENOUGH} are needed")
    if samples < CELL:
        return too_few(row, f"{samples} for some pair of classes, {CELL} are needed")
    return row._replace(why=f"{row.why}; {cells} pairs of classes")


def plain(array):
    """An array as nested lists for JSON, None for NaN."""
    if array.ndim > 1:
        return [plain(row) for row in array]
    return [None if np.isnan(value) else float(value) for value in array]
