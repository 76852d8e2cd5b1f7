"""Batch normalisation and dropout as they are once training is over.

A fixed scale and shift of each channel, and nothing at all: Eq. 5 needs only the factor of each
channel, in `nn.textbook` a diagonal W. In and out: (b, y, x, c); `nn.training.calibrate` sets the
statistics from data. Read on in `layers.sample_norm`.
"""
import numpy as np

from nn.layers.base import Layer, count, like, number


class BatchNorm2d(Layer):
    """PyTorch's `BatchNorm2d` after `eval()`, for each channel:

    z = weight · (x − running_mean) / √(running_var + eps) + bias.

    `weight`, `bias`, `running_mean`, `running_var`, each (c,), start as in PyTorch (1, 0, 0, 1).
    The two statistics are `fixed`: saved with the rest, not trained.
    """

    fixed = ("running_mean", "running_var")

    def __init__(self, num_features, eps=1e-5):
        super().__init__()
        channels = count(num_features, "num_features")
        self.eps = number(eps, "eps")
        start = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
        self.parameters.update(
            {name: np.full(channels, value, np.float32) for name, value in start.items()})

    def output_shape(self, shape):
        """(c, y, x) → the same."""
        channels = len(self.parameters["weight"])
        if shape[0] != channels:
            raise ValueError(f"{self} takes {channels} channels; its input has {shape[0]}")
        return shape

    def forward(self, x):
        """x (b, y, x, c) → the normalised value; `saved` = (its factor (1, 1, 1, c), x)."""
        weight, bias = (like(self.parameters[name], x) for name in ("weight", "bias"))
        mean, variance = (like(self.parameters[name], x) for name in self.fixed)
        deviation = np.sqrt(variance + variance.real.dtype.type(self.eps))
        factor = (weight / deviation).reshape(1, 1, 1, -1)
        return (x - mean) * factor + bias, (factor, x)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5: each channel's derivatives times its factor."""
        return jacobian.scaled(saved[0])

    def backward(self, grad_y, saved):
        """∂/∂x = factor · ∂/∂z."""
        return grad_y * saved[0]

    def gradients(self, grad_y, saved):
        """Summed over samples and positions, with √ of (var + eps):

        ∂/∂weight = Σ ∂/∂z · (x − mean) / √(var + eps) and ∂/∂bias = Σ ∂/∂z.
        """
        x = saved[1]
        mean, variance = (like(self.parameters[name], x) for name in self.fixed)
        normal = (x - mean) / np.sqrt(variance + variance.dtype.type(self.eps))
        return {"weight": (grad_y * normal).sum(axis=(0, 1, 2)), "bias": grad_y.sum(axis=(0, 1, 2))}

    def __repr__(self):
        return f"{type(self).__name__}({len(self.parameters['weight'])}, eps={self.eps:g})"


class BatchNorm1d(BatchNorm2d):
    """PyTorch's `BatchNorm1d` after `eval()`: the same for each feature of a flat layer."""

    def output_shape(self, shape):
        """(c, 1, 1) → the same."""
        if tuple(shape[1:]) != (1, 1):
            size = "×".join(map(str, shape))
            raise ValueError(
                f"{self} takes a flat input; got {size} (a Flatten is missing before it)")
        return super().output_shape(shape)


class Dropout(Layer):
    """PyTorch's `Dropout(p)` after `eval()`: the output is the input.

    `p` is kept for the way back to PyTorch.
    """

    def __init__(self, p=0.5):
        super().__init__()
        self.p = number(p, "p")
        if not 0 <= self.p <= 1:
            raise ValueError(f"p must lie in [0, 1]; got {p!r}")

    def forward(self, x):
        """(x, nothing)."""
        return x, None

    def forward_derivative(self, jacobian, saved):
        """The Jacobian as it is."""
        return jacobian

    def backward(self, grad_y, saved):
        """The gradient as it is."""
        return grad_y

    def __repr__(self):
        return f"Dropout({self.p:g})"
