"""What torch makes of a forward step by itself, when all that is written by hand for its backward
step is left out.

In: torch; within the block `by_torch_alone` the function is called. Out: values that torch has
recorded, to be differentiated by torch. Read on in `verify.programs.of_jax`.
"""
import inspect
from contextlib import contextmanager
from copy import deepcopy


class _Context:
    """Stands for the ctx of a `torch.autograd.Function`, whose forward step saves there what its
    backward step needs."""

    def __init__(self, arguments):
        self.needs_input_grad = tuple(getattr(each, "requires_grad", False) for each in arguments)
        self.saved_tensors = ()

    def save_for_backward(self, *tensors):
        """As torch's."""
        self.saved_tensors = tensors

    def _ignore(self, *_):
        pass

    save_for_forward = mark_dirty = mark_non_differentiable = set_materialize_grads = _ignore


def takes_ctx(written):
    """Whether a Function's forward step takes ctx (the old style), not `setup_context`."""
    base = next(each for each in written.__mro__ if each.__module__ == "torch.autograd.function")
    return getattr(written, "setup_context", None) is getattr(base, "setup_context", None)


@contextmanager
def by_torch_alone(torch):
    """In this block `apply` of a Function calls its forward step only, and hooks of tensors are not
    registered; yields a list of what was left out."""
    tensor = torch.Tensor
    base = torch.autograd.Function.__mro__[1]  # an `apply` that was bound before asks it too
    removed = []

    def apply(written, *arguments, **named):
        """The forward step, recorded by torch."""
        removed.append(written.__name__)
        if takes_ctx(written):
            return written.forward(_Context(arguments), *arguments, **named)
        bound = inspect.signature(written.forward).bind(*arguments, **named)
        bound.apply_defaults()
        return written.forward(*bound.args, **bound.kwargs)

    def register_hook(_, hook):
        """No hook."""
        removed.append(getattr(hook, "__name__", "hook"))
        return torch.utils.hooks.RemovableHandle({})

    before = tensor.register_hook
    base.apply, tensor.register_hook = classmethod(apply), register_hook
    try:
        yield removed
    finally:
        del base.apply
        tensor.register_hook = before


def without_hooks(module):
    """A copy of `module` (None as None) without backward hooks, and how many there were."""
    if module is None:
        return None, 0
    copy, hooks = deepcopy(module), 0
    for part in copy.modules():
        for registered in (part._backward_hooks, part._backward_pre_hooks):
            hooks += len(registered)
            registered.clear()
    return copy, hooks


def calls_hand_written(torch, outs):
    """Whether a Function's backward step is still to be called from `outs`."""
    seen, waiting = set(), [out.grad_fn for out in outs]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return True
        seen.add(node)
        waiting += [onward for onward, _ in node.next_functions]
    return False
