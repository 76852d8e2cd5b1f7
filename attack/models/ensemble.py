"""Several models of the same classes as one that can be attacked.

In: models. Out: `logits`, `forward_derivative` and, if all members have it, `backward_derivative`
as in `model`, by the chain rule from those of the members. Read on in `models.oracle`.
"""
import numpy as np
import scipy

from attack.model import activation_of
from attack.models.answers import FirstUse


class Ensemble:
    """The mean of the members' logits, or (average="probabilities") the logits whose probabilities
    are the mean of theirs: log Σ_k p_k / K for the softmax; for members that end in a sigmoid, or
    have one output, log p − log(1 − p) of the mean p.

    `output_activation` is the members'. ValueError for no members, another `average`, members that
    differ in their number of classes or in their `output_activation`, and, when they are first
    asked, for one that is random or depends on the other samples of a batch.
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
        self.output_activation = "softmax"
        if all(activation_of(model, 2) == "sigmoid" for model in self.models):
            self.output_activation = "sigmoid"
        self.first_use = [
            FirstUse(f"models[{k}] of the Ensemble ({type(model).__name__})",
                     "take what is random in it out, or fix its seed",
                     "let it answer each sample by itself") for k, model in enumerate(self.models)]

    def logits(self, x):
        """x (B, …) → (B, N)."""
        logits = self._logits_of_members(x)  # (B, K, N)
        if self.average == "logits":
            return logits.mean(axis=1)
        log_p, log_rest = self._log_probabilities(logits)
        count = np.log(len(self.models)).astype(logits.dtype)
        mean = scipy.special.logsumexp(log_p, axis=1) - count
        if log_rest is None:
            return mean
        return mean - (scipy.special.logsumexp(log_rest, axis=1) - count)

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
        for model, first_use in zip(self.models, self.first_use):
            if not hasattr(model, "first_use"):  # which asks by itself
                first_use.check(lambda few, model=model: np.asarray(model.logits(few)), x)
        logits = [np.asarray(model.logits(x)) for model in self.models]
        if len({one.shape for one in logits}) > 1:
            raise ValueError("the models of an Ensemble must have the same classes; "
                             f"got {[one.shape[1] for one in logits]}")
        activations = [activation_of(model, logits[0].shape[1]) for model in self.models]
        if len(set(activations)) > 1:
            raise ValueError("the models of an Ensemble must have the same output_activation; "
                             f"got {activations}")
        return np.stack(logits, axis=1)

    def _log_probabilities(self, logits):
        """log p and, where each class has its own probability, log(1 − p), else None; both
        (B, K, N)."""
        if self.output_activation == "softmax" and logits.shape[2] > 1:
            return scipy.special.log_softmax(logits, axis=2), None
        return scipy.special.log_expit(logits), scipy.special.log_expit(-logits)

    def _weights_of_members(self, x):
        """∂(the whole's logits)/∂(each member's): K of (B, N, N)."""
        logits = self._logits_of_members(x)  # (B, K, N)
        identity = np.eye(logits.shape[2], dtype=logits.dtype)
        if self.average == "logits":
            shape = (*logits.shape[:2], *identity.shape)
            weights = np.broadcast_to(identity / len(self.models), shape).astype(logits.dtype)
        else:
            log_p, log_rest = self._log_probabilities(logits)
            share = np.exp(log_p - scipy.special.logsumexp(log_p, axis=1, keepdims=True))
            # (B, K, N): p_k / Σ_k p_k
            if log_rest is None:
                weights = share[..., None] * (identity - np.exp(log_p)[:, :, None])
            else:  # p_k·(1 − p_k) / (Σ_k p_k · the mean 1 − p)
                rest = scipy.special.logsumexp(log_rest, axis=1, keepdims=True)
                weights = share * np.exp(log_rest - rest) * len(self.models)
                weights = weights[..., None] * identity
        return np.moveaxis(weights, 1, 0)
