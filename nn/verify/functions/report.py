"""What a check of a function says: a verdict, the worst entry and the likely cause of each wrong
array, a row an array.

In: what `search` judged. Out: a `FunctionReport`, at most 20 lines of text. Read on in
`verify.programs.own`.
"""
from dataclasses import asdict, dataclass, field

import numpy as np

from nn.verify.answer import DISAGREE, NOT_JUDGED, RIGHT, WRONG, CheckReport
from nn.verify.functions import judge

ROWS, FINDINGS = 6, 4   # so many are printed at most


@dataclass
class WrongArray:
    """An array whose claimed derivative is wrong: its worst entry, and the likely cause."""
    name: str
    entry: str
    claimed: float
    expected: float
    referee: str
    cause: str       # "" where no pattern shows


@dataclass
class ArrayRow:
    """One array and how its entries were judged. `entries` in all, `looked_at` one by one; the rest
    along random directions (`whole`: their mark)."""
    name: str
    shape: tuple
    entries: int
    looked_at: int
    wrong: int
    at_kinks: int    # between the slopes of the two sides, where there is no derivative
    small: int       # equal to rounding, which is more than half a percent of them
    not_judged: int
    largest: float   # error, relative to the largest entry


@dataclass(repr=False)
class FunctionReport(CheckReport):
    """`verdict` is one of `answer.VERDICTS`, and the report true only if it is "right".

    `finding` is the first wrong array's `WrongArray` or None, `findings` all of them; `missing`
    says why a referee was not asked.
    """
    rows: list
    findings: list
    missing: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    unjudged: str = ""         # why nothing could be judged
    disagreement: str = ""     # two referees that are sure of themselves, and differ
    drawings: dict = field(default_factory=dict, repr=False)

    @property
    def verdict(self):
        """One of `answer.VERDICTS`."""
        if self.findings:
            return WRONG
        if self.disagreement:
            return DISAGREE
        judged = self.rows and not any(row.not_judged for row in self.rows)
        return RIGHT if judged and not self.unjudged else NOT_JUDGED

    @property
    def finding(self):
        """The first wrong array's `WrongArray`, or None."""
        return self.findings[0] if self.findings else None

    @property
    def cause(self):
        """Of the first wrong array, in words; "" where no pattern shows or nothing is wrong."""
        return self.finding.cause if self.finding else ""

    def to_dict(self):
        """All of it as plain dicts and lists, for JSON."""
        plain = asdict(self)
        del plain["drawings"]
        return {"verdict": self.verdict, **plain}

    def errors_by_entry(self):
        """{array: (rows, columns) errors relative to what is allowed, NaN where not judged}."""
        return self.drawings

    def __str__(self):
        missing = [f"{name}: not asked: {why}" for name, why in self.missing.items()]
        return "\n".join([*self._verdict(), *_table(self.rows), *missing[:3], *self.notes[:3]])

    def _verdict(self):
        if not self.findings:
            yield f"{self.verdict}: {self._why()}"
        for number, wrong in enumerate(self.findings[:FINDINGS]):
            cause = f": {wrong.cause}" if wrong.cause else ""
            yield f"{'wrong' if not number else '  and'}: {wrong.name}{cause}"
            yield (f"  worst entry: {wrong.entry}: {wrong.claimed:.10g} instead of "
                   f"{wrong.expected:.10g} ({wrong.referee})")
        if len(self.findings) > FINDINGS:
            yield f"  and {len(self.findings) - FINDINGS} more"

    def _why(self):
        entries = sum(row.entries for row in self.rows)
        if self.unjudged or self.disagreement:
            return self.unjudged or self.disagreement
        if self.verdict == NOT_JUDGED:
            count = sum(row.not_judged for row in self.rows)
            return f"{count:,} of {entries:,} entries; the others agree"
        words = [f"{entries:,} entries agree" if entries != 1 else "the entry agrees"]
        for count, what in ((sum(row.at_kinks for row in self.rows), "at kinks, between the slopes "
                             "of both sides"),
                            (sum(row.small for row in self.rows), "too small to tell from "
                             "rounding")):
            if count:
                words.append(f"{count:,} of them {what}")
        return ", ".join(words)


def row_of(judged):
    """The `ArrayRow` of a `JudgedArray`."""
    looked_at = int((judged.marks >= 0).sum())
    unjudged = judged.count(judge.NOT_JUDGED)
    if judged.whole == judge.NOT_JUDGED:
        unjudged += judged.marks.size - looked_at
    errors = np.abs(judged.claimed - judged.expected)
    errors = errors[np.isfinite(errors)]
    size = np.abs(judged.expected[np.isfinite(judged.expected)]).max(initial=0)
    return ArrayRow(judged.name, judged.shape, judged.marks.size, looked_at,
                    judged.count(judge.WRONG), judged.count(judge.AT_KINK),
                    judged.count(judge.SMALL), unjudged,
                    float(errors.max(initial=0) / (size or 1)))


def _table(rows):
    """A line an array."""
    width = max([5, *(len(row.name) for row in rows)])
    yield (f"{'array':<{width}} {'shape':>14} {'entries':>9} {'looked at':>9} {'wrong':>7} "
           f"{'at kinks':>8} {'not judged':>10} {'error':>8}")
    shown = sorted(rows, key=lambda row: not row.wrong)[:ROWS]
    for row in shown:
        shape = "×".join(map(str, row.shape)) or "1"
        yield (f"{row.name:<{width}} {shape:>14} {row.entries:9,} {row.looked_at:9,} "
               f"{row.wrong:7,} {row.at_kinks:8,} {row.not_judged:10,} {row.largest:8.1e}")
    if len(rows) > len(shown):
        yield f"… and {len(rows) - len(shown)} more"
