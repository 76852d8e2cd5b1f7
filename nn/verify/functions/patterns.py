"""Where the wrong entries of a table lie: in one entry, in one row, in all samples but the first.

In: claimed and expected numbers, a boolean table of the wrong ones. Out: words, or "" where they
lie everywhere. Read on in `verify.tape.units`.
"""
import numpy as np

LINES = ("row", "column")


def confined(claimed, expected, wrong, factor_in_words):
    """Where the wrong entries lie, if that is a part of the table.

    Args:
        claimed: the claimed numbers.
        expected: the right ones, of the same shape.
        wrong: boolean, of the same shape.
        factor_in_words: a factor → words, for lines that are right but for one.

    Returns:
        Words, or "".
    """
    count = int(wrong.sum())
    if not count or wrong.ndim == 0:
        return ""
    if count == 1 and wrong.size > 2:
        return "one entry alone is wrong"
    for axis in range(wrong.ndim):
        lines = np.flatnonzero(wrong.any(axis=tuple(set(range(wrong.ndim)) - {axis})))
        length = wrong.shape[axis]
        if length < 2:
            continue
        if axis == 0 and length > 2 and len(lines) == length - 1 and lines[0] == 1:
            return "only the first along axis 0 is right: are the others (of a batch) left out?"
        if len(lines) == 1 and (length > 2 or wrong.ndim == 1):
            chosen = np.take(claimed, lines[0], axis), np.take(expected, lines[0], axis)
            return (f"only {line_in_words(axis, wrong.ndim)} {lines[0]} is wrong"
                    f"{_how(*chosen, factor_in_words)}")
        if 1 < len(lines) <= length // 2:
            shown = ", ".join(map(str, lines[:6])) + (", …" if len(lines) > 6 else "")
            chosen = np.take(claimed, lines, axis), np.take(expected, lines, axis)
            return (f"only {_lines(axis, wrong.ndim)} {shown} are wrong"
                    f"{_how(*chosen, factor_in_words)}")
    return ""


def line_in_words(axis, dimensions):
    """A row, a column, an entry, or an index of another axis."""
    if dimensions > 2:
        return f"axis {axis}, index"
    return LINES[axis] if dimensions == 2 else "entry"


def _lines(axis, dimensions):
    line = line_in_words(axis, dimensions)
    return {"entry": "entries"}.get(line, line if dimensions > 2 else f"{line}s")


def _how(claimed, expected, factor_in_words):
    """": scaled by …", ": zero", or ""."""
    size = float((expected * expected).sum())
    if not claimed.any():
        return ": it is zero there"
    factor = float((claimed * expected).sum()) / size if size else 0.0
    if factor and np.abs(claimed - factor * expected).max() <= 1e-5 * np.abs(claimed).max():
        return f": {factor_in_words(factor)}"
    return ""
