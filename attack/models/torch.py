"""A PyTorch module as a model that can be attacked.

In: a `torch.nn.Module`. Out: `logits`, `forward_derivative`, `backward_derivative` and `vjp` as in
`model`; the derivatives are torch's own (`torch.func`). torch is imported when a model is made.
Read on in `models.jax`.
"""
import numpy as np

from attack.models.answers import as_precise_as, checked_logits, precision_of

CHUNK = 1 << 22  # numbers of a derivative that are worked on at once


class TorchModel:
    """A `torch.nn.Module` (B, …) → (B, N), run where its parameters are and in their precision.

    The Jacobian is taken in reverse (`jacrev`): it is the same, and torch's forward mode costs a
    run a pixel. The module must be in evaluation mode: dropout and batch statistics would make one
    sample depend on chance or on others. TypeError for what is no module; ValueError for one that
    is training, or answers in another shape.
    """

    def __init__(self, module):
        import torch
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}")
        kinds = _kinds_that_differ_in_training(torch)
        if any(part.training for part in module.modules() if isinstance(part, kinds)):
            raise ValueError("module is training: dropout and batch statistics change its answers; "
                             "call module.eval()")
        self.module = module

    def logits(self, x):
        """x (B, …) → (B, N)."""
        import torch
        with torch.no_grad():
            return checked_logits("TorchModel", self._answer(self._tensor(x)).cpu().numpy(), x)

    def forward_derivative(self, x):
        """x (B, …) → (B, N, M), so many samples at a time that they make at most `CHUNK`
        numbers."""
        import torch
        jacobian_of = torch.func.vmap(torch.func.jacrev(lambda one: self._answer(one[None])[0]))
        classes = self.logits(x[:1]).shape[1]
        size = int(np.prod(x.shape[1:]))
        jacobian = np.empty((len(x), classes, size), precision_of(x))
        count = max(1, CHUNK // (classes * size))
        for start in range(0, len(x), count):
            rows = slice(start, start + count)
            part = jacobian_of(self._tensor(x[rows]))  # (b, N, …)
            jacobian[rows] = part.detach().reshape(len(part), classes, size).cpu().numpy()
        return jacobian

    def backward_derivative(self, x, cotangents):
        """x (B, …), cotangents (B, K, N) → (B, K, M)."""
        return self.vjp(x)[1](cotangents)

    def vjp(self, x):
        """One way forward: x → ((B, N), pull), pull(v (B, K, N)) → (B, K, M)."""
        import torch
        logits, back = torch.func.vjp(self._answer, self._tensor(x))

        def pull(v):
            """v (B, K, N) → (B, K, M), all K at once."""
            v = torch.as_tensor(np.moveaxis(np.asarray(v), 1, 0).copy()).to(logits)  # (K, B, N)
            (gradients,) = torch.func.vmap(back)(v)                                  # (K, B, …)
            gradients = gradients.reshape(*gradients.shape[:2], -1).cpu().numpy()
            return np.moveaxis(as_precise_as(x, gradients), 1, 0)

        return checked_logits("TorchModel", logits.detach().cpu().numpy(), x), pull

    def _answer(self, tensor):
        """The module's answer; its parameters get no gradients."""
        import torch
        tensors = (*self.module.named_parameters(), *self.module.named_buffers())
        constants = {name: value.detach() for name, value in tensors}
        return torch.func.functional_call(self.module, constants, (tensor,))

    def _tensor(self, x):
        import torch
        parameters = (value for value in self.module.parameters() if value.is_floating_point())
        like = next(parameters, torch.zeros(()))
        return torch.as_tensor(np.array(x)).to(device=like.device, dtype=like.dtype)


def _kinds_that_differ_in_training(torch):
    return torch.nn.modules.dropout._DropoutNd, torch.nn.modules.batchnorm._NormBase
