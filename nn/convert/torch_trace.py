"""A PyTorch module taken apart: which layers run on what, seen while it runs on numbers.

In: a module and its input. Out: our layers, by name, and which takes whose output. A tensor that
depends on the input is marked with its `Output`; any other is a constant. What has no row in
`convert.table` and is no operation of `convert.torch_operations` is refused by name, where the
answer depends on it. Read on in `convert.torch_output`.
"""
from typing import Any, NamedTuple

from nn.convert.torch_operations import MARK, OF_ONE, OF_SEVERAL, SHAPES, Call, output_of
from nn.convert.torch_output import Output, Steps, free_name, shape_said
from nn.convert.torch_read import INSTEAD, UNKNOWN, layer_of, module_of
from nn.convert.torch_run import run_watched

SIZES = {"size", "shape", "dim", "ndim", "ndimension", "numel", "nelement", "stride", "dtype",
         "device", "layout", "is_floating_point", "is_complex", "is_contiguous", "is_cuda",
         "is_sparse", "is_quantized", "get_device", "requires_grad", "__len__", "__repr__",
         "__format__", "__hash__", "zeros_like", "ones_like", "full_like", "new_tensor",
         "new_zeros", "new_ones", "new_full"}  # what depends on the input's shape and type alone
VALUES = {"__bool__", "__float__", "__int__", "__index__", "__array__", "__contains__", "item",
          "tolist", "numpy", "equal", "allclose"}
CASTS = {"to", "float", "double", "half", "bfloat16", "cpu", "cuda", "type", "type_as"}
LIKE = {"to", "type_as", "expand_as", "view_as", "reshape_as"}  # of a constant: another constant


class ModuleParts(NamedTuple):
    """What a module is made of: {name: layer}, {name: names it takes}, the shape of its input; its
    answer, and whether that is the logarithm of probabilities."""
    layers: dict
    inputs: dict
    input_shape: tuple
    answer: Any
    log: bool


def traced(module, x, output=None):
    """Run `module` on x (B, …), float64, and see what it is made of: `ModuleParts`.

    `output` says which of several answers is meant. TypeError or ValueError in one line.
    """
    import torch
    recording = _Recording(module, x.shape[1:])
    tensor = torch.from_numpy(x.copy())
    setattr(tensor, MARK, recording.steps.image())
    try:
        answer = run_watched(module, tensor, recording)
    except Exception as error:
        if recording.refusals:
            raise (error if error in recording.refusals else recording.refusals[0]) from None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"module does not run on float64 input of shape {x.shape}: {reason}"
        raise ValueError(message) from error
    return recording.end(_one_of(answer, output))


def _one_of(answer, output):
    """The tensor of a module's answer that `output` names."""
    import torch
    if output is not None:
        try:
            answer = answer[output]
        except (LookupError, TypeError):
            message = f"output={output!r} is not in the {type(answer).__name__} that module returns"
            raise ValueError(message) from None
    if isinstance(answer, torch.Tensor):
        return answer
    marks = _outputs_in(answer if isinstance(answer, (tuple, list)) else ())
    if marks and all(mark.refusal for mark in marks):
        raise marks[0].refusal
    several, kind = "", type(answer).__name__
    if isinstance(answer, (tuple, list)) and answer:
        several = f" of {len(answer)}; say which with output=0 … output={len(answer) - 1}"
    elif isinstance(answer, dict) and answer:
        several = f"; say which with {' or '.join(f'output={name!r}' for name in answer)}"
    raise TypeError(f"module must return a tensor; got {kind}{several}")


class _Recording:
    """What is seen of a module while it runs (the watcher of `torch_run`).

    `running` are the modules that it is in, each with what its answer will be where it is a layer.
    """

    def __init__(self, module, input_shape):
        self.steps = Steps(tuple(input_shape))
        self.refusals = []
        self.running = []
        self.paths = {}
        for path, child in module.named_modules(remove_duplicate=False):
            self.paths.setdefault(child, []).append(path or type(child).__name__.lower())
        self.weights = {part: {**dict(part.named_parameters(recurse=False)),
                               **dict(part.named_buffers(recurse=False))}
                        for part in module.modules()}  # while it runs they are others, in float64

    def entered(self, module, args, kwargs):
        """A module that is a layer is read before it runs, so that what does not fit is ours."""
        output = None
        sources = _outputs_in((*args, *kwargs.values()))
        if sources and _is_layer(module) and not self._in_layer():
            names = tuple(self.paths[module])
            output = self._read(names, sources, self._layer, module, names, sources)
        self.running.append((module, output))

    def left(self, answer):
        """Its answer is marked."""
        module, output = self.running.pop()
        if output:
            self._mark(answer, output, tuple(self.paths[module]))

    def called(self, function, args, kwargs):
        """A function runs, and its answer is marked where it depends on the input."""
        name = getattr(function, "__name__", str(function))
        name = function.__self__.__name__ if name == "__get__" else name
        sources = _outputs_in((*args, *kwargs.values()))
        if not sources or name in SIZES or self._in_layer():
            return function(*args, **kwargs)
        if name in VALUES:
            raise self._refused(ValueError(
                "module cannot be followed layer by layer: what forward() does depends on the "
                f"values of its input ({name.strip('_')}); {INSTEAD}"))
        args = _on_the_cpu(args)
        answer = function(*args, **_on_the_cpu(kwargs))
        if name in LIKE and not output_of(args[0]):
            return answer
        if name in CASTS and answer.is_floating_point():
            return args[0]
        if "input" in kwargs:
            kwargs = dict(kwargs)
            args = (kwargs.pop("input"), *args)
        names = self._names(name.strip("_"))
        call = Call(name.strip("_"), args, kwargs, answer, names)
        output = self._read(names, sources, self._function, call, sources)
        return self._mark(answer, output, names)

    def end(self, answer):
        """Everything, once the module has returned."""
        output = output_of(answer)
        if output is None:
            raise ValueError("module returns a tensor that does not depend on its input")
        if output.refusal and not output.log:
            raise output.refusal
        layers, inputs = self.steps.leading_to(output.step)
        return ModuleParts(layers, inputs, self.steps.input_shape, answer.detach().cpu().numpy(),
                           output.log)

    def _in_layer(self):
        return any(output for _, output in self.running)

    def _names(self, function):
        """What a layer for a function may be called: the path of the module without children that
        calls it, or what it is."""
        module = self.running[-1][0]
        if len(self.running) == 1 or list(module.children()):
            return (function,)
        *paths, last = self.paths[module]
        return (*paths, last, f"{last}_{function}")

    def _read(self, names, sources, read, *args):
        """The `Output` that `read` gives; where it refuses, one that says so of what depends on
        it."""
        try:
            for source in sources:
                if source.step is None:
                    raise source.refusal
            return read(*args)
        except (TypeError, ValueError) as error:
            if not str(error).startswith(("layer ", "module ")):
                name = free_name(names, self.steps.names)
                error = type(error)(f"layer {name!r}: {error}")
            return Output(None, (), (), self._refused(error))

    def _refused(self, error):
        self.refusals.append(error)
        return error

    def _layer(self, module, names, sources):
        layer = layer_of(module, sources[0].flat, self.weights.get(module, {}))
        if len(sources) > 1:
            raise TypeError(f"{type(module).__name__} with several inputs {INSTEAD}")
        return self.steps.add(layer, names, sources[0])

    def _function(self, call, sources):
        if call.name not in SHAPES:
            for source in sources:
                if source.log:
                    raise source.refusal
        if call.name in OF_SEVERAL:
            return OF_SEVERAL[call.name](call, self.steps)
        if not call.args or output_of(call.args[0]) is None:
            raise TypeError(f"{call.name}() {UNKNOWN}")
        if call.name in OF_ONE:
            return OF_ONE[call.name](call, self.steps)
        module = module_of(call.name, call.args, call.kwargs)
        return self._layer(module, call.names, sources)

    def _mark(self, answer, output, names):
        """The answer, its tensors marked; where it has none, a refusal is raised at once."""
        import torch
        tensors = [one for one in (answer if isinstance(answer, (tuple, list)) else (answer,))
                   if isinstance(one, torch.Tensor)]
        if not tensors and output.refusal:
            raise output.refusal
        if output.step is not None and (tuple(tensors[0].shape[1:]) or (1,)) != output.seen:
            output = Output(None, (), (), self._refused(ValueError(
                f"layer {names[0]!r}: torch makes the shape {tuple(tensors[0].shape)}, our layer "
                f"{shape_said(output.seen)}")))
        for tensor in tensors:
            setattr(tensor, MARK, output)
        return answer


def _is_layer(module):
    """Is it one of torch's own layers? Containers and modules of the user's are looked into, and
    those that only call a function which `torch_operations` knows."""
    from torch import nn
    containers = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList,
                  nn.ParameterDict, nn.Flatten, nn.Unflatten, nn.LogSoftmax)
    own = {kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn.modules")}
    return not own <= set(containers)


def _on_the_cpu(values):
    """Constants that are on another device, from where they meet the input; in any container."""
    import torch
    if isinstance(values, dict):
        return {name: _on_the_cpu(value) for name, value in values.items()}
    if type(values) in (list, tuple):
        return type(values)(map(_on_the_cpu, values))
    elsewhere = isinstance(values, torch.Tensor) and values.device.type != "cpu"
    return values.cpu() if elsewhere else values


def _outputs_in(values):
    """The marks of all tensors among the values, lists and tuples looked into."""
    outputs = []
    for value in values:
        if isinstance(value, (list, tuple)):
            outputs += _outputs_in(value)
        elif output := output_of(value):
            outputs.append(output)
    return outputs
