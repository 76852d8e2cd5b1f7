"""τ, ε, their intervals and class tables: by hand on small cases, by simulation for what an interval promises."""
import numpy as np
import pytest

from attack import class_matrix, distortion_interval, mean_distortion, success_interval, success_rate


def test_rates_and_means_by_hand():
    success, distortion = np.array([True, False, True, True]), np.array([1.0, 14.0, 2.0, 6.0])
    assert success_rate(success) == 75
    assert mean_distortion(distortion) == 5.75
    assert mean_distortion(distortion, success) == 3
    assert np.isnan(success_rate([])) and np.isnan(mean_distortion(distortion, [False] * 4))


def test_independent_samples_get_wilsons_interval():
    """Published example of Wilson's score interval: 81 of 263 → 25.5 to 36.6 %."""
    rng = np.random.default_rng(0)
    success = rng.permutation(np.arange(263) < 81)
    low, high = success_interval(success, np.arange(263))
    assert low == pytest.approx(25.5, abs=0.06) and high == pytest.approx(36.6, abs=0.06)


def test_equal_samples_of_one_digit_count_once():
    """Nine copies of each outcome say no more than one."""
    success = np.random.default_rng(1).random(200) < 0.9
    once = success_interval(success, np.arange(200))
    nine = success_interval(np.repeat(success, 9), np.repeat(np.arange(200), 9))
    np.testing.assert_allclose(nine, once, rtol=0.005)


def test_all_successes_leave_room_below():
    low, high = success_interval(np.ones(90, bool), np.repeat(np.arange(10), 9))
    assert high == 100 and 65 < low < 75  # Wilson for 10 of 10: 72.2


@pytest.mark.parametrize("quantity", ["tau", "epsilon"])
def test_intervals_cover_the_truth_in_95_of_100_samples(quantity):
    """Digits differ in how hard they are, so their nine samples hang together."""
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        hardness = rng.beta(12, 2, 60)
        groups = np.repeat(np.arange(60), 9)
        success = rng.random(540) < hardness[groups]
        if quantity == "tau":
            low, high = success_interval(success, groups)
            truth = 100 * 12 / 14
        else:
            truth = 4.0
            base = rng.gamma(4, 1, 60)
            low, high = distortion_interval(base[groups] * rng.gamma(5, 0.2, 540), groups)
        covered += low <= truth <= high
    assert 0.89 <= covered / 300 <= 0.99


def test_an_interval_of_one_digit_is_unknown():
    assert np.isnan(distortion_interval(np.ones(9), np.zeros(9))).all()


def test_class_matrix_by_hand():
    matrix = class_matrix([1, 0, 5], [0, 0, 2], [1, 1, 0], classes=3)
    assert matrix[0, 1] == 0.5 and matrix[2, 0] == 5 and np.isnan(matrix).sum() == 7
