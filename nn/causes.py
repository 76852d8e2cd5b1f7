"""What a wrong derivative looks like: from the pattern of its errors to the likely mistake, in a few words.

In: the claimed and the right ∂H_k/∂x of the first wrong layer, and what went into it. Out: a cause, or "" where no
pattern shows. A cause is named only if making that mistake on purpose gives the claimed numbers.
"""
import copy

import numpy as np

from nn import dense
from nn.activation import ReLU, Sigmoid, Tanh
from nn.conv import Conv2d
from nn.linear import Linear
from nn.pool import MaxPool2d


def likely_cause(layer, value, before, claimed, expected, image):
    """`value` (1, y, x, c), `before` (units, M): the layer's input and its Jacobian; `claimed`, `expected` (units, M);
    `image` = (channels, height, width), or None for inputs that are no images."""
    for cause, wrong in _on_purpose(layer, value, before):
        if _same(claimed, wrong, expected):
            return cause
    return scaled(claimed, expected) or (moved(claimed, expected, image) if image else "")


def scaled(claimed, expected):
    """"the sign is wrong", "zero everywhere", "scaled by …", or "" if no factor explains the claimed numbers."""
    size = float((expected * expected).sum())
    if not size:
        return ""
    factor = float((claimed * expected).sum()) / size
    if not _same(claimed, factor * expected, expected):
        return ""
    if abs(factor) < 1e-6:
        return "zero everywhere"
    if abs(factor + 1) < 1e-6:
        return "the sign is wrong"
    return f"scaled by {factor:.6g}"


def _on_purpose(layer, value, before):
    """Yields (cause, ∂H/∂x as it comes out with that mistake)."""
    if isinstance(layer, (Tanh, Sigmoid, ReLU)):
        yield "f' is missing", before
    if isinstance(layer, MaxPool2d):
        yield "at ties another unit wins than the first maximum", _last_wins(layer, value, before)
    weight = layer.parameters.get("weight")
    if isinstance(layer, Conv2d):
        yield "the kernel is flipped", _with(layer, value, before, weight[:, :, ::-1, ::-1])
        if weight.shape[2] == weight.shape[3]:
            yield "the kernel is transposed (rows for columns)", _with(layer, value, before, weight.swapaxes(2, 3))
        if weight.shape[0] == weight.shape[1]:
            yield "input and output channels are transposed", _with(layer, value, before, weight.swapaxes(0, 1))
        for axis, name in ((2, "row"), (3, "column")):
            for step in (1, -1):
                yield f"shifted by a pixel (one {name})", _with(layer, value, before, _rolled(weight, step, axis))
    if isinstance(layer, Linear):
        turned = np.ascontiguousarray(weight.T).reshape(weight.shape)
        yield "the weight is transposed", _with(layer, value, before, turned)


def _with(layer, value, before, weight):
    shape = (value.shape[3], *value.shape[1:3])
    return dense.step(layer, {**layer.parameters, "weight": weight}, np.zeros(value.size), before, shape)[1]


def _last_wins(layer, value, before):
    turned = copy.copy(layer)
    flat = value.transpose(0, 3, 1, 2).reshape(value.shape[3], *value.shape[1:3])[:, ::-1, ::-1].reshape(-1)
    shape = (value.shape[3], *value.shape[1:3])
    order = np.arange(value.size).reshape(shape)[:, ::-1, ::-1].reshape(-1)
    if any((n - k) % s for n, k, s in zip(shape[1:], layer.kernel, layer.stride)):
        return np.full((1, 1), np.nan)
    out = dense.step(turned, {}, flat, before[order], shape)
    return out[1].reshape(*out[2], -1)[:, ::-1, ::-1].reshape(-1, before.shape[1])


def _rolled(weight, step, axis):
    rolled = np.roll(weight, step, axis=axis)
    edge = [slice(None)] * weight.ndim
    edge[axis] = 0 if step > 0 else -1
    rolled[tuple(edge)] = 0
    return rolled


def moved(claimed, expected, image):
    """"shifted by a pixel …", "rows and columns … transposed" or "" for derivatives (units, M) of an image."""
    claimed, expected = claimed.reshape(-1, *image), expected.reshape(-1, *image)
    inner = slice(1, -1)
    for axis, name in ((2, "row"), (3, "column")):
        for step in (1, -1):
            wrong = np.roll(expected, step, axis=axis)
            if _same(*(array[:, :, inner, inner] for array in (claimed, wrong, expected))):
                return f"shifted by a pixel (one {name})"
    if image[1] == image[2] and _same(claimed, expected.swapaxes(2, 3), expected):
        return "rows and columns of the image are transposed"
    return ""


def _same(claimed, wrong, expected):
    if claimed.shape != wrong.shape:
        return False
    return bool(np.abs(claimed - wrong).max(initial=0) <= 0.01 * np.abs(claimed - expected).max(initial=0))
