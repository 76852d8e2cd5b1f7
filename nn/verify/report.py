"""What a check says: a verdict in one line, a row a layer, the first mistake with its worst entry
and likely cause.

In: what `network` and `function` measured. Out: a `Report`, as text for a student and as plain
dicts for a machine. Read on in `verify.diagnosis`.
"""
from dataclasses import asdict, dataclass, field

from nn.verify.answer import DISAGREE, NOT_JUDGED, RIGHT, WRONG, CheckReport

ACROSS = 4  # referees side by side in a table
LINES = 20  # of the text where something is wrong
HEAD = 6    # lines of it beside the rows and what follows them
ROWS = 12   # of a table where something is wrong


@dataclass
class UnitSlope:
    """f' of one unit, where a layer works unit by unit."""
    z: float
    claimed: float
    expected: float
    known: str       # which f' the claimed one is, in words; "" for none that is known


@dataclass
class Finding:
    """The first thing that is wrong: where, the worst entry, and what the pattern looks like."""
    layer: str
    part: str       # "forward derivative", "backward" or "gradient"
    referee: str
    entry: str      # which output and pixel, or which parameter
    claimed: float
    expected: float
    cause: str      # "" where no pattern shows
    slope: UnitSlope | None = None


@dataclass
class Dispute:
    """Where referees differ from each other, and some of them agree with what is claimed."""
    layer: str
    entry: str
    claimed: float
    says: dict       # {referee: number}


@dataclass
class Comparison:
    """One layer's ∂H_k/∂x beside a referee's: the largest errors of the entries that are judged."""
    absolute: float
    relative: float  # to the largest entry of ∂H_k/∂x
    not_judged: int  # entries at ties on which the referee follows another rule: only counted


@dataclass
class LayerRow:
    """One layer and its ∂H_k/∂x.

    `ties`: max-pooling windows with several largest units, or ReLUs at exactly 0. `undecided`: the
    entries of ∂H_k/∂x that hang on ties, this layer's or those of the layers in `because`: the
    function has no derivative there.
    """
    layer: str
    shape: tuple     # (C, Y, X) of H_k
    nonzero: float   # percent of the entries of ∂H_k/∂x
    largest: float
    ties: int
    undecided: int = 0
    because: list = field(default_factory=list)
    errors: dict = field(default_factory=dict)  # {referee: Comparison}
    unjudged: int = 0  # entries of which no referee says anything


@dataclass(repr=False)
class Report(CheckReport):
    """`verdict` is one of `answer.VERDICTS`, and the report true only if it is "right"; `layer` and
    `part` name the first mistake, or are None."""
    rows: list
    finding: Finding | None
    missing: dict    # {referee: why it could not be asked}
    notes: list
    checked: bool = True
    dispute: Dispute | None = None
    not_judged: list = field(default_factory=list)  # what was not, in words
    errors: dict = field(default_factory=dict, repr=False, compare=False)  # see `errors_by_entry`

    @property
    def verdict(self):
        """One of `answer.VERDICTS`."""
        if self.finding is not None:
            return WRONG
        if not self.checked:
            return NOT_JUDGED
        return DISAGREE if self.dispute else NOT_JUDGED if self.not_judged else RIGHT

    @property
    def layer(self):
        return self.finding.layer if self.finding else None

    @property
    def part(self):
        return self.finding.part if self.finding else None

    def to_dict(self):
        """All of it as plain dicts and lists, for JSON."""
        plain = asdict(self)
        del plain["errors"]
        return {"verdict": self.verdict, **plain}

    def errors_by_entry(self):
        """{the wrong layer: (units, M) errors relative to what is allowed, NaN where not judged};
        {} where nothing is wrong in a forward derivative."""
        return self.errors

    def __str__(self):
        referees = list(dict.fromkeys(name for row in self.rows for name in row.errors))
        missing = [f"missing: {name}: {why}" for name, why in self.missing.items()]
        tail = [*_ties(self.rows), *missing, *self.notes]
        rows, left_out = self.rows, []
        if self.finding is not None:
            rows = _around(self.rows, self.finding.layer, LINES - HEAD - len(tail))
            if len(rows) < len(self.rows):
                left_out = [f"({len(self.rows) - len(rows)} more layers: see rows)"]
        return "\n".join([*_verdict(self, referees), *_table(rows, referees), *left_out, *tail])


def _around(rows, layer, room):
    """The rows of the layer and of those beside it, as many as there is room for."""
    number = [row.layer for row in rows].index(layer) if rows else 0
    room = max(3, min(room, ROWS))
    start = max(0, min(number - room // 2, len(rows) - room))
    return rows[start:start + room]


def _verdict(report, referees):
    finding, dispute = report.finding, report.dispute
    if finding is not None:
        cause = f": {finding.cause}" if finding.cause else ""
        yield f"wrong: the {finding.part} of layer {finding.layer!r}{cause}"
        yield (f"  worst entry: {finding.entry}: {finding.claimed:.10g} instead of "
               f"{finding.expected:.10g} ({finding.referee})")
        if finding.slope is not None:
            yield (f"  there z = {finding.slope.z:.6g}: f'(z) is {finding.slope.expected:.6g}, "
                   f"claimed is {finding.slope.claimed:.6g}")
    elif not report.checked:
        yield "not judged: no referee could be asked"
    elif dispute is not None:
        says = ", ".join(f"{name} says {number:.10g}" for name, number in dispute.says.items())
        yield f"referees disagree: about layer {dispute.layer!r}"
        yield f"  {dispute.entry}: claimed is {dispute.claimed:.10g}; {says}"
    elif report.not_judged:
        yield f"not judged: {'; '.join(report.not_judged)}"
        yield f"  nothing is wrong with the rest: {_agreement(report.rows, referees)}"
    else:
        yield f"right: {_agreement(report.rows, referees)}"


def _agreement(rows, referees):
    """Who agrees on what: "every layer agrees with complex step, dense; fc2 agrees with …"."""
    referees_of = {}
    for name in referees:
        layers = [row.layer for row in rows if name in row.errors]
        words = "every layer" if len(layers) == len(rows) else ", ".join(layers)
        referees_of.setdefault(words, []).append(name)
    return "; ".join(f"{layers} agrees with {', '.join(names)}"
                     for layers, names in referees_of.items())


def _table(rows, referees):
    """A line a layer; under each referee the largest error, absolute and relative to the largest
    entry."""
    width = max(10, *(len(row.layer) for row in rows))
    about = f"{'shape':>12} {'nonzero':>8} {'largest':>9} {'ties':>6}"
    for first in range(0, max(len(referees), 1), ACROSS):
        names = referees[first:first + ACROSS]
        yield _line("layer".ljust(width), "" if first else about, names)
        if names:
            blank = "" if first else " " * len(about)
            yield _line(" " * width, blank, [f"{'abs':>7}  {'rel':>7}"] * len(names))
        for row in rows:
            cells = [_cell(row.errors.get(name)) for name in names]
            yield _line(row.layer.ljust(width), "" if first else _about(row), cells)


def _about(row):
    shape = "×".join(map(str, row.shape))
    return f"{shape:>12} {row.nonzero:6.1f} % {row.largest:9.3g} {row.ties:6}"


def _cell(error):
    return f"{error.absolute:7.1e}  {error.relative:7.1e}" if error else "–"


def _line(layer, about, cells):
    columns = [layer, about] if about else [layer]
    return " ".join([*columns, *(f"{cell:>17}" for cell in cells)]).rstrip()


def _ties(rows):
    """Where the function has no derivative, why, and which referee was not asked about how many
    entries."""
    last = next((row for row in reversed(rows) if row.undecided), None)
    if last is not None:
        because = ", ".join(last.because)
        yield (f"no derivative: {last.undecided:,} entries of {last.layer} hang on ties "
               f"({because}); the rule here: the first maximum wins, 0 at a ReLU's 0")
    for name in dict.fromkeys(name for row in rows for name in row.errors):
        silent = [row for row in rows if name in row.errors and row.errors[name].not_judged]
        if silent:
            row = silent[-1]
            count = row.errors[name].not_judged
            if count <= row.undecided:
                yield (f"set aside: {count:,} of these in {row.layer}, which {name} may take by "
                       "another rule")
            else:
                yield (f"set aside: {count:,} entries of {row.layer}, of which {name} says nothing "
                       "(ties, rounding, no finite number)")
