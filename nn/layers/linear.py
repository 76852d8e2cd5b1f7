"""Fully connected layers: value, forward derivative (Eq. 5 and 6) and backward step, and `Flatten` before them.

In: (b, 1, 1, n). Out: (b, 1, 1, m), and a Jacobian with one position that sees the whole image. Read on in `layers.normalization`.
"""
import numpy as np

from nn.layers.base import Layer, count, like, product, uniform
from nn.layers.jacobian import Jacobian


class Flatten(Layer):
    """All units in one row, in PyTorch's order: channel, row, column."""

    def output_shape(self, shape):
        """(c, y, x) → (c·y·x, 1, 1)."""
        return (shape[0] * shape[1] * shape[2], 1, 1)

    def forward(self, x):
        """(b, y, x, c) → (b, 1, 1, c·y·x)."""
        row = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(len(x), 1, 1, int(np.prod(x.shape[1:])))
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

    Started as PyTorch starts it, uniform in ±1/√in, from `rng` (a `numpy.random.Generator`, default seed 0).
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
        out, into = self.parameters["weight"].shape
        if tuple(shape) != (into, 1, 1):
            have = "×".join(map(str, shape)) + (" (a Flatten is missing before it)" if shape[1:] != (1, 1) else "")
            raise ValueError(f"{self} takes {into} features; its input has {have}")
        return (out, 1, 1)

    def forward(self, x):
        """z = W·x + bias."""
        z = product(x, like(self.parameters["weight"], x).T)
        if "bias" in self.parameters:
            z += like(self.parameters["bias"], x)
        return z, x

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 and 6 without f': ∂z_p/∂x_i = W_p · ∂H/∂x_i.

        Only the units whose window covers pixel i contribute. Pixels that are covered by the same units form a block
        (for LeNet 4×4 pixels and 1 to 16 units): one matrix product per block.
        """
        before = jacobian.spatial or jacobian
        (channels, height, width), units = before.image, before.units
        weight = like(self.parameters["weight"], saved)
        out = len(weight)
        if before.is_identity:
            table = np.array(weight.reshape(out, channels, height, width).transpose(2, 3, 1, 0), order="C")
            table = table.reshape(height, width, channels, 1, 1, 1, out)
            return Jacobian(table, (1, 1), (0, 0), (1, 1), before.image)
        weight = np.ascontiguousarray(weight.T).reshape(-1, *units, out)
        batch = before.values.shape[5]
        table = np.empty((height, width, channels, 1, 1, batch, out), before.values.dtype)
        columns = before.coverage(1)
        for p0, p1, u0, u1 in before.coverage(0):
            row = np.ascontiguousarray(weight[:, u0:u1].transpose(2, 1, 0, 3))  # (v, u, c, out): v0 to v1 are one block
            for q0, q1, v0, v1 in columns:
                block = table[p0:p1, q0:q1]
                if u0 < u1 and v0 < v1:
                    seen = _seen(before, (p0, p1, u0, u1), (q0, q1, v0, v1))
                    block[:] = (seen @ row[v0:v1].reshape(-1, out)).reshape(block.shape)
                else:
                    block[:] = 0
        return Jacobian(table, (1, 1), (0, 0), (1, 1), before.image)

    def backward(self, grad_y, saved):
        """∂/∂x = Wᵀ · ∂/∂z."""
        return product(grad_y, like(self.parameters["weight"], grad_y))

    def gradients(self, grad_y, saved):
        """∂/∂W = Σ_b ∂/∂z ⊗ x and ∂/∂bias = Σ_b ∂/∂z."""
        grad = grad_y.reshape(len(grad_y), -1)
        found = {"weight": grad.T @ saved.reshape(len(saved), -1)}
        if "bias" in self.parameters:
            found["bias"] = grad.sum(axis=0)
        return found

    def __repr__(self):
        out, into = self.parameters["weight"].shape
        return f"Linear({into}, {out})"


def _seen(jacobian, rows, columns):
    """The derivatives of a block of pixels in the units that cover it: a row a pixel and sample, a column a unit."""
    (p0, p1, u0, u1), (q0, q1, v0, v1) = rows, columns
    values, (sy, sx), (oy, ox) = jacobian.values, jacobian.stride, jacobian.start
    units = [(u, v) for v in range(v0, v1) for u in range(u0, u1)]
    parts = []
    for u, v in units:
        y, x = p0 - oy - sy * u, q0 - ox - sx * v
        parts.append(values[y:y + p1 - p0, x:x + q1 - q0, :, _same(u, values, 3), _same(v, values, 4)])
    seen = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
    return seen.reshape(-1, seen.shape[-1])


def _same(unit, values, axis):
    """The unit's place along an axis of the windows, which has length 1 where they are the same everywhere."""
    return unit if values.shape[axis] > 1 else 0
