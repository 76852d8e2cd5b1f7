"""Networks to and from PyTorch, weights included, so that other people's networks can be verified and attacked.

In: a `torch.nn.Module` of the layers we know, branches included, and the shape of its input. Out: a `Network` that has been
held against the module on random input. And back: a `Network` in, a `torch.nn.Sequential` of the same names out.
PyTorch is imported only when one of the two is called. Read on in `convert.torch_trace`.
"""
import functools
import operator

import numpy as np

from nn.convert.torch_trace import KNOWN, traced
from nn.graph import IMAGE, given_to
from nn.layers.activation import ELU, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from nn.layers.base import Merge
from nn.layers.convolution import Conv2d
from nn.layers.linear import Flatten, Linear
from nn.layers.merge import Add
from nn.layers.normalization import BatchNorm2d, Dropout
from nn.layers.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from nn.network import Network

AGREEMENT = 1e-9
SMOOTH = 40  # beyond this Softplus is the identity in torch: below float64's precision


def from_torch(module, input_shape):
    """The `Network` of a `torch.nn.Module` that is made of layers we know.

    Args:
        module: a `torch.nn.Sequential`, or any module that `torch.fx` can follow: its layers and functions are those of
            `nn.convert.torch_trace.KNOWN`, sums and concatenations of branches. Batch normalisation and Dropout after
            `module.eval()`; Identity is left out.
        input_shape: (M,), (height, width) or (channels, height, width), of one sample.

    Returns:
        A `Network` named as the module's `state_dict` ("features.0", …) with copies of its float32 or float64 weights.
        A final Softmax or Sigmoid becomes the output's activation: what enters it are the logits.

    Raises:
        TypeError: a layer of another type, weights of another type.
        ValueError: an option that our layers do not have; an input that does not fit; or the module, run on random
            input in float64, gives other values than the network. Each is one line and names the layer.
    """
    import torch
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}")
    layers, inputs = traced(module, np.size(input_shape) == 1)
    network = Network(layers, input_shape, inputs)
    _compare(module, network)
    return network


def to_torch(network):
    """The `torch.nn.Sequential` of a `Network`, its final softmax or sigmoid included; of a network with branches a
    `torch.fx.GraphModule`, in which sums and concatenations are functions.

    Args:
        network: a `Network` of our layers; a subclass of one counts as that layer. Dotted names are nested.

    Returns:
        A module in evaluation mode that takes (B, M) where `network.input_shape` is (M,), else (B, channels, height,
        width), with the network's names and with copies of its weights in their own type.

    Raises:
        TypeError: a layer of another type.
        ValueError: a layer that PyTorch cannot place there (a Linear without a Flatten before it), or name so.
    """
    import torch
    model, flat = torch.nn.Sequential(), {IMAGE: len(network.input_shape) == 1}
    merges = {name for name, layer in network.layers.items() if isinstance(layer, Merge)}
    for name, layer in network.layers.items():
        given = given_to(network.inputs[name], flat)
        flat[name] = isinstance(layer, Flatten) or given is True or name in merges and all(given)
        if name in merges:
            if len(set(given)) > 1:
                raise ValueError(f"layer {name!r}: torch cannot join a flat input and an image")
            continue
        if isinstance(layer, Linear) and not given:
            raise ValueError(f"layer {name!r}: torch needs a Flatten before Linear")
        if isinstance(layer, (Conv2d, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d)) and given:
            raise ValueError(f"layer {name!r}: in torch {type(layer).__name__} takes images; its input is flat")
        _add(model, name, _to_torch(name, layer, given))
    model.eval()
    if not network.is_chain:
        return _joined(model, network)
    leaves = [path for path, child in model.named_modules() if not list(child.children()) and path]
    if leaves != list(network.layers):
        raise ValueError(f"layer names must nest in their own order; got {', '.join(network.layers)}")
    return model


def _joined(model, network):
    """The modules of `model`, each called with what `network.inputs` says, as a `torch.fx.GraphModule`."""
    import torch
    graph = torch.fx.Graph()
    found = {IMAGE: graph.placeholder("x")}
    for name, layer in network.layers.items():
        given = given_to(network.inputs[name], found)
        if isinstance(layer, Add):
            found[name] = functools.reduce(lambda a, b: graph.call_function(operator.add, (a, b)), given)
        elif isinstance(layer, Merge):
            found[name] = graph.call_function(torch.cat, (given, 1))
        else:
            found[name] = graph.call_module(name, (given,))
    graph.output(found[name])
    return torch.fx.GraphModule(model, graph).eval()


def _compare(module, network):
    """Run both on the same input in float64, small and large, noise and plain; ValueError where they disagree.

    Plain images of both signs make every convolution negative somewhere, even behind a max pool: a ReLU shows.
    """
    import torch
    shape = network.input_shape if len(network.input_shape) != 2 else (1, *network.input_shape)
    noise, plain = np.random.default_rng(0).normal(size=(8, *shape)), np.ones((1, *shape))
    x = np.concatenate([noise, 30 * noise, plain, -plain, 30 * plain, -30 * plain])
    tensors = {name: tensor.detach().cpu().double() if tensor.is_floating_point() else tensor.cpu()
               for name, tensor in (*module.named_parameters(), *module.named_buffers())}
    try:
        with torch.no_grad():
            expected = torch.func.functional_call(module, tensors, (torch.from_numpy(x.copy()),))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"module does not run on float64 input of shape {x.shape}: {reason}") from error
    if not isinstance(expected, torch.Tensor):
        raise TypeError(f"module must return a tensor; got {type(expected).__name__}")
    expected = expected.numpy()
    for _, _, value, _ in network.steps(network.as_input(x)):
        pass
    got = value.transpose(0, 3, 1, 2).reshape(expected.shape if expected.size == value.size else -1)
    off = np.abs(got - expected).max() if got.shape == expected.shape else np.inf
    if not off <= AGREEMENT * np.abs(expected).max():
        raise ValueError(f"module(x) and the layers found in it disagree, by up to {off:.2g}")


def _to_torch(name, layer, flat):
    """Torch's module for one of our layers; `flat` says whether its input is (B, M)."""
    from torch import nn
    for ours, theirs in ((Tanh, nn.Tanh), (Sigmoid, nn.Sigmoid), (ReLU, nn.ReLU), (Flatten, nn.Flatten)):
        if isinstance(layer, ours):
            return theirs()
    if isinstance(layer, Softmax):
        return nn.Softmax(dim=1)
    if isinstance(layer, MaxPool2d):
        return nn.MaxPool2d(layer.kernel, layer.stride)
    if isinstance(layer, AvgPool2d):
        return nn.AvgPool2d(layer.kernel, layer.stride)
    if isinstance(layer, LeakyReLU):
        return nn.LeakyReLU(layer.negative_slope)
    if isinstance(layer, ELU):
        return nn.ELU(layer.alpha)
    if isinstance(layer, Softplus):
        return nn.Softplus(layer.beta, threshold=SMOOTH)
    if isinstance(layer, AdaptiveAvgPool2d):
        return nn.AdaptiveAvgPool2d(1)
    if isinstance(layer, Dropout):
        return nn.Dropout(layer.p)
    if isinstance(layer, BatchNorm2d):
        kind = nn.BatchNorm1d if flat else nn.BatchNorm2d
        return _filled(kind(len(layer.parameters["weight"]), layer.eps), layer)
    if not isinstance(layer, (Conv2d, Linear)):
        raise TypeError(f"layer {name!r}: {type(layer).__name__} is none of the layers we know ({KNOWN})")
    out, into = layer.parameters["weight"].shape[:2]
    options = {"bias": "bias" in layer.parameters}
    if isinstance(layer, Linear):
        return _filled(nn.utils.skip_init(nn.Linear, into, out, **options), layer)
    options.update(kernel_size=layer.kernel, stride=layer.stride, padding=layer.padding)
    return _filled(nn.utils.skip_init(nn.Conv2d, into, out, **options), layer)


def _filled(module, layer):
    import torch
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
        raise ValueError(f"layer {name!r}: torch does not take this name ({error.args[0]})") from None
