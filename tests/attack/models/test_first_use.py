"""Models that are random, or whose answer depends on the other samples of a batch, are refused in
one line on their first use, whatever they are made with; what only rounds is not."""
import numpy as np
import pytest

from attack import Ensemble, JaxModel, Oracle, TorchModel, craft
from attack.models.answers import FirstUse

FEATURES, CLASSES = 8, 3
WEIGHT = np.random.default_rng(0).normal(size=(FEATURES, CLASSES))
FAULTS = {"random": "is random: it answers the same samples otherwise the second time, by ",
          "batch": "depends on the other samples of the batch: it answers one alone otherwise",
          "not alone": r"depends on the other samples .*not answer one alone \(expected more"}


def some_images(count=6):
    return np.random.default_rng(1).random((count, FEATURES))


def answers(fault):
    """x → logits, in NumPy."""
    rng = np.random.default_rng(2)

    def answer(x):
        x = np.asarray(x)
        if fault == "random":
            x = x * (rng.random(x.shape) < 0.9)
        if fault == "batch":
            x = x - x.mean(axis=0)
        if fault == "not alone" and len(x) == 1:
            raise ValueError("expected more\nthan one sample")
        return x @ WEIGHT
    return answer


def torch_module(fault):
    """The same in torch: dropout that never sleeps, batch normalisation without statistics."""
    torch = pytest.importorskip("torch")

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.as_tensor(WEIGHT, dtype=torch.float32))

        def forward(self, x):
            if fault == "random":
                x = torch.nn.functional.dropout(x, 0.1)
            if fault == "batch":
                x = torch.nn.functional.batch_norm(x[..., None].repeat(1, 1, 2) + torch.tensor(
                    [0, 0.3]), None, None, training=True)[..., 0]
            if fault == "not alone":
                if len(x) == 1:
                    raise ValueError("expected more than 1 value")
                x = x - 0
            return x @ self.weight
    torch.manual_seed(0)
    return Module().eval()


def jax_function(fault):
    jnp = pytest.importorskip("jax.numpy")
    plain, rng = jnp.asarray(WEIGHT, jnp.float32), np.random.default_rng(0)

    def function(x):
        if fault == "random":
            x = x * rng.uniform(0.9, 1)
        if fault == "batch":
            x = (x - x.mean(axis=0)) / (x.std(axis=0) + 0.1)
        if fault == "not alone" and len(x) == 1:
            raise ValueError("expected more")
        return x @ plain
    return function


def probabilities(fault):
    logits = answers(fault)

    def answer(x):
        e = np.exp(logits(x))
        return e / e.sum(axis=1, keepdims=True)
    return answer


class Own:
    """A person's own model of two methods."""

    def __init__(self, fault):
        self.logits = answers(fault)

    def forward_derivative(self, x):
        return np.tile(WEIGHT.T, (len(x), 1, 1))


MAKERS = {"torch": lambda fault: TorchModel(torch_module(fault)),
          "jax": lambda fault: JaxModel(jax_function(fault)),
          "oracle": lambda fault: Oracle(probabilities(fault)),
          "ensemble": lambda fault: Ensemble([Own(""), Own(fault)]),
          "adapter in an ensemble": lambda fault: Ensemble([Oracle(probabilities(fault))])}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", MAKERS)
def test_refused_in_one_line(name, fault):
    who = {"torch": "TorchModel", "jax": "JaxModel", "oracle": "Oracle",
           "ensemble": r"models\[1\] of the Ensemble \(Own\)",
           "adapter in an ensemble": "Oracle"}[name]
    x = some_images()
    uses = [lambda model: craft(model, x, 1), lambda model: model.logits(x),
            lambda model: model.forward_derivative(x)]
    if name in ("torch", "jax"):
        uses += [lambda model: craft(model, x, 1, derivative="backward"),
                 lambda model: model.vjp(x)]
    for use in uses:
        model = MAKERS[name](fault)
        for _ in range(2):  # it does not get used to it
            with pytest.raises(ValueError, match=f"^{who} {FAULTS[fault]}") as error:
                use(model)
            assert "\n" not in str(error.value) and ";" in str(error.value)


@pytest.mark.parametrize("name", MAKERS)
def test_a_steady_model_is_asked_again_once(name):
    """One sample first: it is asked twice; as soon as there are more, these too, and one alone;
    then never again."""
    model, x = MAKERS[name](""), some_images()
    first_use = {"ensemble": lambda: model.first_use[1],
                 "adapter in an ensemble": lambda: model.models[0].first_use}.get(
                     name, lambda: model.first_use)()
    sizes, check = [], first_use._checked
    first_use._checked = lambda answer, few: sizes.append(len(few)) or check(answer, few)
    for count in (1, 1, 6, 6):
        model.logits(x[:count])
    model.forward_derivative(x)
    assert sizes == [1, 1, 4, 4, 1]


def test_a_noisy_oracle_is_refused_or_said_so():
    rng, steady = np.random.default_rng(0), probabilities("")

    def noisy(x):
        shift = 1e-4 * rng.normal(size=(len(x), 1))
        return steady(x) + shift * [1, -1, 0]

    x = some_images()
    with pytest.raises(ValueError, match="Oracle is random.*by 0.0.* %;.* or pass noisy=True"):
        craft(Oracle(noisy), x, 1)
    rough = Oracle(noisy, noisy=True)
    assert craft(rough, x, 1, max_distortion=50).iterations.any()
    jacobian = Oracle(noisy, step=0.2, noisy=True).forward_derivative(x)
    exact = Oracle(steady, step=0.2).forward_derivative(x)
    assert 0 < np.abs(jacobian - exact).max() < 0.05


@pytest.mark.parametrize(("dtype", "passes", "fails"), [
    (np.float64, 1e-8, 1e-5), (np.float32, 1e-6, 1e-3), (np.float16, 2e-3, 0.05)])
def test_rounding_passes(dtype, passes, fails):
    """The same question may be answered a little otherwise, in the answer's own precision; one
    sample alone in another way of adding up."""
    def model(change, alone):
        state = [0]

        def answer(x):
            state[0] += 1
            share = change * (state[0] % 2) + alone * (len(x) == 1)
            return (np.asarray(x) @ WEIGHT * (1 + share)).astype(dtype)
        return answer

    x = some_images()
    FirstUse("it", "a", "b").check(model(passes, 0), x)
    FirstUse("it", "a", "b").check(model(0, 5e-3), x)
    with pytest.raises(ValueError, match="it is random"):
        FirstUse("it", "a", "b").check(model(fails, 0), x)
    with pytest.raises(ValueError, match="it depends"):
        FirstUse("it", "a", "b").check(model(0, 0.5), x)


def test_torch_layers_that_say_so_are_refused_when_the_model_is_made():
    torch = pytest.importorskip("torch")
    norm = torch.nn.BatchNorm1d(FEATURES, track_running_stats=False).eval()
    with pytest.raises(ValueError, match="depends on the other samples.*no running statistics"):
        TorchModel(torch.nn.Sequential(norm, torch.nn.Linear(FEATURES, CLASSES)))
    per_sample = torch.nn.Sequential(torch.nn.Unflatten(1, (2, 4)), torch.nn.InstanceNorm1d(2),
                                     torch.nn.Flatten()).eval()
    assert TorchModel(per_sample).logits(some_images()).shape == (6, 8)


def test_half_precision_and_tuples():
    torch = pytest.importorskip("torch")
    x = some_images().astype(np.float32)
    for dtype in (torch.bfloat16, torch.float16):
        module = torch_module("").to(dtype)
        model = TorchModel(module)
        np.testing.assert_allclose(model.logits(x), x @ WEIGHT, atol=0.1)
        np.testing.assert_allclose(model.forward_derivative(x), np.tile(WEIGHT.T, (6, 1, 1)),
                                   atol=0.02)
        np.testing.assert_allclose(model.backward_derivative(x, np.ones((6, 1, CLASSES))),
                                   np.tile(WEIGHT.sum(axis=1), (6, 1, 1)), atol=0.05)

    class Pair(torch.nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(ValueError, match="must answer with one tensor of logits; got tuple"):
        TorchModel(Pair()).logits(x)
