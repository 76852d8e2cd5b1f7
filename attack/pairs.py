"""The best pair of features, Eq. 10 and Algorithm 3, exact and without the M×M table.

In: α and β of every feature and the search domain Γ. Out: the pair p < q with the largest −α·β, the first one in
lexicographic order among equals. Read on in `crafting`.

With x = α and y = −β (signs turned for θ < 0) a pair scores (x_p + x_q)·(y_p + y_q), both sums positive.

1. *Bound.* No partner of p has more than X = max x and Y = max y, so no pair with p scores above (x_p + X)·(y_p + Y).
   Features whose bound lies below the score of a pair already known are dropped (`prune`).
2. *Dominance.* If two features are at least as good as q in both x and y, one of them is not p, and putting it in q's
   place does not lower the score. So the best partner of any p is found among the *partners*: the features that are
   dominated by at most one other.
3. Only the pairs of a survivor and a partner are scored.

Rounded sums and products are monotone too, so all this holds for floating-point scores, ties included.
"""
import numpy as np

BLOCK = 1 << 20
FEW = 8  # features whose pairs are all scored: to find the partners would take longer


def best_pair(alpha, beta, domain=None, theta=1.0):
    """Eq. 10: the pair that moves the target up and the others down the most, for each row.

    `alpha`, `beta` (B, M): ∂F_t/∂x_i and Σ_{j≠t} ∂F_j/∂x_i; `domain` (B, M) boolean, Γ (default: all). θ > 0 wants
    α > 0 and β < 0 of the pair's sums, θ < 0 the opposite. Features with a NaN or infinite entry are never chosen.
    Returns (p, q, score), each (B,): p < q with the score −α·β; p = q = −1 and score 0 where no pair qualifies.
    """
    alpha, beta = (np.asarray(values, np.result_type(values, np.float32)) for values in (alpha, beta))
    if alpha.ndim != 2 or alpha.shape != beta.shape:
        raise ValueError(f"alpha and beta must have one shape (B, M); got {alpha.shape} and {beta.shape}")
    if domain is not None and np.shape(domain) != alpha.shape:
        raise ValueError(f"domain must have the shape {alpha.shape} of alpha; got {np.shape(domain)}")
    barred = ~(np.isfinite(alpha) & np.isfinite(beta))
    if domain is not None:
        barred |= ~np.asarray(domain)
    x, y = (alpha.copy(), -beta) if theta > 0 else (-alpha, beta.copy())
    for values in (x, y):
        np.copyto(values, -np.inf, where=barred)
    first = np.full(len(x), -1)
    second, score = first.copy(), np.zeros(len(x), x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows, members in _by_size(prune(x, y)):
            p, q, best = _first_best(*(np.where(members < 0, -np.inf, v[rows[:, None], members]) for v in (x, y)))
            some = best >= 0
            rows, members, pick = rows[some], members[some], np.arange(some.sum())
            first[rows], second[rows], score[rows] = members[pick, p[some]], members[pick, q[some]], best[some]
    return first, second, score


def pair_share(alpha, beta, theta=1.0):
    """The share of all pairs of features whose Eq. 10 score is positive, for each row of α, β (B, M): (B,) in [0, 1].

    Eq. 13 by pairs is 1 less this. Counted exactly, in blocks of the M×M table; NaN for fewer than two features.
    """
    x, y = (np.asarray(alpha), -np.asarray(beta)) if theta > 0 else (-np.asarray(alpha), np.asarray(beta))
    features, step = x.shape[1], max(1, BLOCK // max(x.shape[1], 1))
    count = np.zeros(len(x))
    for row, (a, b) in enumerate(zip(x, y)):
        for start in range(0, features, step):
            some = slice(start, start + step)  # pairs p < q: p in the block, all q from there on
            good = (a[some, None] > -a[start:]) & (b[some, None] > -b[start:])
            count[row] += np.triu(good, 1).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return count / np.float64(features * (features - 1) / 2)


def prune(x, y):
    """(B, M) boolean: the features that may be in the best pair (all members of best pairs are among them)."""
    if not x.size:
        return np.isfinite(x)
    top_x, top_y = x.max(axis=1, keepdims=True), y.max(axis=1, keepdims=True)
    if not (np.isfinite(top_x + top_x).all() and np.isfinite(top_y + top_y).all()):  # an empty row, or an overflow
        return _score(x + top_x, y + top_y) >= 0
    bound = _product(x, y, top_x, top_y)
    known = _some_pair(x, y, bound)
    keep = bound >= known[:, None]
    for row in np.flatnonzero(known == 0):  # none met, or underflow
        keep[row] = _score(x[row] + top_x[row], y[row] + top_y[row]) >= 0
    return keep


def _some_pair(x, y, bound):
    """The score of a good pair of each row, 0 where none was met: from the largest bound to its best partner."""
    rows = np.arange(len(x))
    feature = bound.argmax(axis=1)
    known = np.zeros(len(x), x.dtype)
    for _ in range(2):
        scores = _product(x, y, x[rows, feature, None], y[rows, feature, None])
        scores[rows, feature] = 0
        feature = scores.argmax(axis=1)
        known = np.maximum(known, scores[rows, feature])
    return known


def _product(x, y, other_x, other_y):
    """(x + other_x)·(y + other_y) where both are positive, 0 elsewhere; overflow is for the caller to exclude."""
    sum_x, sum_y = x + other_x, y + other_y
    np.maximum(sum_x, 0, out=sum_x)
    np.maximum(sum_y, 0, out=sum_y)
    return np.multiply(sum_x, sum_y, out=sum_x)


def _score(sum_x, sum_y):
    """Their product where both are positive, −1 elsewhere."""
    return np.where((sum_x > 0) & (sum_y > 0), sum_x * sum_y, -1)


def _by_size(survivors):
    """Rows with about equally many survivors together: (rows (R,), members (R, n) in rising order, padded with −1)."""
    counts = np.count_nonzero(survivors, axis=1)
    size = np.where(counts > 1, np.ceil(np.log2(np.maximum(counts, 2)) / 4), 0).astype(int)
    for level in np.unique(size[size > 0]):
        rows = np.flatnonzero(size == level)
        yield rows, _padded(survivors[rows])


def _padded(chosen):
    """The places of the True entries of each row, in rising order, padded with −1: (R, M) → (R, n)."""
    counts = np.count_nonzero(chosen, axis=1)
    row, place = np.nonzero(chosen)
    members = np.full((len(chosen), counts.max()), -1)
    members[row, np.arange(len(row)) - (np.cumsum(counts) - counts)[row]] = place
    return members


def _partners(x, y):
    """(R, n) boolean: the features that at most one other dominates (a few more where x ties)."""
    order = np.argsort(-x, axis=1, kind="stable")
    y = np.take_along_axis(y, order, axis=1)
    largest = np.maximum.accumulate(y, axis=1)
    second = np.maximum.accumulate(np.minimum(y[:, 1:], largest[:, :-1]), axis=1)
    partner = np.ones(x.shape, bool)
    np.put_along_axis(partner, order[:, 2:], (y[:, 2:] > second[:, :-1]), axis=1)
    return partner


def _first_best(x, y):
    """The best pair of each row (p, q, score), the first in lexicographic order; score −1 where none qualifies.

    p is the first feature that reaches the best score with any partner; q is the first that reaches it with p.
    """
    count, size = x.shape
    rows, partners = np.arange(count), _padded(_partners(x, y) if size > FEW else np.isfinite(x))
    at = np.maximum(partners, 0)
    x_partner = np.where(partners < 0, -np.inf, x[rows[:, None], at])
    y_partner = np.where(partners < 0, -np.inf, y[rows[:, None], at])
    p, best = np.zeros(count, int), np.full(count, -1.0, x.dtype)
    step = max(1, BLOCK // partners.size)
    for start in range(0, size, step):
        block = slice(start, start + step)
        scores = _score(x[:, block, None] + x_partner[:, None], y[:, block, None] + y_partner[:, None])
        row, place = np.nonzero((partners >= start) & (partners < start + step))
        scores[row, partners[row, place] - start, place] = -1  # no feature is its own partner
        reached = scores.max(axis=2)
        where = reached.argmax(axis=1)
        better = reached[rows, where] > best
        p[better], best[better] = start + where[better], reached[rows, where][better]
    scores = _score(x + x[rows, p, None], y + y[rows, p, None])
    scores[rows, p] = -1
    return p, scores.argmax(axis=1), best
