"""From wrong numbers to the likely mistake, in words: what would have to be done to the claimed
derivative of one array to make it right?

In: `Evidence`, the claimed numbers and what is known of the right ones: all entries, or the slopes
along random directions. Out: a cause, or "" where none explains the numbers to rounding. Each
mistake is one small function in `MISTAKES`; the first that explains them is named. Read on in
`verify.functions.evidence`.
"""
from itertools import permutations

import numpy as np

from nn.verify.diagnosis import moved
from nn.verify.functions.evidence import TO_ROUNDING
from nn.verify.functions.patterns import confined
from nn.verify.tape.explain import in_some_rows, in_the_function, upstream_ignored


def likely_cause(evidence):
    """The first mistake that explains the claimed numbers, in words, or ""."""
    if evidence.expected is None and not evidence.along:
        return ""
    with np.errstate(all="ignore"):
        for mistake in MISTAKES:
            cause = mistake(evidence)
            if cause:
                return cause
    return ""


def not_finite(evidence):
    """NaN or infinite claims."""
    bad = int((~np.isfinite(evidence.claimed)).sum())
    return f"{bad} claimed entries are NaN or infinite" if bad else ""


def scaled(evidence):
    """A factor; what it may come from."""
    if not evidence.claimed.any():
        return "zero everywhere"
    factors = evidence.solved([evidence.claimed])
    if factors is None or not factors[0]:
        return ""
    return factor_in_words(1 / factors[0])


def factor_in_words(factor):
    """claimed = factor · right, in words."""
    if abs(factor - 1) < 1e-6:
        return ""
    size, sign = abs(factor), "" if factor > 0 else ", and the sign is wrong"
    if abs(size - 1) < 1e-6:
        return "the sign is wrong"
    for number, times in ((size, "large"), (1 / size, "small")):
        whole = round(number)
        if abs(number - whole) > 1e-5 * number or whole < 2:
            continue
        if times == "large":
            why = ("a factor 2 too much" if whole == 2 else
                   f"not divided by {whole} (averaged over a batch of {whole}?)")
        else:
            why = ("half of it: a factor 2 is missing" if whole == 2 else
                   f"divided by {whole} once too often (averaged twice over a batch of {whole}?)")
        return f"scaled by {factor:.6g}: {why}{sign}"
    return f"scaled by {factor:.6g}"


def turned(evidence):
    """Axes in another order, or read backwards."""
    claimed = evidence.claimed
    for axes in permutations(range(claimed.ndim)):
        if axes != tuple(range(claimed.ndim)) and evidence.fits(claimed.transpose(axes)):
            if claimed.ndim == 2:
                return "transposed"
            swapped = [axis for axis, other in enumerate(axes) if axis != other]
            return f"transposed: axes {', '.join(map(str, swapped))} are in another order"
    if claimed.ndim == 4 and evidence.fits(claimed[..., ::-1, ::-1]):
        return "the kernel is flipped"
    for axis in range(claimed.ndim):
        if evidence.fits(np.flip(claimed, axis)):
            return f"the order along axis {axis} is reversed"
        for shift in (1, -1):
            if evidence.fits(np.roll(claimed, shift, axis)):
                return f"shifted by one along axis {axis}"
    return ""


def regularised(evidence):
    """A multiple of the array itself is missing or too much: a regulariser's gradient."""
    array = evidence.array
    if array.shape != evidence.claimed.shape or not array.any():
        return ""
    factors = evidence.solved([array], fixed=evidence.claimed)
    if factors is not None:
        return _regulariser_in_words(evidence.name, factors[0])
    factors = evidence.solved([np.sign(array)], fixed=evidence.claimed)
    if factors is not None:
        return (f"{factors[0]:+.6g} · sign({evidence.name}) is missing: an L1 regulariser is left "
                "out or has another factor")
    return ""


def _regulariser_in_words(name, factor):
    what = "is missing" if factor > 0 else "is too much"
    if abs(factor) < 1e-9:
        return ""
    return (f"{abs(factor):.6g} · {name} {what}: the regulariser is left out or has another "
            "factor (of λ/2·‖W‖² it is λ·W, of λ·‖W‖² it is 2λ·W)")


def scaled_beside_a_regulariser(evidence):
    """A factor, but not of the regulariser's part."""
    if evidence.array.shape != evidence.claimed.shape or not evidence.array.any():
        return ""
    factors = evidence.solved([evidence.claimed, evidence.array])
    if factors is None or not factors[0]:
        return ""
    return f"{factor_in_words(1 / factors[0])}, but for the regulariser's multiple of the array"


def of_another(evidence):
    """The claim of another array, as it is or transposed: two were exchanged."""
    for name, other in evidence.others.items():
        for candidate, word in ((other, ""), (other.T, ", transposed")):
            if evidence.fits(candidate):
                return f"exchanged with the gradient of {name}{word}: that one would be right here"
            if candidate.any() and _is(evidence.claimed, candidate):
                return f"it is the gradient of {name}{word} once more"
    return ""


def one_share_only(evidence):
    """Another derivative is missing in it: `=` where `+=` was needed."""
    around = {**{f"the gradient of {name}": other for name, other in evidence.others.items()},
              **evidence.around}
    for name, other in around.items():
        if other.shape == evidence.claimed.shape and other.any():
            factors = evidence.solved([other], fixed=evidence.claimed)
            if factors is not None:
                share = f"{name}" if abs(factors[0] - 1) < 1e-6 else f"{factors[0]:.6g} · {name}"
                return (f"{share} is missing in it: a path that was not added "
                        "(`=` where `+=` is needed)")
    return ""


def summed_wrongly(evidence):
    """A sum of the cotangent over other axes, or one sample's share of it."""
    for name, array in evidence.around.items():
        for axis in range(array.ndim):
            if _is(evidence.claimed, array.sum(axis=axis)):
                return f"it is the sum of {name} over axis {axis}: summed over the wrong axis"
            for number, which in ((0, "first"), (-1, "last")):
                if _is(evidence.claimed, np.take(array, number, axis)):
                    return (f"it is the {which} of {name} along axis {axis}: of the {which} sample "
                            "only, not summed over the batch")
    return ""


def _is(claimed, candidate):
    return claimed.shape == candidate.shape and np.allclose(claimed, candidate, rtol=1e-6)


def rows_that_repeat(evidence):
    """Right but for the rows that an index names more than once."""
    repeated, expected = evidence.repeated, evidence.expected
    if repeated is None or expected is None or len(repeated) != len(expected):
        return ""
    wrong = _wrong(evidence).reshape(len(expected), -1).any(axis=1)
    if wrong.any() and not (wrong & ~repeated).any():
        return ("only rows that the index names more than once are wrong: `=` where `+=` is needed "
                "(np.add.at)")
    return ""


def in_a_part(evidence):
    """Wrong in some rows, columns or samples only."""
    if evidence.expected is None:
        return evidence.where
    where = confined(evidence.claimed, evidence.expected, _wrong(evidence), factor_in_words)
    if where.startswith("one entry") or ":" in where and not where.endswith("?"):
        return where
    inside = in_some_rows(evidence)
    return f"{where}: {inside}" if inside and where and ":" not in where else inside or where


def moved_pixels(evidence):
    """An image's pixels are shifted, or its rows and columns transposed."""
    if evidence.image is None or evidence.expected is None:
        return ""
    return moved(evidence.claimed, evidence.expected, evidence.image)


def of_units(evidence):
    """The f' of another activation, or of another place."""
    if evidence.units is None or evidence.expected is None:
        return ""
    return evidence.units(evidence.claimed, evidence.expected)


def not_masked(evidence):
    """Numbers where there should be zeros."""
    if evidence.expected is None:
        return ""
    size = 1e-9 * np.abs(evidence.expected).max()
    if np.all(~_wrong(evidence) | (np.abs(evidence.expected) <= size)):
        return ": ".join(filter(None, (
            "wrong only where it should be 0: a mask (a ReLU's, dropout's, a maximum's) is missing",
            in_the_function(evidence))))
    return ""


def left_out(evidence):
    """Zeros where there should be none."""
    if evidence.expected is None:
        return ""
    size = 1e-9 * np.abs(evidence.expected).max()
    if np.all(~_wrong(evidence) | (np.abs(evidence.claimed) <= size)):
        return "0 where it should not be: a mask or an index leaves entries out"
    return ""


def constant(evidence):
    """Off by the same number everywhere, or along an axis."""
    if evidence.expected is None:
        return ""
    off = evidence.claimed - evidence.expected
    size = TO_ROUNDING * np.abs(off).max()
    if off.size > 1 and np.ptp(off) <= size:
        return f"off by the same number everywhere ({off.flat[0]:.6g})"
    for axis in range(off.ndim):
        if off.shape[axis] > 1 and (np.ptp(off, axis=axis) <= size).all():
            return (f"off by the same number all along axis {axis}: a term that is summed or "
                    "averaged over it is missing or too much")
    return ""


def weighted(evidence):
    """Each row or column has a factor of its own."""
    if evidence.expected is None or evidence.claimed.ndim != 2:
        return ""
    claimed, expected = evidence.claimed, evidence.expected
    for axis, lines in ((1, "row"), (0, "column")):
        size = (expected * expected).sum(axis=axis, keepdims=True)
        if claimed.shape[axis] < 2 or claimed.shape[1 - axis] < 2 or not size.all():
            continue
        factor = (claimed * expected).sum(axis=axis, keepdims=True) / size
        if np.abs(factor).min() > 1e-9 and evidence.fits(claimed / factor):
            return (f"each {lines} is scaled by a factor of its own ({factor.min():.4g} to "
                    f"{factor.max():.4g}): a factor of each {lines}, as f' or a scale, is missing "
                    "or another one's")
    return ""


def _wrong(evidence):
    """Which entries are off by more than rounding."""
    expected = evidence.expected
    off = np.abs(evidence.claimed - expected)
    size = np.abs(expected[np.isfinite(expected)]).max(initial=0)
    return off > TO_ROUNDING * np.maximum(np.abs(expected), 1e-3 * size)


MISTAKES = (not_finite, moved_pixels, upstream_ignored, scaled, turned, regularised,
            scaled_beside_a_regulariser, of_another, one_share_only, not_masked, in_the_function,
            of_units, summed_wrongly, rows_that_repeat, in_a_part, left_out, constant, weighted)
