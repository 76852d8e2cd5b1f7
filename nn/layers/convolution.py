"""Convolution: value, forward derivative (Eq. 5 with the weights of a kernel), backward step.

A tap (dy, dx) is one place of the kernel. In and out: (b, y, x, c), channels last; the Jacobian's
windows grow by (kernel − 1) · stride so far. `fast` gathers the numbers of these sums;
`nn.textbook` has the kernel written out as the matrix W. Read on in `layers.fast`.
"""
import numpy as np

from nn.layers.base import Layer, count, like, pair, tap_slice, uniform
from nn.layers.fast import SeenThrough, patches, strips
from nn.layers.jacobian import ByColumn, taps_inside


class Conv2d(Layer):
    """PyTorch's `Conv2d`: `weight` (out, in, kernel y, kernel x), `bias` (out,), zero padding.

    No dilation or groups. Started as PyTorch starts it, uniform in ±1/√(inputs of a unit).

    Args:
        in_channels, out_channels: whole numbers of at least 1.
        kernel_size, stride, padding: one whole number, or two for rows and columns.
        bias: False for none.
        connections: (out, in), booleans: which output channel sees which input channel, as in
            LeNet-5's C3; the other weights count as 0, whatever they hold. None: all see all.
        rng: the `numpy.random.Generator` that draws the start; by default seed 0.

    Raises:
        ValueError: an argument out of range, in one line that names it.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, *, bias=True,
                 connections=None, rng=None):
        super().__init__()
        self.kernel = pair(kernel_size, "kernel_size", 1)
        self.stride = pair(stride, "stride", 1)
        self.padding = pair(padding, "padding", 0)
        rng = np.random.default_rng(0) if rng is None else rng
        channels = (count(out_channels, "out_channels"), count(in_channels, "in_channels"))
        fan_in = in_channels * self.kernel[0] * self.kernel[1]
        self.parameters["weight"] = uniform(rng, (*channels, *self.kernel), fan_in)
        if bias:
            self.parameters["bias"] = uniform(rng, (out_channels,), fan_in)
        self.connections = None if connections is None else np.array(connections)
        if self.connections is not None:
            if self.connections.dtype != bool or self.connections.shape != channels:
                raise ValueError(f"connections must be booleans of the shape {channels}; "
                                 f"got {self.connections.dtype} {self.connections.shape}")
            self.parameters["weight"] *= self.connections[:, :, None, None]

    def output_shape(self, shape):
        """(c, y, x) → (out, y', x'), y' = ⌊(y + 2·padding − kernel) / stride⌋ + 1."""
        channels = self.parameters["weight"].shape[1]
        if shape[0] != channels:
            raise ValueError(f"{self} takes {channels} channels; its input has {shape[0]}")
        padded = [n + 2 * p for n, p in zip(shape[1:], self.padding)]
        if any(n < k for n, k in zip(padded, self.kernel)):
            raise ValueError(f"{self} does not fit into an input of {shape[1]}×{shape[2]}")
        size = [(n - k) // s + 1 for n, k, s in zip(padded, self.kernel, self.stride)]
        return (self.parameters["weight"].shape[0], *size)

    def forward(self, x):
        """z[b, y, x, o] = Σ_{dy, dx, c} W[o, c, dy, dx] · x[b, s·y + dy, s·x + dx, c] + bias[o]."""
        rows, columns = self._positions(x.shape)
        weight = self._weight(x)
        under_kernel = patches(self._pad(x, 1), self.kernel, self.stride)  # (b·y·x, ky·kx·c)
        z = under_kernel @ weight.reshape(-1, weight.shape[3])  # (b·y·x, o)
        if "bias" in self.parameters:  # added to a whole row of positions at once: that is faster
            z = z.reshape(len(x) * rows, columns * weight.shape[3])
            z += np.tile(like(self.parameters["bias"], x), columns)
        return z.reshape(len(x), rows, columns, weight.shape[3]), (x.shape, under_kernel)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 without f': ∂z[y, x]/∂x_i = Σ_{dy, dx} W[dy, dx] · ∂H[s·y + dy, s·x + dx]/∂x_i.

        With S the stride so far, the pixel at (wy, wx) in the window of unit (y, x) stands at
        (wy − S·dy, wx − S·dx) in the window of the input unit under tap (dy, dx). The taps for
        which that is inside (`taps_inside`) see the pixel, and only they are summed.
        """
        padded = self._padded(jacobian)
        units, windows = self._positions(saved[0]), padded.values
        taps = [taps_inside(*sizes) for sizes in zip(self.kernel, windows.shape, padded.stride)]
        weight = self._weight(windows)  # (ky, kx, c, o)
        # the Y and X of the new values: 1 as long as all units see the same
        positions = [1 if padded.same_everywhere(axis) else units[axis] for axis in (0, 1)]
        shape = (len(taps[0]), len(taps[1]), windows.shape[2], *positions, windows.shape[5],
                 weight.shape[3])
        seen_through = SeenThrough(padded, taps, weight, self.stride, positions)

        def write(wx, out):
            """Column wx of the new windows."""
            if not seen_through.sees_all:
                out[:] = 0
            for pixel, seen, weights in seen_through.column(wx):
                np.matmul(seen, weights, out=out[pixel].reshape(len(seen), -1))

        stride = tuple(old * own for old, own in zip(padded.stride, self.stride))
        return ByColumn(write, shape, windows.dtype, stride, padded.start, units, padded.image)

    def backward(self, grad_y, saved):
        """∂/∂x[s·y + dy, s·x + dx] += Wᵀ[dy, dx] · ∂/∂z[y, x] over all taps (dy, dx)."""
        height, width, channels = saved[0][1:]
        py, px = self.padding
        rows = grad_y.shape[-3]
        grad = np.zeros((*grad_y.shape[:-3], height + 2 * py, width + 2 * px, channels),
                        grad_y.dtype)
        for dy, columns, part in strips(grad_y, self._weight(grad_y), self.stride[1]):
            grad[..., tap_slice(dy, self.stride[0], rows), columns, :] += part
        return grad[..., py:py + height, px:px + width, :]

    def gradients(self, grad_y, saved):
        """∂/∂W = Σ_{b, y, x} patch ⊗ ∂/∂z and ∂/∂bias = Σ_{b, y, x} ∂/∂z."""
        shape, under_kernel = saved
        out, channels = self.parameters["weight"].shape[:2]
        grad = grad_y.reshape(-1, out)
        kernel = (under_kernel.T @ grad).reshape(*self.kernel, channels, out)
        gradients = {"weight": kernel.transpose(3, 2, 0, 1)}  # (o, c, ky, kx)
        if self.connections is not None:
            gradients["weight"] = gradients["weight"] * self.connections[:, :, None, None]
        if "bias" in self.parameters:
            rows_of_positions = grad.reshape(-1, self._positions(shape)[1], out)
            gradients["bias"] = rows_of_positions.sum(axis=0).sum(axis=0)
        return gradients

    def _weight(self, x):
        """The kernel in the precision of `x`, channels last: (ky, kx, c, o)."""
        weight = like(self.parameters["weight"], x)
        if self.connections is not None:
            weight = weight * self.connections[:, :, None, None]
        return weight.transpose(2, 3, 1, 0)

    def _positions(self, shape):
        """(Y, X) of the output for an input of `shape` (b, y, x, c)."""
        return self.output_shape((shape[3], *shape[1:3]))[1:]

    def _pad(self, x, axis):
        """Zeros around the rows (`axis`) and columns (the next axis) of `x`."""
        if self.padding == (0, 0):
            return x
        widths = [(0, 0)] * x.ndim
        widths[axis], widths[axis + 1] = ((n, n) for n in self.padding)
        return np.pad(x, widths)

    def _padded(self, jacobian):
        """The Jacobian of the padded input: around the units stand others with derivatives 0.

        The image itself needs none: what is padded around it lies outside all windows.
        """
        if self.padding == (0, 0):
            return jacobian
        start = tuple(o - s * p for o, s, p in zip(jacobian.start, jacobian.stride, self.padding))
        units = tuple(n + 2 * p for n, p in zip(jacobian.units, self.padding))
        values = jacobian.values
        if not jacobian.is_identity:
            values = np.broadcast_to(
                values, (*values.shape[:3], *jacobian.units, *values.shape[5:]))
            values = self._pad(values, 3)
        return jacobian.with_values(values, start=start, units=units)

    def __repr__(self):
        out, channels = self.parameters["weight"].shape[:2]
        sparse = ""
        if self.connections is not None:
            sparse = f", connections={np.packbits(self.connections).tobytes().hex()}"
        return (f"Conv2d({channels}, {out}, {self.kernel}, stride={self.stride}, "
                f"padding={self.padding}{sparse})")
