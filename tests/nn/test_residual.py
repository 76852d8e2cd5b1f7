"""The residual network: its blocks against PyTorch's own layers, its derivative, its statistics and its training."""
import numpy as np
import pytest
from reference import close, with_random_weights

from data import load_mnist
from nn import BatchNorm2d, ResNet, WeightsError, check_network, load_weights, to_torch
from nn.models import SHIPPED
from nn.training import SGD, accuracy, calibrate, train_epoch


def small(seed=0, image=(2, 12, 11)):
    return with_random_weights(ResNet(seed, image, classes=3, width=4), np.random.default_rng(seed))


def test_the_blocks_are_those_of_he_et_al():
    """The same network written once more in PyTorch, with its own additions."""
    torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'jsma[referees]')")
    network = small()
    part = dict(to_torch(network).named_modules())
    x = np.random.default_rng(1).normal(size=(3, 2, 12, 11))
    with torch.no_grad():
        h = part["bn1"](part["conv1"](torch.from_numpy(x))).relu()
        inner = part["block1.bn2"](part["block1.conv2"](part["block1.bn1"](part["block1.conv1"](h)).relu()))
        h = (inner + h).relu()
        inner = part["block2.bn2"](part["block2.conv2"](part["block2.bn1"](part["block2.conv1"](h)).relu()))
        h = (inner + part["block2.bn3"](part["block2.short"](h))).relu()
        logits = part["fc"](h.mean(dim=(2, 3))).numpy()
    close(network.logits(x), logits, 1e-12)


@pytest.mark.parametrize("image", [(2, 12, 11), (1, 9, 9)])
def test_every_layer_is_right(image):
    network = small(1, image)
    report = check_network(network, np.random.default_rng(2).normal(size=(2, *image)),
                           against=["complex step", "dense", "differences"])
    assert report.verdict == "right", str(report)
    assert [row.layer for row in report.rows] == list(network.layers)


@pytest.mark.slow
@pytest.mark.parametrize("image", SHIPPED)
def test_the_shipped_networks_are_right_layer_by_layer(image):
    from scripts.terminal.networks import NETWORKS

    images, _ = NETWORKS["resnet" if image[0] == 1 else "colour"].images("test")
    report = check_network(ResNet.pretrained(image), images[:2].astype(np.float64), against=["complex step", "dense"])
    assert report.verdict == "right", str(report)


def test_calibrated_statistics_are_those_of_what_arrives():
    """After it every batch normalisation hands on mean 0 and variance 1 (less what eps takes), on the same images."""
    network, images = ResNet(3, (1, 28, 28), width=4), load_mnist("test")[0][:50].astype(np.float64)
    network.load({name: array.astype(np.float64) for name, array in network.parameters().items()})
    calibrate(network, images)
    seen = 0
    for name, given, value, _ in network.steps(network.as_input(images)):
        if isinstance(network.layers[name], BatchNorm2d):
            seen += 1
            spread = given.var(axis=(0, 1, 2))
            close(value.mean(axis=(0, 1, 2)), np.zeros(len(spread)), 1e-3)
            close(value.var(axis=(0, 1, 2)), spread / (spread + 1e-5), 1e-9)
    assert seen == 6


def test_training_learns_and_leaves_the_statistics():
    """Rows, columns and a chequered pattern, each in noise."""
    rng, (y, x) = np.random.default_rng(0), np.indices((8, 8))
    labels = rng.integers(0, 3, 240)
    images = (np.stack([y % 2, x % 2, (x + y) % 2])[labels] + rng.random((240, 8, 8))).astype(np.float32) / 2
    network = calibrate(ResNet(0, (1, 8, 8), classes=3, width=4), images[:100])
    before = {name: array.copy() for name, array in network.parameters().items()}
    optimizer = SGD(network, 0.03, 0.9)
    for epoch in range(6):
        train_epoch(network, images[:200], labels[:200], optimizer, 20, 0, epoch)
    assert accuracy(network, images[200:], labels[200:]) > 90
    for name, array in network.parameters().items():
        assert np.array_equal(array, before[name]) == name.endswith(("running_mean", "running_var"))
    assert not any("running" in name for name in optimizer.velocity)


def test_shipped_for_these_images_only():
    with pytest.raises(ValueError, match=r"image must be one of \(1, 28, 28\), \(3, 32, 32\); got \(1, 8, 8\)"):
        ResNet.pretrained((1, 8, 8))


def test_a_torch_state_dict_loads_with_its_counters(tmp_path):
    """`numpy.savez` of a module's state_dict, num_batches_tracked included; another unknown name is still refused."""
    torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'jsma[referees]')")
    network, other = small(), ResNet(9, (2, 12, 11), classes=3, width=4)
    state = {name: tensor.numpy() for name, tensor in to_torch(network).state_dict().items()}
    assert any(name.endswith("num_batches_tracked") for name in state)
    np.savez(tmp_path / "w.npz", **state)
    x = np.random.default_rng(0).normal(size=(2, 2, 12, 11))
    close(load_weights(tmp_path / "w.npz", other).logits(x), network.logits(x), 1e-15)
    np.savez(tmp_path / "w.npz", **state, **{"fc.num_batches_tracked": np.array(0)})
    with pytest.raises(WeightsError, match="unknown 'fc.num_batches_tracked.npy'"):
        load_weights(tmp_path / "w.npz", other)
    assert torch.is_tensor(to_torch(network).state_dict()["bn1.running_var"])
