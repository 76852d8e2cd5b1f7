"""Referees: the same network from the same weights, built and differentiated by another program.

In: a `Network` and one sample. Out: {layer name: ∂H_k/∂x (units, M)}, by torch, jax or HIPS
autograd, forward (every layer) or reverse (the logits). Of our layers only the numbers that define
them are read (kernel, stride, padding, weights; `convert.table` says how), none of their
arithmetic. A program is imported when it is asked for; `MissingReferee` says which one is not
there. Where a network has no derivative the programs differ: see `TIE_RULE` and `RELU_AT_ZERO`.
Read on in `convert.table`.
"""
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nn.convert.table import TABLE, Functions, option_of, row_of
from nn.convert.torch import to_torch
from nn.graph import IMAGE, inputs_from

CHUNK_BYTES = 2 ** 26


class MissingReferee(ImportError):
    """The package a referee needs cannot be imported; the message is one line."""


class Description(NamedTuple):
    """All that decides a layer's value but its weights; hashable, so that jax compiles it once."""
    name: str
    kind: type      # whose row of `convert.table` it is
    inputs: tuple   # the names of the layers it takes
    options: tuple  # ((name, value), …)


def torch_forward(network, x):
    """∂H_k/∂x of every layer by `torch.func.jacfwd`, through all layers at once.

    Args:
        network: a `Network` that `to_torch` takes.
        x: one sample, (M,), (height, width) or (channels, height, width), as the network takes it
            less the batch axis.

    Returns:
        {layer name: array (units, M)} in the network's order: units in channel, row, column order,
        pixels likewise. Computed in float32 where x is float32, else in float64. The tables are
        dense: 150 MB for LeNet in float64.

    Raises:
        MissingReferee: PyTorch is not installed.
        TypeError, ValueError: a layer or an input that does not fit; one line that names it.
    """
    torch, layers, sample = _torch(network, network.layers, x)
    pixels = sample.reshape(-1)

    def with_part(part, start):
        """H_k of the sample in which `part` stands from pixel `start` on."""
        whole = torch.cat([pixels[:start], part, pixels[start + len(part):]])
        return layers(whole.reshape(sample.shape))

    with torch.no_grad():
        return _tables(network, pixels, sample.numpy().dtype, torch.func.jacfwd(with_part))


def torch_reverse(network, x):
    """∂logits/∂x by `torch.func.jacrev`: {the layer that gives the logits: (N, M)}, or {} if that
    is the input."""
    names = network.logit_layers
    torch, layers, sample = _torch(network, names, x)
    jacobian = torch.func.jacrev(lambda h: layers(h)[-1], chunk_size=_chunk(network))
    return {name: jacobian(sample).reshape(-1, sample.numel()).numpy() for name in names[-1:]}


def jax_forward(network, x):
    """∂H_k/∂x of every layer by `jax.jacfwd`; arguments, result and errors as `torch_forward`."""
    with needs("jax"):
        import jax
    sample, layers, weights = _described(network, network.layers, x)
    with precise(jax):
        jacobian = _jax_jacobian(layers, jax.jacfwd)
        return _tables(network, sample.reshape(-1), sample.dtype, jacobian, sample, weights)


def jax_reverse(network, x):
    """∂logits/∂x by `jax.jacrev`: {the layer that gives the logits: (N, M)}, or {} if that is the
    input."""
    with needs("jax"):
        import jax
    sample, layers, weights = _described(network, network.logit_layers, x)
    jacobian = _jax_jacobian(layers, jax.jacrev)
    with precise(jax):
        return {layer.name: np.array(jacobian(sample.reshape(-1), 0, sample, weights)[-1])
                for layer in layers[-1:]}


def autograd_reverse(network, x):
    """∂logits/∂x by HIPS `autograd.jacobian`: {the layer that gives the logits: (N, M)}, or {} if
    that is the input."""
    with needs("autograd"):
        import autograd
    sample, layers, weights = _described(network, network.logit_layers, x)
    functions = _autograd_functions()
    jacobian = autograd.jacobian(
        lambda h: _values(layers, weights, functions, h)[-1].reshape(-1))
    return {layer.name: jacobian(sample).reshape(-1, sample.size) for layer in layers[-1:]}


FOREIGN = {"torch jacfwd": torch_forward, "torch jacrev": torch_reverse, "jax jacfwd": jax_forward,
           "jax jacrev": jax_reverse, "autograd": autograd_reverse}

# What a program takes for the derivative where there is none. Among equal largest entries of a
# max-pool window: "first" gives 1 to the first in row-major order, as our layers do, "split" an
# equal share to each. Our ReLU gives 0 at 0.
TIE_RULE = dict.fromkeys(FOREIGN, "first") | {"autograd": "split"}
RELU_AT_ZERO = dict.fromkeys(FOREIGN, 0.0) | {"autograd": 0.5}


@contextmanager
def needs(package):
    """A block that imports `package`; where that fails, one line says how to install it."""
    try:
        yield
    except ImportError as error:
        message = f"{package} cannot be imported ({error}): pip install 'jsma[referees]'"
        raise MissingReferee(" ".join(message.split())) from error


def _sample(network, x):
    """x as (channels, height, width), float32 or float64."""
    x = np.asarray(x)
    if x.dtype.kind in "biuf" and x.dtype != np.float32:
        x = x.astype(np.float64)
    value = network.as_input(x[None])[0]
    if value.dtype.kind == "c":
        raise TypeError(f"x must be real for another program; got {value.dtype}")
    return np.ascontiguousarray(value.transpose(2, 0, 1))


def _tables(network, pixels, dtype, jacobian, *rest):
    """{name: ∂H_k/∂x (units, M)}; `jacobian`(some pixels, where they start, *rest) gives their
    columns in each."""
    chunk = -(-len(pixels) // -(-len(pixels) // _chunk(network)))
    tables = {name: np.empty((np.prod(shape), len(pixels)), dtype)
              for name, shape in network.shapes.items()}
    for start in range(0, len(pixels), chunk):
        start = min(start, len(pixels) - chunk)  # all chunks of one size: jax compiles once
        parts = jacobian(pixels[start:start + chunk], start, *rest)
        for table, columns in zip(tables.values(), parts):
            table[:, start:start + chunk] = columns
    return tables


def _chunk(network):
    """How many derivatives at a time keep the values of all layers within `CHUNK_BYTES`."""
    units = sum(np.prod(shape) for shape in network.shapes.values())
    return int(max(1, CHUNK_BYTES // (8 * units)))


def _described(network, names, x):
    """The sample; a `Description` of each layer in `names`; {name: its weights}."""
    sample = _sample(network, x)
    layers, weights = [], {}
    for name in names:
        layer = network.layers[name]
        row = row_of(layer)
        if row is None:
            raise TypeError(f"layer {name!r}: {type(layer).__name__} is none of the layers the "
                            "referees know")
        options = tuple((option, option_of(layer, option)) for option in row.options)
        layers.append(Description(name, row.layer, network.inputs[name], options))
        arrays = {"bias": np.zeros(1)} | layer.parameters
        weights[name] = {key: array.astype(sample.dtype) for key, array in arrays.items()}
        if getattr(layer, "connections", None) is not None:
            weights[name]["weight"][~layer.connections] = 0
    return sample, tuple(layers), weights


def _values(layers, weights, functions, h):
    """[H_k (C, Y, X) of each layer], computed by the functions of a program."""
    values = {IMAGE: h}
    for layer in layers:
        own = dict(layer.options) | weights[layer.name]
        inputs = inputs_from(layer.inputs, values)
        values[layer.name] = TABLE[layer.kind].formula(functions, inputs, own)
    return [values[layer.name] for layer in layers]


def _torch(network, names, x):
    """torch, a function that gives H_k of the layers `names` in torch, and the sample as that
    function takes it."""
    with needs("torch"):
        import torch
    sample = torch.from_numpy(_sample(network, x)[None])
    sample = sample.reshape(1, -1) if len(network.input_shape) == 1 else sample
    model = to_torch(network).to(sample.dtype).requires_grad_(False)

    def layers(h):
        """H_k of every layer, each flat."""
        values = {IMAGE: h}
        for name in names:
            inputs = inputs_from(network.inputs[name], values)
            join = row_of(network.layers[name]).join
            values[name] = join(torch, inputs) if join else model.get_submodule(name)(inputs)
        return tuple(values[name].reshape(-1) for name in names)

    return torch, layers, sample


@lru_cache(maxsize=8)
def _jax_jacobian(layers, transform):
    """Compiled: (some pixels, where they start, the sample, weights) → the columns of those pixels
    in each ∂H_k/∂x."""
    import jax
    functions = _jax_functions()
    wanted = slice(-1, None) if transform is jax.jacrev else slice(None)

    def values(part, start, sample, weights):
        """H_k of the wanted layers, each flat."""
        whole = jax.lax.dynamic_update_slice(sample.reshape(-1), part, (start,))
        every = _values(layers, weights, functions, whole.reshape(sample.shape))
        return [value.reshape(-1) for value in every[wanted]]

    return jax.jit(transform(values))


@contextmanager
def precise(jax):
    """64 bits allowed, products in full precision, on the CPU: in this block only."""
    try:
        enable_x64 = jax.enable_x64
    except AttributeError:  # before jax 0.8
        from jax.experimental import enable_x64
    cpu = jax.devices("cpu")[0]
    with enable_x64(True), jax.default_matmul_precision("highest"), jax.default_device(cpu):
        yield


def _jax_functions():
    """`Functions` of jax's primitives."""
    import jax
    lax = jax.lax

    def convolution(h, weight, stride, margins, dilation, groups):
        """By `lax`, without a batch."""
        return lax.conv_general_dilated(h[None], weight, stride, margins, rhs_dilation=dilation,
                                        feature_group_count=groups)[0]

    def pool(h, start, combine, kernel, stride, margins):
        """A window's entries combined, from `start` on."""
        return lax.reduce_window(h, start, combine, (1, *kernel), (1, *stride),
                                 [(0, 0), *margins])

    return Functions(
        np=jax.numpy, relu=jax.nn.relu, sigmoid=jax.nn.sigmoid,
        softmax=lambda h: jax.nn.softmax(h, axis=0), normal=jax.scipy.special.ndtr,
        convolution=convolution,
        max_pool=lambda h, *windows: pool(h, -np.inf, lax.max, *windows),
        sum_pool=lambda h, *windows: pool(h, 0.0, lax.add, *windows))


def _autograd_functions():
    """`Functions` of autograd.numpy; windows (C, Y, X, ky, kx) are gathered by index."""
    import autograd.numpy as anp
    from autograd.scipy.special import expit, logsumexp
    from autograd.scipy.stats import norm

    def windows(h, kernel, stride, margins, outside=0.0):
        """The windows of h (C, Y, X): (C, y, x, ky, kx)."""
        index = np.arange(h.size).reshape(h.shape)
        index = np.pad(index, [(0, 0), *margins], constant_values=h.size)
        index = sliding_window_view(index, kernel, axis=(1, 2))[:, ::stride[0], ::stride[1]]
        return anp.concatenate([h.reshape(-1), np.full(1, outside, h.dtype)])[index]

    def convolution(h, weight, stride, margins, dilation, groups):
        """Each window times the kernel, group by group."""
        extent = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:])]
        seen = windows(h, extent, stride, margins)[..., ::dilation[0], ::dilation[1]]
        parts = zip(np.split(weight, groups), anp.split(seen, groups))
        return anp.concatenate([anp.einsum("ockl,cyxkl->oyx", *part) for part in parts])

    return Functions(
        np=anp, relu=lambda h: anp.maximum(h, 0), sigmoid=expit,
        softmax=lambda h: anp.exp(h - logsumexp(h, axis=0, keepdims=True)), normal=norm.cdf,
        convolution=convolution,
        max_pool=lambda h, *where: anp.max(windows(h, *where, outside=-np.inf), axis=(3, 4)),
        sum_pool=lambda h, *where: anp.sum(windows(h, *where), axis=(3, 4)))
