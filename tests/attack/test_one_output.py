"""A single output z is two classes, the pair of logits (0, z): against a model that has these two
outputs, and against differences."""
import numpy as np
import pytest
from scipy.special import expit

from attack import (
    RULES,
    Ensemble,
    JaxModel,
    Oracle,
    TorchModel,
    adversarial_distance,
    craft,
    saliency_map,
    textbook,
)
from attack.goals import lead, reached
from nn import Flatten, Linear, Network, Sigmoid, Tanh

FEATURES = 12
pytestmark = pytest.mark.filterwarnings("ignore:the model has one output")


class One:
    """tanh of twelve features, one output."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.inner = rng.normal(size=(5, FEATURES))
        self.outer = rng.normal(size=5) * 2

    def logits(self, x):
        return np.tanh(x @ self.inner.T) @ self.outer[:, None]

    def forward_derivative(self, x):
        slope = 1 - np.tanh(x @ self.inner.T) ** 2
        return np.einsum("k,bk,km->bm", self.outer, slope, self.inner)[:, None]

    def backward_derivative(self, x, cotangents):
        return np.asarray(cotangents) @ self.forward_derivative(x)


class Two(One):
    """The same with the outputs (0, z), written out."""

    def logits(self, x):
        z = super().logits(x)[:, 0]
        return np.array([np.zeros(len(z)), z]).T

    def forward_derivative(self, x):
        row = super().forward_derivative(x)[:, 0]
        return np.array([[0 * one, one] for one in row])


def some_images(count=14):
    rng = np.random.default_rng(1)
    return rng.random((count, FEATURES)).round(1) * (rng.random((count, FEATURES)) < 0.7)


def network(*end):
    rng = np.random.default_rng(3)
    layers = [Flatten(), Linear(FEATURES, 5, rng=rng), Tanh(), Linear(5, 1, rng=rng), *end]
    made = Network(layers, (FEATURES,))
    made.load({name: 3 * array.astype(float) for name, array in made.parameters().items()})
    made.layers["3"].parameters["bias"] -= np.median(made.logits(some_images(40)))
    return made


def same(one, two):
    """Are all columns of two `Crafted` equal?"""
    for name in ("adversarial", "success", "predicted", "iterations", "distortion", "pairs",
                 "reason", "target", "reached"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)


@pytest.mark.parametrize("of", ["logits", "centred", "probabilities"])
@pytest.mark.parametrize("rule", RULES)
def test_crafted_as_from_the_pair(rule, of):
    images, succeeded = some_images(), 0
    for theta in (1.0, -0.4):
        for goal in ("source/target", "misclassification", "confidence"):
            if RULES[rule].untargeted and goal == "source/target":
                continue
            options = {"goal": goal, "theta": theta, "rule": rule, "of": of, "confidence": 0.3,
                       "max_distortion": 50, "margin": 0.2 * (goal != "confidence"),
                       "derivative": "forward" if theta > 0 else "backward"}
            targets = np.arange(len(images)) % 2 if goal == "source/target" else None
            ours = craft(One(), images, targets, **options)
            same(ours, craft(Two(), images, targets, **options))
            succeeded += (ours.reason == "target_reached").sum()
    assert succeeded or of == "logits"


@pytest.mark.parametrize("end", [[], [Sigmoid()]], ids=["without", "sigmoid"])
def test_predict_and_probabilities_and_craft_say_the_same(end):
    model, images = network(*end), some_images(40)
    said = model.predict(images)
    assert 0 < said.sum() < 40
    p = model.probabilities(images)[:, 0]
    np.testing.assert_allclose(p, expit(model.logits(images)[:, 0]), rtol=1e-12)
    np.testing.assert_array_equal(p > 0.5, said == 1)
    for target in (0, 1):
        crafted = craft(model, images, target, of="centred", max_distortion=80)
        np.testing.assert_array_equal(crafted.reason == "already_target", said == target)
        np.testing.assert_array_equal(crafted.predicted, model.predict(crafted.adversarial))
        assert (crafted.reason == "target_reached").any()
    unsure = craft(model, images, goal="confidence", confidence=0.2, of="probabilities",
                   max_distortion=80)
    p = model.probabilities(unsure.adversarial)[:, 0]
    np.testing.assert_array_equal(unsure.success, np.where(said == 1, p, 1 - p) < 0.2)
    assert unsure.success.any()
    step = 1e-6 * np.eye(FEATURES)
    slopes = [(model.probabilities(x + step) - model.probabilities(x - step)).T / 2e-6
              for x in images[:3]]
    np.testing.assert_allclose(model.forward_derivative(images[:3], of="probabilities"), slopes,
                               atol=1e-8)


@pytest.mark.parametrize("derivative", ["forward", "backward"])
@pytest.mark.parametrize("of", ["centred", "probabilities"])
def test_alpha_and_beta_are_those_of_the_pair(of, derivative):
    model, images = network(Sigmoid()), some_images()
    functions = {"centred": lambda z: [-z / 2, z / 2],
                 "probabilities": lambda z: [1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))]}
    crafted = craft(model, images, 1, of=of, trace=True, derivative=derivative, max_distortion=50)
    assert sum(map(len, crafted.trace))
    for steps in crafted.trace:
        for step in steps:
            moves = 1e-5 * np.eye(FEATURES)
            up, down = (np.array(functions[of](model.logits(step.image + way)[:, 0]))
                        for way in (moves, -moves))
            beta, alpha = (up - down) / 2e-5
            np.testing.assert_allclose(step.alpha, alpha, atol=1e-8)
            np.testing.assert_allclose(step.beta, beta, atol=1e-8)
            assert step.logits.shape == (2,)


def test_a_word_where_no_feature_can_be_chosen():
    with pytest.warns(UserWarning, match="the model has one output z.*of='centred'") as said:
        crafted = craft(One(), some_images(), 1, max_distortion=50)
    assert len(said) == 1 and set(crafted.reason) == {"already_target", "no_pair"}


def test_goals_saliency_and_distance():
    z = np.array([[-2.0], [0.0], [0.5]])
    pair = np.concatenate([0 * z, z], axis=1)
    for goal in ("source/target", "misclassification", "confidence"):
        for source, target in ((0, 1), (1, 0)):
            sources, targets = np.full(3, source), np.full(3, target)
            for activation in ("softmax", "sigmoid"):  # of one output the same
                np.testing.assert_array_equal(
                    reached(goal, z, sources, targets, 0.55, activation),
                    reached(goal, pair, sources, targets, 0.55))
            np.testing.assert_array_equal(lead(goal, z, sources, targets),
                                          lead(goal, pair, sources, targets))
    jacobian = One().forward_derivative(some_images())
    for target in (0, 1):
        for rows, theta in zip(jacobian, (1.0, -1.0) * 7):
            both = np.concatenate([0 * rows, rows])
            np.testing.assert_array_equal(saliency_map(rows, target, theta),
                                          textbook.saliency_map(both, target, theta))
            assert saliency_map(np.concatenate([-rows, rows]) / 2, target, theta).any()
    for derivative in ("forward", "backward"):
        np.testing.assert_array_equal(
            adversarial_distance(One(), some_images(), derivative=derivative),
            adversarial_distance(Two(), some_images(), derivative=derivative))


def torch_module(outputs):
    """`One` or `Two` in torch."""
    torch = pytest.importorskip("torch")
    one = One()
    module = torch.nn.Sequential(torch.nn.Linear(FEATURES, 5, bias=False), torch.nn.Tanh(),
                                 torch.nn.Linear(5, outputs, bias=False)).double()
    with torch.no_grad():
        module[0].weight[:] = torch.as_tensor(one.inner)
        module[2].weight[:] = 0
        module[2].weight[-1] = torch.as_tensor(one.outer)
    return module


def jax_function(outputs):
    jnp = pytest.importorskip("jax.numpy")
    one, zero = One(), np.zeros((5, outputs - 1))
    outer = np.concatenate([zero, one.outer[:, None]], axis=1)
    return lambda x: jnp.tanh(x @ one.inner.T) @ outer


def oracle_answer(outputs):
    def answer(x):
        p = expit(One().logits(x))
        return p if outputs == 1 else np.concatenate([1 - p, p], axis=1)
    return answer


ADAPTERS = {
    "torch": lambda n: TorchModel(torch_module(n)),
    "jax": lambda n: JaxModel(jax_function(n)),
    "oracle": lambda n: Oracle(oracle_answer(n)),
    "mean of logits": lambda n: Ensemble([(One, Two)[n - 1](seed) for seed in range(3)]),
    "mean of probabilities": lambda n: Ensemble([(One, Two)[n - 1](seed) for seed in range(3)],
                                                average="probabilities")}


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] * (name == "jax")) for name in ADAPTERS])
def test_adapters(name):
    images = some_images()
    for derivative in ("forward",) if name == "oracle" else ("forward", "backward"):
        for goal in ("source/target", "misclassification"):
            targets = np.arange(len(images)) % 2 if goal == "source/target" else None
            made = [craft(ADAPTERS[name](n), images, targets, goal=goal, derivative=derivative,
                          of="centred", max_distortion=60) for n in (1, 2)]
            same(*made)
            assert (made[0].reason == "target_reached").any()


def test_a_mean_of_two_probabilities_by_differences():
    members, x = [One(seed) for seed in range(3)], some_images(4)
    model = Ensemble(members, average="probabilities")
    z = model.logits(x)
    mean = np.mean([expit(member.logits(x)) for member in members], axis=0)
    np.testing.assert_allclose(expit(z), mean, rtol=1e-12)
    step = 1e-6 * np.eye(FEATURES)
    slopes = [((model.logits(one + step) - model.logits(one - step)) / 2e-6).T for one in x]
    np.testing.assert_allclose(model.forward_derivative(x), slopes, atol=1e-7)
    v = np.random.default_rng(0).normal(size=(4, 2, 1))
    np.testing.assert_allclose(model.backward_derivative(x, v), v @ np.array(slopes), atol=1e-7)
