"""The slope of a function of one number t at 0, by differences on a ladder of step sizes, with an
honest error: what differences can say about a derivative, and where they can say nothing.

In: φ(t) (N,), a scale, the noise of one value. Out: `Slopes`, from both sides and in the middle,
each extrapolated (Richardson) on the rungs where it is surest (Ridders 1982). A kink further away
than the smallest steps spoils the large ones only; one at 0 shows as two slopes. Read on in
`verify.functions.referee`.
"""
from typing import NamedTuple

import numpy as np

RATIO = 4
RUNGS = 12        # step sizes: scale/8, scale/32, … down to 3e-8 of the scale
ORDERS = 3        # extrapolations, each one order higher
APART = 8         # the slopes from both sides differ if by so many of their errors
SURE = 1e-6       # an error up to this, relative, is a single slope's
SAFETY = 4        # an error estimate is held to be this much too small


class Slopes(NamedTuple):
    """What differences say about φ'(0), for each output: arrays (N,).

    `error` is NaN where nothing can be said. Where `kink` is True there is no one slope: those of
    the two sides are `low` and `high`, `error` belongs to both; elsewhere they are `value`.
    """
    value: np.ndarray
    error: np.ndarray
    kink: np.ndarray
    low: np.ndarray
    high: np.ndarray


def slopes(phi, scale, noise, input_noise=0.0, rungs=RUNGS):
    """The slopes of `phi` at 0.

    Args:
        phi: t → (N,); NaN and infinite values are steps that do not count.
        scale: the size of t over which phi changes; steps go down from an eighth of it.
        noise: (N,) the rounding of one value.
        input_noise: the rounding of t, as where it is added to a large number.
        rungs: how many steps, each a quarter of the one before.

    Returns:
        `Slopes`.
    """
    steps = scale / 8 * float(RATIO) ** -np.arange(rungs)
    here = np.asarray(phi(0.0), float)
    with np.errstate(all="ignore"):
        ahead = np.array([(phi(t) - here) / t for t in steps])
        behind = np.array([(phi(-t) - here) / -t for t in steps])
        steepest = np.nanmax(np.abs([ahead[:4], behind[:4]]), axis=(0, 1), initial=0,
                             where=np.isfinite([ahead[:4], behind[:4]]))
        doubt = (noise + input_noise * steepest) / steps[:, None]
        right, right_error = _extrapolated(ahead, doubt, 1)
        left, left_error = _extrapolated(behind, doubt, 1)
        middle, error = _extrapolated((ahead + behind) / 2, doubt, 2)
        one_sided = right_error + left_error
        size = np.maximum(np.abs(right), np.abs(left))
        kink = np.abs(right - left) > APART * one_sided + 1e-6 * size
        # a hidden kink moves the middle away from both sides
        astray = np.abs(middle - (right + left) / 2)
        error = np.where(astray > APART * (one_sided + error) + 1e-6 * size, np.nan, error)
        gap = np.abs(right - left)  # between one error and eight: maybe a kink
        error = np.where(gap > one_sided + 1e-9 * size, np.fmax(error, gap), error)
    return Slopes(np.where(kink, np.nan, middle), np.where(kink, one_sided, error), kink,
                  np.where(kink, np.fmin(left, right), middle),
                  np.where(kink, np.fmax(left, right), middle))


def surest(several):
    """Of several `Slopes` of one function, for each output the one with the smallest error. One
    that is sure of a single slope comes before one that sees a kink: its steps are smaller. Where
    two contradict each other the error is what they differ by."""
    errors = np.array([np.where(np.isnan(each.error), np.inf, each.error) for each in several])
    sure = np.array([~each.kink & (each.error <= SURE * np.abs(each.value)) for each in several])
    best = np.where(sure, errors, np.where(sure.any(axis=0), np.inf, errors)).argmin(axis=0)
    chosen = Slopes(*(np.choose(best, columns) for columns in zip(*several)))
    error = chosen.error
    for other in several:
        with np.errstate(invalid="ignore"):
            apart = np.abs(other.value - chosen.value)
            error = np.where(apart > other.error + chosen.error, np.fmax(error, apart), error)
    return chosen._replace(error=error)


def _extrapolated(rungs, doubt, order):
    """The limit of `rungs` (K, N) for step sizes → 0, and its error (N,).

    Errors fall with t^order, t^2order, …; a step of the extrapolation removes one such power. A
    candidate's error is how far it is from its neighbours, at least two of them, and the rounding.
    """
    values, errors = [], []
    table = rungs
    for power in range(1, ORDERS + 1):
        factor = float(RATIO) ** (order * power)
        higher = (factor * table[1:] - table[:-1]) / (factor - 1)
        if len(higher) < 2:
            break
        off = np.max([np.abs(higher - table[1:])[:-1], np.abs(np.diff(higher, axis=0)),
                      np.abs(higher - table[:-1])[:-1] / factor], axis=0)
        rounding = 2 * doubt[power + 1:][:len(off)]
        values.append(higher[:-1])
        errors.append(SAFETY * off + rounding)
        table = higher
    values, errors = np.concatenate(values), np.concatenate(errors)
    usable = np.isfinite(values) & np.isfinite(errors)
    errors = np.where(usable, errors, np.inf)
    best = errors.argmin(axis=0)
    pick = np.arange(values.shape[1])
    error = errors[best, pick]
    return (np.where(np.isfinite(error), values[best, pick], np.nan),
            np.where(np.isfinite(error), error, np.nan))
