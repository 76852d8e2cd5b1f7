"""Each layer's ∂H_k/∂x (Eq. 5) against every referee: a row a layer, and the first mistake.

In: a `Checked` network, what the referees say. Out: `LayerRow`s with the largest errors, the first
`Finding`, the first `Dispute` among referees. Read on in `verify.backward_part`.
"""
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nn.layers.activation import Softmax
from nn.verify.catalogue import FORWARD, step_of
from nn.verify.diagnosis import likely_cause
from nn.verify.frameworks import FOREIGN
from nn.verify.judging import Statement, judged, largest_of, looked_over, relative_errors
from nn.verify.parts import as_table, at_sample, entry_in_words
from nn.verify.report import Comparison, Dispute, Finding, LayerRow
from nn.verify.rounding import EntryErrors, roundings
from nn.verify.ties import straying, undecided_entries
from nn.verify.unitwise import slope_at


class Answered(NamedTuple):
    """What a referee says: {layer: ∂H_k/∂x (units, M)}, and {layer: how far that can be off}, where
    it knows."""
    tables: dict
    doubts: dict


class Checked:
    """A network at one sample: its layers, their ties, and what rounding can do.

    Args:
        network: a `Network`.
        value: (1, y, x, c), the sample as the layers take it.
        answers: {referee: an `Answered`}.
        standard: a `judging.Standard`.
    """

    def __init__(self, network, value, answers, standard):
        self.network = network
        self.answers = answers
        self.standard = standard
        self.sample = np.moveaxis(value, -1, 1).reshape(-1)
        self.strays = None
        self.layers = list(at_sample(network, value))
        self.rounded = {one.name: one for one in roundings(network, self.layers)}
        self.undecided = self._undecided()

    def _undecided(self, strays=None):
        return dict(zip(self.network.layers, undecided_entries(
            self.network, self.layers, self.rounded.values(), strays)))

    def look_where_the_complex_step_strays(self):
        """False if that is known already."""
        if self.strays is None:
            self.strays = straying(self.network, self.sample)
            self.undecided = self._undecided(self.strays)
            return any(mask.any() for mask in self.strays.values())
        return False

    @cached_property
    def errors(self):
        """What rounding can do where f' is computed to all digits."""
        return EntryErrors(self.network, self.layers, self.rounded)

    @cached_property
    def rounded_elsewhere(self):
        """What it can do in a program that may compute f' as a difference, {layer: `Rounded`}."""
        return {one.name: one for one in roundings(self.network, self.layers, exact_slopes=False)}

    @cached_property
    def errors_elsewhere(self):
        """The same for the entries."""
        return EntryErrors(self.network, self.layers, self.rounded_elsewhere)

    def statements(self, name):
        """What each referee says of a layer, a list of `Statement`."""
        undecided = self.undecided[name]
        result = []
        for referee, answer in self.answers.items():
            if name in answer.tables:
                excused = undecided.strayed if referee == "complex step" else undecided.table
                result.append(Statement(referee, answer.tables[name], excused,
                                        answer.doubts.get(name), self._columns(referee, name)))
        return result

    def _columns(self, referee, name):
        def columns(pixels):
            """The errors of these columns, (units, P)."""
            errors = self.errors_elsewhere if referee in FOREIGN else self.errors
            return errors.columns(name, pixels)

        return columns


class Forward(NamedTuple):
    """The result: `judged` is {layer: `Judged`}, for the layers that were looked at closely."""
    rows: list
    finding: Finding | None
    dispute: Dispute | None
    judged: dict
    errors: dict   # {the wrong layer: (units, M) errors relative to what is allowed}


def check_forward(checked):
    """Each layer's ∂H_k/∂x against every referee: a `Forward`."""
    network = checked.network
    results = network.in_threads(lambda at: _row(checked, at), checked.layers)
    rows, finding, dispute, close, errors = [row for row, _ in results], None, None, {}, {}
    for at, (row, suspicious) in zip(checked.layers, results):
        if finding is not None or not suspicious.any():
            continue
        statements = checked.statements(at.name)
        result = judged(at.claimed, statements, checked.standard, suspicious)
        against = result.differs.get("complex step")
        if (against is not None and (against & checked.undecided[at.name].table).any()
                and checked.look_where_the_complex_step_strays()):
            statements = checked.statements(at.name)
            result = judged(at.claimed, statements, checked.standard, suspicious)
        close[at.name] = result
        for one in statements:
            _set_aside(row, at, one, result.silent.get(one.referee))
        row.unjudged = 0 if result.unjudged is None else int(result.unjudged.sum())
        if result.wrong is not None:
            finding = _finding(checked, at, statements, result)
            one = next(one for one in statements if one.referee == finding.referee)
            errors = {f"layer {at.name!r}, {FORWARD}": relative_errors(
                at.claimed, one, checked.standard, result.silent.get(one.referee))}
        elif result.contested is not None:
            dispute = dispute or _dispute(checked, at, statements, result)
    return Forward(rows, finding, dispute, close, errors)


def _row(checked, at):
    """A `LayerRow`, and the columns that are to be looked at closely, (M,)."""
    undecided = checked.undecided[at.name]
    row = LayerRow(at.name, checked.network.shapes[at.name],
                   nonzero=100 * np.count_nonzero(at.claimed) / at.claimed.size,
                   largest=_largest(at.claimed), ties=undecided.ties,
                   undecided=int(undecided.table.sum()), because=undecided.because)
    suspicious = np.zeros(at.claimed.shape[1], bool)
    for referee, answer in checked.answers.items():
        if at.name in answer.tables:
            right = answer.tables[at.name]
            worst, columns = looked_over(at.claimed, right, checked.standard.relative)
            row.errors[referee] = Comparison(worst, worst / (_size(at, right) or 1), 0)
            suspicious |= columns
    return row, suspicious


def _size(at, right):
    """What errors are shown relative to: the largest entry; of a softmax also that of ∂z, for it
    cannot be righter than z is."""
    before = largest_of(at.before) if isinstance(at.layer, Softmax) else 0
    return max(largest_of(right), before)


def _largest(table):
    """The largest entry without its sign; NaN if there is one."""
    return float(np.maximum(table.max(initial=0), -table.min(initial=0)))


def _set_aside(row, at, statement, silent):
    """The largest error of the entries that are judged, and how many are not."""
    if silent is not None:
        with np.errstate(all="ignore"):
            worst = float(np.where(silent, 0, np.abs(at.claimed - statement.right)).max(initial=0))
        relative = worst / (_size(at, statement.right) or 1)
        row.errors[statement.referee] = Comparison(worst, relative, int(silent.sum()))


def _worst(at, statements, result, mask):
    """(the referee who is further off than others where `mask` is True, what he says, the unit and
    the pixel)."""
    one = next(one for one in statements
               if (result.differs.get(one.referee, False) & mask).any())
    with np.errstate(all="ignore"):
        errors = np.nan_to_num(np.abs(at.claimed - one.right), nan=np.inf)
    errors = np.where(result.differs[one.referee] & mask, errors, -1)
    return one, np.unravel_index(errors.argmax(), errors.shape)


def _dispute(checked, at, statements, result):
    _, (unit, pixel) = _worst(at, statements, result, result.contested)
    says = {one.referee: float(one.right[unit, pixel]) for one in statements}
    return Dispute(at.name, entry_in_words(checked.network, at.name, unit, pixel),
                   float(at.claimed[unit, pixel]), says)


def _finding(checked, at, statements, result):
    one, (unit, pixel) = _worst(at, statements, result, result.wrong)
    network, right = checked.network, one.right
    first = at.jacobian[0] if isinstance(at.jacobian, tuple) else at.jacobian
    image = network.image if len(network.input_shape) > 1 else None
    step = step_of(at.layer, FORWARD, at.jacobian, at.x)
    # what is not judged says nothing about the cause
    known = np.isfinite(right) & ~result.silent.get(one.referee, np.zeros(right.shape, bool))
    expected = np.where(known, right, at.claimed)
    local = slope_at(at, FORWARD, unit, at.claimed, at.before)
    cause = (likely_cause(step, as_table, at.claimed, expected, image,
                          {1, *first.stride} - {0})
             or (local.known if local else ""))
    return Finding(at.name, FORWARD, one.referee,
                   entry_in_words(network, at.name, unit, pixel), float(at.claimed[unit, pixel]),
                   float(right[unit, pixel]), cause, local)
