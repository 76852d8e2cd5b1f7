"""What an attack needs of a model, and α and β, the two sums of its forward derivative that saliency maps are made of.

In: a model with `logits(x) -> (B, N)` and `forward_derivative(x) -> (B, N, M)`; if it also has
`backward_derivative(x, cotangents (B, K, N)) -> (B, K, M)`, only the two sums can be asked for. Anything with these
methods will do. Out: α[b, i] = ∂F_t/∂x_i and β[b, i] = Σ_{j≠t} ∂F_j/∂x_i (Eq. 8-10). Read on in `saliency`.
"""
from typing import Protocol

import numpy as np
from scipy.special import softmax

DERIVATIVES = ("forward", "backward")
OUTPUTS = ("logits", "centred", "probabilities")


class Model(Protocol):
    """A differentiable classifier of N classes and M features."""

    def logits(self, x):
        """x (B, …) → (B, N)."""

    def forward_derivative(self, x):
        """x (B, …) → (B, N, M), J[b, j, i] = ∂F_j/∂x_i of the logits, features in row-major order."""


def target_and_others(model, x, targets, logits, derivative="forward", of="logits"):
    """α and β, each (B, M), for samples x (B, …) with target classes (B,) and known logits (B, N).

    `derivative`: "forward" takes them from the whole Jacobian, "backward" asks for just these two rows. `of`: which
    outputs are differentiated: "logits", "centred" (logits less their mean) or "probabilities" (their softmax).
    """
    weights = _output_weights(logits, targets, of)
    if derivative == "forward":
        jacobian = np.asarray(model.forward_derivative(x))
        sums = np.matmul(weights.astype(jacobian.dtype, copy=False), jacobian)
    else:
        sums = np.asarray(model.backward_derivative(x, weights))
    return sums[:, 0], sums[:, 1]


def _output_weights(logits, targets, of):
    """The two rows v (B, 2, N) with α = v₀·∂logits/∂x and β = v₁·∂logits/∂x."""
    target = np.zeros_like(logits)
    target[np.arange(len(logits)), targets] = 1
    weights = np.stack([target, 1 - target], axis=1)
    if of == "centred":
        weights -= weights.mean(axis=2, keepdims=True)
    elif of == "probabilities":
        p = softmax(logits, axis=1)[:, None]
        weights = p * (weights - (p * weights).sum(axis=2, keepdims=True))
    return weights
