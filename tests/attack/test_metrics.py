"""τ, ε, their intervals and class tables: by hand on small cases, by simulation for what an
interval promises."""
from types import SimpleNamespace

import numpy as np
import pytest
from small import Small, Sure, some_samples

from attack import (
    DISTORTIONS,
    adversarial_distance,
    class_matrix,
    craft,
    distortion_interval,
    distortions,
    mean_distortion,
    robustness,
    success_interval,
    success_rate,
)


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


@pytest.mark.parametrize(("theta", "channels"),
                         [(1.0, "separate"), (0.4, "separate"), (-0.3, "tied")])
def test_distortions_by_a_loop_over_the_features(theta, channels):
    """Fractional steps touch a feature twice, and one at its bound without changing it."""
    rng, network = np.random.default_rng(0), Small()
    images = rng.random((20, 6, 6)).round(1)
    images[:, 0] = float(theta > 0)
    crafted = craft(network, images.reshape(20, 1, 6, 6), rng.integers(0, 4, 20), theta=theta,
                    max_distortion=70, channels=channels)
    measured = distortions(images.reshape(20, 1, 6, 6), crafted, channels)
    assert tuple(measured) == DISTORTIONS
    for n in range(20):
        before, after = images[n].reshape(-1).tolist(), crafted.adversarial[n].reshape(-1).tolist()
        moves = [abs(a - b) for a, b in zip(before, after)]
        touched = {int(i) for i in crafted.pairs[n].reshape(-1) if i >= 0}
        changed = sum(a != b for a, b in zip(before, after))
        expected = [100 * len(touched) / 36, 100 * changed / 36, sum(moves),
                    sum(move**2 for move in moves) ** 0.5, max(moves)]
        np.testing.assert_allclose([measured[name][n] for name in DISTORTIONS], expected,
                                   atol=1e-12)
        assert measured["L0"][n] == crafted.distortion[n]
    assert (measured["touched"] > measured["L0"]).any()


def test_tied_channels_count_as_one_pixel():
    images = np.zeros((1, 3, 2, 2))
    adversarial = images.copy()
    adversarial[0, :, 0, 1] = [0.3, 0.4, 0]
    crafted = SimpleNamespace(adversarial=adversarial, pairs=np.array([[[1, 2], [1, -1]]]))
    measured = distortions(images, crafted, "tied")
    assert {name: values.tolist() for name, values in measured.items()} == {
        "touched": [50.0], "L0": [25.0], "L1": [pytest.approx(0.7)], "L2": [pytest.approx(0.5)],
        "Linf": [0.4]}
    empty = SimpleNamespace(adversarial=images[:0], pairs=np.zeros((0, 0, 2), int))
    assert all(values.shape == (0,) for values in distortions(images[:0], empty).values())


@pytest.mark.parametrize("theta", [1.0, -0.5])
@pytest.mark.parametrize("derivative, of", [
    ("forward", "logits"), ("backward", "logits"), ("backward", "centred"),
    ("forward", "probabilities"), ("backward", "probabilities")])
def test_the_adversarial_distance_by_counting_all_pairs(theta, derivative, of):
    """Eq. 13 by pairs, for every image and class."""
    network, (images, _) = Small(), some_samples(5)
    done = []
    distance = adversarial_distance(network, images, theta=theta, derivative=derivative, of=of,
                                    batch_size=2, progress=lambda *counts: done.append(counts))
    assert distance.shape == (5, 4) and done == [(2, 5), (4, 5), (5, 5)]
    sign = np.sign(theta)
    for logits, jacobian, row in zip(network.logits(images), network.forward_derivative(images),
                                     distance):
        p = np.exp(logits) / np.exp(logits).sum()
        jacobian = {"logits": jacobian, "centred": jacobian - jacobian.mean(axis=0),
                    "probabilities": (np.diag(p) - np.outer(p, p)) @ jacobian}[of]
        for target in range(4):
            alpha = sign * jacobian[target]
            beta = sign * np.delete(jacobian, target, axis=0).sum(axis=0)
            positive = [alpha[p] + alpha[q] > 0 and beta[p] + beta[q] < 0
                        for p in range(36) for q in range(p + 1, 36)]
            assert row[target] == pytest.approx(1 - np.mean(positive), abs=1e-12)
    assert 0 < distance.min() < distance.max() <= 1


@pytest.mark.parametrize("apart", [60, 200])
@pytest.mark.parametrize("derivative", ["forward", "backward"])
def test_single_precision_counts_the_pairs_of_a_probability_that_it_rounds_to_0(apart, derivative):
    images = np.random.default_rng(1).random((3, 20)).astype(np.float32)
    single, double = (adversarial_distance(Sure(apart), images.astype(dtype), of="probabilities",
                                           derivative=derivative)
                      for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(single, double, atol=1e-2)  # a pair whose sum is nearly 0 may turn
    assert (single < 0.9).all()


def test_robustness_is_the_smallest_distance():
    """Eq. 14."""
    assert robustness(np.array([[0.9, np.nan], [0.4, 0.7]])) == 0.4
    assert np.isnan(robustness([np.nan])) and np.isnan(robustness([]))
    assert adversarial_distance(Small(), np.zeros((0, 6, 6))).size == 0
