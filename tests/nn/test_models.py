"""The networks of `nn.models`, against programs written apart from it.

LeNet (Fig. 8) against scipy's correlation and PyTorch; AND (Fig. 3) by hand; the residual network's
blocks against PyTorch's own layers, its derivative, its statistics and its training.
"""
from collections import OrderedDict

import numpy as np
import pytest
from reference import close, with_random_weights
from scipy.signal import correlate

from data import load_mnist
from nn import (
    AndNetwork,
    BatchNorm2d,
    LeNet,
    Linear,
    ResNet,
    WeightsError,
    check_network,
    load_weights,
    save_weights,
    to_torch,
)
from nn.models import SHIPPED
from nn.training import SGD, accuracy, calibrate, cross_entropy, train_epoch

SHAPES = {"conv1.weight": (20, 1, 5, 5), "conv1.bias": (20,), "conv2.weight": (50, 20, 5, 5),
          "conv2.bias": (50,),
          "fc1.weight": (500, 800), "fc1.bias": (500,), "fc2.weight": (10, 500), "fc2.bias": (10,)}


def logits_with_scipy(parameters, image):
    """Fig. 8 for one image (28, 28), each kernel a correlation, each pool a maximum over blocks."""
    maps = image[None]
    parameters = {name: array.astype(np.float64) for name, array in parameters.items()}
    for name in ("conv1", "conv2"):
        kernels, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        maps = np.array([correlate(maps, kernel, "valid", "direct")[0] + b
                         for kernel, b in zip(kernels, bias)])
        count, height, width = maps.shape
        maps = np.tanh(maps.reshape(count, height // 2, 2, width // 2, 2).max(axis=(2, 4)))
    hidden = np.tanh(parameters["fc1.weight"] @ maps.reshape(-1) + parameters["fc1.bias"])
    return parameters["fc2.weight"] @ hidden + parameters["fc2.bias"]


def in_float64(network):
    return network.load({name: array.astype(np.float64)
                         for name, array in network.parameters().items()})


@pytest.fixture(scope="module")
def pretrained():
    return LeNet.pretrained()


@pytest.fixture(scope="module")
def test_set():
    return load_mnist("test")


def test_names_and_shapes_are_those_of_a_state_dict():
    network = LeNet()
    assert {name: array.shape for name, array in network.parameters().items()} == SHAPES
    assert list(network.parameters()) == list(SHAPES)
    assert all(array.dtype == np.float32 for array in network.parameters().values())
    assert (network.features, network.classes, network.input_shape) == (784, 10, (1, 28, 28))


def test_logits_against_scipy(pretrained, test_set):
    images = test_set[0][:5].astype(np.float64)
    expected = [logits_with_scipy(pretrained.parameters(), image) for image in images]
    close(pretrained.logits(images), expected)
    close(pretrained.logits(images.astype(np.float32)), expected, 1e-4)
    network = LeNet(3)
    for name, array in network.parameters().items():
        noise = np.random.default_rng(len(name)).normal(size=array.shape)
        array += noise.astype(np.float32) / 10  # to the biases too
    expected = [logits_with_scipy(network.parameters(), image) for image in images]
    close(network.logits(images), expected)


def test_forward_derivative_against_differences_of_scipys_logits(pretrained):
    """Central differences on an image without ties, at eight pixels; accurate to about 1e-8."""
    rng = np.random.default_rng(0)
    image, step = rng.random(784), 1e-5
    jacobian = pretrained.forward_derivative(image[None])[0]
    for pixel in rng.choice(784, 8, replace=False):
        ends = [image + sign * step * (np.arange(784) == pixel) for sign in (1, -1)]
        up, down = (logits_with_scipy(pretrained.parameters(), end.reshape(28, 28)) for end in ends)
        np.testing.assert_allclose(jacobian[:, pixel], (up - down) / (2 * step), atol=1e-7)


def test_pretrained_is_right_on_99_percent(test_set, shipped_accuracy):
    assert test_set[0].shape == (10000, 28, 28)
    assert shipped_accuracy >= 99.0


def test_seeds_are_repeatable():
    first, again, other = LeNet(7), LeNet(7), LeNet(8)
    for name, array in first.parameters().items():
        np.testing.assert_array_equal(array, again.parameters()[name])
        assert not np.shares_memory(array, again.parameters()[name])
        assert (array != other.parameters()[name]).mean() > 0.99
    for name, array in AndNetwork(7).parameters().items():
        np.testing.assert_array_equal(array, AndNetwork(7).parameters()[name])
        assert (array != AndNetwork(8).parameters()[name]).all()
    first.parameters()["fc2.weight"][:] = 0
    assert LeNet(7).parameters()["fc2.weight"].any()


@pytest.mark.parametrize("make", [LeNet, AndNetwork])
def test_the_start_is_pytorchs(make):
    """Weights and biases uniform in ±1/√n, n the inputs of a unit."""
    drawn = [make(seed).parameters() for seed in range(1 if make is LeNet else 200)]
    for name in drawn[0]:
        fan_in = np.prod(drawn[0][name.replace("bias", "weight")].shape[1:])
        values = np.concatenate([parameters[name].reshape(-1) for parameters in drawn])
        values *= fan_in ** 0.5
        assert np.abs(values).max() <= 1 + 1e-6
        if len(values) > 150:
            assert np.abs(values).max() > 0.96
            assert abs(values.mean()) < 5 / (3 * len(values)) ** 0.5
            assert values.std() == pytest.approx(1 / 3 ** 0.5, rel=0.1)


@pytest.mark.parametrize(("output_weights", "collapsed"), [("zero", True), ("random", False)])
def test_output_weights_at_zero_collapse_alpha_and_beta(output_weights, collapsed, test_set):
    """Started at zero, Σ_j ∂F_j/∂x_i stays 0 through training, so β = −α for every pixel and
    target."""
    network, (images, labels) = in_float64(LeNet(0, output_weights=output_weights)), test_set
    for name in ("fc2.weight", "fc2.bias"):
        assert network.parameters()[name].any() != collapsed
    optimizer = SGD(network, 0.05, 0.9)
    for epoch in range(2):
        train_epoch(network, images[:80].astype(np.float64), labels[:80], optimizer, 10, 0, epoch)
    jacobian = network.forward_derivative(images[80:84].astype(np.float64))
    ratio = np.abs(jacobian.sum(axis=1)).max() / np.abs(jacobian).max()
    assert np.abs(jacobian).max() > 0.01
    assert ratio < 1e-10 if collapsed else ratio > 0.05


@pytest.mark.parametrize(("options", "words"), [
    ({"output_weights": "zeros"}, "output_weights must be 'random' or 'zero'; got 'zeros'"),
    ({"init": "glorot"}, "init must be 'pytorch' or 'tutorial'; got 'glorot'"),
    ({"activation": "selu"}, "activation must be 'tanh' or 'relu' or 'sigmoid'; got 'selu'"),
    ({"init": "tutorial", "output_weights": "random"}, "output_weights must be 'zero' where")])
def test_the_start_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        LeNet(**options)


@pytest.mark.parametrize(("activation", "wider"), [("tanh", 1), ("relu", 1), ("sigmoid", 4)])
def test_the_tutorials_start(activation, wider):
    """The bounds by hand: a 5×5 convolution of 1 or 20 channels, then a pool of 2×2; 800 → 500."""
    parameters = LeNet(3, init="tutorial", activation=activation).parameters()
    bounds = {"conv1": (6 / (25 + 20 * 25 / 4)) ** 0.5, "conv2": (6 / (500 + 1250 / 4)) ** 0.5,
              "fc1": wider * (6 / 1300) ** 0.5}
    assert [round(bounds[name], 3) for name in ("conv1", "conv2")] == [0.2, 0.086]
    for name, bound in bounds.items():
        weight = parameters[f"{name}.weight"]
        assert 0.97 * bound < np.abs(weight).max() <= bound * (1 + 1e-6)
        assert weight.std() == pytest.approx(bound / 3 ** 0.5, rel=0.1)
        assert abs(weight.mean()) < 5 * bound / (3 * weight.size) ** 0.5
    assert not any(array.any() for name, array in parameters.items() if "bias" in name)
    assert not parameters["fc2.weight"].any()
    assert any(not np.array_equal(parameters["conv1.weight"], LeNet(
        seed, init="tutorial").parameters()["conv1.weight"]) for seed in (4, 5))


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_a_lenet_of_another_activation(activation):
    kinds = [type(layer).__name__.lower() for layer in LeNet(activation=activation).layers.values()]
    assert kinds.count(activation) == 3 and "tanh" not in kinds


def test_and_network():
    network = AndNetwork()
    assert {name: array.shape for name, array in network.parameters().items()} == {
        "hidden.weight": (2, 2), "hidden.bias": (2,), "output.weight": (1, 2), "output.bias": (1,)}
    kinds = [type(layer).__name__ for layer in network.layers.values()]
    assert kinds == ["Linear", "Sigmoid", "Linear", "Sigmoid"]
    x = np.random.default_rng(0).random((5, 2))
    p = {name: array.astype(np.float64) for name, array in network.parameters().items()}
    hidden = 1 / (1 + np.exp(-x @ p["hidden.weight"].T - p["hidden.bias"]))
    output = 1 / (1 + np.exp(-hidden @ p["output.weight"].T - p["output.bias"]))
    close(network.probabilities(x), output)
    inner = (hidden * (1 - hidden) * p["output.weight"]) @ p["hidden.weight"]
    by_hand = (output * (1 - output))[:, :, None] * inner[:, None]
    close(network.forward_derivative(x, of="probabilities"), by_hand)
    assert network.predict(x).tolist() == (output[:, 0] > 0.5).astype(int).tolist()


def test_layers_drawn_without_a_generator_are_repeatable():
    np.testing.assert_array_equal(Linear(3, 4).parameters["weight"],
                                  Linear(3, 4).parameters["weight"])


def torch_lenet(torch):
    """Fig. 8 in PyTorch, with the names of `LeNet`."""
    return torch.nn.Sequential(OrderedDict(
        conv1=torch.nn.Conv2d(1, 20, 5), pool1=torch.nn.MaxPool2d(2), tanh1=torch.nn.Tanh(),
        conv2=torch.nn.Conv2d(20, 50, 5), pool2=torch.nn.MaxPool2d(2), tanh2=torch.nn.Tanh(),
        flatten=torch.nn.Flatten(), fc1=torch.nn.Linear(800, 500), tanh3=torch.nn.Tanh(),
        fc2=torch.nn.Linear(500, 10)))


def test_torch_loads_the_weights_and_gives_the_same_numbers(pretrained, test_set, tmp_path):
    """Values, forward derivative and gradients of the loss, the weights carried over through the
    `.npz` by name."""
    torch = pytest.importorskip("torch", reason="PyTorch, the referee, is not installed")
    save_weights(tmp_path / "w.npz", pretrained)
    module = torch_lenet(torch)
    module.load_state_dict({name: torch.tensor(array)
                            for name, array in np.load(tmp_path / "w.npz").items()})
    module = module.double()
    images = test_set[0][:6].astype(np.float64)
    labels = test_set[1][:6].astype(int)
    images[3] = np.random.default_rng(0).random((28, 28))
    tensor = torch.tensor(images[:, None], requires_grad=True)
    logits = module(tensor)
    close(pretrained.logits(images), logits.detach().numpy())
    rows = [torch.autograd.grad(logits[:, j].sum(), tensor, retain_graph=True)[0].reshape(6, 784)
            for j in range(10)]
    close(pretrained.forward_derivative(images), np.stack(rows, axis=1))
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
    loss.backward()
    values, saved = pretrained.forward(images)
    ours, grad = cross_entropy(values, labels)
    assert ours == pytest.approx(loss.item(), rel=1e-10)
    for name, array in pretrained.gradients(grad, saved).items():
        close(array, dict(module.named_parameters())[name].grad.numpy())


def test_weights_of_torch_load_unchanged(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch, the referee, is not installed")
    module = torch_lenet(torch)
    np.savez(tmp_path / "w.npz", **{name: tensor.numpy()
                                    for name, tensor in module.state_dict().items()})
    network = load_weights(tmp_path / "w.npz", LeNet())
    image = np.random.default_rng(0).random((2, 1, 28, 28))
    close(network.logits(image), module.double()(torch.tensor(image)).detach().numpy())


# the residual network

def small_resnet(seed=0, image=(2, 12, 11)):
    return with_random_weights(ResNet(seed, image, classes=3, width=4), np.random.default_rng(seed))


def test_the_blocks_are_those_of_he_et_al():
    """The same network written once more in PyTorch, with its own additions."""
    torch = pytest.importorskip("torch",
                                reason="torch is not installed (pip install 'jsma[referees]')")
    network = small_resnet()
    part = dict(to_torch(network).named_modules())
    x = np.random.default_rng(1).normal(size=(3, 2, 12, 11))
    with torch.no_grad():
        h = part["bn1"](part["conv1"](torch.from_numpy(x))).relu()
        inner = part["block1.bn1"](part["block1.conv1"](h)).relu()
        inner = part["block1.bn2"](part["block1.conv2"](inner))
        h = (inner + h).relu()
        inner = part["block2.bn1"](part["block2.conv1"](h)).relu()
        inner = part["block2.bn2"](part["block2.conv2"](inner))
        h = (inner + part["block2.bn3"](part["block2.short"](h))).relu()
        logits = part["fc"](h.mean(dim=(2, 3))).numpy()
    close(network.logits(x), logits, 1e-12)


@pytest.mark.parametrize("image", [(2, 12, 11), (1, 9, 9)])
def test_every_layer_is_right(image):
    network = small_resnet(1, image)
    report = check_network(network, np.random.default_rng(2).normal(size=(2, *image)),
                           against=["complex step", "dense", "differences"])
    assert report.verdict == "right", str(report)
    assert [row.layer for row in report.rows] == list(network.layers)


@pytest.mark.slow
@pytest.mark.parametrize("image", SHIPPED)
def test_the_shipped_networks_are_right_layer_by_layer(image):
    from scripts.terminal.networks import NETWORKS

    images, _ = NETWORKS["resnet" if image[0] == 1 else "colour"].images("test")
    report = check_network(ResNet.pretrained(image), images[:2].astype(np.float64),
                           against=["complex step", "dense"])
    assert report.verdict == "right", str(report)


def test_calibrated_statistics_are_those_of_what_arrives():
    """After it every batch normalisation hands on mean 0 and variance 1 (less what eps takes), on
    the same images."""
    network, images = ResNet(3, (1, 28, 28), width=4), load_mnist("test")[0][:50].astype(np.float64)
    network.load({name: array.astype(np.float64) for name, array in network.parameters().items()})
    calibrate(network, images)
    seen = 0
    for name, x, value, _ in network.steps(network.as_input(images)):
        if isinstance(network.layers[name], BatchNorm2d):
            seen += 1
            variance = x.var(axis=(0, 1, 2))
            close(value.mean(axis=(0, 1, 2)), np.zeros(len(variance)), 1e-3)
            close(value.var(axis=(0, 1, 2)), variance / (variance + 1e-5), 1e-9)
    assert seen == 6


def test_training_learns_and_leaves_the_statistics():
    """Rows, columns and a chequered pattern, each in noise."""
    rng, (y, x) = np.random.default_rng(0), np.indices((8, 8))
    labels = rng.integers(0, 3, 240)
    patterns = np.stack([y % 2, x % 2, (x + y) % 2])[labels]
    images = (patterns + rng.random((240, 8, 8))).astype(np.float32) / 2
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
    with pytest.raises(ValueError,
                       match=r"image must be one of \(1, 28, 28\), \(3, 32, 32\); got \(1, 8, 8\)"):
        ResNet.pretrained((1, 8, 8))


def test_a_torch_state_dict_loads_with_its_counters(tmp_path):
    """`numpy.savez` of a module's state_dict, num_batches_tracked included; another unknown name is
    still refused."""
    torch = pytest.importorskip("torch",
                                reason="torch is not installed (pip install 'jsma[referees]')")
    network, other = small_resnet(), ResNet(9, (2, 12, 11), classes=3, width=4)
    state = {name: tensor.numpy() for name, tensor in to_torch(network).state_dict().items()}
    assert any(name.endswith("num_batches_tracked") for name in state)
    np.savez(tmp_path / "w.npz", **state)
    x = np.random.default_rng(0).normal(size=(2, 2, 12, 11))
    close(load_weights(tmp_path / "w.npz", other).logits(x), network.logits(x), 1e-15)
    np.savez(tmp_path / "w.npz", **state, **{"fc.num_batches_tracked": np.array(0)})
    with pytest.raises(WeightsError, match="unknown 'fc.num_batches_tracked.npy'"):
        load_weights(tmp_path / "w.npz", other)
    assert torch.is_tensor(to_torch(network).state_dict()["bn1.running_var"])
