"""Which entries of a claimed derivative are wrong? Entry by entry where they are few; along random
directions where they are many, halving what is wrong down to the entry.

In: a `Point`, the claimed slopes of one of its arrays. Out: `JudgedArray`: marks of the entries
that were looked at, the worst one, the directions that were measured. A large array that is right
along a few random directions is right in every entry, but for a chance of nothing: a single entry
that is off shows in the sum. Read on in `verify.functions.causes`.
"""
from dataclasses import dataclass, field

import numpy as np

from nn.verify.functions.judge import AT_KINK, NOT_JUDGED, OK, SMALL, WRONG, Tolerance
from nn.verify.functions.patterns import line_in_words
from nn.verify.functions.referee import COMPLEX, DIFFERENCES

FEW = 40            # entries that are always measured one by one
EXACTLY = 400       # … where the complex step alone can do it
DIRECTIONS = 3
SAMPLED = 24        # entries of a large array that are measured one by one
AGAIN = (1.0, 0.3, 2 ** -13, 2 ** -26)  # ladders of steps for what is in doubt
CONFIRMED = 8       # wrong entries in a row, after which the complex step alone is believed
UNLIKE = 200        # entries that differ from a program's own derivative, measured at most
ALLOWED = 1000      # along a direction: what the tolerances of entries may add up to
DOUBTFUL = 60       # entries that are measured again at most
OF_TERMS = (1e-11, 1e-4)  # along a direction: of the sum of sizes, in float64 and in float32


@dataclass
class JudgedArray:
    """What was said of one array's entries; `entries` are flat, numbers of columns (N each).

    `along` are the random directions that were measured: (direction, slopes, errors).
    """
    name: str
    shape: tuple
    claimed: np.ndarray                       # (N, size)
    marks: np.ndarray = field(init=False)     # (N, size), -1 where nobody looked
    excess: np.ndarray = field(init=False)    # (N, size), NaN where nobody looked
    expected: np.ndarray = field(init=False)  # (N, size), NaN where nobody looked
    along: list = field(default_factory=list)
    exact: np.ndarray = field(init=False)     # (N, size), True by `exact_one`
    where: str = ""                           # where the wrong entries of a large array lie
    whole: int = -1                           # the mark of all that nobody looked at
    exact_one: str = COMPLEX                  # the referee beside differences

    def __post_init__(self):
        self.marks = np.full(self.claimed.shape, -1)
        self.excess = np.full(self.claimed.shape, np.nan)
        self.expected = np.full(self.claimed.shape, np.nan)
        self.exact = np.zeros(self.claimed.shape, bool)

    def count(self, mark):
        """How many entries have `mark`."""
        return int((self.marks == mark).sum())

    @property
    def worst(self):
        """(output, column) of the wrong entry with the largest error; None if none is wrong."""
        wrong = self.marks == WRONG
        if not wrong.any():
            return None
        errors = np.where(wrong, np.abs(self.claimed - self.expected), -1)
        errors = np.where(wrong & ~np.isfinite(errors), np.inf, errors)
        return tuple(int(k) for k in np.unravel_index(errors.argmax(), errors.shape))


    @property
    def referee_of_worst(self):
        """Who says that the worst entry is wrong."""
        return self.exact_one if self.exact[self.worst] else DIFFERENCES


class Search:
    """Judges the arrays of one point, one after the other."""

    def __init__(self, point, referee, tolerance=None, seed=0, few=FEW):
        self.point, self.referee = point, referee
        self.limit, self.few = tolerance, few
        self.rng = np.random.default_rng((seed, 2))

    def judge(self, name, claimed):
        """`JudgedArray` of the array `name`, whose claimed slopes are (N, size)."""
        judged = JudgedArray(name, self.point.arrays[name].shape, claimed,
                             exact_one=self.referee.exact_one)
        size = claimed.shape[1]
        if not size:
            return judged
        self._look_along(judged)
        if size <= max(self.few, EXACTLY if self.referee.is_trusted else 0):
            self._look_at(judged, range(size))
        else:
            self._look_at(judged, self.rng.permutation(size)[:SAMPLED])
            others = self._unlike_own(judged)
            self._look_at(judged, others[:UNLIKE])
            self._halve(judged)
            if judged.worst is None and len(others) > UNLIKE and self.referee.is_trusted:
                judged.whole = NOT_JUDGED
        self._look_again(judged)
        return judged

    def _unlike_own(self, judged):
        """Columns in which the claim is not the program's own derivative, the worst first: wrong,
        or at a kink, where there are several right ones."""
        table = self.referee.table(judged.name)
        if table is None:
            return []
        said = self.tolerance(judged).judge(judged.claimed[0], table)
        columns = np.flatnonzero(~np.isin(said.marks, (OK, SMALL)))
        return columns[np.argsort(-np.nan_to_num(said.excess[columns], nan=np.inf))]

    def look_at_all(self, judged):
        """Measures every entry that nobody looked at."""
        self._look_at(judged, np.flatnonzero((judged.marks < 0).any(axis=0)))

    def tolerance(self, judged):
        """The `Tolerance` of its entries, by what is known of their size."""
        known = [np.abs(part[np.isfinite(part)]).max(initial=0)
                 for part in (judged.claimed, judged.expected)]
        return Tolerance(self.point.epsilon, self.point.value, max(known), self.limit)

    def _along(self, judged, weights, scales=(1.0,), quick=False):
        """`Measured` along `weights` (size,); `quick`: by the exact referee alone, if it is
        trusted."""
        direction = {judged.name: weights.reshape(judged.shape)}
        if quick and self.referee.is_trusted:
            return self.referee.exactly(direction)
        return self.referee.measure(direction, scales)

    def _look_along(self, judged):
        for _ in range(DIRECTIONS):
            size = judged.claimed.shape[1]
            weights = self.rng.uniform(0.5, 1, size) * self.rng.choice([-1, 1], size)
            judged.along.append((weights, self._along(judged, weights)))

    def _look_at(self, judged, columns, scales=(1.0,)):
        """Measures single columns and marks their entries."""
        quick = scales == (1.0,) and self.referee.is_trusted
        measured = {}
        for column in columns:
            measured[column] = self._at(judged, column, scales, quick)
            judged.expected[:, column] = measured[column].value
        tolerance = self.tolerance(judged)
        seen = 0  # wrong ones that are wrong by differences too
        for column, slopes in measured.items():
            said = tolerance.judge(judged.claimed[:, column], slopes)
            if quick and seen < CONFIRMED and not np.isin(said.marks, (OK, SMALL)).all():
                slopes = self._at(judged, column, scales)
                said = tolerance.judge(judged.claimed[:, column], slopes)
                seen = seen + 1 if (said.marks == WRONG).any() else 0
            judged.marks[:, column] = self._excused(judged, column, said.marks, slopes.kink)
            judged.excess[:, column] = said.excess
            judged.expected[:, column] = said.expected
            judged.exact[:, column] = slopes.exact

    def _excused(self, judged, column, marks, kink):
        """The marks of a column; what is a program's own slope is right at a kink, whatever rule
        leads there, and elsewhere nobody can say that it is wrong."""
        accepted = self.referee.accepts(judged.name, column, judged.claimed[:, column])
        marks = np.where(accepted & kink & (marks == NOT_JUDGED), AT_KINK, marks)
        return np.where(accepted & (marks == WRONG), NOT_JUDGED, marks)

    def _at(self, judged, column, scales, quick=False):
        """`Measured` of one entry; `quick`: by the exact referee alone."""
        weights = np.zeros(judged.claimed.shape[1])
        weights[column] = 1
        return self._along(judged, weights, scales, quick)

    def _look_again(self, judged):
        """What was wrong must be so with other steps; what was not judged gets another chance."""
        doubtful = np.flatnonzero((judged.marks == NOT_JUDGED).any(axis=0))[:DOUBTFUL]
        self._look_at(judged, doubtful, AGAIN)
        for _ in range(DOUBTFUL):
            if judged.worst is None:
                return
            before = judged.marks.copy()
            self._look_at(judged, [judged.worst[1]], AGAIN[1:])
            if (before == judged.marks).all():
                return

    def _halve(self, judged):
        """Marks all entries by the random directions; where one is wrong, looks for the entry. A
        direction that is wrong by much, and no entry of it, says nothing: its kinks may explain it,
        or hide another entry."""
        agreed = 0
        for weights, slopes in judged.along:
            off = self._off(judged, weights, slopes)
            if off is None:
                continue
            if off <= 1:
                agreed += 1
                continue
            columns = self._worst_half(judged, weights)
            self._look_at(judged, columns)
            if judged.worst is None and off <= ALLOWED:
                agreed += 1  # nothing that an entry's tolerance does not allow
        if judged.worst is None and not agreed and judged.claimed.shape[1] <= EXACTLY:
            self.look_at_all(judged)
        if judged.worst is not None:
            judged.where = self._where(judged)
        else:
            is_own = self.referee.is_trusted and self.referee.table(judged.name) is not None
            judged.whole = OK if agreed or is_own else NOT_JUDGED

    def _where(self, judged):
        """Where the wrong entries of a large array lie, if all that are not there agree along a
        random direction: in one entry, one row, one column, in words; else ""."""
        weights, _ = judged.along[0]
        place = np.unravel_index(judged.worst[1], judged.shape)
        parts = {"one entry alone": np.s_[place]}
        for axis in range(len(judged.shape) if len(judged.shape) > 1 else 0):
            line = line_in_words(axis, len(judged.shape))
            parts[f"only {line} {place[axis]}"] = (slice(None),) * axis + (place[axis],)
        for words, part in parts.items():
            rest = weights.reshape(judged.shape).copy()
            rest[part] = 0
            off = self._off(judged, rest.reshape(-1), self._along(judged, rest, quick=True))
            if off is not None and off <= 1:
                return f"{words} is wrong"
        return ""

    def _worst_half(self, judged, weights):
        """The last two columns left after taking the worse half again and again."""
        columns = np.arange(len(weights))
        while len(columns) > 2:
            halves = np.array_split(columns, 2)
            errors = []
            for half in halves:
                part = np.zeros_like(weights)
                part[half] = weights[half]
                errors.append(self._off(judged, part, self._along(judged, part, quick=True)) or 0)
            columns = halves[int(np.argmax(errors))]
        return columns

    def _off(self, judged, weights, slopes):
        """How far the claim is from the slopes along `weights`, relative to what is allowed; None
        where nobody could tell."""
        with np.errstate(invalid="ignore", over="ignore"):
            moved = weights != 0
            claimed = judged.claimed[:, moved] @ weights[moved]
            terms = np.abs(judged.claimed[:, moved]) @ np.abs(weights[moved])
            terms = np.maximum(terms, np.abs(slopes.value))
            of_terms = OF_TERMS[int(self.point.is_single)] if self.limit is None else self.limit
            allowed = of_terms * terms
            allowed = allowed + slopes.error + 64 * self.point.epsilon * np.abs(self.point.value)
            off = np.abs(claimed - slopes.value) / np.where(allowed == 0, 1e-300, allowed)
        off = np.where(np.isfinite(claimed), off, np.inf)
        told = ~np.isnan(slopes.value) & (slopes.error <= 1e-3 * terms + 1e-300)
        return float(off[told].max()) if told.any() else None
