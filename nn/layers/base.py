"""What every layer has: a value, its forward derivative (Eq. 4 and 5) and its backward step.

In and out of a layer go arrays (b, y, x, c): sample, row, column, channel last; a flat layer has
one row and one column. A layer holds its parameters and nothing else: what the derivatives need of
the value is returned as `saved`, so one network may serve several threads. A layer never changes
the type of its input: parameters follow it (float32, float64 or, for the complex step, complex).
`nn.textbook` has the same equations with explicit matrices. Read on in `layers.jacobian`.
"""
import numpy as np


class Layer:
    """The base of all layers.

    `parameters` maps PyTorch's names ("weight", "bias") to arrays of PyTorch's shapes; those named
    in `fixed` are saved and loaded with the others, but not trained.
    """

    fixed: tuple[str, ...] = ()

    def __init__(self):
        self.parameters = {}

    def output_shape(self, shape):
        """The output's shape (c, y, x) for an input of `shape`; ValueError if it does not fit."""
        return shape

    def forward(self, x):
        """The value: x (b, y, x, c) → (value, saved)."""
        raise NotImplementedError

    def forward_derivative(self, jacobian, saved):
        """Eq. 5: the Jacobian of this layer's input → the Jacobian of its output."""
        raise NotImplementedError

    def backward(self, grad_y, saved):
        """The transposed step: ∂/∂output (…, b, y, x, c) → ∂/∂input, whatever axes stand before."""
        raise NotImplementedError

    def gradients(self, grad_y, saved):
        """{name: ∂/∂parameter} summed over the batch, from ∂/∂output (b, y, x, c)."""
        return {}

    def __repr__(self):
        return f"{type(self).__name__}()"


class Merge(Layer):
    """A layer of several inputs, all with the same positions.

    Where other layers take a shape, a value or a Jacobian it takes a tuple of them, one for each
    input, and `backward` returns as many gradients.
    """


def like(parameter, x):
    """`parameter` in the precision of `x`; it stays real (or complex) whatever x is."""
    if parameter.dtype.kind == "c":
        return parameter
    return parameter.astype(x.real.dtype, copy=False)


def product(x, matrix):
    """x (…, n) times matrix (n, m) → (…, m), as one matrix product.

    NumPy's `x @ matrix` would make one for each row of the image.
    """
    rows = int(np.prod(x.shape[:-1]))
    return (x.reshape(rows, x.shape[-1]) @ matrix).reshape(*x.shape[:-1], matrix.shape[1])


def tap_slice(tap, stride, positions):
    """Along one axis: which units of the input stand under `tap` of a kernel, at all positions."""
    return slice(tap, tap + stride * (positions - 1) + 1, stride)


def pair(value, name, least):
    """`value` or (value, value) as two whole numbers ≥ `least`, as PyTorch reads kernel sizes."""
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(numbers) != 2 or any(not isinstance(n, (int, np.integer)) or n < least for n in numbers):
        raise ValueError(
            f"{name} must be a whole number of at least {least}, or two; got {value!r}")
    return int(numbers[0]), int(numbers[1])


def count(value, name):
    """`value` as a whole number of at least 1; ValueError naming it otherwise."""
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
    return int(value)


def number(value, name):
    """`value` as a finite float; ValueError naming it otherwise."""
    real = isinstance(value, (int, float, np.integer, np.floating))
    if not real or not np.isfinite(value):
        raise ValueError(f"{name} must be a finite number; got {value!r}")
    return float(value)


def uniform(rng, shape, fan_in):
    """PyTorch's start of weights and biases: uniform in ±1/√fan_in, drawn in float64, float32."""
    bound = 1 / np.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(np.float32)
