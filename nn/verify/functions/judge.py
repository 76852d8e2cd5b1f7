"""Is a claimed slope right? One judgement for each entry: right, wrong, or why it was not judged.

In: claimed numbers, what the referees measured. Out: `Judgement`, an array of marks and errors. An
entry passes within 1e-7 of itself (1e-3 in float32), the referee's error, and what rounding of the
terms that make it can do. Read on in `verify.functions.search`.
"""
from typing import NamedTuple

import numpy as np

OK, AT_KINK, SMALL, NOT_JUDGED, WRONG = range(5)
SINGLE = 1e-9       # an epsilon above this is that of float32
RELATIVE = (1e-7, 1e-3)         # of an entry, in float64 and in float32
OF_THE_LARGEST = (1e-12, 1e-5)  # of the largest entry: rounding of the terms that make an entry
OF_THE_VALUE = 64               # roundings of the function's value
BLUNT = 0.005       # an allowance of more than this share of an entry does not judge it
COARSE = (1e-5, 3e-3)  # but of entries smaller than this, relative to the largest, the size counts


class Judgement(NamedTuple):
    """Marks of entries, one of OK, AT_KINK (between the slopes of both sides), SMALL (equal to
    rounding, which is more than half a percent of it), NOT_JUDGED, WRONG; the errors relative to
    what is allowed (NaN where not judged), and what is expected."""
    marks: np.ndarray
    excess: np.ndarray
    expected: np.ndarray


class Tolerance:
    """What is allowed beside the referee's own error."""

    def __init__(self, epsilon, value, largest, tolerance=None):
        """
        Args:
            epsilon: of the function's arithmetic.
            value: the function's outputs (N,).
            largest: the largest claimed or measured entry.
            tolerance: relative to the largest entry, in place of the default.
        """
        single = int(epsilon > SINGLE)
        self.relative = RELATIVE[single] if tolerance is None else 0.0
        self.absolute = (OF_THE_LARGEST[single] if tolerance is None else tolerance) * largest
        self.rounding = OF_THE_VALUE * epsilon * np.abs(value)
        self.largest, self.coarse = largest, COARSE[single]

    def judge(self, claimed, measured):
        """A `Judgement` of claimed slopes (N,) beside a `Measured`. At a kink, what lies outside
        the two slopes is not judged: where several kinks meet a rule may lead there."""
        low, high, at_kink = measured.low, measured.high, measured.kink
        size = np.maximum(np.abs(low), np.abs(high))
        base = self.relative * size + self.absolute + self.rounding
        slack = base + measured.error
        with np.errstate(all="ignore"):
            off = np.maximum(np.maximum(low - claimed, claimed - high), 0)
            off = np.where(np.isfinite(claimed), off, np.inf)
            from_value = np.abs(claimed - measured.value)
            size = np.maximum(size, np.abs(claimed))
            blunt = slack > BLUNT * size
            agrees = measured.exact & (from_value <= base)
            of_no_weight = np.maximum(size, measured.error) <= self.coarse * self.largest
            excess = np.where(off == 0, 0, off / np.where(slack == 0, 1e-300, slack))
        unknown = ~(np.isfinite(measured.error) & np.isfinite(low) & np.isfinite(high))
        wrong = off > slack
        marks = np.select(
            [unknown & ~agrees | wrong & at_kink & np.isfinite(claimed), wrong,
             blunt & ~of_no_weight & ~agrees, at_kink & ~(from_value <= slack), blunt & (size > 0)],
            [NOT_JUDGED, WRONG, NOT_JUDGED, AT_KINK, SMALL], OK)
        return Judgement(marks, np.where(marks == NOT_JUDGED, np.nan, excess),
                         np.where(at_kink, np.clip(claimed, low, high), measured.value))
