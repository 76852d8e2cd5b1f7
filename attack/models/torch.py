"""A PyTorch module as a model that can be attacked.

In: a `torch.nn.Module`. Out: `logits`, `forward_derivative`, `backward_derivative` and `vjp` as in
`model`; the derivatives are torch's own (`torch.func`). torch is imported when a model is made.
Read on in `models.jax`.
"""
import numpy as np

from attack.model import ModelError
from attack.models.answers import (
    Answering,
    as_precise_as,
    checked_logits,
    precision_of,
)

CHUNK = 1 << 22  # numbers of a derivative that are worked on at once


class TorchModel(Answering):
    """A `torch.nn.Module` (B, …) → (B, N), run where its parameters are and in their precision.

    The Jacobian is taken in reverse (`jacrev`): it is the same, and torch's forward mode costs a
    run a pixel. The module must be in evaluation mode: dropout and batch statistics would make one
    sample depend on chance or on others; on the first use it is asked again to see that none does.

    Args:
        module: the module.
        outputs: what it answers with: "logits"; or "probabilities", whose logits are their
            logarithms. Where they round to 0 or 1 no derivative is left: logits are better.
        output_activation: "sigmoid" where each class has a probability by itself.

    Raises:
        TypeError: no module.
        ValueError: one that is training, that normalises by the statistics of the batch, is random,
            or answers with something else.
    """

    def __init__(self, module, outputs="logits", output_activation="softmax"):
        import torch
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}")
        super().__init__(
            outputs, output_activation,
            "call module.eval(), and take other random parts out or fix their seed",
            "call module.eval(), and let its batch normalisation keep running statistics")
        _check_mode(module)
        self.module = module

    def logits(self, x):
        """x (B, …) → (B, N)."""
        import torch
        self._check_first_use(x)
        with torch.no_grad():
            return checked_logits("TorchModel", _array(self._logits(self._tensor(x))), x)

    def forward_derivative(self, x):
        """x (B, …) → (B, N, M), so many samples at a time that they make at most `CHUNK`
        numbers."""
        import torch
        self._check_first_use(x)
        jacobian_of = torch.func.vmap(torch.func.jacrev(lambda one: self._logits(one[None])[0]))
        classes = self.logits(x[:1]).shape[1]
        size = int(np.prod(x.shape[1:]))
        jacobian = np.empty((len(x), classes, size), precision_of(x))
        count = max(1, CHUNK // (classes * size))
        for start in range(0, len(x), count):
            rows = slice(start, start + count)
            part = jacobian_of(self._tensor(x[rows]))  # (b, N, …)
            jacobian[rows] = _array(part.reshape(len(part), classes, size))
        return jacobian

    def vjp(self, x):
        """One way forward: x → ((B, N), pull), pull(v (B, K, N)) → (B, K, M)."""
        import torch
        self._check_first_use(x)
        logits, back = torch.func.vjp(self._logits, self._tensor(x))

        def pull(v):
            """v (B, K, N) → (B, K, M), all K at once."""
            v = torch.as_tensor(np.moveaxis(np.asarray(v), 1, 0).copy()).to(logits)  # (K, B, N)
            (gradients,) = torch.func.vmap(back)(v)                                  # (K, B, …)
            gradients = _array(gradients.reshape(*gradients.shape[:2], -1))
            return np.moveaxis(as_precise_as(x, gradients), 1, 0)

        return checked_logits("TorchModel", _array(logits), x), pull

    def _check_first_use(self, x):
        self.check_first_use(lambda few: _array(self._answer(self._tensor(few))), x,
                             self._like().dtype.itemsize)

    def _logits(self, tensor):
        """The logits; probabilities are made into some."""
        import torch
        return self.as_logits(torch, self._answer(tensor))

    def _answer(self, tensor):
        """The module's answer, of at least float32; its parameters get no gradients."""
        import torch
        tensors = (*self.module.named_parameters(), *self.module.named_buffers())
        constants = {name: value.detach() for name, value in tensors}
        answer = torch.func.functional_call(self.module, constants, (tensor,))
        if not isinstance(answer, torch.Tensor):
            raise ModelError("TorchModel: module must answer with one tensor of logits; got "
                             f"{type(answer).__name__}: wrap it in a module that picks them out")
        return _widened(answer)

    def _like(self):
        """A tensor of the module's precision, where it is."""
        import torch
        parameters = (value for value in self.module.parameters() if value.is_floating_point())
        return next(parameters, torch.zeros(()))

    def _tensor(self, x):
        import torch
        like = self._like()
        return torch.as_tensor(np.array(x)).to(device=like.device, dtype=like.dtype)


def _widened(tensor):
    """In float32 where it is in half precision."""
    import torch
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _array(tensor):
    return _widened(tensor).detach().cpu().numpy()


def _check_mode(module):
    """ValueError for a module whose layers say that they are training, or use the batch."""
    import torch
    norms = torch.nn.modules.batchnorm
    parts = list(module.modules())
    kinds = torch.nn.modules.dropout._DropoutNd, norms._NormBase
    if any(part.training for part in parts if isinstance(part, kinds)):
        raise ValueError("module is training: dropout and batch statistics change its answers; "
                         "call module.eval()")
    if any(isinstance(part, norms._BatchNorm) and part.running_mean is None for part in parts):
        raise ValueError("module depends on the other samples of the batch: its batch normalisation"
                         " has no running statistics; train it with track_running_stats=True")
