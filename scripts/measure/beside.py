"""Our work beside the same by other libraries, timed in turn, for `jsma bench`.

In: a `Trial` and `Work`s. Out: `Reading`s: our time, its share of what the machine can do, and how
many times as long the others take.
"""
from collections.abc import Callable
from typing import NamedTuple

from scripts.measure.timing import SCALES, Reading, alternating


class Work(NamedTuple):
    """Something to be timed: `action()` works on `count` samples, in the way that `what` says."""
    count: float
    action: Callable
    what: str = ""


def beside(trial, unit, ours, others=(), mflop=None):
    """Time our work and the others' in turn.

    Args:
        trial: the `Trial`.
        unit: one of `timing.SCALES`.
        ours: a `Work`.
        others: functions that each give a `Work`, or an ImportError where a library is missing.
        mflop: how many million multiplications and additions one of our `count` is inside matrix
            products.

    Returns:
        A list of `Reading`s: our time for one of `count`; with `mflop` the share of it, in percent,
        that this arithmetic takes at the machine's speed; for each of `others` how many times as
        long it takes.
    """
    peers = [_asked(other) for other in others] if trial.peers else []
    works = [ours, *(peer for peer in peers if isinstance(peer, Work))]
    times = alternating([work.action for work in works], trial.repeat)
    mine, *theirs = ([seconds / work.count for seconds in values]
                     for work, values in zip(works, times))
    readings = [Reading([SCALES[unit] * seconds for seconds in mine])]
    if mflop is not None:
        readings.append(Reading([0.1 * mflop / trial.speed / seconds for seconds in mine]))
    there = iter(theirs)
    for peer in peers:
        if isinstance(peer, Work):
            readings.append(Reading([b / a for a, b in zip(mine, next(there))], peer.what))
        else:
            readings.append(Reading([], f"not installed: {peer}"))
    return readings


def fastest(works):
    """The fastest of several `Work`s for one of their `count`, after one run each to get warm."""
    works = list(works)
    times = alternating([work.action for work in works], 1)
    return min(zip(works, times), key=lambda pair: pair[1][0] / pair[0].count)[0]


def _asked(other):
    """What a function gives, or its ImportError."""
    try:
        return other()
    except ImportError as error:
        return error
