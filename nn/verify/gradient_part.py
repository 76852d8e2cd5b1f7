"""The gradients of a layer's parameters, held against the complex step in that layer.

In: a network and samples. Out: the first `Finding` that is wrong. Every entry is asked about: those
of a large parameter in groups, each along a random direction, and a group that is wrong is halved
until the entry shows. Read on in `verify.ties`.
"""
from copy import copy

import numpy as np

from nn.layers.piecewise import PReLU
from nn.layers.sample_norm import GroupNorm, LayerNorm
from nn.verify.catalogue import GRADIENT, plain, step_of
from nn.verify.coupled import sizes_of_saved
from nn.verify.diagnosis import likely_cause
from nn.verify.referees import STEP_SIZE
from nn.verify.report import Finding
from nn.verify.rounding import SPREAD

GROUPS = 60  # of entries of a parameter, each asked about at once


def check_gradients(network, value, standard, rng):
    """Each layer's parameter gradients against the complex step in it.

    Args:
        network: a `Network`.
        value: (B, y, x, c), its input.
        standard: a `judging.Standard`.
        rng: a `numpy.random.Generator`.

    Returns:
        The first `Finding` or None, and {layer: why its gradients could not be judged}.
    """
    refused = {}
    for name, x, output, saved in network.steps(value):
        layer = network.layers[name]
        if not layer.parameters:
            continue
        cotangent = rng.normal(size=output.shape)
        gradient = cotangent.astype(output.dtype)
        claimed = layer.gradients(gradient, saved)
        sizes = _sizes_of_terms(layer, x, gradient)
        for key, array in layer.parameters.items():
            if key in layer.fixed:
                continue
            got = np.asarray(claimed.get(key, np.zeros(array.shape)), float)
            try:
                slope = _slope(layer, x, cotangent, key)
                wrong = _wrong_entry(got, slope, sizes.get(key), standard, rng)
            except Exception as error:  # whatever a layer of the user's own raises
                refused[name] = f"{key}: {error}"
                continue
            if wrong:
                entry, right = wrong
                cause = _cause(layer, x, gradient, key, got)
                return Finding(name, GRADIENT, "complex step", f"{key}{[int(n) for n in entry]}",
                               float(got[entry]), float(right), cause), refused
    return None, refused


def _sizes_of_terms(layer, x, gradient):
    """{name: for each entry of ∂/∂parameter, how far rounding can move it}; {} for a layer that is
    none of nn's."""
    layer = plain(layer)
    if layer is None:
        return {}
    if isinstance(layer, (PReLU, LayerNorm, GroupNorm)):
        terms = layer.gradients(np.abs(gradient).astype(float), sizes_of_saved(layer, x))
        return {key: SPREAD * np.finfo(x.dtype).eps * term for key, term in terms.items()}
    layer.parameters = {key: -np.abs(array) if key == "running_mean" else np.abs(array)
                        for key, array in layer.parameters.items()}
    saved = layer.forward(np.abs(x).astype(float))[1]
    terms = layer.gradients(np.abs(gradient).astype(float), saved)
    return {key: SPREAD * np.finfo(x.dtype).eps * term for key, term in terms.items()}


def _wrong_entry(claimed, slope, rounding, standard, rng):
    """(the worst entry of a parameter's claimed gradient, what it should be); None if it is
    right."""
    flat = claimed.reshape(-1)
    order = rng.permutation(flat.size)
    groups = np.array_split(order, min(GROUPS, flat.size))
    direction = np.where(rng.random(flat.size) < 0.5, -1.0, 1.0) * rng.uniform(1, 2, flat.size)
    right = np.array([slope(group, direction[group]) for group in groups])
    got = np.array([(flat[group] * direction[group]).sum() for group in groups])
    largest = np.abs(right).max(initial=0)
    if rounding is None:  # nothing is known of the layer's terms
        rounding = np.full(claimed.shape, 1e-7 * standard.relative * largest + standard.relative
                           * np.abs(flat).max(initial=0))
    rounded = [((rounding.reshape(-1)[group] * direction[group]) ** 2).sum() ** 0.5
               for group in groups]
    allowed = np.maximum(standard.relative * np.abs(right) + rounded + standard.tiny,
                         standard.largest * largest)
    errors = np.abs(got - right)
    if (errors <= allowed).all():
        return None
    excess = np.where(errors <= allowed, 0, np.nan_to_num(errors, nan=np.inf))
    units = groups[int(excess.argmax())]
    while len(units) > 1:
        halves = np.array_split(units, 2)
        off = [abs((flat[half] * direction[half]).sum() - slope(half, direction[half]))
               for half in halves]
        units = halves[int(np.nan_to_num(off, nan=np.inf).argmax())]
    return np.unravel_index(int(units[0]), claimed.shape), slope(units, 1)


def _slope(layer, x, cotangent, key):
    """A function: some entries of a parameter, a direction there → the derivative of
    cotangent · H along it, by the complex step."""
    moved, x = copy(layer), x.astype(np.complex128)
    moved.parameters = {name: np.array(own, np.complex128, order="C")
                        for name, own in layer.parameters.items()}
    parameter = moved.parameters[key].reshape(-1)

    def slope(entries, direction):
        """Moves the parameter, asks for the value and moves it back."""
        parameter.imag[entries] = STEP_SIZE * direction
        output = moved.forward(x)[0]
        parameter.imag[entries] = 0
        return float((output.imag / STEP_SIZE * cotangent).sum())

    return slope


def _cause(layer, x, gradient, key, claimed):
    step = step_of(layer, GRADIENT, gradient, x)
    if step is None:
        return ""
    return likely_cause(step, lambda gradients: gradients[key], claimed, step.result()[key])
