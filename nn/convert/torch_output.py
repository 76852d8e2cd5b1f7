"""What a tensor is that a PyTorch module computes: which of our layers makes it, in what shape.

In: layers, one after the other, with what they take. Out: an `Output` each, and at the end the
layers that lead to the answer, by name. Read on in `convert.torch_operations`.
"""
from typing import NamedTuple

from nn.graph import IMAGE
from nn.layers.affine import Affine
from nn.layers.base import Layer
from nn.layers.linear import Flatten
from nn.layers.unflatten import Unflatten

INPUT = -1  # the step that stands for the module's input


class Output(NamedTuple):
    """The output of one of our layers, as a tensor of torch."""
    step: int | None                  # which layer's, by number; None: none makes it
    shape: tuple                      # (c, y, x), as our layer makes it
    seen: tuple                       # as torch has it, less the batch
    refusal: Exception | None = None  # why no layer can take it
    log: bool = False                 # is it the logarithm of a softmax?

    @property
    def flat(self):
        """Is it (B, M) in torch?"""
        return len(self.seen) == 1


class Placement(NamedTuple):
    """A layer, the names it may have, the best first, and the numbers of the steps it takes."""
    layer: Layer
    names: tuple
    sources: tuple


class Steps:
    """The layers so far, in order; `input_shape` is that of a sample."""

    def __init__(self, input_shape):
        self.steps = []
        self.input_shape = input_shape
        self.names = {IMAGE}

    def image(self):
        """The module's input as an `Output`."""
        seen = self.input_shape
        shape = {1: (*seen, 1, 1), 2: (1, *seen)}.get(len(seen), seen)
        return viewed(Output(INPUT, shape, seen), seen, IMAGE)

    def as_image(self, output, shape):
        """`output` as an image where a flat input met nothing but constants so far: it is read as
        an image from the start, and so are these. None where other layers were there."""
        if len(self.input_shape) != 1 or any(type(one.layer) is not Affine for one in self.steps):
            return None
        self.input_shape = shape
        for number, (layer, names, sources) in enumerate(self.steps):
            constants = (one.reshape(shape if one.ndim else ()) for one in
                         layer.parameters.values())
            self.steps[number] = Placement(Affine(*constants), names, sources)
        return Output(output.step, shape, shape)

    def add(self, layer, names, *sources):
        """The `Output` of a layer that takes `sources` and may have one of `names`; None for a
        layer is one that does nothing. Where no layer can take a source, its refusal is raised."""
        for source in sources:
            if source.refusal:
                raise source.refusal
        if layer is None:
            return sources[0]
        shapes = tuple(source.shape for source in sources)
        shape = tuple(layer.output_shape(shapes if len(shapes) > 1 else shapes[0]))
        self.names.add(free_name(names, self.names))
        self.steps.append(Placement(layer, names, tuple(source.step for source in sources)))
        flat = isinstance(layer, Flatten) or sources[0].flat and not isinstance(layer, Unflatten)
        return Output(len(self.steps) - 1, shape, shape[:1] if flat else shape)

    def leading_to(self, last):
        """({name: layer}, {name: (names it takes, …)}) of the layers that lead to the step."""
        needed = {last}
        for number in range(last, INPUT, -1):
            if number in needed:
                needed.update(self.steps[number].sources)
        names, layers, inputs = {INPUT: IMAGE}, {}, {}
        for number in sorted(needed - {INPUT}):
            layer, candidates, sources = self.steps[number]
            name = names[number] = free_name(candidates, {IMAGE, *layers})
            layers[name] = layer
            inputs[name] = tuple(names[source] for source in sources)
        return layers, inputs


def free_name(candidates, used):
    """The first of the candidates that is not used, or else the last with a number."""
    for name in candidates:
        if name not in used:
            return name
    number = 1
    while f"{name}_{number}" in used:
        number += 1
    return f"{name}_{number}"


def viewed(output, seen, name):
    """`output` in another shape of torch, its units in the same order.

    Layers take it where it is (B, M) and our layer is flat too, or our layer's own (c, y, x).
    """
    seen = tuple(seen) or (1,)
    usual = seen == output.shape or (*seen, 1, 1) == output.shape
    refusal = None if usual else ValueError(
        f"layer {name!r}: no layer takes its shape {shape_said(seen)}, which is {output.shape} "
        f"in another layout")
    return output._replace(seen=seen, refusal=output.refusal if output.log else refusal)


def shape_said(seen):
    """"(B, 3, 4)" for what is (3, 4) less the batch."""
    return str(("B", *seen)).replace("'", "")
