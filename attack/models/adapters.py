"""Models that are not ours, each as a model that can be attacked: a torch module, a JAX function, an ensemble.

In: somebody's classifier. Out: `logits`, `forward_derivative`, `backward_derivative` and `vjp` as in `model`; the
derivatives are the classifier's own (`torch.func`, `jax`). A scikit-learn estimator becomes a network with
`nn.from_sklearn`; a classifier of which only the answers are seen is `oracle`'s. torch and jax are imported when a model
of theirs is made. Read on in `models.oracle`.
"""
import numpy as np
from scipy.special import log_softmax, logsumexp

CHUNK = 1 << 22  # numbers of a derivative that are worked on at once


class TorchModel:
    """A `torch.nn.Module` (B, …) → (B, N), run where its parameters are and in their precision, by `torch.func`.

    The Jacobian is taken in reverse (`jacrev`): it is the same, and torch's forward mode costs a run a pixel. The module
    must be in evaluation mode: dropout and batch statistics would make one sample depend on chance or on others.
    TypeError for what is no module; ValueError for one that is training, or answers in another shape.
    """

    def __init__(self, module):
        import torch
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}")
        if any(part.training for part in module.modules() if isinstance(part, _random(torch))):
            raise ValueError("module is training: dropout and batch statistics change its answers; call module.eval()")
        self.module = module

    def logits(self, x):
        """x (B, …) → (B, N)."""
        import torch
        with torch.no_grad():
            return _checked("TorchModel", self._answer(self._tensor(x)).cpu().numpy(), x)

    def forward_derivative(self, x):
        """x (B, …) → (B, N, M)."""
        import torch
        answer = torch.func.jacrev(lambda one: self._answer(one[None])[0])
        return self._in_parts(torch.func.vmap(answer), x, self._classes(x))

    def backward_derivative(self, x, cotangents):
        """x (B, …), cotangents (B, K, N) → (B, K, M)."""
        return self.vjp(x)[1](cotangents)

    def vjp(self, x):
        """One way forward: x → ((B, N), pull), pull(v (B, K, N)) → (B, K, M)."""
        import torch
        logits, back = torch.func.vjp(self._answer, self._tensor(x))

        def pull(v):
            """v (B, K, N) → (B, K, M), all K at once."""
            v = torch.as_tensor(np.moveaxis(np.asarray(v), 1, 0).copy()).to(logits)
            (grad,) = torch.func.vmap(back)(v)
            return np.moveaxis(_like(grad.reshape(*grad.shape[:2], -1).cpu().numpy(), x), 1, 0)

        return _checked("TorchModel", logits.detach().cpu().numpy(), x), pull

    def _answer(self, tensor):
        """The module's answer; its parameters get no gradients."""
        import torch
        own = {name: value.detach() for name, value in (*self.module.named_parameters(), *self.module.named_buffers())}
        return torch.func.functional_call(self.module, own, (tensor,))

    def _tensor(self, x):
        import torch
        like = next((value for value in self.module.parameters() if value.is_floating_point()), torch.zeros(()))
        return torch.as_tensor(np.array(x)).to(device=like.device, dtype=like.dtype)

    def _classes(self, x):
        return self.logits(x[:1]).shape[1]

    def _in_parts(self, function, x, classes):
        """function(tensor (b, …)) → (b, N, …) for so many samples at a time that the result is at most `CHUNK` numbers."""
        size = int(np.prod(x.shape[1:]))
        found = np.empty((len(x), classes, size), _float(x))
        step = max(1, CHUNK // (classes * size))
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            part = function(self._tensor(x[rows]))
            found[rows] = part.detach().reshape(len(part), classes, size).cpu().numpy()
        return found


class JaxModel:
    """A function (B, …) → (B, N) that jax can trace, by `jax.vjp`; float64 input is computed in float64."""

    def __init__(self, function):
        import jax  # noqa: F401  so that a missing jax is told here
        if not callable(function):
            raise TypeError(f"function must be callable; got {type(function).__name__}")
        self.function = function

    def logits(self, x):
        """x (B, …) → (B, N)."""
        with _precise():
            return _checked("JaxModel", np.asarray(self.function(_plain(x))), x)

    def forward_derivative(self, x):
        """x (B, …) → (B, N, M)."""
        classes = self.logits(x[:1]).shape[1]
        return self.backward_derivative(x, np.broadcast_to(np.eye(classes), (len(x), classes, classes)))

    def backward_derivative(self, x, cotangents):
        """x (B, …), cotangents (B, K, N) → (B, K, M)."""
        return self.vjp(x)[1](cotangents)

    def vjp(self, x):
        """One way forward: x → ((B, N), pull), pull(v (B, K, N)) → (B, K, M)."""
        import jax
        with _precise():
            logits, back = jax.vjp(self.function, _plain(x))

        def pull(v):
            """v (B, K, N) → (B, K, M), all K at once."""
            with _precise():
                (grad,) = jax.vmap(back)(np.moveaxis(np.asarray(v), 1, 0).astype(logits.dtype))
                grad = np.moveaxis(np.asarray(grad).reshape(*grad.shape[:2], -1), 1, 0)
            return _like(grad, x)

        return _checked("JaxModel", np.asarray(logits), x), pull


class Ensemble:
    """Several models of the same classes as one: the mean of their logits, or (average="probabilities") the logits whose
    softmax is the mean of theirs, log Σ_k p_k / K. `backward_derivative` is there if all members have it.

    ValueError for no members, another `average`, or members that differ in their number of classes.
    """

    def __init__(self, models, average="logits"):
        self.models, self.average = list(models), average
        if not self.models:
            raise ValueError("models must name at least one model; got none")
        if average not in ("logits", "probabilities"):
            raise ValueError(f"average must be one of logits, probabilities; got {average!r}")
        if all(callable(getattr(model, "backward_derivative", None)) for model in self.models):
            self.backward_derivative = self._backward_derivative

    def logits(self, x):
        """x (B, …) → (B, N)."""
        return self._joined(self._members(x))

    def forward_derivative(self, x):
        """x (B, …) → (B, N, M): each member's Jacobian, weighted by how much its logits move the whole's."""
        share = self._shares(self._members(x))
        parts = (np.asarray(model.forward_derivative(x)) for model in self.models)
        return sum(np.matmul(part, jacobian) for part, jacobian in zip(np.moveaxis(share, 1, 0), parts))

    def _backward_derivative(self, x, cotangents):
        """x (B, …), cotangents (B, K, N) → (B, K, M)."""
        share = self._shares(self._members(x))
        return sum(np.asarray(model.backward_derivative(x, np.matmul(cotangents, part)))
                   for model, part in zip(self.models, np.moveaxis(share, 1, 0)))

    def _members(self, x):
        found = [np.asarray(model.logits(x)) for model in self.models]
        if len({logits.shape for logits in found}) > 1:
            raise ValueError(f"the models of an Ensemble must have the same classes; got {[z.shape[1] for z in found]}")
        return np.stack(found, axis=1)

    def _joined(self, logits):
        """Members' logits (B, K, N) → those of the whole (B, N)."""
        if self.average == "logits":
            return logits.mean(axis=1)
        return logsumexp(log_softmax(logits, axis=2), axis=1) - np.log(len(self.models)).astype(logits.dtype)

    def _shares(self, logits):
        """∂(the whole's logits)/∂(each member's): (B, K, N, N)."""
        same = np.eye(logits.shape[2], dtype=logits.dtype)
        if self.average == "logits":
            return np.broadcast_to(same / len(self.models), (*logits.shape[:2], *same.shape)).astype(logits.dtype)
        log_p = log_softmax(logits, axis=2)
        weight = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True))  # p_k / Σ p: which member says class j
        return weight[..., None] * (same - np.exp(log_p)[:, :, None])


def _random(torch):
    """The kinds of modules whose answer differs in training."""
    return (torch.nn.modules.dropout._DropoutNd, torch.nn.modules.batchnorm._NormBase)


def _precise():
    """A block in which jax computes in the precision it is given."""
    import jax
    try:
        return jax.enable_x64(True)
    except (AttributeError, TypeError):  # before jax 0.8
        from jax.experimental import enable_x64
        return enable_x64(True)


def _float(x):
    dtype = np.asarray(x).dtype
    return dtype if dtype in (np.float32, np.float64) else np.dtype(np.float32)


def _plain(x):
    return np.asarray(x, _float(x))


def _like(found, x):
    return found.astype(_float(x), copy=False)


def _checked(who, logits, x):
    """The answer to x in x's precision; ValueError where it is not (B, N) finite numbers."""
    if logits.ndim != 2 or len(logits) != len(x) or logits.dtype.kind != "f":
        raise ValueError(f"{who} must answer {len(x)} samples with floats of the shape ({len(x)}, N); "
                         f"got {logits.dtype} {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError(f"{who} answers with NaN or infinite values")
    return _like(logits, x)
