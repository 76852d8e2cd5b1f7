"""Max, average and global average pooling: value, forward derivative, backward step. No padding; what does not fill a
window is left.

Ties: the first maximum in row-major order wins (PyTorch's rule on the CPU), in the value, the forward derivative and
the backward step alike; complex input is compared by its real part. In and out: (b, y, x, c). Read on in `layers.activation`.
"""
import numpy as np

from nn.layers.base import Layer, pair
from nn.layers.jacobian import Jacobian, taps_inside


class _Pool2d(Layer):
    def __init__(self, kernel_size, stride=None):
        super().__init__()
        self.kernel = pair(kernel_size, "kernel_size", 1)
        self.stride = self.kernel if stride is None else pair(stride, "stride", 1)

    def output_shape(self, shape):
        """(c, y, x) → (c, y', x'), y' = ⌊(y − kernel) / stride⌋ + 1."""
        if any(n < k for n, k in zip(shape[1:], self.kernel)):
            raise ValueError(f"{self} does not fit into an input of {shape[1]}×{shape[2]}")
        return (shape[0], *((n - k) // s + 1 for n, k, s in zip(shape[1:], self.kernel, self.stride)))

    def _taps(self, positions):
        """For each tap of the window, row by row: its (dy, dx) and where it reads the input at all positions."""
        for dy, dx in np.ndindex(self.kernel):
            yield (dy, dx), tuple(slice(d, d + s * (n - 1) + 1, s)
                                  for d, s, n in zip((dy, dx), self.stride, positions))

    def _pooled(self, jacobian, positions, shares):
        """Eq. 5 with `shares[tap]` (y, x, b, c) or a number as the weights of the units in a pooling window.

        Pixel wy of the new window is pixel wy − S·dy of the window of the unit under tap dy.
        """
        values, old = jacobian.values, jacobian.stride
        spread = values.shape[3:5] == (1, 1)
        reach = [taps_inside(*sizes) for sizes in zip(self.kernel, values.shape, old)]
        shape = np.broadcast_shapes(np.shape(shares[0]), (*((1, 1) if spread else positions), *values.shape[5:]))
        if values.shape[5] < shape[2]:  # long rows in memory are multiplied faster than short ones repeated
            values = np.repeat(values, shape[2], axis=5)
        out = np.zeros((len(reach[0]), len(reach[1]), values.shape[2], *shape), values.dtype)
        part = np.empty_like(out[0, 0])
        under = dict(self._taps(positions))
        for wy, wx in np.ndindex(out.shape[:2]):
            for n, (dy, dx) in enumerate((dy, dx) for dy in reach[0][wy] for dx in reach[1][wx]):
                ys, xs = (slice(None),) * 2 if spread else under[dy, dx]
                seen = values[wy - old[0] * dy, wx - old[1] * dx, :, ys, xs]
                np.multiply(seen, shares[dy * self.kernel[1] + dx], out=part if n else out[wy, wx])
                if n:
                    out[wy, wx] += part
        stride = tuple(s * t for s, t in zip(old, self.stride))
        return Jacobian(out, stride, jacobian.start, positions, jacobian.image)

    def __repr__(self):
        return f"{type(self).__name__}({self.kernel}, stride={self.stride})"


class MaxPool2d(_Pool2d):
    """PyTorch's `MaxPool2d(kernel_size, stride=kernel_size)`."""

    def forward(self, x):
        """y = max over the window; `saved` = (shape of x, the winner's number in each window, row by row)."""
        positions = self.output_shape((x.shape[3], *x.shape[1:3]))[1:]
        kind = np.min_scalar_type(self.kernel[0] * self.kernel[1])
        best = winner = None
        for number, (_, (ys, xs)) in enumerate(self._taps(positions)):
            here = np.ascontiguousarray(x[:, ys, xs])
            if best is None:
                best, winner = here, np.zeros(here.shape, kind)
                continue
            better = here.real > best.real
            best = np.where(better, here, best) if x.dtype.kind == "c" else np.maximum(best, here)
            np.maximum(winner, np.multiply(better, number, dtype=kind), out=winner)
        return best, (x.shape, winner)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with weight 1 on the winner of each window, 0 on the others."""
        winner = np.moveaxis(saved[1], 0, 2)
        won = [(winner == number).astype(jacobian.values.real.dtype) for number in range(np.prod(self.kernel))]
        return self._pooled(jacobian, winner.shape[:2], won)

    def backward(self, grad_y, saved):
        """The gradient goes to the winner of each window."""
        shape, winner = saved
        lead = np.broadcast_shapes(grad_y.shape, winner.shape)[:-3]
        apart = self.stride == self.kernel and shape[1:3] == tuple(
            n * s for n, s in zip(winner.shape[1:3], self.stride))  # every unit in exactly one window
        grad = (np.empty if apart else np.zeros)((*lead, *shape[1:]), grad_y.dtype)
        for number, (_, (ys, xs)) in enumerate(self._taps(winner.shape[1:3])):
            if apart:
                np.multiply(grad_y, winner == number, out=grad[..., ys, xs, :])
            else:
                grad[..., ys, xs, :] += grad_y * (winner == number)
        return grad


class AvgPool2d(_Pool2d):
    """PyTorch's `AvgPool2d(kernel_size, stride=kernel_size)`."""

    def forward(self, x):
        """y = the mean of the window; `saved` = (shape of x, positions)."""
        positions = self.output_shape((x.shape[3], *x.shape[1:3]))[1:]
        total = sum(x[:, ys, xs] for _, (ys, xs) in self._taps(positions))
        return total * self._share(x), (x.shape, positions)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with weight 1/area on every unit of the window."""
        return self._pooled(jacobian, saved[1], [self._share(jacobian.values)] * np.prod(self.kernel))

    def backward(self, grad_y, saved):
        """Every unit of a window gets its share of the gradient."""
        shape, positions = saved
        grad = np.zeros((*grad_y.shape[:-3], *shape[1:]), grad_y.dtype)
        for _, (ys, xs) in self._taps(positions):
            grad[..., ys, xs, :] += grad_y * self._share(grad_y)
        return grad

    def _share(self, x):
        return x.real.dtype.type(1 / (self.kernel[0] * self.kernel[1]))


class AdaptiveAvgPool2d(Layer):
    """PyTorch's `AdaptiveAvgPool2d(1)`: the mean of each channel over all positions, whatever the size of the input."""

    def __init__(self, output_size=1):
        super().__init__()
        if pair(output_size, "output_size", 1) != (1, 1):
            raise ValueError(f"output_size must be 1, the mean over all positions; got {output_size!r}")

    def output_shape(self, shape):
        """(c, y, x) → (c, 1, 1)."""
        return (shape[0], 1, 1)

    def forward(self, x):
        """y = the mean over all positions; `saved` = (Y, X)."""
        return x.mean(axis=(1, 2), keepdims=True), x.shape[1:3]

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with weight 1/(Y·X) on every unit: their windows, each at its place, in one that holds them all."""
        values, (sy, sx), (rows, columns) = jacobian.values, jacobian.stride, saved
        height, width = values.shape[:2]
        values = np.broadcast_to(values, (*values.shape[:3], rows, columns, *values.shape[5:]))
        total = np.zeros((height + sy * (rows - 1), width + sx * (columns - 1), values.shape[2], 1, 1,
                          *values.shape[5:]), values.dtype)
        for y, x in np.ndindex(rows, columns):
            total[sy * y:sy * y + height, sx * x:sx * x + width, :, 0, 0] += values[:, :, :, y, x]
        total *= values.real.dtype.type(1 / (rows * columns))
        return Jacobian(total, jacobian.stride, jacobian.start, (1, 1), jacobian.image)

    def backward(self, grad_y, saved):
        """Every unit gets its share of the gradient."""
        share = grad_y * grad_y.real.dtype.type(1 / (saved[0] * saved[1]))
        return np.broadcast_to(share, (*share.shape[:-3], *saved, share.shape[-1]))

    def __repr__(self):
        return "AdaptiveAvgPool2d(1)"
