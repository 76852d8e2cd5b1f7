"""Convolution: value, forward derivative (Eq. 5 with the shared weights of a kernel) and backward step.

In and out: (b, y, x, c), channels last; the Jacobian's windows grow by (kernel − 1) · stride so far. Read on in `layers.pooling`.
"""
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nn.layers.base import Layer, count, like, pair, product, uniform
from nn.layers.jacobian import Jacobian, taps_inside

DEEP, WIDE = 160, 64  # rows and columns of the matrices in the backward step that are multiplied fast


class Conv2d(Layer):
    """PyTorch's `Conv2d`: `weight` (out, in, kernel y, kernel x), `bias` (out,), zero padding, no dilation or groups.

    Started as PyTorch starts it, uniform in ±1/√(inputs of a unit), from `rng` (a `numpy.random.Generator`, default
    seed 0). `connections` (out, in), booleans: which output channel sees which input channel, as in LeNet-5's C3; the
    other weights count as 0, whatever they hold. None: every one sees every one.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, *, bias=True, connections=None,
                 rng=None):
        super().__init__()
        self.kernel, self.stride = pair(kernel_size, "kernel_size", 1), pair(stride, "stride", 1)
        self.padding = pair(padding, "padding", 0)
        rng = np.random.default_rng(0) if rng is None else rng
        shape = (count(out_channels, "out_channels"), count(in_channels, "in_channels"), *self.kernel)
        fan_in = in_channels * self.kernel[0] * self.kernel[1]
        self.parameters["weight"] = uniform(rng, shape, fan_in)
        if bias:
            self.parameters["bias"] = uniform(rng, (out_channels,), fan_in)
        self.connections = None if connections is None else np.array(connections)
        if self.connections is not None:
            if self.connections.dtype != bool or self.connections.shape != shape[:2]:
                raise ValueError(f"connections must be booleans of the shape {shape[:2]}; "
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
        patches, (rows, columns) = self._patches(x), self._positions(x.shape)
        z = patches @ self._matrix(x)
        if "bias" in self.parameters:  # to a whole row of positions at once: NumPy adds long rows fast
            z = z.reshape(len(x) * rows, columns * z.shape[1])
            z += np.tile(like(self.parameters["bias"], x), columns)
        return z.reshape(len(x), rows, columns, len(self.parameters["weight"])), (x.shape, patches)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 without f': ∂z[y]/∂x_i = Σ_dy W[dy] · ∂H[s·y + dy]/∂x_i, and the same along x.

        Pixel wy of the new window is pixel wy − S·dy of the window of the input unit under tap dy; only the taps for
        which that lies inside the old window contribute. See `_rows_of_windows` for how they are brought together.
        """
        values, padded = self._padded(jacobian)
        window, old, positions = values.shape[:2], jacobian.stride, self._positions(saved[0])
        spread = values.shape[3:5] == (1, 1) and not padded
        kernel = np.ascontiguousarray(self._weight(values).transpose(2, 3, 1, 0)[::-1])
        reach = taps_inside(self.kernel[1], window[1], old[1])
        out = np.zeros((window[0] + (self.kernel[0] - 1) * old[0], len(reach), values.shape[2],
                        *((1, 1) if spread else positions), values.shape[5], kernel.shape[-1]), values.dtype)
        for wx, taps in enumerate(reach):
            under = [(wx - old[1] * dx, slice(None) if spread else self._under(dx, 1, positions[1])) for dx in taps]
            for image, phase in np.ndindex(values.shape[2], min(old[0], window[0])):
                if under:
                    self._rows_of_windows(values[phase::old[0], :, image], under, kernel[:, taps.start:taps.stop],
                                          out[phase::old[0], wx, image], spread)
        start = tuple(o - s * p for o, s, p in zip(jacobian.start, old, self.padding))
        stride = tuple(s * t for s, t in zip(old, self.stride))
        return Jacobian(out, stride, start, positions, jacobian.image)

    def _rows_of_windows(self, values, under, kernel, out, spread):
        """Fill out[u] (y, x, b, o), row u of the new windows, from values[k, wx] (y, x, b, c), rows k of the old ones.

        Unit y sees through tap dy the row k = u − dy of the input unit s·y + dy: k and that unit's row add up to
        s·y + u, whatever dy is. So side[t] holds, side by side for all k, row k of unit t − k (gathered once), and a
        block of rows of `side` times the taps u − k is out[u]. `kernel` has its taps dy in falling order.
        """
        rows, taps, step = values.shape[2], len(kernel), 0 if spread else 1
        first = values[0, under[0][0], :, under[0][1]]
        side = np.empty((rows + step * (len(values) - 1), *first.shape[1:3], len(values), len(under), first.shape[3]),
                        values.dtype)
        for k, old in enumerate(values):
            for n, (wx, columns) in enumerate(under):
                side[step * k:step * k + rows, :, :, k, n] = old[wx, :, columns]
        width = len(under) * first.shape[3]
        for u, new in enumerate(out):
            k0, k1 = max(0, u - taps + 1), min(len(values), u + 1)
            rows = slice(step * u, step * u + self.stride[0] * (len(new) - 1) + 1, self.stride[0])
            seen = side[rows].reshape(-1, len(values) * width)[:, k0 * width:k1 * width]
            weights = kernel[k0 + taps - 1 - u:k1 + taps - 1 - u].reshape(-1, new.shape[-1])
            np.matmul(seen, weights, out=new.reshape(-1, new.shape[-1]))

    def backward(self, grad_y, saved):
        """∂/∂x[s·y + dy] += Wᵀ[dy] · ∂/∂z[y] over all taps (dy, dx), by `_strip`s."""
        height, width, channels = saved[0][1:]
        rows, columns = self._positions(saved[0])
        (py, px), lead = self.padding, grad_y.shape[:-3]
        strip = self._strip(grad_y, columns)
        taps, wide, _, across, out = strip.shape
        grad = np.zeros((*lead, height + 2 * py, width + 2 * px, channels), grad_y.dtype)
        grad_y = grad_y.reshape(*lead, rows, columns // across, across * out)
        together = max(1, WIDE // (wide * channels))
        for first in range(0, taps, together):
            some = strip[first:first + together]
            parts = product(grad_y, some.reshape(-1, across * out).T)
            parts = parts.reshape(*lead, rows, columns // across, len(some), wide, channels)
            for dy in range(len(some)):
                under = grad[..., self._under(first + dy, 0, rows), :, :]
                for n in range(columns // across):
                    left = n * across * self.stride[1]
                    under[..., left:left + wide, :] += parts[..., n, dy, :, :]
        return grad[..., py:py + height, px:px + width, :]

    def gradients(self, grad_y, saved):
        """∂/∂W = Σ_{b, y, x} patch ⊗ ∂/∂z and ∂/∂bias = Σ_{b, y, x} ∂/∂z."""
        patches, weight = saved[1], self.parameters["weight"]
        grad = grad_y.reshape(-1, weight.shape[0])
        kernel = patches.T @ grad
        found = {"weight": kernel.reshape(*self.kernel, weight.shape[1], -1).transpose(3, 2, 0, 1)}
        if self.connections is not None:
            found["weight"] = found["weight"] * self.connections[:, :, None, None]
        if "bias" in self.parameters:
            columns = self._positions(saved[0])[1]
            found["bias"] = grad.reshape(-1, columns, len(weight)).sum(axis=0).sum(axis=0)
        return found

    def _patches(self, x):
        """(b·y·x, ky·kx·c): the input under the kernel at every position; in memory, the longer runs stand together."""
        windows = sliding_window_view(self._pad(x, 1), self.kernel, axis=(1, 2))
        windows = windows[:, ::self.stride[0], ::self.stride[1]].transpose(0, 1, 2, 4, 5, 3)
        rows, taps = (int(np.prod(part)) for part in (windows.shape[:3], windows.shape[3:]))
        if windows.shape[2] > windows.shape[4] * windows.shape[5]:
            return windows.transpose(3, 4, 5, 0, 1, 2).reshape(taps, rows).T
        return windows.reshape(rows, taps)

    def _matrix(self, x):
        weight = self._weight(x)
        return weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])

    def _weight(self, x):
        weight = like(self.parameters["weight"], x)
        return weight if self.connections is None else weight * self.connections[:, :, None, None]

    def _strip(self, x, columns):
        """The kernel under several neighbouring columns at once: (ky, columns of the input, c, columns, o).

        A few channels make matrices too small to be multiplied fast; the zeros between are cheaper.
        """
        weight = self._weight(x).transpose(2, 3, 1, 0)
        taps, channels, out = weight.shape[1:]
        across = max(n for n in range(1, columns + 1) if columns % n == 0 and n * out <= max(DEEP, out))
        strip = np.zeros((len(weight), (across - 1) * self.stride[1] + taps, channels, across, out), x.dtype)
        for n in range(across):
            strip[:, n * self.stride[1]:n * self.stride[1] + taps, :, n] = weight
        return strip

    def _pad(self, x, axis):
        if self.padding == (0, 0):
            return x
        widths = [(0, 0)] * x.ndim
        widths[axis], widths[axis + 1] = (self.padding[0],) * 2, (self.padding[1],) * 2
        return np.pad(x, widths)

    def _padded(self, jacobian):
        """The windows with zeros for the padding; those of the image itself need none: they lie outside it."""
        values = jacobian.values
        if self.padding == (0, 0) or jacobian.is_identity:
            return values, False
        full = np.broadcast_to(values, (*values.shape[:3], *jacobian.units, *values.shape[5:]))
        return self._pad(full, 3), True

    def _positions(self, shape):
        return self.output_shape((shape[3], *shape[1:3]))[1:]

    def _under(self, tap, axis, count):
        return slice(tap, tap + self.stride[axis] * (count - 1) + 1, self.stride[axis])

    def __repr__(self):
        out, into = self.parameters["weight"].shape[:2]
        sparse = "" if self.connections is None else f", connections={np.packbits(self.connections).tobytes().hex()}"
        return f"Conv2d({into}, {out}, {self.kernel}, stride={self.stride}, padding={self.padding}{sparse})"

