"""Max and average pooling: value, forward derivative and backward step. No padding; what does not fill a window is left.

Ties: the first maximum in row-major order wins (PyTorch's rule on the CPU), in the value, the forward derivative and
the backward step alike; complex input is compared by its real part. In and out: (b, y, x, c). Read on in `activation`.
"""
import numpy as np

from nn.jacobian import Jacobian
from nn.layer import Layer, pair


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

    def _grown(self, jacobian):
        """Window, stride of the pooled Jacobian: window + (kernel − 1)·S, S·stride."""
        window = tuple(w + (k - 1) * s for w, k, s in zip(jacobian.values.shape, self.kernel, jacobian.stride))
        return window, tuple(s * t for s, t in zip(jacobian.stride, self.stride))

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
            here = x[:, ys, xs]
            if best is None:
                best, winner = here, np.zeros(here.shape, kind)
                continue
            better = here.real > best.real
            best = np.where(better, here, best) if x.dtype.kind == "c" else np.maximum(best, here)
            np.maximum(winner, np.multiply(better, number, dtype=kind), out=winner)
        return best, (x.shape, winner)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with weight 1 on the winner: its window, shifted by where it stands in the pooling window."""
        winner, values = saved[1], jacobian.values
        window, stride = self._grown(jacobian)
        out = np.empty((*window, values.shape[2], *winner.shape), values.dtype)
        inside = self._inside(window, values.shape, jacobian.stride)
        everywhere, nowhere = inside.all(axis=-1), ~inside.any(axis=-1)
        place, flat, pixel = self._winner_index(jacobian, winner), values.reshape(-1), values[0, 0].size
        least = place.min()
        place -= least
        for wy, wx in np.ndindex(window):
            start = (wy * values.shape[1] + wx) * pixel + least
            if nowhere[wy, wx]:
                out[wy, wx] = 0
            elif everywhere[wy, wx]:
                np.take(flat[start:], place, mode="clip", out=out[wy, wx])
            else:
                np.take(flat, place + start, mode="clip", out=out[wy, wx])
                out[wy, wx] *= inside[wy, wx][winner]
        return Jacobian(out, stride, jacobian.start, winner.shape[1:3], jacobian.image)

    def backward(self, grad_y, saved):
        """The gradient goes to the winner of each window."""
        shape, winner = saved
        lead = np.broadcast_shapes(grad_y.shape, winner.shape)[:-3]
        grad = np.zeros((*lead, *shape[1:]), grad_y.dtype)
        for number, (_, (ys, xs)) in enumerate(self._taps(winner.shape[1:3])):
            grad[..., ys, xs, :] += grad_y * (winner == number)
        return grad

    def _inside(self, window, old, stride):
        """inside[wy, wx, tap]: does pixel (wy, wx) of the new window lie in the old window of the unit under the tap?"""
        rows, columns = ((0 <= offset) & (offset < size) for offset, size in (
            (np.arange(w)[:, None] - s * np.arange(k), size) for w, s, k, size in zip(window, stride, self.kernel, old)))
        return (rows[:, None, :, None] & columns[None, :, None, :]).reshape(*window, -1)

    def _winner_index(self, jacobian, winner):
        """Where window pixel (0, 0) of each pooled unit stands in the flat windows of the layer before (i, b, y, x, c)."""
        values = jacobian.values
        channels, samples, rows, columns, maps = values.shape[2:]
        batch, height, width, _ = winner.shape
        dy, dx = np.divmod(winner.astype(np.intp), self.kernel[1])
        y = self.stride[0] * np.arange(height)[:, None, None] + dy if rows > 1 else 0
        x = self.stride[1] * np.arange(width)[:, None] + dx if columns > 1 else 0
        b = np.arange(batch)[:, None, None, None] if samples > 1 else 0
        unit = ((b * rows + y) * columns + x) * maps + np.arange(maps)
        back = (jacobian.stride[0] * dy * values.shape[1] + jacobian.stride[1] * dx) * values[0, 0].size
        image = np.arange(channels)[:, None, None, None, None] * (samples * rows * columns * maps)
        return image + (unit - back)


class AvgPool2d(_Pool2d):
    """PyTorch's `AvgPool2d(kernel_size, stride=kernel_size)`."""

    def forward(self, x):
        """y = the mean of the window; `saved` = (shape of x, positions)."""
        positions = self.output_shape((x.shape[3], *x.shape[1:3]))[1:]
        total = sum(x[:, ys, xs] for _, (ys, xs) in self._taps(positions))
        return total * self._share(x), (x.shape, positions)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with weight 1/area on every unit of the window."""
        positions, values = saved[1], jacobian.values
        window, stride = self._grown(jacobian)
        spread = values.shape[4:6] == (1, 1)
        out = np.zeros((*window, *values.shape[2:4], *((1, 1) if spread else positions), values.shape[-1]),
                       values.dtype)
        for (dy, dx), (ys, xs) in self._taps(positions):
            wy, wx = dy * jacobian.stride[0], dx * jacobian.stride[1]
            part = values if spread else values[..., ys, xs, :]
            out[wy:wy + values.shape[0], wx:wx + values.shape[1]] += part * self._share(values)
        return Jacobian(out, stride, jacobian.start, positions, jacobian.image)

    def backward(self, grad_y, saved):
        """Every unit of a window gets its share of the gradient."""
        shape, positions = saved
        grad = np.zeros((*grad_y.shape[:-3], *shape[1:]), grad_y.dtype)
        for _, (ys, xs) in self._taps(positions):
            grad[..., ys, xs, :] += grad_y * self._share(grad_y)
        return grad

    def _share(self, x):
        return x.real.dtype.type(1 / (self.kernel[0] * self.kernel[1]))

