"""The textbook by hand: cases small enough to work out on paper. (The fast code is held to it in
test_saliency.py, test_pairs.py, test_crafting.py and test_variants.py.)"""
import numpy as np
import pytest

from attack import textbook
from attack.textbook import algorithm_1, algorithm_2, best_pair, pair_scores, saliency_map

# rows F_j, columns x_i; of target 0: α = (2, 1, −1, 3), β = (−1, 0.5, −4, 1)
J = np.array([[2.0, 1.0, -1.0, 3.0], [-1.0, 0.0, -3.0, 2.0], [0.0, 0.5, -1.0, -1.0]])
ALL = np.ones(4, bool)


def test_equations_8_and_9_by_hand():
    assert saliency_map(J, 0).tolist() == [2, 0, 0, 0]
    assert saliency_map(J, 0, Gamma=np.array([0, 1, 1, 1], bool)).tolist() == [0, 0, 0, 0]
    assert saliency_map(-J, 0, theta=-1.0).tolist() == [2, 0, 0, 0]
    assert saliency_map(J, 0, theta=-1.0).tolist() == [0, 0, 0, 0]


def test_equation_10_by_hand():
    scores = pair_scores(J[0], J[1] + J[2])
    expected = np.full((4, 4), -np.inf)
    expected[0, 1] = 3 * 0.5
    expected[0, 2] = 1 * 5
    expected[2, 3] = 2 * 3  # (0, 3): β = 0, and (1, 2): α = 0 do not qualify
    assert scores.tolist() == expected.tolist()
    assert pair_scores(-J[0], -J[1] - J[2], theta=-1.0).tolist() == expected.tolist()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_algorithm_3_by_hand(sign):
    assert best_pair(sign * J, 0, ALL, sign) == (2, 3)
    assert best_pair(sign * J, 0, np.array([1, 1, 1, 0], bool), sign) == (0, 2)
    assert best_pair(sign * J, 0, np.array([0, 1, 1, 0], bool), sign) is None
    assert best_pair(sign * J, 0, np.zeros(4, bool), sign) is None


def test_of_equal_pairs_the_first_is_taken():
    assert best_pair(np.array([[1.0] * 4, [-1.0] * 4]), 0, ALL) == (0, 1)
    assert best_pair(np.array([[1.0, 3, 0, 3], [-1.0, -3, 0, -3]]), 0, ALL) == (1, 3)


def straight(weight):
    """F and dF of logits W·x."""
    weight = np.array(weight, float)
    return lambda x: weight @ x, lambda x: weight


def test_algorithm_2_by_hand():
    """θ = 0.4 touches features 1 and 2 three times, 0 → 0.4 → 0.8 → 1; then they are out of Γ, and
    feature 3 has no partner."""
    F, dF = straight([[50, -1, -1, -1], [0, 2, 2, 1]])
    X = np.array([1.0, 0, 0, 0])
    X_star, pairs = algorithm_2(F, dF, X, 1, theta=0.4, upsilon=np.inf)
    assert pairs == [(1, 2)] * 3 and X_star.tolist() == [1, 1, 1, 0] and X.tolist() == [1, 0, 0, 0]
    assert algorithm_2(F, dF, X, 1, theta=0.4, upsilon=100)[1] == [(1, 2)] * 2
    assert algorithm_2(F, dF, X, 0)[1] == []


def test_algorithm_1_by_hand():
    """The best feature is at 1 already: chosen, it changes nothing and is out; then come others."""
    F, dF = straight([[10, -1, -1, -1], [0, 1, 5, 3]])
    X = np.array([1.0, 0, 1, 0])
    X_star, features = algorithm_1(F, dF, X, 1, upsilon=100)
    assert features == [2, 3, 1] and X_star.tolist() == [1, 1, 1, 1]
    assert algorithm_1(F, dF, X, 1, upsilon=50)[1] == [2, 3]


def test_the_budget_is_the_papers():
    """max_iter = ⌊784·Υ / 200⌋ = 56 for 14.5 % and for 112 pixels."""
    _, dF = straight(np.concatenate([-np.ones((1, 784)), np.ones((1, 784))]))

    def never(x):
        return np.array([1.0, 0.0])

    for upsilon in (14.5, 100 * 112 / 784):
        assert len(algorithm_2(never, dF, np.zeros(784), 1, upsilon=upsilon)[1]) == 56


def test_it_is_short_enough_to_read():
    with open(textbook.__file__, encoding="utf-8") as file:
        assert len(file.readlines()) <= 90
