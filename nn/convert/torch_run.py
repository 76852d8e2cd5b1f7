"""A PyTorch module, run once on numbers in float64 while somebody watches.

In: a module and its input. Out: its answer; on the way `watcher` sees each module that is entered
and left, and each function and method of torch that is called (`torch.overrides`), in their order.
Nothing of the module changes, and no random number of torch's is drawn. Read on in
`convert.sklearn`.
"""
import sys
from contextlib import ExitStack, contextmanager


def run_watched(module, x, watcher):
    """What `module` makes of the tensor x, with its weights in float64.

    `watcher` has entered(module, args, kwargs), left(answer) and called(function, args, kwargs),
    which calls the function and returns its answer.
    """
    import torch
    tensors = {name: tensor.detach().cpu().to(
                   torch.float64 if tensor.is_floating_point() else tensor.dtype, copy=True)
               for name, tensor in (*module.named_parameters(), *module.named_buffers())}
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.default_generator.manual_seed(len(x))
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            # what is compiled would hide its calls
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(_hooks(module, watcher))
        stack.enter_context(_mode(watcher))
        return torch.func.functional_call(module, tensors, (x,))


@contextmanager
def _hooks(module, watcher):
    import torch
    handles, devices = [], {}
    try:
        for part in module.modules():
            if isinstance(part, torch.nn.DataParallel):  # here it runs on the CPU
                devices[part], part.device_ids = part.device_ids, []
            handles.append(part.register_forward_pre_hook(watcher.entered, with_kwargs=True))
            handles.append(part.register_forward_hook(
                lambda part, args, answer: watcher.left(answer)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for part, ids in devices.items():
            part.device_ids = ids


def _mode(watcher):
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        """Hands each call to the watcher; what it calls itself is not seen."""

        def __torch_function__(self, func, types, args=(), kwargs=None):
            return watcher.called(func, args, kwargs or {})

    return Watch()


def unwrapped(module):
    """The module in a `DataParallel` or a compiled wrapper."""
    from torch import nn
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = module._orig_mod
        else:
            return module
