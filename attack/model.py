"""What an attack needs of a model, and the two sums of its forward derivative that Eq. 8-10 use.

In: a model with `logits(x) -> (B, N)` and `forward_derivative(x) -> (B, N, M)`; if it also has
`backward_derivative(x, cotangents (B, K, N)) -> (B, K, M)`, the two sums alone can be asked for,
and with `vjp(x) -> (logits, pull)` one way through the model gives both. Anything with these
methods will do. Out: α[b, i] = ∂F_t/∂x_i and β[b, i] = Σ_{j≠t} ∂F_j/∂x_i (as weights of the logits,
which `look` applies). Read on in `saliency`.
"""
from typing import Protocol

import numpy as np
import scipy

DERIVATIVES = ("forward", "backward")
OUTPUTS = ("logits", "centred", "probabilities")


class Model(Protocol):
    """A differentiable classifier of N classes and M features."""

    def logits(self, x):
        """x (B, …) → (B, N)."""

    def forward_derivative(self, x):
        """x (B, …) → (B, N, M), J[b, j, i] = ∂F_j/∂x_i of the logits, features in row-major
        order."""

    # A model that may be used in several threads at once says so with `num_threads` (how many),
    # `in_threads(function, parts)` and `alone()`, as `nn.Network` does; others are used in one.


def look(model, x, derivative="forward"):
    """The logits of x (B, …), and a function that gives weighted sums of their derivatives there.

    Args:
        model: see `Model`.
        x: (B, …) samples.
        derivative: "forward" takes the sums from the whole Jacobian (Eq. 3-6); "backward" asks the
            model for these sums alone.

    Returns:
        (logits (B, N), sums); sums(weights (B', K, N), rows (B,) booleans) → (B', K, M): weights ·
        ∂logits/∂x of the B' samples that `rows` chooses.
    """
    if derivative == "backward" and hasattr(model, "vjp"):
        logits, pull = model.vjp(x)

        def from_all_rows(weights, rows):
            """All samples go back together: what is not asked for costs less than to sort it
            out."""
            weights_of_all = np.zeros((len(x), *weights.shape[1:]), weights.dtype)
            weights_of_all[rows] = weights
            return np.asarray(pull(weights_of_all))[rows]

        return np.asarray(logits), from_all_rows
    logits = np.asarray(model.logits(x))
    if derivative == "backward":
        return logits, lambda weights, rows: np.asarray(model.backward_derivative(x[rows], weights))

    def from_jacobian(weights, rows):
        """Eq. 8-10 as they stand: sums over the rows of the whole Jacobian."""
        jacobian = np.asarray(model.forward_derivative(x[rows]))  # (B', N, M)
        return np.matmul(weights.astype(jacobian.dtype, copy=False), jacobian)

    return logits, from_jacobian


def output_weights(logits, targets, of="logits", others=None):
    """The two rows v (B, 2, N) with α = v₀·∂logits/∂x and β = v₁·∂logits/∂x.

    Args:
        logits: (B, N).
        targets: (B,) target classes.
        of: which outputs F are differentiated: "logits", "centred" (logits less their mean) or
            "probabilities" (softmax).
        others: (B, N), how much each class counts in β (default: 1).
    """
    target = np.zeros_like(logits)
    target[np.arange(len(logits)), targets] = 1
    weights = np.stack([target, (1 - target) * (1 if others is None else others)], axis=1)
    if of == "centred":
        weights -= weights.mean(axis=2, keepdims=True)
    elif of == "probabilities":  # ∂softmax/∂logits = diag(p) − p pᵀ
        p = scipy.special.softmax(logits, axis=1)[:, None]
        weights = p * (weights - (p * weights).sum(axis=2, keepdims=True))
    return weights
