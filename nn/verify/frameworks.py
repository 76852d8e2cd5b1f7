"""Referees: the same network from the same weights, built and differentiated by another program.

In: a `Network` and one sample. Out: {layer name: ∂H_k/∂x (units, M)}, by torch, jax or HIPS autograd, forward (every
layer) or reverse (the logits). Of our layers only the numbers that define them are read (kernel, stride, padding,
weights), none of their arithmetic. A program is imported when it is asked for; `MissingReferee` says which one is not
there. Where a network has no derivative the programs differ: see `TIE_RULE` and `RELU_AT_ZERO`. Read on in `convert.torch`.
"""
from collections import namedtuple
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nn.convert.torch import to_torch
from nn.graph import IMAGE, given_to
from nn.layers.activation import ELU, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from nn.layers.base import Merge
from nn.layers.convolution import Conv2d
from nn.layers.linear import Flatten, Linear
from nn.layers.merge import Add, Concat
from nn.layers.normalization import BatchNorm2d, Dropout
from nn.layers.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

CHUNK_BYTES = 2 ** 26
LAYERS = (Conv2d, Linear, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, Flatten, Tanh, Sigmoid, ReLU, LeakyReLU, ELU, Softplus,
          Softmax, BatchNorm2d, Dropout, Add, Concat)
_Step = namedtuple("_Step", "name kind inputs kernel stride padding negative_slope alpha beta eps")


class MissingReferee(ImportError):
    """The package a referee needs cannot be imported; the message is one line."""


def torch_forward(network, x):
    """∂H_k/∂x of every layer by `torch.func.jacfwd`, through all layers at once.

    Args:
        network: a `Network` that `to_torch` takes.
        x: one sample, (M,), (height, width) or (channels, height, width), as the network takes it less the batch axis.

    Returns:
        {layer name: array (units, M)} in the network's order: units in channel, row, column order, pixels likewise.
        Computed in float32 where x is float32, else in float64. The tables are dense: 150 MB for LeNet in float64.

    Raises:
        MissingReferee: PyTorch is not installed.
        TypeError, ValueError: a layer or an input that does not fit; one line that names it.
    """
    torch, layers, sample = _torch(network, network.layers, x)
    pixels = sample.reshape(-1)

    def with_part(part, start):
        return layers(torch.cat([pixels[:start], part, pixels[start + len(part):]]).reshape(sample.shape))

    with torch.no_grad():
        return _tables(network, pixels, sample.numpy().dtype, torch.func.jacfwd(with_part))


def torch_reverse(network, x):
    """∂logits/∂x by `torch.func.jacrev`: {the layer that gives the logits: (N, M)}, or {} if that is the input."""
    names = _to_logits(network)
    torch, layers, sample = _torch(network, names, x)
    jacobian = torch.func.jacrev(lambda h: layers(h)[-1], chunk_size=_chunk(network))
    return {name: jacobian(sample).reshape(-1, sample.numel()).numpy() for name in names[-1:]}


def jax_forward(network, x):
    """∂H_k/∂x of every layer by `jax.jacfwd`; arguments, result and errors as `torch_forward`."""
    with _needs("jax"):
        import jax
    sample, steps, weights = _described(network, network.layers, x)
    with _precise(jax):
        return _tables(network, sample.reshape(-1), sample.dtype, _jax_jacobian(steps, jax.jacfwd), sample, weights)


def jax_reverse(network, x):
    """∂logits/∂x by `jax.jacrev`: {the layer that gives the logits: (N, M)}, or {} if that is the input."""
    with _needs("jax"):
        import jax
    sample, steps, weights = _described(network, _to_logits(network), x)
    jacobian = _jax_jacobian(steps, jax.jacrev)
    with _precise(jax):
        return {step.name: np.array(jacobian(sample.reshape(-1), 0, sample, weights)[-1]) for step in steps[-1:]}


def autograd_reverse(network, x):
    """∂logits/∂x by HIPS `autograd.jacobian`: {the layer that gives the logits: (N, M)}, or {} if that is the input."""
    with _needs("autograd"):
        import autograd
    sample, steps, weights = _described(network, _to_logits(network), x)
    operations = _autograd_operations()
    jacobian = autograd.jacobian(lambda h: list(_chain(steps, weights, operations, h))[-1].reshape(-1))
    return {step.name: jacobian(sample).reshape(-1, sample.size) for step in steps[-1:]}


FOREIGN = {"torch jacfwd": torch_forward, "torch jacrev": torch_reverse, "jax jacfwd": jax_forward,
           "jax jacrev": jax_reverse, "autograd": autograd_reverse}

# What a program takes for the derivative where there is none. Among equal largest entries of a max-pool window: "first"
# gives 1 to the first in row-major order, as our layers do, "split" an equal share to each. Our ReLU gives 0 at 0.
TIE_RULE = dict.fromkeys(FOREIGN, "first") | {"autograd": "split"}
RELU_AT_ZERO = dict.fromkeys(FOREIGN, 0.0) | {"autograd": 0.5}


@contextmanager
def _needs(package):
    try:
        yield
    except ImportError as error:
        said = " ".join(f"{package} cannot be imported ({error}): pip install 'jsma[referees]'".split())
        raise MissingReferee(said) from error


def _sample(network, x):
    """x as (channels, height, width), float32 or float64."""
    x = np.asarray(x)
    if x.dtype.kind in "biuf" and x.dtype != np.float32:
        x = x.astype(np.float64)
    value = network.as_input(x[None])[0]
    if value.dtype.kind == "c":
        raise TypeError(f"x must be real for another program; got {value.dtype}")
    return np.ascontiguousarray(value.transpose(2, 0, 1))


def _to_logits(network):
    """The names of the layers that lead to the logits: all but a final softmax or sigmoid."""
    names = list(network.layers)
    return names[:-1] if isinstance(network.layers[names[-1]], (Softmax, Sigmoid)) else names


def _tables(network, pixels, dtype, jacobian, *rest):
    """{name: ∂H_k/∂x (units, M)}; `jacobian`(some pixels, where they start, *rest) gives their columns in each."""
    chunk = -(-len(pixels) // -(-len(pixels) // _chunk(network)))
    tables = {name: np.empty((np.prod(shape), len(pixels)), dtype) for name, shape in network.shapes.items()}
    for start in range(0, len(pixels), chunk):
        start = min(start, len(pixels) - chunk)  # all chunks of one size: jax compiles once
        for table, columns in zip(tables.values(), jacobian(pixels[start:start + chunk], start, *rest)):
            table[:, start:start + chunk] = columns
    return tables


def _chunk(network):
    """How many derivatives at a time keep the values of all layers within `CHUNK_BYTES`."""
    return int(max(1, CHUNK_BYTES // (8 * sum(np.prod(shape) for shape in network.shapes.values()))))


def _described(network, names, x):
    """The sample; a hashable record of each layer in `names`, all that decides its value; {name: its weights}."""
    sample, steps, weights = _sample(network, x), [], {}
    for name in names:
        layer = network.layers[name]
        kind = next((kind for kind in LAYERS if isinstance(layer, kind)), None)
        if kind is None:
            raise TypeError(f"layer {name!r}: {type(layer).__name__} is none of the layers the referees know")
        steps.append(_Step(name, kind, network.inputs[name],
                           *(getattr(layer, option, None) for option in _Step._fields[3:])))
        weights[name] = {key: array.astype(sample.dtype)
                         for key, array in ({"bias": np.zeros(1)} | layer.parameters).items()}
        if getattr(layer, "connections", None) is not None:
            weights[name]["weight"][~layer.connections] = 0
    return sample, tuple(steps), weights


def _chain(steps, weights, operations, h):
    """Yields H_k of each step; `operations` has a function (step, its weights, h) for each type of layer."""
    found = {IMAGE: h}
    for step in steps:
        found[step.name] = operations[step.kind](step, weights[step.name], given_to(step.inputs, found))
        yield found[step.name]


def _torch(network, names, x):
    """torch, a function that gives H_k of the layers `names` in torch, and the sample as that function takes it."""
    with _needs("torch"):
        import torch
    sample = torch.from_numpy(_sample(network, x)[None])
    sample = sample.reshape(1, -1) if len(network.input_shape) == 1 else sample
    model = to_torch(network).to(sample.dtype).requires_grad_(False)

    def layers(h):
        """H_k of every layer, each flat."""
        found = {IMAGE: h}
        for name in names:
            given = given_to(network.inputs[name], found)
            if isinstance(network.layers[name], Merge):
                found[name] = sum(given) if isinstance(network.layers[name], Add) else torch.cat(given, dim=1)
            else:
                found[name] = model.get_submodule(name)(given)
        return tuple(found[name].reshape(-1) for name in names)

    return torch, layers, sample


@lru_cache(maxsize=8)
def _jax_jacobian(steps, transform):
    """Compiled: (some pixels, where they start, the sample, weights) → the columns of those pixels in each ∂H_k/∂x."""
    import jax
    operations, last = _jax_operations(), slice(-1, None) if transform is jax.jacrev else slice(None)

    def layers(part, start, sample, weights):
        h = jax.lax.dynamic_update_slice(sample.reshape(-1), part, (start,)).reshape(sample.shape)
        return [value.reshape(-1) for value in _chain(steps, weights, operations, h)][last]

    return jax.jit(transform(layers))


@contextmanager
def _precise(jax):
    """64 bits allowed, products in full precision, on the CPU: in this block only."""
    try:
        enable_x64 = jax.enable_x64
    except AttributeError:  # before jax 0.8
        from jax.experimental import enable_x64
    with enable_x64(True), jax.default_matmul_precision("highest"), jax.default_device(jax.devices("cpu")[0]):
        yield


def _jax_operations():
    """Each layer type in jax's primitives; values are (C, Y, X)."""
    import jax
    lax = jax.lax

    def conv(step, weights, h):
        z = lax.conv_general_dilated(h[None], weights["weight"], step.stride, [(p, p) for p in step.padding])[0]
        return z + weights["bias"][:, None, None]

    def pool(step, h, start, combine):
        return lax.reduce_window(h, start, combine, (1, *step.kernel), (1, *step.stride), "VALID")

    return {
        Conv2d: conv, Tanh: lambda step, _, h: jax.numpy.tanh(h), Flatten: lambda step, _, h: h.reshape(-1, 1, 1),
        Linear: lambda step, weights, h: jax.numpy.tensordot(weights["weight"], h, 1) + weights["bias"][:, None, None],
        MaxPool2d: lambda step, _, h: pool(step, h, -np.inf, lax.max),
        AvgPool2d: lambda step, _, h: pool(step, h, 0.0, lax.add) / (step.kernel[0] * step.kernel[1]),
        Sigmoid: lambda step, _, h: jax.nn.sigmoid(h), ReLU: lambda step, _, h: jax.nn.relu(h),
        Softmax: lambda step, _, h: jax.nn.softmax(h, axis=0),
        LeakyReLU: lambda step, _, h: jax.nn.leaky_relu(h, step.negative_slope),
        ELU: lambda step, _, h: jax.nn.elu(h, step.alpha),
        Softplus: lambda step, _, h: jax.nn.softplus(step.beta * h) / step.beta,
        BatchNorm2d: lambda step, weights, h: jax.nn.standardize(
            h, axis=(1, 2), mean=_column(weights, "running_mean"), variance=_column(weights, "running_var"),
            epsilon=step.eps) * _column(weights, "weight") + _column(weights, "bias"),
        Dropout: lambda step, _, h: h,
        AdaptiveAvgPool2d: lambda step, _, h: jax.numpy.mean(h, axis=(1, 2), keepdims=True),
        Add: lambda step, _, h: sum(h), Concat: lambda step, _, h: lax.concatenate(h, 0),
    }


def _column(weights, key):
    return weights[key][:, None, None]


def _autograd_operations():
    """Each layer type in autograd.numpy: values are (C, Y, X), their windows (C, Y, X, ky, kx) gathered by index."""
    import autograd.numpy as anp
    from autograd.scipy.special import expit, logsumexp

    def windows(step, h, padding=(0, 0)):
        """The windows of h (C, Y, X), by index: (C, y, x, ky, kx); zero outside."""
        index = np.pad(np.arange(h.size).reshape(h.shape), [(0, 0), *((p, p) for p in padding)], constant_values=h.size)
        index = sliding_window_view(index, step.kernel, axis=(1, 2))[:, ::step.stride[0], ::step.stride[1]]
        return anp.concatenate([h.reshape(-1), np.zeros(1, h.dtype)])[index]

    def conv(step, weights, h):
        z = anp.einsum("ockl,cyxkl->oyx", weights["weight"], windows(step, h, step.padding))
        return z + weights["bias"][:, None, None]

    return {
        Conv2d: conv, Tanh: lambda step, _, h: anp.tanh(h), Flatten: lambda step, _, h: h.reshape(-1, 1, 1),
        Linear: lambda step, weights, h: anp.tensordot(weights["weight"], h, 1) + weights["bias"][:, None, None],
        MaxPool2d: lambda step, _, h: anp.max(windows(step, h), axis=(3, 4)),
        AvgPool2d: lambda step, _, h: anp.mean(windows(step, h), axis=(3, 4)),
        Sigmoid: lambda step, _, h: expit(h), ReLU: lambda step, _, h: anp.maximum(h, 0),
        Softmax: lambda step, _, h: anp.exp(h - logsumexp(h, axis=0, keepdims=True)),
        LeakyReLU: lambda step, _, h: anp.where(h > 0, h, step.negative_slope * h),
        ELU: lambda step, _, h: anp.where(h > 0, h, step.alpha * (anp.exp(anp.minimum(h, 0)) - 1)),
        Softplus: lambda step, _, h: anp.logaddexp(0, step.beta * h) / step.beta,
        BatchNorm2d: lambda step, weights, h: _column(weights, "bias") + _column(weights, "weight") * (
            h - _column(weights, "running_mean")) / anp.sqrt(_column(weights, "running_var") + step.eps),
        Dropout: lambda step, _, h: h,
        AdaptiveAvgPool2d: lambda step, _, h: anp.mean(h, axis=(1, 2), keepdims=True),
        Add: lambda step, _, h: sum(h), Concat: lambda step, _, h: anp.concatenate(h, axis=0),
    }
