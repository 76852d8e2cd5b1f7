"""The network F as an acyclic graph of layers, most often a chain, and its forward derivative ∇F (Eq. 3), propagated from
input to output (Eq. 4-6).

In: images, (B, M), (B, height, width) or (B, channels, height, width). Out: logits, probabilities, classes; ∂F_j/∂x_i
for every output and pixel, by the paper's forward chain or by the transposed one; every layer's value and Jacobian with
`trace`. Read on in `graph`.
"""
import numpy as np

from nn.graph import IMAGE, back, cut, flow, wired
from nn.layers.activation import Sigmoid, Softmax
from nn.layers.base import Layer
from nn.layers.jacobian import Jacobian
from nn.layers.linear import Flatten

OUTPUTS = ("logits", "centred", "probabilities")
DERIVATIVE_BATCH = 16
VALUE_BATCH = 256


class Network:
    """Layers that take inputs of `input_shape`: (M,), (height, width) or (channels, height, width).

    `layers` is a dict {name: layer} or a list of layers, which are then named "0", "1", … as in `torch.nn.Sequential`.
    Each takes the output of the one before it. Where one takes another's, or several (`Add`, `Concat`), `inputs` names
    them: {"add": ("conv2", "relu1")}; they stand before it, and "input" is the image. So the graph has no cycle.
    A final `Softmax` or `Sigmoid` is the output's activation: the values that enter it are the *logits*. Without one
    the last layer gives the logits and the probabilities are their softmax.

    Types: float32 and float64 input is computed in its own precision, other real input in float32, complex input
    (for the complex step) in its own. `image` is the input's shape as (channels, height, width).
    """

    def __init__(self, layers, input_shape, inputs=None):
        self.layers = dict(layers) if isinstance(layers, dict) else {str(n): layer for n, layer in enumerate(layers)}
        if not self.layers:
            raise ValueError("layers must name at least one layer; got none")
        for name, layer in self.layers.items():
            if not isinstance(layer, Layer):
                raise TypeError(f"layer {name!r} must be a Layer; got {type(layer).__name__}")
        self.input_shape = tuple(int(n) for n in np.atleast_1d(input_shape))
        self.image = _image_shape(self.input_shape)
        self.inputs = wired(self.layers, inputs)
        *before, last = self.layers
        has_output = isinstance(self.layers[last], (Softmax, Sigmoid))
        self._output = self.layers[last] if has_output else Softmax()
        self._names = before if has_output else list(self.layers)  # the layers that lead to the logits
        self.shapes = {}
        for name, shape in flow(list(self.layers), self.inputs, {IMAGE: self.image}, self._output_shape):
            self.shapes[name] = shape
        self.classes, self._last_shape = int(np.prod(shape)), shape

    def _output_shape(self, name, shape):
        try:
            return tuple(self.layers[name].output_shape(shape))
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from None

    @property
    def features(self):
        """M, the number of input features."""
        return int(np.prod(self.image))

    @property
    def is_chain(self):
        """True where each layer takes the one before it."""
        before = [IMAGE, *self.layers]
        return all(taken == (one,) for one, taken in zip(before, self.inputs.values()))

    def parameters(self):
        """{"layer.weight": array, …}: the arrays themselves, named and shaped as in a PyTorch `state_dict`."""
        return {f"{name}.{key}": array for name, layer in self.layers.items()
                for key, array in layer.parameters.items()}

    def load(self, parameters):
        """Take over {"layer.weight": array, …}; every name and shape must be the network's own. Returns the network."""
        own = self.parameters()
        if set(parameters) != set(own):
            missing, unknown = sorted(set(own) - set(parameters)), sorted(set(parameters) - set(own))
            raise ValueError(f"parameters must be exactly {', '.join(own)}; missing {missing}, unknown {unknown}")
        for name, array in parameters.items():
            if np.shape(array) != own[name].shape:
                raise ValueError(f"{name} must have the shape {own[name].shape}; got {np.shape(array)}")
            if np.asarray(array).dtype.kind not in "fc" or not np.isfinite(array).all():
                raise ValueError(f"{name} must hold finite floating-point numbers; got {np.asarray(array).dtype}")
        for name, array in parameters.items():
            layer, key = name.rsplit(".", 1)
            self.layers[layer].parameters[key] = np.array(array)
        return self

    def logits(self, x):
        """The values that enter the output's activation: x → (B, N)."""
        x = self.as_input(x)
        return _in_batches(lambda rows: _rows(self._run(x[rows])[0]), x, VALUE_BATCH, (self.classes,))

    def probabilities(self, x):
        """F(X): x → (B, N), the output's activation of the logits (softmax, unless the network ends with a sigmoid)."""
        channels, rows, columns = self._last_shape
        logits = self.logits(x).reshape(-1, channels, rows, columns)
        return _rows(self._output.forward(np.moveaxis(logits, 1, -1))[0])

    def predict(self, x):
        """Eq. 7: x → (B,) the class with the largest output (the lowest of equals); for one output, 1 where its logit
        is positive."""
        logits = self.logits(x).real
        return logits.argmax(axis=1) if self.classes > 1 else (logits[:, 0] > 0).astype(int)

    def forward_derivative(self, x, of="logits"):
        """Eq. 3, J[b, j, i] = ∂F_j(X_b)/∂x_i, by the chain of Eq. 4-6 from the input to the output: x → (B, N, M).

        `of`: "logits", "probabilities" or "centred" (the logits less their mean). Features in row-major order
        (channel, row, column), as in torch and jax.
        """
        _check_of(of)
        x = self.as_input(x)
        return _in_batches(lambda rows: self._forward_derivative(x[rows], of), x, DERIVATIVE_BATCH,
                           (self.classes, self.features))

    def backward_derivative(self, x, cotangents=None, of="logits"):
        """vᵀ·∇F(X) by the transposed chain, from the output to the input: x → (B, K, M).

        `cotangents` v: (K, N) for all samples or (B, K, N) for each; None stands for the N unit vectors, which give
        the whole of Eq. 3 again. `of` as in `forward_derivative`.
        """
        _check_of(of)
        x = self.as_input(x)
        v = np.eye(self.classes) if cotangents is None else np.asarray(cotangents)
        if v.ndim not in (2, 3) or v.shape[-1] != self.classes or (v.ndim == 3 and len(v) != len(x)):
            raise ValueError(f"cotangents must have the shape (K, {self.classes}) or ({len(x)}, K, {self.classes}); "
                             f"got {v.shape}")
        v = np.broadcast_to(v, (len(x), *v.shape[-2:]))
        return _in_batches(lambda rows: self._vjp(x[rows], of)[1](v[rows]), x, DERIVATIVE_BATCH,
                           (v.shape[1], self.features))

    def vjp(self, x):
        """The logits and the transposed chain from there: x → ((B, N), pull), pull(v (B, K, N)) → vᵀ·∇F (B, K, M).

        One way forward serves both (the name is jax's); not split into batches.
        """
        return self._vjp(self.as_input(x))

    def steps(self, value):
        """Yields (name, what the layer takes, what it makes of it, saved) for all layers; values are (b, y, x, c)."""
        kept, taken = {}, {}

        def step(name, given):
            """The layer's own `forward`; what it took is noted."""
            taken[name] = given
            return self._kept_in(kept)(name, given)

        for name, y in flow(list(self.layers), self.inputs, {IMAGE: value}, step):
            yield name, taken.pop(name), y, kept.pop(name)

    def trace(self, x):
        """Yields (name, H_k, ∂H_k/∂x) layer by layer, the output last: H_k (B, C, Y, X), ∂H_k/∂x a `Jacobian`."""
        def step(name, given):
            """A value and its Jacobian."""
            y, saved = self.layers[name].forward(_part(given, 0))
            return y, self.layers[name].forward_derivative(_part(given, 1), saved)

        value = self.as_input(x)
        start = {IMAGE: (value, Jacobian.identity(self.image, value.dtype))}
        for name, (y, jacobian) in flow(list(self.layers), self.inputs, start, step):
            yield name, y.transpose(0, 3, 1, 2), jacobian

    def forward(self, x):
        """The logits and all that `gradients` needs of them: x → ((B, N), saved). Not split into batches."""
        value, saved = self._run(self.as_input(x), keep=True)
        return _rows(value), saved

    def gradients(self, grad_logits, saved):
        """{"layer.weight": ∂/∂parameter, …} summed over the batch, from ∂/∂logits (B, N)."""
        needed = set()  # layers in front of which some layer learns
        for name in self._names:
            if any(taken in needed or taken != IMAGE and self.layers[taken].parameters for taken in self.inputs[name]):
                needed.add(name)
        found = {}
        grad = np.moveaxis(grad_logits.reshape(-1, *self._last_shape), 1, -1)
        for name, grad in back(self._names, self.inputs, grad, lambda name, grad: (
                self.layers[name].backward(grad, saved[name]) if name in needed else None)):
            if name != IMAGE and self.layers[name].parameters:
                found.update({f"{name}.{key}": array
                              for key, array in self.layers[name].gradients(grad, saved[name]).items()})
        return found

    def as_input(self, x):
        """`x` as the layers take it, (B, height, width, channels); ValueError for another shape, NaN or infinity."""
        x = np.asarray(x)
        if x.dtype.kind not in "biufc":
            raise TypeError(f"x must hold numbers; got {x.dtype}")
        x = x.astype(x.dtype.newbyteorder("="), copy=False)
        if x.dtype not in (np.float32, np.float64, np.complex64, np.complex128):
            x = x.astype(np.float32)
        channels, height, width = self.image
        shapes = {(self.features,), self.input_shape, self.image}
        if channels == 1 and len(self.input_shape) > 1:
            shapes.add((height, width))
        if x.ndim < 2 or x.shape[1:] not in shapes:
            allowed = " or ".join(str(("B", *shape)).replace("'", "") for shape in sorted(shapes, key=len))
            raise ValueError(f"x must have the shape {allowed}; got {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError("x must be finite; it has NaN or infinite values")
        return np.moveaxis(x.reshape(len(x), *self.image), 1, -1)

    def _run(self, value, keep=False):
        kept = {}
        for _, value in flow(self._names, self.inputs, {IMAGE: value}, self._kept_in(kept if keep else None)):
            pass
        return value, kept

    def _kept_in(self, kept):
        """The step of a layer's value; what its derivatives need is noted in `kept`, if that is not None."""
        def step(name, given):
            """The layer's own `forward`."""
            y, saved = self.layers[name].forward(given)
            if kept is not None:
                kept[name] = saved
            return y

        return step

    def _forward_derivative(self, value, of):
        batch = len(value)
        logits, kept = self._run(value, keep=True)
        names = self._names
        border = next((n for n, name in enumerate(names) if isinstance(self.layers[name], Flatten)
                       and cut(names, self.inputs, n)), 0)
        jacobian = self._through(names[:border], Jacobian.identity(self.image, value.dtype), kept)
        table = np.empty((batch, self.classes, *self.image), value.dtype)
        for p0, p1, band in jacobian.bands() if border else [(0, self.image[1], jacobian)]:
            part = self._through(names[border:], band, kept)
            if of == "probabilities":
                part = self._output.forward_derivative(part, self._output.forward(logits)[1])
            table[:, :, :, p0:p1] = part.dense(batch).reshape(batch, self.classes, *band.image)
        table = table.reshape(batch, self.classes, self.features)
        return table - table.mean(axis=1, keepdims=True) if of == "centred" else table

    def _through(self, names, jacobian, kept):
        """Eq. 5 from `jacobian`, which the first of `names` takes, to the last."""
        def step(name, given):
            """The layer's own `forward_derivative`."""
            return self.layers[name].forward_derivative(given, kept[name])

        start = {taken: jacobian for name in names[:1] for taken in self.inputs[name]}
        for _, jacobian in flow(names, self.inputs, start, step):
            pass
        return jacobian

    def _vjp(self, value, of="logits"):
        batch = len(value)
        value, kept = self._run(value, keep=True)

        def pull(v):
            """v (B, K, N) → vᵀ·∇F (B, K, M)."""
            v = np.asarray(v).astype(value.dtype, copy=False).swapaxes(0, 1)
            grad = v - v.mean(axis=-1, keepdims=True) if of == "centred" else v
            grad = np.moveaxis(grad.reshape(*v.shape[:2], *self._last_shape), 2, -1)
            if of == "probabilities":
                grad = self._output.backward(grad, self._output.forward(value)[1])
            for _, grad in back(self._names, self.inputs, grad,
                                lambda name, grad: self.layers[name].backward(grad, kept[name])):
                pass
            return np.moveaxis(grad, -1, 2).swapaxes(0, 1).reshape(batch, len(v), self.features)

        return _rows(value), pull


def _part(given, number):
    """What a layer takes, from results that have several parts: entry `number` of the one, or of each."""
    return tuple(one[number] for one in given) if isinstance(given[0], tuple) else given[number]


def _rows(value):
    return value.transpose(0, 3, 1, 2).reshape(len(value), int(np.prod(value.shape[1:])))


def _in_batches(function, x, size, shape):
    """function(slice) for batches of at most `size` samples, in one array (len(x), *shape)."""
    if 0 < len(x) <= size:
        return function(slice(None))
    out = np.empty((len(x), *shape), x.dtype)
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        out[rows] = function(rows)
    return out


def _image_shape(shape):
    if len(shape) not in (1, 2, 3) or min(shape) < 1:
        raise ValueError(f"input_shape must be (M,), (height, width) or (channels, height, width); got {shape}")
    return {1: (*shape, 1, 1), 2: (1, *shape), 3: shape}[len(shape)]


def _check_of(of):
    if of not in OUTPUTS:
        raise ValueError(f"of must be one of {', '.join(OUTPUTS)}; got {of!r}")
