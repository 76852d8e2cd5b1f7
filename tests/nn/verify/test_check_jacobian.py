"""`check_jacobian`: bare functions with Jacobians known from calculus, and the mistakes one makes
by hand."""
import math

import numpy as np
import pytest

from nn import check_jacobian

A = np.random.default_rng(0).normal(size=(4, 4))


def f(x):
    return np.sin(A @ x)


def right(x):
    return np.cos(A @ x)[:, None] * A


X = np.array([0.3, -0.2, 0.5, 0.9])


def test_a_right_jacobian_is_right():
    report = check_jacobian(f, right, X)
    assert report and report.verdict == "right" and report.rows[0].largest < 1e-14
    assert report.raise_if_wrong() is report and not report.missing
    assert check_jacobian(f, right(X), X)


@pytest.mark.parametrize(("wrong", "cause"), [
    (lambda x: right(x).T, "transposed"), (lambda x: -right(x), "the sign is wrong"),
    (lambda x: 2 * right(x), "scaled by 2: a factor 2 too much"),
    (lambda x: right(x) / 4, "scaled by 0.25: divided by 4 once too often"),
    (lambda x: 0 * right(x), "zero everywhere"),
    (lambda x: A, "the f' of `np.sin(A @ x)` is wrong: the slope is 1"),
    (lambda x: right(x) * [[2], [1], [1], [1]], "only row 0 is wrong: scaled by 2"),
    (lambda x: right(x) * [1, 0, 1, 1], "only column 1 is wrong: it is zero there"),
    (lambda x: right(x) + 1e-5 * np.eye(4, k=1) * (np.eye(4)[0] > 0)[:, None],
     "one entry alone is wrong"),
    (lambda x: right(x) + 1e-5 * np.random.default_rng(2).normal(size=(4, 4)), ""),
    (lambda x: right(x)[::-1], "the order along axis 0 is reversed"),
])
def test_a_wrong_one_is_caught_and_its_pattern_named(wrong, cause):
    report = check_jacobian(f, wrong, X)
    assert not report and report.verdict == "wrong"
    assert report.cause.startswith(cause) and bool(report.cause) == bool(cause)
    words = [word.strip(",") for word in report.finding.entry.split()]
    j, i = (int(word) for word in words if word.isdigit())
    assert report.finding.claimed == pytest.approx(wrong(X)[j, i])
    assert report.finding.expected == pytest.approx(right(X)[j, i])
    with pytest.raises(AssertionError, match="wrong: the Jacobian"):
        report.raise_if_wrong()
    assert len(str(report).splitlines()) <= 20 and "<svg" in report._repr_html_()


@pytest.mark.parametrize(("real", "x", "jacobian"), [
    (lambda x: np.array([float(x[0]) * float(x[1])]), [2.0, 3.0], [[3.0, 2.0]]),
    (lambda x: math.log(x[0]), [0.1], [[10.0]]),
    (lambda x: math.log(x[0]), [0.3], [[1 / 0.3]]),
    (lambda x: math.sqrt(x[0]), [1e-4], [[50.0]]),
    (lambda x: np.abs(x) ** 2, [0.3, -2.0], [[0.6, 0.0], [0.0, -4.0]]),
    (lambda x: np.linalg.norm(x), [3.0, 4.0], [0.6, 0.8]),
    (lambda x: x.std(), [1.0, 3.0], [-0.5, 0.5]),
    (lambda x: x * np.conj(x), [0.3], [[0.6]]),
    (lambda x: np.cbrt(x), [1.0, 8.0], [[1 / 3, 0], [0, 1 / 12]]),
    (lambda x: x.astype(np.float32) ** 2, [2.0, 2.5], [[4.0, 0.0], [0.0, 5.0]]),
])
def test_code_that_the_complex_step_cannot_judge_is_judged_by_differences(real, x, jacobian):
    x, jacobian = np.array(x), np.array(jacobian)
    report = check_jacobian(real, jacobian, x)
    assert report, report
    assert any("complex step" in name for name in report.missing)
    assert check_jacobian(real, 1.01 * jacobian, x).verdict == "wrong"


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize(("undefined", "x"), [
    (lambda x: math.log(x[0]), [-1.0]), (lambda x: np.log(x), [-1.0]),
    (lambda x: x * np.nan, [2.0]), (lambda x: np.sqrt(x), [0.0]),
])
@pytest.mark.parametrize("claim", [99.0, 0.0])
def test_what_cannot_be_computed_is_no_agreement(undefined, x, claim):
    try:
        report = check_jacobian(undefined, [[claim]], x)
    except ValueError as error:  # of the function itself, at the point
        assert undefined.__code__.co_names[0] == "math"
        assert str(error)
    else:
        assert report.verdict == "not judged" and not report


def test_a_part_that_cannot_be_computed_is_counted():
    def half(x):
        return np.array([x[0] ** 2, np.sqrt(x[1].real - 1) if x[1].real > 1 else np.nan])
    report = check_jacobian(half, [[4.0, 0.0], [0.0, 7.0]], [2.0, 0.5])
    assert report.verdict == "not judged" and report.rows[0].not_judged == 2
    assert "2 of 4 entries" in str(report)
    assert check_jacobian(half, [[5.0, 0.0], [0.0, 7.0]], [2.0, 0.5]).verdict == "wrong"


@pytest.mark.parametrize("slope", [1.0, -1.0, 0.0])
def test_at_a_kink_the_slopes_of_both_sides_and_all_between_are_right(slope):
    def kinked(x):
        return np.array([np.abs(float(np.real(x[0]))), float(np.real(x[1])) ** 2])
    x = np.array([0.0, 1.5])
    report = check_jacobian(kinked, [[slope, 0], [0, 2 * x[1]]], x)
    assert report.verdict == "right" and report.rows[0].at_kinks == 1
    assert check_jacobian(kinked, [[slope, 0], [0, x[1]]], x).verdict == "wrong"


@pytest.mark.parametrize("claim", [1.5, -1.5])
def test_outside_the_slopes_of_a_kink_nothing_is_right(claim):
    assert not check_jacobian(lambda x: np.abs(x), [[claim]], [0.0])


@pytest.mark.parametrize("gap", [1e-1, 1e-3, 2e-5, 1e-6])
@pytest.mark.parametrize("largest", [lambda x: max(x), lambda x: np.max(x),
                                     lambda x: np.array([max(float(v) for v in x.real)])])
def test_a_kink_nearby_does_not_make_right_code_wrong(largest, gap):
    x = np.array([0.5 + gap, 0.5])
    assert check_jacobian(largest, [[1.0, 0.0]], x)
    assert check_jacobian(largest, [[0.9, 0.0]], x).verdict == "wrong"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sizes", [(12, 50, 3), (64, 100, 10)])
def test_networks_with_kinks_all_around_are_not_wrong(seed, sizes):
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(size=(out, into)) for into, out in zip(sizes, sizes[1:]))
    bias, x = rng.normal(size=sizes[1]), rng.normal(size=sizes[0])
    slope = (first @ x + bias > 0)[:, None] * 1.0
    jacobian = second @ (slope * first)

    def real(x):
        return second @ np.maximum(first @ x + bias, 0).real.astype(float)

    for f in (lambda x: second @ np.maximum(first @ x + bias, 0), real):
        assert check_jacobian(f, jacobian, x)
        report = check_jacobian(f, second @ first, x)
        assert report.verdict == "wrong"


def test_a_mask_that_is_forgotten_is_named():
    x = np.array([0.5, -0.5, 2.0, -1.0])
    report = check_jacobian(lambda x: np.maximum(x, 0), np.eye(4), x)
    assert "a mask (a ReLU's, dropout's, a maximum's) is missing" in report.cause


@pytest.mark.parametrize("z", [5.0, 12.0, 20.0, 40.0])
@pytest.mark.parametrize(("unit", "slope"), [
    (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    (lambda z: 1 / (1 + np.exp(-z)),
     lambda z: 1 / (1 + np.exp(-z)) * (1 - 1 / (1 + np.exp(-z)))),
])
def test_saturated_units_are_not_wrong(unit, slope, z):
    assert check_jacobian(unit, [slope(np.array([z]))], [z])


def test_saturated_softmax_is_not_wrong():
    def softmax(x):
        return np.exp(x - x.max()) / np.exp(x - x.max()).sum()
    p = softmax(np.array([40.0, 0.0, -3.0]))
    report = check_jacobian(softmax, np.diag(p) - np.outer(p, p), [40.0, 0.0, -3.0])
    assert report and report.rows[0].small


def test_random_functions_are_told_so():
    rng = np.random.default_rng(0)
    report = check_jacobian(lambda x: x * (rng.random(x.shape) < 0.5), np.eye(3), np.ones(3))
    assert report.verdict == "not judged" and "different values" in str(report)


def test_a_function_that_changes_its_argument_is_told_so():
    def careless(x):
        x *= 2
        return x
    report = check_jacobian(careless, 2 * np.eye(2), [1.0, 2.0])
    assert report and "changes its argument x" in str(report)


def test_scipy_forms_of_f_and_jac():
    import scipy
    x = np.array([1.3, 0.7, 0.8])
    assert check_jacobian(scipy.optimize.rosen, scipy.optimize.rosen_der, x)
    assert check_jacobian(scipy.optimize.rosen_der, scipy.optimize.rosen_hess, x)
    assert check_jacobian(scipy.optimize.rosen, lambda x: -scipy.optimize.rosen_der(x),
                          x).cause == "the sign is wrong"


def test_many_features_are_checked_along_directions():
    weight = np.random.default_rng(1).normal(size=(2, 5000))
    assert check_jacobian(lambda x: weight @ x, weight, np.zeros(5000))
    weight_with_one_off = weight.copy()
    weight_with_one_off[1, 4321] *= 1.01
    report = check_jacobian(lambda x: weight @ x, weight_with_one_off, np.zeros(5000))
    assert report.finding.entry == "output 1, feature 4321"


def test_pixels_are_named_by_row_and_column():
    weight = np.random.default_rng(1).normal(size=(2, 30))
    shifted = np.roll(weight.reshape(2, 5, 6), 1, axis=2)
    report = check_jacobian(lambda x: weight @ x.reshape(-1), shifted, np.zeros(30),
                            image=(1, 5, 6))
    assert "pixel (row" in report.finding.entry
    assert report.finding.cause == "shifted by a pixel (one column)"


@pytest.mark.parametrize(("claimed", "word"), [
    (np.ones((3, 4)), "(4, 4)"), (np.full((4, 4), np.nan), "NaN"),
    (np.ones((4, 4), complex), "real"), (np.ones(16), "(4, 4)"), (np.ones((2, 8)), "(4, 4)"),
])
def test_what_cannot_be_a_jacobian_is_refused(claimed, word):
    with pytest.raises(ValueError) as error:
        check_jacobian(f, claimed, X)
    assert word in str(error.value)


def test_functions_of_jax_in_32_bits():
    jax = pytest.importorskip("jax", reason="jax is not installed (pip install 'jsma[referees]')")
    weight = np.random.default_rng(4).normal(size=(3, 3)).astype(np.float32)

    def f(x):
        return jax.numpy.tanh(weight @ x)

    x = np.array([0.3, -0.2, 0.7])
    jacobian = np.asarray(jax.jacobian(f)(x))
    assert check_jacobian(f, jacobian, x)
    assert check_jacobian(f, jacobian.T, x).cause == "transposed"
    assert check_jacobian(f, 1.02 * jacobian, x).verdict == "wrong"


def test_a_transposed_jacobian_is_refused_and_said():
    w = np.arange(12.0).reshape(3, 4)
    with pytest.raises(ValueError, match=r"must hold \(3, 4\).*got float64 \(4, 3\) \(transposed"):
        check_jacobian(lambda x: w @ x, w.T, np.ones(4))
    with pytest.raises(ValueError, match=r"got float64 \(12,\)$"):
        check_jacobian(lambda x: w @ x, w.ravel(), np.ones(4))
