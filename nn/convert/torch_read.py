"""What torch calls a layer, read as ours: a module, or a function with its options.

In: a module, or the name of a function and its arguments. Out: our layer with copies of the
weights. `convert.table` says which stands for which; all else is refused by name. PyTorch is
imported only when one of the functions is called. Read on in `convert.torch_run`.
"""
import numpy as np

from nn.convert.table import KNOWN, TABLE, option_of_module
from nn.convert.torch_output import shape_said

IGNORED = ("inplace", "_stacklevel", "dtype")  # options of functions that change no value
ROWS_BY_FUNCTION = {function: row for row in TABLE.values() for function in row.functions}
INSTEAD = "attack.TorchModel attacks the module as it is"
UNKNOWN = f"is none of {KNOWN}; {INSTEAD}"


def module_of(function, args, kwargs):
    """Torch's module for a function or method, whose first argument is the input."""
    from torch import nn
    options = list(args[1:])
    named = {key: value for key, value in kwargs.items() if key not in IGNORED}
    if "dropout" in function:
        training = options[1] if len(options) > 1 else named.get("training", True)
        if training:
            raise ValueError(f"{function}() is random with training=True; write "
                             "training=self.training and call module.eval()")
        return nn.Identity()
    row = ROWS_BY_FUNCTION.get(function)
    if row is None:
        raise TypeError(f"{function}() {UNKNOWN}")
    if not options:
        named = row.defaults | named
    try:
        return getattr(nn, row.layer.__name__)(*options, **named)
    except TypeError as error:
        raise TypeError(f"{function}() with other options than we know ({error})") from None


def layer_of(module, flat, weights):
    """Our layer for one of torch's modules, None for one that does nothing.

    `flat` says whether its input is (B, M); `weights` are the tensors {"weight": …} to copy.
    """
    from torch import nn
    kind = type(module)
    if kind is nn.Identity:
        return None
    row = next((row for row in TABLE.values()
                if any(getattr(nn, name, None) is kind for name in row.modules)), None)
    if row is None:
        raise TypeError(f"{kind.__name__} {UNKNOWN}")
    if row.refuse:
        row.refuse(module)
    only(module, row.only_flat if flat and row.only_flat else row.only)
    options = {option: option_of_module(module, option) for option in row.options}
    return _weighted(row.kind(flat)(**options), module, weights)


def only(module, allowed):
    """ValueError unless each option of `module` has one of the values allowed for it."""
    for option, values in allowed.items():
        value = getattr(module, option)
        if value not in values:
            wanted = " or ".join(map(repr, values))
            raise ValueError(f"{type(module).__name__} with {option}={value!r} is not supported, "
                             f"only {wanted}")


def _weighted(layer, module, weights):
    """`layer` with copies of the module's weights, in float32 or float64."""
    import torch
    for key in layer.parameters:
        tensor = weights[key] if key in weights else getattr(module, key)
        if tensor is None:
            continue
        tensor = tensor.detach().cpu()
        if tensor.dtype in (torch.float16, torch.bfloat16):
            tensor = tensor.float()
        if tensor.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{key} must be float32 or float64; got {tensor.dtype}")
        layer.parameters[key] = np.array(tensor.numpy(), order="C")
        if not np.isfinite(layer.parameters[key]).all():
            raise ValueError(f"{key} has NaN or infinite values")
    return layer


def constant_of(value, output):
    """A number or a tensor as what goes with each unit of `output`, (c, y, x).

    It is laid on torch's shape as torch does; one that differs between samples is refused.
    """
    import torch
    array = np.asarray(value.detach().cpu().double() if isinstance(value, torch.Tensor) else value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"a constant must hold real numbers; got {type(value).__name__}")
    array = array.astype(float)
    if array.ndim > len(output.seen):
        if (array != array[:1]).any():
            raise ValueError("a constant that differs between samples is not supported")
        array = array[0]
    try:
        return np.broadcast_to(array, output.seen).reshape(output.shape)
    except ValueError:
        raise ValueError(f"a constant of shape {tuple(np.shape(value))} does not fit values of "
                         f"shape {shape_said(output.seen)}") from None
