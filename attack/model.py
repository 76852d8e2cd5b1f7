"""What an attack needs of a model, and α and β, the two sums of its forward derivative that saliency maps are made of.

In: a model with `logits(x) -> (B, N)` and `forward_derivative(x) -> (B, N, M)`; if it also has
`backward_derivative(x, cotangents (B, K, N)) -> (B, K, M)`, only the two sums can be asked for, and with
`vjp(x) -> (logits, pull)` one way through the model gives both. Anything with these methods will do. Out: α[b, i] =
∂F_t/∂x_i and β[b, i] = Σ_{j≠t} ∂F_j/∂x_i (Eq. 8-10). Read on in `saliency`.
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


def look(model, x, derivative="forward"):
    """The logits of x (B, …), and a function that gives sums of the derivative there.

    Returns (logits (B, N), sums); sums(v (B', K, N), rows (B,) boolean) → (B', K, M): v·∂logits/∂x of the B' samples
    that `rows` chooses. `derivative`: "forward" takes them from the whole Jacobian, "backward" asks for these K rows.
    """
    if derivative == "backward" and hasattr(model, "vjp"):
        logits, pull = model.vjp(x)

        def pulled(v, rows):
            """All samples go back together: what is not asked for costs less than to sort it out."""
            every = np.zeros((len(x), *v.shape[1:]), v.dtype)
            every[rows] = v
            return np.asarray(pull(every))[rows]

        return np.asarray(logits), pulled
    logits = np.asarray(model.logits(x))
    if derivative == "backward":
        return logits, lambda v, rows: np.asarray(model.backward_derivative(x[rows], v))

    def summed(v, rows):
        """Eq. 8-10 as they stand: from the whole Jacobian."""
        jacobian = np.asarray(model.forward_derivative(x[rows]))
        return np.matmul(v.astype(jacobian.dtype, copy=False), jacobian)

    return logits, summed


def output_weights(logits, targets, of="logits", others=None):
    """The two rows v (B, 2, N) with α = v₀·∂logits/∂x and β = v₁·∂logits/∂x, for target classes (B,).

    `of`: which outputs are differentiated: "logits", "centred" (logits less their mean) or "probabilities" (softmax).
    `others` (B, N): how much each class counts in β (default: 1).
    """
    target = np.zeros_like(logits)
    target[np.arange(len(logits)), targets] = 1
    weights = np.stack([target, (1 - target) * (1 if others is None else others)], axis=1)
    if of == "centred":
        weights -= weights.mean(axis=2, keepdims=True)
    elif of == "probabilities":
        p = softmax(logits, axis=1)[:, None]
        weights = p * (weights - (p * weights).sum(axis=2, keepdims=True))
    return weights
