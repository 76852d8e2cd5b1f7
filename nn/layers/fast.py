"""Eq. 5 of `Conv2d` and `Linear` as few large matrix products: here their factors are gathered.

The layers say which taps and units contribute to which pixel; here these numbers are copied side by
side, so that many small products become one. `nn.textbook` has the same sums plainly, with W as a
matrix. In: values (b, y, x, c), windows of a `Jacobian`, kernels. Out: matrices that are multiplied
at once. Read on in `layers.pooling`.
"""
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nn.layers.base import product

# Rows and columns of the matrices in a convolution's backward step that are multiplied fast
DEEP = 160
WIDE = 64


def patches(x, kernel, stride):
    """The input under the kernel at every position: x (b, y, x, c) → (b·y'·x', ky·kx·c).

    In memory the longer runs stand together.
    """
    windows = sliding_window_view(x, kernel, axis=(1, 2))[:, ::stride[0], ::stride[1]]
    windows = windows.transpose(0, 1, 2, 4, 5, 3)  # (b, y', x', ky, kx, c)
    positions = int(np.prod(windows.shape[:3]))
    taps = int(np.prod(windows.shape[3:]))
    if windows.shape[2] > windows.shape[4] * windows.shape[5]:
        return windows.transpose(3, 4, 5, 0, 1, 2).reshape(taps, positions).T
    return windows.reshape(positions, taps)


def taps_inside(kernel, window, stride):
    """Which taps of a kernel see which pixel of a window that grew by it, along one axis.

    Under tap d stands a unit whose window begins stride·d later, so pixel w of the new window is
    pixel w − stride·d of that unit's. Returns a list: for each w the taps d (a range) for which
    0 ≤ w − stride·d < window.
    """
    return [range(max(0, (w - window) // stride + 1), min(kernel, w // stride + 1))
            for w in range(window + (kernel - 1) * stride)]


class SeenThrough:
    """What the units of a convolution see of each pixel of their windows, tap beside tap.

    With S the stride so far, rows wy = phase, phase + S, … of the new windows are made of the rows
    phase, phase + S, … of the old ones: the u-th of the k-th, where k = u − dy.

    Args:
        jacobian: of the convolution's input, padded.
        taps: (taps_y, taps_x), for each row wy and column wx of the new windows the taps dy and dx
            that see it, as `taps_inside` gives them.
        weight: (ky, kx, c, o).
        stride: of the convolution.
        positions: (Y, X) of the new units, 1 along an axis where all of them see the same.
    """

    def __init__(self, jacobian, taps, weight, stride, positions):
        self.jacobian = jacobian
        self.taps = taps
        self.stride = stride
        self.positions = positions
        self.falling = np.array(weight[::-1], order="C")  # dy falls where rows k = u − dy rise

    @property
    def sees_all(self):
        """False where a pixel between the strides is seen by no unit."""
        return all(len(taps) for taps in (*self.taps[0], *self.taps[1]))

    def column(self, wx):
        """Eq. 5 for column wx of the new windows.

        Yields:
            ((wy, i), seen, weights): seen (Y·X·b, taps·c) times weights (taps·c, o) is Eq. 5 for
            pixel (wy, wx) of channel i of the image. The next `seen` is written over this one.
        """
        windows, (down, across) = self.jacobian.values, self.jacobian.stride
        taps_x = self.taps[1][wx]
        if not taps_x:  # a pixel between the strides: no unit sees it
            return
        shift = 0 if self.jacobian.same_everywhere(0) else 1
        columns = [(wx - across * dx, self.jacobian.units_under(dx, 1, self.stride[1],
                                                                self.positions[1]))
                   for dx in taps_x]
        kernel = self.falling[:, taps_x.start:taps_x.stop]
        for channel, phase in np.ndindex(windows.shape[2], min(down, len(windows))):
            table, width = gathered_rows(windows[phase::down, :, channel], columns, shift)
            for wy in range(phase, len(self.taps[0]), down):
                taps_y, u = self.taps[0][wy], wy // down
                last = u + self.stride[0] * (self.positions[0] - 1)
                seen = table[shift * u:shift * last + 1:self.stride[0], :,
                             (u - taps_y[-1]) * width:(u - taps_y[0] + 1) * width]
                weights = kernel[len(kernel) - taps_y.stop:len(kernel) - taps_y.start]
                yield ((wy, channel), seen.reshape(-1, seen.shape[2]),
                       weights.reshape(-1, weights.shape[3]))


def gathered_rows(windows, columns, shift):
    """Rows of the old windows, gathered once for all rows u of the new ones.

    Through tap dy unit y sees row k = u − dy of the window of input unit s·y + dy. Row and unit add
    up to t = s·y + u, whatever dy is. So table[t] holds, side by side for all k, row k of input
    unit t − k: what unit y sees is a run of neighbours in table[s·y + u].

    Args:
        windows: (k, wx, y, x, b, c), rows k of the windows of the input units.
        columns: [(wx, units), …], for each tap dx the column of the windows that is seen and the
            slice of the units x that stand under the tap.
        shift: 1, or 0 where all units along y see the same.

    Returns:
        ((t, x·b, k·dx·c), dx·c).
    """
    count, units = len(windows), windows.shape[2]
    x, batch, channels = windows[0, 0, 0, columns[0][1]].shape
    shape = (units + shift * (count - 1), x, batch, count, len(columns), channels)
    table = np.empty(shape, windows.dtype)
    for k, row in enumerate(windows):
        for n, (wx, tap_units) in enumerate(columns):
            table[shift * k:shift * k + units, :, :, k, n] = row[wx, :, tap_units]
    width = len(columns) * channels
    return table.reshape(shape[0], x * batch, count * width), width


def strips(grad_y, weight, stride):
    """Wᵀ[dy, dx] · ∂/∂z for all taps, several neighbouring columns at a time.

    A few channels make matrices too small to be multiplied fast. A strip is the kernel under
    several positions of a row at once; the zeros between are cheaper than many small products.

    Args:
        grad_y: (…, y, x, o), ∂/∂z.
        weight: (ky, kx, c, o).
        stride: from one position to the next along the row.

    Yields:
        (dy, columns, part): part (…, y, columns, c) belongs to `columns` (a slice) of the input's
        rows under tap dy, and is to be added there.
    """
    *lead, rows, positions, _ = grad_y.shape
    strip = _strip(weight, stride, positions, grad_y.dtype)
    taps, width, channels, across, out = strip.shape
    pieces = positions // across
    grad_y = grad_y.reshape(*lead, rows, pieces, across * out)
    together = max(1, WIDE // (width * channels))
    for first in range(0, taps, together):
        some = strip[first:first + together]
        parts = product(grad_y, some.reshape(-1, across * out).T)
        parts = parts.reshape(*lead, rows, pieces, len(some), width, channels)
        for n, piece in np.ndindex(len(some), pieces):
            left = piece * across * stride
            yield first + n, slice(left, left + width), parts[..., piece, n, :, :]


def _strip(weight, stride, positions, dtype):
    """The kernel under `across` neighbouring positions: (ky, input columns, c, across, o)."""
    rows, taps, channels, out = weight.shape
    across = max(n for n in range(1, positions + 1)
                 if positions % n == 0 and n * out <= max(DEEP, out))
    strip = np.zeros((rows, (across - 1) * stride + taps, channels, across, out), dtype)
    for n in range(across):
        strip[:, n * stride:n * stride + taps, :, n] = weight
    return strip


def gathered_block(jacobian, rows, columns):
    """The derivatives of a block of pixels in the units that see it, one row for each pixel.

    Args:
        jacobian: a `Jacobian` of windows.
        rows: (p0, p1, u0, u1) as in `Jacobian.coverage`: rows p0..p1-1 of the image, seen by the
            units of rows u0..u1-1.
        columns: (q0, q1, v0, v1), the same for the columns.

    Returns:
        (p·q·i·b, v·u·c): a row for each pixel, image channel and sample, a column for each unit.
    """
    p0, p1, u0, u1 = rows
    q0, q1, v0, v1 = columns
    values, (sy, sx), (oy, ox) = jacobian.values, jacobian.stride, jacobian.start
    same_rows, same_columns = (jacobian.same_everywhere(axis) for axis in (0, 1))
    parts = []
    for v in range(v0, v1):
        for u in range(u0, u1):
            y = p0 - oy - sy * u
            x = q0 - ox - sx * v
            parts.append(values[y:y + p1 - p0, x:x + q1 - q0, :,
                                0 if same_rows else u, 0 if same_columns else v])
    block = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
    return block.reshape(-1, block.shape[-1])
