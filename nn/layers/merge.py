"""Branches that come together, with their forward derivatives (Eq. 5): sum and concatenation.

The sum of several layers' outputs makes a residual block. In: tuples, one entry for each branch;
the branches have the same positions, but may see windows of different size. Out: one value
(b, y, x, c), and a Jacobian whose windows hold those of all branches. `nn.textbook` adds or stacks
the full tables. Read on in `models`.
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
        total, frame, places = common_windows(jacobian, jacobian[0].values.shape[-1])
        for branch, branch_places in zip(jacobian, places):
            for place, own in branch_places:
                total[place] += branch.values[own]
        return jacobian[0].with_values(total, **frame)

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
        """(x_1, x_2, …), each (b, y, x, c_n) → (b, y, x, Σ c_n).

        `saved` are the channels at which one input ends and the next begins.
        """
        return np.concatenate(x, axis=-1), np.cumsum([part.shape[-1] for part in x])[:-1]

    def forward_derivative(self, jacobian, saved):
        """No derivative of its own: the channels are named anew."""
        ends = np.cumsum([branch.values.shape[-1] for branch in jacobian])
        values, frame, places = common_windows(jacobian, ends[-1])
        for branch, branch_places, part in zip(jacobian, places, np.split(values, ends[:-1], -1)):
            for place, own in branch_places:
                part[place] = branch.values[own]
        return jacobian[0].with_values(values, **frame)

    def backward(self, grad_y, saved):
        """Every branch gets the gradient of its own channels."""
        return tuple(np.split(grad_y, saved, axis=-1))


def common_windows(jacobians, channels):
    """Windows that hold those of several layers with the same units, still empty.

    Their stride is that of the first layer, or 0 where all units of some layer share one window;
    their size is the smallest that holds all. The windows of a layer of another stride drift: they
    stand at another place in those of each unit.

    Args:
        jacobians: one for each layer.
        channels: how many the new windows have.

    Returns:
        (windows, frame, places): zeros (wy, wx, i, y, x, b, channels); their `stride` and `start`,
        a dict; and for each layer a list of (place in `windows`, place in its own `values`), both
        as slices along wy, wx, i, y, x.
    """
    values = [jacobian.values for jacobian in jacobians]
    stride = min((jacobian.stride for jacobian in jacobians if jacobian.is_shared),
                 default=jacobians[0].stride)
    start, size, units = zip(*(_extent(jacobians, axis, stride[axis]) for axis in (0, 1)))
    batch, = np.broadcast_shapes(*(one.shape[5:6] for one in values))
    windows = np.zeros((*size, values[0].shape[2], *units, batch, channels),
                       np.result_type(*values))
    every = slice(None)
    places = []
    for jacobian in jacobians:
        rows, columns = (_places(jacobian, axis, stride[axis], start[axis]) for axis in (0, 1))
        places.append([((wy, wx, every, y, x), (every, every, every, own_y, own_x))
                       for (wy, y, own_y), (wx, x, own_x) in itertools.product(rows, columns)])
    return windows, {"stride": stride, "start": start}, places


def _extent(jacobians, axis, stride):
    """Of the common windows along `axis`: (start, size, length of the axis of the units)."""
    starts, ends, lengths = [], [], []
    for jacobian in jacobians:
        drift = jacobian.stride[axis] - stride
        begin = [jacobian.start[axis] + drift * unit for unit in (0, jacobian.units[axis] - 1)]
        starts.append(min(begin))
        ends.append(max(begin) + jacobian.values.shape[axis])
        lengths.append(jacobian.units[axis] if drift else jacobian.values.shape[3 + axis])
    return min(starts), max(ends) - min(starts), max(lengths)


def _places(jacobian, axis, stride, start):
    """[(where in the common window, which units there, which units of `values`), …] on `axis`."""
    drift = jacobian.stride[axis] - stride
    begin = jacobian.start[axis] - start
    size = jacobian.values.shape[axis]
    if not drift:
        return [(slice(begin, begin + size), slice(None), slice(None))]
    units = [slice(unit, unit + 1) for unit in range(jacobian.units[axis])]
    return [(slice(begin + drift * n, begin + drift * n + size), unit,
             slice(None) if jacobian.same_everywhere(axis) else unit)
            for n, unit in enumerate(units)]


def _listed(shapes):
    return ", ".join("×".join(map(str, shape)) for shape in shapes)
