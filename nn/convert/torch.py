"""Networks to and from PyTorch, weights included, so that other people's networks can be verified
and attacked.

In: a `torch.nn.Module` of the layers we know, branches included, and the shape of its input. Out: a
`Network` that has been held against the module on random input. And back: a `Network` in, a
`torch.nn.Sequential` of the same names out. Which layer is which stands in `convert.table`. PyTorch
is imported only when one of the two is called. Read on in `convert.torch_trace`.
"""
import functools
import inspect
import operator
import warnings

import numpy as np
import scipy

from nn.convert.table import KNOWN, option_of, row_of
from nn.convert.torch_run import unwrapped
from nn.convert.torch_trace import traced
from nn.graph import IMAGE, inputs_from
from nn.inputs import image_shape
from nn.layers.affine import Affine
from nn.layers.base import Merge
from nn.layers.linear import Flatten
from nn.layers.unflatten import Unflatten
from nn.network import Network

AGREEMENT = 1e-9
FEW = 5  # samples show what a module is made of; another number then shows a fixed batch size


def from_torch(module, input_shape, output=None):
    """The `Network` of a `torch.nn.Module` that is made of layers we know.

    The module runs on random numbers, and what it calls is read: layers and functions of
    `nn.convert.table`, sums, differences and concatenations of branches, constants ((x − mean) /
    std is one `Affine`), changes of shape that leave the units in their order. Otherwise forward()
    may do what it likes, as long as that does not depend on the values of the input.

    Args:
        module: a `torch.nn.Module` that takes a batch, (B, M), (B, height, width) or (B, channels,
            height, width). Batch normalisation and Dropout after `module.eval()`; Identity is left
            out, `DataParallel` and `torch.compile` are unwrapped.
        input_shape: (M,), (height, width) or (channels, height, width), of one sample.
        output: the index or key of the answer that is meant, where the module returns several.

    Returns:
        A `Network` named as the module's `state_dict` ("features.0", …) with copies of its float32
        or float64 weights; float16 and bfloat16 become float32, with a warning. A layer that is
        called twice stands there twice, its weights copied with another name. A final Softmax or
        Sigmoid becomes the output's activation: what enters it are the logits. So is what enters a
        final log_softmax, for which no layer stands.

    Raises:
        TypeError: a layer of another type, weights of another type, an answer that is no tensor.
        ValueError: an option that our layers do not have; an input that does not fit; or the
            module, run on more random input in float64, gives other values than the network. Each
            is one line and names the layer.
    """
    import torch
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}")
    module = unwrapped(module)
    _check(module)
    sample, trace = _first_run(module, tuple(int(n) for n in np.atleast_1d(input_shape)), output)
    shape = input_shape if trace.input_shape == sample else trace.input_shape
    network = Network(trace.layers, shape, trace.inputs)
    x = _probes(sample)
    _compare(network, traced(module, x, output), x)
    _warn_of_widened(module)
    return network


def _first_run(module, shape, output):
    """The shape of a sample as the module takes it, and what it is made of. (height, width) may
    have a channel axis there or not."""
    image_shape(shape)
    errors = []
    for sample in ((1, *shape), shape) if len(shape) == 2 else (shape,):
        try:
            return sample, traced(module, _probes(sample)[:FEW], output)
        except (TypeError, ValueError) as error:
            errors.append(error)
    raise min(errors, key=lambda error: str(error).startswith("module does not run"))


def _check(module):
    """TypeError where `torch.jit` made a part, ValueError for more than one input."""
    import torch
    for path, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise TypeError(f"{f'layer {path!r}' if path else 'module'} was made by torch.jit, "
                            "which hides its layers; convert the module that it was made of")
    needed = [name for name, one in inspect.signature(module.forward).parameters.items()
              if one.default is one.empty and one.kind in (one.POSITIONAL_ONLY,
                                                           one.POSITIONAL_OR_KEYWORD)]
    if len(needed) > 1:
        raise ValueError(f"module must take one input; it also takes {needed[1]!r}")


def _warn_of_widened(module):
    import torch
    kinds = {str(one.dtype).removeprefix("torch.") for one in module.parameters()
             if one.dtype in (torch.float16, torch.bfloat16)}
    if kinds:
        warnings.warn(f"weights of {' and '.join(sorted(kinds))} are widened to float32",
                      stacklevel=3)


def to_torch(network):
    """The `torch.nn.Sequential` of a `Network`, its final softmax or sigmoid included; of a network
    with branches a `torch.fx.GraphModule`, in which sums and concatenations are functions.

    Args:
        network: a `Network` of our layers; a subclass of one counts as that layer. Dotted names are
            nested.

    Returns:
        A module in evaluation mode that takes (B, M) where `network.input_shape` is (M,), else
        (B, channels, height, width), with the network's names and with copies of its weights in
        their own type.

    Raises:
        TypeError: a layer of another type.
        ValueError: a layer that PyTorch cannot place there (a Linear without a Flatten before it),
            or name so.
    """
    import torch
    model = torch.nn.Sequential()
    is_flat = {IMAGE: len(network.input_shape) == 1}
    for name, layer in network.layers.items():
        flat_inputs = [is_flat[source] for source in network.inputs[name]]
        is_flat[name] = (isinstance(layer, Flatten)
                         or all(flat_inputs) and not isinstance(layer, Unflatten))
        row = row_of(layer)
        if row is None:
            raise TypeError(f"layer {name!r}: {type(layer).__name__} is none of "
                            f"{KNOWN}")
        if not row.join:
            _add(model, name, _module(name, layer, row, flat_inputs[0]))
        elif len(set(flat_inputs)) > 1:
            raise ValueError(f"layer {name!r}: torch cannot join a flat input and an image")
    model.eval()
    if not network.is_chain:
        return _joined(model, network)
    leaves = [path for path, child in model.named_modules() if path and not list(child.children())]
    if leaves != list(network.layers):
        names = ", ".join(network.layers)
        raise ValueError(f"layer names must nest in their own order; got {names}")
    return model


def _module(name, layer, row, flat):
    """Torch's module for one of our layers; `flat` says whether its input is (B, M)."""
    from torch import nn
    if row.taken_by(layer) == "flat" and not flat:
        raise ValueError(f"layer {name!r}: torch needs a Flatten before {row.layer.__name__}")
    if row.taken_by(layer) == "image" and flat:
        raise ValueError(f"layer {name!r}: in torch {type(layer).__name__} takes images; "
                         "its input is flat")
    if isinstance(layer, Affine):
        return _constants(layer, flat)
    kind = getattr(nn, row.kind(flat).__name__)
    options = {option: option_of(layer, option) for option in row.options} | row.fixed
    if layer.parameters:  # they are filled in: no random ones are drawn before
        return _filled(nn.utils.skip_init(kind, **options), layer)
    return kind(**options)


def _constants(layer, flat):
    """An `Affine` as a module of torch's, which has none: weight · x + bias."""
    import torch
    root = torch.nn.Module()
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    for key, function in (("weight", operator.mul), ("bias", operator.add)):
        array = np.array(layer.parameters[key], order="C")
        if array.ndim:  # as torch lays it on (B, M) or (B, C, Y, X)
            array = array.reshape(-1 if flat else (len(array), *(array.shape[1:] or (1, 1))))
        root.register_buffer(key, torch.from_numpy(array))
        x = graph.call_function(function, (x, graph.get_attr(key)))
    graph.output(x)
    return torch.fx.GraphModule(root, graph, "Affine")


def _filled(module, layer):
    """`module` with copies of the layer's weights; its other buffers, which only count, are 0."""
    import torch
    for buffer in module.buffers():
        buffer.zero_()
    for key, array in layer.parameters.items():
        tensor = torch.from_numpy(np.array(array, order="C"))
        if getattr(layer, "connections", None) is not None and key == "weight":
            tensor[torch.from_numpy(~layer.connections)] = 0
        setattr(module, key, tensor if key in layer.fixed else torch.nn.Parameter(tensor))
    return module


def _add(model, name, module):
    """Put `module` at the dotted `name`, making the Sequentials on the way."""
    import torch
    *parents, last = name.split(".")
    try:
        for parent in parents:
            if parent not in dict(model.named_children()):
                model.add_module(parent, torch.nn.Sequential())
            model = model.get_submodule(parent)
        model.add_module(last, module)
    except KeyError as error:
        message = f"layer {name!r}: torch does not take this name ({error.args[0]})"
        raise ValueError(message) from None


def _joined(model, network):
    """The modules of `model`, each called with what `network.inputs` says, as a
    `torch.fx.GraphModule`."""
    import torch
    graph = torch.fx.Graph()
    symbol = functools.partial(torch.fx.Proxy, tracer=torch.fx.proxy.GraphAppendingTracer(graph))
    outputs = {IMAGE: symbol(graph.placeholder("x"))}
    for name, layer in network.layers.items():
        inputs = inputs_from(network.inputs[name], outputs)
        if isinstance(layer, Merge):
            outputs[name] = row_of(layer).join(torch, inputs)
        else:
            outputs[name] = symbol(graph.call_module(name, (inputs.node,)))
    graph.output(outputs[name].node)
    return torch.fx.GraphModule(model, graph).eval()


def _compare(network, trace, x):
    """Hold the network against the module's own answer to x; ValueError where they disagree."""
    *_, (_, _, value, _) = network.steps(network.as_input(x))
    value = scipy.special.log_softmax(value, axis=-1) if trace.log else value
    expected = trace.answer
    got = value.transpose(0, 3, 1, 2).reshape(expected.shape if expected.size == value.size else -1)
    off = np.abs(got - expected).max() if got.shape == expected.shape else np.inf
    if not off <= AGREEMENT * np.abs(expected).max():
        raise ValueError(f"module(x) and the layers found in it disagree, by up to {off:.2g}")


def _probes(shape):
    """Samples (20, …) in float64: noise, small and large, and plain images.

    Plain images of both signs make every convolution negative somewhere, even behind a max pool: a
    ReLU shows.
    """
    noise = np.random.default_rng(0).normal(size=(8, *shape))
    plain = np.ones((1, *shape))
    return np.concatenate([noise, 30 * noise, plain, -plain, 30 * plain, -30 * plain])
