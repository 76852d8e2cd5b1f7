"""Models of others: their own derivative against ours, against differences and the complex step,
and crafted from."""
import pickle

import numpy as np
import pytest
from small import Small, some_samples

from attack import Ensemble, JaxModel, Oracle, TorchModel, craft
from data import load_mnist
from nn import Flatten, LeNet, Linear, Network, to_torch


def torch_or_skip():
    return pytest.importorskip("torch",
                               reason="torch is not installed (pip install 'jsma[models]')")


def jax_or_skip():
    return pytest.importorskip("jax", reason="jax is not installed (pip install 'jsma[models]')")


def torch_small(network):
    """The torch module of `network`, from images (B, 6, 6) to logits."""
    torch = torch_or_skip()
    return torch.nn.Sequential(torch.nn.Unflatten(1, (1, 6)), *to_torch(network)).eval()


def jax_small(network):
    """The same written in jax by hand."""
    jax_or_skip()
    import jax.numpy as jnp
    from jax import lax

    w = {name: np.asarray(array, float) for name, array in network.parameters().items()}

    def function(x):
        kernels = jnp.asarray(w["0.weight"], x.dtype)
        z = lax.conv(x[:, None], kernels, (1, 1), "VALID") + w["0.bias"][:, None, None]
        h = jnp.tanh(lax.reduce_window(z, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID"))
        return (h.reshape(len(x), -1) @ w["4.weight"].T + w["4.bias"]).astype(x.dtype)
    return function


MAKERS = {"torch": lambda network: TorchModel(torch_small(network).double()),
          "jax": lambda network: JaxModel(jax_small(network)),
          "ensemble": lambda network: Ensemble([network, Small(1)]),
          "mixture": lambda network: Ensemble([network, Small(1), Small(2)],
                                              average="probabilities")}


def differences(model, x, step_size=1e-5):
    """∂logits/∂x (B, N, M) by central differences."""
    jacobians = []
    for sample in x:
        directions = np.concatenate([np.eye(sample.size), -np.eye(sample.size)])
        moved = sample.reshape(-1) + step_size * directions
        logits = model.logits(moved.reshape(-1, *sample.shape))
        jacobians.append(((logits[:sample.size] - logits[sample.size:]) / (2 * step_size)).T)
    return np.array(jacobians)


@pytest.mark.parametrize("name", [  # jax compiles what it has not seen
    pytest.param(name, marks=[pytest.mark.slow] * (name == "jax")) for name in MAKERS])
def test_the_derivative_is_that_of_the_answers(name):
    """Off the ties of max pooling, in float64; forward, backward and vjp agree."""
    model, x = MAKERS[name](Small()), np.random.default_rng(0).random((5, 6, 6))
    jacobian = model.forward_derivative(x)
    assert jacobian.shape == (5, 4, 36) and jacobian.dtype == np.float64
    np.testing.assert_allclose(jacobian, differences(model, x), rtol=0, atol=1e-8)
    v = np.random.default_rng(1).normal(size=(5, 3, 4))
    np.testing.assert_allclose(model.backward_derivative(x, v), v @ jacobian, rtol=0, atol=1e-12)
    if hasattr(model, "vjp"):
        logits, pull = model.vjp(x)
        np.testing.assert_allclose(logits, model.logits(x), atol=1e-14)
        np.testing.assert_allclose(pull(v), v @ jacobian, rtol=0, atol=1e-12)


@pytest.mark.parametrize("derivative", ["forward", "backward"])
@pytest.mark.parametrize("name", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_crafts_what_our_network_crafts(name, derivative):
    network, (images, targets) = Small(), some_samples(30)
    ours = craft(network, images, targets, max_distortion=40)
    theirs = craft(MAKERS[name](network), images, targets, max_distortion=40, derivative=derivative)
    np.testing.assert_array_equal(theirs.pairs, ours.pairs)
    np.testing.assert_array_equal(theirs.adversarial, ours.adversarial)


def test_a_mean_of_probabilities_is_one():
    members, x = [Small(n) for n in range(3)], np.random.default_rng(0).random((6, 6, 6))
    model = Ensemble(members, average="probabilities")
    z = model.logits(x)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    mean = np.mean([member.probabilities(x) for member in members], axis=0)
    np.testing.assert_allclose(p, mean, atol=1e-14)
    np.testing.assert_allclose(np.exp(z).sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(Ensemble(members).logits(x),
                               sum(member.logits(x) for member in members) / 3, atol=1e-14)


def test_an_ensemble_goes_back_only_if_all_members_do():
    class Forward:
        """Only the two methods that a model must have."""

        logits, forward_derivative = Small().logits, Small().forward_derivative

    model = Ensemble([Small(), Forward()])
    assert not hasattr(model, "backward_derivative")
    assert hasattr(Ensemble([Small()]), "backward_derivative")
    images, targets = some_samples(5)
    with pytest.raises(TypeError, match="needs a model with backward_derivative"):
        craft(model, images, targets, derivative="backward")
    assert craft(model, images, targets, max_distortion=40).iterations.any()


def test_an_ensemble_is_fooled_as_a_whole():
    images, targets = some_samples(30)
    model = Ensemble([Small(), Small(1), Small(2)], average="probabilities")
    model = pickle.loads(pickle.dumps(model))
    crafted = craft(model, images, targets, max_distortion=100, derivative="backward")
    assert crafted.success.sum() > 15
    np.testing.assert_array_equal(model.logits(crafted.adversarial).argmax(axis=1),
                                  crafted.predicted)


def test_a_black_box_by_differences():
    network, (images, targets) = Small(), some_samples(12)
    box = Oracle(lambda x: network.probabilities(x), step=1e-6)
    seen = craft(box, images, targets, max_distortion=40)
    known = craft(network, images, targets, max_distortion=40, of="centred")
    assert box.queries > 12 * 72 and (seen.pairs == known.pairs).all(axis=(1, 2)).mean() > 0.8


def test_float32_stays_float32_and_nothing_is_changed():
    torch = torch_or_skip()
    network, images = Small(), some_samples(4, dtype=np.float32)[0]
    module = torch_small(network)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    model = TorchModel(module)
    answers = (model.logits(images), model.forward_derivative(images),
               model.vjp(images)[1](np.ones((4, 2, 4))))
    assert {array.dtype for array in answers} == {np.dtype(np.float32)}
    assert all(parameter.grad is None and parameter.requires_grad
               for parameter in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.logits(images), model.logits(images))


def test_a_large_derivative_is_made_in_parts(monkeypatch):
    torch_or_skip()
    import attack.models.torch

    model, x = MAKERS["torch"](Small()), np.random.default_rng(0).random((7, 6, 6))
    whole = model.forward_derivative(x)
    monkeypatch.setattr(attack.models.torch, "CHUNK", 300)
    np.testing.assert_allclose(model.forward_derivative(x), whole, atol=1e-15)


@pytest.mark.slow
def test_the_shipped_lenet_in_torch_is_attacked_alike():
    torch = torch_or_skip()
    network, (images, labels) = LeNet.pretrained(), load_mnist("test")
    layers = [layer for layer in to_torch(network) if not isinstance(layer, torch.nn.Softmax)]
    model = TorchModel(torch.nn.Sequential(torch.nn.Unflatten(1, (1, 28)), *layers).double())
    x, targets = images[:4].astype(float), (labels[:4] + 1) % 10
    ours, theirs = (craft(one, x, targets, derivative="backward") for one in (network, model))
    np.testing.assert_array_equal(theirs.pairs, ours.pairs)


def test_what_is_no_model_is_refused_in_one_line():
    with pytest.raises(ValueError, match="models must name at least one model"):
        Ensemble([])
    with pytest.raises(ValueError,
                       match="average must be one of logits, probabilities; got 'votes'"):
        Ensemble([Small()], average="votes")
    three = Network([Flatten(), Linear(36, 3)], (6, 6))
    with pytest.raises(ValueError, match=r"must have the same classes; got \[4, 3\]"):
        Ensemble([Small(), three]).logits(np.zeros((2, 6, 6)))


def test_torch_modules_that_are_refused():
    torch = torch_or_skip()
    with pytest.raises(TypeError, match="module must be a torch.nn.Module; got Small"):
        TorchModel(Small())
    with pytest.raises(ValueError, match="module is training: .*call module.eval"):
        TorchModel(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout()))
    nothing = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Threshold(9, float("nan")))
    for module, said in ((torch.nn.Flatten(0), r"shape \(2, N\); got float32 \(6,\)"),
                         (nothing, "NaN or inf")):
        with pytest.raises(ValueError, match=said):
            TorchModel(module.eval()).logits(np.zeros((2, 3), np.float32))


def test_jax_functions_that_are_refused():
    jax_or_skip()
    with pytest.raises(TypeError, match="function must be callable; got int"):
        JaxModel(3)
    with pytest.raises(ValueError,
                       match=r"JaxModel must answer 2 samples with floats of the shape \(2, N\)"):
        JaxModel(lambda x: x.sum()).logits(np.zeros((2, 3)))
