"""Fixed constants: weight · x + bias, as images are normalised or scaled before a network.

In and out: (b, y, x, c). Eq. 5 needs only the weight of each unit; in `nn.textbook` these make a
diagonal W. Read on in `layers.unflatten`.
"""
import numpy as np

from nn.layers.base import Layer, like


class Affine(Layer):
    """z = weight · x + bias, unit by unit, with constants that are not trained.

    `Affine(1 / std, -mean / std)` is (x − mean) / std, `Affine(1 / 255)` is x / 255.

    Args:
        weight, bias: a number, (c,) or (c, 1, 1) one for each channel, or (c, y, x) one for each
            unit.

    Raises:
        ValueError: other shapes, NaN or infinity.
    """

    fixed = ("weight", "bias")

    def __init__(self, weight=1.0, bias=0.0):
        super().__init__()
        self.parameters = {"weight": _constant(weight, "weight"), "bias": _constant(bias, "bias")}

    def output_shape(self, shape):
        """(c, y, x) → the same."""
        for name, constant in self.parameters.items():
            if constant.shape not in ((), shape[:1], (shape[0], 1, 1), tuple(shape)):
                size = "×".join(map(str, shape))
                raise ValueError(f"{self}: {name} must be a number, one for each channel or one "
                                 f"for each unit of {size}; got the shape {constant.shape}")
        return shape

    def forward(self, x):
        """(weight · x + bias, the weight as it lies on x)."""
        weight, bias = (_channels_last(like(self.parameters[name], x)) for name in self.fixed)
        return x * weight + bias, weight

    def forward_derivative(self, jacobian, saved):
        """Eq. 5: ∂z/∂x = weight · ∂H/∂x."""
        return jacobian.scaled(saved)

    def backward(self, grad_y, saved):
        """∂/∂x = weight · ∂/∂z."""
        return grad_y * saved

    def __repr__(self):
        return f"Affine({', '.join(map(_said, self.parameters.values()))})"


def _constant(value, name):
    try:
        array = np.array(value, order="C")
    except ValueError:  # rows of different length
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers; got {value!r}")
    array = array if array.dtype in (np.float32, np.float64) else array.astype(float)
    if array.ndim not in (0, 1, 3) or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, a number, (c,) or (c, y, x); "
                         f"got the shape {array.shape}")
    return array


def _channels_last(constant):
    """(), (c,) or (c, y, x) → what multiplies (b, y, x, c), with four axes."""
    if constant.ndim == 3:
        return constant.transpose(1, 2, 0)[None]
    return constant.reshape(1, 1, 1, -1)


def _said(constant):
    return f"{constant:g}" if constant.ndim == 0 else f"constants {constant.shape}"
