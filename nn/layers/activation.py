"""Activations: f and the f' of Eq. 5, for each unit on its own; softmax, which ties all outputs.

In and out: (b, y, x, c). Complex input is allowed: where f has a kink, the real part decides.
Where an activation is saturated, f and f' are tiny; here they are right in all their digits, for no
numbers are subtracted that are nearly equal. `nn.textbook` has the same f and f' by other formulas.
Read on in `layers.piecewise`.
"""
import numpy as np
import scipy

from nn.layers.base import Layer, number

CUBIC = 0.044715  # in GELU's approximation
FLAT = 100  # beyond ±FLAT the normal distribution's function is 0 or 1 in float64


def _precise(function, x):
    """NumPy's `function` of x, "log1p" or "expm1"; of complex x SciPy's, which loses no digits."""
    return getattr(scipy.special if x.dtype.kind == "c" else np, function)(x)


def _upward(x):
    """x or −x, whichever has the real part ≥ 0."""
    return np.where(x.real < 0, -x, x) if x.dtype.kind == "c" else np.abs(x)


def _logistic(x):
    """(φ(x), φ(−x)), φ(x) = 1 / (1 + e^−x), the smaller one as e / (1 + e) with e = e^{−|x|}."""
    e = np.exp(-_upward(x))
    smaller, larger, below = e / (1 + e), 1 / (1 + e), x.real < 0
    return np.where(below, smaller, larger), np.where(below, larger, smaller)


class Activation(Layer):
    """A function of each unit on its own: `forward` returns (f(z), f'(z)), so `saved` is f'."""

    def forward_derivative(self, jacobian, saved):
        """Eq. 5: ∂H/∂x = f'(z) · ∂z/∂x."""
        return jacobian.scaled(saved)

    def backward(self, grad_y, saved):
        """∂/∂z = f'(z) · ∂/∂H."""
        return grad_y * saved


class Tanh(Activation):
    """f = tanh(z); f' = 1 − tanh²(z) = 4e / (1 + e)² with e = e^{−2|z|}."""

    def forward(self, x):
        """(tanh(x), 4e / (1 + e)²)."""
        e = np.exp(-2 * _upward(x))
        return np.tanh(x), 4 * e / (1 + e) ** 2


class Sigmoid(Activation):
    """f = φ(z) = 1 / (1 + e^−z); f' = φ·(1 − φ) = e / (1 + e)² with e = e^{−|z|}."""

    def forward(self, x):
        """(1 / (1 + e) or, below 0, e / (1 + e); e / (1 + e)²)."""
        phi, rest = _logistic(x)
        return phi, phi * rest


class ELU(Activation):
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


class Softplus(Activation):
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


class SiLU(Activation):
    """f = z·φ(z), φ the sigmoid; f' = φ(z)·(1 + z·φ(−z))."""

    def forward(self, x):
        """(x·φ(x), φ(x)·(1 + x·φ(−x)))."""
        phi, rest = _logistic(x)
        return x * phi, phi * (1 + x * rest)


class GELU(Activation):
    """f = z·Φ(z), Φ the normal distribution's function; f' = Φ(z) + z·Φ'(z).

    approximate="tanh": Φ(z) is (1 + tanh(u)) / 2, u = √(2/π)·(z + 0.044715·z³). That is φ(2u), the
    sigmoid, which loses no digits where Φ is tiny.
    """

    def __init__(self, approximate="none"):
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate must be 'none' or 'tanh'; got {approximate!r}")
        self.approximate = approximate

    def forward(self, x):
        """(x·Φ(x), Φ(x) + x·Φ'(x))."""
        z = np.where(np.abs(x.real) < FLAT, x, FLAT * np.sign(x.real)).astype(x.dtype, copy=False)
        if self.approximate == "none":
            share = scipy.special.ndtr(z)
            return x * share, share + z * (np.exp(-z * z / 2) / (2 * np.pi) ** 0.5)
        share, rest = _logistic((8 / np.pi) ** 0.5 * (z + CUBIC * z ** 3))
        slope = (8 / np.pi) ** 0.5 * (1 + 3 * CUBIC * z * z)  # of 2u
        return x * share, share * (1 + z * rest * slope)

    def __repr__(self):
        return f"GELU({self.approximate!r})"


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
