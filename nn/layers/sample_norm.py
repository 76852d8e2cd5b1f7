"""Normalisation within a sample: `LayerNorm` over all units, `GroupNorm` over groups of channels.

Each unit hangs on all units of its group, so its window in the image is the union of theirs: behind
these layers all units share one window (`shared_windows`). With n = (x − μ) / √(σ² + eps), μ and σ²
the group's mean and variance, Eq. 5 is

    ∂n = (∂x − mean(∂x) − n · mean(n · ∂x)) / √(σ² + eps).

In and out: (b, y, x, c). `nn.textbook` has f' of a group as a matrix. Read on in `layers.affine`.
"""
import numpy as np

from nn.layers.base import Layer, count, like, number

GROUP = (-4, -3, -1)  # the axes y, x and channel of (…, b, y, x, group, channel)


class _SampleNorm(Layer):
    """`groups` groups of channels, normalised each; `weight` and `bias`, where there are any."""

    def groups(self, channels):
        """How many groups an input of so many channels has."""
        return 1

    def by_unit(self, parameter):
        """A parameter as it stands beside (b, y, x, c)."""
        return parameter

    def _fill(self, shape, weight, bias):
        """PyTorch's start: 1 and 0."""
        for name, value, there in (("weight", 1, weight), ("bias", 0, bias)):
            if there:
                self.parameters[name] = np.full(shape, value, np.float32)

    def forward(self, x):
        """weight · (x − μ) / √(σ² + eps) + bias; `saved` = (n (b, y, x, group, channel), 1/√…)."""
        by_group = x.reshape(*x.shape[:3], self.groups(x.shape[3]), -1)
        centred = by_group - by_group.mean(axis=GROUP, keepdims=True)
        variance = (centred * centred).mean(axis=GROUP, keepdims=True)
        inverse = 1 / np.sqrt(variance + self.eps)
        normal = centred * inverse
        y = normal.reshape(x.shape) * self._scale(x)
        if "bias" in self.parameters:
            y = y + self.by_unit(like(self.parameters["bias"], x))
        return y, (normal, inverse)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with all windows of a sample in one."""
        shared = shared_windows(jacobian)
        values = np.moveaxis(shared.values, 5, 3)  # (wy, wx, i, b, y, x, c)
        values = projected(values, saved) * self._scale(values)
        return shared.with_values(np.moveaxis(values, 3, 5))

    def backward(self, grad_y, saved):
        """The transposed step: n's derivative is symmetric."""
        return projected(grad_y * self._scale(grad_y), saved)

    def gradients(self, grad_y, saved):
        """∂/∂weight = Σ n · ∂/∂y and ∂/∂bias = Σ ∂/∂y, over all that each multiplies."""
        terms = {"weight": grad_y * saved[0].reshape(grad_y.shape), "bias": grad_y}
        return {name: self._summed(terms[name]) for name in self.parameters}

    def _scale(self, x):
        """The weight in the precision of x, as it multiplies (b, y, x, c); 1 without one."""
        if "weight" not in self.parameters:
            return 1
        return self.by_unit(like(self.parameters["weight"], x))

    def _summed(self, terms):
        """(b, y, x, c) → the shape of a parameter."""
        return terms.sum(axis=(0, 1, 2))


class LayerNorm(_SampleNorm):
    """PyTorch's `LayerNorm` over all units of a sample: `normalized_shape` is (M,) for a flat
    input, (channels, height, width) for an image, or (height, width) for each of its channels;
    `weight` and `bias` have that shape."""

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True):
        super().__init__()
        shape = np.atleast_1d(normalized_shape).tolist()
        if len(shape) > 3:
            raise ValueError("normalized_shape must be (M,), (height, width) or (channels, height, "
                             f"width); got {normalized_shape!r}")
        self.normalized_shape = tuple(count(n, "normalized_shape") for n in shape)
        self.eps = number(eps, "eps")
        self.elementwise_affine = bool(elementwise_affine)
        self._fill(self.normalized_shape, self.elementwise_affine,
                   self.elementwise_affine and bias)

    def output_shape(self, shape):
        """(c, y, x) → the same."""
        wanted = self.normalized_shape
        wanted = {1: (*wanted, 1, 1), 2: (shape[0], *wanted), 3: wanted}[len(wanted)]
        if tuple(shape) != wanted:
            size = "×".join(map(str, shape))
            raise ValueError(f"{self} takes all units of a sample; its input has {size}")
        return shape

    def groups(self, channels):
        """One, or each channel of an image, which is normalised over height and width."""
        return channels if len(self.normalized_shape) == 2 else 1

    def by_unit(self, parameter):
        """(c, y, x) → (y, x, c), (y, x) → (y, x, 1)."""
        if parameter.ndim == 1:
            return parameter
        return np.moveaxis(parameter.reshape(-1, *parameter.shape[-2:]), 0, -1)

    def _summed(self, terms):
        total = terms.sum(axis=0).transpose(2, 0, 1)  # (c, y, x)
        total = total.sum(axis=0) if len(self.normalized_shape) == 2 else total
        return total.reshape(self.normalized_shape)

    def __repr__(self):
        options = "" if self.elementwise_affine else ", elementwise_affine=False"
        if self.elementwise_affine and "bias" not in self.parameters:
            options = ", bias=False"
        return f"LayerNorm({self.normalized_shape}, eps={self.eps:g}{options})"


class GroupNorm(_SampleNorm):
    """PyTorch's `GroupNorm`: `num_channels` channels in `num_groups` groups; `weight` and `bias`,
    (c,), unless `affine` is False."""

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True):
        super().__init__()
        self.num_groups = count(num_groups, "num_groups")
        self.num_channels = count(num_channels, "num_channels")
        self.eps = number(eps, "eps")
        self.affine = bool(affine)
        if self.num_channels % self.num_groups:
            raise ValueError(f"num_groups must divide num_channels; got {num_groups!r} and "
                             f"{num_channels!r}")
        self._fill(self.num_channels, affine, affine)

    def output_shape(self, shape):
        """(c, y, x) → the same."""
        if shape[0] != self.num_channels:
            raise ValueError(
                f"{self} takes {self.num_channels} channels; its input has {shape[0]}")
        return shape

    def groups(self, channels):
        """`num_groups`."""
        return self.num_groups

    def __repr__(self):
        options = "" if self.affine else ", affine=False"
        return f"GroupNorm({self.num_groups}, {self.num_channels}, eps={self.eps:g}{options})"


def projected(v, saved):
    """(v − mean(v) − n · mean(n · v)) / √(σ² + eps) in each group; v is (…, b, y, x, c)."""
    normal, inverse = saved
    v = v.reshape(*v.shape[:-1], *normal.shape[-2:])
    v = v - v.mean(axis=GROUP, keepdims=True)
    v = (v - normal * (normal * v).mean(axis=GROUP, keepdims=True)) * inverse
    return v.reshape(*v.shape[:-2], -1)


def shared_windows(jacobian):
    """The same derivatives in one window for all units: the whole image."""
    if jacobian.units == (1, 1) or jacobian.is_shared:
        return jacobian
    table = jacobian.dense(jacobian.shape[5])
    values = table.reshape(*table.shape[:4], *jacobian.image)  # (b, c, y, x, i, wy, wx)
    return jacobian.with_values(values.transpose(5, 6, 4, 2, 3, 0, 1), stride=(0, 0), start=(0, 0))
