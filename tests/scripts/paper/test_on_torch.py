"""A network on torch is the network but for rounding: what it answers, how it trains, what it
crafts."""
import json
import pickle

import numpy as np
import pytest

from attack import craft, craft_run
from attack.runs.shards import fingerprint
from data import load_mnist
from nn import LeNet
from nn.training import SGD, batches, train_epoch
from scripts.__main__ import main
from scripts.paper.experiment import Setup
from scripts.paper.on_torch import BATCH, OnTorch, ready, torch_epoch

pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def digits():
    """Ten test digits and their labels."""
    images, labels = load_mnist("test")
    return images[:10], labels[:10]


@pytest.fixture(scope="module")
def pair():
    """The shipped network, and the same on torch."""
    network = LeNet.pretrained()
    return network, OnTorch(network, "cpu")


@pytest.mark.parametrize("count", [0, 1, 3, BATCH + 1])
def test_it_answers_as_the_network_does(pair, digits, count):
    network, on_torch = pair
    images = np.resize(digits[0], (count, 28, 28))
    for name, size in (("logits", 1e-4), ("probabilities", 1e-5)):
        ours, its = (getattr(one, name)(images) for one in pair)
        assert its.shape == ours.shape == (count, 10) and its.dtype == ours.dtype
        np.testing.assert_allclose(its, ours, atol=size)
    np.testing.assert_array_equal(on_torch.predict(images), network.predict(images))


def test_its_transposed_chain_is_the_network_s(pair, digits):
    images = digits[0][:4]
    v = np.random.default_rng(0).normal(size=(4, 3, 10)).astype(np.float32)
    ours, its = (one.vjp(images)[1](v) for one in pair)
    np.testing.assert_allclose(its, ours, atol=1e-4 * np.abs(ours).max())
    np.testing.assert_array_equal(pair[1].backward_derivative(images, v), its)
    np.testing.assert_array_equal(pair[1].forward_derivative(images, "probabilities"),
                                  pair[0].forward_derivative(images, "probabilities"))


def test_it_crafts_what_the_network_crafts(pair, digits):
    images, labels = digits
    targets = (labels + 3) % 10
    ours, its = (craft(one, images, targets, derivative="backward", of="probabilities")
                 for one in pair)
    np.testing.assert_array_equal(its.pairs, ours.pairs)
    np.testing.assert_array_equal(its.adversarial, ours.adversarial)


def test_a_run_goes_on_without_torch(pair, digits, tmp_path):
    """It has the network's fingerprint, and its module does not travel."""
    network, on_torch = pair
    on_torch.logits(digits[0][:1])
    again = pickle.loads(pickle.dumps(on_torch))
    assert again._model is None and fingerprint(again) == fingerprint(network)
    np.testing.assert_array_equal(again.logits(digits[0]), on_torch.logits(digits[0]))
    images, targets = digits[0][:2], (digits[1][:2] + 1) % 10
    run = craft_run(on_torch, images, targets, tmp_path, derivative="backward")
    before = run.path(0).read_bytes()
    craft_run(network, images, targets, tmp_path, derivative="backward")
    assert run.path(0).read_bytes() == before


@pytest.mark.parametrize(("momentum", "shuffled"), [(0.0, False), (0.9, True)])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_it_trains_as_the_network_does(digits, momentum, shuffled, activation):
    """Two epochs in batches of which the last is smaller, from the recipe's start."""
    images, labels = digits
    networks = [LeNet(3, init="tutorial", activation=activation) for _ in range(2)]
    losses, velocities = [], []
    for network, epoch_of in zip(networks, (train_epoch, torch_epoch)):
        device = {"device": "cpu"} if epoch_of is torch_epoch else {}
        optimizer = SGD(network, 0.02, momentum)
        losses.append([epoch_of(network, images, labels, optimizer, 4, 5, epoch,
                                shuffled=shuffled, **device) for epoch in range(2)])
        velocities.append(optimizer.velocity)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    first, second = (network.parameters() for network in networks)
    for name, array in first.items():
        assert second[name].dtype == array.dtype
        np.testing.assert_allclose(second[name], array, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(velocities[1][name], velocities[0][name], atol=1e-5)


def test_batches_hold_every_sample_once():
    order = batches(10, 4, 3, 2)
    assert [len(part) for part in order] == [4, 4, 2]
    assert sorted(np.concatenate(order)) == list(range(10))
    assert not np.array_equal(np.concatenate(order), np.concatenate(batches(10, 4, 3, 3)))
    np.testing.assert_array_equal(np.concatenate(batches(10, 4, 3, 2, shuffled=False)),
                                  np.arange(10))


def test_a_setup_on_torch_gives_what_one_without_gives():
    with Setup(LeNet.pretrained(), derivative="backward", digits=1) as ours, \
            Setup(LeNet.pretrained(), derivative="backward", digits=1, torch="cpu") as its:
        first, second = (setup.samples("test", 1) for setup in (ours, its))
    for name in ("success", "iterations", "distortion", "targets"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_a_device_that_is_not_there_gets_one_line(device, tmp_path, capsys):
    with pytest.raises(ValueError, match=f"no device '{device}' here"):
        ready(device)
    assert main(["train", "--out", str(tmp_path / "a.npz"), "--torch", device]) == 2
    assert main(["reproduce", "--out", str(tmp_path / "r"), "--torch", device]) == 2
    assert capsys.readouterr().err.count("\n") == 2 and not list(tmp_path.iterdir())


def test_torch_trains_no_other_network(tmp_path, capsys):
    words = ["train", "--network", "resnet", "--torch", "cpu", "--out", str(tmp_path / "a.npz")]
    assert main(words) == 2 and "--torch is for the LeNet" in capsys.readouterr().err


@pytest.mark.slow
def test_jsma_train_on_torch_says_so_and_goes_on(tmp_path, capsys):
    out = str(tmp_path / "a.npz")
    words = ["train", "--recipe", "paper", "--digits", "1000", "--torch", "cpu", "--out", out]
    assert main([*words, "--epochs", "1"]) == 0
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["settings"]["torch"] == "cpu" and "--torch cpu" in record["command"]
    assert main([*words, "--epochs", "2", "--resume"]) == 0
    without = [word for word in words if word not in ("--torch", "cpu")]
    assert main([*without, "--epochs", "3", "--resume"]) == 2
    assert "torch = cpu, not None" in capsys.readouterr().err
