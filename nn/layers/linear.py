"""Fully connected layers: value, forward derivative (Eq. 5, 6), backward step; `Flatten` before.

In: (b, 1, 1, n). Out: (b, 1, 1, m), and a Jacobian with one position that sees the whole image.
`fast` gathers what a block of pixels needs; in `nn.textbook` the same is one product W · ∂H/∂x.
Read on in `layers.normalization`.
"""
import numpy as np

from nn.layers.base import Layer, count, like, product, uniform
from nn.layers.fast import gathered_block
from nn.layers.jacobian import Jacobian


class Flatten(Layer):
    """All units in one row, in PyTorch's order: channel, row, column."""

    def output_shape(self, shape):
        """(c, y, x) → (c·y·x, 1, 1)."""
        return (shape[0] * shape[1] * shape[2], 1, 1)

    def forward(self, x):
        """(b, y, x, c) → (b, 1, 1, c·y·x); `saved` = (y, x, c)."""
        units = int(np.prod(x.shape[1:]))
        row = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(len(x), 1, 1, units)
        return row, x.shape[1:]

    def forward_derivative(self, jacobian, saved):
        """No derivative of its own: the units are named anew."""
        return jacobian.flatten()

    def backward(self, grad_y, saved):
        """(…, b, 1, 1, c·y·x) → (…, b, y, x, c)."""
        rows, columns, channels = saved
        grad = grad_y.reshape(*grad_y.shape[:-3], channels, rows, columns)
        return np.moveaxis(grad, -3, -1)


class Linear(Layer):
    """PyTorch's `Linear`: `weight` (out, in), `bias` (out,).

    Started as PyTorch starts it, uniform in ±1/√in.

    Args:
        in_features, out_features: whole numbers of at least 1.
        bias: False for none.
        rng: the `numpy.random.Generator` that draws the start; by default seed 0.

    Raises:
        ValueError: an argument out of range, in one line that names it.
    """

    def __init__(self, in_features, out_features, *, bias=True, rng=None):
        super().__init__()
        rng = np.random.default_rng(0) if rng is None else rng
        shape = (count(out_features, "out_features"), count(in_features, "in_features"))
        self.parameters["weight"] = uniform(rng, shape, in_features)
        if bias:
            self.parameters["bias"] = uniform(rng, (out_features,), in_features)

    def output_shape(self, shape):
        """(in, 1, 1) → (out, 1, 1)."""
        out, features = self.parameters["weight"].shape
        if tuple(shape) != (features, 1, 1):
            size = "×".join(map(str, shape))
            hint = " (a Flatten is missing before it)" if shape[1:] != (1, 1) else ""
            raise ValueError(f"{self} takes {features} features; its input has {size}{hint}")
        return (out, 1, 1)

    def forward(self, x):
        """z = W·x + bias."""
        z = product(x, like(self.parameters["weight"], x).T)
        if "bias" in self.parameters:
            z += like(self.parameters["bias"], x)
        return z, x

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 and 6 without f': ∂z_p/∂x_i = W_p · ∂H/∂x_i = Σ_u W[p, u] · ∂H_u/∂x_i.

        Only the units u in whose window pixel i lies contribute (`units_that_see`). Pixels that the
        same units see form a block (for LeNet 4×4 pixels and 1 to 16 units), one matrix product.
        For few samples these are small; there each row of units adds its part to a larger block.
        """
        before = jacobian.spatial
        channels, height, width = before.image
        weight = like(self.parameters["weight"], saved)
        out = len(weight)
        if before.is_identity:
            return _one_position(_pixels(weight, before.image), before.image)
        weight = before.once(self, lambda: _by_unit(weight, before.units))  # (u, v, c, out)
        batch = before.shape[5]
        table = np.zeros((height, width, channels, 1, 1, batch, out), before.dtype)
        coverage = before.coverage(1)
        for rows in before.windows_inside(0) if before.few else before.coverage(0):
            p0, p1, u0, u1 = rows
            of_rows = np.ascontiguousarray(weight[u0:u1].swapaxes(0, 1))  # (v, u, c, out)
            for columns in coverage:
                q0, q1, v0, v1 = columns
                if u0 == u1 or v0 == v1:  # no unit sees them
                    continue
                block = gathered_block(before, rows, columns)  # (pixels·b, v·u·c)
                derivatives = block @ of_rows[v0:v1].reshape(-1, out)
                pixels = table[p0:p1, q0:q1]
                derivatives = derivatives.reshape(pixels.shape)
                pixels[:] = pixels + derivatives if before.few else derivatives
        return _one_position(table, before.image)

    def backward(self, grad_y, saved):
        """∂/∂x = Wᵀ · ∂/∂z."""
        return product(grad_y, like(self.parameters["weight"], grad_y))

    def gradients(self, grad_y, saved):
        """∂/∂W = Σ_b ∂/∂z ⊗ x and ∂/∂bias = Σ_b ∂/∂z."""
        grad = grad_y.reshape(len(grad_y), -1)
        gradients = {"weight": grad.T @ saved.reshape(len(saved), -1)}
        if "bias" in self.parameters:
            gradients["bias"] = grad.sum(axis=0)
        return gradients

    def __repr__(self):
        out, features = self.parameters["weight"].shape
        return f"Linear({features}, {out})"


def _by_unit(weight, units):
    """The weights (out, c·u·v) of a layer behind a `Flatten` as (u, v, c, out)."""
    rows = np.ascontiguousarray(weight.T).reshape(-1, *units, len(weight))  # (c, u, v, out)
    return np.ascontiguousarray(np.moveaxis(rows, 0, 2))


def _pixels(weight, image):
    """The weights (out, i·y·x) of a layer right on the image, as (wy, wx, i, 1, 1, 1, out)."""
    channels, height, width = image
    table = weight.reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
    return np.array(table, order="C").reshape(height, width, channels, 1, 1, 1, -1)


def _one_position(values, image):
    """The Jacobian of a flat layer: one position whose window is the whole image."""
    return Jacobian(values, (1, 1), (0, 0), (1, 1), image)
