"""What is the derivative along a direction? The complex step and differences, each asked only where
it applies, and what they say together.

In: a `Point`, a direction {name: array}. Out: `Measured`: the slope of each output with its error,
the two slopes at a kink, or nothing where neither could tell. The complex step counts where the
function takes complex numbers, gives finite ones, and agrees with differences that are sure of
themselves: np.abs, a norm or a conjugate are not analytic. Read on in `verify.functions.judge`.
"""
from typing import NamedTuple

import numpy as np

from nn.verify.functions.slopes import RUNGS, slopes, surest

COMPLEX, DIFFERENCES = "complex step", "differences"
STEP_SIZE = 1e-20   # of the complex step, relative to the scale
FEWER = 7           # rungs of differences, where they only confirm the complex step
TINY = 1e-3         # where all numbers are smaller than this, steps of order 1 are tried too
UNDERFLOW = (1e-150, 1e-18)  # numbers whose squares are 0, in float64 and in float32: no steps
VAGUE = 1e-5        # differences with a larger error than this, relative, confirm nothing
ROTATED = 1e-4      # steps in complex directions, relative to the scale


class Measured(NamedTuple):
    """The slopes of all outputs along a direction: arrays (N,).

    `value` ± `error`; NaN where neither referee could tell. At a `kink` the slopes from the two
    sides are `low` and `high`; elsewhere both are `value`, or the two referees', where one is too
    vague to confirm the other. `exact`: `value` is the complex step's.
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
                 "numbers …) or not finite: differences judge there")

    def __init__(self, point):
        self.point = point
        self.refused = {}
        self.disagreements = []
        self.stray = None   # outputs with an imaginary part where nothing was moved: not judged
        self.confirmed = 0  # times that differences agreed with the complex step in all outputs

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
        if (by_steps.kink | np.isnan(by_steps.error)).any():  # is it so nearer by?
            by_steps = self._by_differences(direction, scales, RUNGS)
        outside, vague = self._compared(exact, by_steps)
        usable = np.isfinite(exact) & ~outside
        if outside.any() and self._is_analytic(direction, outside, clearly=True):
            where = int(np.flatnonzero(outside)[0])
            self.disagreements.append(
                (direction, float(exact[where]), float(by_steps.value[where])))
        if vague.any():
            usable &= ~vague | self._is_analytic(direction, vague)
        if not usable.all():
            self.refused.setdefault(f"{self.exact_one}, in places", self.not_exact)
            by_steps = self._by_differences(direction, scales, RUNGS)
        self.confirmed += not (vague | by_steps.kink | ~usable).any()
        return self._together(exact, by_steps, usable, vague)

    def _compared(self, exact, by_steps):
        """Boolean (N,): where the complex step lies outside what differences say, and where they
        are too vague to confirm it."""
        largest = np.nanmax(np.abs(exact), initial=0) + np.finfo(np.float32).tiny
        size = np.maximum(np.abs(by_steps.low), np.abs(by_steps.high))
        slack = 8 * by_steps.error + 1e-7 * size + 8 * self.point.epsilon * largest
        with np.errstate(invalid="ignore"):
            outside = (exact < by_steps.low - slack) | (exact > by_steps.high + slack)
            vague = ~(slack <= VAGUE * np.maximum(np.abs(exact), size)) & ~outside
        return outside, vague

    def _together(self, exact, by_steps, usable, vague):
        """`Measured` of both: the complex step where it is usable; where nothing confirms it, what
        either of the two says."""
        one_slope = usable & ~by_steps.kink
        low = np.where(vague, np.fmin(by_steps.low, exact), exact)
        high = np.where(vague, np.fmax(by_steps.high, exact), exact)
        return Measured(
            np.where(usable, exact, by_steps.value),
            np.where(one_slope & ~vague, 8 * self.point.epsilon * np.abs(exact), by_steps.error),
            by_steps.kink, np.where(one_slope, low, by_steps.low),
            np.where(one_slope, high, by_steps.high), usable)

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
        sizes = [size * scale for scale in scales] + [1.0] * int(size < TINY)
        ladders = [slopes(lambda t: self.point.near(direction, t), each, self.point.noise,
                          self.point.epsilon * max(size, each), rungs) for each in sizes]
        slopes_of = ladders[0] if len(ladders) == 1 else surest(ladders)
        if size < UNDERFLOW[int(self.point.is_single)]:
            slopes_of = slopes_of._replace(error=np.full(len(slopes_of.error), np.nan))
        return slopes_of

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

    def _is_analytic(self, direction, outputs, clearly=False):
        """Whether the slopes of `outputs` towards i t are those towards t, for steps that are not
        tiny; `clearly`: and above the noise."""
        sizes = {self.point.scale(direction), max(1.0, self.point.scale(direction))}
        return all(self._turns(direction, outputs, ROTATED * size, clearly) for size in sizes)

    def _turns(self, direction, outputs, h, clearly):
        slopes_of_ways = []
        for way in (1, 1j, np.exp(0.25j * np.pi)):
            step = h * way + 0j
            try:
                ahead, behind = (self.point.outputs(direction, side * step) for side in (1, -1))
            except Exception:  # whatever a person's code raises there
                return False
            slopes_of_ways.append((ahead - behind)[outputs] / (2 * step))
        turned = np.array(slopes_of_ways)
        size = np.abs(turned).max(axis=0)
        noise = 4 * self.point.noise[outputs] / h
        gap = np.ptp(turned.real, axis=0) + np.ptp(turned.imag, axis=0)
        if clearly and not np.all(noise <= 0.01 * size):
            return False
        return bool(np.all(gap <= 1e-3 * size + noise))
