"""Adversarial saliency maps of single features: Eq. 8 (θ > 0, features to increase) and Eq. 9 (θ < 0, to decrease).

In: the forward derivative and a target class, or α and β. Out: a score for each feature, 0 where the map rejects it.
Read on in `pairs`.
"""
import numpy as np


def saliency_map(jacobian, target, theta=1.0, domain=None):
    """S(X, t), Eq. 8 for `theta` > 0 and Eq. 9 for `theta` < 0.

    `jacobian` (N, M) with one target class, or (B, N, M) with `target` one class or (B,) of them; `domain`, of the
    shape of the result, is False for features that are out of Γ. Returns (M,) or (B, M), ≥ 0.
    ValueError for θ = 0, a target that is not a class, or shapes that do not fit.
    """
    jacobian = np.asarray(jacobian)
    if jacobian.ndim not in (2, 3):
        raise ValueError(f"jacobian must have the shape (N, M) or (B, N, M); got {jacobian.shape}")
    if theta == 0 or not np.isfinite(theta):
        raise ValueError(f"theta must be a finite number other than 0; got {theta}")
    batch = jacobian.reshape(-1, *jacobian.shape[-2:])
    target = check_targets(target, len(batch), batch.shape[1])
    alpha = batch[np.arange(len(batch)), target]
    score = score_features(alpha, batch.sum(axis=1) - alpha, theta)
    score = score.reshape(*jacobian.shape[:-2], -1)
    return score if domain is None else np.where(domain, score, 0)


def score_features(alpha, beta, theta):
    """Eq. 8 or 9 from α and β (B, M): α·|β| where both have the wanted sign and are finite, 0 elsewhere."""
    towards, away = (alpha, -beta) if theta > 0 else (-alpha, beta)
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = (towards >= 0) & (away >= 0) & np.isfinite(alpha) & np.isfinite(beta)
        return np.where(wanted, towards * away, 0)


def check_targets(targets, count, classes):
    """`targets`, one class or (count,) of them, as an integer array (count,); ValueError where one is not a class."""
    given = np.asarray(targets)
    if given.dtype.kind not in "iu":
        raise ValueError(f"targets must be whole numbers; got {given.dtype}")
    if given.shape not in ((), (count,)):
        raise ValueError(f"targets must be one class or {count} of them; got the shape {given.shape}")
    wrong = given[(given < 0) | (given >= classes)] if given.ndim else given[None][(given < 0) | (given >= classes)]
    if wrong.size:
        raise ValueError(f"targets must be classes from 0 to {classes - 1}; got {wrong.flat[0]}")
    return np.broadcast_to(given, (count,)).astype(np.intp)
