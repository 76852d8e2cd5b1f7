"""Which layer takes whose output: an acyclic graph, and what it takes to walk through it.

In: layers in an order in which each takes only what stands before it, so that there is no cycle; a
layer takes the one before it unless `inputs` says otherwise. Out: which layers each one takes, and
their shapes; on the way forward, `Results` that are let go as soon as no layer needs them; on the
way back, gradients, summed where an output went to several layers. Read on in `layers.base`.
"""
import numpy as np

from nn.layers.base import Merge
from nn.layers.jacobian import Jacobian

IMAGE = "input"  # the name of what goes into the network


def wired(layers, inputs=None):
    """The graph: {name: (names of the layers whose outputs it takes, …)}.

    `layers` is {name: Layer}; `inputs` {name: a name or several} where a layer does not take the
    one before it ("input" is the image). ValueError, one line that names the layer, where a name is
    unknown or stands later, where a layer of one input gets several or a `Merge` fewer than two,
    and where an output is taken by no layer.
    """
    named = {name: (sources,) if isinstance(sources, str) else tuple(sources)
             for name, sources in (inputs or {}).items()}
    if unknown := set(named) - set(layers):
        listed = ", ".join(sorted(map(str, unknown)))
        raise ValueError(f"inputs names layers that are not there: {listed}")
    if IMAGE in layers:
        raise ValueError(f"a layer cannot be named {IMAGE!r}: that is what goes into the network")
    graph = {}
    last = IMAGE
    for name, layer in layers.items():
        graph[name] = named.get(name, (last,))
        _check_sources(name, layer, graph[name], {IMAGE, *graph} - {name})
        last = name
    if idle := set(graph) - {last} - {source for sources in graph.values() for source in sources}:
        raise ValueError(f"the output of layer {min(idle)!r} is taken by no other")
    return graph


def _check_sources(name, layer, sources, before):
    if wrong := [source for source in sources if source not in before]:
        raise ValueError(f"layer {name!r} takes {wrong[0]!r}, which is no layer before it")
    if isinstance(layer, Merge) and len(sources) < 2:
        raise ValueError(
            f"layer {name!r}: {layer} takes two inputs or more; name them in inputs")
    if not isinstance(layer, Merge) and len(sources) != 1:
        raise ValueError(f"layer {name!r}: {layer} takes one input; got {len(sources)}")


def output_shapes(layers, inputs, image):
    """{name: the shape (c, y, x) of what the layer makes} from `image`, the shape of the input;
    ValueError names the layer that does not fit."""
    shapes = {IMAGE: image}
    for name, layer in layers.items():
        try:
            shapes[name] = tuple(layer.output_shape(inputs_from(inputs[name], shapes)))
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from None
    del shapes[IMAGE]
    return shapes


def cut(names, inputs, place):
    """True where all that comes from `names[place]` on is made of the one output it takes."""
    inner = set(names[place:])
    return all(set(inputs[name]) <= inner for name in names[place + 1:])


def inputs_from(sources, results):
    """What a layer that takes the outputs of `sources` gets of `results` {name: result}: the one,
    or a tuple of several."""
    if len(sources) == 1:
        return results[sources[0]]
    return tuple(results[source] for source in sources)


class Results(dict):
    """{name: what that layer made}, on the way through the layers `names`.

    `take(name)` hands a layer what it takes; a result is let go with the last layer that takes it.
    """

    def __init__(self, names, inputs, start):
        super().__init__(start)
        self._inputs = inputs
        self._last_taker = {source: name for name in names for source in inputs[name]}

    def take(self, name):
        """The one result that the layer takes, or a tuple of several."""
        sources = self._inputs[name]
        results = inputs_from(sources, self)
        for source in set(sources):
            if self._last_taker[source] == name:
                del self[source]
        return results


def propagated(layers, name, jacobian, saved):
    """The forward derivative of one of `layers`; TypeError where it gives something else than a
    Jacobian."""
    layer = layers[name]
    result = layer.forward_derivative(jacobian, saved)
    if not isinstance(result, Jacobian):
        raise TypeError(f"layer {name!r}: forward_derivative of {type(layer).__name__} must return "
                        f"a Jacobian; got {_kind(result)}")
    return result


def _kind(result):
    shape = f" of the shape {result.shape}" if hasattr(result, "shape") else ""
    return f"{type(result).__name__}{shape}"


def hand_back(gradients, name, sources, parts):
    """Add ∂/∂input of the layer `name` (a tuple for several) to {name: ∂/∂output} of those it
    takes; TypeError where it is no array."""
    for source, part in zip(sources, parts if len(sources) > 1 else (parts,)):
        if not isinstance(part, np.ndarray):
            raise TypeError(f"layer {name!r}: backward must return ∂/∂input as an array; "
                            f"got {_kind(part)}")
        gradients[source] = gradients[source] + part if source in gradients else part
