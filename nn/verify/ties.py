"""Where a network has no derivative: tied max-pooling windows and ReLUs at exactly 0 (other
activations at their kinks), and all that hangs on them.

In: a layer, its input and ∂H/∂x there, and how far rounding can have moved that input. Out: how
many ties it has, and which entries of its own ∂H/∂x depend on how they are broken. The rules that
programs follow there are in `frameworks`; ours is in the layers `pooling` and `piecewise`. Such
entries are counted, and judged only by referees that follow the same rule. Read on in
`verify.locally`.
"""
from typing import Any, NamedTuple

import numpy as np

from nn import textbook
from nn.graph import IMAGE, inputs_from
from nn.layers.activation import ELU, Softmax
from nn.layers.base import Merge, tap_slice
from nn.layers.padding import padded
from nn.layers.piecewise import Hardtanh, LeakyReLU, PReLU, ReLU
from nn.layers.pooling import MaxPool2d
from nn.layers.sample_norm import GroupNorm, LayerNorm
from nn.verify.referees import moved_by_pixel


class Undecided(NamedTuple):
    """Where a layer's ∂H_k/∂x hangs on ties."""
    ties: int          # of this layer alone
    table: np.ndarray  # (units, M), True where an entry does
    because: list      # the names of the layers whose ties these are
    strayed: Any       # the same for ties that the complex step breaks in another way, or None


class Seen(NamedTuple):
    """What a layer takes, as it is looked at for ties; tuples for a `Merge`."""
    x: Any        # (1, y, x, c)
    slack: Any    # how far rounding can have moved x
    before: Any   # ∂H/∂x of it, (units, M)
    strays: Any   # for each unit of a kink or window: does the complex step stray there? or None
    kinks: Any    # of a layer of the user's own, as `locally.kinks` has them, or None


def undecided_entries(network, layers, rounded, strays=None):
    """Yields an `Undecided` for each layer of `layers`, a list of `parts.LayerAtSample`; `rounded`
    are the `Rounded` of these, `strays` what `straying` says, if it was asked."""
    known = {IMAGE: Undecided(0, np.zeros((network.features,) * 2, bool), [], None)}
    for at, own in zip(layers, rounded):
        sources = network.inputs[at.name]
        tables = inputs_from(sources, {name: known[name].table for name in sources})
        strayed = None
        if any(known[name].strayed is not None for name in sources):
            strayed = inputs_from(sources, {
                name: np.zeros_like(known[name].table) if known[name].strayed is None
                else known[name].strayed for name in sources})
        seen = Seen(at.x, own.before, at.before, (strays or {}).get(at.name), own.kinks)
        number, table, strayed = ties(at.layer, seen, tables, strayed)
        because = [name for source in sources for name in known[source].because]
        because = list(dict.fromkeys(because)) + [at.name] * (number > 0)
        known[at.name] = Undecided(number, table, because, strayed)
        yield known[at.name]


def straying(network, x):
    """{layer: for each unit of a kink, each window of a pool, whether the complex step goes another
    way there than the network itself}: it rounds otherwise, and sees another unit ahead."""
    def ways(value):
        """Yields which way each layer goes, (b, units)."""
        for name, inputs, _, _ in network.steps(value):
            way = _way(network.layers[name], inputs)
            if way is not None:
                yield name, way

    here = dict(ways(network.as_input(np.reshape(x, (1, -1)))))
    strays = {name: np.zeros(way.shape[1], bool) for name, way in here.items()}
    for _, moved in moved_by_pixel(x):
        for name, way in ways(network.as_input(moved)):
            strays[name] |= (way != here[name]).any(axis=0)
    return strays


def _way(layer, x):
    """On which side of its kinks each unit is, or which unit of a window is ahead: (b, units);
    None for a layer that has but one way."""
    if places := _kinks_of(layer):
        sides = np.sum([x.real > place for place in places], axis=0)
        return sides.transpose(0, 3, 1, 2).reshape(len(x), -1)
    if isinstance(layer, MaxPool2d):
        winner = np.argmax(seen_by_taps(layer, x.real, -np.inf), axis=0)
        return winner.transpose(0, 3, 1, 2).reshape(len(x), -1)
    return None


def ties(layer, seen, undecided, strayed):
    """One layer at one sample; for a `Merge` all are tuples.

    Args:
        layer: the layer.
        seen: a `Seen`.
        undecided: (units, M) boolean, the entries of ∂H/∂x of its input that hang on ties.
        strayed: the same for those on which the complex step strays, or None.

    Returns:
        The number of ties of this layer, and `undecided` and `strayed` for its output, (units', M).
    """
    if seen.kinks is not None and seen.kinks.any():
        return _own_kinks(layer, seen, undecided, strayed)
    if places := _kinks_of(layer):
        return _kinks(places, seen, undecided, strayed)
    if isinstance(layer, MaxPool2d):
        return _tied_windows(layer, seen, undecided, strayed)
    return (0, _reached(layer, seen.x, undecided),
            None if strayed is None else _reached(layer, seen.x, strayed))


def seen_by_taps(layer, x, outside=0):
    """What each tap of a pooling window sees of x (b, y, x, c) at all positions, row by row:
    [(b, y', x', c), …], `outside` where x is padded."""
    positions = layer.output_shape((x.shape[3], *x.shape[1:3]))[1:]
    seen = padded(x, layer.margins(x.shape), outside)
    places = (map(tap_slice, tap, layer.stride, positions) for tap in np.ndindex(*layer.kernel))
    return [seen[:, rows, columns] for rows, columns in places]


def _kinks_of(layer):
    """Where the derivative of an activation jumps: a tuple of numbers."""
    if isinstance(layer, Hardtanh):
        return layer.min_val, layer.max_val
    jumps = (isinstance(layer, ReLU) or isinstance(layer, LeakyReLU) and layer.negative_slope != 1
             or isinstance(layer, PReLU) and (layer.parameters["weight"] != 1).any()
             or isinstance(layer, ELU) and layer.alpha != 1)
    return (0.0,) if jumps else ()


def _kinks(places, seen, undecided, strayed):
    """A unit that stands on a kink, or that rounding can move across it."""
    x, slack, hangs = _units(seen.x), _units(seen.slack), seen.before != 0
    at_kink = np.any([(x == x.dtype.type(place)) | (np.abs(x - place) <= slack)
                      for place in places], axis=0)
    if seen.strays is not None and seen.strays.any():
        strayed = (False if strayed is None else strayed) | (seen.strays[:, None] & hangs)
    return int(at_kink.sum()), undecided | (at_kink[:, None] & hangs), strayed


def _own_kinks(layer, seen, undecided, strayed):
    """A layer of the user's own, which has kinks right here: who knows by which rule."""
    hangs = seen.before != 0
    hangs = seen.kinks[:, None] & hangs if seen.kinks.ndim == 1 else seen.kinks @ hangs
    table = _reached(layer, seen.x, undecided) | hangs
    strayed = hangs if strayed is None else _reached(layer, seen.x, strayed) | hangs
    units = seen.kinks if seen.kinks.ndim == 1 else seen.kinks.any(axis=1)
    return int(units.sum()), table, strayed


def _tied_windows(layer, seen, undecided, strayed):
    """A window's entries are undecided where its largest units have different derivatives, or
    undecided ones. Units that differ by rounding alone count as equal: another program may see the
    other one ahead."""
    _, height, width, channels = seen.x.shape
    values, slack = _units(seen.x), _units(seen.slack)
    number = np.arange(len(values)).reshape(1, channels, height, width)
    taps = [_units(units) for units in seen_by_taps(layer, np.moveaxis(number, 1, -1), -1)]
    values, slack = np.append(values, -np.inf), np.append(slack, 0)  # [−1] is what is padded
    least = np.max([values[units] - slack[units] for units in taps], axis=0)
    largest = [values[units] + slack[units] >= least for units in taps]  # (windows,) for each tap
    first = np.select(largest, taps)
    table = np.zeros((len(first), seen.before.shape[1]), bool)
    strays = np.zeros(len(first), bool) if seen.strays is None else seen.strays
    astray = np.zeros_like(table) if strayed is not None or strays.any() else None
    for units, is_largest in zip(taps, largest):
        rows = np.flatnonzero(is_largest)
        table[rows] |= undecided[units[rows]]
        others = rows[units[rows] != first[rows]]
        differ = seen.before[units[others]] != seen.before[first[others]]
        table[others] |= differ
        if astray is not None:
            astray[others] |= differ & strays[others, None]
        if strayed is not None:
            astray[rows] |= strayed[units[rows]]
    return int((np.sum(largest, axis=0) > 1).sum()), table, astray


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
    if not everywhere.any() or isinstance(layer, (Softmax, LayerNorm, GroupNorm)):
        return everywhere
    sizes = {key: np.abs(array) for key, array in layer.parameters.items()}
    try:
        return textbook.step(layer, sizes, h, jacobian, shape)[1] != 0
    except TypeError:  # a layer of the user's own: any unit may flow into any other
        return everywhere


def _units(x):
    """(1, y, x, c) → (c·y·x,)."""
    return x.transpose(0, 3, 1, 2).reshape(-1)
