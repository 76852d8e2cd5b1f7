"""Branches that come together: the sum of several layers' outputs (a residual block), or all of
them side by side, with their forward derivatives (Eq. 5).

In: tuples, one entry a branch; the branches have the same positions, but may see windows of
different size. Out: one value (b, y, x, c), and a Jacobian whose windows hold those of all
branches. `nn.textbook` adds the full tables. Read on in `models`.
"""
import itertools

import numpy as np

from nn.layers.base import Merge


class Add(Merge):
    """z = Σ_n x_n, for inputs of one shape."""

    def output_shape(self, shapes):
        """((c, y, x), …) → (c, y, x)."""
        if len(set(shapes)) > 1:
            raise ValueError(f"{self} takes inputs of one shape; got {_listed(shapes)}")
        return shapes[0]

    def forward(self, x):
        """(x_1, x_2, …), each (b, y, x, c) → their sum; `saved` is how many."""
        return sum(x[1:], x[0]), len(x)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with all weights 1: ∂z/∂x_i = Σ_n ∂H_n/∂x_i."""
        values, start = aligned(jacobian)
        return jacobian[0].with_values(sum(values[1:], values[0]), start=start)

    def backward(self, grad_y, saved):
        """Every branch gets the whole gradient."""
        return (grad_y,) * saved


class Concat(Merge):
    """The channels of all inputs, one input's after the other's (`torch.cat` along axis 1)."""

    def output_shape(self, shapes):
        """((c_1, y, x), (c_2, y, x), …) → (c_1 + c_2 + …, y, x)."""
        if len({shape[1:] for shape in shapes}) > 1:
            raise ValueError(f"{self} takes inputs of one height and width; got {_listed(shapes)}")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def forward(self, x):
        """(x_1, x_2, …), each (b, y, x, c_n) → (b, y, x, Σ c_n); `saved`: where each next begins."""
        return np.concatenate(x, axis=-1), np.cumsum([part.shape[-1] for part in x])[:-1]

    def forward_derivative(self, jacobian, saved):
        """No derivative of its own: the channels are named anew."""
        values, start = aligned(jacobian)
        shape = np.broadcast_shapes(*(part.shape[:-1] for part in values))
        values = [np.broadcast_to(part, (*shape, part.shape[-1])) for part in values]
        return jacobian[0].with_values(np.concatenate(values, axis=-1), start=start)

    def backward(self, grad_y, saved):
        """Every branch gets the gradient of its own channels."""
        return tuple(np.split(grad_y, saved, axis=-1))


def aligned(jacobians):
    """The windows of layers with the same units, all of one size, stride and start.

    The stride is that of the first. The windows are the smallest that hold all of theirs, zero
    where a unit sees nothing; those that agree already are returned as they are.

    Returns:
        ([values, …] one for each Jacobian, start).
    """
    stride = jacobians[0].stride
    start, window = zip(*(_span(jacobians, axis) for axis in (0, 1)))
    return [_placed(jacobian, stride, start, window) for jacobian in jacobians], start


def _span(jacobians, axis):
    """(start, size) of the smallest window along `axis` that holds those of all `jacobians`."""
    first, end = [], []
    for jacobian in jacobians:
        drift = jacobian.stride[axis] - jacobians[0].stride[axis]
        starts = [jacobian.start[axis] + drift * unit for unit in (0, jacobian.units[axis] - 1)]
        first.append(min(starts))
        end.append(max(starts) + jacobian.values.shape[axis])
    return min(first), max(end) - min(first)


def _placed(jacobian, stride, start, window):
    """The windows of `jacobian` inside larger ones of another stride.

    They stand at one place for all units where the strides agree, otherwise each at its own.
    """
    values = jacobian.values
    size = values.shape[:2]
    if jacobian.stride == stride and jacobian.start == start and size == window:
        return values
    places, units = zip(*(_places(jacobian, stride, start, axis) for axis in (0, 1)))
    values = np.broadcast_to(values, (*values.shape[:3], *units, *values.shape[5:]))
    out = np.zeros((*window, *values.shape[2:]), values.dtype)
    for (rows, top), (columns, left) in itertools.product(*places):
        place = (slice(top, top + size[0]), slice(left, left + size[1]), slice(None), rows, columns)
        out[place] = values[:, :, :, rows, columns]
    return out


def _places(jacobian, stride, start, axis):
    """([(units, where their windows begin in the larger ones), …], length of the units' axis)."""
    drift = jacobian.stride[axis] - stride[axis]
    begin = jacobian.start[axis] - start[axis]
    if not drift:
        return [(slice(None), begin)], jacobian.values.shape[3 + axis]
    units = jacobian.units[axis]
    return [(slice(unit, unit + 1), begin + drift * unit) for unit in range(units)], units


def _listed(shapes):
    return ", ".join("×".join(map(str, shape)) for shape in shapes)
