"""Branches that come together: the sum of several layers' outputs (a residual block), or all of them side by side.

In: tuples, one entry a branch; the branches have the same positions, but may see windows of different size. Out: one
value (b, y, x, c), and a Jacobian whose windows hold those of all branches. Read on in `models`.
"""
import numpy as np

from nn.layers.base import Merge
from nn.layers.jacobian import Jacobian, aligned


class Add(Merge):
    """z = Σ_n x_n, for inputs of one shape."""

    def output_shape(self, shapes):
        """((c, y, x), …) → (c, y, x)."""
        if len(set(shapes)) > 1:
            raise ValueError(f"{self} takes inputs of one shape; got {_listed(shapes)}")
        return shapes[0]

    def forward(self, x):
        """(x_1, x_2, …), each (b, y, x, c) → their sum; `saved` is how many."""
        return sum(x[1:], x[0]), len(x)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with all weights 1: ∂z/∂x_i = Σ_n ∂H_n/∂x_i."""
        values, stride, start = aligned(jacobian)
        return Jacobian(sum(values[1:], values[0]), stride, start, jacobian[0].units, jacobian[0].image)

    def backward(self, grad_y, saved):
        """Every branch gets the whole gradient."""
        return (grad_y,) * saved


class Concat(Merge):
    """The channels of all inputs, one input's after the other's (`torch.cat` along axis 1)."""

    def output_shape(self, shapes):
        """((c_1, y, x), (c_2, y, x), …) → (c_1 + c_2 + …, y, x)."""
        if len({shape[1:] for shape in shapes}) > 1:
            raise ValueError(f"{self} takes inputs of one height and width; got {_listed(shapes)}")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def forward(self, x):
        """(x_1, x_2, …), each (b, y, x, c_n) → (b, y, x, Σ c_n); `saved` is where one ends and the next begins."""
        return np.concatenate(x, axis=-1), np.cumsum([part.shape[-1] for part in x])[:-1]

    def forward_derivative(self, jacobian, saved):
        """No derivative of its own: the channels are named anew."""
        values, stride, start = aligned(jacobian)
        shape = np.broadcast_shapes(*(part.shape[:-1] for part in values))
        values = np.concatenate([np.broadcast_to(part, (*shape, part.shape[-1])) for part in values], axis=-1)
        return Jacobian(values, stride, start, jacobian[0].units, jacobian[0].image)

    def backward(self, grad_y, saved):
        """Every branch gets the gradient of its own channels."""
        return tuple(np.split(grad_y, saved, axis=-1))


def _listed(shapes):
    return ", ".join("×".join(map(str, shape)) for shape in shapes)
