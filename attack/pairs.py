"""The best pair of features, Eq. 10 and Algorithm 3, exact and without the M×M table.

In: α and β of every feature and the search domain Γ. Out: the pair p < q with the largest −α·β, the
first one in lexicographic order among equals. Plainly, with the table: `best_pair` and
`pair_scores` of attack.textbook. Read on in `crafting`.

With x = α and y = −β (signs turned for θ < 0) a pair scores (x_p + x_q)·(y_p + y_q), both sums
positive.

1. *Bound* (`prune`). No partner of p has more than X = max x and Y = max y, so no pair with p
   scores above (x_p + X)·(y_p + Y). Features whose bound lies below the score of a pair already
   known are dropped.
2. *Dominance* (`partners_of`). If two features are at least as good as q in both x and y, one of
   them is not p, and putting it in q's place does not lower the score. So the best partner of any p
   is found among the *partners*: the features that are dominated by at most one other.
3. *Survivors* (`best_of_survivors`). Only the pairs of a survivor and a partner are scored.

Rounded sums and products are monotone too, so all this holds for floating-point scores, ties
included.
"""
from typing import NamedTuple

import numpy as np

from attack.checks import check_theta

BLOCK = 1 << 20
FEW = 8  # features whose pairs are all scored: to find the partners would take longer


class BestPair(NamedTuple):
    """The best pair of each row: p = q = −1 and score 0 where no pair qualifies."""
    p: np.ndarray      # (B,)
    q: np.ndarray      # (B,), p < q
    score: np.ndarray  # (B,) −α·β


def best_pair(alpha, beta, domain=None, theta=1.0):
    """Eq. 10: the pair that moves the target up and the others down the most, for each row.

    Args:
        alpha: (B, M), ∂F_t/∂x_i of every feature.
        beta: (B, M), Σ_{j≠t} ∂F_j/∂x_i. A feature with NaN or an infinite entry is never chosen.
        domain: (B, M) booleans, the search domain Γ (default: all features).
        theta: its sign counts: θ > 0 wants α > 0 and β < 0 of the pair's sums, θ < 0 the opposite.

    Returns:
        (p, q, score), each (B,): p < q with the score −α·β; p = q = −1 and score 0 where no pair
        qualifies.

    Raises:
        ValueError: the shapes differ; θ that is 0 or not finite.
    """
    check_theta(theta)
    x, y = _gains(alpha, beta, domain, theta)
    p = np.full(len(x), -1)
    q = p.copy()
    score = np.zeros(len(x), x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        survivors = prune(x, y)
        for rows, members in _by_size(survivors):
            x_survivor = _entries(x, rows, members)  # (R, n)
            y_survivor = _entries(y, rows, members)
            partners = partners_of(x_survivor, y_survivor)
            best = best_of_survivors(x_survivor, y_survivor, partners)
            qualifies = best.score >= 0
            rows, members = rows[qualifies], members[qualifies]
            row = np.arange(len(rows))
            p[rows] = members[row, best.p[qualifies]]
            q[rows] = members[row, best.q[qualifies]]
            score[rows] = best.score[qualifies]
    return BestPair(p, q, score)


def pair_share(alpha, beta, theta=1.0):
    """The share of all pairs of features whose Eq. 10 score is positive, for each row: (B,) in [0,
    1].

    alpha, beta: (B, M). Eq. 13 by pairs is 1 less this. Counted exactly, in blocks of the M×M
    table; NaN for fewer than two features.
    """
    alpha, beta = np.asarray(alpha), np.asarray(beta)
    x, y = (alpha, -beta) if theta > 0 else (-alpha, beta)
    features = x.shape[1]
    block_size = max(1, BLOCK // max(features, 1))
    count = np.zeros(len(x))
    for row, (x_row, y_row) in enumerate(zip(x, y)):
        for start in range(0, features, block_size):
            block = slice(start, start + block_size)  # pairs p < q: p in the block, q from there on
            qualifies = x_row[block, None] > -x_row[start:]
            qualifies &= y_row[block, None] > -y_row[start:]
            count[row] += np.triu(qualifies, 1).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return count / np.float64(features * (features - 1) / 2)


# the three stages, each for x = α and y = −β of R rows at once; −∞ is a feature out of Γ


def prune(x, y):
    """1. Bound: (R, M) booleans, the features that may be in the best pair."""
    if not x.size:
        return np.isfinite(x)
    top_x = x.max(axis=1, keepdims=True)
    top_y = y.max(axis=1, keepdims=True)
    if not (np.isfinite(top_x + top_x).all() and np.isfinite(top_y + top_y).all()):
        return _score(x + top_x, y + top_y) >= 0  # an empty row, or an overflow
    bound = _product(x, y, top_x, top_y)
    known_score = _score_of_a_good_pair(x, y, bound)
    survivors = bound >= known_score[:, None]
    for row in np.flatnonzero(known_score == 0):  # none met, or underflow
        survivors[row] = _score(x[row] + top_x[row], y[row] + top_y[row]) >= 0
    return survivors


def partners_of(x, y):
    """2. Dominance: the features that at most one other dominates, (R, k) places, −1 where fewer.

    In rising order; a few more where x ties.
    """
    if x.shape[1] <= FEW:
        return _places(np.isfinite(x))
    order = np.argsort(-x, axis=1, kind="stable")
    y = np.take_along_axis(y, order, axis=1)
    largest = np.maximum.accumulate(y, axis=1)
    second_largest = np.maximum.accumulate(np.minimum(y[:, 1:], largest[:, :-1]), axis=1)
    is_partner = np.ones(x.shape, bool)
    np.put_along_axis(is_partner, order[:, 2:], (y[:, 2:] > second_largest[:, :-1]), axis=1)
    return _places(is_partner)


def best_of_survivors(x, y, partners):
    """3. Survivors: the best of all pairs of a survivor, x and y (R, n), and a partner (R, k).

    Of equals the first in lexicographic order: p is the first feature that reaches the best score
    with any partner, q the first that reaches it with p. Score −1 where no pair qualifies.
    """
    count, size = x.shape
    rows = np.arange(count)
    x_partner = _entries(x, rows, partners)  # (R, k)
    y_partner = _entries(y, rows, partners)
    p = np.zeros(count, int)
    best_score = np.full(count, -1.0, x.dtype)
    block_size = max(1, BLOCK // partners.size)
    for start in range(0, size, block_size):
        block = slice(start, start + block_size)
        scores = _score(x[:, block, None] + x_partner[:, None],  # (R, block, k)
                        y[:, block, None] + y_partner[:, None])
        row, place = np.nonzero((partners >= start) & (partners < start + block_size))
        scores[row, partners[row, place] - start, place] = -1  # no feature is its own partner
        score_of_feature = scores.max(axis=2)
        feature = score_of_feature.argmax(axis=1)
        score = score_of_feature[rows, feature]
        better = score > best_score
        p[better] = start + feature[better]
        best_score[better] = score[better]
    scores = _score(x + x[rows, p, None], y + y[rows, p, None])
    scores[rows, p] = -1
    return BestPair(p, scores.argmax(axis=1), best_score)


def _gains(alpha, beta, domain, theta):
    """x = α and y = −β (θ < 0: −α and β), (B, M); −∞ for features that cannot be chosen."""
    alpha, beta = (np.asarray(sums, np.result_type(sums, np.float32)) for sums in (alpha, beta))
    if alpha.ndim != 2 or alpha.shape != beta.shape:
        raise ValueError("alpha and beta must have one shape (B, M); "
                         f"got {alpha.shape} and {beta.shape}")
    if domain is not None and np.shape(domain) != alpha.shape:
        raise ValueError(f"domain must have the shape {alpha.shape} of alpha; "
                         f"got {np.shape(domain)}")
    barred = ~(np.isfinite(alpha) & np.isfinite(beta))
    if domain is not None:
        barred |= ~np.asarray(domain)
    x, y = (alpha.copy(), -beta) if theta > 0 else (-alpha, beta.copy())
    np.copyto(x, -np.inf, where=barred)
    np.copyto(y, -np.inf, where=barred)
    return x, y


def _score_of_a_good_pair(x, y, bound):
    """For each row, 0 where none was met: from the largest bound to its best partner, twice."""
    rows = np.arange(len(x))
    feature = bound.argmax(axis=1)
    known_score = np.zeros(len(x), x.dtype)
    for _ in range(2):
        scores = _product(x, y, x[rows, feature, None], y[rows, feature, None])
        scores[rows, feature] = 0
        feature = scores.argmax(axis=1)
        known_score = np.maximum(known_score, scores[rows, feature])
    return known_score


def _product(x, y, other_x, other_y):
    """(x + other_x)·(y + other_y) where both are positive, else 0; the caller excludes overflow."""
    sum_x, sum_y = x + other_x, y + other_y
    np.maximum(sum_x, 0, out=sum_x)
    np.maximum(sum_y, 0, out=sum_y)
    return np.multiply(sum_x, sum_y, out=sum_x)


def _score(sum_x, sum_y):
    """Their product where both are positive, −1 elsewhere."""
    return np.where((sum_x > 0) & (sum_y > 0), sum_x * sum_y, -1)


def _by_size(survivors):
    """Rows with about equally many survivors together: (rows (R,), their places (R, n))."""
    counts = np.count_nonzero(survivors, axis=1)
    level = np.where(counts > 1, np.ceil(np.log2(np.maximum(counts, 2)) / 4), 0).astype(int)
    for one_level in np.unique(level[level > 0]):
        rows = np.flatnonzero(level == one_level)
        yield rows, _places(survivors[rows])


def _places(chosen):
    """Where each row (R, M) is True, in rising order, padded with −1: (R, n)."""
    counts = np.count_nonzero(chosen, axis=1)
    row, feature = np.nonzero(chosen)
    places = np.full((len(chosen), counts.max()), -1)
    places[row, np.arange(len(row)) - (np.cumsum(counts) - counts)[row]] = feature
    return places


def _entries(values, rows, places):
    """The entries of `values` (B, M) at `places` (R, n) of `rows` (R,); −∞ where a place is −1."""
    return np.where(places < 0, -np.inf, values[rows[:, None], places])
