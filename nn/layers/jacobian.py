"""∂H_k/∂x, the forward derivative of a hidden layer (Eq. 3 and 4), stored with its receptive field.

A unit of a convolution or pooling layer sees a small window of the image, so most of ∂H_k/∂x is
zero. A `Jacobian` holds, for every unit, only the derivatives inside its window; each layer turns
the Jacobian of its input into that of its output (Eq. 5, `forward_derivative`). In: windows. Out:
windows, or with `dense` the full table, as `nn.textbook` has it. Read on in `layers.padding`.

Axes, here and in the layers: `wy wx` place inside the window, `i` channel of the image, `y x`
position of the unit, `b` sample, `c` channel of the layer. Samples stand inside the positions, so
that a row of units is one block of memory.
"""
from functools import cached_property

import numpy as np

from nn.layers.base import tap_slice

FEW = 4  # samples


class Jacobian:
    """The derivatives of one layer's units with respect to the pixels of the image.

    values[wy, wx, i, y, x, b, c] = ∂H[b, y, x, c] / ∂X[b, i, Sy·y + oy + wy, Sx·x + ox + wx].
    A fully connected layer is the case of one position whose window is the whole image.

    Args:
        values: (wy, wx, i, y, x, b, c). Each of the axes y, x, b may have length 1 for "the same
            everywhere": the windows of a first convolution are its kernel at every position.
        stride: (Sy, Sx), pixels from one unit to the next: the product of the strides so far;
            (0, 0) where all units have the same window.
        start: (oy, ox), the pixel at which the window of unit (0, 0) begins. Below zero after
            padding; what stands at pixels outside the image has no meaning and is never read.
        units: (Y, X), the positions of the layer.
        image: (channels, height, width) of the network's input.
    """

    is_identity = False
    made = None  # what `once` made for a band

    def __init__(self, values, stride, start, units, image):
        self.values = values
        self.shape = values.shape
        self.dtype = values.dtype
        self.stride = stride
        self.start = start
        self.units = units
        self.image = image

    @classmethod
    def identity(cls, image, dtype):
        """∂X/∂X for an image (channels, height, width)."""
        return Identity(image, dtype)

    @property
    def spatial(self):
        """The same derivatives by position: what stands before a `Flatten`, otherwise itself."""
        return self

    def with_values(self, values, stride=None, start=None, units=None):
        """Other windows of the same image; what is not named stays as it is here."""
        return Jacobian(values, stride or self.stride, start or self.start, units or self.units,
                        self.image)

    def scaled(self, slope):
        """Each unit's derivatives times `slope` (b, y, x, c)."""
        return self.with_values(self.values * np.moveaxis(slope, 0, 2))  # (y, x, b, c)

    def columns(self):
        """The windows column by column: yields (wx, values[:, wx]), to be read before the next."""
        for wx in range(self.shape[1]):
            yield wx, self.values[:, wx]

    def flatten(self):
        """All units as channels of one position, in the order c, y, x (PyTorch's `Flatten`)."""
        return Flattened(self)

    @property
    def is_shared(self):
        """True if all units have one window, as large as what any of them sees."""
        return self.stride == (0, 0)

    def same_everywhere(self, axis):
        """True if all units along `axis` (0 rows, 1 columns) share one entry of `values`."""
        return self.shape[3 + axis] == 1

    @property
    def few(self):
        """True for so few samples that a product of one pixel's derivatives is a small one."""
        return self.shape[5] <= FEW

    def covers_image(self):
        """True if the window of the one position is exactly the image."""
        return self.start == (0, 0) and self.shape[:2] == self.image[1:]

    def units_that_see(self, pixel, axis):
        """(u0, u1): units u0..u1-1 see `pixel` (a number or an array) along `axis`.

        Unit u sees it if 0 ≤ pixel − start − stride·u < window.
        """
        window, stride = self.shape[axis], self.stride[axis]
        distance = pixel - self.start[axis]
        if stride == 0:
            sees = (0 <= distance) & (distance < window)
            return 0 * distance, np.where(sees, self.units[axis], 0)
        first = np.maximum(-((window - 1 - distance) // stride), 0)
        last = np.minimum(distance // stride, self.units[axis] - 1)
        return first, np.maximum(last + 1, first)

    def units_under(self, tap, axis, stride, positions):
        """Along `axis` of `values`: the units under `tap` of a kernel, at all its positions."""
        return slice(None) if self.same_everywhere(axis) else tap_slice(tap, stride, positions)

    def coverage(self, axis):
        """Which units see which pixels along `axis` (0 rows, 1 columns).

        Returns a list of (p0, p1, u0, u1): units u0..u1-1, and no others, see pixels p0..p1-1.
        """
        pixels = np.arange(self.image[1 + axis])
        first, end = self.units_that_see(pixels, axis)
        cuts = np.flatnonzero(np.diff(first) | np.diff(end)) + 1
        edges = [0, *cuts.tolist(), len(pixels)]
        return [(p0, p1, int(first[p0]), int(end[p0])) for p0, p1 in zip(edges, edges[1:])]

    def windows_inside(self, axis):
        """The same for each row (column) of units alone, [(p0, p1, u, u + 1), …]: they overlap."""
        size = self.image[1 + axis]
        first = self.start[axis] + self.stride[axis] * np.arange(self.units[axis])
        ends = np.clip([first, first + self.shape[axis]], 0, size)
        return [(int(p0), int(p1), u, u + 1) for u, (p0, p1) in enumerate(ends.T) if p0 < p1]

    def bands(self):
        """The derivatives for one band of the image's rows after the other: (p0, p1, Jacobian).

        A band is an image of its own with the same windows, which then stick out of it. What comes
        after a `Flatten` can go through the fully connected layers band by band, in memory that
        stays in the processor's cache. For few samples one band does.
        """
        channels, height, width = self.image
        number = 1 if self.few else 8
        least, p0 = -(-height // number), 0
        made = {}
        for _, p1, _, _ in self.coverage(0):
            if p1 - p0 >= least or p1 == height:
                start = (self.start[0] - p0, self.start[1])
                image = (channels, p1 - p0, width)
                band = Jacobian(self.values, self.stride, start, self.units, image)
                band.made = made
                yield p0, p1, band
                p0 = p1

    def once(self, key, make):
        """`make()`, once for all `bands` of one Jacobian: a layer's weights in another order."""
        if self.made is None:
            return make()
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def dense(self, batch):
        """The full table for `batch` samples: (batch, C, Y, X, M), pixels row-major (i, y, x)."""
        if self.units == (1, 1) and self.covers_image():
            table = self.values[:, :, :, 0, 0].transpose(3, 4, 2, 0, 1)  # (b, c, i, wy, wx)
            table = np.broadcast_to(table, (batch, *table.shape[1:]))
            return table.reshape(*table.shape[:2], 1, 1, -1)
        window, channels = self.values.shape[:2], self.values.shape[-1]
        values = np.broadcast_to(
            self.values, (*self.values.shape[:3], *self.units, batch, channels))
        table = np.zeros((batch, channels, *self.units, *self.image), values.dtype)
        for wy, wx in np.ndindex(window):
            rows, row_pixels = (numbers[:, None] for numbers in self._inside(0, wy))
            columns, column_pixels = self._inside(1, wx)
            part = values[wy, wx][:, rows, columns]  # (i, y, x, b, c)
            table[:, :, rows, columns, :, row_pixels, column_pixels] = part.transpose(1, 2, 3, 4, 0)
        return table.reshape(*table.shape[:4], -1)

    def _inside(self, axis, place):
        """The units for which `place` of their window lies in the image, and at which pixel."""
        units = np.arange(self.units[axis])
        pixels = self.stride[axis] * units + self.start[axis] + place
        inside = (pixels >= 0) & (pixels < self.image[1 + axis])
        return units[inside], pixels[inside]


class Identity(Jacobian):
    """∂X/∂X: each unit is a pixel and its window that pixel; `image` = (channels, height, width).

    Its table is made only if a layer asks for it.
    """

    is_identity = True

    def __init__(self, image, dtype):
        self.image = tuple(image)
        self.units = self.image[1:]
        self.stride = (1, 1)
        self.start = (0, 0)
        self.shape = (1, 1, self.image[0], 1, 1, 1, self.image[0])
        self.dtype = np.dtype(dtype)

    @cached_property
    def values(self):
        """(1, 1, i, 1, 1, 1, c): 1 if i = c."""
        return np.eye(self.image[0], dtype=self.dtype).reshape(self.shape)


class ByColumn(Jacobian):
    """Windows that are made one column after the other, for the layer that reads them.

    All windows behind a convolution are large: 40 MB for 16 samples of LeNet. A pooling layer reads
    each of their columns once, while it is in the cache, and leaves a third of that; the whole of
    `values` is made only if a layer asks for it.

    Args:
        write: a function (wx, out) that writes column wx to out (wy, i, y, x, b, c).
        shape, dtype: those of `values`.
        stride, start, units, image: as for a `Jacobian`.
    """

    def __init__(self, write, shape, dtype, stride, start, units, image):
        self.write = write
        self.shape = shape
        self.dtype = dtype
        self.stride = stride
        self.start = start
        self.units = units
        self.image = image

    @cached_property
    def values(self):
        """The windows of all columns."""
        values = np.empty(self.shape, self.dtype)
        for wx in range(self.shape[1]):
            self.write(wx, values[:, wx])
        return values

    def columns(self):
        """The windows column by column, each written over the one before."""
        column = np.empty((self.shape[0], *self.shape[2:]), self.dtype)
        for wx in range(self.shape[1]):
            self.write(wx, column)
            yield wx, column

    def scaled(self, slope):
        """Each unit's derivatives times `slope` (b, y, x, c), column by column."""
        slope = np.moveaxis(slope, 0, 2)  # (y, x, b, c)
        if slope.shape != self.shape[3:] or slope.dtype != self.dtype:
            return super().scaled(np.moveaxis(slope, 2, 0))

        def write(wx, out):
            self.write(wx, out)
            out *= slope

        return ByColumn(write, self.shape, self.dtype, self.stride, self.start, self.units,
                        self.image)


class Flattened(Jacobian):
    """The units of a layer as channels of one position: the derivatives of `before`, named anew.

    `Linear` reads the windows of `before`; a table of its own is made only if a layer asks for it.
    """

    def __init__(self, before):
        self.before = before
        self.image = before.image
        self.units = (1, 1)
        channels, height, width = self.image
        units = before.units[0] * before.units[1] * before.shape[6]
        self.shape = (height, width, channels, 1, 1, before.shape[5], units)
        self.dtype = before.dtype
        self.stride = (1, 1)
        self.start = (0, 0)

    @property
    def spatial(self):
        """The derivatives before the `Flatten`."""
        return self.before

    @cached_property
    def values(self):
        """(height, width, i, 1, 1, b, c·y·x): the window is the whole image."""
        batch = self.before.values.shape[5]
        table = self.before.dense(batch).reshape(batch, -1, *self.image)  # (b, c·y·x, i, wy, wx)
        return np.ascontiguousarray(table.transpose(3, 4, 2, 0, 1))[:, :, :, None, None]

    def flatten(self):
        """Already flat."""
        return self

    def dense(self, batch):
        """The full table for `batch` samples: (batch, c·y·x, 1, 1, M)."""
        table = self.before.dense(batch)
        return table.reshape(batch, -1, 1, 1, table.shape[-1])
