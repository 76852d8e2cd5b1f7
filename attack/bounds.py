"""Between which values a feature may lie: [0, 1] as in the paper, or whatever the data has.

In: a lower and an upper bound, numbers or an array for the features. Out: `Bounds`, which says who
can still move, what a step leads to and who has arrived. Read on in `steps`.
"""
from typing import NamedTuple

import numpy as np


class Bounds(NamedTuple):
    """low ≤ x ≤ high: both (C, M), for channels that change together and features; or, `at` the
    features of B samples, (B, C)."""
    low: np.ndarray
    high: np.ndarray

    def at(self, feature):
        """Those of one feature (B,) of each sample, (B, C)."""
        return Bounds(self.low[:, feature].T, self.high[:, feature].T)

    def moved(self, values, theta):
        """values + θ, clipped; θ a number or (B, 1)."""
        way = 2 * (self.high - self.low)  # θ of any size: no sum overflows, and each arrives
        step = np.clip(theta, -way, way).astype(values.dtype)
        return np.clip(values + step, self.low, self.high)

    def other(self, values):
        """The upper bound of what lies at the lower one; of all else the lower one."""
        return np.where(values == self.low, self.high, self.low)

    def reached(self, values):
        """Which values lie at a bound."""
        return (values == self.low) | (values == self.high)

    def movable(self, values, theta, headroom=0.0):
        """Features that some channel can move by more than `headroom`, a share of their range, up
        (θ > 0) or down: (n, C, M) → (n, M)."""
        low, high = self.low.astype(float), self.high.astype(float)
        room = headroom * (high - low)
        if theta > 0:
            return (values < (high - room).astype(values.dtype)).any(axis=1)
        return (values > (low + room).astype(values.dtype)).any(axis=1)


def bounds_of(bounds, shape, dtype, width=1):
    """`bounds` of samples of `shape`, as `Bounds` of `dtype` with `width` channels that change
    together.

    Args:
        bounds: (low, high), each a number or an array that broadcasts to `shape`.
        shape: of one sample.
        dtype: of the numbers.
        width: how many channels change together.

    Raises:
        TypeError, ValueError: no pair of finite real numbers with low < high somewhere.
    """
    if len(bounds) != 2 if isinstance(bounds, (tuple, list)) else np.shape(bounds)[:1] != (2,):
        raise ValueError(f"bounds must be a pair (low, high); got {bounds!r}")
    parts = []
    for name, part in zip(("low", "high"), bounds):
        part = np.asarray(part)
        if part.dtype.kind not in "biuf" or not np.isfinite(part).all():
            raise ValueError(f"bounds must be finite numbers; got {name} = {part}")
        try:
            part = np.broadcast_to(part, shape)
        except ValueError:
            raise ValueError(f"bounds must be numbers or fit a sample of shape {tuple(shape)}; "
                             f"got {name} of shape {part.shape}") from None
        parts.append(np.ascontiguousarray(part.reshape(width, -1), dtype))
    low, high = parts
    if (low > high).any() or low.size and not (low < high).any():
        raise ValueError(f"bounds must be low < high; got {_range(low)} and {_range(high)}")
    return Bounds(low, high)


def _range(values):
    least, most = values.min(), values.max()
    return f"{least:g}" if least == most else f"{least:g} … {most:g}"
