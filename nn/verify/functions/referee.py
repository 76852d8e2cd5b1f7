"""What is the derivative along a direction? The complex step and differences, each asked only where
it applies, and what they say together.

In: a `Point`, a direction {name: array}. Out: `Measured`: the slope of each output with its error,
the two slopes at a kink, or nothing where neither could tell. The complex step counts where the
function takes complex numbers, gives finite ones, and agrees with differences that are sure of
themselves: np.abs, a norm or a conjugate are not analytic. Read on in `verify.functions.own`.
"""
from typing import NamedTuple

import numpy as np

from nn.verify.functions.slopes import RUNGS, slopes, surest

COMPLEX, DIFFERENCES = "complex step", "differences"
STEP_SIZE = 1e-20   # of the complex step, relative to the scale
FEWER = 7           # rungs of differences, where they only confirm the complex step
NOISE = 8           # roundings in one value


class Measured(NamedTuple):
    """The slopes of all outputs along a direction: arrays (N,).

    `value` ± `error`; NaN where neither referee could tell. At a `kink` the slopes from the two
    sides are `low` and `high`; elsewhere both are `value`. `exact`: by the complex step.
    """
    value: np.ndarray
    error: np.ndarray
    kink: np.ndarray
    low: np.ndarray
    high: np.ndarray
    exact: np.ndarray


class Referee:
    """The referees of one `Point`; `refused` says why one was not asked, {referee: reason}, and
    `disagreements` where both are sure and differ, [(direction, complex step, differences)]."""
    exact_one = COMPLEX
    not_exact = ("the function is not analytic (np.abs, a norm, a conjugate, a maximum of complex "
                 "numbers …): differences judge there")

    def __init__(self, point):
        self.point = point
        self.refused = {}
        self.disagreements = []
        self.stray = None   # outputs with an imaginary part where nothing was moved: not judged
        self.confirmed = 0  # times that differences agreed with the complex step in all outputs
        self.noise = NOISE * point.epsilon * np.abs(point.value)

    def measure(self, direction, scales=(1.0,)):
        """`Measured` along `direction`.

        Args:
            direction: {name: array}, the arrays that are moved.
            scales: ladders of steps to be tried, relative to the size of what is moved.
        """
        exact = self._by_complex_step(direction)
        by_steps = self._by_differences(direction, scales, RUNGS if exact is None else FEWER)
        if exact is None:
            return Measured(*by_steps, np.zeros(len(by_steps.value), bool))
        rounding = 8 * self.point.epsilon * np.abs(exact)
        slack = 8 * by_steps.error + 1e-6 * np.maximum(np.abs(by_steps.low), np.abs(by_steps.high))
        with np.errstate(invalid="ignore"):
            outside = (exact < by_steps.low - slack) | (exact > by_steps.high + slack)
        if not np.all(np.isfinite(exact) & ~outside):
            by_steps = self._by_differences(direction, scales, RUNGS)  # they alone judge there
        usable = np.isfinite(exact) & ~outside
        self.confirmed += bool(usable.all() and not by_steps.kink.any()
                               and np.isfinite(by_steps.error).all())
        if outside.any():
            self._settle(direction, exact, by_steps, outside)
        sides = [np.where(by_steps.kink, side, exact) for side in (by_steps.low, by_steps.high)]
        return Measured(
            np.where(usable, exact, by_steps.value),
            np.where(usable, np.where(by_steps.kink, by_steps.error, rounding), by_steps.error),
            by_steps.kink, *(np.where(usable, side, of_steps) for side, of_steps in
                             zip(sides, (by_steps.low, by_steps.high))), usable)

    @property
    def is_trusted(self):
        """Whether differences agreed with the complex step wherever both were asked."""
        return not self.refused and not self.disagreements and self.confirmed >= 2

    def exactly(self, direction):
        """`Measured` by the complex step alone, where it `is_trusted`."""
        exact = self._by_complex_step(direction)
        if exact is None:
            return self.measure(direction)
        error = 8 * self.point.epsilon * np.abs(exact)
        no = np.zeros(len(exact), bool)
        return Measured(exact, error, no, exact, exact, ~no)

    def table(self, name):
        """`Measured` of all entries of an array at once, where a referee has them; else None."""
        return None

    def accepts(self, name, column, claimed):
        """Whether a referee that differences do not agree with has just the claimed slopes (N,)."""
        return False

    def _by_differences(self, direction, scales, rungs):
        size = self.point.scale(direction)
        ladders = [slopes(lambda t: self.point.near(direction, t), size * scale, self.noise,
                          self.point.epsilon * size, rungs) for scale in scales]
        return ladders[0] if len(ladders) == 1 else surest(ladders)

    def _by_complex_step(self, direction):
        """Im f(x + ih·direction) / h (N,), None where the function does not take it."""
        if COMPLEX in self.refused:
            return None
        h = STEP_SIZE * self.point.scale(direction)
        try:
            outputs = self.point.outputs(direction, 1j * h)
        except Exception as error:  # whatever a person's code raises there
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            self.refused[COMPLEX] = f"the function does not take complex numbers ({reason})"
            return None
        if outputs.dtype.kind != "c":
            self.refused[COMPLEX] = ("the function does not take complex numbers (it returns real "
                                     "ones)")
            return None
        if outputs.shape != self.point.value.shape:
            self.refused[COMPLEX] = "the function returns another shape for complex numbers"
            return None
        if self.stray is None:
            self.stray = self.point.outputs({}, 0j).imag != 0
        return np.where(self.stray, np.nan, outputs.imag / h)

    def _settle(self, direction, exact, by_steps, outside):
        """The two differ: is the complex step outside its domain, or do referees disagree?"""
        if self._is_analytic(direction, outside):
            where = int(np.flatnonzero(outside)[0])
            self.disagreements.append(
                (direction, float(exact[where]), float(by_steps.value[where])))
        else:
            self.refused.setdefault(f"{self.exact_one}, in places", self.not_exact)

    def _is_analytic(self, direction, outside):
        """Whether the slope towards i t is that towards t, for steps that are not tiny."""
        h = 1e-4 * self.point.scale(direction)
        ways = (1, 1j, np.exp(0.25j * np.pi))
        values = [self.point.outputs(direction, h * way + 0j) for way in ways]
        back = [self.point.outputs(direction, -h * way + 0j) for way in ways]
        slope = np.array([(a - b)[outside] / (2 * h * way)
                          for a, b, way in zip(values, back, ways)])
        size = np.abs(slope).max(axis=0)
        return bool(np.all(np.ptp(slope.real, axis=0) + np.ptp(slope.imag, axis=0)
                           <= 1e-3 * size + 1e-6))
