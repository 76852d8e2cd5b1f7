"""Each layer's backward step: random cotangents, carried back to the image, against cᵀ · ∂H_k/∂x of
a referee.

In: a `Checked` network and how its forward derivatives were judged. Out: the first `Finding`. An
entry of which the referee says nothing (a tie, rounding, no finite number) does not judge the
pixels that it is summed into. Read on in `verify.gradient_part`.
"""
import numpy as np

from nn.graph import hand_back
from nn.layers.base import Merge
from nn.verify.catalogue import BACKWARD, step_of
from nn.verify.diagnosis import likely_cause
from nn.verify.frameworks import FOREIGN
from nn.verify.judging import CLEAR, DIFFERENCES, broken, largest_of
from nn.verify.parts import as_gradient, entry_in_words, flat
from nn.verify.report import Finding
from nn.verify.unitwise import slope_at

COTANGENTS = 3  # random ones a layer


def check_backward_steps(checked, forward, rng):
    """Each layer's backward step against the referees, those who agree first.

    Args:
        checked: a `Checked`.
        forward: its `Forward`.
        rng: a `numpy.random.Generator`.

    Returns:
        The first `Finding` or None, and {layer: the number of pixels nobody could judge}.
    """
    unjudged = {}
    for number, at in enumerate(checked.layers, 1):
        statements = [one for one in checked.statements(at.name)
                      if not _disputed(one, forward.judged.get(at.name))]
        if not statements:
            continue
        layers = checked.layers[:number]
        cotangents = rng.normal(size=(COTANGENTS, len(at.claimed)))
        carried = _carried(checked.network, layers, cotangents)
        left = np.ones(carried.shape[1], bool)
        for one in statements:
            agrees, wrong = _heard(checked, layers, one, forward.judged.get(at.name),
                                   cotangents, carried)
            if (left & wrong).any():
                return _finding(checked, layers, one, cotangents, carried, left & wrong), unjudged
            left &= ~agrees
            if not left.any():
                break
        if left.any():
            unjudged[at.name] = int(left.sum())
    return None, unjudged


def _disputed(statement, result):
    return result is not None and statement.referee in result.differs


def _heard(checked, layers, statement, result, cotangents, carried):
    """For each pixel, whether the referee agrees at all cotangents, and whether he disagrees."""
    standard, right = checked.standard, statement.right
    with np.errstate(all="ignore"):
        expected = cotangents @ right
        errors = np.abs(carried - expected)
        close = (errors <= standard.relative * np.abs(expected)) & np.isfinite(errors)
        agrees = close.all(axis=0)
        columns = np.flatnonzero(~agrees)
        wrong = np.zeros_like(agrees)
        if not len(columns):
            return agrees, wrong
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=0)
        allowed = ((cotangents ** 2 @ statement.errors(columns) ** 2) ** 0.5
                   + _rounding(checked, layers, statement.referee, cotangents)[:, columns]
                   + standard.relative * np.abs(expected[:, columns]))
        if statement.doubt is not None:
            doubt = statement.doubt[:, columns] + DIFFERENCES * largest_of(right)
            allowed = allowed + np.abs(cotangents) @ doubt
        clear = np.isfinite(expected[:, columns]) & (allowed <= max(CLEAR * largest, standard.tiny))
        allowed = np.maximum(allowed, standard.largest * largest)
        near = errors[:, columns] <= allowed
        clear |= broken(carried[:, columns], expected[:, columns])
    agrees[columns] = (near & clear).all(axis=0)
    wrong[columns] = (~near & clear).any(axis=0)
    if statement.excused is not None:
        wrong &= ~statement.excused.any(axis=0)
    silent = result and result.silent.get(statement.referee)
    if silent is not None:
        wrong &= ~silent.any(axis=0)
    return agrees & ~wrong, wrong


def _carried(network, layers, cotangents):
    """cotangents (K, units of the last layer) · ∂H_k/∂x → (K, M), by the layers' backward steps."""
    saved = {at.name: at.saved for at in layers}
    return flat(network.carried_back(as_gradient(cotangents, layers[-1].output), saved))


def _rounding(checked, layers, referee, cotangents):
    """How far rounding can move `_carried`, (K, M): gradients and their errors are carried back
    together."""
    rounded = checked.rounded_elsewhere if referee in FOREIGN else checked.rounded
    inputs = checked.network.inputs
    gradient = as_gradient(cotangents, layers[-1].output)
    gradients, errors = {layers[-1].name: gradient}, {layers[-1].name: np.zeros_like(gradient)}
    for at in reversed(layers):
        if at.name in gradients:  # the others do not lead to the last
            gradient, error = gradients.pop(at.name), errors.pop(at.name)
            hand_back(gradients, at.name, inputs[at.name],
                      at.layer.backward(gradient, at.saved))
            hand_back(errors, at.name, inputs[at.name],
                      rounded[at.name].backward(gradient, error))
    error, = errors.values()
    return flat(error)


def _finding(checked, layers, statement, cotangents, carried, wrong):
    at, right = layers[-1], statement.right
    with np.errstate(all="ignore"):
        errors = np.nan_to_num(np.abs(carried - cotangents @ right), nan=np.inf)
    row, pixel = np.unravel_index(np.where(wrong, errors, -1).argmax(), errors.shape)
    network = checked.network
    unit = _unit(network, layers, cotangents[row], right[:, pixel], pixel)
    claimed = _carried(network, layers, np.eye(1, len(right), unit))[0, pixel]
    cause, local = _cause(at, cotangents)
    return Finding(at.name, BACKWARD, statement.referee,
                   entry_in_words(network, at.name, unit, pixel), float(claimed),
                   float(right[unit, pixel]), cause, local)


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
        units = halves[int(np.nan_to_num(errors, nan=np.inf).argmax())]
    return int(units[0])


def _cause(at, cotangents):
    """The layer's own step, by itself, beside what `nn` makes of the same cotangents, or its f':
    (the cause in words, a `UnitSlope` or None)."""
    if isinstance(at.layer, Merge):
        return "", None
    gradient = as_gradient(cotangents, at.output)
    claimed = flat(at.layer.backward(gradient, at.saved))
    local = slope_at(at, BACKWARD, None, claimed, cotangents)
    step = step_of(at.layer, BACKWARD, gradient, at.x)
    cause = ""
    if step is not None:
        _, height, width, channels = at.x.shape
        image = (channels, height, width) if (height, width) != (1, 1) else None
        cause = likely_cause(step, flat, claimed, flat(step.result()), image)
    return cause or (local.known if local else ""), local
