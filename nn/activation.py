"""Activations: the factor f' of Eq. 5, for each unit on its own, and the softmax, which ties all outputs together.

In and out: (b, y, x, c); complex input is allowed (ReLU looks at the real part). Read on in `linear`.
"""
import numpy as np

from nn.jacobian import Jacobian
from nn.layer import Layer


class _Elementwise(Layer):
    """An activation of each unit on its own; `saved` is f' at every unit."""

    def forward_derivative(self, jacobian, saved):
        """Eq. 5: ∂H/∂x = f'(z) · ∂z/∂x."""
        return jacobian.scaled(saved)

    def backward(self, grad_y, saved):
        """∂/∂z = f'(z) · ∂/∂H."""
        return grad_y * saved


class Tanh(_Elementwise):
    """tanh(z); f' = 1 − tanh²."""

    def forward(self, x):
        """(tanh(x), 1 − tanh²(x))."""
        y = np.tanh(x)
        return y, 1 - y * y


class Sigmoid(_Elementwise):
    """φ(z) = 1 / (1 + e^−z), computed as (1 + tanh(z/2)) / 2, which does not overflow; f' = φ·(1 − φ)."""

    def forward(self, x):
        """(φ(x), φ(x)·(1 − φ(x)))."""
        y = 0.5 * (1 + np.tanh(0.5 * x))
        return y, y * (1 - y)


class ReLU(_Elementwise):
    """max(z, 0); f' is 1 above 0 and 0 at and below it, as in PyTorch."""

    def forward(self, x):
        """(max(x, 0), 1 where x > 0)."""
        off = x.real <= 0
        return np.where(off, 0, x), (~off).astype(x.real.dtype)


class Softmax(Layer):
    """p_j = e^{z_j} / Σ_k e^{z_k} over the channels; the largest z is subtracted first, so nothing overflows."""

    @np.errstate(over="ignore")  # a difference of −∞ is a probability of 0
    def forward(self, x):
        """(p, p)."""
        e = np.exp(x - x.real.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        return p, p

    def forward_derivative(self, jacobian, saved):
        """∂p_j/∂x_i = p_j · (∂z_j/∂x_i − Σ_k p_k ∂z_k/∂x_i)."""
        values, p = jacobian.values, np.moveaxis(saved, 0, 2)
        mean = (values * p).sum(axis=-1, keepdims=True)
        return Jacobian(p * (values - mean), jacobian.stride, jacobian.start, jacobian.units, jacobian.image)

    def backward(self, grad_y, saved):
        """∂/∂z_j = p_j · (∂/∂p_j − Σ_k p_k ∂/∂p_k)."""
        p = saved
        return p * (grad_y - (grad_y * p).sum(axis=-1, keepdims=True))
