"""No false verdict: right random networks are never "wrong", wrong ones never "right", whatever the
size of the inputs and in either precision. "Not judged" is allowed where it is true.

The mistakes are seeded into the layers from outside, and each is seen to be there before anybody
is asked: by what the network's own derivatives give with it and without.
"""
import warnings
from copy import copy

import numpy as np
import pytest
from random_networks import random_activation, random_graph, random_layer
from reference import with_random_weights

from nn import (
    BatchNorm1d,
    Flatten,
    GroupNorm,
    LayerNorm,
    Linear,
    Network,
    Sigmoid,
    Softmax,
    check_network,
)
from nn.layers.base import Merge

SCALES = (1.0, 30.0, 255.0, 1e-30)
DTYPES = (np.float64, np.float32)
COUNT = 500
TENTH = COUNT // 10


def random_chain(seed):
    """Layers of every kind that fit, a flat end, and perhaps an output's activation."""
    rng = np.random.default_rng([19, seed])
    image = shape = (int(rng.integers(1, 4)), *(int(n) for n in rng.integers(3, 8, 2)))
    layers = []
    for _ in range(int(rng.integers(1, 6))):
        layer = random_layer(rng, "mixed", shape)
        try:
            shape = layer.output_shape(shape)
        except ValueError:  # does not fit
            continue
        layers.append(layer)
        if np.prod(shape) > 200:
            break
    layers += [Softmax()] * (rng.random() < 0.2) + [Flatten()]
    size = int(np.prod(shape))
    layers += [BatchNorm1d(size)] * (rng.random() < 0.2)
    layers += [Linear(size, 5), random_activation(rng), Linear(5, 3)]
    layers += [[], [Softmax()], [Sigmoid()]][rng.integers(3)]
    return with_random_weights(Network(layers, image), rng), rng.normal(size=(2, *image))


def case(number):
    """(network, x): a chain or a graph; inputs of one size after the other, in both precisions."""
    network, x = random_graph(number) if number % 3 == 2 else random_chain(number)
    rng = np.random.default_rng([7, number])
    dtype, scale = DTYPES[number % 2], SCALES[number // 2 % 4]
    network.load({name: array.astype(dtype) for name, array in network.parameters().items()})
    return network, (scale * rng.random(x.shape)).astype(dtype)


def verdict(network, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return check_network(network, x)


def numbers(count, part):
    """Parameters: the first tenth by default, the others are slow."""
    return [pytest.param(range(start, start + TENTH), marks=[pytest.mark.slow] * (start > 0),
                         id=f"{part} {start}") for start in range(0, count, TENTH)]


@pytest.mark.parametrize("chosen", numbers(COUNT, "right"))
def test_no_right_network_is_wrong(chosen):
    unjudged = 0
    for number in chosen:
        report = verdict(*case(number))
        assert report.verdict in ("right", "not judged"), (number, str(report))
        assert report.verdict == "right" or report.not_judged, number
        unjudged += report.verdict == "not judged"
    assert unjudged <= len(chosen) // 20


class Spoiled:
    """Mixed into a layer: one number of what a method returns is changed."""

    method, place, change = "", 0, None

    def _spoil(self, method, array):
        if method != self.method:
            return array
        array = np.array(array, order="C")
        flat = array.reshape(-1)
        place = self.place % len(flat)
        flat[place] = self.change(flat[place])
        return array

    def forward_derivative(self, jacobian, saved):
        result = super().forward_derivative(jacobian, saved)
        return result if self.method != "forward_derivative" else result.with_values(
            self._spoil("forward_derivative", result.values))

    def backward(self, grad_y, saved):
        result = super().backward(grad_y, saved)
        if not isinstance(result, tuple):
            return self._all_samples(result)
        return (self._all_samples(result[0]), *result[1:])

    def _all_samples(self, result):
        """The same unit for every cotangent."""
        if self.method != "backward":
            return result
        result = np.array(result, order="C")
        flat = result.reshape(*result.shape[:-4], -1)
        place = self.place % flat.shape[-1]
        flat[..., place] = self.change(flat[..., place])
        return result

    def gradients(self, grad_y, saved):
        result = super().gradients(grad_y, saved)
        if self.method == "gradients":
            key = sorted(result)[self.place % len(result)]
            result[key] = self._spoil("gradients", result[key])
        return result


CHANGES = {"off by 1 %": lambda number: 1.01 * number, "sign": lambda number: -number,
           "factor": lambda number: 2 * number, "NaN": lambda number: number * np.nan}
METHODS = ("forward_derivative", "forward_derivative", "backward", "gradients")


def tables(network, x, method, name):
    """What the method shows of a layer: the part in which the mistake is to be seen."""
    if method == "forward_derivative":
        traced = {key: jacobian for key, _, jacobian in network.trace(x[:1])}
        return traced[name].dense(1).reshape(-1, network.features)
    if method == "backward":
        names = list(network.layers)
        names = names[:names.index(name) + 1]
        saved = {key: kept for key, _, _, kept in network.steps(network.as_input(x[:1]))
                 if key in names}
        shape = network.shapes[name]
        unit = np.eye(int(np.prod(shape))).reshape(-1, 1, *shape)
        return network.carried_back(np.moveaxis(unit, 2, -1).astype(x.dtype), saved).reshape(
            len(unit), -1)
    for key, _, output, saved in network.steps(network.as_input(x)):
        if key == name:
            layer = network.layers[name]
            gradients = layer.gradients(np.ones_like(output), saved)
            return np.concatenate([gradients[key].reshape(-1) for key in sorted(gradients)])
    return None


def spoiled(number):
    """A network with one number wrong that shows, and what was done; None where none shows."""
    network, x = case(number)
    rng = np.random.default_rng([11, number])
    words = list(CHANGES)[number % 4]
    for _ in range(40):
        method = METHODS[rng.integers(4)]
        name = str(rng.choice(list(network.layers)))
        layer = network.layers[name]
        if method == "gradients" and not set(layer.parameters) - set(layer.fixed):
            continue
        if isinstance(layer, Merge) and method == "backward":
            continue
        wrong = copy(layer)
        wrong.__class__ = type("Spoiled" + type(layer).__name__, (Spoiled, type(layer)), {})
        wrong.method, wrong.place = method, int(rng.integers(1 << 30))
        wrong.change = staticmethod(CHANGES[words]).__func__
        other = Network({**network.layers, name: wrong}, network.input_shape, network.inputs)
        with np.errstate(all="ignore"):
            right, got = (tables(one, x, method, name) for one in (network, other))
            error, largest = np.abs(got - right), np.abs(right).max(initial=0)
            tiny = 1e-20 if x.dtype == np.float32 else 1e-200
            if method == "gradients" and isinstance(layer, (LayerNorm, GroupNorm)):
                tiny = 1e-9 if x.dtype == np.float64 else 1e-2  # units all alike: x − μ is rounding
            if largest > tiny and not np.nanmax(error, initial=0) <= 0.005 * largest * (
                    1 if words != "NaN" else 0) or np.isnan(got).any():
                return other, x, (method, name, type(layer).__name__, words)
    return None


@pytest.mark.parametrize("chosen", numbers(COUNT, "wrong"))
def test_no_wrong_network_is_right(chosen):
    caught = seeded = 0
    for number in chosen:
        made = spoiled(number)
        if made is None:
            continue
        other, x, what = made
        report = verdict(other, x)
        assert report.verdict != "right", (number, what, str(report))
        seeded += 1
        caught += (report.verdict, report.layer) == ("wrong", what[1])
    assert seeded > 0.8 * len(chosen) and caught > 0.9 * seeded
