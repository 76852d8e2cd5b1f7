"""A PyTorch module taken apart: which layers run on what, found by running it once on symbols (`torch.fx`).

In: a module; whether its input is flat. Out: our layers, by name, and which takes whose output. Only what we have layers
for is taken, all else is refused by name. PyTorch is imported only when one of the functions is called. Read on in `convert.sklearn`.
"""
import numpy as np

from nn.graph import IMAGE
from nn.layers.activation import ELU, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from nn.layers.convolution import Conv2d
from nn.layers.linear import Flatten, Linear
from nn.layers.merge import Add, Concat
from nn.layers.normalization import BatchNorm1d, BatchNorm2d, Dropout
from nn.layers.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

KNOWN = ("Conv2d, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1), Linear, Flatten, Tanh, Sigmoid, ReLU, LeakyReLU, ELU, "
         "Softplus, Softmax, BatchNorm1d, BatchNorm2d, Identity, Dropout, their functions, sums and torch.cat")
SIZES = ("size", "shape", "getattr", "getitem")  # numbers on the way to a view(); no layers


def traced(module, flat):
    """({name: layer}, {name: (names it takes, …)}) of `module`; `flat` says whether its input is (B, M).

    Layers are named by their paths in the module, functions by what they are. TypeError or ValueError in one line.
    """
    walk, found = _Walk(module), {}
    for node in _nodes(module):
        if node.op == "placeholder":
            found[node] = walk.start(node, found, flat)
        elif node.op == "output":
            return walk.end(node.args[0], found)
        else:
            found[node] = walk.take(node, found)
    raise ValueError("module returns nothing")


class _Walk:
    """The layers so far; `found` maps a node to (the name of the layer that makes it, whether that is flat)."""

    def __init__(self, module):
        self.module, self.layers, self.inputs = module, {}, {}
        self.paths = {}
        for path, child in module.named_modules(remove_duplicate=False):
            self.paths.setdefault(child, []).append(path)

    def start(self, node, found, flat):
        """The module's own input."""
        if any(before.op == "placeholder" for before in found):
            raise ValueError(f"module must take one input; it also takes {node.name!r}")
        return IMAGE, flat

    def end(self, given, found):
        """Everything, once the output is reached."""
        if given not in found:
            raise TypeError(f"module must return a tensor; got {type(given).__name__}")
        if found[given] is None or self.layers and found[given][0] != list(self.layers)[-1]:
            raise ValueError(f"module returns {given.name!r}, which is not what its last layer makes")
        return self.layers, self.inputs

    def take(self, node, found):
        """One operation of the module: the layer that stands for it is added to the others."""
        name, module, given = self._read(node, found)
        if module is None and given is None:
            return None
        taken = [found.get(one) for one in given]
        if None in taken or not taken:
            raise TypeError(f"layer {name!r}: it takes something that is no layer's output")
        flat = taken[0][1]
        try:
            layer = module if isinstance(module, (Add, Concat)) else layer_of(module, flat)
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {name!r}: {error}") from None
        if layer is None:
            return taken[0]
        self.layers[name], self.inputs[name] = layer, tuple(one for one, _ in taken)
        return name, flat or isinstance(layer, Flatten)

    def _read(self, node, found):
        """(name, torch's module or our merge, the nodes it takes) of an operation; (…, None, None) for a mere number."""
        if node.op == "call_module":
            module = self.module.get_submodule(node.target)
            return self._name(module), module, node.args
        if node.op == "get_attr":
            raise TypeError(f"module uses {node.target} beside its layers")
        what = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        if what in SIZES:
            return node.name, None, None
        name = node.name if node.name not in self.layers else f"{node.name}_"
        if what.strip("_") in ("add", "iadd") and len(node.args) == 2 and not node.kwargs:
            return name, Add(), node.args
        if what in ("cat", "concat"):
            parts, dim = (*node.args, node.kwargs.get("dim", 0))[:2]
            if dim != 1:
                raise ValueError(f"layer {name!r}: {what} along axis {dim} is not supported, only 1")
            return name, Concat(), tuple(parts)
        return name, _called(name, what.rstrip("_"), node), node.args[:1]

    def _name(self, module):
        """The path of a module; each time it is called another of its paths, while there is one."""
        for path in self.paths[module]:
            if path not in self.layers:
                return path
        if list(module.parameters(recurse=False)):
            raise ValueError(f"layer {path!r} is called twice; a layer with weights may stand once")
        return next(name for name in (f"{path}_{n}" for n in range(1, 10**6)) if name not in self.layers)


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
        raise ValueError(f"module cannot be followed layer by layer (torch.fx): {reason}") from error
    kept, needed = [], set()
    for node in reversed(graph.nodes):  # what nobody uses is left out
        if node in needed or node.op in ("placeholder", "output"):
            kept.append(node)
            needed.update(node.all_input_nodes)
    return kept[::-1]


def _called(name, what, node):
    """Torch's module for a function or method, with its options."""
    from torch import nn
    kinds = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU,
             "softplus": nn.Softplus, "softmax": nn.Softmax, "max_pool2d": nn.MaxPool2d, "boolean_dispatch": nn.MaxPool2d,
             "avg_pool2d": nn.AvgPool2d, "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d, "flatten": nn.Flatten}
    options, named = list(node.args[1:]), {key: value for key, value in node.kwargs.items() if key != "inplace"}
    if what in ("view", "reshape") and len(options) == 2:
        return nn.Flatten()  # _compare holds the numbers against ours
    if what == "flatten":
        options = options or [named.pop("start_dim", 0)]
    if what == "softmax":
        named.pop("_stacklevel", None), named.pop("dtype", None)
    if what == "dropout" and not (options[1] if len(options) > 1 else named.get("training", True)):
        return nn.Identity()
    try:
        return kinds[what](*options, **named)
    except KeyError:
        raise TypeError(f"layer {name!r}: {what}() is none of the layers we know ({KNOWN})") from None
    except TypeError as error:
        raise TypeError(f"layer {name!r}: {what}() with other options than we know ({error})") from None


def layer_of(module, flat):
    """Our layer for one of torch's, None for one that does nothing; `flat` says whether its input is (B, M)."""
    from torch import nn
    kind = type(module)
    simple = {nn.Tanh: (Tanh,), nn.Sigmoid: (Sigmoid,), nn.ReLU: (ReLU,), nn.LeakyReLU: (LeakyReLU, "negative_slope"),
              nn.ELU: (ELU, "alpha"), nn.Softplus: (Softplus, "beta")}
    if kind in simple:
        ours, *options = simple[kind]
        return ours(*(getattr(module, option) for option in options))
    if kind is nn.Identity:
        return None
    if kind in (nn.Dropout, nn.Dropout2d):
        if module.training and module.p > 0:
            raise ValueError(f"{kind.__name__} is random while training; call module.eval() first")
        return Dropout(module.p)
    if kind in (nn.BatchNorm1d, nn.BatchNorm2d):
        if module.training or module.running_mean is None:
            raise ValueError(f"{kind.__name__} depends on the batch while training or without running statistics; "
                             "call module.eval() first")
        return _weighted((BatchNorm1d if flat else BatchNorm2d)(module.num_features, module.eps), module)
    if kind is nn.AdaptiveAvgPool2d:
        _only(module, output_size=[1, (1, 1)])
        return AdaptiveAvgPool2d()
    if kind is nn.Conv2d:
        _only(module, dilation=[(1, 1)], groups=[1], padding_mode=["zeros"])
        return _weighted(Conv2d(module.in_channels, module.out_channels, module.kernel_size, module.stride,
                                _padding(module), bias=module.bias is not None), module)
    if kind is nn.Linear:
        return _weighted(Linear(module.in_features, module.out_features, bias=module.bias is not None), module)
    if kind is nn.MaxPool2d:
        _only(module, padding=[0, (0, 0)], dilation=[1, (1, 1)], ceil_mode=[False], return_indices=[False])
        return MaxPool2d(module.kernel_size, module.stride)
    if kind is nn.AvgPool2d:
        _only(module, padding=[0, (0, 0)], ceil_mode=[False], divisor_override=[None])
        return AvgPool2d(module.kernel_size, module.stride)
    if kind is nn.Flatten:
        _only(module, start_dim=[1], end_dim=[-1])
        return Flatten()
    if kind is nn.Softmax:
        _only(module, dim=[1, -1] if flat else [1])
        return Softmax()
    raise TypeError(f"{kind.__name__} is none of the layers we know ({KNOWN})")


def _only(module, **allowed):
    """ValueError unless each option of `module` has one of the values allowed for it."""
    for option, values in allowed.items():
        found = getattr(module, option)
        if found not in values:
            wanted = " or ".join(map(repr, values))
            raise ValueError(f"{type(module).__name__} with {option}={found!r} is not supported, only {wanted}")


def _padding(module):
    """A Conv2d's padding in numbers; "same" is the same on both sides for odd kernels only."""
    if module.padding == "valid":
        return 0
    if module.padding != "same":
        return module.padding
    if any(k % 2 == 0 for k in module.kernel_size):
        raise ValueError(f"Conv2d with padding='same' is supported for odd kernels only; got {module.kernel_size}")
    return tuple(k // 2 for k in module.kernel_size)


def _weighted(layer, module):
    """`layer` with copies of the module's weights."""
    import torch
    given = {key: getattr(module, key) for key in layer.parameters}
    for key in (key for key, tensor in given.items() if tensor is not None):
        tensor = given[key].detach().cpu()
        if tensor.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{key} must be float32 or float64; got {tensor.dtype}")
        layer.parameters[key] = np.array(tensor.numpy(), order="C")
        if not np.isfinite(layer.parameters[key]).all():
            raise ValueError(f"{key} has NaN or infinite values")
    return layer
