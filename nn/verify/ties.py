"""Where a network has no derivative: tied max-pooling windows and ReLUs at exactly 0, and all that
hangs on them.

In: a layer, its input and ∂H/∂x there, and how far rounding can have moved that input. Out: how
many ties it has, and which entries of its own ∂H/∂x depend on how they are broken. The rules that
programs follow there are in `frameworks`; ours is in the layers `pooling` and `activation`. Such
entries are counted, and judged only by referees that follow the same rule. Read on in
`verify.locally`.
"""
from typing import Any, NamedTuple

import numpy as np

from nn import textbook
from nn.graph import IMAGE, inputs_from
from nn.layers.activation import ELU, LeakyReLU, ReLU, Softmax
from nn.layers.base import Merge, tap_slice
from nn.layers.pooling import MaxPool2d


class Undecided(NamedTuple):
    """Where a layer's ∂H_k/∂x hangs on ties."""
    ties: int          # of this layer alone
    table: np.ndarray  # (units, M), True where an entry does
    because: list      # the names of the layers whose ties these are
    unsure: Any        # the same for ties that only some computations see, as they round, or None


class Seen(NamedTuple):
    """What a layer takes, as it is looked at for ties; tuples for a `Merge`."""
    x: Any        # (1, y, x, c)
    exact: Any    # the same in float64, as the complex step has it
    slack: Any    # how far rounding can have moved x
    before: Any   # ∂H/∂x of it, (units, M)


def undecided_entries(network, layers, rounded, value):
    """Yields an `Undecided` for each layer of `layers`, a list of `parts.LayerAtSample` at the
    sample `value` (1, y, x, c); `rounded` are the `Rounded` of these."""
    known = {IMAGE: Undecided(0, np.zeros((network.features,) * 2, bool), [], None)}
    for at, own, exact in zip(layers, rounded, _in_float64(network, layers, value)):
        sources = network.inputs[at.name]
        tables = inputs_from(sources, {name: known[name].table for name in sources})
        unsure = None
        if any(known[name].unsure is not None for name in sources):
            unsure = inputs_from(sources, {
                name: np.zeros_like(known[name].table) if known[name].unsure is None
                else known[name].unsure for name in sources})
        seen = Seen(at.x, exact, own.before, at.before)
        number, table, unsure = ties(at.layer, seen, tables, unsure)
        because = [name for source in sources for name in known[source].because]
        because = list(dict.fromkeys(because)) + [at.name] * (number > 0)
        known[at.name] = Undecided(number, table, because, unsure)
        yield known[at.name]


def ties(layer, seen, undecided, unsure):
    """One layer at one sample; for a `Merge` all are tuples.

    Args:
        layer: the layer.
        seen: a `Seen`.
        undecided: (units, M) boolean, the entries of ∂H/∂x of its input that hang on ties.
        unsure: the same of ties that only some computations see, or None.

    Returns:
        The number of ties of this layer, and `undecided` and `unsure` for its output, (units', M).
    """
    if _has_kink(layer):
        return _kinks(seen, undecided, unsure)
    if isinstance(layer, MaxPool2d):
        return _tied_windows(layer, seen, undecided, unsure)
    return (0, _reached(layer, seen.x, undecided),
            None if unsure is None else _reached(layer, seen.x, unsure))


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


def _in_float64(network, layers, value):
    """What each layer takes where the image is complex, the real part of it; what it takes here
    where some layer cannot be asked."""
    try:
        steps = list(network.steps(value.astype(np.complex128)))
    except Exception:  # whatever a layer of the user's own raises
        return [at.x for at in layers]
    return [tuple(part.real for part in x) if isinstance(x, tuple) else x.real
            for _, x, _, _ in steps]


def _kinks(seen, undecided, unsure):
    """A unit that rounding can move across the kink at 0, and one that stands on it."""
    near = np.abs(_units(seen.x)) <= _units(seen.slack)
    at_zero = (_units(seen.x) == 0) | near
    both = (_units(seen.x) == 0) & (_units(seen.exact) == 0)
    hangs = seen.before != 0
    if (at_zero & ~both).any():
        unsure = (False if unsure is None else unsure) | ((at_zero & ~both)[:, None] & hangs)
    return int(at_zero.sum()), undecided | (at_zero[:, None] & hangs), unsure


def _tied_windows(layer, seen, undecided, unsure):
    """A window's entries are undecided where its largest units have different derivatives, or
    undecided ones. Units that differ by rounding alone count as equal: another program may see the
    other one ahead."""
    _, height, width, channels = seen.x.shape
    values, exact, slack = (_units(part) for part in (seen.x, seen.exact, seen.slack))
    number = np.arange(len(values)).reshape(channels, height, width)
    taps = [number[:, rows, columns].reshape(-1) for rows, columns in pool_taps(layer, seen.x.shape)]
    most, exact_most = (np.max([part[units] for units in taps], axis=0) for part in (values, exact))
    least = np.max([values[units] - slack[units] for units in taps], axis=0)
    largest = [values[units] + slack[units] >= least for units in taps]  # (windows,) for each tap
    same = [(values[units] == most) == (exact[units] == exact_most) for units in taps]
    near = [is_largest == (values[units] == most) for units, is_largest in zip(taps, largest)]
    tied = np.sum(largest, axis=0) > 1
    shaky = tied & ~(np.all(same, axis=0) & np.all(near, axis=0))
    first = np.select([values[units] == most for units in taps], taps)
    table = np.zeros((len(first), seen.before.shape[1]), bool)
    doubtful = np.zeros_like(table) if shaky.any() or unsure is not None else None
    for units, is_largest in zip(taps, largest):
        rows = np.flatnonzero(is_largest)
        table[rows] |= undecided[units[rows]]
        others = rows[units[rows] != first[rows]]
        differ = seen.before[units[others]] != seen.before[first[others]]
        table[others] |= differ
        if doubtful is not None:
            doubtful[others] |= differ & shaky[others, None]
        if unsure is not None:
            doubtful[rows] |= unsure[units[rows]]
    return int(tied.sum()), table, doubtful


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
