"""Acyclic graphs: branches, sums and concatenations, windows of different size and stride, against
both referees."""
import numpy as np
import pytest
from random_networks import check_layers, random_graph
from reference import STEP, close, logits_and_jacobian, trace, with_random_weights

from nn import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Network,
    ReLU,
    Softmax,
    Tanh,
    check_network,
    to_torch,
)
from nn.verify.frameworks import FOREIGN

SEEDS = 60


def branches(image, inputs, **layers):
    """A network of named layers, its weights drawn, and two samples."""
    rng = np.random.default_rng(0)
    return with_random_weights(Network(layers, image, inputs), rng), rng.normal(size=(2, *image))


HAND_PICKED = {
    "a residual block with a shortcut": lambda: branches(
        (2, 8, 8), {"short": "input", "add": ("norm2", "norms")}, conv1=Conv2d(2, 4, 3, 2, 1),
        norm1=BatchNorm2d(4),
        relu1=ReLU(), conv2=Conv2d(4, 4, 3, 1, 1), norm2=BatchNorm2d(4), short=Conv2d(2, 4, 1, 2),
        norms=BatchNorm2d(4),
        add=Add(), relu=ReLU(), pool=AdaptiveAvgPool2d(1), flatten=Flatten(), fc=Linear(4, 3),
        softmax=Softmax()),
    "the image itself as a branch": lambda: branches(
        (1, 5, 6), {"add": ("conv", "input")}, conv=Conv2d(1, 1, 3, 1, 1), add=Add(), tanh=Tanh(),
        flatten=Flatten(),
        fc=Linear(30, 3)),
    "the same branch twice": lambda: branches(
        (1, 4, 4), {"add": ("conv", "conv", "conv")}, conv=Conv2d(1, 2, 2), add=Add(), tanh=Tanh(),
        f=Flatten(),
        fc=Linear(18, 2)),
    "branches of different stride": lambda: branches(
        (1, 9, 8), {"slow": "input", "join": ("fast", "slow", "first")},
        first=Conv2d(1, 2, (5, 3), (1, 2)),
        fast=Tanh(), slow=Conv2d(1, 3, (1, 6), (2, 1)), join=Concat(), conv=Conv2d(7, 2, 2),
        act=Tanh(), f=Flatten(),
        fc=Linear(16, 2)),
    "branches of different stride and padding": lambda: branches(
        (2, 8, 8), {"two": "input", "add": ("one", "two"), "last": ("conv", "add")},
        one=Conv2d(2, 2, 5, 1), two=Conv2d(2, 2, 2, 2), add=Add(), conv=Conv2d(2, 2, 3, 1, 1),
        last=Add(), tanh=Tanh(), f=Flatten(), fc=Linear(32, 2)),
    "an activation that two layers read": lambda: branches(
        (1, 6, 6), {"b": "tanh", "add": ("a", "b")}, conv=Conv2d(1, 2, 3), tanh=Tanh(), a=Tanh(),
        b=Tanh(), add=Add(),
        f=Flatten(), act=Tanh(), fc=Linear(32, 2)),
    "dropout and flatten hand on what two layers read": lambda: branches(
        (1, 3, 3), {"drop": "conv", "a": "drop", "b": "conv", "c": "flat",
                    "join": ("fa", "c", "fb"), "fa": "a",
                    "fb": "b", "flat": "conv"},
        conv=Conv2d(1, 4, 3), drop=Dropout(), a=Tanh(), b=Tanh(), flat=Flatten(), c=Tanh(),
        fa=Flatten(), fb=Flatten(),
        join=Concat(), fc=Linear(12, 2)),
    "branches around the flatten": lambda: branches(
        (1, 6, 6), {"pool": "conv", "join": ("fa", "fb"), "fa": "conv", "fb": "pool"},
        conv=Conv2d(1, 2, 3),
        pool=MaxPool2d(2), fa=Flatten(), fb=Flatten(), join=Concat(), fc1=Linear(40, 5), act=Tanh(),
        fc2=Linear(5, 2)),
    "inception": lambda: branches(
        (2, 7, 7), {"b": "stem", "c": "stem", "join": ("a", "b2", "c")}, stem=Conv2d(2, 3, 3, 1, 1),
        a=Conv2d(3, 2, 1),
        b=Conv2d(3, 2, 3, 1, 1), b2=Conv2d(2, 2, 5, 1, 2), c=Conv2d(3, 2, (1, 3), 1, (0, 1)),
        join=Concat(),
        pool=AvgPool2d(2), f=Flatten(), fc=Linear(54, 3)),
    "a sum of single units": lambda: branches(
        (3,), {"one": "input", "two": "input", "add": ("one", "two", "one")}, one=Linear(3, 1),
        two=Linear(3, 1), add=Add(), act=Tanh(), fc=Linear(1, 2)),
    "flat branches": lambda: branches(
        (5,), {"add": ("fc1", "input"), "join": ("add", "fc1")}, fc1=Linear(5, 5), add=Add(),
        join=Concat(), act=Tanh(),
        fc=Linear(10, 2)),
}


@pytest.mark.parametrize("name", HAND_PICKED)
def test_hand_picked_graphs(name):
    check_layers(*HAND_PICKED[name]())


@pytest.mark.parametrize("name", HAND_PICKED)
def test_float32_weights_are_no_mistake_in_float64(name):
    """No referee may round where the samples are float64, whatever precision the weights were
    stored in."""
    network, x = HAND_PICKED[name]()
    network.load({key: array.astype(np.float32) for key, array in network.parameters().items()})
    against = ["complex step", "dense", "torch jacfwd", "autograd"]
    report = check_network(network, x, against=against, tolerance=1e-12)
    assert report.verdict == "right" and set(report.missing) <= set(against[2:]), str(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", HAND_PICKED)
def test_float32_weights_are_no_mistake_to_jax_either(name):
    pytest.importorskip("jax", reason="jax is not installed (pip install 'jsma[referees]')")
    network, x = HAND_PICKED[name]()
    network.load({key: array.astype(np.float32) for key, array in network.parameters().items()})
    report = check_network(network, x, against=["jax jacfwd"], tolerance=1e-12)
    assert report.verdict == "right" and not report.missing, str(report)


@pytest.mark.parametrize("name", HAND_PICKED)
def test_samples_of_whole_numbers_leave_the_weights_alone(name):
    network, x = HAND_PICKED[name]()
    whole = np.rint(3 * x[0]).astype(int)
    both = zip(trace(network, whole), trace(network, whole.astype(float)), strict=True)
    for (_, h, table), (_, expected, right) in both:
        np.testing.assert_array_equal(h, expected)
        np.testing.assert_array_equal(table, right)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_graphs(seed):
    check_layers(*random_graph(seed))


def test_the_random_graphs_reach_the_corners():
    """Sums and concatenations of windows that differ in size and start occur, and values read
    twice."""
    seen = dict.fromkeys(("Add", "Concat", "size", "start", "twice"), 0)
    for seed in range(SEEDS):
        network, x = random_graph(seed)
        jacobians = {name: jacobian for name, _, jacobian in network.trace(x[:1])}
        sources = [name for names in network.inputs.values() for name in names]
        seen["twice"] += len(sources) > len(set(sources))
        for name, layer in network.layers.items():
            if name == "join" or not isinstance(layer, (Add, Concat)):
                continue
            seen[type(layer).__name__] += 1
            parts = [jacobians[source] for source in network.inputs[name] if source in jacobians]
            seen["size"] += len({part.values.shape[:2] for part in parts}) > 1
            seen["start"] += len({part.start for part in parts}) > 1
    assert all(count >= 2 for count in seen.values()), seen


@pytest.mark.parametrize("seed", range(8))
def test_gradients_of_the_parameters_in_a_graph(seed):
    network, x = random_graph(seed)
    rng = np.random.default_rng(seed)
    logits, saved = network.forward(x)
    v, parameters = rng.normal(size=logits.shape), network.parameters()
    for name, gradient in network.gradients(v, saved).items():
        direction = rng.normal(size=gradient.shape)
        moved = {**parameters, name: parameters[name] + 1j * STEP * direction}
        logits = [logits_and_jacobian(network, sample, moved)[0] for sample in x]
        expected = (v * logits).imag.sum() / STEP
        along = gradient * direction
        assert along.sum() == pytest.approx(expected, rel=1e-10, abs=1e-10 * np.abs(along).sum())


def test_what_is_read_twice_is_not_written_over():
    """The same derivative in batches of any size, and again: no layer may write into a Jacobian
    that another reads."""
    for name in HAND_PICKED:
        network, x = HAND_PICKED[name]()
        first = network.forward_derivative(x)
        assert np.array_equal(network.forward_derivative(x), first)
        close(np.concatenate([network.forward_derivative(x[:1]),
                              network.forward_derivative(x[1:])]), first, 1e-13)


@pytest.mark.parametrize(("layers", "inputs", "message"), [
    ({"a": Tanh(), "b": Add()}, None,
     "layer 'b': Add() takes two inputs or more; name them in inputs"),
    ({"a": Tanh(), "b": Tanh()}, {"b": ("a", "input")}, "layer 'b': Tanh() takes one input; got 2"),
    ({"a": Tanh(), "b": Tanh()}, {"a": "b"}, "layer 'a' takes 'b', which is no layer before it"),
    ({"a": Tanh()}, {"a": "a"}, "layer 'a' takes 'a', which is no layer before it"),
    ({"a": Tanh()}, {"b": "a"}, "inputs names layers that are not there: b"),
    ({"a": Tanh(), "b": Tanh()}, {"b": "input"}, "the output of layer 'a' is taken by no other"),
    ({"input": Tanh()}, None,
     "a layer cannot be named 'input': that is what goes into the network"),
    ({"a": Linear(3, 2), "b": Add()}, {"b": ("a", "input")},
     "layer 'b': Add() takes inputs of one shape; got 2×1×1, 3×1×1"),
])
def test_bad_graphs_are_refused_in_one_line(layers, inputs, message):
    with pytest.raises(ValueError) as caught:
        Network(layers, (3,), inputs)
    assert str(caught.value) == message


def test_concat_takes_one_height_and_width():
    message = ("^layer 'b': Concat\\(\\) takes inputs of one height and width; "
               "got 1×3×3, 1×4×4")
    with pytest.raises(ValueError, match=message):
        Network({"a": Conv2d(1, 1, 2), "b": Concat()}, (4, 4), {"b": ("a", "input")})


@pytest.mark.parametrize("referee", [  # jax compiles each graph anew
    pytest.param(name, marks=[pytest.mark.slow] * ("jax" in name)) for name in FOREIGN])
@pytest.mark.parametrize("name", HAND_PICKED)
def test_other_programs_agree_layer_by_layer(name, referee):
    """Every hand-picked graph against torch, jax and autograd, wired by each in its own way."""
    package = referee.split()[0]
    pytest.importorskip(package,
                        reason=f"{package} is not installed (pip install 'jsma[referees]')")
    network, x = HAND_PICKED[name]()
    ours = {name: jacobian.dense(1).reshape(-1, network.features)
            for name, _, jacobian in network.trace(x[:1])}
    tables = FOREIGN[referee](network, x[0])
    assert len(tables) == (len(ours) if referee.endswith("jacfwd") else 1)
    for layer, table in tables.items():
        close(ours[layer], table, 1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_graphs_to_torch(seed):
    """The same values and names of weights; what torch cannot have is refused in one line."""
    torch = pytest.importorskip("torch",
                                reason="torch is not installed (pip install 'jsma[referees]')")
    network, x = random_graph(seed)
    try:
        module = to_torch(network)
    except ValueError as error:
        assert "flat" in str(error).lower()
        return
    with torch.no_grad():
        got = module(torch.from_numpy(x)).numpy()
    has_softmax = isinstance(list(network.layers.values())[-1], Softmax)
    close(got, network.probabilities(x) if has_softmax else network.logits(x), 1e-12)
    names = {name for name in module.state_dict() if not name.endswith("tracked")}
    assert set(network.parameters()) == names
    if has_softmax:
        close(got.sum(axis=1), np.ones(2), 1e-12)


@pytest.mark.parametrize("name", HAND_PICKED)
def test_graphs_are_right_by_every_referee_of_ours(name):
    network, x = HAND_PICKED[name]()
    report = check_network(network, x, against=["complex step", "dense", "differences"])
    assert report.verdict == "right", str(report)
    assert [row.layer for row in report.rows] == list(network.layers)


class ForgetsABranch(Add):
    """The sum of all branches, the derivative of the first alone."""

    def forward_derivative(self, jacobian, saved):
        return jacobian[0]


class SwapsGradients(Concat):
    """Backward hands the branches each other's gradients."""

    def backward(self, grad_y, saved):
        return super().backward(grad_y, saved)[::-1]


@pytest.mark.parametrize(("kind", "part"),
                         [(ForgetsABranch, "forward derivative"), (SwapsGradients, "backward")])
def test_a_wrong_merge_is_named(kind, part):
    rng = np.random.default_rng(1)
    network = with_random_weights(Network(
        {"a": Conv2d(1, 2, 3, 1, 1), "b": Conv2d(1, 2, 1), "m": kind(), "t": Tanh(), "f": Flatten(),
         "fc": Linear(50 * (1 + (kind is SwapsGradients)), 2)},
        (5, 5), {"b": "input", "m": ("a", "b")}), rng)
    report = check_network(network, rng.normal(size=(2, 5, 5)))
    assert (report.verdict, report.layer, report.part) == ("wrong", "m", part)


class NegativeSlope(LeakyReLU):
    """Forgets the slope below 0."""

    def forward(self, x):
        y, slope = super().forward(x)
        return y, np.where(slope == 1, slope, 0)


class NoScale(BatchNorm2d):
    """The factor of each channel is forgotten."""

    def forward_derivative(self, jacobian, saved):
        return jacobian


class WrongShare(AdaptiveAvgPool2d):
    """The share of one row too many."""

    def forward_derivative(self, jacobian, saved):
        return super().forward_derivative(jacobian, (saved[0] - 1, saved[1]))


@pytest.mark.parametrize("wrong", [NegativeSlope(0.3), NoScale(3), WrongShare()],
                         ids=lambda layer: type(layer).__name__)
def test_a_wrong_new_layer_is_named(wrong):
    rng = np.random.default_rng(2)
    layers = {"conv": Conv2d(1, 3, 2), "wrong": wrong, "flat": Flatten()}
    layers["fc"] = Linear(Network(layers, (5, 5)).classes, 2)
    network = with_random_weights(Network(layers, (5, 5)), rng)
    report = check_network(network, rng.normal(size=(2, 5, 5)))
    assert (report.verdict, report.layer, report.part) == ("wrong", "wrong", "forward derivative")


class Careless(Tanh):
    """A layer by hand whose derivatives come out as something else."""

    def __init__(self, forward, backward):
        super().__init__()
        self.answers = forward, backward

    def forward_derivative(self, jacobian, saved):
        answer = self.answers[0]
        return super().forward_derivative(jacobian, saved) if answer is None else answer

    def backward(self, grad_y, saved):
        answer = self.answers[1]
        return super().backward(grad_y, saved) if answer is None else answer


@pytest.mark.parametrize("answer", [np.zeros((3, 4)), [1.0], "none"])
def test_a_layer_whose_derivative_is_no_jacobian_is_named(answer):
    network = Network({"fc": Linear(4, 3), "mine": Careless(answer, None), "out": Linear(3, 2)},
                      (4,))
    x = np.ones((2, 4))
    for use in (network.forward_derivative, lambda x: list(network.trace(x)),
                lambda x: check_network(network, x)):
        with pytest.raises(TypeError, match="layer 'mine': forward_derivative of Careless must "
                                            "return a Jacobian; got " + type(answer).__name__):
            use(x)


@pytest.mark.parametrize("answer", [[1.0], "none", 3.0])
def test_a_layer_whose_backward_gives_no_array_is_named(answer):
    network = Network({"fc": Linear(4, 3), "mine": Careless(None, answer), "out": Linear(3, 2)},
                      (4,))
    x = np.ones((2, 4))
    for use in (network.backward_derivative, lambda x: check_network(network, x)):
        with pytest.raises(TypeError, match="layer 'mine': backward must return"):
            use(x)
