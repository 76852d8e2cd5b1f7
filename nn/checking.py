"""Is this derivative right, and if not, in which layer does it first go wrong? `check_network` holds every layer's
∂H_k/∂x, backward step and parameter gradients against referees that share no arithmetic with them.

In: a network and real samples. Out: a `Report`: a verdict, a row a layer, the worst entry with its likely cause.
Referees: the complex step (exact to rounding), the dense Eq. 5 of `dense`, central differences, and on request the
programs of `foreign`. Read on in `functions` for a bare function.
"""
import copy
from dataclasses import asdict, dataclass, field

import numpy as np
from scipy import differentiate

from nn import dense
from nn.activation import ReLU, Sigmoid, Softmax
from nn.causes import likely_cause, scaled
from nn.conv import Conv2d
from nn.foreign import FOREIGN, MissingReferee
from nn.linear import Linear
from nn.pool import MaxPool2d

STEP = 1e-30
TOLERANCE = {"float64": 1e-9, "float32": 1e-3}
DIFFERENCES = 1e-5  # the tolerance of central differences, in either precision at least
SAMPLED = 60


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
class Row:
    """One layer: its ∂H_k/∂x and the largest error (relative to its largest entry) against each referee."""
    layer: str
    shape: tuple    # (C, Y, X) of H_k
    nonzero: float  # percent of the entries of ∂H_k/∂x
    largest: float
    ties: int       # max-pooling windows with several largest units, or ReLUs at exactly 0
    errors: dict = field(default_factory=dict)


@dataclass
class Report:
    """`verdict` is "right", "wrong" or "unchecked"; `layer` and `part` name the first mistake, or are None."""
    rows: list
    finding: Finding | None
    missing: dict   # {referee: why it could not be asked}
    notes: list
    checked: bool = True

    @property
    def verdict(self):
        return "unchecked" if not self.checked else "right" if self.finding is None else "wrong"

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
        return "\n".join(_lines(self))


def nudged(x, seed=0):
    """x moved off its ties: every value changed by up to 0.01, inside [0, 1], by seeded noise. Shape and type stay."""
    x = np.asarray(x)
    noise = np.random.default_rng(seed).uniform(0, 0.01, x.shape)
    return np.where(x > 0.5, x - noise, x + noise).astype(x.dtype)


def check_network(network, x, *, against=("complex step", "dense"), tolerance=None, nudge=False, seed=0):
    """Check all derivatives of `network` at real samples.

    x: (B, …) samples in a shape the network takes; forward derivatives and backward steps are checked at the first one,
    parameter gradients over all. float64 x is checked in float64, float32 x in float32 with tolerances that fit.
    against: "complex step", "dense", "differences", names of `nn.foreign.FOREIGN`. tolerance: the largest allowed error
    relative to the largest entry (default 1e-9; 1e-3 in float32). nudge: first move x off its ties. seed: of
    the noise and the cotangents.

    Where others than the complex step disagree on entries that hang on a tie, they are not asked about these: they break
    it by another rule, or round otherwise and see none.
    Returns a `Report`; a referee that is not installed is listed in `missing`. ValueError for an unknown referee.
    """
    unknown = set(against) - {*OWN, *FOREIGN}
    if unknown:
        raise ValueError(f"against must name some of {', '.join((*OWN, *FOREIGN))}; got {sorted(unknown)}")
    value = network.as_input(nudged(x, seed) if nudge else x)
    one = np.moveaxis(value[:1], -1, 1).reshape(network.input_shape)
    precision = value.dtype.name
    tolerance = TOLERANCE[precision] if tolerance is None else tolerance
    notes = [] if precision == "float64" else [f"in {precision}: errors up to {tolerance:g} of the largest entry pass"]
    expected, missing = _ask(network, one, against)
    claimed = {name: (h[0], jacobian.dense(1)[0].reshape(h[0].size, -1))
               for name, h, jacobian in network.trace(one[None])}
    rows, finding = _forward(network, one, claimed, expected, tolerance)
    if expected:
        full = max(expected.values(), key=len)
        finding = finding or _backward(network, one, full, tolerance, np.random.default_rng(seed))
        finding = finding or _gradients(network, value, tolerance, np.random.default_rng(seed))
    return Report(rows, finding, missing, notes, bool(expected))


def complex_step(network, x):
    """{layer: ∂H_k/∂x (units, M)} of one sample x by the complex step h = 1e-30: Im H_k(x + ih) / h."""
    x = np.asarray(x).reshape(-1).astype(np.complex128)
    parts = {name: [] for name in network.layers}
    for start in range(0, len(x), 49):
        pixels = np.arange(start, min(start + 49, len(x)))
        moved = np.repeat(x[None], len(pixels), axis=0)
        moved[np.arange(len(pixels)), pixels] += 1j * STEP
        value = network.as_input(moved)
        for name, layer in network.layers.items():
            value = layer.forward(value)[0]
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
       "dense": lambda network, x: {name: jacobian for name, _, jacobian in dense.chain(network, x)}}


def _ask(network, x, against):
    expected, missing = {}, {}
    for name in against:
        try:
            expected[name] = (OWN[name] if name in OWN else FOREIGN[name])(network, x)
        except (MissingReferee, TypeError) as error:
            missing[name] = str(error)
    return expected, missing


def _forward(network, x, claimed, expected, tolerance):
    rows, finding, before = [], None, None
    unsettled = np.zeros((x.size, x.size), bool)
    identity = np.eye(x.size)
    value = network.as_input(x[None])
    for name, layer in network.layers.items():
        h, jacobian = claimed[name]
        scale = np.abs(jacobian).max(initial=0)
        ties, unsettled = _unsettled(layer, value, identity if before is None else before, unsettled)
        row = Row(name, h.shape, 100 * np.count_nonzero(jacobian) / jacobian.size, float(scale), ties)
        for referee, found in expected.items():
            if name not in found:
                continue
            error = np.abs(jacobian - found[name])
            settled = np.where(unsettled, 0, error)
            size = max(np.abs(found[name]).max(initial=0), scale if isinstance(layer, Softmax) else 0)
            if isinstance(layer, Softmax):  # p·(z' − mean z') cancels: it cannot be righter than z' is
                size = max(size, np.abs(before).max(initial=0))
            allowed = max(tolerance, DIFFERENCES) if referee == "differences" else tolerance
            if referee != "complex step" and error.max(initial=0) > allowed * size:
                error = settled  # only the complex step goes through the network's own arithmetic, ties included
            row.errors[referee] = float(error.max(initial=0) / (size or 1))
            if finding is None and not row.errors[referee] <= allowed:
                finding = _worst(network, name, "forward derivative", referee, jacobian, found[name], error, h.shape)
                finding.cause = likely_cause(layer, value, identity if before is None else before, jacobian,
                                             found[name], network.image if len(network.input_shape) > 1 else None)
        rows.append(row)
        full = next((found[name] for found in expected.values() if name in found), jacobian)
        value, before = layer.forward(value)[0], full
    return rows, finding


def _worst(network, name, part, referee, claimed, expected, error, shape):
    unit, pixel = np.unravel_index(error.argmax(), error.shape)
    c, y, x = np.unravel_index(unit, shape)
    where = f"output {c}" + (f" at row {y}, column {x}" if shape[1:] != (1, 1) else "")
    if len(network.input_shape) > 1:
        i, row, column = np.unravel_index(pixel, network.image)
        where += f", pixel (row {row}, column {column})" + (f" of channel {i}" if network.image[0] > 1 else "")
    else:
        where += f", feature {pixel}"
    return Finding(name, part, referee, where, float(claimed[unit, pixel]), float(expected[unit, pixel]), "")


def _unsettled(layer, value, before, unsettled):
    """How many ties the layer has at `value`, and which entries of its ∂H/∂x depend on how they are broken."""
    h, _ = layer.forward(value)
    channels, rows, columns = value.shape[3], *value.shape[1:3]
    if isinstance(layer, ReLU):
        at_zero = (value == 0).transpose(0, 3, 1, 2).reshape(-1)
        return int(at_zero.sum()), unsettled | (at_zero[:, None] & (before != 0))
    if isinstance(layer, MaxPool2d):
        number = np.arange(channels * rows * columns).reshape(channels, rows, columns)
        taps = [number[:, ys, xs].reshape(-1) for _, (ys, xs) in layer._taps(h.shape[1:3])]
        values = value.transpose(0, 3, 1, 2).reshape(-1)
        best = np.max([values[tap] for tap in taps], axis=0)
        slack = 64 * np.finfo(value.dtype).eps * np.abs(values).max(initial=0)
        tied = [values[tap] >= best - slack for tap in taps]
        several = np.sum(tied, axis=0) > 1
        first = np.select(tied, taps)
        found = np.zeros((len(best), before.shape[1]), bool)
        for is_best, tap in zip(tied, taps):
            differs = (before[tap] != before[first]) | unsettled[tap]
            found |= is_best[:, None] & differs
        return int(several.sum()), found
    if not unsettled.any():
        return 0, np.zeros((h.size, before.shape[1]), bool)
    support = copy.copy(layer)
    support.parameters = {key: (array != 0).astype(np.float32) for key, array in layer.parameters.items()}
    zero = np.zeros(value.size, np.float32)
    if not isinstance(layer, (Conv2d, Linear)):
        shape = (channels, rows, columns)
        reach = dense.step(layer, layer.parameters, value.reshape(-1) * 0, unsettled.astype(np.float32), shape)[1]
        return 0, reach != 0
    reach = dense.step(support, support.parameters, zero, unsettled.astype(np.float32), (channels, rows, columns))[1]
    return 0, reach > 0


def _backward(network, x, expected, tolerance, rng):
    """Random cotangents of each layer, carried back to the image, against the referee's ∂H_k/∂x."""
    value, steps = network.as_input(x[None]), []
    for name, layer in network.layers.items():
        value, saved = layer.forward(value)
        steps.append((layer, saved))
        if name not in expected:
            continue
        grad = start = rng.normal(size=(3, *value.shape))
        for passed, kept in reversed(steps):
            grad = passed.backward(grad, kept)
        claimed = np.moveaxis(grad, -1, 2).reshape(3, -1)
        right = np.moveaxis(start, -1, 2).reshape(3, -1) @ expected[name]
        error = np.abs(claimed - right)
        size = np.abs(right).max(initial=0)
        if isinstance(layer, Softmax):
            size = max(size, np.abs(start).max() * np.abs(expected[list(network.layers)[-2]]).max(initial=0))
        if size and not error.max() <= tolerance * size:
            k, pixel = np.unravel_index(error.argmax(), error.shape)
            return Finding(name, "backward", "complex step", f"random cotangent {k}, feature {pixel}",
                           float(claimed[k, pixel]), float(right[k, pixel]), scaled(claimed, right))
    return None


def _gradients(network, value, tolerance, rng):
    """Each layer's parameter gradients against the complex step in it: sampled entries and a random direction."""
    for name, layer in network.layers.items():
        h, saved = layer.forward(value)
        cotangent = rng.normal(size=h.shape)
        claimed = layer.gradients(cotangent.astype(h.dtype), saved) if layer.parameters else {}
        for key, array in layer.parameters.items():
            got = np.asarray(claimed.get(key, np.zeros(array.shape)), float)
            chosen = rng.permutation(array.size)[:SAMPLED]
            right = np.array([_slope(layer, value, cotangent, key, np.eye(1, array.size, n).reshape(array.shape))
                              for n in chosen])
            error = np.abs(got.reshape(-1)[chosen] - right)
            size = max(np.abs(right).max(), np.finfo(float).tiny)
            worst = int(error.argmax())
            direction = rng.normal(size=array.shape)
            along = _slope(layer, value, cotangent, key, direction)
            off = abs((got * direction).sum() - along) > tolerance * np.abs(got * direction).sum() + 1e-300
            if not error.max() <= tolerance * size or off:
                entry = np.unravel_index(chosen[worst], array.shape)
                return Finding(name, "gradient", "complex step", f"{key}{[int(n) for n in entry]}",
                               float(got[entry]), float(right[worst]), scaled(got.reshape(-1)[chosen], right))
        value = h
    return None


def _slope(layer, value, cotangent, key, direction):
    moved = copy.copy(layer)
    moved.parameters = {name: array + (1j * STEP * direction if name == key else 0j)
                        for name, array in layer.parameters.items()}
    return float((moved.forward(value.astype(np.complex128))[0].imag / STEP * cotangent).sum())


def _lines(report):
    finding = report.finding
    referees = list(dict.fromkeys(name for row in report.rows for name in row.errors))
    if finding is None:
        yield (f"right: every layer agrees with {', '.join(referees)}" if report.checked
               else "not checked: no referee could be asked")
    else:
        yield f"wrong: the {finding.part} of layer {finding.layer!r}" + (f": {finding.cause}" if finding.cause else "")
        yield (f"  worst entry: {finding.entry}: {finding.claimed:.10g} instead of {finding.expected:.10g} "
               f"({finding.referee})")
    yield f"{'layer':10} {'shape':>12} {'nonzero':>8} {'largest':>9} {'ties':>6} " + " ".join(
        f"{name:>13}" for name in referees)
    for row in report.rows:
        yield (f"{row.layer:10} {'×'.join(map(str, row.shape)):>12} {row.nonzero:6.1f} % {row.largest:9.3g} "
               f"{row.ties:6} " + " ".join(f"{row.errors[name]:13.1e}" if name in row.errors else f"{'–':>13}"
                                           for name in referees))
    yield from (f"missing: {name}: {why}" for name, why in report.missing.items())
    yield from report.notes
