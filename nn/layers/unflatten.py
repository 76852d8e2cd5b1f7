"""A row of units as an image again, as a decoder or a view() in the middle of a network makes it.

In: (b, 1, 1, n). Out: (b, y, x, c), and a Jacobian with windows larger than the image, for each
unit sees all that the row saw. In `nn.textbook` only the shape changes. Read on in `layers.merge`.
"""
import numpy as np

from nn.layers.base import Layer, count


class Unflatten(Layer):
    """PyTorch's `Unflatten(1, (channels, height, width))`."""

    def __init__(self, unflattened_size):
        super().__init__()
        try:
            self.unflattened_size = tuple(count(n, "unflattened_size") for n in unflattened_size)
        except (TypeError, ValueError):
            self.unflattened_size = ()
        if len(self.unflattened_size) != 3:
            raise ValueError("unflattened_size must be (channels, height, width), whole numbers of "
                             f"at least 1; got {unflattened_size!r}")

    def output_shape(self, shape):
        """(c·y·x, 1, 1) → (c, y, x)."""
        if tuple(shape) != (np.prod(self.unflattened_size), 1, 1):
            size = "×".join(map(str, shape))
            raise ValueError(f"{self} takes {np.prod(self.unflattened_size)} features; its input "
                             f"has {size}")
        return self.unflattened_size

    def forward(self, x):
        """(b, 1, 1, c·y·x) → (b, y, x, c); nothing is saved."""
        return np.ascontiguousarray(np.moveaxis(self._units(x[:, 0, 0]), 1, -1)), None

    def forward_derivative(self, jacobian, saved):
        """The derivatives named anew: pixel w of the row's window is, for unit (y, x) of Y × X,
        pixel w + (Y − 1 − y, X − 1 − x) of one that begins (Y − 1, X − 1) earlier."""
        channels, rows, columns = self.unflattened_size
        old = self._units(jacobian.values[:, :, :, 0, 0])  # (wy, wx, i, b, c, y, x)
        height, width, image_channels, batch = old.shape[:4]
        window = (height + rows - 1, width + columns - 1)
        values = np.zeros((*window, image_channels, rows, columns, batch, channels), old.dtype)
        for y, x in np.ndindex(rows, columns):
            top, left = rows - 1 - y, columns - 1 - x
            values[top:top + height, left:left + width, :, y, x] = old[..., y, x]
        start = (jacobian.start[0] - rows + 1, jacobian.start[1] - columns + 1)
        return jacobian.with_values(values, stride=(1, 1), start=start, units=(rows, columns))

    def backward(self, grad_y, saved):
        """(…, b, y, x, c) → (…, b, 1, 1, c·y·x)."""
        grad = np.moveaxis(grad_y, -1, -3)
        return grad.reshape(*grad.shape[:-3], 1, 1, -1)

    def _units(self, row):
        """(…, c·y·x) → (…, c, y, x)."""
        return row.reshape(*row.shape[:-1], *self.unflattened_size)

    def __repr__(self):
        return f"Unflatten({self.unflattened_size})"
