"""What `craft` says of a model's answers at its first look: outputs that look like probabilities,
and derivatives that are no numbers. And models that do answer with probabilities."""
import warnings

import numpy as np
import pytest
from scipy.special import expit, softmax
from small import Small, some_samples

from attack import Ensemble, JaxModel, TorchModel, adversarial_distance, craft
from nn import Flatten, Linear, Network, Softmax

FEATURES = 8
WEIGHT = 3 * np.random.default_rng(0).normal(size=(FEATURES, 4))
SLOW_JAX = pytest.param("jax", marks=pytest.mark.slow)  # it compiles what it has not seen
ENDS = {"softmax": lambda z: softmax(z, axis=1), "sigmoid": expit}


def some_images(count=12):
    rng = np.random.default_rng(1)
    return (rng.random((count, FEATURES)) * (rng.random((count, FEATURES)) < 0.6)).round(1)


class Plain:
    """Linear logits, behind them perhaps the output's activation."""

    def __init__(self, end="", outputs=4):
        self.end, self.weight = ENDS.get(end, lambda z: z), WEIGHT[:, :outputs]

    def logits(self, x):
        return self.end(x @ self.weight)

    def forward_derivative(self, x):
        step = 1e-6 * np.eye(FEATURES)
        return np.array([(self.logits(one + step) - self.logits(one - step)).T / 2e-6
                         for one in x])


def torch_module(end, outputs=4, dtype="float64"):
    torch = pytest.importorskip("torch")
    linear = torch.nn.Linear(FEATURES, outputs, bias=False).to(getattr(torch, dtype))
    with torch.no_grad():
        linear.weight[:] = torch.as_tensor(WEIGHT[:, :outputs].T)
    ends = {"softmax": [torch.nn.Softmax(1)], "sigmoid": [torch.nn.Sigmoid()], "": []}[end]
    return torch.nn.Sequential(linear, *ends)


def jax_function(end, outputs=4):
    jax = pytest.importorskip("jax")
    ends = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid, "": lambda z: z}
    return lambda x: ends[end](x @ WEIGHT[:, :outputs].astype(x.dtype))


MAKERS = {"own": Plain, "torch": lambda *of: TorchModel(torch_module(*of)),
          "jax": lambda *of: JaxModel(jax_function(*of)),
          "ensemble": lambda *of: Ensemble([Plain(*of)])}


@pytest.mark.parametrize("name", ["own", "torch", SLOW_JAX, "ensemble"])
@pytest.mark.parametrize(("end", "outputs"), [("softmax", 4), ("sigmoid", 1)])
def test_outputs_that_look_like_probabilities(name, end, outputs):
    if name == "ensemble" and outputs == 1:  # a single answer of it is looked at
        name = "own"
    for goal in ("source/target", "misclassification"):
        said = f"outputs look like probabilities.*off the {end}, or wrap .*outputs='probabilities'"
        with pytest.warns(UserWarning, match=said) as caught:
            craft(MAKERS[name](end, outputs), some_images(), None if goal[0] == "m" else 1,
                  goal=goal, max_distortion=50)
        assert len(caught) == 1 and caught[0].filename == __file__
        assert "\n" not in str(caught[0].message)


def test_a_network_with_something_behind_its_softmax():
    network = Network([Linear(FEATURES, 4), Softmax(), Flatten()], (FEATURES,))
    with pytest.warns(UserWarning, match="look like probabilities"):
        craft(network, some_images(), 1, max_distortion=50)


def test_logits_are_logits():
    """Nothing is said of logits, of the logarithms of probabilities, of a toy's 0 and 1."""
    log_p = type("LogP", (Plain,), {"logits": lambda self, x: np.log(softmax(x @ WEIGHT, axis=1))})
    toy = type("Toy", (Plain,), {"logits": lambda self, x: np.tile([1.0, 0, 0, 0], (len(x), 1))})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (Plain(), Small(), log_p(), toy()):
            images = some_samples(3)[0] if isinstance(model, Small) else some_images()
            craft(model, images, 1, max_distortion=50)
        craft(Plain("softmax"), some_images()[:0], 1, max_distortion=50)


@pytest.mark.parametrize("name", ["torch", SLOW_JAX])
@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_probabilities_as_answers(name, end):
    """With outputs="probabilities" as with the logits themselves: the same up to a constant."""
    model = {"torch": lambda: TorchModel(torch_module(end), "probabilities", end),
             "jax": lambda: JaxModel(jax_function(end), "probabilities", end)}[name]()
    x = some_images()
    z = x @ WEIGHT
    expected = z - np.log(np.exp(z).sum(axis=1, keepdims=True)) if end == "softmax" else z
    np.testing.assert_allclose(model.logits(x), expected, atol=1e-9)
    slope = WEIGHT.T[None] - (softmax(z, axis=1) @ WEIGHT.T)[:, None] * (end == "softmax")
    jacobian = model.forward_derivative(x)
    np.testing.assert_allclose(jacobian, np.broadcast_to(slope, jacobian.shape), atol=1e-8)
    v = np.random.default_rng(0).normal(size=(len(x), 2, 4))
    np.testing.assert_allclose(model.backward_derivative(x, v), v @ jacobian, atol=1e-8)
    options = {"of": "centred", "margin": 0.5, "max_distortion": 60}
    ours, theirs = craft(Plain(), x, 1, **options), craft(model, x, 1, **options)
    np.testing.assert_array_equal(theirs.pairs, ours.pairs)
    np.testing.assert_array_equal(theirs.reason, ours.reason)
    assert (ours.reason == "target_reached").any()
    confident = craft(model, x, goal="confidence", confidence=0.4, max_distortion=60)
    p = ENDS[end](confident.adversarial @ WEIGHT)
    sources = z.argmax(axis=1)
    np.testing.assert_array_equal(confident.success, p[np.arange(len(x)), sources] < 0.4)


@pytest.mark.parametrize("name", ["torch", SLOW_JAX])
def test_one_probability_is_two_logits(name):
    model = {"torch": lambda: TorchModel(torch_module("sigmoid", 1), "probabilities"),
             "jax": lambda: JaxModel(jax_function("sigmoid", 1), "probabilities")}[name]()
    x = some_images()
    z = x @ WEIGHT[:, :1]
    expected = np.concatenate([np.log(expit(-z)), np.log(expit(z))], axis=1)
    np.testing.assert_allclose(model.logits(x), expected, atol=1e-9)
    crafted = craft(model, x, 1 - (z[:, 0] > 0), max_distortion=60)
    assert (crafted.reason == "target_reached").any()
    np.testing.assert_array_equal(crafted.predicted,
                                  (crafted.adversarial @ WEIGHT[:, 0] > 0).astype(int))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("end", "outputs"), [("softmax", 4), ("sigmoid", 4), ("sigmoid", 1)])
def test_probabilities_of_0_and_1_give_numbers(end, outputs, dtype):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(FEATURES, FEATURES, bias=False),
                                 torch_module(end, outputs, dtype)).to(getattr(torch, dtype))
    with torch.no_grad():
        module[0].weight[:] = 5000 * torch.eye(FEATURES)
    model = TorchModel(module, "probabilities", end)
    x = some_images().astype(dtype)
    with torch.no_grad():
        p = module(torch.as_tensor(x)).numpy()
    assert (p == 0).any() and (p == 1).any()
    for numbers in (model.logits(x), model.forward_derivative(x),
                    model.vjp(x)[1](np.ones((12, 2, model.logits(x).shape[1]), dtype))):
        assert np.isfinite(numbers).all()
    wide = model.logits(x)
    read = p.argmax(axis=1) if outputs > 1 else p[:, 0] > 0.5
    if end == "softmax" or outputs == 1:
        z = wide.argmax(axis=1) if wide.shape[1] > 1 else wide[:, 0] > 0
        np.testing.assert_array_equal(z, read)


def test_answers_that_are_no_probabilities_and_words_that_are_none():
    x = some_images()
    for make in (lambda: TorchModel(torch_module(""), "probabilities"),
                 lambda: JaxModel(jax_function(""), "probabilities")):
        with pytest.raises(ValueError, match="must answer with probabilities; got values .*logits"):
            make().logits(x)
    with pytest.raises(ValueError, match="outputs must be one of logits, probabilities; got 'p'"):
        TorchModel(torch_module(""), outputs="p")
    with pytest.raises(ValueError, match="output_activation must be one of softmax, sigmoid; got"):
        TorchModel(torch_module(""), output_activation="tanh")


def test_logits_of_another_shape_are_named_and_whole_numbers_are_taken():
    for answer, got in ((lambda self, x: x @ WEIGHT[:, 0], r"\(4,\)"),
                        (lambda self, x: x[:1] @ WEIGHT, r"\(1, 4\)")):
        model = type("Model", (Plain,), {"logits": answer})()
        with pytest.raises(ValueError, match=rf"4 samples with .* \(4, N\); got {got}"):
            craft(model, some_images(), 1, max_distortion=50)
    whole = type("Whole", (Plain,), {
        "logits": lambda self, x: np.round(100 * x @ WEIGHT).astype(int),
        "forward_derivative": lambda self, x: np.tile(WEIGHT.T, (len(x), 1, 1))})()
    floats = type("Floats", (type(whole),), {
        "logits": lambda self, x: type(whole).logits(self, x).astype(float)})()
    for of in ("logits", "centred", "probabilities"):
        one, two = (craft(model, some_images(), 1, of=of, max_distortion=50)
                    for model in (whole, floats))
        np.testing.assert_array_equal(one.pairs, two.pairs)


class Faulty:
    """`Small` with one derivative that is no number."""

    def __init__(self, value):
        self.network, self.value = Small(), value
        self.logits = self.network.logits

    def forward_derivative(self, x):
        jacobian = self.network.forward_derivative(x)
        jacobian[:, 2, 5] = self.value
        return jacobian

    def backward_derivative(self, x, cotangents):
        return cotangents @ self.forward_derivative(x)


class BothWays(Faulty):
    def vjp(self, x):
        return self.logits(x), lambda v: self.backward_derivative(x, v)


@pytest.mark.parametrize(("made", "derivative"), [
    (Faulty, "forward"), (Faulty, "backward"), (BothWays, "backward")])
def test_derivatives_that_are_no_numbers(made, derivative):
    """NaN is said; what is infinite is only never chosen."""
    images = some_samples(6)[0]
    for use in (craft, adversarial_distance):
        targets = [1] * (use is craft)
        with pytest.raises(ValueError, match="model gives NaN for a derivative of its logits"):
            use(made(np.nan), images, *targets, derivative=derivative)
    if derivative == "forward":
        crafted = craft(made(np.inf), images, 1, max_distortion=40)
        assert crafted.iterations.any() and not (crafted.pairs == 5).any()
