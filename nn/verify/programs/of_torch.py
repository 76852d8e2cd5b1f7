"""A derivative written by hand for torch: a `torch.autograd.Function`, a module that uses one, a
backward hook. `check_torch` asks whether it is right.

In: the function or module, its inputs. Out: a `FunctionReport` that names the argument or
parameter. A module is copied, and its buffers are new at every call. Read on in
`verify.programs.torch_alone`.
"""
import inspect
import re
from contextlib import contextmanager
from copy import deepcopy
from functools import partial

import numpy as np

from nn.verify.frameworks import needs
from nn.verify.functions.backward import by_name
from nn.verify.programs.program import NoOwnDerivative, WrittenCode, WrongShape, check_written
from nn.verify.programs.torch_alone import (
    by_torch_alone,
    calls_hand_written,
    takes_ctx,
    without_hooks,
)

REFUSED = re.compile(r"returned an invalid gradient at index (\d+) - got \[([\d, ]*)\]")


def check_torch(function_or_module, inputs, *, tolerance=None, seed=0):
    """Hold a backward step that is written by hand for torch against differences, and against
    torch's own derivative of the forward step where torch can differentiate that.

    Args:
        function_or_module: a subclass of `torch.autograd.Function` or its `apply`, a module, or a
            function of tensors. A module is copied; its parameters are checked too.
        inputs: a list of its arguments, or a dict by name, or one tensor. Differentiated for are
            all tensors and arrays of real floating-point numbers; if some of them require a
            gradient, those only.
        tolerance: the largest allowed error relative to the largest entry (default: 1e-7 of each
            entry, 1e-3 for code that takes float32 only, and what rounding can do).
        seed: of the cotangent and the random directions.

    Returns:
        A `FunctionReport`, true only if all gradients are right. At a kink every claim between the
        slopes of the two sides is right. Where the values are random, as of a module with dropout
        in training, the verdict is "not judged".

    Raises:
        MissingReferee: torch is not installed (an ImportError).
        TypeError: it cannot be called.
        ValueError: there is nothing to differentiate for, or no output of floating-point numbers.
    """
    with needs("torch"):
        import torch
    if not callable(function_or_module):
        raise TypeError("function_or_module must be a torch.autograd.Function, a module or a "
                        f"function; got {type(function_or_module).__name__}")
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), _one_thread(torch):
        return check_written(partial(_TorchCode, torch, function_or_module, inputs), tolerance,
                             seed)


class _TorchCode(WrittenCode):
    """A function or module of torch, called with NumPy arrays."""
    program = "torch"

    def __init__(self, torch, function, inputs, double):
        """Arguments as of `check_torch`, and whether all is done in float64."""
        self.torch, self.double = torch, double
        self.module, self.function, self.by_keyword = None, function, isinstance(inputs, dict)
        self.written = _class_of(torch, function)
        if isinstance(function, torch.nn.Module):
            self.module = deepcopy(function).double() if double else deepcopy(function)
            arguments = by_name(function.forward, inputs)
        elif self.written:
            self.function, self.by_keyword = self._apply, False
            arguments = _in_order(self.written, inputs)
        else:
            arguments = by_name(function, inputs)
        self.arguments = list(arguments)
        self.values = {name: self._tensor(value) for name, value in arguments.items()}
        self.wanted = self._wanted(arguments)
        self.parameters = self._parameters()
        self.inputs = {name: self._array(name, value) for name, value in self.values.items()}
        self.notes = []
        self.chosen = None  # the numbers of the outputs that are differentiated

    def _apply(self, *arguments):
        return self.written.apply(*arguments)

    def _wanted(self, arguments):
        """The names of what is differentiated for."""
        wanted = [name for name, value in self.values.items()
                  if isinstance(value, self.torch.Tensor) and value.is_floating_point()]
        return [name for name in wanted
                if getattr(arguments[name], "requires_grad", False)] or wanted

    def _parameters(self):
        """{name in the report: name in the module} of its parameters; they are wanted too."""
        parameters = {}
        for name, parameter in (self.module.named_parameters() if self.module else ()):
            if parameter.requires_grad and parameter.is_floating_point():
                shown = f"parameter {name}" if name in self.arguments else name
                parameters[shown] = name
                self.values[shown] = parameter.detach().clone()
                self.wanted.append(shown)
        return parameters

    def _tensor(self, value):
        """A copy of a tensor or array, in float64 if all is; another value as it is."""
        if not isinstance(value, (np.ndarray, self.torch.Tensor)):
            return value
        tensor = self.torch.as_tensor(value).detach().clone()
        if not tensor.is_floating_point():
            return tensor
        if self.double:
            return tensor.double()
        plain = isinstance(value, np.ndarray)
        return tensor.to(self.torch.get_default_dtype()) if plain else tensor

    def _array(self, name, value):
        """A value as `check_backward` takes it: what is no array is not differentiated for."""
        if not isinstance(value, self.torch.Tensor):
            return value
        fixed = value.is_floating_point() or value.is_complex()
        return value.cpu().numpy().copy() if name in self.wanted or not fixed else value

    def forward(self, *values):
        """([outputs …], (the tensors to differentiate for, outputs)) at NumPy arrays."""
        arrays = dict(zip(self.values, values))
        leaves = {name: self._leaf(name, arrays[name]) for name in self.wanted}
        passed = self._passed(leaves)
        outs = self._outputs(self._call(passed))
        for name in self.wanted:
            if passed[name]._version:  # written to in place
                arrays[name][...] = passed[name].detach().cpu().numpy()
        return (*map(_numbers, outs), (leaves, outs))

    def backward(self, *douts_and_cache):
        """The gradients that backward() gives."""
        *douts, (leaves, outs) = douts_and_cache
        try:
            return list(map(_numbers, self._gradients(outs, douts, leaves)))
        except RuntimeError as error:
            refused = REFUSED.search(str(error)) if self.written else None
            if not refused:
                raise
            shape = tuple(map(int, filter(None, refused[2].split(","))))
            raise WrongShape(self.arguments[int(refused[1])], shape) from error

    def own(self, douts):
        """The gradients by torch alone."""
        leaves = {name: self._leaf(name, self.inputs[name]) for name in self.wanted}
        module, hooks = without_hooks(self.module)
        with by_torch_alone(self.torch) as removed:
            outs = self._outputs(self._call(self._passed(leaves), module))
        if not removed and not hooks:
            raise NoOwnDerivative("nothing in it is differentiated by hand")
        if calls_hand_written(self.torch, outs):
            raise NoOwnDerivative("it calls a hand-written backward step that cannot be taken off")
        slopes = dict(zip(leaves, map(_numbers, self._gradients(outs, douts, leaves))))
        if all(slope is None for slope in slopes.values()):
            raise NoOwnDerivative("torch cannot differentiate the forward step")
        return list(map(_numbers, outs)), {name: slope for name, slope in slopes.items()
                                           if slope is not None}

    def _leaf(self, name, value):
        """An array as a tensor that requires a gradient."""
        like = self.values[name]
        dtype = self.torch.complex128 if np.iscomplexobj(value) and self.double else like.dtype
        return self.torch.tensor(value, dtype=dtype, device=like.device).requires_grad_()

    def _passed(self, leaves):
        """All values that the code is called with: copies, so that it may write to them."""
        return {name: leaves[name].clone() if name in leaves else
                value.clone() if isinstance(value, self.torch.Tensor) else value
                for name, value in self.values.items()}

    def _call(self, values, module=None):
        """What the code returns."""
        arguments = {name: values[name] for name in self.arguments}
        args, named = ((), arguments) if self.by_keyword else (tuple(arguments.values()), {})
        if self.module is None:
            return self.function(*args, **named)
        state = {inner: values[shown] for shown, inner in self.parameters.items()}
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        return self.torch.func.functional_call(module or self.module, {**state, **buffers}, args,
                                               named)

    def _outputs(self, result):
        """The tensors of floating-point numbers in `result`; if some of them require a gradient,
        those only, and always the same."""
        outs = [each for each in _tensors(self.torch, result)
                if each.is_floating_point() or each.is_complex()]
        if self.chosen is None:
            some = [number for number, out in enumerate(outs) if out.requires_grad]
            self.chosen = some or list(range(len(outs)))
            self.notes = [f"output {number} requires no gradient: it is left out"
                          for number in range(len(outs)) if number not in self.chosen]
        if not outs:
            raise ValueError("the function must return tensors of floating-point numbers")
        outs = [outs[number] for number in self.chosen]
        for out in outs:
            if out.dtype.itemsize < 4:
                raise ValueError("only float64 and float32 can be checked; the function computes "
                                 f"in {out.dtype}")
        return outs

    def _gradients(self, outs, douts, leaves):
        """The gradient of Σ dout · out, or None, for each leaf."""
        pairs = [(out, self.torch.as_tensor(dout).to(out)) for out, dout in zip(outs, douts)
                 if out.requires_grad]
        if not pairs:
            return [None] * len(leaves)
        outs, douts = zip(*pairs)
        return self.torch.autograd.grad(outs, list(leaves.values()), douts, allow_unused=True)


@contextmanager
def _one_thread(torch):
    """Thousands of small calls: several threads would wait for each other in each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _class_of(torch, function):
    """The `torch.autograd.Function` that is meant by itself or by its `apply`, or None."""
    function = getattr(function, "__self__", function)
    is_one = isinstance(function, type) and issubclass(function, torch.autograd.Function)
    return function if is_one else None


def _in_order(written, inputs):
    """{argument of the forward step: value}, in its order; without ctx."""
    forward = partial(written.forward, None) if takes_ctx(written) else written.forward
    if not isinstance(inputs, dict):
        return by_name(forward, inputs)
    bound = inspect.signature(forward).bind(**inputs)
    bound.apply_defaults()
    return dict(bound.arguments)


def _tensors(torch, result):
    """The tensors in nested tuples, lists and dicts, in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (tuple, list)):
        return [tensor for part in result for tensor in _tensors(torch, part)]
    return []


def _numbers(tensor):
    """A tensor as an array; None as None."""
    if tensor is None:
        return None
    tensor = tensor.detach().cpu()
    return (tensor.to_dense() if tensor.is_sparse else tensor).resolve_conj().numpy()
