"""Max, average and adaptive average pooling: value, forward derivative (Eq. 5) and backward step.

In and out: (b, y, x, c). Units that do not fill a window are left out or, with `ceil_mode`, have
one that sticks out of the padding. Ties: the first maximum in row-major order wins (PyTorch's rule
on the CPU), in the value, the forward derivative and the backward step alike; complex input is
compared by its real part. `nn.textbook` has the same with a matrix of 1 and 0, or of 1/area. Read
on in `layers.activation`.
"""
import itertools

import numpy as np

from nn.layers.base import Layer, count, pair, tap_slice
from nn.layers.padding import padded, padded_jacobian, unpadded

BLOCK = 1 << 18  # bytes that are pooled at a time: they stay in the cache


class _Pool2d(Layer):
    def __init__(self, kernel_size, stride=None, padding=0, *, ceil_mode=False):
        super().__init__()
        self.kernel = pair(kernel_size, "kernel_size", 1)
        self.stride = self.kernel if stride is None else pair(stride, "stride", 1)
        self.padding = pair(padding, "padding", 0)
        self.ceil_mode = bool(ceil_mode)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel)):
            raise ValueError("padding must be at most half of kernel_size; "
                             f"got {padding!r} and {kernel_size!r}")

    def output_shape(self, shape):
        """(c, y, x) → (c, y', x'), y' = ⌊(y + 2·padding − kernel) / stride⌋ + 1; with `ceil_mode`
        ⌈…⌉, less the windows that begin behind the last unit."""
        size = []
        for n, k, s, p in zip(shape[1:], self.kernel, self.stride, self.padding):
            left_over = (n + 2 * p - k) % s if self.ceil_mode else 0
            number = (n + 2 * p - k) // s + 1 + (left_over > 0)
            size.append(number - (self.ceil_mode and (number - 1) * s >= n + p))
        if min(size) < 1:
            raise ValueError(f"{self} does not fit into an input of {shape[1]}×{shape[2]}")
        return (shape[0], *size)

    def _positions(self, shape):
        """(Y, X) of the output for an input of `shape` (b, y, x, c)."""
        return self.output_shape((shape[3], *shape[1:3]))[1:]

    def margins(self, shape):
        """((top, bottom), (left, right)) that the windows see around an input (b, y, x, c)."""
        sizes = zip(shape[1:3], self._positions(shape), self.kernel, self.stride, self.padding)
        return tuple((p, max(0, (number - 1) * s + k - p - n)) for n, number, k, s, p in sizes)

    def _taps(self, positions):
        """For each tap of the window, row by row: (dy, dx), and the units under it as slices."""
        for dy, dx in np.ndindex(self.kernel):
            yield (dy, dx), (tap_slice(dy, self.stride[0], positions[0]),
                             tap_slice(dx, self.stride[1], positions[1]))

    def _pooled(self, jacobian, positions, weights):
        """Eq. 5: ∂H[y, x]/∂x_i = Σ_{dy, dx} weight[dy, dx] · ∂h[s·y + dy, s·x + dx]/∂x_i.

        Pixel (wy, wx) in the window of the unit under tap (dy, dx) is pixel (wy + S·dy, wx + S·dx)
        of the new window, and is added there.

        Args:
            jacobian: ∂h/∂x, padded.
            positions: (Y, X) of the output.
            weights: for each tap, row by row, (y, x, b, c) or a number.
        """
        down, across = jacobian.stride
        units = [1 if jacobian.same_everywhere(axis) else positions[axis] for axis in (0, 1)]
        shape = np.broadcast_shapes(np.shape(weights[0]), (*units, *jacobian.shape[5:]))
        window = [n + s * (k - 1) for n, s, k in zip(jacobian.shape, jacobian.stride, self.kernel)]
        out = np.zeros((*window, jacobian.shape[2], *shape), jacobian.dtype)
        step = max(1, BLOCK // max(1, out[0, 0].nbytes))  # rows at a time
        part = np.empty((step, *out.shape[2:]), out.dtype)
        taps = [(down * dy, across * dx,
                 jacobian.units_under(dy, 0, self.stride[0], positions[0]),
                 jacobian.units_under(dx, 1, self.stride[1], positions[1]))
                for dy, dx in np.ndindex(self.kernel)]
        for wx, column in jacobian.columns():
            if column.shape[4] < shape[2]:  # long rows are multiplied faster than short ones
                column = np.repeat(column, shape[2], axis=4)
            for wy in range(0, len(column), step):
                rows = column[wy:wy + step]
                for (y, x, unit_rows, unit_columns), weight in zip(taps, weights):
                    product = part[:len(rows)]
                    np.multiply(rows[:, :, unit_rows, unit_columns], weight, out=product)
                    out[wy + y:wy + y + len(rows), wx + x] += product
        stride = tuple(old * own for old, own in zip(jacobian.stride, self.stride))
        return jacobian.with_values(out, stride=stride, units=positions)

    def __repr__(self):
        options = f", padding={self.padding}" if self.padding != (0, 0) else ""
        options += ", ceil_mode=True" if self.ceil_mode else ""
        return f"{type(self).__name__}({self.kernel}, stride={self.stride}{options})"


class MaxPool2d(_Pool2d):
    """PyTorch's `MaxPool2d(kernel_size, stride=kernel_size, padding=0, ceil_mode=False)`: what is
    padded is never the maximum."""

    def forward(self, x):
        """y = max over the window; `saved` = (shape of x, the winning tap of each window).

        Taps are numbered row by row, so the first maximum is the one with the lowest number.
        """
        kind = np.min_scalar_type(self.kernel[0] * self.kernel[1])
        best = winner = None
        seen = padded(x, self.margins(x.shape), -np.inf)
        for number, (_, (rows, columns)) in enumerate(self._taps(self._positions(x.shape))):
            here = np.ascontiguousarray(seen[:, rows, columns])
            if best is None:
                best, winner = here, np.zeros(here.shape, kind)
                continue
            better = here.real > best.real
            best = np.where(better, here, best) if x.dtype.kind == "c" else np.maximum(best, here)
            np.maximum(winner, np.multiply(better, number, dtype=kind), out=winner)
        return best, (x.shape, winner)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with weight 1 on the winner of each window, 0 on the others."""
        winner = np.moveaxis(saved[1], 0, 2)  # (y, x, b, c)
        dtype = jacobian.dtype.type(0).real.dtype
        won = [(winner == tap).astype(dtype) for tap in range(np.prod(self.kernel))]
        jacobian = padded_jacobian(jacobian, self.margins(saved[0]))
        return self._pooled(jacobian, winner.shape[:2], won)

    def backward(self, grad_y, saved):
        """∂/∂x: the gradient of each window goes to its winner."""
        shape, winner = saved
        positions, margins = winner.shape[1:3], self.margins(shape)
        lead = np.broadcast_shapes(grad_y.shape, winner.shape)[:-3]
        size = tuple(n + sum(around) for n, around in zip(shape[1:3], margins))
        covered = tuple(n * s for n, s in zip(positions, self.stride))
        one_window_each = self.stride == self.kernel and size == covered
        grad = (np.empty if one_window_each else np.zeros)((*lead, *size, shape[3]), grad_y.dtype)
        for number, (_, (rows, columns)) in enumerate(self._taps(positions)):
            if one_window_each:
                np.multiply(grad_y, winner == number, out=grad[..., rows, columns, :])
            else:
                grad[..., rows, columns, :] += grad_y * (winner == number)
        return unpadded(grad, margins)


class AvgPool2d(_Pool2d):
    """PyTorch's `AvgPool2d(kernel_size, stride=kernel_size, padding=0, ceil_mode=False)`.

    A sum is divided by the area of its window, padding included but not what sticks out of it;
    with count_include_pad=False by the number of units in the window; by `divisor_override`, where
    that is a number.
    """

    def __init__(self, kernel_size, stride=None, padding=0, *, ceil_mode=False,
                 count_include_pad=True, divisor_override=None):
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
        self.count_include_pad = bool(count_include_pad)
        self.divisor_override = divisor_override
        if divisor_override is not None:
            self.divisor_override = count(divisor_override, "divisor_override")

    def forward(self, x):
        """y = the mean of the window; `saved` = (shape of x, positions)."""
        positions = self._positions(x.shape)
        seen = padded(x, self.margins(x.shape))
        total = sum(seen[:, rows, columns] for _, (rows, columns) in self._taps(positions))
        return total * self._share(x.shape, x.dtype), (x.shape, positions)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with weight 1/area on every unit of the window."""
        share = self._share(saved[0], jacobian.dtype)
        share = share if share.ndim == 0 else share[:, :, None]  # (y, x, b, c)
        jacobian = padded_jacobian(jacobian, self.margins(saved[0]))
        return self._pooled(jacobian, saved[1], [share] * np.prod(self.kernel))

    def backward(self, grad_y, saved):
        """∂/∂x: every unit of a window gets its share of the gradient."""
        shape, positions = saved
        margins = self.margins(shape)
        size = (n + sum(around) for n, around in zip(shape[1:3], margins))
        grad = np.zeros((*grad_y.shape[:-3], *size, shape[3]), grad_y.dtype)
        share = grad_y * self._share(shape, grad_y.dtype)
        for _, (rows, columns) in self._taps(positions):
            grad[..., rows, columns, :] += share
        return unpadded(grad, margins)

    def _share(self, shape, dtype):
        """1 / the divisor of each window of an input of `shape`: (y, x, 1), or one number."""
        sizes = [_counted(n, number, k, s, p, self.count_include_pad) for n, number, k, s, p in zip(
            shape[1:3], self._positions(shape), self.kernel, self.stride, self.padding)]
        area = np.multiply.outer(*sizes)
        if self.divisor_override is not None:
            area = np.array(self.divisor_override)
        elif (area == area[0, 0]).all():
            area = area[0, 0]
        share = (1 / area).astype(np.finfo(dtype).dtype)
        return share[:, :, None] if share.ndim else share

    def __repr__(self):
        options = "" if self.count_include_pad else ", count_include_pad=False"
        if self.divisor_override is not None:
            options += f", divisor_override={self.divisor_override}"
        return f"{super().__repr__()[:-1]}{options})"


def _counted(size, positions, kernel, stride, padding, with_padding):
    """How many rows (columns) of each window count: those in the input, or in the padding too."""
    start = stride * np.arange(positions) - padding
    first, end = (-padding, size + padding) if with_padding else (0, size)
    return np.minimum(start + kernel, end) - np.maximum(start, first)


class AdaptiveAvgPool2d(Layer):
    """PyTorch's `AdaptiveAvgPool2d(output_size)`: the mean over Y'·X' parts of the image, each as
    nearly as large as the others. `output_size` is a whole number, or two for rows and columns;
    None is the input's. 1 is the mean over all positions."""

    def __init__(self, output_size=1):
        super().__init__()
        sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2
        whole = [isinstance(size, (int, np.integer)) and size > 0 for size in sizes]
        if len(sizes) != 2 or not all(size is None or good for size, good in zip(sizes, whole)):
            raise ValueError("output_size must be a whole number of at least 1 or None, or two; "
                             f"got {output_size!r}")
        self.output_size = tuple(sizes)

    def output_shape(self, shape):
        """(c, y, x) → (c, y', x')."""
        return (shape[0], *(own or size for own, size in zip(self.output_size, shape[1:])))

    def _parts(self, rows, columns):
        """For each unit of the output: ((y, x), its rows, its columns)."""
        size = self.output_shape((0, rows, columns))[1:]
        first, end = ([[-(-n * whole // parts) if up else n * whole // parts
                        for n in range(up, parts + up)]
                       for whole, parts in zip((rows, columns), size)] for up in (0, 1))
        for y, x in np.ndindex(size):
            yield (y, x), slice(first[0][y], end[0][y]), slice(first[1][x], end[1][x])

    def forward(self, x):
        """y = the mean over each part; `saved` = (Y, X)."""
        size = self.output_shape((x.shape[3], *x.shape[1:3]))[1:]
        y = np.empty((len(x), *size, x.shape[3]), x.dtype)
        for (row, column), rows, columns in self._parts(*x.shape[1:3]):
            y[:, row, column] = x[:, rows, columns].mean(axis=(1, 2))
        return y, x.shape[1:3]

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with weight 1/area on every unit of a part: ∂H/∂x_i = 1/area · Σ ∂h[y, x]/∂x_i.

        The windows of all units, each at its place, in one window that holds them all.
        """
        values, (sy, sx), (rows, columns) = jacobian.values, jacobian.stride, saved
        height, width, channels = values.shape[:3]
        values = np.broadcast_to(values, (*values.shape[:3], rows, columns, *values.shape[5:]))
        window = (height + sy * (rows - 1), width + sx * (columns - 1))
        size = self.output_shape((channels, *saved))[1:]
        total = np.zeros((*window, channels, *size, *values.shape[5:]), values.dtype)
        for (row, column), own_rows, own_columns in self._parts(*saved):
            for y, x in itertools.product(_numbers(own_rows), _numbers(own_columns)):
                place = (slice(sy * y, sy * y + height), slice(sx * x, sx * x + width))
                total[(*place, slice(None), row, column)] += values[:, :, :, y, x]
            total[:, :, :, row, column] *= _share(own_rows, own_columns, values)
        return jacobian.with_values(total, stride=(0, 0), units=size)

    def backward(self, grad_y, saved):
        """∂/∂x: every unit of a part gets its share of the gradient."""
        grad = np.zeros((*grad_y.shape[:-3], *saved, grad_y.shape[-1]), grad_y.dtype)
        for (row, column), rows, columns in self._parts(*saved):
            share = grad_y[..., row, column, :] * _share(rows, columns, grad_y)
            grad[..., rows, columns, :] += share[..., None, None, :]
        return grad

    def __repr__(self):
        size = self.output_size
        return f"AdaptiveAvgPool2d({size[0] if size[0] == size[1] else size})"


def _numbers(places):
    return range(places.start, places.stop)


def _share(rows, columns, x):
    """1 / the number of units in a part, in the precision of x."""
    return x.real.dtype.type(1 / (len(_numbers(rows)) * len(_numbers(columns))))
