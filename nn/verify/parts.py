"""The three parts of a layer, each held against what a referee says: its forward derivative
(Eq. 5), its backward step, the gradients of its parameters.

In: a network at a sample, layer by layer, and the referees' tables. Out: a row a layer, and the
first `Finding` that is wrong, with its worst entry and likely cause. Read on in `verify.ties`.
"""
from copy import copy
from typing import Any, NamedTuple

import numpy as np

from nn.graph import IMAGE, inputs_from
from nn.layers.activation import Softmax
from nn.layers.base import Layer, Merge
from nn.layers.jacobian import Jacobian
from nn.verify.catalogue import BACKWARD, FORWARD, GRADIENT, step_of
from nn.verify.diagnosis import likely_cause
from nn.verify.referees import STEP_SIZE
from nn.verify.report import Comparison, Finding, LayerRow
from nn.verify.ties import undecided_entries

DIFFERENCES = 1e-5  # the tolerance of central differences, in either precision at least
COTANGENTS = 3      # random ones a layer, for its backward step
SAMPLED = 60        # entries of a parameter whose gradient is asked for
BLOCK = 2 ** 15     # entries of a table that are compared at a time: they stay in the cache


class LayerAtSample(NamedTuple):
    """One layer at one sample; x, jacobian and before are tuples for a layer of several inputs."""
    name: str
    layer: Layer
    x: Any               # (1, y, x, c), its input
    saved: Any           # what its derivatives need
    jacobian: Any        # ∂H/∂x of its input, a `Jacobian`
    before: Any          # the same as a table (units, M)
    claimed: np.ndarray  # ∂H/∂x of its output, (units', M)
    output: np.ndarray   # (1, y', x', c')


def at_sample(network, value):
    """Yields a `LayerAtSample` for each layer at one sample, value (1, y, x, c)."""
    jacobians = {IMAGE: Jacobian.identity(network.image, value.dtype)}
    tables = {IMAGE: np.eye(network.features)}
    for name, x, output, saved in network.steps(value):
        layer, sources = network.layers[name], network.inputs[name]
        jacobian, before = inputs_from(sources, jacobians), inputs_from(sources, tables)
        jacobians[name] = layer.forward_derivative(jacobian, saved)
        tables[name] = _table(jacobians[name])
        yield LayerAtSample(name, layer, x, saved, jacobian, before, tables[name], output)


def check_forward(network, layers, expected, tolerance):
    """Each layer's ∂H_k/∂x against every referee.

    Args:
        network: a `Network`.
        layers: a list of `LayerAtSample`.
        expected: {referee: {layer: ∂H_k/∂x (units, M)}}.
        tolerance: the largest allowed error relative to the largest entry.

    Returns:
        A `LayerRow` a layer, and the first `Finding` or None.
    """
    pairs = list(zip(layers, undecided_entries(network, layers)))
    results = network.in_threads(lambda pair: _row(network, *pair, expected, tolerance), pairs)
    rows = [row for row, _ in results]
    for (at, undecided), (row, referee) in zip(pairs, results):
        if referee:
            excused = undecided.table if row.errors[referee].not_judged else False
            return rows, _wrong_forward(network, at, referee, expected[referee][at.name], excused)
    return rows, None


def _row(network, at, undecided, expected, tolerance):
    """A `LayerRow`, and the first referee who disagrees, or None."""
    row = LayerRow(at.name, network.shapes[at.name],
                   nonzero=100 * np.count_nonzero(at.claimed) / at.claimed.size,
                   largest=_largest(at.claimed), ties=undecided.ties,
                   undecided=int(undecided.table.sum()), because=undecided.because)
    wrong = None
    for name, tables in expected.items():
        if at.name in tables:
            row.errors[name], agrees = _compared(at, undecided, name, tables[at.name], tolerance)
            wrong = wrong or (None if agrees else name)
    return row, wrong


def _compared(at, undecided, referee, right, tolerance):
    """(`Comparison`, whether all errors of the entries that are judged are small).

    Where a referee other than the complex step disagrees on undecided entries it follows another
    rule, and is asked about none of these.
    """
    size = _size(at, right)
    allowed = size * (max(tolerance, DIFFERENCES) if referee == "differences" else tolerance)
    worst, not_judged = _largest(at.claimed, right), 0
    if not worst <= allowed and referee != "complex step":
        errors = np.abs(at.claimed - right)
        if not (errors[undecided.table] <= allowed).all():
            worst = _largest(np.where(undecided.table, 0, errors))
            not_judged = int(undecided.table.sum())
    return Comparison(worst, worst / (size or 1), not_judged), worst <= allowed


def _size(at, right):
    """What errors are relative to: the largest entry. A softmax's p·(z' − Σ p z') cancels: it
    cannot be righter than z' is."""
    tables = (right, at.claimed, at.before) if isinstance(at.layer, Softmax) else (right,)
    return max(map(_largest, tables))


def _largest(table, other=None):
    """The largest entry of a table, or of its difference from another, without its sign."""
    step = max(1, BLOCK // max(1, table.shape[1]))  # rows
    blocks = [slice(start, start + step) for start in range(0, len(table), step)]
    parts = ((table[block] if other is None else table[block] - other[block]) for block in blocks)
    return float(np.max([np.abs(part).max(initial=0) for part in parts], initial=0))


def _wrong_forward(network, at, referee, right, excused):
    errors = np.where(excused, 0, np.abs(at.claimed - right))
    unit, pixel = np.unravel_index(errors.argmax(), errors.shape)
    first = at.jacobian[0] if isinstance(at.jacobian, tuple) else at.jacobian
    image = network.image if len(network.input_shape) > 1 else None
    cause = likely_cause(step_of(at.layer, FORWARD, at.jacobian, at.x), _table, at.claimed, right,
                         image, (1, *first.stride))
    return Finding(at.name, FORWARD, referee, _entry(network, at.name, unit, pixel),
                   float(at.claimed[unit, pixel]), float(right[unit, pixel]), cause)


def check_backward(network, layers, referee, tolerance, rng):
    """Random cotangents of each layer, carried back to the image, against a referee's ∂H_k/∂x.

    Args:
        network: a `Network`.
        layers: a list of `LayerAtSample`.
        referee: its name and {layer: ∂H_k/∂x (units, M)}.
        tolerance: the largest allowed error relative to the largest entry.
        rng: a `numpy.random.Generator`.

    Returns:
        The first `Finding` or None.
    """
    name, tables = referee
    for number, at in enumerate(layers, 1):
        if at.name not in tables:
            continue
        right = tables[at.name]
        cotangents = rng.normal(size=(COTANGENTS, len(right)))
        expected = cotangents @ right
        errors = np.abs(_carried(network, layers[:number], cotangents) - expected)
        size = np.abs(expected).max(initial=0)
        if isinstance(at.layer, Softmax):
            size = max(size, np.abs(cotangents).max() * np.abs(at.before).max(initial=0))
        if size and not errors.max() <= tolerance * size:
            row, pixel = np.unravel_index(errors.argmax(), errors.shape)
            unit = _unit(network, layers[:number], cotangents[row], right[:, pixel], pixel)
            claimed = _carried(network, layers[:number], np.eye(1, len(right), unit))[0, pixel]
            entry = _entry(network, at.name, unit, pixel)
            return Finding(at.name, BACKWARD, name, entry, float(claimed),
                           float(right[unit, pixel]), _backward_cause(at, cotangents))
    return None


def _carried(network, layers, cotangents):
    """cotangents (K, units of the last layer) · ∂H_k/∂x → (K, M), by the layers' backward steps."""
    saved = {at.name: at.saved for at in layers}
    return _flat(network.carried_back(_as_gradient(cotangents, layers[-1].output), saved))


def _unit(network, layers, cotangent, right, pixel):
    """The unit whose derivative at `pixel` is wrong: of the cotangent (units,) the half that is
    further off from what `right` (units,) says, again and again."""
    units = np.arange(len(cotangent))
    while len(units) > 1:
        halves = np.array_split(units, 2)
        cotangents = np.zeros((2, len(cotangent)))
        for row, half in zip(cotangents, halves):
            row[half] = cotangent[half]
        errors = np.abs(_carried(network, layers, cotangents)[:, pixel] - cotangents @ right)
        units = halves[int(errors.argmax())]
    return int(units[0])


def _backward_cause(at, cotangents):
    """The layer's own step, by itself, beside what `nn` makes of the same cotangents."""
    if isinstance(at.layer, Merge):
        return ""
    gradient = _as_gradient(cotangents, at.output)
    step = step_of(at.layer, BACKWARD, gradient, at.x)
    if step is None:
        return ""
    _, height, width, channels = at.x.shape
    image = (channels, height, width) if (height, width) != (1, 1) else None
    claimed = _flat(at.layer.backward(gradient, at.saved))
    return likely_cause(step, _flat, claimed, _flat(step.result()), image)


def check_gradients(network, value, tolerance, rng):
    """Each layer's parameter gradients against the complex step in it: sampled entries and a random
    direction.

    Args:
        network: a `Network`.
        value: (B, y, x, c), its input.
        tolerance: the largest allowed error relative to the largest entry.
        rng: a `numpy.random.Generator`.

    Returns:
        The first `Finding` or None.
    """
    for name, x, output, saved in network.steps(value):
        layer = network.layers[name]
        cotangent = rng.normal(size=output.shape)
        gradient = cotangent.astype(output.dtype)
        claimed = layer.gradients(gradient, saved) if layer.parameters else {}
        for key, array in layer.parameters.items():
            if key in layer.fixed:
                continue
            got = np.asarray(claimed.get(key, np.zeros(array.shape)), float)
            wrong = _wrong_entry(layer, x, cotangent, key, got, tolerance, rng)
            if wrong:
                entry, right = wrong
                cause = _gradient_cause(layer, x, gradient, key, got)
                return Finding(name, GRADIENT, "complex step", f"{key}{[int(n) for n in entry]}",
                               float(got[entry]), float(right), cause)
    return None


def _wrong_entry(layer, x, cotangent, key, claimed, tolerance, rng):
    """(the worst entry of a parameter's claimed gradient, what it should be); None if it is
    right."""
    slope = _slope(layer, x, cotangent, key)
    chosen = rng.permutation(claimed.size)[:SAMPLED]
    entries = [np.unravel_index(n, claimed.shape) for n in chosen]
    right = np.array([slope(entry, 1) for entry in entries])
    errors = np.abs(claimed.reshape(-1)[chosen] - right)
    size = max(np.abs(right).max(), np.finfo(float).tiny)
    direction = rng.normal(size=claimed.shape)
    terms = claimed * direction
    error_along = abs(terms.sum() - slope(..., direction))
    too_far = error_along > tolerance * np.abs(terms).sum() + 1e-300
    if errors.max() <= tolerance * size and not too_far:
        return None
    worst = int(errors.argmax())
    return entries[worst], right[worst]


def _slope(layer, x, cotangent, key):
    """A function: an entry of a parameter (or ...), a direction there → the derivative of
    cotangent · H along it, by the complex step."""
    moved, x = copy(layer), x.astype(np.complex128)
    moved.parameters = {name: own.astype(np.complex128) for name, own in layer.parameters.items()}
    parameter = moved.parameters[key]
    start = parameter.copy()

    def slope(entry, direction):
        """Moves the parameter, asks for the value and moves it back."""
        parameter[entry] = start[entry] + 1j * STEP_SIZE * direction
        output = moved.forward(x)[0]
        parameter[entry] = start[entry]
        return float((output.imag / STEP_SIZE * cotangent).sum())

    return slope


def _gradient_cause(layer, x, gradient, key, claimed):
    step = step_of(layer, GRADIENT, gradient, x)
    if step is None:
        return ""
    return likely_cause(step, lambda gradients: gradients[key], claimed, step.result()[key])


def _entry(network, name, unit, pixel):
    """A unit of a layer and a pixel in words."""
    channel, row, column = np.unravel_index(unit, network.shapes[name])
    output = f"output {channel}"
    if network.shapes[name][1:] != (1, 1):
        output += f" at row {row}, column {column}"
    if len(network.input_shape) == 1:
        return f"{output}, feature {pixel}"
    channel, row, column = np.unravel_index(pixel, network.image)
    of_channel = f" of channel {channel}" if network.image[0] > 1 else ""
    return f"{output}, pixel (row {row}, column {column}){of_channel}"


def _table(jacobian):
    """A `Jacobian` at one sample as a table (units, M)."""
    return jacobian.dense(1)[0].reshape(-1, int(np.prod(jacobian.image)))


def _as_gradient(cotangents, output):
    """(K, units) → (K, 1, y, x, c), as a layer with `output` (1, y, x, c) takes it."""
    _, height, width, channels = output.shape
    return np.moveaxis(cotangents.reshape(-1, 1, channels, height, width), 2, -1)


def _flat(gradient):
    """(K, 1, y, x, c) → (K, units)."""
    return np.moveaxis(gradient, -1, 2).reshape(len(gradient), -1)
