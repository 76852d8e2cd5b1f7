"""What an attack needs of a model, and the two sums of its forward derivative that Eq. 8-10 use.

In: a model with `logits(x) -> (B, N)` and `forward_derivative(x) -> (B, N, M)`; if it also has
`backward_derivative(x, cotangents (B, K, N)) -> (B, K, M)`, the two sums alone can be asked for,
and with `vjp(x) -> (logits, pull)` one way through the model gives both. Anything with these
methods will do. A single output z is two classes, the pair of logits (0, z). Out: α[b, i] =
∂F_t/∂x_i and β[b, i] = Σ_{j≠t} ∂F_j/∂x_i (as weights of the logits, which `look` applies). Read on
in `first_look`.
"""
from typing import Protocol

import numpy as np
import scipy

DERIVATIVES = ("forward", "backward")
OUTPUTS = ("logits", "centred", "probabilities")
ACTIVATIONS = ("softmax", "sigmoid")


class Model(Protocol):
    """A differentiable classifier of N classes and M features."""

    def logits(self, x):
        """x (B, …) → (B, N)."""

    def forward_derivative(self, x):
        """x (B, …) → (B, N, M), J[b, j, i] = ∂F_j/∂x_i of the logits, features in row-major
        order."""

    # What makes probabilities of the logits is the softmax, or what the attribute
    # `output_activation` says: "softmax" or "sigmoid", p_j = σ(z_j), as `nn.Network` has it.

    # A model that may be used in several threads at once says so with `num_threads` (how many),
    # `in_threads(function, parts)` and `alone()`, as `nn.Network` does; others are used in one.


class ModelError(ValueError):
    """A model that cannot be attacked as it is, whatever the images are."""


def activation_of(model, outputs):
    """What makes probabilities of the logits of a model with so many `outputs`, one of
    `ACTIVATIONS`; of a single z always the softmax of (0, z), which is (1 − σ(z), σ(z))."""
    activation = getattr(model, "output_activation", "softmax")
    if activation not in ACTIVATIONS:
        raise ModelError(f"output_activation of {type(model).__name__} must be one of "
                         f"{', '.join(ACTIVATIONS)}; got {activation!r}")
    return activation if outputs > 1 else "softmax"


def probabilities_of(logits, activation="softmax"):
    """(B, N) → (B, N); of a single z the two of the pair (0, z)."""
    if activation == "sigmoid" and logits.shape[1] > 1:
        return scipy.special.expit(logits)
    return scipy.special.softmax(as_pair(logits), axis=1)


def as_pair(rows):
    """rows (B, N, …) of N outputs as floats; where N = 1 these of the pair (0, z): (B, 2, …)."""
    rows = np.asarray(rows)
    if rows.dtype.kind in "biu":
        rows = rows.astype(float)
    if rows.shape[1:2] != (1,):
        return rows
    return np.concatenate([np.zeros_like(rows), rows], axis=1)


def logits_of(model, x):
    """The logits of x (B, …) for at least two classes, (B, N)."""
    return as_pair(model.logits(x))


def look(model, x, derivative="forward"):
    """The logits of x (B, …), and a function that gives weighted sums of their derivatives there.

    Args:
        model: see `Model`.
        x: (B, …) samples.
        derivative: "forward" takes the sums from the whole Jacobian (Eq. 3-6); "backward" asks the
            model for these sums alone.

    Returns:
        (logits (B, N), sums); sums(weights (B', K, N), rows (B,) booleans) → (B', K, M): weights ·
        ∂logits/∂x of the B' samples that `rows` chooses; ValueError where a derivative is NaN.
    """
    if derivative == "backward" and hasattr(model, "vjp"):
        logits, pull = model.vjp(x)

        def sums(weights, rows):
            """All samples go back together: what is not asked for costs less than to sort it
            out."""
            weights_of_all = np.zeros((len(x), *weights.shape[1:]), weights.dtype)
            weights_of_all[rows] = weights
            return _without_nan(np.asarray(pull(weights_of_all))[rows])
    elif derivative == "backward":
        logits = model.logits(x)

        def sums(weights, rows):
            """The sums alone."""
            return _without_nan(np.asarray(model.backward_derivative(x[rows], weights)))
    else:
        logits = model.logits(x)

        def sums(weights, rows):
            """Eq. 8-10 as they stand: sums over the rows of the whole Jacobian."""
            jacobian = _without_nan(np.asarray(model.forward_derivative(x[rows])))  # (B', N, M)
            return np.matmul(weights.astype(jacobian.dtype, copy=False), jacobian)

    if np.shape(logits)[1:] != (1,):
        return as_pair(logits), sums
    return as_pair(logits), lambda weights, rows: sums(weights[:, :, 1:], rows)  # ∂0/∂x = 0


def _without_nan(derivatives):
    """The same; ValueError where one is NaN. (What is infinite is only never chosen.)"""
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = np.isnan(derivatives.sum())
    if suspicious and np.isnan(derivatives).any():
        raise ValueError("model gives NaN for a derivative of its logits, which says nothing of a "
                         "feature")
    return derivatives


def output_weights(logits, targets, of="logits", others=None, activation="softmax"):
    """The two rows v (B, 2, N) with α = v₀·∂logits/∂x and β = v₁·∂logits/∂x.

    Args:
        logits: (B, N).
        targets: (B,) target classes.
        of: which outputs F are differentiated: "logits", "centred" (logits less their mean) or
            "probabilities".
        others: (B, N), how much each class counts in β (default: 1).
        activation: what makes probabilities of the logits, one of `ACTIVATIONS`.
    """
    target = np.zeros_like(logits)
    target[np.arange(len(logits)), targets] = 1
    weights = np.stack([target, (1 - target) * (1 if others is None else others)], axis=1)
    if of == "centred":
        weights -= weights.mean(axis=2, keepdims=True)
    elif of == "probabilities" and activation == "sigmoid":  # σ' = σ(z)·(1 − σ(z)) = σ(z)·σ(−z)
        weights *= (scipy.special.expit(logits) * scipy.special.expit(-logits))[:, None]
    elif of == "probabilities":  # ∂softmax/∂logits = diag(p) − p pᵀ
        p = scipy.special.softmax(logits, axis=1)[:, None]
        largest = logits.argmax(axis=1)[:, None, None]  # so that nothing cancels where p is near 1
        weights = weights - np.take_along_axis(weights, largest, axis=2)
        weights = p * (weights - (p * weights).sum(axis=2, keepdims=True))
    return weights
