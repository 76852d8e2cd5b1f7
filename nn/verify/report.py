"""What a check says: a verdict in one line, a row a layer, the first mistake with its worst entry
and likely cause.

In: what `network` and `function` measured. Out: a `Report`, as text for a student and as plain
dicts for a machine. Read on in `verify.diagnosis`.
"""
from dataclasses import asdict, dataclass, field

from nn.verify.answer import NOT_JUDGED, RIGHT, WRONG, CheckReport

ACROSS = 4  # referees side by side in a table


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


@dataclass(repr=False)
class Report(CheckReport):
    """`verdict` is one of `answer.VERDICTS`, and the report true only if it is "right"; `layer` and
    `part` name the first mistake, or are None."""
    rows: list
    finding: Finding | None
    missing: dict    # {referee: why it could not be asked}
    notes: list
    checked: bool = True

    @property
    def verdict(self):
        return NOT_JUDGED if not self.checked else RIGHT if self.finding is None else WRONG

    @property
    def layer(self):
        return self.finding.layer if self.finding else None

    @property
    def part(self):
        return self.finding.part if self.finding else None

    def to_dict(self):
        """All of it as plain dicts and lists, for JSON."""
        return {"verdict": self.verdict, **asdict(self)}

    def __str__(self):
        referees = list(dict.fromkeys(name for row in self.rows for name in row.errors))
        missing = [f"missing: {name}: {why}" for name, why in self.missing.items()]
        return "\n".join([*_verdict(self, referees), *_table(self.rows, referees),
                          *_ties(self.rows), *missing, *self.notes])


def _verdict(report, referees):
    finding = report.finding
    if not report.checked and finding is None:
        yield "not judged: no referee could be asked"
    elif finding is None:
        yield f"right: {_agreement(report.rows, referees)}"
    else:
        cause = f": {finding.cause}" if finding.cause else ""
        yield f"wrong: the {finding.part} of layer {finding.layer!r}{cause}"
        yield (f"  worst entry: {finding.entry}: {finding.claimed:.10g} instead of "
               f"{finding.expected:.10g} ({finding.referee})")


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
    for row in rows:
        for name, error in row.errors.items():
            if error.not_judged:
                yield (f"set aside: {error.not_judged:,} of these in {row.layer}, which {name} may "
                       "take by another rule")
