"""A PyTorch module taken apart: which layers run on what, found by running it once on symbols
(`torch.fx`).

In: a module; whether its input is flat. Out: our layers, by name, and which takes whose output.
Only what has a row in `convert.table` is taken, all else is refused by name. PyTorch is imported
only when one of the functions is called. Read on in `convert.sklearn`.
"""
from typing import NamedTuple

import numpy as np

from nn.convert.table import KNOWN, TABLE, option_of_module
from nn.graph import IMAGE
from nn.layers.linear import Flatten

SIZES = ("size", "shape", "getattr", "getitem")  # numbers on the way to a view(); no layers
IGNORED = ("inplace", "_stacklevel", "dtype")    # options of functions that change no value
ROWS_BY_FUNCTION = {function: row for row in TABLE.values() for function in row.functions}


class Output(NamedTuple):
    """What an operation of the module makes: the output of our layer `name`."""
    name: str
    flat: bool  # is it (B, M)?


class Operation(NamedTuple):
    """An operation of the module, as it is read: what does it, and on which nodes."""
    name: str
    module: object  # torch's module, or our class for a merge
    nodes: tuple


def traced(module, flat):
    """({name: layer}, {name: (names it takes, …)}) of `module`; `flat`: is its input (B, M)?

    Layers are named by their paths in the module, functions by what they are. TypeError or
    ValueError in one line.
    """
    walk = _Walk(module)
    for node in _nodes(module):
        if node.op == "placeholder":
            walk.start(node, flat)
        elif node.op == "output":
            return walk.end(node.args[0])
        else:
            walk.take(node)
    raise ValueError("module returns nothing")


class _Walk:
    """The layers so far; `outputs` has an `Output` a node, None for a mere number."""

    def __init__(self, module):
        self.module = module
        self.layers = {}
        self.inputs = {}
        self.outputs = {}
        self.paths = {}
        for path, child in module.named_modules(remove_duplicate=False):
            self.paths.setdefault(child, []).append(path)

    def start(self, node, flat):
        """The module's own input."""
        if any(earlier.op == "placeholder" for earlier in self.outputs):
            raise ValueError(f"module must take one input; it also takes {node.name!r}")
        self.outputs[node] = Output(IMAGE, flat)

    def end(self, node):
        """Everything, once the output is reached."""
        if node not in self.outputs:
            raise TypeError(f"module must return a tensor; got {type(node).__name__}")
        output = self.outputs[node]
        if output is None or self.layers and output.name != list(self.layers)[-1]:
            raise ValueError(f"module returns {node.name!r}, which is not what its last layer "
                             "makes")
        return self.layers, self.inputs

    def take(self, node):
        """One operation of the module: the layer that stands for it is added to the others."""
        operation = self._read(node)
        if operation is None:
            self.outputs[node] = None
            return
        name = operation.name
        inputs = [self.outputs.get(one) for one in operation.nodes]
        if None in inputs or not inputs:
            raise TypeError(f"layer {name!r}: it takes something that is no layer's output")
        try:
            layer = layer_of(operation.module, inputs[0].flat)
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {name!r}: {error}") from None
        if layer is None:
            self.outputs[node] = inputs[0]
            return
        self.layers[name] = layer
        self.inputs[name] = tuple(one.name for one in inputs)
        self.outputs[node] = Output(name, inputs[0].flat or isinstance(layer, Flatten))

    def _read(self, node):
        """The `Operation` of a node; None for a mere number."""
        if node.op == "call_module":
            module = self.module.get_submodule(node.target)
            return Operation(self._name(module), module, node.args)
        if node.op == "get_attr":
            raise TypeError(f"module uses {node.target} beside its layers")
        target = node.target
        function = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        if function in SIZES:
            return None
        name = node.name if node.name not in self.layers else f"{node.name}_"
        row = ROWS_BY_FUNCTION.get(function.strip("_"))
        if row and row.operands:
            try:
                nodes = row.operands(node)
            except ValueError as error:
                raise ValueError(f"layer {name!r}: {error}") from None
            if nodes is not None:
                return Operation(name, row.layer, nodes)
        return Operation(name, _called(name, function.rstrip("_"), node), node.args[:1])

    def _name(self, module):
        """The path of a module; each time it is called another of its paths, while there is one."""
        for path in self.paths[module]:
            if path not in self.layers:
                return path
        if list(module.parameters(recurse=False)):
            raise ValueError(f"layer {path!r} is called twice; a layer with weights may stand once")
        numbered = (f"{path}_{n}" for n in range(1, 10**6))
        return next(name for name in numbered if name not in self.layers)


def _nodes(module):
    """The operations of `module`, run on symbols; modules without children are taken whole."""
    import torch

    class Tracer(torch.fx.Tracer):
        """Looks into every module that has children."""

        def is_leaf_module(self, m, module_qualified_name):
            return not list(m.children()) and type(m) is not torch.nn.Sequential

    try:
        graph = Tracer().trace(module)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"module cannot be followed layer by layer (torch.fx): {reason}"
        raise ValueError(message) from error
    used, needed = [], set()
    for node in reversed(graph.nodes):  # what nobody uses is left out
        if node in needed or node.op in ("placeholder", "output"):
            used.append(node)
            needed.update(node.all_input_nodes)
    return used[::-1]


def _called(name, function, node):
    """Torch's module for a function or method, with its options."""
    from torch import nn
    options = list(node.args[1:])
    named = {key: value for key, value in node.kwargs.items() if key not in IGNORED}
    if function in ("view", "reshape") and len(options) == 2:
        return nn.Flatten()  # that it does the same is seen when both are run on numbers
    training = options[1] if len(options) > 1 else named.get("training", True)
    if function == "dropout" and not training:
        return nn.Identity()
    row = ROWS_BY_FUNCTION.get(function)
    if row is None or row.join:
        raise TypeError(f"layer {name!r}: {function}() is none of the layers we know ({KNOWN})")
    if not options:
        named = row.defaults | named
    try:
        return getattr(nn, row.layer.__name__)(*options, **named)
    except TypeError as error:
        message = f"layer {name!r}: {function}() with other options than we know ({error})"
        raise TypeError(message) from None


def layer_of(module, flat):
    """Our layer for one of torch's modules (or our own class of a merge), None for one that does
    nothing; `flat` says whether its input is (B, M)."""
    from torch import nn
    if module in TABLE:
        return module()
    kind = type(module)
    if kind is nn.Identity:
        return None
    row = next((row for row in TABLE.values()
                if any(getattr(nn, name, None) is kind for name in row.modules)), None)
    if row is None:
        raise TypeError(f"{kind.__name__} is none of the layers we know ({KNOWN})")
    if row.refuse:
        row.refuse(module)
    _only(module, row.only_flat if flat and row.only_flat else row.only)
    options = {option: option_of_module(module, option) for option in row.options}
    return _weighted(row.kind(flat)(**options), module)


def _only(module, allowed):
    """ValueError unless each option of `module` has one of the values allowed for it."""
    for option, values in allowed.items():
        value = getattr(module, option)
        if value not in values:
            wanted = " or ".join(map(repr, values))
            raise ValueError(f"{type(module).__name__} with {option}={value!r} is not supported, "
                             f"only {wanted}")


def _weighted(layer, module):
    """`layer` with copies of the module's weights."""
    import torch
    tensors = {key: getattr(module, key) for key in layer.parameters}
    for key in (key for key, tensor in tensors.items() if tensor is not None):
        tensor = tensors[key].detach().cpu()
        if tensor.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{key} must be float32 or float64; got {tensor.dtype}")
        layer.parameters[key] = np.array(tensor.numpy(), order="C")
        if not np.isfinite(layer.parameters[key]).all():
            raise ValueError(f"{key} has NaN or infinite values")
    return layer
