"""What rounding can do, in each layer and to each entry of ∂H_k/∂x: so much is no mistake.

In: the layers at a sample, `parts.LayerAtSample`. Out: a `Rounded` a layer, which says how far its
values can be off and carries the errors of derivatives through the layer, forward and backward;
`EntryErrors`, the errors of the columns of ∂H_k/∂x that are asked for. Independent errors add up
as the root of their squares; `SPREAD` leaves room for those that are not. Read on in
`verify.coupled`.
"""
from collections.abc import Callable
from copy import copy
from typing import Any, NamedTuple

import numpy as np

from nn.graph import IMAGE, inputs_from
from nn.layers.activation import Activation, Softmax
from nn.layers.base import Merge
from nn.layers.convolution import Conv2d
from nn.layers.linear import Linear
from nn.layers.normalization import BatchNorm2d
from nn.layers.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from nn.layers.sample_norm import GroupNorm, LayerNorm
from nn.verify.catalogue import plain
from nn.verify.coupled import normalization_errors, softmax_errors
from nn.verify.locally import kinks, local_jacobian, slopes, works_unit_by_unit
from nn.verify.referees import STEP_SIZE
from nn.verify.ties import seen_by_taps

COHERENT = 2  # sums of numbers of one sign: their roundings may be alike to this part
SPREAD = 12  # roundings in the last digit that one operation may be off, all in all


class Rounded(NamedTuple):
    """One layer at a sample. Errors are sizes, (…, y, x, c), a tuple of them for a `Merge`."""
    name: str
    before: Any          # of its input
    value: np.ndarray    # of its output
    forward: Callable    # (∂H/∂x of the input, its error) → the error of its output's
    backward: Callable   # (∂/∂output, its error) → the error of ∂/∂input
    kinks: Any           # as `locally.kinks` has them, of a layer of the user's own; None


class Precision(NamedTuple):
    """How exactly it is computed."""
    unit: float           # `SPREAD` times the type's rounding
    tiny: float           # what is smaller may be lost
    exact_slopes: bool    # f' to all digits, not as a difference of numbers of size 1


def roundings(network, layers, exact_slopes=True):
    """Yields a `Rounded` for each layer of `layers`, a list of `parts.LayerAtSample`; without
    `exact_slopes` for a program that may compute tanh' as 1 − tanh²."""
    values = {IMAGE: np.zeros((1, *network.image[1:], network.image[0]))}
    for at in layers:
        own = type(at.layer).__module__.startswith("nn.layers.")
        dtype = at.output.dtype
        precision = Precision(SPREAD * float(np.finfo(dtype).eps), smallest(dtype),
                              exact_slopes and own)
        before = inputs_from(network.inputs[at.name], values)
        with np.errstate(all="ignore"):
            value, forward, backward = _steps(at, before, precision)
        values[at.name] = value
        yield Rounded(at.name, before, value, forward, backward, _own_kinks(at))


def _own_kinks(at):
    """The kinks of a layer whose value the user wrote: what its code makes of complex numbers there
    is no rule. None where the value is that of nn, for complex numbers too."""
    if type(at.layer).forward.__module__.startswith("nn.") or isinstance(at.layer, Merge):
        return None
    layer = plain(at.layer)
    if layer is not None:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], at.x.shape)
        try:
            moved = at.x + 1j * STEP_SIZE * signs
            if np.array_equal(layer.forward(moved)[0], at.layer.forward(moved)[0], equal_nan=True):
                return None
        except Exception:  # whatever a layer of the user's own raises
            return None
    return kinks(at.layer, at.x)


def smallest(dtype):
    """Derivatives below it may be lost; the complex step multiplies them by its step size."""
    return float(np.finfo(dtype).tiny) / (STEP_SIZE if dtype == np.float64 else 1)


class EntryErrors:
    """How far the entries of ∂H_k/∂x can be off, column by column as they are asked for."""

    def __init__(self, network, layers, rounded):
        self.network = network
        self.layers = {at.name: at for at in layers}
        self.rounded = rounded
        self.tables = {}  # {layer: (pixels, units)}
        self.known = {}   # {layer: (pixels,), True where it is computed}

    def columns(self, name, pixels):
        """The errors of ∂H_k/∂x of a layer at `pixels` (P,): (units, P)."""
        if name == IMAGE:
            return np.zeros((self.network.features, len(pixels)))
        if name not in self.tables:
            units = int(np.prod(self.network.shapes[name]))
            self.tables[name] = np.empty((self.network.features, units))
            self.known[name] = np.zeros(self.network.features, bool)
        new = pixels[~self.known[name][pixels]]
        if len(new):
            self.tables[name][new] = self._computed(name, new).T
            self.known[name][new] = True
        return self.tables[name][pixels].T

    def _computed(self, name, pixels):
        at = self.layers[name]
        sources = self.network.inputs[name]
        shapes = {IMAGE: self.network.image, **self.network.shapes}
        errors = tuple(as_batch(self.columns(source, pixels), shapes[source])
                       for source in sources)
        tables = at.before if len(sources) > 1 else (at.before,)
        before = tuple(as_batch(table[:, pixels].astype(float), shapes[source])
                       for table, source in zip(tables, sources))
        pair = (before, errors) if len(sources) > 1 else (before[0], errors[0])
        with np.errstate(all="ignore"):
            return as_columns(self.rounded[name].forward(*pair))


def as_batch(columns, shape):
    """(units, P) of a layer of `shape` (c, y, x) → (P, y, x, c)."""
    return columns.T.reshape(-1, *shape).transpose(0, 2, 3, 1)


def as_columns(batch):
    """(P, y, x, c) → (units, P)."""
    return batch.transpose(0, 3, 1, 2).reshape(len(batch), -1).T


def _steps(at, before, precision):
    """(the error of the value, the two functions of a `Rounded`)."""
    layer = plain(at.layer)
    if isinstance(layer, MaxPool2d):
        return _maximum(layer, at, before, precision)
    if isinstance(layer, Softmax):
        return softmax_errors(layer, at, before, precision)
    if isinstance(layer, (LayerNorm, GroupNorm)):
        return normalization_errors(layer, at, before, precision)
    if layer is not None and not isinstance(layer, Activation):
        return _weighted(layer, at, before, precision)
    if not isinstance(at.layer, Merge) and works_unit_by_unit(at.layer, at.x):
        return _activation(at, before, precision)
    return _unknown(at, before, precision)


def _each(function, *values):
    """The function of arrays, or of tuples of them, one for each input."""
    if isinstance(values[0], tuple):
        return tuple(function(*parts) for parts in zip(*values))
    return function(*values)


def _weighted(layer, at, before, precision):
    """z = W·x + b: errors go through |W|; each product and sum is rounded."""
    sizes, linear = copy(layer), copy(layer)
    sizes.parameters = {key: np.abs(array).astype(float)
                        for key, array in layer.parameters.items()}
    if isinstance(layer, BatchNorm2d):  # |x| + |mean| in place of x − mean
        sizes.parameters["running_mean"] = -sizes.parameters["running_mean"]
    linear.parameters = {key: array if key in ("weight", "running_var") else 0 * array
                         for key, array in sizes.parameters.items()}
    squares = isinstance(layer, (Conv2d, Linear))
    if squares:
        linear.parameters["weight"] = linear.parameters["weight"] ** 2
    saved = linear.forward(_each(np.abs, at.x))[1]
    rounds = precision.unit * (1 + _summands(layer, at) ** 0.5 / COHERENT)

    def through(step, sizes_in, errors):
        """The error behind `step`, which multiplies by |W| or |W|²."""
        spread = _root_of_squares(step, errors) if squares else step(errors)
        terms = _root_of_squares(step, sizes_in) if squares else step(sizes_in)
        return _each(lambda error, term: error + rounds * term + precision.tiny, spread, terms)

    def forward(jacobian, errors):
        """|W|·errors, and the rounding of W·∂H/∂x."""
        return through(lambda h: linear.forward(h)[0], _each(np.abs, jacobian), errors)

    def backward(gradient, errors):
        """The same with |Wᵀ|."""
        return through(lambda g: linear.backward(g, saved), np.abs(gradient), errors)

    x = _each(lambda part: np.abs(part).astype(float), at.x)
    value = forward(x, before) + precision.unit * (sizes.forward(_each(np.zeros_like, x))[0])
    return value, forward, backward


def _root_of_squares(step, sizes):
    largest = np.abs(sizes).max(axis=(-3, -2, -1), keepdims=True)
    largest = np.where(largest > 0, largest, 1)
    return np.sqrt(step((sizes / largest) ** 2)) * largest


def _summands(layer, at):
    """How many products a unit sums."""
    if isinstance(layer, (Conv2d, Linear)):
        return max(layer.parameters["weight"].size // min(layer.parameters["weight"].shape[:2]), 1)
    if isinstance(layer, AvgPool2d):
        return layer.kernel[0] * layer.kernel[1]
    if isinstance(layer, AdaptiveAvgPool2d):
        return at.x.shape[1] * at.x.shape[2]
    return len(at.x) if isinstance(layer, Merge) else 1


def _maximum(layer, at, before, precision):
    """Each window hands on the error of its winner."""
    saved = layer.forward(at.x)[1]
    value = np.max(seen_by_taps(layer, before), axis=0)

    def forward(jacobian, errors):
        """The winner's."""
        won = [np.where(saved[1] == number, error, 0)
               for number, error in enumerate(seen_by_taps(layer, errors))]
        return np.sum(won, axis=0)

    def backward(gradient, errors):
        """To the winner; where windows overlap, gradients are added."""
        return layer.backward(errors + precision.unit * np.abs(gradient), saved)

    return value, forward, backward


def _activation(at, before, precision):
    """f'(z) is as far off as it changes while z is."""
    x = at.x.astype(float)
    slope = slopes(at.layer, x)
    moved = before + precision.unit * np.abs(x)
    near = [x - moved, x + moved]
    size = np.abs(slope) if precision.exact_slopes else np.maximum(np.abs(slope), 1)
    change = np.max([np.abs(slopes(at.layer, z) - slope) for z in near], axis=0)
    change = change + precision.unit * size + precision.tiny
    here = at.layer.forward(x)[0]
    value = np.max([np.abs(at.layer.forward(z)[0] - here) for z in near], axis=0)
    value = value + precision.unit * np.abs(here) + precision.tiny

    def through(sizes, errors):
        """|f'|·errors, and the error of f'."""
        return np.abs(slope) * errors + change * np.abs(sizes) + precision.tiny

    return value, through, through


def _unknown(at, before, precision):
    """A layer that is none of nn's: its own local derivative tells how errors go through; what it
    rounds inside can be as large as that of its largest number."""
    local = None if isinstance(at.layer, Merge) else local_jacobian(at.layer, at.x)
    rounded = precision.unit * np.abs(at.output).max(initial=0)
    if local is None:  # too large to ask
        return (np.full(at.output.shape, rounded),
                lambda sizes, errors: _alike(np.abs(at.claimed).max(initial=0), sizes, errors,
                                             precision, at.output.shape),
                lambda gradient, errors: _each(
                    lambda part: _alike(np.abs(part).max(initial=0), gradient, errors, precision,
                                        part.shape), at.layer.backward(gradient, at.saved)))
    local = np.abs(local)

    def through(matrix, like, sizes, errors):
        """|L|·errors, and the rounding of L·∂H/∂x and of L itself."""
        shape = (like.shape[3], *like.shape[1:3])
        lead, sizes = errors.shape[:-4], np.abs(sizes)
        inner = precision.unit * local.max(initial=0) * sizes.max(initial=0)
        columns = as_columns((errors + precision.unit * sizes).reshape(-1, *errors.shape[-3:]))
        return (as_batch(matrix @ columns, shape) + inner).reshape(*lead, -1, *like.shape[1:])

    return (through(local, at.output, at.x, before) + rounded,
            lambda sizes, errors: through(local, at.output, sizes, errors),
            lambda sizes, errors: through(local.T, at.x, sizes, errors))


def _alike(largest, sizes, errors, precision, shape):
    """Errors as large, relative to the largest number, as those of the input."""
    share = max(np.max(error, initial=0) / max(np.abs(size).max(initial=0), precision.tiny)
                for size, error in zip(*([part] if not isinstance(part, tuple) else part
                                         for part in (sizes, errors))))
    lead = (errors[0] if isinstance(errors, tuple) else errors).shape[:-3]
    return np.full((*lead, *shape[-3:]), (share + precision.unit) * largest)
