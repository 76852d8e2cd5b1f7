"""Algorithm 1 with a distance: on a linear model with a known way, and against the definition."""
import numpy as np
import pytest

from attack import craft_output
from nn import Linear, Network, Sigmoid


class Same:
    """F(X) = X."""

    def probabilities(self, x):
        return x.reshape(len(x), -1)

    def forward_derivative(self, x, of="logits"):
        assert of == "probabilities"
        return np.repeat(np.eye(x[0].size)[None], len(x), axis=0)


def test_the_identity_needs_exactly_the_pixels_that_differ():
    images, wanted = np.zeros((2, 3, 3)), np.zeros((2, 9))
    wanted[0, [1, 5]] = 1
    wanted[1, :] = 1
    reached = craft_output(Same(), images, wanted, 0.1, max_distortion=None)
    np.testing.assert_array_equal(reached.adversarial.reshape(2, 9), wanted)
    np.testing.assert_allclose(reached.distortion, [200 / 9, 100])
    np.testing.assert_allclose(reached.started, [np.sqrt(2), 3])
    assert reached.success.all() and reached.reason.tolist() == ["target_reached"] * 2
    assert not images.any()


def test_why_it_stops():
    images, wanted = np.zeros((4, 5)), np.ones((4, 5))
    wanted[0], wanted[2] = 0, -1
    images[3] = 1
    wanted[3] = 5
    reached = craft_output(Same(), images, wanted, 0.5, max_distortion=40)
    assert reached.reason.tolist() == ["already_target", "max_iterations", "no_feature",
                                       "max_iterations"]
    assert reached.success.tolist() == [True, False, False, False]
    assert reached.distortion.tolist() == [0, 40, 0, 0]
    unlimited = craft_output(Same(), images[3:], wanted[3:], 0.5, max_distortion=None)
    assert unlimited.reason[0] == "domain_empty"


def test_each_choice_is_the_steepest_descent_of_the_distance():
    """The first feature, against the distance computed by differences."""
    rng = np.random.default_rng(0)
    network = Network([Linear(12, 6, rng=rng), Sigmoid()], (12,))
    x, wanted = rng.uniform(0.2, 0.8, (5, 12)), rng.random((5, 6))
    reached = craft_output(network, x, wanted, 1e-9, theta=1e-3, max_distortion=100 / 12)
    for row in range(5):
        moved = x[row] + 1e-6 * np.eye(12)
        square = ((network.probabilities(moved) - wanted[row]) ** 2).sum(axis=1)
        assert (reached.adversarial[row] != x[row]).argmax() == np.argmin(square)
        assert reached.distance[row] < reached.started[row]


def test_nothing_and_nonsense():
    assert len(craft_output(Same(), np.zeros((0, 4)), np.zeros((0, 4)), 1).success) == 0
    with pytest.raises(ValueError, match=r"wanted must have the shape \(1, 4\)"):
        craft_output(Same(), np.zeros((1, 4)), np.zeros((1, 5)), 1)
    with pytest.raises(ValueError, match="theta"):
        craft_output(Same(), np.zeros((1, 4)), np.zeros((1, 4)), 1, theta=0)
