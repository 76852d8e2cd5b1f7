"""Functions and methods of torch that are no layers by themselves: changes of shape, means over
positions, arithmetic with constants and of branches, concatenation, log_softmax, and layers whose
weights are arguments.

In: a `Call`, with its answer. Out: the `Output` that the answer is. `OF_ONE` and `OF_SEVERAL`
tensors have them by name. Read on in `convert.torch_read`.
"""
from typing import Any, NamedTuple

import numpy as np

from nn.convert.table import TABLE
from nn.convert.torch_output import INPUT, shape_said, viewed
from nn.convert.torch_read import INSTEAD, UNKNOWN, constant_of, layer_of, only
from nn.layers.affine import Affine
from nn.layers.linear import Flatten
from nn.layers.merge import Add, Concat
from nn.layers.piecewise import Hardtanh, ReLU
from nn.layers.pooling import AdaptiveAvgPool2d, AvgPool2d
from nn.layers.unflatten import Unflatten

MARK = "layer_output"  # the attribute of a tensor that holds its `Output`


class Call(NamedTuple):
    """A function of torch that was called, and the names that a layer for it may have."""
    name: str
    args: tuple
    kwargs: dict
    answer: Any
    names: tuple

    def option(self, place, *names):
        """An argument by its place or by one of its names; None where it is not there."""
        if len(self.args) > place:
            return self.args[place]
        return next((self.kwargs[name] for name in names if name in self.kwargs), None)


def output_of(value):
    """The `Output` that a tensor is, None for a constant."""
    return getattr(value, MARK, None)


# shapes

def _reshaped(call, steps):
    """The same units in the same order; a `Flatten` where the new shape is (B, M)."""
    tensor, output, seen = call.args[0], output_of(call.args[0]), tuple(call.answer.shape[1:])
    if call.name == "getitem" and not _leaves_all(call):
        raise TypeError(f"getitem() {UNKNOWN}")
    if call.answer.dim() == 0 or len(call.answer) != len(tensor):
        _refuse_flatten(call)
        raise ValueError(f"{call.name}() makes {tuple(call.answer.shape)} of "
                         f"{tuple(tensor.shape)}; the first axis must stay the batch")
    if len(seen) == 1 and not output.log and (seen != output.seen or call.name == "flatten"):
        return steps.add(Flatten(), call.names, output._replace(refusal=None))
    a_row = output.flat or output.shape[1:] == (1, 1) and seen != output.shape
    if a_row and len(seen) == 3 and not output.log:
        own = output._replace(refusal=None)
        return steps.as_image(own, seen) or steps.add(Unflatten(seen), call.names, own)
    result = viewed(output, seen, call.names[0])
    if result.refusal and not output.log:
        try:
            _refuse_flatten(call)
        except ValueError as error:
            return result._replace(refusal=ValueError(f"layer {call.names[0]!r}: {error}"))
    return result


def _leaves_all(call):
    """Does an index of numbers, slices, None and … alone leave every unit where it is?"""
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    plain = all(one is None or one is ... or isinstance(one, (slice, int)) for one in index)
    return plain and call.answer.numel() == call.args[0].numel()


def _refuse_flatten(call):
    """ValueError for the options of a flatten() that is not `Flatten()`."""
    if call.name == "flatten":
        from torch import nn
        row = TABLE[Flatten]
        options = dict(zip(("start_dim", "end_dim"), call.args[1:]))
        only(nn.Flatten(**row.defaults | call.kwargs | options), row.only)


def _repeated(call, steps):
    """repeat() and expand(): the channels several times, one after the other."""
    output, seen = output_of(call.args[0]), tuple(call.answer.shape[1:])
    channels = output.shape[0]
    times = seen[0] // channels if seen else 0
    repeats = call.name == "repeat" or channels == 1 or times == 1
    if seen != (times * channels, *output.seen[1:]) or not repeats:
        raise ValueError(f"{call.name}() is supported along the channels only; {INSTEAD}")
    return steps.add(Concat(), call.names, *[output] * times) if times > 1 else output


def _mean(call, steps):
    """The mean over height, width or both: a pooling."""
    output, axes = output_of(call.args[0]), call.option(1, "dim", "axis")
    rank = len(output.seen) + 1
    axes = axes if isinstance(axes, (tuple, list)) else (axes,)
    axes = {axis % rank for axis in axes if axis is not None}
    channels, height, width = output.shape
    if rank > 2 and output.seen[0] == channels and axes == set(range(2, rank)):
        pool = AdaptiveAvgPool2d()
    elif output.seen == output.shape and axes in ({2}, {3}):
        pool = AvgPool2d((height, 1) if axes == {2} else (1, width))
    else:
        raise ValueError("mean() is supported over height and width only, as in dim=(2, 3); "
                         f"{INSTEAD}")
    pooled = steps.add(pool, call.names, output._replace(refusal=None, seen=output.shape))
    seen = tuple(call.answer.shape[1:])
    if len(seen) == 1:
        return steps.add(Flatten(), call.names, pooled)
    return viewed(pooled, seen, call.names[0])


# branches and constants

def _joined(call, steps):
    """Branches one behind the other, along the channels."""
    outputs = [output_of(part) for part in call.option(0, "tensors")]
    axis = call.option(1, "dim", "axis") or 0
    if None in outputs:
        raise TypeError("it takes something that is no layer's output")
    if axis % (len(outputs[0].seen) + 1) != 1:
        raise ValueError(f"{call.name} along axis {axis} is not supported, only 1")
    return steps.add(Concat(), call.names, *outputs) if len(outputs) > 1 else outputs[0]


def _added(call, steps, sign=1, swapped=False):
    """left ± right, constants or branches; right is multiplied by `alpha` first."""
    left, right = call.args[0], call.option(1, "other")
    left, right = (right, left) if swapped else (left, right)
    alpha = call.option(2, "alpha")
    factor = float(sign if alpha is None else sign * alpha)
    first, second = output_of(left), output_of(right)
    if not first:
        return _affine(call, steps, right, factor, constant_of(left, second))
    if not second:
        return _affine(call, steps, left, 1.0, factor * constant_of(right, first))
    if first.seen != second.seen:
        raise ValueError(f"{call.name}() takes branches of one shape; got "
                         f"{shape_said(first.seen)} and {shape_said(second.seen)}")
    return steps.add(Add(), call.names, first, _affine(call, steps, right, factor, 0.0))


def _subtracted(call, steps):
    return _added(call, steps, sign=-1)


def _subtracted_from(call, steps):
    return _added(call, steps, sign=-1, swapped=True)


def _multiplied(call, steps):
    """left · right, one of them a constant."""
    left, right = call.args[0], call.option(1, "other")
    first, second = output_of(left), output_of(right)
    if first and second:
        raise TypeError(f"{call.name}() of two branches {UNKNOWN}")
    tensor, constant = (left, right) if first else (right, left)
    return _affine(call, steps, tensor, constant_of(constant, first or second), 0.0)


def _divided(call, steps):
    """left / right, which is a constant."""
    left, right = call.args[0], call.option(1, "other")
    if output_of(right) or call.name.startswith("r") or call.kwargs.get("rounding_mode"):
        raise TypeError(f"{call.name}() by what the network computes, or rounded, {UNKNOWN}")
    with np.errstate(divide="ignore"):
        return _affine(call, steps, left, 1 / constant_of(right, output_of(left)), 0.0)


def _negative(call, steps):
    return _affine(call, steps, call.args[0], -1.0, 0.0)


def _affine(call, steps, tensor, weight, bias):
    """weight · tensor + bias; behind other constants one layer does both."""
    output = output_of(tensor)
    if call.answer.shape != tensor.shape:
        raise ValueError("a constant that makes the values more is not supported")
    if np.all(weight == 1) and not np.any(bias):
        return output
    own = output._replace(refusal=None)
    if output.step != INPUT and type(steps.steps[output.step].layer) is Affine:
        before, _, (source,) = steps.steps[output.step]
        old_weight, old_bias = (one if one.ndim != 1 else one[:, None, None]
                                for one in before.parameters.values())
        weight, bias, own = weight * old_weight, weight * old_bias + bias, own._replace(step=source)
    layer = Affine(*(_simplest(np.broadcast_to(one, output.shape)) for one in (weight, bias)))
    return steps.add(layer, call.names, own)._replace(seen=output.seen, refusal=output.refusal)


def _simplest(constant):
    """(c, y, x) as one for each channel, or one number, where that is the same."""
    if (constant != constant[:, :1, :1]).any():
        return constant
    constant = constant[:, 0, 0]
    return constant[0] if (constant == constant[0]).all() else constant


def _log_softmax(call, steps):
    """The logarithm of the softmax: what enters it are the logits, so no layer stands for it."""
    output = output_of(call.args[0])
    if output.refusal:
        raise output.refusal
    axis = call.option(1, "dim")
    if axis is not None and axis % (len(output.seen) + 1) != 1:  # torch's own choice is 1
        raise ValueError(f"log_softmax() along axis {axis} is not supported, only 1")
    return output._replace(log=True, refusal=ValueError(
        f"layer {call.names[0]!r}: log_softmax is supported at the end only"))


# layers without a module

def _with_weights(call, steps):
    """linear() and conv2d(), whose weights are constants, and x @ weight."""
    import torch
    weight, bias = call.option(1, "weight", "other", "mat2"), call.option(2, "bias")
    if output_of(weight) or output_of(bias) or call.name in PRODUCTS and weight.dim() != 2:
        raise TypeError(f"{call.name}() of two branches {UNKNOWN}")
    weight = weight.T if call.name in PRODUCTS else weight
    out, into, *kernel = weight.shape
    options = {}
    if call.name == "conv2d":
        names = ("stride", "padding", "dilation", "groups")
        options = dict(zip(names, call.args[3:])) | call.kwargs
        options = {"kernel_size": tuple(kernel)} | {key: options[key] for key in names
                                                    if key in options}
        into *= options.get("groups", 1)
    kind = torch.nn.Conv2d if call.name == "conv2d" else torch.nn.Linear
    module = torch.nn.utils.skip_init(kind, into, out, bias=bias is not None, **options)
    own = {key: tensor.float() if (tensor.float() == tensor).all() else tensor
           for key, tensor in (("weight", weight), ("bias", bias)) if tensor is not None}
    output = output_of(call.args[0])
    return steps.add(layer_of(module, output.flat, own), call.names, output)


def _clamped(call, steps):
    """clamp(min=0) is a ReLU, clamp(low, high) a Hardtanh."""
    low, high = call.option(1, "min"), call.option(2, "max")
    numbers = [isinstance(one, (int, float)) for one in (low, high)]
    if numbers != [True, True] and (numbers[0], low, high) != (True, 0, None):
        raise TypeError(f"{call.name}() with such bounds {UNKNOWN}")
    layer = ReLU() if high is None else Hardtanh(low, high)
    return steps.add(layer, call.names, output_of(call.args[0]))


def _same(call, steps):
    return output_of(call.args[0])


SHAPES = ("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "view_as",
          "reshape_as", "ravel", "getitem")
PRODUCTS = ("matmul", "mm")


def _by_name(*operations):
    return {name: operation for names, operation in operations for name in names}


OF_ONE = _by_name(
    (("clone", "contiguous", "detach", "data", "requires_grad"), _same), (SHAPES, _reshaped),
    (("repeat", "expand", "expand_as"), _repeated), (("mean",), _mean),
    (("log_softmax",), _log_softmax), (("neg", "negative"), _negative),
    (("linear", "conv2d", *PRODUCTS), _with_weights), (("clamp", "clamp_min"), _clamped))
OF_SEVERAL = _by_name(
    (("cat", "concat", "concatenate"), _joined), (("add", "iadd", "radd"), _added),
    (("sub", "subtract", "isub"), _subtracted), (("rsub",), _subtracted_from),
    (("mul", "multiply", "imul", "rmul"), _multiplied),
    (("div", "divide", "true_divide", "truediv", "idiv", "itruediv", "rdiv", "rtruediv"),
     _divided))
