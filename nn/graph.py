"""Which layer takes whose output: an acyclic graph, and the two ways through it, forward and back.

In: layers in an order in which each takes only what stands before it, so that there is no cycle; a layer takes the one
before it unless something else is said. Out: what a step makes of each layer, in order, every result kept just as long
as another layer needs it; or the gradients, from the output back, summed where a value went several ways. Read on in `layers.base`.
"""
from nn.layers.base import Merge

IMAGE = "input"  # the name of what goes into the network


def wired(layers, inputs=None):
    """{name: (names of the layers whose outputs it takes, …)} for `layers` {name: Layer}.

    inputs: {name: a name or several} where a layer does not take the one before it; "input" is the network's own.
    ValueError, one line that names the layer, where a name is unknown or stands later, where a layer of one input gets
    several or a `Merge` fewer than two, and where an output is taken by nobody.
    """
    found, before, seen = {}, IMAGE, {IMAGE}
    given = {name: (taken,) if isinstance(taken, str) else tuple(taken) for name, taken in (inputs or {}).items()}
    if unknown := set(given) - set(layers):
        raise ValueError(f"inputs names layers that are not there: {', '.join(sorted(map(str, unknown)))}")
    if IMAGE in layers:
        raise ValueError(f"a layer cannot be named {IMAGE!r}: that is what goes into the network")
    for name, layer in layers.items():
        found[name] = taken = given.get(name, (before,))
        if wrong := [one for one in taken if one not in seen]:
            raise ValueError(f"layer {name!r} takes {wrong[0]!r}, which is no layer before it")
        if isinstance(layer, Merge) and len(taken) < 2:
            raise ValueError(f"layer {name!r}: {layer} takes two inputs or more; name them in inputs")
        if not isinstance(layer, Merge) and len(taken) != 1:
            raise ValueError(f"layer {name!r}: {layer} takes one input; got {len(taken)}")
        seen.add(name)
        before = name
    if idle := seen - {before, IMAGE} - {one for taken in found.values() for one in taken}:
        raise ValueError(f"the output of layer {min(idle)!r} is taken by no other")
    return found


def cut(names, inputs, place):
    """True where all that comes from `names[place]` on is made of the one output that this layer takes."""
    inner = set(names[place:])
    return all(set(inputs[name]) <= inner for name in names[place + 1:])


def given_to(taken, found):
    """What a layer that takes the outputs of `taken` gets of `found` {name: result}: the one, or a tuple of several."""
    return found[taken[0]] if len(taken) == 1 else tuple(found[name] for name in taken)


def flow(names, inputs, found, step):
    """Yields (name, step(name, given)) for `names` in order; `given` is the result of the layer it takes, or a tuple.

    found: {name: result} of what stands before. A result is let go when the last layer that takes it has been served.
    """
    last = {taken: name for name in names for taken in inputs[name]}
    for name in names:
        given = given_to(inputs[name], found)
        for taken in set(inputs[name]):
            if last[taken] == name:
                del found[taken]
        found[name] = step(name, given)
        del given
        yield name, found[name]


def back(names, inputs, grad, step):
    """Yields (name, ∂/∂output of that layer) from the last of `names` back, and at the end ("input", …).

    step(name, gradient) → ∂/∂input of that layer (a tuple for several), or None where nobody before it needs one.
    """
    grads = {names[-1] if names else IMAGE: grad}
    for name in reversed(names):
        if name not in grads:
            continue
        grad = grads.pop(name)
        yield name, grad
        parts = step(name, grad)
        if parts is None:
            continue
        for taken, part in zip(inputs[name], parts if len(inputs[name]) > 1 else (parts,)):
            grads[taken] = grads[taken] + part if taken in grads else part
    if IMAGE in grads:
        yield IMAGE, grads[IMAGE]
