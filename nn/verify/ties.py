"""Where a network has no derivative: tied max-pooling windows and ReLUs at exactly 0, and all that
hangs on them.

In: a layer, its input and ∂H/∂x there. Out: how many ties it has, and which entries of its own
∂H/∂x depend on how they are broken. The rules that programs follow there are in `frameworks`; ours
is in the layers `pooling` and `activation`. Such entries are counted, and judged only by referees
that follow the same rule. Read on in `verify.answer`.
"""
from typing import NamedTuple

import numpy as np

from nn import textbook
from nn.graph import IMAGE, inputs_from
from nn.layers.activation import ELU, LeakyReLU, ReLU, Softmax
from nn.layers.base import Merge, tap_slice
from nn.layers.pooling import MaxPool2d

ULPS = 64  # values that differ by no more roundings count as equal


class Undecided(NamedTuple):
    """Where a layer's ∂H_k/∂x hangs on ties."""
    ties: int          # of this layer alone
    table: np.ndarray  # (units, M), True where an entry does
    because: list      # the names of the layers whose ties these are


def undecided_entries(network, layers):
    """Yields an `Undecided` for each layer of `layers`, a list of `parts.LayerAtSample`."""
    known = {IMAGE: Undecided(0, np.zeros((network.features,) * 2, bool), [])}
    for at in layers:
        sources = network.inputs[at.name]
        tables = inputs_from(sources, {name: known[name].table for name in sources})
        number, table = ties(at.layer, at.x, at.before, tables)
        because = [name for source in sources for name in known[source].because]
        because = list(dict.fromkeys(because)) + [at.name] * (number > 0)
        known[at.name] = Undecided(number, table, because)
        yield known[at.name]


def ties(layer, x, before, undecided):
    """One layer at one sample; for a `Merge` x, before and undecided are tuples.

    Args:
        layer: the layer.
        x: (1, y, x, c), its input.
        before: (units, M), ∂H/∂x of that input.
        undecided: (units, M) boolean, the entries of `before` that hang on ties.

    Returns:
        The number of ties of this layer, and `undecided` for its output, (units', M).
    """
    if _has_kink(layer):
        at_zero = _units(x) == 0
        return int(at_zero.sum()), undecided | (at_zero[:, None] & (before != 0))
    if isinstance(layer, MaxPool2d):
        return _tied_windows(layer, x, before, undecided)
    return 0, _reached(layer, x, undecided)


def pool_taps(layer, shape):
    """Where each tap of a pooling window reads an input of `shape` (b, y, x, c) at all positions,
    row by row: [(slice along y, slice along x), …]."""
    _, height, width, channels = shape
    positions = layer.output_shape((channels, height, width))[1:]
    return [tuple(map(tap_slice, tap, layer.stride, positions))
            for tap in np.ndindex(*layer.kernel)]


def _has_kink(layer):
    """Whether its derivative jumps at 0."""
    if isinstance(layer, LeakyReLU):
        return layer.negative_slope != 1
    return isinstance(layer, ReLU) or isinstance(layer, ELU) and layer.alpha != 1


def _tied_windows(layer, x, before, undecided):
    """A window's entries are undecided where its largest units have different derivatives, or
    undecided ones. Units that differ by rounding alone count as equal: another program may see the
    other one ahead."""
    _, height, width, channels = x.shape
    values = _units(x)
    number = np.arange(len(values)).reshape(channels, height, width)
    taps = [number[:, rows, columns].reshape(-1) for rows, columns in pool_taps(layer, x.shape)]
    slack = ULPS * np.finfo(x.dtype).eps * np.abs(values).max(initial=0)
    least = np.max([values[units] for units in taps], axis=0) - slack
    largest = [values[units] >= least for units in taps]  # (windows,) for each tap
    first = np.select(largest, taps)
    table = np.zeros((len(first), before.shape[1]), bool)
    for units, is_largest in zip(taps, largest):
        rows = np.flatnonzero(is_largest)
        table[rows] |= undecided[units[rows]]
        others = rows[units[rows] != first[rows]]
        table[others] |= before[units[others]] != before[first[others]]
    return int((np.sum(largest, axis=0) > 1).sum()), table


def _reached(layer, x, undecided):
    """The entries that undecided ones of the input flow into: those that the textbook's step, with
    absolute weights and `undecided` as Jacobian, makes other than 0."""
    is_merge = isinstance(layer, Merge)
    inputs = [(_units(part), table.astype(np.float32), (part.shape[3], *part.shape[1:3]))
              for part, table in (zip(x, undecided) if is_merge else [(x, undecided)])]
    h, jacobian, shape = zip(*inputs) if is_merge else inputs[0]
    units = int(np.prod(layer.output_shape(shape)))
    pixels = np.any([table.any(axis=0) for _, table, _ in inputs], axis=0)
    everywhere = np.broadcast_to(pixels, (units, len(pixels)))
    if not everywhere.any() or isinstance(layer, Softmax):
        return everywhere
    sizes = {key: np.abs(array) for key, array in layer.parameters.items()}
    try:
        return textbook.step(layer, sizes, h, jacobian, shape)[1] != 0
    except TypeError:  # a layer of the user's own: any unit may flow into any other
        return everywhere


def _units(x):
    """(1, y, x, c) → (c·y·x,)."""
    return x.transpose(0, 3, 1, 2).reshape(-1)
