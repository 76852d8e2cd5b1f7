"""A network at one sample, layer by layer, as it is checked: what each layer takes, what it claims,
and how tables and entries are written down.

In: a network and a sample. Out: a `LayerAtSample` a layer. The three parts of a layer are judged in
`forward_part`, `backward_part` and `gradient_part`. Read on in `verify.forward_part`.
"""
from typing import Any, NamedTuple

import numpy as np

from nn.graph import IMAGE, inputs_from, propagated
from nn.layers.base import Layer
from nn.layers.jacobian import Jacobian


class LayerAtSample(NamedTuple):
    """One layer at one sample; x, jacobian and before are tuples for a layer of several inputs."""
    name: str
    layer: Layer
    x: Any               # (1, y, x, c), its input
    saved: Any           # what its derivatives need
    jacobian: Any        # ∂H/∂x of its input, a `Jacobian`
    before: Any          # the same as a table (units, M)
    claimed: np.ndarray  # ∂H/∂x of its output, (units', M)
    output: np.ndarray   # (1, y', x', c')


def at_sample(network, value):
    """Yields a `LayerAtSample` for each layer at one sample, value (1, y, x, c)."""
    jacobians = {IMAGE: Jacobian.identity(network.image, value.dtype)}
    tables = {IMAGE: np.eye(network.features)}
    for name, x, output, saved in network.steps(value):
        layer, sources = network.layers[name], network.inputs[name]
        jacobian, before = inputs_from(sources, jacobians), inputs_from(sources, tables)
        jacobians[name] = propagated(network.layers, name, jacobian, saved)
        tables[name] = as_table(jacobians[name])
        yield LayerAtSample(name, layer, x, saved, jacobian, before, tables[name], output)


def entry_in_words(network, name, unit, pixel):
    """A unit of a layer and a pixel in words."""
    channel, row, column = np.unravel_index(unit, network.shapes[name])
    output = f"output {channel}"
    if network.shapes[name][1:] != (1, 1):
        output += f" at row {row}, column {column}"
    if len(network.input_shape) == 1:
        return f"{output}, feature {pixel}"
    channel, row, column = np.unravel_index(pixel, network.image)
    of_channel = f" of channel {channel}" if network.image[0] > 1 else ""
    return f"{output}, pixel (row {row}, column {column}){of_channel}"


def as_table(jacobian):
    """A `Jacobian` at one sample as a table (units, M)."""
    return jacobian.dense(1)[0].reshape(-1, int(np.prod(jacobian.image)))


def as_gradient(cotangents, output):
    """(K, units) → (K, 1, y, x, c), as a layer with `output` (1, y, x, c) takes it."""
    _, height, width, channels = output.shape
    return np.moveaxis(cotangents.reshape(-1, 1, channels, height, width), 2, -1)


def flat(gradient):
    """(K, 1, y, x, c) → (K, units)."""
    return np.moveaxis(gradient, -1, 2).reshape(len(gradient), -1)
