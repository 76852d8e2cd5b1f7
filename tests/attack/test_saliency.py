"""Eq. 8 and 9 against the plain loop over features and outputs of attack.textbook."""
import numpy as np
import pytest

from attack import saliency_map, textbook


@pytest.mark.parametrize("theta", [1.0, 0.1, -1.0, -0.3])
def test_equations_8_and_9(theta):
    rng = np.random.default_rng(0)
    for _ in range(50):
        jacobian = rng.normal(size=(rng.integers(2, 6), 30)) * (rng.random((1, 30)) < 0.9)
        target = int(rng.integers(len(jacobian)))
        expected = textbook.saliency_map(jacobian, target, theta)
        assert expected.any()
        np.testing.assert_allclose(saliency_map(jacobian, target, theta), expected, rtol=1e-12,
                                   atol=1e-14)


def test_a_batch_is_its_samples():
    rng = np.random.default_rng(1)
    jacobian, target = rng.normal(size=(7, 5, 20)), rng.integers(0, 5, 7)
    maps = saliency_map(jacobian, target)
    assert maps.shape == (7, 20)
    for row, one, t in zip(maps, jacobian, target):
        np.testing.assert_allclose(row, textbook.saliency_map(one, t, 1.0), rtol=1e-12, atol=1e-14)


def test_features_outside_the_domain_score_nothing():
    rng = np.random.default_rng(2)
    jacobian, domain = rng.normal(size=(4, 50)), rng.random(50) < 0.5
    free, limited = saliency_map(jacobian, 1), saliency_map(jacobian, 1, domain=domain)
    assert (limited[~domain] == 0).all() and (free[~domain] > 0).any()
    np.testing.assert_array_equal(limited[domain], free[domain])


@pytest.mark.parametrize(("arguments", "words"), [
    ((np.ones((3, 4)), 3), ["targets", "0 to 2", "3"]),
    ((np.ones((3, 4)), -1), ["targets", "-1"]),
    ((np.ones((3, 4)), 1.5), ["targets", "whole", "1.5"]),
    ((np.ones((3, 4)), 1, 0.0), ["theta", "0"]),
    ((np.ones((3, 4)), 1, np.nan), ["theta", "nan"]),
    ((np.ones(4), 1), ["jacobian", "(4,)"]),
    ((np.ones((2, 3, 4)), [0, 1, 2]), ["targets", "2", "(3,)"]),
])
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError) as error:
        saliency_map(*arguments)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
