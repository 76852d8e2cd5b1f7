"""A dense referee for the forward derivative, written from the paper: every W_k of Eq. 5 as an explicit matrix.

In: a network and one sample. Out: H_k and ∂H_k/∂x of every layer, plain vectors and matrices in PyTorch's order
(channel, row, column). Only the numbers that define a layer (kernel, stride, padding, weights) are read from the
layers; none of their arithmetic is used. Weights may be complex, so that the complex step can differentiate with
respect to them too. Slow and plain. Read on in `network`.
"""
import numpy as np

from nn.layers.activation import ELU, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from nn.layers.base import like
from nn.layers.convolution import Conv2d
from nn.layers.linear import Flatten, Linear
from nn.layers.merge import Add, Concat
from nn.layers.normalization import BatchNorm2d, Dropout
from nn.layers.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d


def trace(network, x, parameters=None):
    """Eq. 4-6 for one sample x (M,): a list of (name, H_k (C, Y, X), ∂H_k/∂x (C·Y·X, M)) over all layers."""
    parameters = network.parameters() if parameters is None else parameters
    shape = tuple(network.input_shape) + (1, 1) if len(network.input_shape) == 1 else network.input_shape
    shape = (1, *shape) if len(shape) == 2 else tuple(shape)
    x = np.asarray(x).astype(np.result_type(x, np.float32), copy=False)
    known = {"input": (x.reshape(-1), np.eye(int(np.prod(shape))), shape)}
    for name, layer in network.layers.items():
        own = {key: like(parameters[f"{name}.{key}"], x) for key in layer.parameters}
        given = [known[taken] for taken in network.inputs[name]]
        known[name] = step(layer, own, *(given[0] if len(given) == 1 else zip(*given)))
    return [(name, h.reshape(shape), jacobian) for name, (h, jacobian, shape) in known.items() if name != "input"]


def step(layer, parameters, h, jacobian, shape):
    """One layer: H (units,), ∂H/∂x (units, M) and the shape (C, Y, X) of its input → those of its output.

    A layer of several inputs takes a tuple of each.
    """
    if isinstance(layer, Add):
        return np.sum(h, axis=0), np.sum(jacobian, axis=0), shape[0]
    if isinstance(layer, Concat):
        return np.concatenate(h), np.concatenate(jacobian), (sum(one[0] for one in shape), *shape[0][1:])
    if isinstance(layer, Dropout):
        return h, jacobian, shape
    if isinstance(layer, (Tanh, Sigmoid, ReLU, LeakyReLU, ELU, Softplus)):
        h, slope = _activation(layer, h)
        return h, slope[:, None] * jacobian, shape
    if isinstance(layer, Softmax):
        return (*_softmax(h, jacobian, shape), shape)
    if isinstance(layer, Flatten):
        return h, jacobian, (len(h), 1, 1)
    if isinstance(layer, Linear):
        matrix, shape = parameters["weight"], (len(parameters["weight"]), 1, 1)
        bias = parameters.get("bias", 0)
    elif isinstance(layer, Conv2d):
        matrix, bias, shape = _convolution(layer, parameters, shape)
    elif isinstance(layer, BatchNorm2d):
        factor = parameters["weight"] / (parameters["running_var"] + layer.eps) ** 0.5
        shift = parameters["bias"] - factor * parameters["running_mean"]
        matrix, bias = (np.repeat(values, shape[1] * shape[2]) for values in (factor, shift))
        matrix = np.diag(matrix)
    elif isinstance(layer, AdaptiveAvgPool2d):
        positions = shape[1] * shape[2]
        matrix, bias, shape = np.kron(np.eye(shape[0]), np.ones(positions) / positions), 0, (shape[0], 1, 1)
    elif isinstance(layer, (MaxPool2d, AvgPool2d)):
        (matrix, shape), bias = _pooling(layer, h, shape), 0
    else:
        raise TypeError(f"{type(layer).__name__} is none of the layers that the dense Eq. 5 knows")
    return matrix @ h + bias, matrix @ jacobian, shape


@np.errstate(over="ignore")  # 1/∞ is the 0 that is meant
def _activation(layer, z):
    if isinstance(layer, Tanh):
        return np.tanh(z), 1 / np.cosh(z) ** 2
    if isinstance(layer, Sigmoid):
        return 1 / (1 + np.exp(-z)), 0.25 / np.cosh(z / 2) ** 2
    on, below = z.real > 0, np.where(z.real > 0, 0, z)
    if isinstance(layer, LeakyReLU):
        return np.where(on, z, layer.negative_slope * z), np.where(on, 1.0, layer.negative_slope)
    if isinstance(layer, ELU):
        return np.where(on, z, layer.alpha * (np.exp(below) - 1)), np.where(on, 1.0, layer.alpha * np.exp(below))
    if isinstance(layer, Softplus):
        e = np.exp(layer.beta * z)
        return np.log(1 + e) / layer.beta, e / (1 + e)
    return np.where(on, z, 0), np.where(on, 1.0, 0.0)


def _softmax(z, jacobian, shape):
    """Over the channels of each position: ∂p_j/∂z_k = p_j (δ_jk − p_k)."""
    p, matrix = np.zeros_like(z), np.zeros((len(z), len(z)), z.dtype)
    for units in np.arange(len(z)).reshape(shape[0], -1).T:
        e = np.exp(z[units] - z[units].real.max())
        p[units] = e / e.sum()
        matrix[np.ix_(units, units)] = np.diag(p[units]) - np.outer(p[units], p[units])
    return p, matrix @ jacobian


def _convolution(layer, parameters, shape):
    weight, (channels, height, width) = parameters["weight"], shape
    (out, _, ky, kx), (sy, sx), (py, px) = weight.shape, layer.stride, layer.padding
    rows, columns = (height + 2 * py - ky) // sy + 1, (width + 2 * px - kx) // sx + 1
    if layer.connections is not None:
        weight = np.where(layer.connections[:, :, None, None], weight, 0)
    matrix = np.zeros((out, rows, columns, channels, height, width), weight.dtype)
    for y, x, dy, dx in np.ndindex(rows, columns, ky, kx):
        v, u = sy * y + dy - py, sx * x + dx - px
        if 0 <= v < height and 0 <= u < width:
            matrix[:, y, x, :, v, u] = weight[:, :, dy, dx]
    bias = np.repeat(parameters["bias"], rows * columns) if "bias" in parameters else 0
    return matrix.reshape(out * rows * columns, -1), bias, (out, rows, columns)


def _pooling(layer, h, shape):
    (channels, height, width), (ky, kx), (sy, sx) = shape, layer.kernel, layer.stride
    rows, columns = (height - ky) // sy + 1, (width - kx) // sx + 1
    matrix = np.zeros((channels, rows, columns, channels, height, width))
    values = h.real.reshape(shape)
    for c, y, x in np.ndindex(channels, rows, columns):
        taps = [(sy * y + dy, sx * x + dx) for dy in range(ky) for dx in range(kx)]
        if isinstance(layer, MaxPool2d):
            taps = [max(taps, key=lambda tap: values[(c, *tap)])]  # max keeps the first of equals
        for v, u in taps:
            matrix[c, y, x, c, v, u] = 1 / len(taps)
    return matrix.reshape(channels * rows * columns, -1), (channels, rows, columns)
