"""Several models of the same classes as one that can be attacked.

In: models. Out: `logits`, `forward_derivative` and, if all members have it, `backward_derivative`
as in `model`, by the chain rule from those of the members. Read on in `models.oracle`.
"""
import numpy as np
import scipy


class Ensemble:
    """The mean of the members' logits, or (average="probabilities") the logits whose softmax is the
    mean of theirs, log Σ_k p_k / K.

    ValueError for no members, another `average`, or members that differ in their number of classes.
    """

    def __init__(self, models, average="logits"):
        self.models = list(models)
        self.average = average
        if not self.models:
            raise ValueError("models must name at least one model; got none")
        if average not in ("logits", "probabilities"):
            raise ValueError(f"average must be one of logits, probabilities; got {average!r}")
        if all(callable(getattr(model, "backward_derivative", None)) for model in self.models):
            self.backward_derivative = self._backward_derivative

    def logits(self, x):
        """x (B, …) → (B, N)."""
        logits = self._logits_of_members(x)  # (B, K, N)
        if self.average == "logits":
            return logits.mean(axis=1)
        total = scipy.special.logsumexp(scipy.special.log_softmax(logits, axis=2), axis=1)
        return total - np.log(len(self.models)).astype(logits.dtype)

    def forward_derivative(self, x):
        """x (B, …) → (B, N, M): each member's Jacobian, weighted by how its logits move the
        whole's."""
        weights = self._weights_of_members(x)  # K of (B, N, N)
        jacobians = (np.asarray(model.forward_derivative(x)) for model in self.models)
        return sum(np.matmul(weight, jacobian) for weight, jacobian in zip(weights, jacobians))

    def _backward_derivative(self, x, cotangents):
        """x (B, …), cotangents (B, K, N) → (B, K, M)."""
        return sum(np.asarray(model.backward_derivative(x, np.matmul(cotangents, weight)))
                   for model, weight in zip(self.models, self._weights_of_members(x)))

    def _logits_of_members(self, x):
        """x (B, …) → (B, K, N)."""
        logits = [np.asarray(model.logits(x)) for model in self.models]
        if len({one.shape for one in logits}) > 1:
            raise ValueError("the models of an Ensemble must have the same classes; "
                             f"got {[one.shape[1] for one in logits]}")
        return np.stack(logits, axis=1)

    def _weights_of_members(self, x):
        """∂(the whole's logits)/∂(each member's): K of (B, N, N)."""
        logits = self._logits_of_members(x)  # (B, K, N)
        identity = np.eye(logits.shape[2], dtype=logits.dtype)
        if self.average == "logits":
            shape = (*logits.shape[:2], *identity.shape)
            weights = np.broadcast_to(identity / len(self.models), shape).astype(logits.dtype)
        else:
            log_p = scipy.special.log_softmax(logits, axis=2)
            share = np.exp(log_p - scipy.special.logsumexp(log_p, axis=1, keepdims=True))
            # (B, K, N): p_k / Σ_k p_k
            weights = share[..., None] * (identity - np.exp(log_p)[:, :, None])
        return np.moveaxis(weights, 1, 0)
