"""What makes probabilities of the logits is the network's own: the softmax, or a sigmoid of each.

Against the network's own `probabilities`, its derivative of them, and differences.
"""
import numpy as np
import pytest
from scipy.special import expit, softmax

from attack import Ensemble, craft
from attack.model import output_weights
from nn import Flatten, Linear, Network, Sigmoid, Softmax, Tanh

FEATURES, CLASSES = 12, 3


def network(end, seed=0):
    rng = np.random.default_rng(seed)
    layers = [Flatten(), Linear(FEATURES, 6, rng=rng), Tanh(), Linear(6, CLASSES, rng=rng), end]
    made = Network(layers, (FEATURES,))
    return made.load({name: 2 * array.astype(float) for name, array in made.parameters().items()})


def some_images(count=20):
    rng = np.random.default_rng(1)
    return rng.random((count, FEATURES)).round(1) * (rng.random((count, FEATURES)) < 0.7)


ENDS = [pytest.param(Softmax, id="softmax"), pytest.param(Sigmoid, id="sigmoid")]


@pytest.mark.parametrize("end", ENDS)
def test_less_confidence_is_less_of_the_networks_own_probability(end):
    model, images = network(end()), some_images(40)
    rows, sources, before = np.arange(40), model.predict(images), model.probabilities(images)
    level = np.median(before[rows, sources])
    crafted = craft(model, images, goal="confidence", confidence=level, max_distortion=50)
    np.testing.assert_array_equal(crafted.reason == "already_target",
                                  before[rows, sources] < level)
    after = model.probabilities(crafted.adversarial)[rows, sources]
    np.testing.assert_array_equal(crafted.success, after < level)
    assert (crafted.reason == "target_reached").any()


@pytest.mark.parametrize("derivative", ["forward", "backward"])
@pytest.mark.parametrize("end", ENDS)
def test_the_networks_own_probabilities_are_differentiated(end, derivative):
    model, images = network(end()), some_images()
    crafted = craft(model, images, 1, of="probabilities", trace=True, derivative=derivative,
                    max_distortion=50)
    steps = [step for sample in crafted.trace for step in sample]
    assert steps
    for step in steps:
        jacobian = model.forward_derivative(step.image[None], of="probabilities")[0]
        np.testing.assert_allclose(step.alpha, jacobian[1], atol=1e-13)
        np.testing.assert_allclose(step.beta, jacobian[0] + jacobian[2], atol=1e-13)


@pytest.mark.parametrize("end", ENDS)
def test_the_weights_of_the_weighted_rule(end):
    model, images = network(end()), some_images()
    crafted = craft(model, images, 1, rule="weighted", trace=True, max_distortion=50)
    steps = [step for sample in crafted.trace for step in sample]
    assert steps
    for step in steps:
        (jacobian,), (p,) = (f(step.image[None]) for f in (model.forward_derivative,
                                                           model.probabilities))
        np.testing.assert_allclose(step.beta, p[0] * jacobian[0] + p[2] * jacobian[2], atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tails_have_all_their_digits(dtype):
    """f' of a sigmoid by e/(1 + e)²; of a softmax β = −α exactly, however small p is."""
    for z in (-80.0, -30.0, -3.0, 0.0, 3.0, 30.0, 80.0):
        logits = np.array([[z, 1.5, -2.0]], dtype)
        e = np.exp(-np.abs(logits[0].astype(np.longdouble)))
        slope = (e / (1 + e) ** 2).astype(float)
        alpha, beta = output_weights(logits, [0], "probabilities", activation="sigmoid")[0]
        np.testing.assert_allclose(alpha, [slope[0], 0, 0], rtol=20 * np.finfo(dtype).eps)
        np.testing.assert_allclose(beta, [0, slope[1], slope[2]], rtol=20 * np.finfo(dtype).eps)
        p = softmax(logits[0].astype(np.longdouble))
        others = np.array([p[1] + p[2], p[0] + p[2], p[0] + p[1]])
        expected = np.where([True, False, False], p * others, -p * p[0]).astype(float)
        alpha, beta = output_weights(logits, [0], "probabilities")[0]
        np.testing.assert_allclose(alpha, expected, rtol=50 * np.finfo(dtype).eps)
        np.testing.assert_allclose(beta, -expected, rtol=50 * np.finfo(dtype).eps)


def test_an_ensemble_of_networks_that_end_in_a_sigmoid():
    members, x = [network(Sigmoid(), seed) for seed in range(3)], some_images(4)
    for average in ("logits", "probabilities"):
        model = Ensemble(members, average)
        assert model.output_activation == "sigmoid"
        z = model.logits(x)
        if average == "probabilities":
            mean = np.mean([member.probabilities(x) for member in members], axis=0)
            np.testing.assert_allclose(expit(z), mean, rtol=1e-12)
            np.testing.assert_allclose(expit(-z), 1 - mean, rtol=1e-10)
        step = 1e-6 * np.eye(FEATURES)
        slopes = [((model.logits(one + step) - model.logits(one - step)) / 2e-6).T for one in x]
        np.testing.assert_allclose(model.forward_derivative(x), slopes, atol=1e-7)
        v = np.random.default_rng(0).normal(size=(4, 2, CLASSES))
        np.testing.assert_allclose(model.backward_derivative(x, v), v @ np.array(slopes),
                                   atol=1e-6)


def test_activations_that_do_not_fit_are_named():
    mixed = Ensemble([network(Sigmoid()), network(Softmax())])
    with pytest.raises(ValueError, match=r"same output_activation; got \['sigmoid', 'softmax'\]"):
        craft(mixed, some_images(), 1)
    model = type("Model", (), {"output_activation": "relu", "logits": network(Softmax()).logits,
                               "forward_derivative": network(Softmax()).forward_derivative})()
    with pytest.raises(ValueError,
                       match="output_activation of Model must be one of softmax, sigmoid; got 're"):
        craft(model, some_images(), 1)
