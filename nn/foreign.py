"""Referees: the same network from the same weights, built and differentiated by another program.

In: a `Network` and one sample. Out: {layer name: ∂H_k/∂x (units, M)}, by torch, jax or HIPS autograd, forward (every
layer) or reverse (the logits). Of our layers only the numbers that define them are read (kernel, stride, padding,
weights), none of their arithmetic. A program is imported when it is asked for; `MissingReferee` says which one is not
there. Where a network has no derivative the programs differ: see `TIE_RULE` and `RELU_AT_ZERO`.
"""
from contextlib import contextmanager

import numpy as np

from nn.activation import ReLU, Sigmoid, Softmax, Tanh
from nn.conv import Conv2d
from nn.interop import to_torch
from nn.linear import Flatten, Linear
from nn.pool import AvgPool2d, MaxPool2d

CHUNK_BYTES = 2 ** 28


class MissingReferee(ImportError):
    """The package a referee needs cannot be imported; the message is one line."""


def torch_forward(network, x):
    """∂H_k/∂x of every layer by `torch.func.jacfwd`, through all layers at once.

    Args:
        network: a `Network` that `to_torch` takes.
        x: one sample, (M,), (height, width) or (channels, height, width), as the network takes it less the batch axis.

    Returns:
        {layer name: array (units, M)} in the network's order: units in channel, row, column order, pixels likewise.
        Computed in float32 where x is float32, else in float64. The tables are dense: 143 MB for LeNet in float64.

    Raises:
        MissingReferee: PyTorch is not installed.
        TypeError, ValueError: a layer or an input that does not fit; one line that names it.
    """
    torch, model, sample = _torch(network, x)
    pixels = sample.reshape(-1)

    def layers(part, start):
        h = torch.cat([pixels[:start], part, pixels[start + len(part):]]).reshape(sample.shape)
        found = []
        for name in network.layers:
            h = model.get_submodule(name)(h)
            found.append(h.reshape(-1))
        return tuple(found)

    with torch.no_grad():
        return _tables(network, pixels, torch.func.jacfwd(layers))


def torch_reverse(network, x):
    """∂logits/∂x by `torch.func.jacrev`: {the layer that gives the logits: (N, M)}; see `torch_forward`.

    Empty where no layer stands before the output's softmax or sigmoid.
    """
    torch, model, sample = _torch(network, x)
    names = _to_logits(network)

    def logits(h):
        for name in names:
            h = model.get_submodule(name)(h)
        return h.reshape(-1)

    table = torch.func.jacrev(logits, chunk_size=_chunk(network))(sample)
    return {name: table.reshape(len(table), -1).numpy() for name in names[-1:]}


def jax_forward(network, x):
    """∂H_k/∂x of every layer by `jax.jacfwd`, some pixels at a time; arguments, result and errors as `torch_forward`.

    The caller's jax settings (64 bits, precision) are left as they are.
    """
    with _needs("jax"):
        import jax
    sample = _sample(network, x)
    with _precise(jax):
        pixels, operations = jax.numpy.asarray(sample.reshape(-1)), _jax_operations()

        def layers(part, start):
            h = jax.lax.dynamic_update_slice(pixels, part, (start,)).reshape(sample.shape)
            return [h.reshape(-1) for h in _chain(network, network.layers, operations, h)]

        return _tables(network, pixels, jax.jit(jax.jacfwd(layers)))


def jax_reverse(network, x):
    """∂logits/∂x by `jax.jacrev`: {the layer that gives the logits: (N, M)}; see `torch_reverse`."""
    with _needs("jax"):
        import jax
    sample, names = _sample(network, x), _to_logits(network)
    with _precise(jax):
        operations = _jax_operations()

        def logits(h):
            *_, last = _chain(network, names, operations, h)
            return last.reshape(-1)

        return {name: np.array(jax.jacrev(logits)(jax.numpy.asarray(sample))).reshape(-1, sample.size)
                for name in names[-1:]}


def autograd_reverse(network, x):
    """∂logits/∂x by `autograd.jacobian` (HIPS): {the layer that gives the logits: (N, M)}; see `torch_reverse`."""
    with _needs("autograd"):
        import autograd
    sample, names = _sample(network, x), _to_logits(network)
    operations = _autograd_operations()

    def logits(h):
        *_, last = _chain(network, names, operations, h)
        return last.reshape(-1)

    return {name: autograd.jacobian(logits)(sample).reshape(-1, sample.size) for name in names[-1:]}


FOREIGN = {"torch jacfwd": torch_forward, "torch jacrev": torch_reverse, "jax jacfwd": jax_forward,
           "jax jacrev": jax_reverse, "autograd": autograd_reverse}

# What a program takes for the derivative where there is none. Among equal largest entries of a max-pool window: "first"
# gives 1 to the first in row-major order, as our layers do, "split" the same share to each.
TIE_RULE = {"torch jacfwd": "first", "torch jacrev": "first", "jax jacfwd": "first", "jax jacrev": "first",
            "autograd": "split"}
RELU_AT_ZERO = {"torch jacfwd": 0.0, "torch jacrev": 0.0, "jax jacfwd": 0.0, "jax jacrev": 0.0, "autograd": 0.5}


@contextmanager
def _needs(package):
    try:
        yield
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise MissingReferee(f"{package} cannot be imported ({reason}): pip install 'jsma[referees]'") from error


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


def _tables(network, pixels, jacobian):
    """{name: ∂H_k/∂x} from `jacobian`(some pixels, the first one's number), which gives those columns of every layer."""
    tables, chunk = {}, _chunk(network)
    for start in range(0, len(pixels), chunk):
        found = jacobian(pixels[start:start + chunk], start)
        for name, columns in zip(network.layers, map(np.asarray, found)):
            if name not in tables:
                tables[name] = np.empty((len(columns), len(pixels)), columns.dtype)
            tables[name][:, start:start + chunk] = columns
    return tables


def _chunk(network):
    """How many derivatives at a time keep the values of all layers within `CHUNK_BYTES`."""
    units = sum(np.prod(shape) for shape in network.shapes.values())
    return int(max(1, CHUNK_BYTES // (8 * units)))


def _chain(network, names, operations, h):
    """Yields H_k of each layer in `names`; `operations` has a function (layer, its weights, h) for each type."""
    for name in names:
        layer = network.layers[name]
        step = next((step for kind, step in operations.items() if isinstance(layer, kind)), None)
        if step is None:
            raise TypeError(f"layer {name!r}: {type(layer).__name__} is none of the layers the referees know")
        h = step(layer, {key: array.astype(h.dtype) for key, array in layer.parameters.items()}, h)
        yield h


def _torch(network, x):
    """torch, the network as its module in the precision of x, and x with a batch axis, or flat."""
    with _needs("torch"):
        import torch
    sample = torch.from_numpy(_sample(network, x)[None])
    if len(network.input_shape) == 1:
        sample = sample.reshape(1, -1)
    return torch, to_torch(network).to(sample.dtype).requires_grad_(False), sample


@contextmanager
def _precise(jax):
    """64 bits allowed and products in full precision, in this block only."""
    wide = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
    with wide(True), jax.default_matmul_precision("highest"):
        yield


def _jax_operations():
    """Each layer type in jax's primitives; values are (C, Y, X)."""
    import jax
    lax = jax.lax

    def conv(layer, weights, h):
        z = lax.conv_general_dilated(h[None], weights["weight"], layer.stride, [(p, p) for p in layer.padding])[0]
        return z + weights["bias"][:, None, None] if "bias" in weights else z

    def linear(layer, weights, h):
        return (weights["weight"] @ h.reshape(-1) + weights.get("bias", 0)).reshape(-1, 1, 1)

    def pool(layer, h, start, combine):
        return lax.reduce_window(h, start, combine, (1, *layer.kernel), (1, *layer.stride), "VALID")

    return {
        Conv2d: conv, Linear: linear,
        MaxPool2d: lambda layer, _, h: pool(layer, h, -np.inf, lax.max),
        AvgPool2d: lambda layer, _, h: pool(layer, h, 0.0, lax.add) / (layer.kernel[0] * layer.kernel[1]),
        Flatten: lambda layer, _, h: h.reshape(-1, 1, 1), Tanh: lambda layer, _, h: jax.numpy.tanh(h),
        Sigmoid: lambda layer, _, h: jax.nn.sigmoid(h), ReLU: lambda layer, _, h: jax.nn.relu(h),
        Softmax: lambda layer, _, h: jax.nn.softmax(h, axis=0),
    }


def _autograd_operations():
    """Each layer type in autograd.numpy: windows gathered by index, then one product; values are (C, Y, X)."""
    import autograd.numpy as anp
    from autograd.scipy.special import expit, logsumexp

    def windows(layer, h, padding=(0, 0)):
        index = _window_index(h.shape, layer.kernel, layer.stride, padding)
        return anp.concatenate([h.reshape(-1), np.zeros(1, h.dtype)])[index]

    def conv(layer, weights, h):
        z = anp.einsum("ockl,cklyx->oyx", weights["weight"], windows(layer, h, layer.padding))
        return z + weights["bias"][:, None, None] if "bias" in weights else z

    def linear(layer, weights, h):
        return (anp.dot(weights["weight"], h.reshape(-1)) + weights.get("bias", 0)).reshape(-1, 1, 1)

    return {
        Conv2d: conv, Linear: linear,
        MaxPool2d: lambda layer, _, h: anp.max(windows(layer, h), axis=(1, 2)),
        AvgPool2d: lambda layer, _, h: anp.mean(windows(layer, h), axis=(1, 2)),
        Flatten: lambda layer, _, h: h.reshape(-1, 1, 1), Tanh: lambda layer, _, h: anp.tanh(h),
        Sigmoid: lambda layer, _, h: expit(h), ReLU: lambda layer, _, h: anp.maximum(h, 0),
        Softmax: lambda layer, _, h: anp.exp(h - logsumexp(h, axis=0, keepdims=True)),
    }


def _window_index(shape, kernel, stride, padding):
    """Where a unit's window lies in the flat input: (C, ky, kx, Y, X); one past its end stands for the padding."""
    channels, *sizes = shape
    at = [s * np.arange((n + 2 * p - k) // s + 1) + np.arange(k)[:, None] - p
          for n, k, s, p in zip(sizes, kernel, stride, padding)]
    y, x = at[0][:, None, :, None], at[1][None, :, None, :]
    inside = (y >= 0) & (y < sizes[0]) & (x >= 0) & (x < sizes[1])
    plane = np.arange(channels).reshape(-1, 1, 1, 1, 1) * (sizes[0] * sizes[1])
    return np.where(inside, plane + y * sizes[1] + x, channels * sizes[0] * sizes[1])
