"""The oracle: its derivative against the exact one, its queries against the formula, its attack
against the exact one."""
import numpy as np
import pytest

from attack import Oracle, craft
from data import load_mnist
from nn import Flatten, LeNet, Linear, Network, Sigmoid, Tanh


def smooth(seed=0):
    rng = np.random.default_rng(seed)
    network = Network([Flatten(), Linear(16, 8, rng=rng), Tanh(), Linear(8, 4, rng=rng)], (4, 4))
    return network.load({name: 3 * array.astype(np.float64)
                         for name, array in network.parameters().items()})


def test_the_derivative_is_that_of_the_centred_logits():
    network, x = smooth(), np.random.default_rng(1).uniform(0.1, 0.9, (3, 4, 4))
    oracle = Oracle(network.probabilities)
    logits = network.logits(x)
    np.testing.assert_allclose(oracle.logits(x), logits - logits.mean(axis=1, keepdims=True),
                               atol=1e-12)
    np.testing.assert_allclose(oracle.forward_derivative(x),
                               network.forward_derivative(x, of="centred"), atol=1e-7)


def test_at_0_and_1_it_asks_inside_the_range():
    network, asked = smooth(), []

    def answer(x):
        asked.append((x.min(), x.max()))
        return network.probabilities(x)

    x = np.round(np.random.default_rng(1).random((2, 4, 4)))
    jacobian = Oracle(answer).forward_derivative(x)
    np.testing.assert_allclose(jacobian, network.forward_derivative(x, of="centred"), atol=1e-3)
    assert all(0 <= low and high <= 1 for low, high in asked)


@pytest.mark.parametrize("batch", [1, 5, 1000])
def test_the_queries_are_counted(batch):
    """1 for an answer, 2·M for a derivative, and before the first answer the samples twice and one
    alone; what the network really saw."""
    network, seen = smooth(), []

    def answer(x):
        seen.append(len(x))
        return network.probabilities(x)

    oracle, x = Oracle(answer, batch=batch), np.random.default_rng(0).random((3, 4, 4))
    oracle.logits(x)
    assert oracle.queries == 2 * 3 + 1 + 3
    oracle.logits(x)
    assert oracle.queries == 2 * 3 + 1 + 3 + 3
    oracle.forward_derivative(x)
    assert oracle.queries == 2 * 3 + 1 + 3 + 3 + 3 * 2 * 16 == sum(seen) and max(seen) <= batch


def test_crafting_takes_the_same_way_as_with_the_weights_known():
    """Against `craft` on centred logits; for a sample of k iterations k + 1 answers and k
    derivatives (one more where it ends for want of a pair); and first four samples three times and
    one alone: whether the oracle is steady, and how many classes it has."""
    network, x = smooth(), np.random.default_rng(2).random((12, 4, 4))
    targets = (network.predict(x) + 1) % 4
    oracle = Oracle(network.probabilities)
    blind = craft(oracle, x, targets, max_distortion=60)
    exact = craft(network, x, targets, max_distortion=60, of="centred")
    np.testing.assert_array_equal(blind.pairs, exact.pairs)
    derivatives = blind.iterations.sum() + (blind.reason == "no_pair").sum()
    assert oracle.queries == 3 * 4 + 1 + (blind.iterations + 1).sum() + derivatives * 2 * 16
    assert 0 < blind.success.sum()


def test_an_output_that_underflows_gives_no_nan():
    oracle = Oracle(lambda x: np.repeat([[1.0, 0.0, 0.0]], len(x), axis=0))
    assert np.isfinite(oracle.logits(np.zeros((1, 4)))).all()
    assert np.isfinite(oracle.forward_derivative(np.zeros((1, 4)))).all()


def test_on_the_lenet_off_its_ties():
    network = LeNet.pretrained()
    rng = np.random.default_rng(0)
    x = load_mnist("test")[0][3:4].astype(float) * 0.9 + 0.05 * rng.random((1, 28, 28))
    jacobian = Oracle(network.probabilities).forward_derivative(x)
    exact = network.forward_derivative(x, of="centred")
    error = np.abs(jacobian - exact)
    assert np.median(error) < 1e-6 * np.abs(exact).max()
    assert np.mean(error > 1e-3 * np.abs(exact).max()) < 0.02  # a step across a tie nearby


def test_a_sigmoid_network_has_no_softmax_in_it():
    """Where each class has a probability by itself and that is said, the logits are its own."""
    network = Network([Flatten(), Linear(16, 3), Sigmoid()], (4, 4))
    x = np.full((1, 4, 4), 0.5)
    with pytest.raises(ValueError, match="sum to .*of each class by itself.*output_activation='si"):
        Oracle(network.probabilities).forward_derivative(x)
    oracle = Oracle(network.probabilities, output_activation="sigmoid")
    np.testing.assert_allclose(oracle.logits(x), network.logits(x), atol=1e-6)
    np.testing.assert_allclose(oracle.forward_derivative(x), network.forward_derivative(x),
                               atol=1e-6)


LOGITS = np.array([[3.0, -1.0, 0.5]])


@pytest.mark.parametrize(("answer", "said"), [
    (LOGITS, "values from -1 to 3, which look like logits: pass their softmax"),
    (LOGITS - np.log(np.exp(LOGITS).sum()), "look like logarithms of probabilities: pass their ex"),
    (np.array([[20.0, 30, 50]]), "values from 20 to 50, which look like percentages: divide them"),
    (np.array([[0.2, 0.3, 0.4]]), "rows that sum to 0.9, which look like probabilities of each"),
    (np.array([[0.6, 0.6, -0.2]]), "values from -0.2 to 0.6, which look like logits"),
    (np.array([[1.2]]), "values from 1.2 to 1.2, which look like logits: pass their sigmoid"),
    (np.array([[np.nan, 1, 0]]), "answers with NaN"),
    (np.array([0.5]), r"floats of the shape \(2, N\); got float64 \(2,\)")])
def test_answers_that_are_no_probabilities(answer, said):
    oracle = Oracle(lambda x: np.repeat(answer, len(x), axis=0))
    for ask in (oracle.logits, oracle.forward_derivative, lambda x: craft(oracle, x, 1)):
        with pytest.raises(ValueError, match=said) as error:
            ask(np.full((2, 4), 0.5))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("answer", [[[0.33, 0.33, 0.33]], [[1, 0, 0]], [[1.0000001, 0, 0]],
                                    np.float32([[0.2, 0.3, 0.5]]), [[0.0]], [[1.0]]])
def test_rounded_answers_are_probabilities(answer):
    oracle = Oracle(lambda x: np.repeat(answer, len(x), axis=0))
    assert np.isfinite(oracle.logits(np.zeros((2, 4)))).all()


def test_it_asks_within_the_bounds_of_the_features():
    """Features of other ranges, one of them of none; samples outside are refused."""
    network, asked = smooth(), []
    low, high = np.zeros((4, 4)), np.full((4, 4), 5.0)
    low[0], high[1, 1] = -2, 0.3
    low[1, 1] = 0.3

    def answer(x):
        asked.append(np.array(x))
        return network.probabilities(x)

    x = np.random.default_rng(0).choice([0.0, 0.5, 1.0], (3, 4, 4)) * (high - low) + low
    expected = network.forward_derivative(x, of="centred")
    expected[:, :, 5] = 0
    jacobian = Oracle(answer, step=1e-5, bounds=(low, high)).forward_derivative(x)
    np.testing.assert_allclose(jacobian, expected, atol=2e-4)
    assert all((low <= one).all() and (one <= high).all() for one in asked)
    with pytest.raises(ValueError, match=r"outside: pass it bounds=\(low, high\); got values from"):
        Oracle(answer).forward_derivative(x)
