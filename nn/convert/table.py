"""One row a kind of layer: what torch calls it, and how it reads in jax and in autograd. Whoever
adds a layer adds its class, its line in `nn.textbook` and its row here.

In: our classes of layers. Out: `TABLE`, all that `convert.torch`, `convert.torch_trace` and
`verify.frameworks` know of a kind. A row holds names, and functions of what it is given: no other
program is imported here. Read on in `convert.torch`.
"""
import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nn.layers.activation import ELU, GELU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from nn.layers.affine import Affine
from nn.layers.convolution import Conv2d
from nn.layers.linear import Flatten, Linear
from nn.layers.merge import Add, Concat
from nn.layers.normalization import BatchNorm1d, BatchNorm2d, Dropout
from nn.layers.piecewise import Hardtanh, LeakyReLU, PReLU, ReLU, ReLU6
from nn.layers.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from nn.layers.sample_norm import GroupNorm, LayerNorm
from nn.layers.unflatten import Unflatten

SMOOTH = 40  # beyond this Softplus is the identity in torch: below float64's precision


class Functions(NamedTuple):
    """What a formula may use of a program (jax, autograd); values are (C, Y, X)."""
    np: Any                # its namespace of NumPy's functions
    relu: Callable
    sigmoid: Callable
    softmax: Callable      # over the channels
    normal: Callable       # the normal distribution's function
    convolution: Callable  # (h, weight, stride, margins, dilation, groups) → (out, Y', X')
    max_pool: Callable     # (h, kernel, stride, margins) → (C, Y', X')
    sum_pool: Callable     # margins: ((top, bottom), (left, right))


class Conversion(NamedTuple):
    """A row. Torch's module is the namesake of our class, and both constructors share `options`.

    `formula` is (functions, h, own) → the value in jax and autograd, where `own` has the layer's
    options and weights by name; h is a tuple for a merge.
    """
    layer: type
    formula: Callable
    options: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()   # torch's functions and methods for it
    only: dict = {}                   # {option torch alone has: the values we have a layer for}
    only_flat: dict = {}              # the same where the input is (B, M), if that differs
    fixed: dict = {}                  # options that torch's constructor is given besides
    defaults: dict = {}               # of torch's function, where its module has others
    takes: Any = ""                   # "image" or "flat" where torch takes only one of them, or a
                                      # function (layer) that says which
    flat_layer: type | None = None    # our class, and torch's, where the input is (B, M)
    also: tuple[str, ...] = ()        # other modules of torch that do the same
    refuse: Callable | None = None    # (module) → ValueError for a state our layer cannot be in
    join: Callable | None = None      # a merge: (torch, values) → its value

    @property
    def modules(self):
        """The names in `torch.nn` of the modules that stand for this kind."""
        flat = (self.flat_layer.__name__,) if self.flat_layer else ()
        return (self.layer.__name__, *flat, *self.also)

    def taken_by(self, layer):
        """"image", "flat" or "": what torch's module of one of our layers takes."""
        return self.takes(layer) if callable(self.takes) else self.takes

    def kind(self, flat):
        """Our class, whose name is torch's; `flat` says whether its input is (B, M)."""
        return self.flat_layer if flat and self.flat_layer else self.layer


def row_of(layer):
    """The row of one of our layers, or None; a subclass of a kind counts as that kind."""
    return next((row for row in TABLE.values() if isinstance(layer, row.layer)), None)


def option_of(layer, option):
    """The value of a constructor's option, read from one of our layers."""
    if option == "kernel_size":
        return layer.kernel
    if option == "bias":
        return "bias" in layer.parameters
    if option in ("out_channels", "out_features", "num_features", "num_parameters"):
        return len(layer.parameters["weight"])
    if option in ("in_channels", "in_features"):
        return layer.parameters["weight"].shape[1] * getattr(layer, "groups", 1)
    return getattr(layer, option)


def option_of_module(module, option):
    """The value of a constructor's option, read from one of torch's modules."""
    return module.bias is not None if option == "bias" else getattr(module, option)


def _refuse_random(module):
    if module.training and module.p > 0:
        raise ValueError(f"{type(module).__name__} is random while training; "
                         "call module.eval() first")


def _refuse_batch_statistics(module):
    if module.training or module.running_mean is None:
        raise ValueError(f"{type(module).__name__} depends on the batch while training or without "
                         "running statistics; call module.eval() first")


def _column(values):
    """(C,) → (C, 1, 1): a number for each channel."""
    return values[:, None, None]


def _convolution(f, h, own):
    margins = own["padding"]
    if margins == "same":
        around = (d * (k - 1) for d, k in zip(own["dilation"], own["kernel_size"]))
        margins = [(n // 2, n - n // 2) for n in around]
    else:
        margins = [(n, n) for n in margins]
    z = f.convolution(h, own["weight"], own["stride"], margins, own["dilation"], own["groups"])
    return z + _column(own["bias"])


def _pool_margins(h, own):
    """((top, bottom), (left, right)) that pooling windows see around h (C, Y, X)."""
    margins = []
    for n, k, s, p in zip(h.shape[1:], own["kernel_size"], own["stride"], own["padding"]):
        last = max(range(-p, n + p - k + 1, s), default=-p - s)
        if own["ceil_mode"] and last + k < n + p and last + s < n:  # one more, which sticks out
            last += s
        margins.append((p, max(0, last + k - n)))
    return margins


def _max_pool(f, h, own):
    return f.max_pool(h, own["kernel_size"], own["stride"], _pool_margins(h, own))


def _mean_pool(f, h, own):
    margins, kernel, stride = _pool_margins(h, own), own["kernel_size"], own["stride"]
    total = f.sum_pool(h, kernel, stride, margins)
    if own["divisor_override"] is not None:
        return total / own["divisor_override"]
    counted = np.ones((1, *h.shape[1:]))
    if own["count_include_pad"]:
        around = [(p, min(p, after)) for p, (_, after) in zip(own["padding"], margins)]
        counted = np.pad(counted, [(0, 0), *around], constant_values=1)
        margins = [(0, after - n) for (_, after), (_, n) in zip(margins, around)]
    return total / f.sum_pool(counted, kernel, stride, margins)


def _adaptive_mean(f, h, own):
    shares = []  # (Y', Y) and (X', X)
    for size, wanted in zip(h.shape[1:], own["output_size"]):
        wanted = size if wanted is None else wanted
        first = np.arange(wanted)[:, None] * size // wanted
        end = -(-np.arange(1, wanted + 1)[:, None] * size // wanted)
        inside = (np.arange(size) >= first) & (np.arange(size) < end)
        shares.append(inside / inside.sum(axis=1, keepdims=True))
    return f.np.einsum("py,cyx,qx->cpq", shares[0], h, shares[1])


def _linear(f, h, own):
    return f.np.tensordot(own["weight"], h, 1) + _column(own["bias"])


def _batch_norm(f, h, own):
    mean, variance = _column(own["running_mean"]), _column(own["running_var"])
    normal = (h - mean) / f.np.sqrt(variance + own["eps"])
    return _column(own["weight"]) * normal + _column(own["bias"])


def _affine(f, h, own):
    weight, bias = (_column(one) if one.ndim == 1 else one for one in (own["weight"], own["bias"]))
    return weight * h + bias


def _normal(f, h, groups, eps):
    """h (C, Y, X), each group of its channels normalised."""
    by_group = h.reshape(groups, -1)
    centred = by_group - f.np.mean(by_group, axis=1, keepdims=True)
    variance = f.np.mean(centred ** 2, axis=1, keepdims=True)
    return (centred / f.np.sqrt(variance + eps)).reshape(h.shape)


def _layer_norm(f, h, own):
    y = _normal(f, h, h.shape[0] if len(own["normalized_shape"]) == 2 else 1, own["eps"])
    shape = (-1, *h.shape[1:])  # of a weight for all units, or for those of each channel
    if own["elementwise_affine"]:
        y = y * own["weight"].reshape(shape)
    return y + own["bias"].reshape(shape) if own["bias"].shape == own["normalized_shape"] else y


def _group_norm(f, h, own):
    y = _normal(f, h, own["num_groups"], own["eps"])
    return y * _column(own["weight"]) + _column(own["bias"]) if own["affine"] else y


def _elu(f, h, own):
    below = f.np.where(h > 0, 0, h)  # so that nothing overflows on the side that is not chosen
    return f.np.where(h > 0, h, own["alpha"] * f.np.expm1(below))


def _clipped(f, h, low, high):
    return f.np.where(h <= low, low, f.np.where(h >= high, high, h))


def _gelu(f, h, own):
    if own["approximate"] == "none":
        return h * f.normal(h)
    return h * (1 + f.np.tanh((2 / f.np.pi) ** 0.5 * (h + 0.044715 * h ** 3))) / 2


TABLE = {row.layer: row for row in (
    Conversion(
        Conv2d, _convolution, takes="image",
        options=("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation",
                 "groups", "bias"), only={"padding_mode": ["zeros"]}),
    Conversion(
        MaxPool2d, _max_pool, options=("kernel_size", "stride", "padding", "ceil_mode"),
        functions=("max_pool2d",), takes="image",
        only={"dilation": [1, (1, 1)], "return_indices": [False]}),
    Conversion(
        AvgPool2d, _mean_pool, functions=("avg_pool2d",), takes="image",
        options=("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
                 "divisor_override")),
    Conversion(
        AdaptiveAvgPool2d, _adaptive_mean, options=("output_size",),
        functions=("adaptive_avg_pool2d",), takes="image"),
    Conversion(
        Linear, _linear, takes="flat", options=("in_features", "out_features", "bias")),
    Conversion(
        Flatten, lambda f, h, own: h.reshape(-1, 1, 1), functions=("flatten",),
        only={"start_dim": [1], "end_dim": [-1]}, defaults={"start_dim": 0}),
    Conversion(
        Tanh, lambda f, h, own: f.np.tanh(h), functions=("tanh",)),
    Conversion(
        Sigmoid, lambda f, h, own: f.sigmoid(h), functions=("sigmoid",)),
    Conversion(
        ReLU, lambda f, h, own: f.relu(h), functions=("relu",)),
    Conversion(
        LeakyReLU, lambda f, h, own: f.np.where(h > 0, h, own["negative_slope"] * h),
        options=("negative_slope",), functions=("leaky_relu",)),
    Conversion(
        PReLU, lambda f, h, own: f.np.where(h > 0, h, _column(own["weight"]) * h),
        options=("num_parameters",)),
    Conversion(
        ReLU6, lambda f, h, own: _clipped(f, h, 0.0, 6.0), functions=("relu6",)),
    Conversion(
        Hardtanh, lambda f, h, own: _clipped(f, h, own["min_val"], own["max_val"]),
        options=("min_val", "max_val"), functions=("hardtanh",)),
    Conversion(
        ELU, _elu, options=("alpha",), functions=("elu",)),
    Conversion(
        SiLU, lambda f, h, own: h * f.sigmoid(h), functions=("silu",)),
    Conversion(
        GELU, _gelu, options=("approximate",), functions=("gelu",)),
    Conversion(
        Softplus, lambda f, h, own: f.np.logaddexp(own["beta"] * h, 0) / own["beta"],
        options=("beta",), functions=("softplus",), fixed={"threshold": SMOOTH}),
    Conversion(
        Softmax, lambda f, h, own: f.softmax(h), functions=("softmax",), only={"dim": [1]},
        only_flat={"dim": [1, -1]}, fixed={"dim": 1}),
    Conversion(
        BatchNorm2d, _batch_norm, options=("num_features", "eps"), flat_layer=BatchNorm1d,
        refuse=_refuse_batch_statistics),
    Conversion(
        LayerNorm, _layer_norm, options=("normalized_shape", "eps", "elementwise_affine", "bias"),
        takes=lambda layer: "flat" if len(layer.normalized_shape) == 1 else "image"),
    Conversion(
        GroupNorm, _group_norm, options=("num_groups", "num_channels", "eps", "affine")),
    Conversion(
        Dropout, lambda f, h, own: h, options=("p",), also=("Dropout2d",), refuse=_refuse_random),
    Conversion(Affine, _affine),
    Conversion(
        Unflatten, lambda f, h, own: h.reshape(own["unflattened_size"]), takes="flat",
        options=("unflattened_size",), fixed={"dim": 1}),
    Conversion(
        Add, lambda f, h, own: sum(h),
        join=lambda torch, values: functools.reduce(operator.add, values)),
    Conversion(
        Concat, lambda f, h, own: f.np.concatenate(h, 0),
        join=lambda torch, values: torch.cat(values, 1)),
)}
KNOWN = "the layers we know (see nn/convert/table.py)"
