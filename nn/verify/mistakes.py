"""Wrong derivatives as people write them, each seeded into one layer of a copy of a network whose values stay right.

In: a network, as `LeNet.pretrained()`. Out: the same network, its logits bit for bit, with one derivative wrong: a
layer's forward derivative (Eq. 5), its backward step or the gradient of a parameter. `scripts.measure.checks` and the
tests ask what finds them. Read on in `verify.function`.
"""
from collections.abc import Callable
from copy import copy, deepcopy
from functools import partial
from typing import NamedTuple

import numpy as np

from nn import Conv2d, Flatten, Jacobian, Linear, MaxPool2d, Network, Softmax, Tanh

FORWARD, BACKWARD, GRADIENT = PARTS = ("forward derivative", "backward", "gradient")


class Mistake(NamedTuple):
    """`make(network)` is a copy of `network` that is wrong in `part` of one layer: of LeNet's, the layer `layer`."""
    name: str
    layer: str
    part: str
    make: Callable[[Network], Network]


def seeded(network, wrong, preferred):
    """A copy of `network` one of whose layers is `wrong`: the layer `preferred` or else the first of that kind."""
    kind = next(base for base in wrong.__mro__ if base.__module__.startswith("nn.layers."))
    names = [name for name, layer in network.layers.items() if isinstance(layer, kind)]
    if not names:
        raise ValueError(f"network has no {kind.__name__} to make a mistake in; it has {', '.join(network.layers)}")
    layers = deepcopy(network.layers)
    layers[preferred if preferred in names else names[0]].__class__ = wrong
    return Network(layers, network.input_shape, network.inputs)


# Convolution

class KernelFlipped(Conv2d):
    """W[K − 1 − dy, K − 1 − dx] in place of W[dy, dx]."""

    def forward_derivative(self, jacobian, saved):
        return Conv2d.forward_derivative(_reweighted(self, lambda w: w[:, :, ::-1, ::-1]), jacobian, saved)


class KernelTransposed(Conv2d):
    """W[dx, dy] in place of W[dy, dx]."""

    def forward_derivative(self, jacobian, saved):
        return Conv2d.forward_derivative(_reweighted(self, lambda w: w.swapaxes(2, 3)), jacobian, saved)


class ConvShifted(Conv2d):
    """The windows begin one unit too far to the right."""

    def forward_derivative(self, jacobian, saved):
        return _shifted(super().forward_derivative(jacobian, saved), jacobian.stride[1])


class KernelNotTurned(Conv2d):
    """The transposed step with the kernel the wrong way round."""

    def backward(self, grad_y, saved):
        return Conv2d.backward(_reweighted(self, lambda w: w[:, :, ::-1, ::-1]), grad_y, saved)


class ChannelsNotTransposed(Conv2d):
    """W[c, o] in place of W[o, c] in the transposed step."""

    def backward(self, grad_y, saved):
        return Conv2d.backward(_reweighted(self, lambda w: w.swapaxes(0, 1)), grad_y, saved)


class BiasForgotten(Conv2d):
    """∂/∂bias = 0."""

    def gradients(self, grad_y, saved):
        found = super().gradients(grad_y, saved)
        return {**found, "bias": np.zeros_like(found["bias"])}


class BiasAveraged(Conv2d):
    """∂/∂bias as a mean over the positions, not their sum."""

    def gradients(self, grad_y, saved):
        found = super().gradients(grad_y, saved)
        return {**found, "bias": grad_y.mean(axis=(1, 2)).sum(axis=0)}


class KernelGradientFlipped(Conv2d):
    """∂/∂W[K − 1 − dy, K − 1 − dx] in place of ∂/∂W[dy, dx]."""

    def gradients(self, grad_y, saved):
        found = super().gradients(grad_y, saved)
        return {**found, "weight": found["weight"][:, :, ::-1, ::-1]}


# Pooling

class _KeepsTies(MaxPool2d):
    """Keeps for each tap where its unit is a maximum of the window, alone or tied."""

    def forward(self, x):
        """The maximum, and where it is reached."""
        y, saved = super().forward(x)
        tied = [x[:, ys, xs].real == y.real for _, (ys, xs) in self._taps(y.shape[1:3])]
        return y, (*saved, tied)

    def backward(self, grad_y, saved):
        """As it should be."""
        return super().backward(grad_y, saved[:2])


class LastMaximum(_KeepsTies):
    """Of tied units the last wins in the forward derivative; the first in the backward step."""

    def forward_derivative(self, jacobian, saved):
        """Wrong at ties."""
        shape, winner, tied = saved
        for number, here in enumerate(tied):
            winner = np.where(here, number, winner)
        return super().forward_derivative(jacobian, (shape, winner))


class EveryMaximum(_KeepsTies):
    """Every tied unit gets the whole gradient, as `grad * (x == x.max())` does it."""

    def backward(self, grad_y, saved):
        """Wrong at ties."""
        shape, winner, tied = saved
        grad = np.zeros((*np.broadcast_shapes(grad_y.shape, winner.shape)[:-3], *shape[1:]), grad_y.dtype)
        for here, (_, (ys, xs)) in zip(tied, self._taps(winner.shape[1:3])):
            grad[..., ys, xs, :] += grad_y * here
        return grad


class PoolShifted(MaxPool2d):
    """The windows begin one unit too far to the right."""

    def forward_derivative(self, jacobian, saved):
        return _shifted(super().forward_derivative(jacobian, saved), jacobian.stride[1])


class PoolDivided(MaxPool2d):
    """The maximum's derivative divided by the area of the window, as if it were a mean."""

    def forward_derivative(self, jacobian, saved):
        """A quarter of it, for 2×2."""
        found = super().forward_derivative(jacobian, saved)
        share = 1 / (self.kernel[0] * self.kernel[1])
        return Jacobian(found.values * share, found.stride, found.start, found.units, found.image)


class PoolBackwardShifted(MaxPool2d):
    """The gradient goes to the unit to the right of the winner."""

    def backward(self, grad_y, saved):
        return np.roll(super().backward(grad_y, saved), 1, axis=-2)


# Activations

class SlopeMissing(Tanh):
    """∂H/∂x = ∂z/∂x: f' is forgotten."""

    def forward_derivative(self, jacobian, saved):
        return jacobian


class SlopeNotSquared(Tanh):
    """f' = 1 − tanh in the forward derivative."""

    def forward(self, x):
        y, slope = super().forward(x)
        return y, (slope, 1 - y)

    def forward_derivative(self, jacobian, saved):
        return super().forward_derivative(jacobian, saved[1])

    def backward(self, grad_y, saved):
        return super().backward(grad_y, saved[0])


class SlopeNegative(Tanh):
    """f' = tanh² − 1."""

    def forward_derivative(self, jacobian, saved):
        return super().forward_derivative(jacobian, -saved)


class SlopeMissingBackward(Tanh):
    """∂/∂z = ∂/∂H: f' is forgotten."""

    def backward(self, grad_y, saved):
        return grad_y


class Uncoupled(Softmax):
    """∂p_j = p_j (1 − p_j) ∂z_j: the part −p_j p_k ∂z_k of the other outputs is forgotten."""

    def forward_derivative(self, jacobian, saved):
        return jacobian.scaled(saved * (1 - saved))


class UncoupledBackward(Softmax):
    """∂/∂z_j = p_j (1 − p_j) ∂/∂p_j."""

    def backward(self, grad_y, saved):
        return grad_y * saved * (1 - saved)


# Fully connected layers

class WeightTransposed(Linear):
    """The numbers of Wᵀ read as if they were W."""

    def forward_derivative(self, jacobian, saved):
        return Linear.forward_derivative(_reweighted(self, np.transpose), jacobian, saved)


class WeightTransposedBackward(Linear):
    """The numbers of Wᵀ read as if they were W, in the transposed step."""

    def backward(self, grad_y, saved):
        return Linear.backward(_reweighted(self, np.transpose), grad_y, saved)


class WeightGradientTransposed(Linear):
    """∂/∂W as x ⊗ ∂/∂z in place of ∂/∂z ⊗ x."""

    def gradients(self, grad_y, saved):
        found = super().gradients(grad_y, saved)
        return {**found, "weight": found["weight"].T.reshape(found["weight"].shape)}


class BiasDoubled(Linear):
    """A factor 2 in ∂/∂bias."""

    def gradients(self, grad_y, saved):
        found = super().gradients(grad_y, saved)
        return {**found, "bias": 2 * found["bias"]}


class ChannelsLast(Flatten):
    """Units in the order row, column, channel in place of channel, row, column."""

    def forward_derivative(self, jacobian, saved):
        values = jacobian.flatten().values
        return Jacobian(_channels_last(values, saved), (1, 1), (0, 0), (1, 1), jacobian.image)


class ChannelsLastBackward(Flatten):
    """The gradient read in the order row, column, channel in place of channel, row, column."""

    def backward(self, grad_y, saved):
        return grad_y.reshape(*grad_y.shape[:-3], *saved)


def _reweighted(layer, change):
    """A copy of `layer` with the numbers of change(weight) in the shape of its weight."""
    other, weight = copy(layer), layer.parameters["weight"]
    other.parameters = {**layer.parameters, "weight": change(weight).reshape(weight.shape)}
    return other


def _shifted(jacobian, pixels):
    """The same windows, `pixels` to the right."""
    row, column = jacobian.start
    return Jacobian(jacobian.values, jacobian.stride, (row, column + pixels), jacobian.units, jacobian.image)


def _channels_last(values, shape):
    """The last axis, (c, y, x) in one, in the order y, x, c; `shape` = (y, x, c)."""
    table = values.reshape(*values.shape[:-1], shape[2], *shape[:2])
    return np.moveaxis(table, -3, -1).reshape(values.shape)


def _list(*rows):
    return {name: Mistake(name, layer, part, partial(seeded, wrong=wrong, preferred=layer))
            for part, name, layer, wrong in rows}


MISTAKES = _list(
    (FORWARD, "conv: kernel flipped", "conv2", KernelFlipped),
    (FORWARD, "conv: kernel transposed", "conv1", KernelTransposed),
    (FORWARD, "conv: window off by one", "conv1", ConvShifted),
    (FORWARD, "max pool: window off by one", "pool2", PoolShifted),
    (FORWARD, "max pool: divided by the area", "pool1", PoolDivided),
    (FORWARD, "max pool: last of tied maxima wins", "pool1", LastMaximum),
    (FORWARD, "tanh: f' missing", "tanh1", SlopeMissing),
    (FORWARD, "tanh: f' = 1 − tanh", "tanh2", SlopeNotSquared),
    (FORWARD, "tanh: wrong sign", "tanh3", SlopeNegative),
    (FORWARD, "flatten: order row, column, channel", "flatten", ChannelsLast),
    (FORWARD, "linear: weight transposed", "fc2", WeightTransposed),
    (FORWARD, "softmax: no coupling", "softmax", Uncoupled),
    (BACKWARD, "conv, backward: kernel the wrong way round", "conv2", KernelNotTurned),
    (BACKWARD, "conv, backward: channels not transposed", "conv2", ChannelsNotTransposed),
    (BACKWARD, "max pool, backward: every tied maximum", "pool1", EveryMaximum),
    (BACKWARD, "max pool, backward: off by one", "pool2", PoolBackwardShifted),
    (BACKWARD, "tanh, backward: f' missing", "tanh2", SlopeMissingBackward),
    (BACKWARD, "flatten, backward: order row, column, channel", "flatten", ChannelsLastBackward),
    (BACKWARD, "linear, backward: weight transposed", "fc1", WeightTransposedBackward),
    (BACKWARD, "softmax, backward: no coupling", "softmax", UncoupledBackward),
    (GRADIENT, "conv, gradient: bias forgotten", "conv1", BiasForgotten),
    (GRADIENT, "conv, gradient: bias averaged, not summed", "conv2", BiasAveraged),
    (GRADIENT, "conv, gradient: kernel flipped", "conv1", KernelGradientFlipped),
    (GRADIENT, "linear, gradient: weight transposed", "fc2", WeightGradientTransposed),
    (GRADIENT, "linear, gradient: bias times 2", "fc1", BiasDoubled),
)
# Seen only where maxima are tied, so right code too has no derivative there.
AT_TIES = ("max pool: last of tied maxima wins", "max pool, backward: every tied maximum")
