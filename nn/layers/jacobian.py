"""∂H_k/∂x, the forward derivative of a hidden layer (Eq. 3 and 4), stored with its receptive field.

A unit of a convolution or pooling layer sees a small window of the image, so most of ∂H_k/∂x is zero. A `Jacobian`
keeps, for every unit, only the derivatives inside its window; each layer turns the Jacobian of its input into that of
its output (Eq. 5: `forward_derivative` in `conv`, `pool`, `linear`, `activation`). In: windows. Out: windows, or the
full table with `dense`. Read on in `layers.convolution`.

Axes, here and in the layers: `wy wx` offset inside the window, `i` channel of the image, `y x` unit position, `b`
sample, `c` channel of the layer. Samples stand inside the positions, so that a row of units is one block of memory.
"""
import itertools

import numpy as np


class Jacobian:
    """The derivatives of one layer's units with respect to the pixels of the image.

    `values[wy, wx, i, y, x, b, c]` = ∂H[b, y, x, c] / ∂X[b, i, Sy·y + oy + wy, Sx·x + ox + wx], where (Sy, Sx) is
    `stride`, the product of the strides so far, and (oy, ox) is `start`, where the window of unit (0, 0) begins (below
    zero after padding; what stands at pixels outside the image has no meaning and is never read). The axes y, x, b may
    have length 1 for "the same everywhere": the windows of a first convolution are its kernel at every position.
    `units` = (Y, X) positions of the layer; `image` = (channels, height, width) of the network's input.

    A fully connected layer is the case of one position whose window is the whole image. Whoever holds the only
    reference may set `spare`: the next layer may then write over `values`.
    """

    def __init__(self, values, stride, start, units, image, spatial=None):
        self._values, self.stride, self.start, self.units, self.image = values, stride, start, units, image
        self.spatial, self.spare = spatial, False

    @classmethod
    def identity(cls, image, dtype):
        """∂X/∂X: window 1, stride 1. `image` = (channels, height, width)."""
        jacobian = cls(None, (1, 1), (0, 0), tuple(image[1:]), tuple(image))
        jacobian.dtype = np.dtype(dtype)
        return jacobian

    @property
    def is_identity(self):
        """True for the Jacobian of the image itself."""
        return self._values is None and self.spatial is None

    @property
    def values(self):
        """The windows, (wy, wx, i, y, x, b, c); see the class."""
        if self.is_identity:
            channels = self.image[0]
            return np.eye(channels, dtype=self.dtype).reshape(1, 1, channels, 1, 1, 1, channels)
        if self._values is None:
            self._values = _one_position(self.spatial)
        return self._values

    def scaled(self, slope):
        """Each unit's derivatives times `slope` (b, y, x, c)."""
        slope, values = np.moveaxis(slope, 0, 2), self.values
        fits = (self.spare and np.broadcast_shapes(values.shape, slope.shape) == values.shape
                and np.result_type(values, slope) == values.dtype)
        values = np.multiply(values, slope, out=values if fits else None)
        return Jacobian(values, self.stride, self.start, self.units, self.image)

    def flatten(self):
        """The same derivatives with all units as channels of one position, in the order c, y, x (PyTorch's `Flatten`).

        The windows are kept behind it in `spatial`, so that `Linear` can use them before they are spread out.
        """
        if self.spatial is not None:
            return self
        return Jacobian(None, (1, 1), (0, 0), (1, 1), self.image, spatial=self)

    def covers_image(self):
        """True when the window of the one position is exactly the image."""
        return self.start == (0, 0) and self.values.shape[:2] == self.image[1:]

    def coverage(self, axis):
        """Which units see which pixels along `axis` (0 rows, 1 columns).

        Returns a list of (p0, p1, u0, u1): pixels p0..p1-1 lie in the windows of exactly the units u0..u1-1.
        """
        window, stride, start = self.values.shape[axis], self.stride[axis], self.start[axis]
        pixel = np.arange(self.image[1 + axis]) - start
        first = np.maximum(-((window - 1 - pixel) // stride), 0)
        last = np.minimum(pixel // stride, self.units[axis] - 1)
        last = np.maximum(last, first - 1)
        cuts = np.flatnonzero(np.diff(first) | np.diff(last)) + 1
        edges = [0, *cuts.tolist(), len(pixel)]
        return [(p0, p1, int(first[p0]), int(last[p0]) + 1) for p0, p1 in zip(edges, edges[1:])]

    def bands(self):
        """The same derivatives for one band of the image's rows after the other: yields (p0, p1, Jacobian).

        A band is an image of its own with the same windows, which then stick out of it. What comes after a `Flatten`
        can go through the fully connected layers band by band, in memory that stays in the processor's cache.
        """
        least, begun = -(-self.image[1] // 8), 0
        for _, p1, _, _ in self.coverage(0):
            if p1 - begun >= least or p1 == self.image[1]:
                image, start = (self.image[0], p1 - begun, self.image[2]), (self.start[0] - begun, self.start[1])
                yield begun, p1, Jacobian(self.values, self.stride, start, self.units, image)
                begun = p1

    def dense(self, batch):
        """The full table for a batch of `batch` samples: (batch, C, Y, X, M), pixels in row-major order (i, y, x)."""
        if self.units == (1, 1) and self.covers_image():
            table = self.values[:, :, :, 0, 0].transpose(3, 4, 2, 0, 1)
            table = np.broadcast_to(table, (batch, *table.shape[1:]))
            return table.reshape(*table.shape[:2], 1, 1, -1)
        (height, width), (rows, columns), values = self.image[1:], self.units, self.values
        values = np.broadcast_to(values, (*values.shape[:3], rows, columns, batch, values.shape[-1]))
        table = np.zeros((batch, values.shape[-1], rows, columns, *self.image), values.dtype)
        y, x = np.arange(rows), np.arange(columns)
        for wy, wx in np.ndindex(values.shape[:2]):
            py, px = self.stride[0] * y + self.start[0] + wy, self.stride[1] * x + self.start[1] + wx
            iy, ix = (py >= 0) & (py < height), (px >= 0) & (px < width)
            units, pixels = np.ix_(y[iy], x[ix]), np.ix_(py[iy], px[ix])
            part = values[wy, wx][:, units[0], units[1]]
            table[:, :, units[0], units[1], :, pixels[0], pixels[1]] = part.transpose(1, 2, 3, 4, 0)
        return table.reshape(*table.shape[:4], -1)


def aligned(jacobians):
    """The `values` of Jacobians of layers with the same units, in windows of one size, stride and start: the stride is
    that of the first, the windows are the smallest that hold all of theirs, zero where a unit sees nothing.

    Returns (values, stride, start). Windows that agree already are handed on as they are.
    """
    stride, spans = jacobians[0].stride, [[], []]
    for axis, jacobian in ((axis, jacobian) for axis in (0, 1) for jacobian in jacobians):
        begins = [jacobian.start[axis] + (jacobian.stride[axis] - stride[axis]) * unit
                  for unit in (0, jacobian.units[axis] - 1)]
        spans[axis].append((min(begins), max(begins) + jacobian.values.shape[axis]))
    start, end = zip(*((min(low for low, _ in span), max(high for _, high in span)) for span in spans))
    window = tuple(high - low for low, high in zip(start, end))
    return [_placed(jacobian, stride, start, window) for jacobian in jacobians], stride, start


def _placed(jacobian, stride, start, window):
    """The windows of `jacobian` inside larger ones of another stride: at one place for all units where the strides agree,
    else at a place of its own for each."""
    values = jacobian.values
    if jacobian.stride == stride and jacobian.start == start and values.shape[:2] == window:
        return values
    places, units = [], list(values.shape[3:5])
    for axis in (0, 1):
        step, begin = jacobian.stride[axis] - stride[axis], jacobian.start[axis] - start[axis]
        units[axis] = jacobian.units[axis] if step else units[axis]
        places.append([(slice(unit, unit + 1), begin + step * unit) for unit in range(units[axis])] if step
                      else [(slice(None), begin)])
    values = np.broadcast_to(values, (*values.shape[:3], *units, *values.shape[5:]))
    out = np.zeros((*window, *values.shape[2:]), values.dtype)
    for (rows, top), (columns, left) in itertools.product(*places):
        out[top:top + values.shape[0], left:left + values.shape[1], :, rows, columns] = values[:, :, :, rows, columns]
    return out


def taps_inside(kernel, window, stride):
    """For each pixel w of a window that grew by `kernel` the taps d (a range) with 0 ≤ w − stride·d < window."""
    return [range(max(0, (w - window) // stride + 1), min(kernel, w // stride + 1))
            for w in range(window + (kernel - 1) * stride)]


def _one_position(jacobian):
    batch = jacobian.values.shape[5]
    table = jacobian.dense(batch).reshape(batch, -1, *jacobian.image)
    return np.ascontiguousarray(table.transpose(3, 4, 2, 0, 1))[:, :, :, None, None]
