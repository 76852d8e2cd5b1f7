"""Padding: rows and columns around the units of a layer, which no pixel moves.

In: values (b, y, x, c) or a `Jacobian`, and margins ((top, bottom), (left, right)). Out: the same
with so many rows and columns around; for the backward step, without them. Convolutions see zeros
there, a max pool −∞. In `nn.textbook` they are columns left out of W. Read on in
`layers.convolution`.
"""
import numpy as np

NONE = ((0, 0), (0, 0))


def padded(x, margins, outside=0):
    """Values x (…, y, x, c) with `outside` around the rows and columns."""
    if margins == NONE:
        return x
    return np.pad(x, [(0, 0)] * (x.ndim - 3) + [*margins, (0, 0)], constant_values=outside)


def unpadded(grad, margins):
    """∂/∂x (…, y, x, c) of padded values → that of the values."""
    (top, bottom), (left, right) = margins
    height, width = grad.shape[-3:-1]
    return grad[..., top:height - bottom, left:width - right, :]


def padded_jacobian(jacobian, margins):
    """The Jacobian of the padded values: around the units stand others with derivatives 0.

    The image itself needs none: what is padded around it lies outside all windows.
    """
    if margins == NONE:
        return jacobian
    before = tuple(first for first, _ in margins)
    start = tuple(o - s * n for o, s, n in zip(jacobian.start, jacobian.stride, before))
    units = tuple(n + sum(around) for n, around in zip(jacobian.units, margins))
    values = jacobian.values
    if not jacobian.is_identity:
        values = np.broadcast_to(values, (*values.shape[:3], *jacobian.units, *values.shape[5:]))
        values = np.pad(values, [(0, 0)] * 3 + [*margins, (0, 0), (0, 0)])
    return jacobian.with_values(values, start=start, units=units)
