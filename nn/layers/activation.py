"""Activations: f and the f' of Eq. 5, for each unit on its own; softmax, which ties all outputs.

In and out: (b, y, x, c). Complex input is allowed: where f has a kink, the real part decides.
Where an activation is saturated, f' is tiny; here it is right in all its digits, for no numbers are
subtracted that are nearly equal. `nn.textbook` has the same f and f' by other formulas. Read on in
`layers.linear`.
"""
import numpy as np
import scipy

from nn.layers.base import Layer, number


def _precise(function, x):
    """NumPy's `function` of x, "log1p" or "expm1"; of complex x SciPy's, which loses no digits."""
    return getattr(scipy.special if x.dtype.kind == "c" else np, function)(x)


def _upward(x):
    """x or −x, whichever has the real part ≥ 0."""
    return np.where(x.real < 0, -x, x) if x.dtype.kind == "c" else np.abs(x)


class _Elementwise(Layer):
    """An activation of each unit on its own: `forward` returns (f(z), f'(z)), so `saved` is f'."""

    def forward_derivative(self, jacobian, saved):
        """Eq. 5: ∂H/∂x = f'(z) · ∂z/∂x."""
        return jacobian.scaled(saved)

    def backward(self, grad_y, saved):
        """∂/∂z = f'(z) · ∂/∂H."""
        return grad_y * saved


class Tanh(_Elementwise):
    """f = tanh(z); f' = 1 − tanh²(z) = 4e / (1 + e)² with e = e^{−2|z|}."""

    def forward(self, x):
        """(tanh(x), 4e / (1 + e)²)."""
        y = np.tanh(x)
        if x.dtype.kind == "c":  # the complex step asks for values alone: what is fast will do
            return y, 1 - y * y
        e = np.exp(-2 * np.abs(x))
        return y, 4 * e / (1 + e) ** 2


class Sigmoid(_Elementwise):
    """f = φ(z) = 1 / (1 + e^−z); f' = φ·(1 − φ) = e / (1 + e)² with e = e^{−|z|}."""

    def forward(self, x):
        """(1 / (1 + e) or, below 0, e / (1 + e); e / (1 + e)²)."""
        e = np.exp(-_upward(x))
        smaller = e / (1 + e)
        return np.where(x.real < 0, smaller, 1 / (1 + e)), smaller / (1 + e)


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
        z = np.where(on, 0, x)
        return np.where(on, x, alpha * _precise("expm1", z)), np.where(on, 1, alpha * np.exp(z))

    def __repr__(self):
        return f"ELU({self.alpha:g})"


class Softplus(_Elementwise):
    """f = log(1 + e^{beta·z}) / beta; f' = φ(beta·z). With e = e^{−|beta·z|} nothing overflows."""

    def __init__(self, beta=1.0):
        super().__init__()
        self.beta = number(beta, "beta")
        if self.beta <= 0:
            raise ValueError(f"beta must be above 0; got {beta!r}")

    def forward(self, x):
        """((max(z, 0) + log(1 + e)) / beta, 1 / (1 + e) or, below 0, e / (1 + e)); z = beta·x."""
        beta = x.real.dtype.type(self.beta)
        z = x * beta
        off = z.real < 0
        e = np.exp(-_upward(z))
        return (np.where(off, 0, z) + _precise("log1p", e)) / beta, np.where(off, e, 1) / (1 + e)

    def __repr__(self):
        return f"Softplus({self.beta:g})"


class Softmax(Layer):
    """p_j = e^{z_j} / Σ_k e^{z_k} over the channels of each position.

    A number that is added to all z changes nothing. So the largest z is subtracted first, and
    nothing overflows; of derivatives that of the largest p: nothing cancels where p is nearly 1.
    """

    @np.errstate(over="ignore")  # a difference of −∞ is a probability of 0
    def forward(self, x):
        """(p, p)."""
        e = np.exp(x - x.max(axis=-1, keepdims=True))  # of complex numbers the largest real part
        p = e / e.sum(axis=-1, keepdims=True)
        return p, p

    def forward_derivative(self, jacobian, saved):
        """∂p_j/∂x_i = p_j · (∂z_j/∂x_i − Σ_k p_k ∂z_k/∂x_i)."""
        p = np.moveaxis(saved, 0, 2)  # (y, x, b, c)
        return jacobian.with_values(_coupled(jacobian.values, p))

    def backward(self, grad_y, saved):
        """∂/∂z_j = p_j · (∂/∂p_j − Σ_k p_k ∂/∂p_k)."""
        return _coupled(grad_y, saved)


def _coupled(values, p):
    """p_j · (v_j − Σ_k p_k v_k) along the last axis, where v_m of the largest p_m is subtracted
    from all v first."""
    largest = p.real.argmax(axis=-1)[(None,) * (values.ndim - p.ndim) + (..., None)]
    values = np.broadcast_to(values, np.broadcast_shapes(values.shape, p.shape))
    largest = np.broadcast_to(largest, (*values.shape[:-1], 1))
    values = values - np.take_along_axis(values, largest, axis=-1)
    return p * (values - (values * p).sum(axis=-1, keepdims=True))
