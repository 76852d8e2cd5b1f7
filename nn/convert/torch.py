"""Networks to and from PyTorch, weights included, so that other people's networks can be verified
and attacked.

In: a `torch.nn.Module` of the layers we know, branches included, and the shape of its input. Out: a
`Network` that has been held against the module on random input. And back: a `Network` in, a
`torch.nn.Sequential` of the same names out. Which layer is which stands in `convert.table`. PyTorch
is imported only when one of the two is called. Read on in `convert.torch_trace`.
"""
import functools

import numpy as np

from nn.convert.table import KNOWN, option_of, row_of
from nn.convert.torch_trace import traced
from nn.graph import IMAGE, inputs_from
from nn.layers.base import Merge
from nn.layers.linear import Flatten
from nn.network import Network

AGREEMENT = 1e-9


def from_torch(module, input_shape):
    """The `Network` of a `torch.nn.Module` that is made of layers we know.

    Args:
        module: a `torch.nn.Sequential`, or any module that `torch.fx` can follow: its layers and
            functions are those of `nn.convert.table`, sums and concatenations of branches. Batch
            normalisation and Dropout after `module.eval()`; Identity is left out.
        input_shape: (M,), (height, width) or (channels, height, width), of one sample.

    Returns:
        A `Network` named as the module's `state_dict` ("features.0", …) with copies of its float32
        or float64 weights. A final Softmax or Sigmoid becomes the output's activation: what enters
        it are the logits.

    Raises:
        TypeError: a layer of another type, weights of another type.
        ValueError: an option that our layers do not have; an input that does not fit; or the
            module, run on random input in float64, gives other values than the network. Each is
            one line and names the layer.
    """
    import torch
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}")
    layers, inputs = traced(module, np.size(input_shape) == 1)
    network = Network(layers, input_shape, inputs)
    _compare(module, network)
    return network


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
        is_flat[name] = all(flat_inputs) or isinstance(layer, Flatten)
        row = row_of(layer)
        if row is None:
            raise TypeError(f"layer {name!r}: {type(layer).__name__} is none of the layers we know "
                            f"({KNOWN})")
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
    kind = getattr(nn, row.kind(flat).__name__)
    options = {option: option_of(layer, option) for option in row.options} | row.fixed
    if layer.parameters:  # they are filled in: no random ones are drawn before
        return _filled(nn.utils.skip_init(kind, **options), layer)
    return kind(**options)


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


def _compare(module, network):
    """Run both on the same input in float64; ValueError where they disagree."""
    x = _probes(network)
    expected = _run(module, x)
    *_, (_, _, value, _) = network.steps(network.as_input(x))
    got = value.transpose(0, 3, 1, 2).reshape(expected.shape if expected.size == value.size else -1)
    off = np.abs(got - expected).max() if got.shape == expected.shape else np.inf
    if not off <= AGREEMENT * np.abs(expected).max():
        raise ValueError(f"module(x) and the layers found in it disagree, by up to {off:.2g}")


def _probes(network):
    """Samples (20, …) in float64: noise, small and large, and plain images.

    Plain images of both signs make every convolution negative somewhere, even behind a max pool: a
    ReLU shows.
    """
    shape = network.input_shape if len(network.input_shape) != 2 else (1, *network.input_shape)
    noise = np.random.default_rng(0).normal(size=(8, *shape))
    plain = np.ones((1, *shape))
    return np.concatenate([noise, 30 * noise, plain, -plain, 30 * plain, -30 * plain])


def _run(module, x):
    """What `module` makes of x, as an array, with its weights in float64."""
    import torch
    tensors = {name: tensor.detach().cpu().double() if tensor.is_floating_point() else tensor.cpu()
               for name, tensor in (*module.named_parameters(), *module.named_buffers())}
    try:
        with torch.no_grad():
            inputs = (torch.from_numpy(x.copy()),)
            outputs = torch.func.functional_call(module, tensors, inputs)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"module does not run on float64 input of shape {x.shape}: {reason}"
        raise ValueError(message) from error
    if not isinstance(outputs, torch.Tensor):
        raise TypeError(f"module must return a tensor; got {type(outputs).__name__}")
    return outputs.numpy()
