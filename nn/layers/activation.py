"""Activations: f and the f' of Eq. 5, for each unit on its own; softmax, which ties all outputs.

In and out: (b, y, x, c). Complex input is allowed: where f has a kink, the real part decides.
`nn.textbook` has the same f and f' by other formulas. Read on in `layers.linear`.
"""
import numpy as np

from nn.layers.base import Layer, number


class _Elementwise(Layer):
    """An activation of each unit on its own: `forward` returns (f(z), f'(z)), so `saved` is f'."""

    def forward_derivative(self, jacobian, saved):
        """Eq. 5: ∂H/∂x = f'(z) · ∂z/∂x."""
        return jacobian.scaled(saved)

    def backward(self, grad_y, saved):
        """∂/∂z = f'(z) · ∂/∂H."""
        return grad_y * saved


class Tanh(_Elementwise):
    """f = tanh(z); f' = 1 − tanh²(z)."""

    def forward(self, x):
        """(tanh(x), 1 − tanh²(x))."""
        y = np.tanh(x)
        return y, 1 - y * y


class Sigmoid(_Elementwise):
    """f = φ(z) = 1 / (1 + e^−z); f' = φ·(1 − φ).

    Computed as (1 + tanh(z/2)) / 2, which does not overflow.
    """

    def forward(self, x):
        """(φ(x), φ(x)·(1 − φ(x)))."""
        y = 0.5 * (1 + np.tanh(0.5 * x))
        return y, y * (1 - y)


class ReLU(_Elementwise):
    """f = max(z, 0); f' is 1 above 0 and 0 at and below it, as in PyTorch."""

    def forward(self, x):
        """(max(x, 0), 1 where x > 0)."""
        off = x.real <= 0
        return np.where(off, 0, x), (~off).astype(x.real.dtype)


class LeakyReLU(_Elementwise):
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


class ELU(_Elementwise):
    """f = z above 0, alpha·(e^z − 1) at and below it; f' is 1 and alpha·e^z."""

    def __init__(self, alpha=1.0):
        super().__init__()
        self.alpha = number(alpha, "alpha")

    def forward(self, x):
        """(x or alpha·(e^x − 1), 1 or alpha·e^x)."""
        on = x.real > 0
        alpha = x.real.dtype.type(self.alpha)
        below = alpha * np.expm1(np.where(on, 0, x))
        return np.where(on, x, below), np.where(on, 1, below + alpha)

    def __repr__(self):
        return f"ELU({self.alpha:g})"


class Softplus(_Elementwise):
    """f = log(1 + e^{beta·z}) / beta, computed so that nothing overflows; f' = φ(beta·z)."""

    def __init__(self, beta=1.0):
        super().__init__()
        self.beta = number(beta, "beta")
        if self.beta <= 0:
            raise ValueError(f"beta must be above 0; got {beta!r}")

    def forward(self, x):
        """(log(1 + e^{beta·x}) / beta, φ(beta·x))."""
        beta = x.real.dtype.type(self.beta)
        z = x * beta
        on = z.real > 0
        small = np.log1p(np.exp(np.where(on, -z, z)))
        return (np.where(on, z, 0) + small) / beta, 0.5 * (1 + np.tanh(0.5 * z))

    def __repr__(self):
        return f"Softplus({self.beta:g})"


class Softmax(Layer):
    """p_j = e^{z_j} / Σ_k e^{z_k} over the channels of each position.

    The largest z is subtracted first, so nothing overflows.
    """

    @np.errstate(over="ignore")  # a difference of −∞ is a probability of 0
    def forward(self, x):
        """(p, p)."""
        e = np.exp(x - x.real.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        return p, p

    def forward_derivative(self, jacobian, saved):
        """∂p_j/∂x_i = p_j · (∂z_j/∂x_i − Σ_k p_k ∂z_k/∂x_i)."""
        values = jacobian.values
        p = np.moveaxis(saved, 0, 2)  # (y, x, b, c)
        mean = (values * p).sum(axis=-1, keepdims=True)
        return jacobian.with_values(p * (values - mean))

    def backward(self, grad_y, saved):
        """∂/∂z_j = p_j · (∂/∂p_j − Σ_k p_k ∂/∂p_k)."""
        p = saved
        return p * (grad_y - (grad_y * p).sum(axis=-1, keepdims=True))
