"""What a wrong derivative looks like: from the pattern of its errors to the likely mistake, in a few words.

In: the first wrong layer, what went into it, and what it made of that. Out: a cause, or "" where no pattern shows. A
cause is named only if making that mistake on purpose, in a copy of the layer as it stands in `nn`, gives the claimed
numbers. Read on in `verify.mistakes`.
"""
from copy import copy

import numpy as np

from nn.layers.activation import ReLU, Sigmoid, Tanh
from nn.layers.base import Layer
from nn.layers.convolution import Conv2d
from nn.layers.jacobian import Jacobian
from nn.layers.linear import Linear
from nn.layers.pooling import MaxPool2d
from nn.verify.ties import winners


def plain(layer):
    """A copy of `layer` with the arithmetic of `nn`, whatever its class overrides; None for a kind not known there."""
    kind = next(base for base in type(layer).__mro__ if base.__module__.startswith("nn.layers."))
    if kind is Layer:
        return None
    other = copy(layer)
    other.__class__ = kind
    return other


def likely_cause(layer, value, apply, claimed, expected, image=None, steps=(1,)):
    """The mistake that gives `claimed` in place of `expected`, both of one shape.

    value: (b, y, x, c), the layer's input. apply: (layer, saved) → numbers of that shape, by a layer like this one.
    image: (channels, height, width) of the last axis, if it is an image; steps: by how much its windows may be shifted.
    """
    right = plain(layer)
    if right is not None:
        for cause, wrong, saved in _on_purpose(right, value):
            if _same(claimed, apply(wrong, saved), expected):
                return cause
    return scaled(claimed, expected) or (moved(claimed, expected, image, steps) if image else "")


def turned(claimed, expected):
    """"the weight is transposed", "the kernel is flipped", … where the claimed gradient of a weight is that."""
    patterns = {"transposed": expected.T.reshape(expected.shape)}
    if expected.ndim == 4:
        patterns = {"flipped": expected[:, :, ::-1, ::-1], "transposed (rows for columns)": expected.swapaxes(2, 3)}
    return next((f"it is {name}" for name, wrong in patterns.items() if _same(claimed, wrong, expected)), "")


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


def moved(claimed, expected, image, steps=(1,)):
    """"shifted by …", "rows and columns … transposed" or "" for derivatives (units, pixels) of an image."""
    claimed, expected = claimed.reshape(-1, *image), expected.reshape(-1, *image)
    for axis, name in ((2, "row"), (3, "column")):
        for step in (s * sign for s in sorted(set(steps)) for sign in (1, -1)):
            inner = [slice(None)] * 4
            inner[axis] = slice(abs(step), -abs(step))  # what was rolled over the edge is not looked at
            wrong = np.roll(expected, step, axis=axis)
            if _same(*(array[tuple(inner)] for array in (claimed, wrong, expected))):
                return f"shifted by a pixel (one {name})" if abs(step) == 1 else f"shifted by {abs(step)} {name}s"
    if image[1] == image[2] and _same(claimed, expected.swapaxes(2, 3), expected):
        return "rows and columns of the image are transposed"
    return ""


class _NoSlope(Layer):
    """f' is forgotten, forward and backward."""

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with the mistake."""
        return jacobian

    def backward(self, grad_y, saved):
        """The transposed step with the mistake."""
        return grad_y


class _EveryMaximum(MaxPool2d):
    """Every tied unit counts in full; `saved` is a list, one a tap, as `MaxPool2d` saves it."""

    def forward_derivative(self, jacobian, saved):
        """Eq. 5 with the mistake."""
        parts = [MaxPool2d.forward_derivative(self, jacobian, one) for one in saved]
        first = parts[0]
        return Jacobian(sum(part.values for part in parts), first.stride, first.start, first.units, first.image)

    def backward(self, grad_y, saved):
        """The transposed step with the mistake."""
        return sum(MaxPool2d.backward(self, grad_y, one) for one in saved)


def _on_purpose(layer, value):
    """Yields (cause, a layer with that mistake, what its derivatives need)."""
    y, saved = layer.forward(value)
    if isinstance(layer, (Tanh, Sigmoid, ReLU)):
        yield "f' is missing", _NoSlope(), None
    if isinstance(layer, Tanh):
        yield "f' is 1 − tanh, not 1 − tanh²", layer, 1 - y
    if isinstance(layer, MaxPool2d):
        yield from _at_ties(layer, value, saved)
    weight = layer.parameters.get("weight")
    if isinstance(layer, Conv2d):
        yield "the kernel is flipped", _with(layer, weight[:, :, ::-1, ::-1]), saved
        if weight.shape[2] == weight.shape[3]:
            yield "the kernel is transposed (rows for columns)", _with(layer, weight.swapaxes(2, 3)), saved
        turned_channels = np.ascontiguousarray(weight.swapaxes(0, 1)).reshape(weight.shape)
        yield "input and output channels are transposed", _with(layer, turned_channels), saved
        for axis, name in ((2, "row"), (3, "column")):
            for step in (1, -1):
                yield f"shifted by a pixel (one {name})", _with(layer, _rolled(weight, step, axis)), saved
    if isinstance(layer, Linear):
        yield "the weight is transposed", _with(layer, np.ascontiguousarray(weight.T).reshape(weight.shape)), saved


def _at_ties(layer, value, saved):
    shape, winner = saved
    channels, rows, columns = layer.output_shape((shape[3], *shape[1:3]))
    if len(value) == 1:
        largest = [np.moveaxis(here.reshape(channels, rows, columns), 0, -1)[None]
                   for _, here in winners(layer, value, ulps=0)]
        last = np.select(largest[::-1], range(len(largest) - 1, -1, -1)).astype(winner.dtype)
        yield "at ties the last maximum wins, not the first", layer, (shape, last)
        every = _EveryMaximum(layer.kernel, layer.stride)
        yield "at ties every maximum counts, not the first alone", every, [
            (shape, np.where(here, number, len(largest)).astype(winner.dtype)) for number, here in enumerate(largest)]


def _with(layer, weight):
    other = copy(layer)
    other.parameters = {**layer.parameters, "weight": weight}
    return other


def _rolled(weight, step, axis):
    rolled = np.roll(weight, step, axis=axis)
    edge = [slice(None)] * weight.ndim
    edge[axis] = 0 if step > 0 else -1
    rolled[tuple(edge)] = 0
    return rolled


def _same(claimed, wrong, expected):
    if claimed.shape != wrong.shape:
        return False
    return bool(np.abs(claimed - wrong).max(initial=0) <= 0.01 * np.abs(claimed - expected).max(initial=0))
