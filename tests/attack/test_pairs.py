"""The exact pair search against the dense one of Algorithm 3: every pair, one after the other,
first best wins."""
import tracemalloc

import numpy as np
import pytest

from attack import best_pair, pair_share, pairs, textbook

KINDS = ("normal", "integers", "huge and tiny", "collapsed", "zeros", "front", "not finite",
         "absorbed", "duplicates")


def dense(alpha, beta, domain, theta):
    """Algorithm 3 with the M×M table (attack.textbook), in the words of the fast search."""
    usable = domain & np.isfinite(alpha) & np.isfinite(beta)
    with np.errstate(all="ignore"):
        pair = textbook.best_pair(np.stack([alpha, beta]), 0, usable, theta)
        if pair is None:
            return -1, -1, 0
        return *pair, textbook.pair_scores(alpha, beta, theta)[pair]


def some_features(kind, rng, shape):
    alpha, beta = rng.normal(size=(2, *shape))
    if kind == "integers":
        alpha, beta = rng.integers(-3, 4, (2, *shape)).astype(float)
    elif kind == "huge and tiny":
        alpha = alpha * 10.0 ** rng.integers(-44, 38, shape)
        beta = beta * 10.0 ** rng.integers(-44, 38, shape)
    elif kind == "collapsed":
        beta = -alpha
    elif kind == "zeros":
        alpha, beta = alpha * (rng.random(shape) < 0.5), beta * (rng.random(shape) < 0.5)
    elif kind == "front":
        angle = rng.random(shape) * np.pi / 2
        alpha, beta = np.cos(angle), -np.sin(angle)
    elif kind == "not finite":
        strange = [np.nan, np.inf, -np.inf]
        alpha = np.where(rng.random(shape) < 0.1, rng.choice(strange, shape), alpha)
        beta = np.where(rng.random(shape) < 0.1, rng.choice(strange, shape), beta)
    elif kind == "absorbed":  # small differences vanish beside a large number: ties by rounding
        alpha = np.round(alpha, 1) + 1e8 * (rng.random(shape) < 0.1)
        beta = np.round(beta, 1) - 1e8 * (rng.random(shape) < 0.1)
    elif kind == "duplicates":
        chosen = rng.integers(0, max(1, shape[1] // 3), shape)
        alpha, beta = (np.take_along_axis(values, chosen, axis=1) for values in (alpha, beta))
    return alpha, beta


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_dense_search(kind, dtype):
    rng = np.random.default_rng([KINDS.index(kind), np.dtype(dtype).itemsize])
    pairs_seen = 0
    for _ in range(120):
        shape = (int(rng.integers(1, 6)), int(rng.integers(1, 45)))
        with np.errstate(over="ignore"):
            alpha, beta = (values.astype(dtype) for values in some_features(kind, rng, shape))
        domain = rng.random(shape) < rng.choice([0.1, 0.5, 0.9, 1.0])
        theta = rng.choice([1.0, -1.0, 0.2])
        p, q, score = best_pair(alpha, beta, domain, theta)
        assert score.dtype == dtype
        for row, got in enumerate(zip(p, q, score)):
            assert got == dense(alpha[row], beta[row], domain[row], theta)
            pairs_seen += got[0] >= 0
    assert pairs_seen > 50


def test_equals_the_dense_search_at_the_size_of_mnist():
    rng = np.random.default_rng(5)
    alpha, beta = rng.normal(size=(2, 12, 784)).astype(np.float32)
    for row, got in enumerate(zip(*best_pair(alpha, beta))):
        assert got == dense(alpha[row], beta[row], np.ones(784, bool), 1.0)


@pytest.mark.parametrize("size", [0, 1])
def test_domains_without_two_features_have_no_pair(size):
    domain = np.zeros((2, 10), bool)
    domain[:, :size] = True
    p, q, score = best_pair(np.ones((2, 10)), -np.ones((2, 10)), domain)
    assert (p == -1).all() and (q == -1).all() and (score == 0).all()


def test_no_features_and_no_rows():
    assert [len(part) for part in best_pair(np.ones((0, 5)), np.ones((0, 5)))] == [0, 0, 0]
    assert best_pair(np.ones((2, 0)), np.ones((2, 0)))[0].tolist() == [-1, -1]


def test_the_papers_example():
    """§IV-B: p1 has α = 5, β = 0.1, p2 has α = −0.5, β = −6: neither qualifies alone, the pair
    does."""
    p, q, score = best_pair(np.array([[5.0, -0.5, 0.1]]), np.array([[0.1, -6.0, 9.0]]))
    assert (p[0], q[0]) == (0, 1) and score[0] == pytest.approx(4.5 * 5.9)


def test_a_large_front_is_scored_in_blocks(monkeypatch):
    """All features may be in the best pair: still the dense search's answer, in the memory of a few
    blocks."""
    rng = np.random.default_rng(3)
    angle = rng.random((1, 1500)) * np.pi / 2
    alpha, beta = np.cos(angle), -np.sin(angle)
    monkeypatch.setattr(pairs, "BLOCK", 1 << 14)
    tracemalloc.start()
    got = [part[0] for part in best_pair(alpha, beta)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tuple(got) == dense(alpha[0], beta[0], np.ones(1500, bool), 1.0)
    assert peak < 1500 * 1500 * 8 / 8


def test_images_of_224_by_224_by_3_need_no_table():
    alpha, beta = np.random.default_rng(4).normal(size=(2, 1, 150_528)).astype(np.float32)
    tracemalloc.start()
    p, q, score = best_pair(alpha, beta)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    x, y = alpha[0].astype(float), -beta[0].astype(float)
    strong = np.argsort(-(x + y))[:3000]  # good features: none of their pairs may score higher
    pairs_of_strong = (x[strong][:, None] + x[strong]) * (y[strong][:, None] + y[strong])
    positive = (x[strong][:, None] + x[strong] > 0) & (y[strong][:, None] + y[strong] > 0)
    np.fill_diagonal(positive, False)
    assert score[0] == pytest.approx((x[p[0]] + x[q[0]]) * (y[p[0]] + y[q[0]]), rel=1e-6)
    assert score[0] >= (1 - 1e-6) * pairs_of_strong[positive].max()


@pytest.mark.parametrize(("alpha", "beta", "domain"), [
    (np.ones(4), np.ones(4), None), (np.ones((1, 4)), np.ones((1, 5)), None),
    (np.ones((1, 4)), np.ones((1, 4)), np.ones((1, 3), bool)),
])
def test_shapes_that_do_not_fit_are_named(alpha, beta, domain):
    with pytest.raises(ValueError, match="shape"):
        best_pair(alpha, beta, domain)


@pytest.mark.parametrize("theta", [1.0, -1.0])
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_the_share_of_pairs_that_qualify_by_counting_them(theta, block, monkeypatch):
    """Ties and zeros included: a sum of exactly 0 does not qualify."""
    monkeypatch.setattr("attack.pairs.BLOCK", block)
    rng = np.random.default_rng(0)
    alpha, beta = rng.integers(-3, 4, (2, 6, 15)).astype(float)
    sign = np.sign(theta)
    expected = [np.mean([(sign * (a[p] + a[q]) > 0) and (sign * (b[p] + b[q]) < 0)
                         for p in range(15) for q in range(p + 1, 15)])
                for a, b in zip(alpha, beta)]
    np.testing.assert_allclose(pair_share(alpha, beta, theta), expected)
    assert np.isnan(pair_share(alpha[:, :1], beta[:, :1])).all()
