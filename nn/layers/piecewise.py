"""Activations in pieces of straight lines: f is a line on either side of a kink, f' its slope.

In and out: (b, y, x, c). At a kink f' is PyTorch's; of complex input the real part decides on which
side it is. `nn.textbook` has the same f and f', `nn.verify.ties` the kinks. Read on in
`layers.linear`.
"""
import numpy as np

from nn.layers.activation import Activation
from nn.layers.base import count, like, number


class ReLU(Activation):
    """f = max(z, 0); f' is 1 above 0 and 0 at and below it, as in PyTorch."""

    def forward(self, x):
        """(max(x, 0), 1 where x > 0)."""
        off = x.real <= 0
        return np.where(off, 0, x), (~off).astype(x.real.dtype)


class LeakyReLU(Activation):
    """f = z above 0, negative_slope·z at and below it; f' is 1 and `negative_slope`."""

    def __init__(self, negative_slope=0.01):
        super().__init__()
        self.negative_slope = number(negative_slope, "negative_slope")

    def forward(self, x):
        """(x or negative_slope·x, 1 or negative_slope)."""
        slope = np.where(x.real > 0, 1, self.negative_slope).astype(x.real.dtype)
        return x * slope, slope

    def __repr__(self):
        return f"LeakyReLU({self.negative_slope:g})"


class PReLU(Activation):
    """A `LeakyReLU` that learns its slope below 0: `weight`, (1,) for all channels or (c,) for
    each, which starts at `init`."""

    def __init__(self, num_parameters=1, init=0.25):
        super().__init__()
        size = count(num_parameters, "num_parameters")
        self.parameters["weight"] = np.full(size, number(init, "init"), np.float32)

    def output_shape(self, shape):
        """(c, y, x) → the same."""
        slopes = len(self.parameters["weight"])
        if slopes not in (1, shape[0]):
            raise ValueError(f"{self} takes {slopes} channels; its input has {shape[0]}")
        return shape

    def forward(self, x):
        """(x or weight·x, (1 or weight, x at and below 0))."""
        on = x.real > 0
        slope = np.where(on, 1, like(self.parameters["weight"], x))
        return x * slope, (slope, np.where(on, 0, x))

    def forward_derivative(self, jacobian, saved):
        """Eq. 5: ∂H/∂x = f'(z) · ∂z/∂x."""
        return super().forward_derivative(jacobian, saved[0])

    def backward(self, grad_y, saved):
        """∂/∂z = f'(z) · ∂/∂H."""
        return super().backward(grad_y, saved[0])

    def gradients(self, grad_y, saved):
        """∂/∂weight = Σ z · ∂/∂H over all z ≤ 0 that it multiplies."""
        by_channel = (grad_y * saved[1]).sum(axis=(0, 1, 2))
        return {"weight": by_channel.reshape(len(self.parameters["weight"]), -1).sum(axis=1)}

    def __repr__(self):
        return f"PReLU({len(self.parameters['weight'])})"


class Hardtanh(Activation):
    """f = z between `min_val` and `max_val`, and these beyond; f' is 1 between them, else 0."""

    def __init__(self, min_val=-1.0, max_val=1.0):
        super().__init__()
        self.min_val = number(min_val, "min_val")
        self.max_val = number(max_val, "max_val")
        if self.min_val >= self.max_val:
            raise ValueError(f"min_val must be below max_val; got {min_val!r} and {max_val!r}")

    def forward(self, x):
        """(x, or the nearest of the two; 1 where it is x)."""
        low, high = (x.real.dtype.type(value) for value in (self.min_val, self.max_val))
        below, above = x.real <= low, x.real >= high
        y = np.where(below, low, np.where(above, high, x))
        return y, (~(below | above)).astype(x.real.dtype)

    def __repr__(self):
        return f"Hardtanh({self.min_val:g}, {self.max_val:g})"


class ReLU6(Hardtanh):
    """PyTorch's `ReLU6`: f = min(max(z, 0), 6)."""

    def __init__(self):
        super().__init__(0, 6)

    def __repr__(self):
        return "ReLU6()"
