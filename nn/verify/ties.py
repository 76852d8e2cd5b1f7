"""Where a network has no derivative: tied max-pooling windows and ReLUs at exactly 0, and all that hangs on them.

In: a layer, its input and ∂H/∂x there. Out: how many ties it has, and which entries of its own ∂H/∂x depend on how they
are broken. The rules that programs follow there are in `foreign`; ours is in `pool` and `activation`. Such entries are
counted by `checking`, and judged only by referees that follow the same rule. Read on in `verify.report`.
"""
import numpy as np

from nn import textbook
from nn.layers.activation import ELU, LeakyReLU, ReLU, Softmax
from nn.layers.base import Merge
from nn.layers.pooling import MaxPool2d


def ties(layer, value, before, undecided):
    """One layer at one sample.

    value: (1, y, x, c), its input; before: ∂H/∂x of that (units, M); undecided: (units, M) boolean, the entries of
    `before` that hang on ties; tuples of these for a `Merge`. Returns (ties of this layer, the same table for its
    output, (units', M)).
    """
    if isinstance(layer, ReLU) or isinstance(layer, LeakyReLU) and layer.negative_slope != 1 or (
            isinstance(layer, ELU) and layer.alpha != 1):
        at_zero = _flat(value) == 0
        return int(at_zero.sum()), undecided | (at_zero[:, None] & (before != 0))
    if isinstance(layer, MaxPool2d):
        return _tied_windows(layer, value, before, undecided)
    return 0, _reached(layer, value, undecided)


def winners(layer, value, ulps=64):
    """A max-pooling layer at `value` (1, y, x, c): [(units under a tap (windows,), where they are largest), …].

    Units that differ by rounding alone, up to `ulps`, count as equal: another program may see the other one ahead.
    """
    _, rows, columns, channels = value.shape
    positions = layer.output_shape((channels, rows, columns))[1:]
    number = np.arange(channels * rows * columns).reshape(channels, rows, columns)
    values = _flat(value)
    taps = [number[:, ys, xs].reshape(-1) for _, (ys, xs) in layer._taps(positions)]
    slack = ulps * np.finfo(value.dtype).eps * np.abs(values).max(initial=0)
    best = np.max([values[tap] for tap in taps], axis=0) - slack
    return [(tap, values[tap] >= best) for tap in taps]


def _tied_windows(layer, value, before, undecided):
    """A window's entries are undecided where its largest units have different derivatives, or undecided ones."""
    taps, largest = zip(*winners(layer, value))
    first = np.select(largest, taps)
    found = np.zeros((len(first), before.shape[1]), bool)
    for tap, here in zip(taps, largest):
        found |= here[:, None] & ((before[tap] != before[first]) | undecided[tap])
    return int((np.sum(largest, axis=0) > 1).sum()), found


def _reached(layer, value, undecided):
    """The entries that undecided ones of the input flow into."""
    several = isinstance(layer, Merge)
    values, tables = (value, undecided) if several else ((value,), (undecided,))
    h, jacobian, shape = zip(*((_flat(one), table.astype(np.float32), (one.shape[3], *one.shape[1:3]))
                               for one, table in zip(values, tables)))
    given = (h, jacobian, shape) if several else (h[0], jacobian[0], shape[0])
    units = int(np.prod(layer.output_shape(given[2])))
    everywhere = np.broadcast_to(np.any([table.any(axis=0) for table in tables], axis=0), (units, tables[0].shape[1]))
    if not everywhere.any() or isinstance(layer, Softmax):
        return everywhere
    size = {key: np.abs(array) for key, array in layer.parameters.items()}
    try:
        return textbook.step(layer, size, *given)[1] != 0
    except TypeError:  # a layer of the user's own: any unit may flow into any other
        return everywhere


def _flat(value):
    return value.transpose(0, 3, 1, 2).reshape(-1)
