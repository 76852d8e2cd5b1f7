"""The catalogue of mistakes: wrong derivatives as people write them, each a small function beside
the cause in words. It serves twice: `diagnosis` makes them in a copy of a wrong layer, to see which
gives the claimed numbers, and `mistakes` seeds them into networks.

In: one layer's step of Eq. 5, of the backward pass or of the gradients. Out: what that step gives
with the mistake. Read on in `verify.mistakes`.
"""
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nn.layers.activation import Activation, Softmax, Tanh
from nn.layers.base import Layer, Merge
from nn.layers.convolution import Conv2d
from nn.layers.linear import Flatten, Linear
from nn.layers.pooling import MaxPool2d
from nn.verify.ties import seen_by_taps

FORWARD, BACKWARD, GRADIENT = PARTS = ("forward derivative", "backward", "gradient")
METHODS = {FORWARD: "forward_derivative", BACKWARD: "backward", GRADIENT: "gradients"}


class LayerStep(NamedTuple):
    """One layer's step: its `part`, asked for what it makes of `incoming`."""
    layer: Layer     # of a class of nn's own
    part: str
    incoming: Any    # the `Jacobian` of x; ∂/∂output (…, b, y, x, c) for the other parts
    x: np.ndarray    # (b, y, x, c), the layer's input
    saved: Any       # what its `forward` saved

    def result(self):
        """What `nn` makes of it: a `Jacobian`, ∂/∂x (…, b, y, x, c), or {name: ∂/∂parameter}."""
        return getattr(self.layer, METHODS[self.part])(self.incoming, self.saved)

    def with_saved(self, saved):
        """The result where `forward` had saved something else."""
        return self._replace(saved=saved).result()

    def with_weight(self, change):
        """The result where the numbers of change(W) stand for W, or those of change(∂/∂W) for
        ∂/∂W."""
        if self.part == GRADIENT:
            gradients = self.result()
            shape = gradients["weight"].shape
            return {**gradients, "weight": change(gradients["weight"]).reshape(shape)}
        layer, weight = copy(self.layer), self.layer.parameters["weight"]
        layer.parameters = {**layer.parameters, "weight": change(weight).reshape(weight.shape)}
        return self._replace(layer=layer).result()


class WrongStep(NamedTuple):
    """A mistake: compute(step) in place of step.result()."""
    kinds: tuple[type, ...]   # the layers in which it can be made
    compute: Callable
    causes: dict[str, str]    # {part: the cause in words}; without words the numbers say enough


CATALOGUE: list[WrongStep] = []


def plain(layer):
    """A copy of `layer` with the arithmetic of `nn`, whatever its class overrides; None for a kind
    not known there."""
    kind = next(base for base in type(layer).__mro__ if base.__module__.startswith("nn.layers."))
    if kind in (Layer, Merge, Activation):
        return None
    other = copy(layer)
    other.__class__ = kind
    return other


def step_of(layer, part, incoming, x):
    """The `LayerStep` of `layer` as `nn` computes it; None for a kind not known there."""
    layer = plain(layer)
    return layer and LayerStep(layer, part, incoming, x, layer.forward(x)[1])


def mistake_in(*kinds, cause="", gradient=""):
    """Puts a function of a step into the catalogue: in which kinds of layers the mistake is made,
    its cause in words where a derivative is wrong, and where a parameter's gradient is."""
    causes = {FORWARD: cause, BACKWARD: cause, GRADIENT: gradient}

    def put(compute):
        """The function as a `WrongStep`."""
        wrong = WrongStep(kinds, compute, causes)
        CATALOGUE.append(wrong)
        return wrong

    return put


# Convolution

@mistake_in(Conv2d, cause="the kernel is flipped", gradient="it is flipped")
def kernel_flipped(step):
    """W[K − 1 − dy, K − 1 − dx] in place of W[dy, dx]."""
    return step.with_weight(lambda weight: weight[:, :, ::-1, ::-1])


@mistake_in(Conv2d, cause="the kernel is transposed (rows for columns)",
            gradient="it is transposed (rows for columns)")
def kernel_transposed(step):
    """W[dx, dy] in place of W[dy, dx]."""
    return step.with_weight(lambda weight: weight.swapaxes(2, 3))


@mistake_in(Conv2d, cause="input and output channels are transposed")
def channels_transposed(step):
    """W[c, o] in place of W[o, c]."""
    return step.with_weight(lambda weight: weight.swapaxes(0, 1))


def taps_shifted(step, axis, by):
    """W[dy − by] in place of W[dy] along an axis of the kernel; 0 where that lies outside."""
    def change(weight):
        """The weight, rolled."""
        rolled = np.roll(weight, by, axis=axis)
        edge = [slice(None)] * weight.ndim
        edge[axis] = 0 if by > 0 else -1
        rolled[tuple(edge)] = 0
        return rolled

    return step.with_weight(change)


for _axis, _name in ((2, "row"), (3, "column")):
    for _by in (1, -1):
        mistake_in(Conv2d, cause=f"shifted by a pixel (one {_name})")(
            partial(taps_shifted, axis=_axis, by=_by))


@mistake_in(Conv2d, MaxPool2d)
def window_shifted(step):
    """The windows begin one unit too far to the right."""
    result = step.result()
    if step.part == BACKWARD:
        return np.roll(result, 1, axis=-2)
    row, column = result.start
    return result.with_values(result.values, start=(row, column + step.incoming.stride[1]))


# Pooling

@mistake_in(MaxPool2d, cause="at ties the last maximum wins, not the first")
def last_maximum(step):
    """Of tied units the last wins."""
    shape, winner = step.saved
    for number, largest in enumerate(_largest(step)):
        winner = np.where(largest, number, winner).astype(winner.dtype)
    return step.with_saved((shape, winner))


@mistake_in(MaxPool2d, cause="at ties every maximum counts, not the first alone")
def every_maximum(step):
    """Every tied unit gets the whole derivative, as `grad * (x == x.max())` gives it."""
    shape, winner = step.saved
    taps = _largest(step)
    nobody = len(taps)
    parts = [step.with_saved((shape, np.where(largest, number, nobody).astype(winner.dtype)))
             for number, largest in enumerate(taps)]
    if step.part == BACKWARD:
        return sum(parts)
    return parts[0].with_values(sum(part.values for part in parts))


@mistake_in(MaxPool2d)
def divided_by_the_area(step):
    """The maximum's derivative divided by the area of the window, as if it were a mean."""
    result, area = step.result(), step.layer.kernel[0] * step.layer.kernel[1]
    return result.with_values(result.values / area) if step.part == FORWARD else result / area


# Activations

@mistake_in(Activation, cause="f' is missing")
def slope_missing(step):
    """∂H/∂x = ∂z/∂x, or ∂/∂z = ∂/∂H: f' is forgotten."""
    return step.incoming


@mistake_in(Tanh, cause="f' is 1 − tanh, not 1 − tanh²")
def slope_not_squared(step):
    """f' = 1 − tanh."""
    return step.with_saved(1 - np.tanh(step.x))


@mistake_in(Tanh)
def slope_negative(step):
    """f' = tanh² − 1."""
    return step.with_saved(-step.saved)


@mistake_in(Softmax)
def uncoupled(step):
    """∂p_j = p_j (1 − p_j) ∂z_j: the part −p_j p_k ∂z_k of the other outputs is forgotten."""
    slope = step.saved * (1 - step.saved)
    return step.incoming.scaled(slope) if step.part == FORWARD else step.incoming * slope


# Fully connected layers

@mistake_in(Linear, cause="the weight is transposed", gradient="it is transposed")
def weight_transposed(step):
    """The numbers of Wᵀ read as if they were W; x ⊗ ∂/∂z in place of ∂/∂z ⊗ x."""
    return step.with_weight(np.transpose)


@mistake_in(Flatten)
def channels_last(step):
    """Units in the order row, column, channel in place of channel, row, column."""
    rows, columns, channels = step.saved
    if step.part == BACKWARD:
        return step.incoming.reshape(*step.incoming.shape[:-3], rows, columns, channels)
    result = step.result()
    values = result.values.reshape(*result.values.shape[:-1], channels, rows, columns)
    return result.with_values(np.moveaxis(values, -3, -1).reshape(result.values.shape))


# The bias

@mistake_in(Conv2d, Linear)
def bias_forgotten(step):
    """∂/∂bias = 0."""
    gradients = step.result()
    return {**gradients, "bias": np.zeros_like(gradients["bias"])}


@mistake_in(Conv2d)
def bias_averaged(step):
    """∂/∂bias as a mean over the positions, not their sum."""
    return {**step.result(), "bias": step.incoming.mean(axis=(1, 2)).sum(axis=0)}


@mistake_in(Conv2d, Linear)
def bias_doubled(step):
    """A factor 2 in ∂/∂bias."""
    gradients = step.result()
    return {**gradients, "bias": 2 * gradients["bias"]}


def _largest(step):
    """For each tap of the window, row by row, where its unit is a maximum: [(b, y, x, c), …]."""
    seen = seen_by_taps(step.layer, step.x.real, -np.inf)
    return [values == np.max(seen, axis=0) for values in seen]
