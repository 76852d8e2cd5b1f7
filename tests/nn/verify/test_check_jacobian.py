"""`check_jacobian`: bare functions with Jacobians known from calculus, and the mistakes one makes
by hand."""
import numpy as np
import pytest

from nn import check_jacobian

A = np.random.default_rng(0).normal(size=(4, 4))


def f(x):
    return np.sin(A @ x)


def right(x):
    return np.cos(A @ x)[:, None] * A


X = np.array([0.3, -0.2, 0.5, 0.9])


def test_a_right_jacobian_is_right_against_both_referees():
    report = check_jacobian(f, right, X)
    assert report.verdict == "right" and report.rows[0].errors["complex step"].relative < 1e-14
    assert report.rows[0].errors["central differences"].relative < 1e-7 and not report.missing
    assert check_jacobian(f, right(X), X).verdict == "right"


@pytest.mark.parametrize(("wrong", "cause"), [
    (lambda x: right(x).T, "transposed"), (lambda x: -right(x), "the sign is wrong"),
    (lambda x: 2 * right(x), "scaled by 2"), (lambda x: 0 * right(x), "zero everywhere"),
    (lambda x: A, ""), (lambda x: right(x) + 1e-5 * np.eye(4)[1], ""),
])
def test_a_wrong_one_is_caught_and_its_pattern_named(wrong, cause):
    report = check_jacobian(f, wrong, X)
    assert report.verdict == "wrong" and report.finding.cause == cause
    words = [word.strip(",") for word in report.finding.entry.split()]
    j, i = (int(word) for word in words if word.isdigit())
    assert report.finding.claimed == pytest.approx(wrong(X)[j, i])
    assert report.finding.expected == pytest.approx(right(X)[j, i])


def test_a_function_of_real_numbers_only_is_judged_by_differences():
    def real(x):
        return np.array([float(x[0].real) * float(x[1].real)])
    report = check_jacobian(real, lambda x: [[x[1], x[0]]], np.array([2.0, 3.0]))
    assert report.verdict == "right" and "complex" in report.missing["complex step"]
    assert check_jacobian(real, lambda x: [[x[0], x[1]]], np.array([2.0, 3.0])).verdict == "wrong"


def test_a_kink_is_counted_and_not_judged_by_differences():
    def kinked(x):
        return np.array([np.abs(float(np.real(x[0]))), float(np.real(x[1])) ** 2])
    x = np.array([0.0, 1.5])
    for slope in (1.0, -1.0, 0.0):
        report = check_jacobian(kinked, lambda x, slope=slope: [[slope, 0], [0, 2 * x[1]]], x)
        assert report.verdict == "right" and report.rows[0].ties == 1
    assert check_jacobian(kinked, lambda x: [[1, 0], [0, x[1]]], x).verdict == "wrong"


def test_pixels_are_named_by_row_and_column():
    weight = np.random.default_rng(1).normal(size=(2, 30))
    shifted = np.roll(weight.reshape(2, 5, 6), 1, axis=2)
    report = check_jacobian(lambda x: weight @ x.reshape(-1), shifted, np.zeros(30),
                            image=(1, 5, 6))
    assert "pixel (row" in report.finding.entry
    assert report.finding.cause == "shifted by a pixel (one column)"


@pytest.mark.parametrize(("claimed", "word"), [
    (np.ones((3, 4)), "(4, 4)"), (np.full((4, 4), np.nan), "NaN"),
    (np.ones((4, 4), complex), "real"),
])
def test_what_cannot_be_a_jacobian_is_refused(claimed, word):
    with pytest.raises(ValueError) as error:
        check_jacobian(f, claimed, X)
    assert word in str(error.value)
