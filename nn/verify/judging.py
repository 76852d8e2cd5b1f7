"""Entry by entry: which referee agrees with ∂H_k/∂x as a layer claims it, which does not, and about
which entries a referee says nothing.

In: a layer's table, what the referees say of it, what rounding can do. Out: a `Judged` table: where
it is wrong, where referees differ from each other, what nobody judged. A referee judges an entry
only if it gave a finite number there, if it breaks ties by our rule or none is near, and if
rounding leaves something to be judged. Read on in `verify.answer`.
"""
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

BLOCK = 2 ** 15     # entries of a table that are compared at a time: they stay in the cache
DIFFERENCES = 1e-5  # of the largest entry: how far differences are off where f is smooth
CLEAR = 0.01        # of the largest entry: where rounding does more, nothing can be judged
CLOSE = 2 ** 19     # entries of a table of which rounding is asked everywhere, for a drawing
FIRST = 64          # columns that are looked at first: most often the mistake shows there


class Standard(NamedTuple):
    """How near is near enough: an entry may be off by `relative` of itself, by what rounding can
    do, and by `largest` of the table's largest entry."""
    relative: float
    largest: float
    tiny: float     # what is smaller counts as 0


class Statement(NamedTuple):
    """What a referee says of one layer."""
    referee: str
    right: np.ndarray   # (units, M)
    excused: Any        # (units, M), True where it may follow another rule; None where nowhere
    doubt: Any          # (units, M), how far it can be off itself; 0
    errors: Any         # a function: columns (P,) → what rounding can do there, (units, P)


@dataclass
class Judged:
    """One layer's table: (units, M) masks, None where they are False everywhere."""
    wrong: Any = None
    contested: Any = None   # some referees agree, some do not
    unjudged: Any = None
    differs: Any = None     # {referee: mask}, for those who disagree somewhere
    silent: Any = None      # {referee: mask}, for those who said nothing somewhere


def looked_over(claimed, right, relative):
    """(the largest error, the columns in which some entry is off by more than `relative` of
    itself), block by block."""
    rows = max(1, BLOCK // max(1, claimed.shape[1]))
    suspicious, worst = np.zeros(claimed.shape[1], bool), 0.0
    with np.errstate(all="ignore"):
        for start in range(0, len(claimed), rows):
            part = right[start:start + rows]
            errors = np.abs(claimed[start:start + rows] - part)
            largest = errors.max(initial=0)
            if largest == 0:
                continue
            close = errors <= relative * np.abs(part)
            if not np.isfinite(largest):
                close &= np.isfinite(errors)
                largest = np.where(np.isfinite(part), errors, 0).max(initial=0)
            if not close.all():
                suspicious |= ~close.all(axis=0)
            worst = np.maximum(worst, largest)
    return float(worst), suspicious


def judged(claimed, statements, standard, suspicious):
    """Who agrees where.

    Args:
        claimed: (units, M), the layer's ∂H_k/∂x.
        statements: a list of `Statement`.
        standard: a `Standard`.
        suspicious: (M,), True for the columns that are not near enough to all referees at a glance.

    Returns:
        A `Judged`. Where a mistake shows in a few columns the others are not looked at.
    """
    columns = np.flatnonzero(suspicious)
    if len(columns) > FIRST:
        errors = np.max([_sizes(claimed[:, columns] - one.right[:, columns]).max(axis=0)
                         for one in statements], axis=0)
        first = np.sort(columns[np.argsort(-errors)[:FIRST]])
        result = _in_columns(claimed, statements, standard, first)
        if result.wrong is not None:
            return result
    return _in_columns(claimed, statements, standard, columns)


def _sizes(errors):
    """Without a sign; what is not a number is the largest of all."""
    return np.nan_to_num(np.abs(errors), nan=np.inf)


def _in_columns(claimed, statements, standard, columns):
    shape = claimed.shape
    agrees, differs = np.zeros(shape, bool), np.zeros(shape, bool)
    result = Judged(differs={}, silent={})
    for one in statements:
        yes, no = _heard(claimed, one, standard, columns)
        agrees |= yes
        differs |= no
        if no.any():
            result.differs[one.referee] = no
        if not (yes | no).all():
            result.silent[one.referee] = ~(yes | no)
    for name, mask in (("wrong", differs & ~agrees), ("contested", differs & agrees),
                       ("unjudged", ~agrees & ~differs)):
        setattr(result, name, mask if mask.any() else None)
    return result


def _heard(claimed, statement, standard, columns):
    """(where the referee agrees, where it does not)."""
    right = statement.right[:, columns]
    with np.errstate(all="ignore"):
        errors = np.abs(claimed[:, columns] - right)
        allowed, clear = _allowed(statement, standard, columns, right)
        near = (errors <= standard.relative * np.abs(right)) & np.isfinite(errors)
        yes = near | clear & (errors <= allowed)
        bad = broken(claimed[:, columns], right)
        no = (clear | bad) & ~yes
    agrees = np.ones(claimed.shape, bool)
    differs = np.zeros(claimed.shape, bool)
    agrees[:, columns], differs[:, columns] = yes, no
    if statement.excused is not None and (differs & statement.excused).any():
        excused = statement.excused.copy()  # another rule: it is asked about none of these
        excused[:, columns] &= ~bad  # no rule gives that
        agrees &= ~excused
        differs &= ~excused
    return agrees, differs


def broken(claimed, right):
    """Where what is claimed is not finite, and should be: that is wrong, whatever rounding does."""
    return ~np.isfinite(claimed) & (np.abs(right) < np.finfo(claimed.dtype).max)


def _allowed(statement, standard, columns, right):
    """(errors that are none, where there is something to judge), (units, P)."""
    largest = largest_of(statement.right)
    allowed = statement.errors(columns) + standard.relative * np.abs(right)
    if statement.doubt is not None:
        allowed = allowed + statement.doubt[:, columns] + DIFFERENCES * largest
    clear = np.isfinite(right) & (allowed <= max(CLEAR * largest, standard.tiny))
    return np.maximum(allowed, standard.largest * largest), clear


def relative_errors(claimed, statement, standard, silent):
    """Errors relative to what is allowed (units, M), NaN where the referee says nothing; of a large
    table relative to what is allowed for its largest entry."""
    right = statement.right
    with np.errstate(all="ignore"):
        if right.size <= CLOSE:
            allowed, _ = _allowed(statement, standard, np.arange(right.shape[1]), right)
        else:
            allowed = max(standard.relative, standard.largest) * largest_of(right)
        errors = np.abs(claimed - right) / np.maximum(allowed, standard.tiny)
    return np.where(np.isfinite(right) & (True if silent is None else ~silent), errors, np.nan)


def largest_of(table):
    """The largest finite entry without its sign, 0 if there is none."""
    largest = max(table.max(initial=0), -table.min(initial=0))
    if not np.isfinite(largest):
        largest = np.abs(table[np.isfinite(table)]).max(initial=0)
    return float(largest)
