"""The network F, an acyclic graph of layers (most often a chain), and its derivative ∇F (Eq. 3).

The forward derivative goes from the input to the output, layer by layer (Eq. 4 to 6): `trace` of
`nn.textbook` says it plainly, `_through` here is the same loop over layers that do their part fast.
In: images, (B, M), (B, height, width) or (B, channels, height, width). Out: logits, probabilities,
classes; ∂F_j/∂x_i for all outputs and pixels, by the paper's forward chain or the transposed one;
every layer's value and Jacobian with `trace`. Read on in `inputs`.
"""
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nn.graph import IMAGE, Results, cut, hand_back, output_shapes, propagated, wired
from nn.inputs import as_samples, check_parameters, image_shape, in_batches
from nn.layers.base import Layer
from nn.layers.jacobian import Jacobian
from nn.layers.linear import Flatten
from nn.outputs import activation_behind, name_of, outputs_of
from nn.threads import Threaded

DERIVATIVE_BATCH = 16  # samples
VALUE_BATCH = 256  # samples


class Pass(NamedTuple):
    """One way forward to the logits, and what the derivatives need of it: the logits (b, y, x, c)
    and {layer: the second result of its `forward`}, in the order of the layers."""
    logits: np.ndarray
    saved: dict[str, Any]


class Network(Threaded):
    """Layers that take inputs of `input_shape`: (M,), (height, width) or (channels, height, width).

    A final `Softmax` or `Sigmoid` is the output's activation: the values that enter it are the
    *logits*. Without one the last layer gives the logits and the probabilities are their softmax,
    or σ(z) of a single one, which is that of class 1 (the softmax of (0, z)).

    Types: float32 and float64 input is computed in its own precision, complex input (for the
    complex step) too, other input in float32.

    Args:
        layers: a dict {name: layer}, or a list of layers, which are then named "0", "1", … as in
            `torch.nn.Sequential`.
        input_shape: the shape of one sample.
        inputs: {"add": ("conv2", "relu1")}, the names of what a layer takes, where that is not the
            layer before it, or several (`Add`, `Concat`). They stand before it, so that there is no
            cycle; "input" is the image.

    Raises:
        TypeError, ValueError: a layer is none, does not fit, or takes what is not there.

    Attributes:
        image: the shape of one sample as (channels, height, width).
        shapes: {name: the shape (c, y, x) of the layer's output}.
        classes: N, the number of outputs.
        logit_layers: names of the layers that lead to the logits: all but the output's activation.
    """

    def __init__(self, layers, input_shape, inputs=None):
        named = isinstance(layers, dict)
        self.layers = dict(layers if named else ((str(n), layer) for n, layer in enumerate(layers)))
        if not self.layers:
            raise ValueError("layers must name at least one layer; got none")
        for name, layer in self.layers.items():
            if not isinstance(layer, Layer):
                raise TypeError(f"layer {name!r} must be a Layer; got {type(layer).__name__}")
        self.input_shape = tuple(int(n) for n in np.atleast_1d(input_shape))
        self.image = image_shape(self.input_shape)
        self.inputs = wired(self.layers, inputs)
        self.shapes = output_shapes(self.layers, self.inputs, self.image)
        *before, last = self.layers
        self.classes = int(np.prod(self.shapes[last]))
        self._output = activation_behind(self.layers[last], self.classes)
        has_output = self._output is self.layers[last]
        self.logit_layers = tuple(before if has_output else self.layers)

    @property
    def features(self):
        """M, the number of input features."""
        return int(np.prod(self.image))

    @property
    def output_activation(self):
        """What makes probabilities of the logits: "softmax" or "sigmoid"."""
        return name_of(self._output)

    @property
    def is_chain(self):
        """True where each layer takes the one before it."""
        before = [IMAGE, *self.layers]
        return all(sources == (one,) for one, sources in zip(before, self.inputs.values()))

    def parameters(self):
        """{"layer.weight": array, …}: the arrays themselves, named and shaped as in a PyTorch
        `state_dict`."""
        return {f"{name}.{key}": array for name, layer in self.layers.items()
                for key, array in layer.parameters.items()}

    def load(self, parameters):
        """Take over {"layer.weight": array, …}; every name and shape must be the network's own.
        Returns the network."""
        check_parameters(parameters, self.parameters())
        for name, array in parameters.items():
            layer, key = name.rsplit(".", 1)
            self.layers[layer].parameters[key] = np.array(array)
        return self

    def as_input(self, x):
        """`x` as the layers take it, (B, height, width, channels); ValueError for another shape,
        NaN or infinity."""
        return as_samples(x, self.input_shape)

    # The value of each layer (Eq. 4)

    def logits(self, x):
        """The values that enter the output's activation: x → (B, N)."""
        x = self.as_input(x)
        return in_batches(lambda rows: _flat(self._logits(x[rows])), x, VALUE_BATCH,
                          (self.classes,), self.num_threads)

    def probabilities(self, x):
        """F(X): x → (B, N), the output's activation of the logits (softmax, unless the network ends
        with a sigmoid)."""
        return _flat(self._output.forward(self._units(self.logits(x)))[0])

    def predict(self, x):
        """Eq. 7: x → (B,) the class with the largest output (the lowest of equals); for one output,
        1 where its logit is positive."""
        logits = self.logits(x).real
        return logits.argmax(axis=1) if self.classes > 1 else (logits[:, 0] > 0).astype(int)

    def forward(self, x):
        """The logits and all that `gradients` needs of them: x → ((B, N), saved). Not split into
        batches."""
        logits, saved = self._pass(self.as_input(x))
        return _flat(logits), saved

    def steps(self, value):
        """Yields (name, what the layer takes, what it makes of it, saved) for all layers; values
        are (b, y, x, c)."""
        values = Results(self.layers, self.inputs, {IMAGE: value})
        for name, layer in self.layers.items():
            inputs = values.take(name)
            values[name], saved = layer.forward(inputs)
            yield name, inputs, values[name], saved

    def _logits(self, value):
        values = Results(self.logit_layers, self.inputs, {IMAGE: value})
        for name in self.logit_layers:
            values[name] = self.layers[name].forward(values.take(name))[0]
        return values[self._logits_from]

    def _pass(self, value):
        values = Results(self.logit_layers, self.inputs, {IMAGE: value})
        saved = {}
        for name in self.logit_layers:
            values[name], saved[name] = self.layers[name].forward(values.take(name))
        return Pass(values[self._logits_from], saved)

    # The forward derivative (Eq. 3, 5 and 6)

    def forward_derivative(self, x, of="logits"):
        """Eq. 3, J[b, j, i] = ∂F_j(X_b)/∂x_i, by the chain of Eq. 4 to 6 from the input to the
        output: x → (B, N, M).

        `of`: "logits", "probabilities" or "centred" (the logits less their mean). Features in
        row-major order (channel, row, column), as in torch and jax.
        """
        kind = outputs_of(of)
        x = self.as_input(x)
        return in_batches(lambda rows: self._forward_derivative(x[rows], kind), x,
                          DERIVATIVE_BATCH, (self.classes, self.features), self.num_threads)

    def trace(self, x):
        """Yields (name, H_k, ∂H_k/∂x) layer by layer, the output last: H_k (B, C, Y, X), ∂H_k/∂x a
        `Jacobian`."""
        x = self.as_input(x)
        start = {IMAGE: Jacobian.identity(self.image, x.dtype)}
        jacobians = Results(self.layers, self.inputs, start)
        for name, _, value, saved in self.steps(x):
            jacobians[name] = propagated(self.layers, name, jacobians.take(name), saved)
            yield name, value.transpose(0, 3, 1, 2), jacobians[name]

    def _forward_derivative(self, value, kind):
        batch = len(value)
        logits, saved = self._pass(value)
        outputs = kind(logits, self._output)
        flatten = self._flatten()
        start = Jacobian.identity(self.image, value.dtype)
        jacobian = self._through(self.logit_layers[:flatten], start, saved)
        table = np.empty((batch, self.classes, *self.image), value.dtype)
        for p0, p1, band in jacobian.bands() if flatten else [(0, self.image[1], jacobian)]:
            rows = outputs.table(self._through(self.logit_layers[flatten:], band, saved))
            table[:, :, :, p0:p1] = rows.reshape(batch, self.classes, *band.image)
        return table.reshape(batch, self.classes, self.features)

    def _through(self, names, jacobian, saved):
        """Eq. 5, layer after layer: ∂H/∂x of what the first of `names` takes → of the last one's
        output."""
        if not names:
            return jacobian
        jacobians = Results(names, self.inputs, {self.inputs[names[0]][0]: jacobian})
        for name in names:
            jacobians[name] = propagated(self.layers, name, jacobians.take(name), saved[name])
        return jacobians[names[-1]]

    def _flatten(self):
        """The place in `logit_layers` of a `Flatten` that all behind it is made of; 0 without one.

        The Jacobian goes on from there band by band, in memory that stays in the cache."""
        names = self.logit_layers
        places = (place for place, name in enumerate(names)
                  if isinstance(self.layers[name], Flatten) and cut(names, self.inputs, place))
        return next(places, 0)

    # The transposed chain

    def backward_derivative(self, x, cotangents=None, of="logits"):
        """vᵀ·∇F(X) by the transposed chain, from the output to the input: x → (B, K, M).

        `cotangents` v: (K, N) for all samples or (B, K, N) for each; None stands for the N unit
        vectors, which give the whole of Eq. 3 again. `of` as in `forward_derivative`.
        """
        kind = outputs_of(of)
        x = self.as_input(x)
        v = np.eye(self.classes) if cotangents is None else np.asarray(cotangents)
        if (v.ndim not in (2, 3) or v.shape[-1] != self.classes
                or v.ndim == 3 and len(v) != len(x)):
            raise ValueError(f"cotangents must have the shape (K, {self.classes}) or "
                             f"({len(x)}, K, {self.classes}); got {v.shape}")
        v = np.broadcast_to(v, (len(x), *v.shape[-2:]))
        return in_batches(lambda rows: self._vjp(self._pass(x[rows]), kind, v[rows]), x,
                          DERIVATIVE_BATCH, (v.shape[1], self.features), self.num_threads)

    def vjp(self, x):
        """The logits and the transposed chain from there: x → ((B, N), pull), where pull takes
        v (B, K, N) and gives vᵀ·∇F (B, K, M).

        One way forward serves both (the name is jax's); not split into batches.
        """
        way = self._pass(self.as_input(x))
        return _flat(way.logits), partial(self._vjp, way, outputs_of("logits"))

    def _vjp(self, way, kind, v):
        v = np.asarray(v).astype(way.logits.dtype, copy=False).swapaxes(0, 1)  # (K, B, N)
        grad = kind(way.logits, self._output).cotangents(self._units(v))  # (K, B, y, x, c)
        grad = np.moveaxis(self.carried_back(grad, way.saved), -1, 2)  # (K, B, i, y, x)
        return grad.swapaxes(0, 1).reshape(len(way.logits), len(v), self.features)

    def carried_back(self, grad, saved):
        """∂/∂output of the last layer of `saved` (…, b, y, x, c) → ∂/∂image, by each layer's
        `backward`; axes in front of b are carried along.

        `saved` is {layer: what its `forward` saved}, in the order of the layers.
        """
        cotangents = {[IMAGE, *saved][-1]: grad}
        for name in reversed(saved):
            if name in cotangents:  # the others do not lead to the last
                parts = self.layers[name].backward(cotangents.pop(name), saved[name])
                hand_back(cotangents, name, self.inputs[name], parts)
        return cotangents[IMAGE]

    # The parameters

    def gradients(self, grad_logits, saved):
        """{"layer.weight": ∂/∂parameter, …} summed over the batch, from ∂/∂logits (B, N) and what
        `forward` saved."""
        needed = set()  # layers in front of which some layer learns
        for name in self.logit_layers:
            if any(source in needed or source != IMAGE and self.layers[source].parameters
                   for source in self.inputs[name]):
                needed.add(name)
        gradients = {}
        cotangents = {self._logits_from: self._units(grad_logits)}
        for name in reversed(self.logit_layers):
            if name not in cotangents:  # nothing learns here or in front of it
                continue
            layer, grad = self.layers[name], cotangents.pop(name)
            for key, array in layer.gradients(grad, saved[name]).items():
                gradients[f"{name}.{key}"] = array
            if name in needed:
                parts = layer.backward(grad, saved[name])
                hand_back(cotangents, name, self.inputs[name], parts)
        return gradients

    @property
    def _logits_from(self):
        return [IMAGE, *self.logit_layers][-1]

    def _units(self, values):
        """Flat values of the logits (…, N) → (…, y, x, c), as the layers take them."""
        shape = {IMAGE: self.image, **self.shapes}[self._logits_from]
        return np.moveaxis(values.reshape(*values.shape[:-1], *shape), -3, -1)


def _flat(value):
    """(b, y, x, c) → (b, c·y·x)."""
    return value.transpose(0, 3, 1, 2).reshape(len(value), int(np.prod(value.shape[1:])))
