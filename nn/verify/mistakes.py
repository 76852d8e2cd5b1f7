"""The catalogue's mistakes as they are put to a test: 25 of them, each seeded into one layer of a
copy of a network whose values stay right, bit for bit. `scripts.measure.checks` and the tests ask
what finds them.

In: a network, as `LeNet.pretrained()`. Out: the same network with one derivative wrong: a layer's
forward derivative (Eq. 5), its backward step or the gradient of a parameter. Read on in
`verify.functions.jacobian`.
"""
from copy import deepcopy
from typing import NamedTuple

from nn.layers.activation import Softmax, Tanh
from nn.layers.convolution import Conv2d
from nn.layers.linear import Flatten, Linear
from nn.layers.pooling import MaxPool2d
from nn.network import Network
from nn.verify import catalogue
from nn.verify.catalogue import BACKWARD, FORWARD, GRADIENT, PARTS, LayerStep, WrongStep, plain

__all__ = ["AT_TIES", "BACKWARD", "FORWARD", "GRADIENT", "MISTAKES", "Mistake", "PARTS", "seeded"]


class Mistake(NamedTuple):
    """A mistake of the catalogue in `part` of one layer: of LeNet's, the layer `layer`."""
    part: str
    kind: type
    name: str
    layer: str
    wrong: WrongStep

    @property
    def cause(self):
        """The mistake in words, as a check names it; "" where the numbers say it."""
        return self.wrong.causes[self.part]

    def make(self, network):
        """A copy of `network` that is wrong in `part` of one layer."""
        wrong = type(f"Wrong{self.kind.__name__}", (Seeded, self.kind), {"mistake": self})
        return seeded(network, wrong, self.layer)


class Seeded:
    """Mixed into a kind of layer: all as it should be, but for the part in which the mistake is."""

    mistake: Mistake

    def forward(self, x):
        """The right value; the layer's input is saved too."""
        y, saved = super().forward(x)
        return y, (x, saved)

    def forward_derivative(self, jacobian, saved):
        """Eq. 5, maybe with the mistake."""
        return self._result(FORWARD, jacobian, saved)

    def backward(self, grad_y, saved):
        """The transposed step, maybe with the mistake."""
        return self._result(BACKWARD, grad_y, saved)

    def gradients(self, grad_y, saved):
        """{name: ∂/∂parameter}, maybe with the mistake."""
        return self._result(GRADIENT, grad_y, saved)

    def _result(self, part, incoming, saved):
        step = LayerStep(plain(self), part, incoming, *saved)
        return self.mistake.wrong.compute(step) if part == self.mistake.part else step.result()


def seeded(network, wrong, preferred):
    """A copy of `network` one of whose layers is `wrong`: the layer `preferred` or else the first
    of that kind."""
    kind = next(base for base in wrong.__mro__ if base.__module__.startswith("nn.layers."))
    names = [name for name, layer in network.layers.items() if isinstance(layer, kind)]
    if not names:
        raise ValueError(f"network has no {kind.__name__} to make a mistake in; "
                         f"it has {', '.join(network.layers)}")
    layers = deepcopy(network.layers)
    layers[preferred if preferred in names else names[0]].__class__ = wrong
    return Network(layers, network.input_shape, network.inputs)


MISTAKES = {mistake.name: mistake for mistake in (
    Mistake(FORWARD, Conv2d, "conv: kernel flipped", "conv2", catalogue.kernel_flipped),
    Mistake(FORWARD, Conv2d, "conv: kernel transposed", "conv1", catalogue.kernel_transposed),
    Mistake(FORWARD, Conv2d, "conv: window off by one", "conv1", catalogue.window_shifted),
    Mistake(FORWARD, MaxPool2d, "max pool: window off by one", "pool2", catalogue.window_shifted),
    Mistake(FORWARD, MaxPool2d, "max pool: divided by the area", "pool1",
            catalogue.divided_by_the_area),
    Mistake(FORWARD, MaxPool2d, "max pool: last of tied maxima wins", "pool1",
            catalogue.last_maximum),
    Mistake(FORWARD, Tanh, "tanh: f' missing", "tanh1", catalogue.slope_missing),
    Mistake(FORWARD, Tanh, "tanh: f' = 1 − tanh", "tanh2", catalogue.slope_not_squared),
    Mistake(FORWARD, Tanh, "tanh: wrong sign", "tanh3", catalogue.slope_negative),
    Mistake(FORWARD, Flatten, "flatten: order row, column, channel", "flatten",
            catalogue.channels_last),
    Mistake(FORWARD, Linear, "linear: weight transposed", "fc2", catalogue.weight_transposed),
    Mistake(FORWARD, Softmax, "softmax: no coupling", "softmax", catalogue.uncoupled),
    Mistake(BACKWARD, Conv2d, "conv, backward: kernel the wrong way round", "conv2",
            catalogue.kernel_flipped),
    Mistake(BACKWARD, Conv2d, "conv, backward: channels not transposed", "conv2",
            catalogue.channels_transposed),
    Mistake(BACKWARD, MaxPool2d, "max pool, backward: every tied maximum", "pool1",
            catalogue.every_maximum),
    Mistake(BACKWARD, MaxPool2d, "max pool, backward: off by one", "pool2",
            catalogue.window_shifted),
    Mistake(BACKWARD, Tanh, "tanh, backward: f' missing", "tanh2", catalogue.slope_missing),
    Mistake(BACKWARD, Flatten, "flatten, backward: order row, column, channel", "flatten",
            catalogue.channels_last),
    Mistake(BACKWARD, Linear, "linear, backward: weight transposed", "fc1",
            catalogue.weight_transposed),
    Mistake(BACKWARD, Softmax, "softmax, backward: no coupling", "softmax", catalogue.uncoupled),
    Mistake(GRADIENT, Conv2d, "conv, gradient: bias forgotten", "conv1", catalogue.bias_forgotten),
    Mistake(GRADIENT, Conv2d, "conv, gradient: bias averaged, not summed", "conv2",
            catalogue.bias_averaged),
    Mistake(GRADIENT, Conv2d, "conv, gradient: kernel flipped", "conv1", catalogue.kernel_flipped),
    Mistake(GRADIENT, Linear, "linear, gradient: weight transposed", "fc2",
            catalogue.weight_transposed),
    Mistake(GRADIENT, Linear, "linear, gradient: bias times 2", "fc1", catalogue.bias_doubled),
)}
# Seen only where maxima are tied, so right code too has no derivative there.
AT_TIES = ("max pool: last of tied maxima wins", "max pool, backward: every tied maximum")
