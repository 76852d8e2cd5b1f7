"""Eq. 4 to 6 as the paper writes them, for one sample: explicit matrices W_k, full tables ∂H_k/∂x.

READ THIS FIRST. A layer is H_k = f(z) with z = W·H_{k−1} + b (Eq. 4); then, by the chain rule,

    ∂H_k/∂x = f'(z) · (W · ∂H_{k−1}/∂x)        (Eq. 5; Eq. 6 says the same of the output layer).

In: a network and one sample. Out: H_k and ∂H_k/∂x of every layer. `trace` and `step` are the whole
method; what follows writes each kind of layer as W, b, f, f', with the numbers that define it and
none of its arithmetic. So the fast version, `forward_derivative` of network and layers, is tested
against this one. Read on in `network`.
"""
from functools import partial, singledispatch

import numpy as np
import scipy

from nn.layers.activation import ELU, GELU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from nn.layers.affine import Affine
from nn.layers.base import like
from nn.layers.convolution import Conv2d
from nn.layers.linear import Flatten, Linear
from nn.layers.merge import Add, Concat
from nn.layers.normalization import BatchNorm2d, Dropout
from nn.layers.piecewise import Hardtanh, LeakyReLU, PReLU, ReLU
from nn.layers.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from nn.layers.sample_norm import GroupNorm, LayerNorm
from nn.layers.unflatten import Unflatten


def trace(network, x, parameters=None):
    """One sample x (M,) → a list of (name, H_k (C, Y, X), ∂H_k/∂x (C·Y·X, M)) over all layers, with
    the network's parameters or others {"layer.weight": array}, which may be complex."""
    parameters = network.parameters() if parameters is None else parameters
    x = np.asarray(x).astype(np.result_type(x, np.float32), copy=False).reshape(-1)
    outputs = {"input": (x, np.eye(x.size), network.image)}  # H_0 = x and ∂x/∂x = I
    for name, layer in network.layers.items():
        own = {key: like(parameters[f"{name}.{key}"], x) for key in layer.parameters}
        inputs = [outputs[source] for source in network.inputs[name]]
        outputs[name] = step(layer, own, *(zip(*inputs) if len(inputs) > 1 else inputs[0]))
    return [(name, H.reshape(shape), dH) for name, (H, dH, shape) in outputs.items()][1:]


@np.errstate(over="ignore", invalid="ignore")  # 1/∞ is the 0 that is meant
def step(layer, parameters, H, dH, shape):
    """H (units,), ∂H/∂x (units, M), shape (C, Y, X) of a layer's input → those of its output."""
    if isinstance(H, tuple):  # of a layer of several inputs: W multiplies them one below the other
        H, dH = np.concatenate(H), np.concatenate(dH)
    W, b, f, df, shape = written_out(layer, parameters, H, shape)
    z = W @ H + b
    H = f(z)  # Eq. 4
    dH = df(z) @ _times(W, dH)  # Eq. 5, and Eq. 6 at the output
    return H, dH, shape

def _times(W, dH):  # W @ dH; where both are mostly 0, their zeros are left out of the sum
    few = scipy.sparse.issparse(W) and W.nnz > 8 * len(dH) and np.count_nonzero(dH) < dH.size / 16
    return (W @ scipy.sparse.csr_array(dH)).toarray() if few else W @ dH


@singledispatch
def written_out(layer, parameters, H, shape):
    """W, b, f, f' of a layer, f'(z) the matrix [∂f_p/∂z_q], and the shape of what comes out."""
    raise TypeError(f"{type(layer).__name__} is none of the layers that the textbook writes out")


def _affine(W, b, shape):  # f(z) = z
    return W, b, lambda z: z, lambda z: scipy.sparse.eye_array(z.size), shape
def _identity(H):
    return scipy.sparse.eye_array(H.size, dtype=H.real.dtype)

@written_out.register
def _linear(layer: Linear, parameters, H, shape):
    W = parameters["weight"]
    return _affine(W, parameters.get("bias", 0), (len(W), 1, 1))

def _windows(shape, layer):  # which units stand under the kernel: (y, x, C, ky·kx)
    number = np.arange(np.prod(shape)).reshape(shape)
    (sy, sx), (dy, dx) = layer.stride, layer.dilation
    height, width = (d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel))
    rows, columns = (shape[1] - height) // sy + 1, (shape[2] - width) // sx + 1
    windows = [number[:, sy * y:sy * y + height:dy, sx * x:sx * x + width:dx]
               for y, x in np.ndindex(rows, columns)]
    return np.reshape(windows, (rows, columns, shape[0], np.prod(layer.kernel)))

def _matrix(weights, units, size):  # row p has weights[p] (K,) at the columns units[p], else 0
    starts = np.arange(0, weights.size + 1, weights.shape[1])
    entries = weights.reshape(-1), units.reshape(-1), starts
    return scipy.sparse.csr_array(entries, (len(weights), size))

@written_out.register
def _convolution(layer: Conv2d, parameters, H, shape):
    kernel, (channels, height, width) = parameters["weight"], shape
    out, ((top, bottom), (left, right)) = len(kernel), layer.margins
    if layer.connections is not None:
        kernel = np.where(layer.connections[:, :, None, None], kernel, 0)
    padded = (channels, height + top + bottom, width + left + right)
    windows = _windows(padded, layer)
    rows, columns = windows.shape[:2]
    # the units at (y, x) see their group's channels through the kernel: (out, y, x) → (C·ky·kx)
    units = [np.tile(group.reshape(rows * columns, -1), (out // layer.groups, 1))
             for group in np.split(windows, layer.groups, axis=2)]
    W = _matrix(np.repeat(kernel.reshape(out, -1), rows * columns, axis=0),
                np.concatenate(units), np.prod(padded))
    if padded != shape:
        number = np.arange(np.prod(padded)).reshape(padded)
        W = W[:, number[:, top:top + height, left:left + width].reshape(-1)]
    b = np.repeat(parameters["bias"], rows * columns) if "bias" in parameters else 0
    return _affine(W, b, (out, rows, columns))

def _pooling(layer, H, shape, shares):  # the rows of W: `shares(units in each window)`
    (ky, kx), (sy, sx), (py, px), (_, rows, columns) = (
        layer.kernel, layer.stride, layer.padding, layer.output_shape(shape))
    number = np.arange(H.size).reshape(shape)
    windows = []
    for c, y, x in np.ndindex(shape[0], rows, columns):
        top, left = sy * y - py, sx * x - px  # the window may stick out of the input
        units = number[c, max(top, 0):top + ky, max(left, 0):left + kx].reshape(-1)
        windows.append((units, shares(units, top, left)))
    units, entries = (np.concatenate(part) for part in zip(*windows))
    starts = np.cumsum([0, *(len(one) for one, _ in windows)])
    W = scipy.sparse.csr_array((entries, units, starts), (len(windows), H.size))
    return _affine(W, 0, (shape[0], rows, columns))

@written_out.register
def _max_pooling(layer: MaxPool2d, parameters, H, shape):  # argmax: of equals the first
    return _pooling(layer, H, shape, lambda units, *corner: 1.0 * (
        np.arange(len(units)) == H[units].real.argmax()))

@written_out.register
def _average_pooling(layer: AvgPool2d, parameters, H, shape):
    def share(units, top, left):
        """1 / the units in the window, those of the padding counted or not, or 1 / a number."""
        (height, width), (ky, kx), (py, px) = shape[1:], layer.kernel, layer.padding
        area = min(ky, height + py - top) * min(kx, width + px - left)
        area = area if layer.count_include_pad else len(units)
        return np.full(len(units), 1 / (layer.divisor_override or area))
    return _pooling(layer, H, shape, share)

@written_out.register
def _adaptive_average(layer: AdaptiveAvgPool2d, parameters, H, shape):
    shares = []  # (Y', Y), (X', X): part n of N reaches from ⌊n·size/N⌋ to ⌈(n + 1)·size/N⌉
    for size, parts in zip(shape[1:], layer.output_shape(shape)[1:]):
        n, unit = np.arange(parts)[:, None], np.arange(size)
        inside = (unit >= n * size // parts) & (unit * parts < (n + 1) * size)
        shares.append(inside / inside.sum(axis=1, keepdims=True))
    W = scipy.sparse.kron(scipy.sparse.eye_array(shape[0]), np.kron(*shares)).tocsr()
    return _affine(W, 0, (shape[0], *(len(part) for part in shares)))

@written_out.register
def _normalization(layer: BatchNorm2d, parameters, H, shape):
    factor = parameters["weight"] / (parameters["running_var"] + layer.eps) ** 0.5
    shift = parameters["bias"] - factor * parameters["running_mean"]
    positions = shape[1] * shape[2]
    W = scipy.sparse.diags_array(np.repeat(factor, positions))
    return _affine(W, np.repeat(shift, positions), shape)

@written_out.register
def _constants(layer: Affine, parameters, H, shape):
    W, b = (np.ones(shape) * (one if one.ndim != 1 else one[:, None, None])
            for one in (parameters["weight"], parameters["bias"]))
    return _affine(scipy.sparse.diags_array(W.reshape(-1)), b.reshape(-1), shape)

@written_out.register
def _flatten(layer: Flatten, parameters, H, shape):
    return _affine(_identity(H), 0, (H.size, 1, 1))

@written_out.register
def _unflatten(layer: Unflatten, parameters, H, shape):
    return _affine(_identity(H), 0, layer.unflattened_size)

@written_out.register
def _add(layer: Add, parameters, H, shape):
    W = scipy.sparse.hstack([_identity(H[:np.prod(shape[0])])] * len(shape), format="csr")
    return _affine(W, 0, shape[0])

@written_out.register
def _concat(layer: Concat, parameters, H, shape):
    return _affine(_identity(H), 0, (sum(one[0] for one in shape), *shape[0][1:]))

@written_out.register
def _softmax(layer: Softmax, parameters, H, shape):
    def f(z):
        e = np.exp(z.reshape(shape) - z.reshape(shape).max(axis=0))
        return (e / e.sum(axis=0)).reshape(-1)
    def df(z):
        """∂p_j/∂z_k = p_j (δ_jk − p_k) of one position's channels; 1 − p_j is Σ_{k≠j} p_k."""
        p, position = f(z), np.arange(z.size) % (shape[1] * shape[2])
        pp = np.outer(p, p) * ((position[:, None] == position) - np.eye(z.size))
        return np.diag(pp.sum(axis=1)) - pp
    return _identity(H), 0, f, df, shape

@written_out.register(LayerNorm)
@written_out.register(GroupNorm)
def _sample_norm(layer, parameters, H, shape):
    is_layer = isinstance(layer, LayerNorm)  # over height and width: each channel by itself
    groups = (shape[0] if len(layer.normalized_shape) == 2 else 1) if is_layer else layer.num_groups
    each = np.tile if is_layer else np.repeat  # how a parameter stands for the units
    weight, bias = (each(np.ravel(own), H.size // np.size(own)) for own in (
        parameters.get("weight", 1.0), parameters.get("bias", 0.0)))
    def normal(z):
        """(z − mean) / deviation and 1 / deviation of each group, (groups, units)."""
        z = z.reshape(groups, -1) - z.reshape(groups, -1).mean(axis=1, keepdims=True)
        deviation = ((z ** 2).mean(axis=1, keepdims=True) + layer.eps) ** 0.5
        return z / deviation, 1 / deviation
    def df(z):
        """∂n_p/∂z_q = (δ_pq − 1/N − n_p·n_q/N) / deviation for p, q of one group of N."""
        blocks = [(np.eye(len(n)) - (1 + np.outer(n, n)) / len(n)) * inverse
                  for n, inverse in zip(*normal(z))]
        return weight[:, None] * scipy.linalg.block_diag(*blocks)
    return _identity(H), 0, lambda z: weight * normal(z)[0].reshape(-1) + bias, df, shape

@written_out.register
def _learned_slopes(layer: PReLU, parameters, H, shape):
    below = np.repeat(np.broadcast_to(parameters["weight"], shape[0]), shape[1] * shape[2])
    return (_identity(H), 0, lambda z: np.where(z.real > 0, z, below * z),
            lambda z: scipy.sparse.diags_array(np.where(z.real > 0, 1, below)), shape)

def _activation(kind, f, slope):  # W = I, b = 0, f works on each unit alone: f' is diagonal
    written_out.register(kind, lambda layer, parameters, H, shape: (
        _identity(H), 0, partial(f, layer),
        lambda z: scipy.sparse.diags_array(slope(layer, z)), shape))

def _phi(z):  # 1 / (1 + e^−z), also where e^−z would be too large
    e = np.exp(np.where(z.real > 0, -z, z))
    return np.where(z.real > 0, 1, e) / (1 + e)

_activation(Dropout, lambda _, z: z, lambda _, z: np.ones(z.size))
_activation(Tanh, lambda _, z: np.tanh(z), lambda _, z: 1 / np.cosh(z) ** 2)
_activation(Sigmoid, lambda _, z: _phi(z), lambda _, z: _phi(z) * _phi(-z))
_activation(ReLU, lambda _, z: np.where(z.real > 0, z, 0), lambda _, z: 1.0 * (z.real > 0))
_activation(LeakyReLU, lambda layer, z: np.where(z.real > 0, z, layer.negative_slope * z),
            lambda layer, z: np.where(z.real > 0, 1, layer.negative_slope))
_activation(Hardtanh, lambda layer, z: np.where(
    z.real <= layer.min_val, layer.min_val, np.where(z.real >= layer.max_val, layer.max_val, z)),
            lambda layer, z: 1.0 * ((z.real > layer.min_val) & (z.real < layer.max_val)))
_activation(ELU, lambda layer, z: np.where(z.real > 0, z, layer.alpha * np.expm1(z)),
            lambda layer, z: np.where(z.real > 0, 1, layer.alpha * np.exp(z)))
_activation(Softplus, lambda layer, z: np.where(z.real > 0, z, 0)  # log(1 + e^βz) / β, in two parts
            - scipy.special.log1p(-_phi(-layer.beta * np.where(z.real > 0, z, -z))) / layer.beta,
            lambda layer, z: _phi(layer.beta * z))
_activation(SiLU, lambda _, z: z * _phi(z), lambda _, z: _phi(z) + z * _phi(z) * _phi(-z))

def _gauss(layer, z):  # Φ(z) and Φ'(z) of the normal distribution, or of what stands for them
    if layer.approximate == "none":
        return scipy.special.erfc(-z / 2 ** 0.5) / 2, np.exp(-z ** 2 / 2) / (2 * np.pi) ** 0.5
    z = np.where(np.abs(z.real) < 100, z, 100 * np.sign(z.real))  # beyond it Φ is 0 or 1
    u = (8 / np.pi) ** 0.5 * (z + 0.044715 * z ** 3)  # (1 + tanh(u/2)) / 2 = φ(u)
    return _phi(u), _phi(u) * _phi(-u) * (8 / np.pi) ** 0.5 * (1 + 0.134145 * z ** 2)

_activation(GELU, lambda layer, z: z * _gauss(layer, z)[0],
            lambda layer, z: _gauss(layer, z)[0] + z * _gauss(layer, z)[1])
