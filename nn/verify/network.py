"""Is this derivative right, and if not, in which layer does it first go wrong? `check_network` holds every layer's
∂H_k/∂x, backward step and parameter gradients against referees that share no arithmetic with them.

In: a network and real samples. Out: a `Report` (`verdict`). Referees: the complex step (exact to rounding), the dense
Eq. 5 of `dense`, central differences, and on request the programs of `foreign`. Where there is no derivative: `ties`.
The likely mistake: `causes`. Read on in `verify.ties`.
"""
from collections import namedtuple
from copy import copy

import numpy as np
from scipy import differentiate

from nn import textbook
from nn.graph import IMAGE, given_to
from nn.layers.activation import Sigmoid, Softmax
from nn.layers.base import Merge
from nn.layers.jacobian import Jacobian
from nn.verify.diagnosis import likely_cause, plain, scaled, turned
from nn.verify.frameworks import FOREIGN, MissingReferee
from nn.verify.report import Comparison, Finding, Report, Row
from nn.verify.ties import ties

STEP = 1e-30
TOLERANCE = {"float64": 1e-9, "float32": 1e-3}
DIFFERENCES = 1e-5  # the tolerance of central differences, in either precision at least
SAMPLED = 60
# One layer at the sample: its input (1, y, x, c), what its derivatives need, the Jacobian of its input, its own as a
# table (units, M), its output; input and Jacobian are tuples for a layer of several inputs
_Step = namedtuple("_Step", "name layer value saved before claimed after")


def nudged(x, seed=0):
    """x moved off its ties: every value changed by up to 0.01, inside [0, 1], by seeded noise. Shape and type stay."""
    x = np.asarray(x)
    noise = np.random.default_rng(seed).uniform(0, 0.01, x.shape)
    return np.where(x > 0.5, x - noise, x + noise).astype(x.dtype)


def check_network(network, x, *, against=("complex step", "dense"), tolerance=None, nudge=False, seed=0):
    """Check all derivatives of `network` at real samples.

    x: (B, …) samples in a shape the network takes; forward derivatives and backward steps are checked at the first one,
    parameter gradients over all. float64 x is checked in float64, float32 x in float32 with tolerances that fit.
    against: "complex step", "dense", "differences", names of `nn.verify.frameworks.FOREIGN`.
    tolerance: the largest allowed error relative to the largest entry (default 1e-9; 1e-3 in float32). nudge: first move x off its ties. seed: of
    the noise and the cotangents.

    Entries that hang on a tie are counted. Where a referee other than the complex step disagrees on them it is not
    asked about these: it breaks ties by another rule, or rounds otherwise and sees none.
    Returns a `Report`; a referee that is not installed is listed in `missing`. ValueError for an unknown referee.
    """
    unknown = set(against) - {*OWN, *FOREIGN}
    if unknown:
        raise ValueError(f"against must name some of {', '.join((*OWN, *FOREIGN))}; got {sorted(unknown)}")
    value = network.as_input(nudged(x, seed) if nudge else x)
    if not len(value):
        raise ValueError("x must hold at least one sample; got none")
    one = np.moveaxis(value[:1], -1, 1).reshape(network.input_shape)
    precision = value.dtype.name
    tolerance = TOLERANCE[precision] if tolerance is None else tolerance
    notes = [] if precision == "float64" else [f"in {precision}: errors up to {tolerance:g} of the largest entry pass"]
    expected, missing = _ask(network, one, against)
    steps = list(_steps(network, value[:1]))
    rows, finding = _forward(network, steps, expected, tolerance)
    if expected:
        name, full = max(expected.items(), key=lambda item: len(item[1]))
        rng = np.random.default_rng(seed)
        finding = finding or _backward(network, steps, name, full, tolerance, rng)
        finding = finding or _gradients(network, value, tolerance, rng)
    return Report(rows, finding, missing, notes, bool(expected))


def complex_step(network, x):
    """{layer: ∂H_k/∂x (units, M)} of one sample x by the complex step h = 1e-30: Im H_k(x + ih) / h."""
    x = np.asarray(x).reshape(-1).astype(np.complex128)
    parts = {name: [] for name in network.layers}
    for start in range(0, len(x), 49):
        pixels = np.arange(start, min(start + 49, len(x)))
        moved = np.repeat(x[None], len(pixels), axis=0)
        moved[np.arange(len(pixels)), pixels] += 1j * STEP
        for name, _, value, _ in network.steps(network.as_input(moved)):
            parts[name].append(value.transpose(0, 3, 1, 2).reshape(len(pixels), -1).imag / STEP)
    return {name: np.concatenate(found).T for name, found in parts.items()}


def central_differences(network, x):
    """{the logits' layer: ∂logits/∂x (N, M)} of one sample x by SciPy's central differences in float64."""
    names = list(network.layers)
    logits = next(name for name in reversed(names) if not isinstance(network.layers[name], (Softmax, Sigmoid)))

    def values(points):
        flat = np.moveaxis(points, 0, -1).reshape(-1, len(points))
        return np.moveaxis(network.logits(flat).reshape(*points.shape[1:], -1), -1, 0)

    found = differentiate.jacobian(values, np.asarray(x, float).reshape(-1), initial_step=1e-5, order=2, maxiter=1)
    return {logits: found.df}


OWN = {"complex step": complex_step, "differences": central_differences,
       "dense": lambda network, x: {name: jacobian for name, _, jacobian in textbook.trace(network, x)}}


def _ask(network, x, against):
    expected, missing = {}, {}
    for name in against:
        try:
            expected[name] = (OWN[name] if name in OWN else FOREIGN[name])(network, x)
        except (MissingReferee, TypeError) as error:
            missing[name] = str(error)
    return expected, missing


def _steps(network, value):
    jacobians = {IMAGE: Jacobian.identity(network.image, value.dtype)}
    for name, given, after, saved in network.steps(value):
        layer, before = network.layers[name], given_to(network.inputs[name], jacobians)
        jacobians[name] = jacobian = layer.forward_derivative(before, saved)
        yield _Step(name, layer, given, saved, before, _table(jacobian), after)


def _first(given):
    return given[0] if isinstance(given, tuple) else given


def _table(jacobian):
    return jacobian.dense(1)[0].reshape(-1, int(np.prod(jacobian.image)))


def _forward(network, steps, expected, tolerance):
    """Each layer's ∂H_k/∂x against every referee: the rows, and the first that is wrong."""
    rows, finding, tables = [], None, {IMAGE: np.eye(network.features)}
    hanging, blamed = {IMAGE: np.zeros(tables[IMAGE].shape, bool)}, {IMAGE: []}
    for step in steps:
        taken = network.inputs[step.name]
        before = given_to(taken, tables)
        number, undecided = ties(step.layer, step.value, before, given_to(taken, hanging))
        because = list(dict.fromkeys(sum((blamed[name] for name in taken), []))) + [step.name] * (number > 0)
        tables[step.name], hanging[step.name], blamed[step.name] = step.claimed, undecided, because
        row = Row(step.name, network.shapes[step.name], 100 * np.count_nonzero(step.claimed) / step.claimed.size,
                  float(np.abs(step.claimed).max(initial=0)), number, int(undecided.sum()), because)
        for referee, found in expected.items():
            if step.name not in found:
                continue
            right, allowed = found[step.name], tolerance
            if referee == "differences":
                allowed = max(tolerance, DIFFERENCES)
            size = _size(step.layer, right, step.claimed, before)
            error, aside = _error(step.claimed, right, allowed * size, undecided & (referee != "complex step"))
            worst = float(error.max(initial=0))
            row.errors[referee] = Comparison(worst, worst / (size or 1), aside)
            if finding is None and not worst <= allowed * size:
                finding = _wrong_forward(network, step, referee, right, error)
        rows.append(row)
    return rows, finding


def _error(claimed, right, allowed, undecided):
    """|claimed − right| of the entries that are judged, and how many are not: where the referee disagrees on
    undecided ones it follows another rule, and is asked about none of these."""
    error = np.abs(claimed - right)
    if (error[undecided] <= allowed).all():
        return error, 0
    return np.where(undecided, 0, error), int(undecided.sum())


def _size(layer, right, claimed, before):
    """What errors are relative to: the largest entry. p·(z' − Σ p z') cancels: it cannot be righter than z' is."""
    tables = (right, claimed, before) if isinstance(layer, Softmax) else (right,)
    return max(float(np.abs(table).max(initial=0)) for table in tables)


def _wrong_forward(network, step, referee, right, error):
    unit, pixel = np.unravel_index(error.argmax(), error.shape)
    cause = likely_cause(
        step.layer, step.value, lambda layer, saved: _table(layer.forward_derivative(step.before, saved)),
        step.claimed, right, network.image if len(network.input_shape) > 1 else None, (1, *_first(step.before).stride))
    return Finding(step.name, "forward derivative", referee, _entry(network, step.name, unit, pixel),
                   float(step.claimed[unit, pixel]), float(right[unit, pixel]), cause)


def _entry(network, name, unit, pixel):
    c, y, x = np.unravel_index(unit, network.shapes[name])
    where = f"output {c}" + (f" at row {y}, column {x}" if network.shapes[name][1:] != (1, 1) else "")
    if len(network.input_shape) == 1:
        return f"{where}, feature {pixel}"
    i, row, column = np.unravel_index(pixel, network.image)
    return f"{where}, pixel (row {row}, column {column})" + (f" of channel {i}" if network.image[0] > 1 else "")


def _backward(network, steps, referee, expected, tolerance, rng):
    """Random cotangents of each layer, carried back to the image, against the referee's ∂H_k/∂x."""
    for number, step in enumerate(steps):
        if step.name not in expected:
            continue
        right = expected[step.name]
        start = rng.normal(size=(3, len(right)))
        carried = start @ right
        error = np.abs(_carried(network, steps[:number + 1], start) - carried)
        size = np.abs(carried).max(initial=0)
        if isinstance(step.layer, Softmax):
            size = max(size, np.abs(start).max() * np.abs(steps[number - 1].claimed).max(initial=0))
        if size and not error.max() <= tolerance * size:
            row, pixel = np.unravel_index(error.argmax(), error.shape)
            unit = _unit(network, steps[:number + 1], start[row], right[:, pixel], pixel)
            claimed = _carried(network, steps[:number + 1], np.eye(1, len(right), unit))[0, pixel]
            return Finding(step.name, "backward", referee, _entry(network, step.name, unit, pixel),
                           float(claimed), float(right[unit, pixel]), _backward_cause(step, start))
    return None


def _carried(network, steps, start):
    """start (K, units of the last step) · ∂H_k/∂x (K, M), by the layers' backward steps."""
    after = steps[-1].after
    grad = np.moveaxis(start.reshape(len(start), 1, after.shape[3], *after.shape[1:3]), 2, -1)
    grad = network.carried_back(grad, {step.name: step.saved for step in steps})
    return np.moveaxis(grad, -1, 2).reshape(len(start), -1)


def _unit(network, steps, start, right, pixel):
    """The unit whose derivative at `pixel` is wrong: of the cotangent the half that is further off, again and again."""
    units = np.arange(len(start))
    while len(units) > 1:
        halves = np.array_split(units, 2)
        parts = np.zeros((2, len(start)))
        for part, half in zip(parts, halves):
            part[half] = start[half]
        units = halves[int(np.abs(_carried(network, steps, parts)[:, pixel] - parts @ right).argmax())]
    return int(units[0])


def _backward_cause(step, start):
    """The layer's own step, by itself, beside what `nn` makes of the same cotangents."""
    right = plain(step.layer)
    if right is None or isinstance(right, Merge):
        return ""
    after, shape = step.after, step.value.shape
    grad = np.moveaxis(start.reshape(len(start), 1, after.shape[3], *after.shape[1:3]), 2, -1)

    def carried(layer, saved):
        return np.moveaxis(layer.backward(grad, saved), -1, 2).reshape(len(start), -1)

    image = (shape[3], *shape[1:3]) if shape[1:3] != (1, 1) else None
    return likely_cause(step.layer, step.value, carried, carried(step.layer, step.saved),
                        carried(right, right.forward(step.value)[1]), image)


def _gradients(network, value, tolerance, rng):
    """Each layer's parameter gradients against the complex step in it: sampled entries and a random direction."""
    for name, value, h, saved in network.steps(value):
        layer = network.layers[name]
        cotangent = rng.normal(size=h.shape)
        claimed = layer.gradients(cotangent.astype(h.dtype), saved) if layer.parameters else {}
        for key, array in ((key, array) for key, array in layer.parameters.items() if key not in layer.fixed):
            got = np.asarray(claimed.get(key, np.zeros(array.shape)), float)
            chosen = rng.permutation(array.size)[:SAMPLED]
            right = np.array([_slope(layer, value, cotangent, key, np.eye(1, array.size, n).reshape(array.shape))
                              for n in chosen])
            error = np.abs(got.reshape(-1)[chosen] - right)
            size = max(np.abs(right).max(), np.finfo(float).tiny)
            direction = rng.normal(size=array.shape)
            along = _slope(layer, value, cotangent, key, direction)
            off = abs((got * direction).sum() - along) > tolerance * np.abs(got * direction).sum() + 1e-300
            if not error.max() <= tolerance * size or off:
                worst = int(error.argmax())
                entry = np.unravel_index(chosen[worst], array.shape)
                return Finding(name, "gradient", "complex step", f"{key}{[int(n) for n in entry]}", float(got[entry]),
                               float(right[worst]), _gradient_cause(layer, value, cotangent.astype(h.dtype), key, got))
    return None


def _gradient_cause(layer, value, cotangent, key, claimed):
    right = plain(layer)
    if right is None:
        return ""
    expected = right.gradients(cotangent, right.forward(value)[1])[key]
    return scaled(claimed, expected) or (turned(claimed, expected) if expected.ndim > 1 else "")


def _slope(layer, value, cotangent, key, direction):
    moved = copy(layer)
    moved.parameters = {name: array.astype(np.complex128) + (1j * STEP * direction if name == key else 0)
                        for name, array in layer.parameters.items()}
    return float((moved.forward(value.astype(np.complex128))[0].imag / STEP * cotangent).sum())
