"""What a network claims about its derivative, as a function and a Jacobian of one point.

In: a network, an image, the part of it that is asked (Eq. 5 forward, the way back, or the gradient
of a parameter). Out: a `ClaimedDerivative`, the form in which every checker can be asked.
"""
from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import numpy as np

from nn.verify.mistakes import FORWARD, GRADIENT


class ClaimedDerivative(NamedTuple):
    """`jacobian` (M,) → (N, M), said to be the derivative of `function` (M,) → (N,) at `point`."""
    function: Callable
    jacobian: Callable
    point: np.ndarray


def claims(network, image, part=FORWARD, of="logits", parameter=None):
    """What `network` claims at one image.

    Args:
        network: a `nn.Network`.
        image: (28, 28).
        part: `FORWARD`, `BACKWARD` or `GRADIENT` of `nn.verify.mistakes`.
        of: "logits" or "probabilities".
        parameter: for `GRADIENT` the name of the parameter.

    Returns:
        A `ClaimedDerivative`: ∂`of`/∂x by the network's `part`, or ∂logits/∂`parameter`.
    """
    if part == GRADIENT:
        return _claimed_gradient(network, image, parameter)
    value = network.logits if of == "logits" else network.probabilities
    derivative = network.forward_derivative if part == FORWARD else network.backward_derivative
    return ClaimedDerivative(lambda x: value(x[None])[0], lambda x: derivative(x[None], of=of)[0],
                             image.reshape(-1))


def _claimed_gradient(network, image, parameter):
    network = deepcopy(network)
    layer, key = parameter.rsplit(".", 1)
    own = network.layers[layer].parameters
    shape = own[key].shape
    start = own[key].astype(np.float64).reshape(-1)

    def forward(values):
        own[key] = values.reshape(shape)
        return network.forward(image[None])

    def jacobian(values):
        """What the network claims, (N, size of the parameter): a gradient for each logit."""
        _, saved = forward(values)
        return np.stack([network.gradients(unit[None], saved)[parameter].reshape(-1)
                         for unit in np.eye(network.classes)])

    return ClaimedDerivative(lambda values: forward(values)[0][0], jacobian, start)


def wrong_parameter(wrong, right, image):
    """The first parameter whose gradients differ between two networks at one image (28, 28).

    Returns its name, or None where all agree.
    """
    expected = _gradients(right, image)
    actual = _gradients(wrong, image)
    return next((name for name in expected if not np.array_equal(actual[name], expected[name])),
                None)


def _gradients(network, image):
    """{parameter: gradient} for the cotangent 1, 2, …, N."""
    logits, saved = network.forward(image[None])
    return network.gradients(np.arange(1.0, logits.size + 1)[None], saved)
