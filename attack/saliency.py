"""Adversarial saliency maps of single features: Eq. 8 (θ > 0: which to increase) and Eq. 9 (θ < 0:
which to decrease).

In: the forward derivative and a target class, or α and β. Out: a score for each feature, 0 where
the map rejects it. Plainly: `saliency_map` of attack.textbook. Read on in `pairs`.
"""
import numpy as np

from attack.checks import check_targets, check_theta
from attack.model import as_pair


def saliency_map(jacobian, target, theta=1.0, domain=None):
    """S(X, t), Eq. 8 for θ > 0 and Eq. 9 for θ < 0.

    Args:
        jacobian: (N, M) or (B, N, M), J[b, j, i] = ∂F_j/∂x_i. A single row is that of z in the pair
            (0, z): α or β is 0 for every feature, and so is the map; its centred rows −J/2 and J/2
            count both classes.
        target: the target class t; for a batch one class or (B,) of them.
        theta: its sign counts.
        domain: booleans of the shape of the result, the search domain Γ (default: all features).

    Returns:
        (M,) or (B, M), at least 0.

    Raises:
        ValueError: θ = 0, a target that is not a class, or shapes that do not fit.
    """
    jacobian = np.asarray(jacobian)
    if jacobian.ndim not in (2, 3):
        raise ValueError(f"jacobian must have the shape (N, M) or (B, N, M); got {jacobian.shape}")
    check_theta(theta)
    batch = as_pair(jacobian.reshape(-1, *jacobian.shape[-2:]))  # (B, N, M)
    target = check_targets(target, len(batch), batch.shape[1])
    alpha = batch[np.arange(len(batch)), target]
    beta = batch.sum(axis=1) - alpha
    score = score_features(alpha, beta, theta)
    score = score.reshape(*jacobian.shape[:-2], -1)
    return score if domain is None else np.where(domain, score, 0)


def score_features(alpha, beta, theta):
    """Eq. 8 or 9 from α and β (B, M): |α|·|β| where both are finite and have the wanted sign."""
    x, y = (alpha, -beta) if theta > 0 else (-alpha, beta)
    with np.errstate(over="ignore", invalid="ignore"):
        qualifies = (x >= 0) & (y >= 0) & np.isfinite(alpha) & np.isfinite(beta)
        return np.where(qualifies, x * y, 0)
