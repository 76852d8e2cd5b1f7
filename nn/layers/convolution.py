"""Convolution: value, forward derivative (Eq. 5 with the weights of a kernel), backward step.

A tap (dy, dx) is one place of the kernel. In and out: (b, y, x, c), channels last; the Jacobian's
windows grow by (kernel − 1) · stride so far. `fast` gathers the numbers of these sums;
`nn.textbook` has the kernel written out as the matrix W. Read on in `layers.fast`.
"""
import numpy as np

from nn.layers.base import Layer, count, like, pair, tap_slice, uniform
from nn.layers.fast import SeenThrough, patches, strips, taps_inside
from nn.layers.jacobian import ByColumn
from nn.layers.padding import padded, padded_jacobian, unpadded


class Conv2d(Layer):
    """PyTorch's `Conv2d`: `weight` (out, in / groups, kernel y, kernel x), `bias` (out,), zero
    padding. Started as PyTorch starts it, uniform in ±1/√(inputs of a unit).

    Args:
        in_channels, out_channels: whole numbers of at least 1.
        kernel_size, stride, dilation: one whole number, or two for rows and columns.
        padding: the same, or "valid" (none), or "same": as many rows and columns as the output
            needs to be as large as the input, of an odd number one more at the bottom and right.
        groups: input and output channels in so many groups; each sees only its own.
        bias: False for none.
        connections: (out, in), booleans: which output channel sees which input channel, as in
            LeNet-5's C3; the other weights count as 0, whatever they hold. None: all see all.
        rng: the `numpy.random.Generator` that draws the start; by default seed 0.

    Raises:
        ValueError: an argument out of range, in one line that names it.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1,
                 groups=1, *, bias=True, connections=None, rng=None):
        super().__init__()
        self.kernel = pair(kernel_size, "kernel_size", 1)
        self.stride = pair(stride, "stride", 1)
        self.dilation = pair(dilation, "dilation", 1)
        self.groups = count(groups, "groups")
        # rows and columns from the first to the last tap
        self.extent = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel))
        self.margins, self.padding = _around(padding, self.extent, self.stride)
        rng = np.random.default_rng(0) if rng is None else rng
        out, channels = count(out_channels, "out_channels"), count(in_channels, "in_channels")
        if out % self.groups or channels % self.groups:
            raise ValueError(f"groups must divide in_channels and out_channels; got {groups!r} for "
                             f"{channels} and {out}")
        shape = (out, channels // self.groups, *self.kernel)
        fan_in = int(np.prod(shape[1:]))
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
        """(c, y, x) → (out, y', x'), y' = ⌊(y + 2·padding − d·(kernel − 1) − 1) / stride⌋ + 1 with
        the dilation d."""
        channels = self.parameters["weight"].shape[1] * self.groups
        if shape[0] != channels:
            raise ValueError(f"{self} takes {channels} channels; its input has {shape[0]}")
        sizes = [n + sum(around) for n, around in zip(shape[1:], self.margins)]
        if any(n < k for n, k in zip(sizes, self.extent)):
            raise ValueError(f"{self} does not fit into an input of {shape[1]}×{shape[2]}")
        size = [(n - k) // s + 1 for n, k, s in zip(sizes, self.extent, self.stride)]
        return (self.parameters["weight"].shape[0], *size)

    def forward(self, x):
        """z[b, y, x, o] = Σ_{dy, dx, c} W[o, c, dy, dx] · x[b, s·y + dy, s·x + dx, c] + bias[o]."""
        rows, columns = self._positions(x.shape)
        weight = self._weight(x)
        under_kernel = patches(padded(x, self.margins), self.extent, self.stride)
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
        before = padded_jacobian(jacobian, self.margins)
        units, windows = self._positions(saved[0]), before.values
        weight = self._weight(windows)  # (ky, kx, c, o)
        if before.is_shared:
            return self._of_shared_windows(before, weight, units)
        taps = [taps_inside(*sizes) for sizes in zip(self.extent, windows.shape, before.stride)]
        # the Y and X of the new values: 1 as long as all units see the same
        positions = [1 if before.same_everywhere(axis) else units[axis] for axis in (0, 1)]
        shape = (len(taps[0]), len(taps[1]), windows.shape[2], *positions, windows.shape[5],
                 weight.shape[3])
        seen_through = SeenThrough(before, taps, weight, self.stride, positions)

        def write(wx, out):
            """Column wx of the new windows."""
            if not seen_through.sees_all:
                out[:] = 0
            for pixel, seen, weights in seen_through.column(wx):
                np.matmul(seen, weights, out=out[pixel].reshape(len(seen), -1))

        stride = tuple(old * own for old, own in zip(before.stride, self.stride))
        return ByColumn(write, shape, windows.dtype, stride, before.start, units, before.image)

    def _of_shared_windows(self, before, weight, units):
        """The same where all units have one window: pixel by pixel a convolution of derivatives."""
        windows = np.broadcast_to(before.values, (*before.shape[:3], *before.units,
                                                  *before.shape[5:]))
        shape = (*windows.shape[:3], *units, windows.shape[5], weight.shape[3])

        def write(wx, out):
            """Column wx of the new windows."""
            pixels = np.moveaxis(windows[:, wx], 4, 2)  # (wy, i, b, y, x, c)
            seen = patches(pixels.reshape(-1, *pixels.shape[3:]), self.extent, self.stride)
            z = (seen @ weight.reshape(-1, weight.shape[3])).reshape(
                *pixels.shape[:3], *units, weight.shape[3])
            out[:] = np.moveaxis(z, 2, 4)

        return ByColumn(write, shape, windows.dtype, (0, 0), before.start, units, before.image)

    def backward(self, grad_y, saved):
        """∂/∂x[s·y + dy, s·x + dx] += Wᵀ[dy, dx] · ∂/∂z[y, x] over all taps (dy, dx)."""
        rows = grad_y.shape[-3]
        size = (n + sum(around) for n, around in zip(saved[0][1:], self.margins))
        grad = np.zeros((*grad_y.shape[:-3], *size, saved[0][3]), grad_y.dtype)
        for dy, columns, part in strips(grad_y, self._weight(grad_y), self.stride[1]):
            grad[..., tap_slice(dy, self.stride[0], rows), columns, :] += part
        return unpadded(grad, self.margins)

    def gradients(self, grad_y, saved):
        """∂/∂W = Σ_{b, y, x} patch ⊗ ∂/∂z and ∂/∂bias = Σ_{b, y, x} ∂/∂z."""
        shape, under_kernel = saved
        out = len(self.parameters["weight"])
        grad = grad_y.reshape(-1, out)
        kernel = (under_kernel.T @ grad).reshape(*self.extent, shape[3], out)
        gradients = {"weight": self._own(kernel.transpose(3, 2, 0, 1))}
        if self.connections is not None:
            gradients["weight"] = gradients["weight"] * self.connections[:, :, None, None]
        if "bias" in self.parameters:
            rows_of_positions = grad.reshape(-1, self._positions(shape)[1], out)
            gradients["bias"] = rows_of_positions.sum(axis=0).sum(axis=0)
        return gradients

    def _weight(self, x):
        """The whole kernel in the precision of `x`, channels last: (ky, kx, c, o); 0 between the
        taps of a dilated one and for the channels of other groups."""
        weight = like(self.parameters["weight"], x)
        if self.connections is not None:
            weight = weight * self.connections[:, :, None, None]
        if self.groups > 1 or self.extent != self.kernel:
            out, channels = weight.shape[:2]
            whole = np.zeros((out, channels * self.groups, *self.extent), weight.dtype)
            by_group = (self.groups, -1, self.groups, channels, *self.extent)
            whole.reshape(by_group)[self._taps()] = weight.reshape(
                self.groups, -1, channels, *self.kernel)
            weight = whole
        return weight.transpose(2, 3, 1, 0)

    def _own(self, whole):
        """Of numbers for the whole kernel (out, in, …) those for `weight` (out, in / groups, …)."""
        if self.groups == 1 and self.extent == self.kernel:
            return whole
        shape = self.parameters["weight"].shape
        by_group = whole.reshape(self.groups, -1, self.groups, shape[1], *self.extent)
        return by_group[self._taps()].reshape(shape)

    def _taps(self):
        """Where in a whole kernel (group, out, group, in, y, x) the weights stand."""
        own, every, (dy, dx) = np.arange(self.groups), slice(None), self.dilation
        return own, every, own, every, slice(None, None, dy), slice(None, None, dx)

    def _positions(self, shape):
        """(Y, X) of the output for an input of `shape` (b, y, x, c)."""
        return self.output_shape((shape[3], *shape[1:3]))[1:]

    def __repr__(self):
        out, channels = self.parameters["weight"].shape[:2]
        options = f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        options += f", groups={self.groups}" if self.groups > 1 else ""
        if self.connections is not None:
            options += f", connections={np.packbits(self.connections).tobytes().hex()}"
        return (f"Conv2d({channels * self.groups}, {out}, {self.kernel}, stride={self.stride}, "
                f"padding={self.padding!r}{options})")


def _around(padding, extent, stride):
    """(((top, bottom), (left, right)), how the padding is written: two numbers, or "same" where
    they differ)."""
    if padding == "valid":
        padding = 0
    if not isinstance(padding, str):
        numbers = pair(padding, "padding", 0)
        return tuple((n, n) for n in numbers), numbers
    if padding != "same":
        raise ValueError(f"padding must be whole numbers, 'valid' or 'same'; got {padding!r}")
    if stride != (1, 1):
        raise ValueError(f"padding='same' goes with stride 1 only; got {stride}")
    margins = tuple(((k - 1) // 2, k // 2) for k in extent)
    equal = all(first == last for first, last in margins)
    return margins, tuple(first for first, _ in margins) if equal else padding
