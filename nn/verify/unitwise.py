"""A layer that works unit by unit, f(z): which f' does it claim, which is right, and is the claimed
one a known one: that of y in place of z, of another activation?

In: the layer at a sample and the numbers it claims. Out: a `UnitSlope`, or None where it does not
work unit by unit. Read on in `verify.catalogue`.
"""
import numpy as np

from nn.layers.activation import ELU, GELU, Sigmoid, SiLU, Softplus, Tanh
from nn.layers.base import Merge
from nn.layers.piecewise import ReLU
from nn.verify.catalogue import FORWARD
from nn.verify.diagnosis import explains, scaled
from nn.verify.locally import slopes, works_unit_by_unit
from nn.verify.report import UnitSlope

OTHERS = {"tanh": Tanh(), "a sigmoid": Sigmoid(), "a ReLU": ReLU(), "Softplus": Softplus(),
          "ELU": ELU(), "SiLU": SiLU(), "GELU": GELU()}


def slope_at(at, part, unit, claimed, incoming):
    """The f' that a layer claims.

    Args:
        at: a `parts.LayerAtSample`.
        part: `FORWARD` or `BACKWARD`.
        unit: the number of the wrong unit; None for the one whose f' is furthest off.
        claimed: ∂H/∂x (units, M), or what the layer's backward step gives (K, units).
        incoming: backward, the cotangents (K, units).

    Returns:
        A `UnitSlope`; None where no f' of each unit explains the claimed numbers.
    """
    if isinstance(at.layer, Merge) or not works_unit_by_unit(at.layer, at.x):
        return None
    sizes, numbers = (at.before, claimed) if part == FORWARD else (incoming.T, claimed.T)
    sizes = np.asarray(sizes, float)
    most = np.abs(sizes).argmax(axis=1)[:, None]
    size = np.take_along_axis(sizes, most, 1)[:, 0]
    seen = size != 0
    with np.errstate(all="ignore"):
        claims = np.take_along_axis(np.asarray(numbers, float), most, 1)[:, 0] / size
        if not explains(numbers[seen], claims[seen, None] * sizes[seen]):
            return None
        z, y, right = (_units(part) for part in (
            at.x, at.output, slopes(at.layer, at.x)))
        unit = int(np.where(seen, np.abs(claims - right), -1).argmax()) if unit is None else unit
        known = _known(at, claims, seen, right, y)
    return UnitSlope(float(z[unit]), float(claims[unit]), float(right[unit]), known)


def _known(at, claims, seen, right, y):
    """What the claimed f' is, in words, or ""."""
    candidates = {
        "f' is missing": np.ones_like(right),
        "f' is that of y, not of z": _units(slopes(at.layer, at.output)),
        "f' is squared": right ** 2,
        "f' is inverted, 1/f'": 1 / right,
        "f' is 1 − y², which is right for tanh": 1 - y ** 2,
        "f' is y·(1 − y), which is right for a sigmoid": y * (1 - y),
        **{f"f' is that of {name}": _units(slopes(layer, at.x)) for name, layer in OTHERS.items()},
        "f' is 1 − y": 1 - y,
        "f' is y itself": y,
        "f' is z itself": _units(at.x),
        "f' is the square root of f'": np.sqrt(right),
    }
    claims, right = (part[seen].astype(at.output.dtype) for part in (claims, right))
    for words, candidate in candidates.items():
        if explains(claims, candidate[seen]) and not explains(right, candidate[seen]):
            return words
    return scaled(claims, right)


def _units(x):
    """(1, y, x, c) → (c·y·x,) in float64."""
    return x.transpose(0, 3, 1, 2).reshape(-1).astype(float)
