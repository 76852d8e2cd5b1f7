"""Eq. 8 to 10 and Algorithms 1, 2, 3 for one sample, line by line in the paper's words: READ FIRST.

In: F(X) (N,), the logits of a sample X (M,), dF(X) (N, M), its forward derivative [∂F_j/∂x_i], and
the target class t. Out: the adversarial sample X_star and the features that were changed. theta (θ)
is what is added to a feature, upsilon (Υ) the largest distortion in percent, Gamma (Γ) the search
domain: a boolean array (M,), True for the features that may be chosen. Slow and plain: the tests
hold the fast versions in `saliency`, `pairs` and `crafting` to this file. Read on in `model`.
"""
import numpy as np


def saliency_map(J, t, theta=1.0, Gamma=None):
    """Eq. 8 (θ > 0: increase) or Eq. 9 (θ < 0: decrease): S(X, t)[i] of every feature i of Γ, (M,).

    J (N, M) is ∇F(X); features outside Γ (default: all features are inside) score 0.
    """
    N, M = J.shape
    S = np.zeros(M)
    for i in range(M):
        if Gamma is not None and not Gamma[i]:
            continue
        dF_t = J[t, i]
        dF_others = sum(J[j, i] for j in range(N) if j != t)
        if theta > 0 and not (dF_t < 0 or dF_others > 0):
            S[i] = dF_t * abs(dF_others)
        if theta < 0 and not (dF_t > 0 or dF_others < 0):
            S[i] = abs(dF_t) * dF_others
    return S


def pair_scores(alpha, beta, theta=1.0):
    """Eq. 10: −α·β of every pair p1 < p2 whose α and β have the signs that θ asks for, (M, M).

    alpha, beta (M,): ∂F_t/∂x_i and Σ_{j≠t} ∂F_j/∂x_i of each feature. −∞ where a pair does not qualify.
    """
    alpha = alpha[:, None] + alpha[None, :]  # (M, M): of the pair (p1, p2)
    beta = beta[:, None] + beta[None, :]
    qualifies = (alpha > 0) & (beta < 0) if theta > 0 else (alpha < 0) & (beta > 0)
    p1_before_p2 = np.triu(np.ones(alpha.shape, bool), 1)
    return np.where(qualifies & p1_before_p2, -alpha * beta, -np.inf)


def best_pair(J, t, Gamma, theta=1.0):
    """Algorithm 3: the pair (p1, p2) of Γ with the largest −α·β, of equals the first; None if none
    qualifies. J (N, M) is ∇F(X)."""
    scores = pair_scores(J[t], np.delete(J, t, axis=0).sum(axis=0), theta)
    scores[~Gamma, :] = -np.inf
    scores[:, ~Gamma] = -np.inf
    p1, p2 = np.unravel_index(scores.argmax(), scores.shape)  # argmax takes the first of equals
    return (int(p1), int(p2)) if scores[p1, p2] > -np.inf else None


def algorithm_1(F, dF, X, t, theta=1.0, upsilon=14.5):
    """One feature an iteration: (X_star, [i_max, …]). ‖δX‖ counts an iteration as one feature."""
    X_star = X.copy()
    Gamma = np.ones(len(X), bool)
    max_distortion = np.floor(len(X) * upsilon / 100 + 1e-9)  # Υ, in features
    features = []  # ‖δX‖ = len(features)
    while np.argmax(F(X_star)) != t and len(features) < max_distortion and Gamma.any():
        S = saliency_map(dF(X_star), t, theta, Gamma)
        i_max = int(np.argmax(S))
        if S[i_max] == 0:
            break
        X_star[i_max] = np.clip(X_star[i_max] + theta, 0, 1)
        Gamma[i_max] = 0 < X_star[i_max] < 1
        features.append(i_max)
    return X_star, features


def algorithm_2(F, dF, X, t, theta=1.0, upsilon=14.5):
    """Two features an iteration: (X_star, [(p1, p2), …])."""
    X_star = X.copy()
    Gamma = np.ones(len(X), bool)  # all features
    max_iter = np.floor(len(X) * upsilon / (2 * 100) + 1e-9)  # 1e-9: rounding takes no pair away
    s = np.argmax(F(X_star))
    pairs = []  # iter = len(pairs)
    while s != t and len(pairs) < max_iter and Gamma.any():
        pair = best_pair(dF(X_star), t, Gamma, theta)
        if pair is None:  # the paper does not say what happens then
            break
        for p in pair:
            X_star[p] = np.clip(X_star[p] + theta, 0, 1)
            Gamma[p] = 0 < X_star[p] < 1  # p leaves Γ exactly when it is 0 or 1
        pairs.append(pair)
        s = np.argmax(F(X_star))
    return X_star, pairs
