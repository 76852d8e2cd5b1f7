"""Each other program against our forward derivative, its rule at ties, and what it says when it is
not installed."""
import sys

import numpy as np
import pytest
from reference import close

from data import load_mnist
from nn import (
    AvgPool2d,
    Conv2d,
    Flatten,
    Layer,
    LeNet,
    Linear,
    MaxPool2d,
    Network,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from nn.verify import frameworks
from nn.verify.frameworks import FOREIGN, RELU_AT_ZERO, TIE_RULE, MissingReferee

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning")
FORWARD = [name for name in FOREIGN if name.endswith("jacfwd")]
REVERSE = [name for name in FOREIGN if name not in FORWARD]


def jax_slow(names):
    """Parameters: jax compiles every network that it has not seen, for seconds."""
    return [pytest.param(name, marks=[pytest.mark.slow] * ("jax" in name)) for name in names]


def asked(name):
    """The referee, or the test is skipped."""
    package = name.split()[0]
    reason = f"{package} is not installed (pip install 'jsma[referees]')"
    pytest.importorskip(package, reason=reason)
    return FOREIGN[name]


@pytest.fixture(params=FOREIGN)
def referee(request):
    return asked(request.param)


def random_network(seed):
    """Two convolutions, pools, activations and linear layers with options drawn from `seed`, in
    float64."""
    rng = np.random.default_rng(seed)
    pools = [MaxPool2d(2), AvgPool2d((2, 1)), MaxPool2d((2, 3), 1)]
    activations = [Tanh(), Sigmoid(), ReLU()]
    features = [Conv2d(2, 3, (3, 2), (1, 2)[seed % 2], (1, 2), bias=seed % 3 > 0),
                activations[seed % 3], pools[seed % 3], Conv2d(3, 4, 2, padding=(0, 1)),
                pools[(seed + 1) % 3], activations[(seed + 1) % 3]]
    features += [Softmax()] * (seed % 2) + [Flatten()]
    flat = Network(features, (2, 11, 10)).classes
    layers = [*features, Linear(flat, 6, bias=seed % 2 > 0), activations[(seed + 2) % 3],
              Linear(6, 4)]
    layers += [[], [Softmax()], [Sigmoid()]][seed % 3]
    network = Network(layers, (2, 11, 10))
    network.load({key: rng.normal(size=array.shape) / 2
                  for key, array in network.parameters().items()})
    return network, rng


def tables(network, x):
    """Our ∂H_k/∂x for one sample: {name: (units, M)}."""
    return {name: jacobian.dense(1).reshape(-1, network.features)
            for name, _, jacobian in network.trace(x[None])}


# the same derivative

@pytest.mark.parametrize("seed", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", jax_slow(FOREIGN))
def test_random_networks(name, seed):
    network, rng = random_network(seed)
    x = rng.normal(size=(2, 11, 10))
    ours, got = tables(network, x), asked(name)(network, x)
    names = list(network.layers)
    assert list(got) == (names if name in FORWARD else [names[-1] if seed % 3 == 0 else names[-2]])
    for layer, table in got.items():
        assert table.dtype == np.float64
        close(table, ours[layer])
    if name in REVERSE:
        close(*got.values(), network.forward_derivative(x[None])[0])


@pytest.mark.parametrize("name", jax_slow(FOREIGN))
def test_lenet_on_a_real_digit(name):
    network, digit = LeNet.pretrained(), load_mnist("test")[0][0].astype(np.float64)
    if TIE_RULE[name] != "first":  # off the ties of the background
        digit += np.random.default_rng(0).uniform(0, 1e-3, digit.shape)
    got, ours = asked(name)(network, digit), tables(network, digit)
    logits = np.abs(ours["fc2"]).max()
    assert list(got) == (list(network.layers) if name in FORWARD else ["fc2"])
    for layer, table in got.items():
        # p_j·(∂z_j − Σ p_k ∂z_k) loses digits where p_j is nearly 1: the softmax is held against
        # the size of ∂z
        size = logits if layer == "softmax" else np.abs(ours[layer]).max()
        np.testing.assert_allclose(table, ours[layer], rtol=0, atol=1e-10 * size)


@pytest.mark.parametrize("name", jax_slow(FORWARD))
def test_pixels_go_in_chunks(name, monkeypatch):
    network, rng = random_network(1)
    x = rng.normal(size=(2, 11, 10))
    units = sum(np.prod(shape) for shape in network.shapes.values())
    # 220 pixels in 5 chunks of 37 and one of 35
    monkeypatch.setattr(frameworks, "CHUNK_BYTES", 8 * units * 40)
    for layer, table in asked(name)(network, x[:, ::-1]).items():
        close(table, tables(network, x[:, ::-1])[layer])


@pytest.mark.parametrize("referee", jax_slow(FOREIGN), indirect=True)
def test_shapes_and_types_of_a_sample(referee):
    network = Network([Flatten(), Linear(6, 3), Tanh(), Linear(3, 2), Softmax()], (2, 3))
    x = np.arange(6)
    expected = referee(network, x.astype(np.float64).reshape(2, 3))
    for layer, table in referee(network, x.reshape(1, 2, 3)).items():
        assert table.dtype == np.float64
        np.testing.assert_array_equal(table, expected[layer])
    for layer, table in referee(network, x.astype(np.float32)).items():
        assert table.dtype == np.float32
        close(table, expected[layer], 1e-5)
    for wrong in [np.zeros((3, 2)), np.zeros((1, 6)), np.full(6, np.nan)]:
        with pytest.raises(ValueError, match=r"x must"):
            referee(network, wrong)
    with pytest.raises(TypeError, match="x must be real"):
        referee(network, x * 1j)


def test_flat_input_and_nested_names(referee):
    network = Network({"a.0": Linear(5, 4), "a.1": Sigmoid(), "b": Linear(4, 3)}, (5,))
    x = np.random.default_rng(0).normal(size=5)
    for layer, table in referee(network, x).items():
        close(table, tables(network, x)[layer])


@pytest.mark.parametrize("name", REVERSE)
def test_no_layer_before_the_logits(name):
    assert asked(name)(Network([Softmax()], (3,)), np.arange(3)) == {}


def test_a_wrong_derivative_is_not_shared(referee):
    class Wrong(Tanh):
        def forward_derivative(self, jacobian, saved):
            return jacobian

        backward = None

    x = np.random.default_rng(0).normal(size=5)
    right, wrong = (Network([Linear(5, 4), layer, Linear(4, 3)], (5,))
                    for layer in (Tanh(), Wrong()))
    close(referee(wrong, x)["2"], tables(right, x)["2"])
    assert np.abs(referee(wrong, x)["2"] - tables(wrong, x)["2"]).max() > 1e-3


@pytest.mark.parametrize("referee", jax_slow(FOREIGN), indirect=True)
def test_nothing_is_remembered_of_another_network(referee):
    """jax keeps what it has compiled: new weights, other layers and options must show all the
    same."""
    x = np.random.default_rng(0).normal(size=(4, 4))
    network = Network([Conv2d(1, 2, 2, padding=1), Tanh(), Flatten()], (4, 4))
    others = [network, network,
              Network([Conv2d(1, 2, 2, padding=1), Sigmoid(), Flatten()], (4, 4)),
              Network([Conv2d(1, 2, 2, stride=2, padding=1), Tanh(), Flatten()], (4, 4))]
    for other in others:
        other.layers["0"].parameters["weight"] *= 2
        for layer, table in referee(other, x).items():
            close(table, tables(other, x)[layer])


def test_unknown_layers_are_named(referee):
    class Cube(Layer):
        def forward(self, x):
            return x ** 3, 3 * x ** 2

    with pytest.raises(TypeError, match="^layer 'cube': Cube is none of the layers") as caught:
        referee(Network({"cube": Cube(), "fc": Linear(5, 4)}, (5,)), np.zeros(5))
    assert "\n" not in str(caught.value)


# where there is no derivative

@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", jax_slow(FOREIGN))
def test_the_rule_at_ties(name, dtype):
    """Every pattern of ties in a window of 2×2, all at once, and windows that overlap on a plain
    image."""
    patterns = np.array([[number >> bit & 1 for bit in range(4)] for number in range(16)], dtype)
    image = patterns.reshape(16, 2, 2).transpose(1, 0, 2).reshape(2, 32)
    network = Network({"pool": MaxPool2d(2)}, (2, 32))
    table = asked(name)(network, image)["pool"].reshape(16, 2, 16, 2)
    got = table[np.arange(16), :, np.arange(16)].reshape(16, 4)
    largest = patterns == patterns.max(axis=1, keepdims=True)
    first = np.eye(4)[largest.argmax(axis=1)]
    split = largest / largest.sum(axis=1, keepdims=True)
    expected = {"first": first, "split": split}[TIE_RULE[name]]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    plain = Network({"pool": MaxPool2d(3, 2)}, (3, 9, 11))
    got = asked(name)(plain, np.zeros((3, 9, 11), dtype))["pool"]
    if TIE_RULE[name] == "first":
        expected = tables(plain, np.zeros((3, 9, 11), dtype))["pool"]
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_allclose(got[got > 0], 1 / 9, rtol=1e-6)


@pytest.mark.parametrize("name", FOREIGN)
def test_relu_at_zero(name):
    network = Network({"relu": ReLU()}, (3,))
    table = asked(name)(network, np.array([-1.0, 0.0, 1.0]))["relu"]
    np.testing.assert_array_equal(table, np.diag([0, RELU_AT_ZERO[name], 1]))


def test_the_rules_cover_all_referees():
    assert list(TIE_RULE) == list(RELU_AT_ZERO) == list(FOREIGN)


# around the programs

@pytest.mark.parametrize("name", FOREIGN)
def test_a_missing_program_is_named(name, monkeypatch):
    package = name.split()[0]
    inner = [module for module in sys.modules if module.startswith(f"{package}.")]
    for module in [package, *inner]:
        monkeypatch.setitem(sys.modules, module, None)
    message = rf"^{package} cannot be imported .*pip install 'jsma\[referees\]'$"
    with pytest.raises(MissingReferee, match=message):
        FOREIGN[name](LeNet(), np.zeros((28, 28)))
    assert issubclass(MissingReferee, ImportError)


def test_settings_are_left_alone():
    jax = pytest.importorskip("jax", reason="jax is not installed (pip install 'jsma[referees]')")
    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    for name in ("jax jacfwd", "jax jacrev"):
        FOREIGN[name](Network([Linear(2, 2)], (2,)), np.zeros(2))
    assert (jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision) == before
    assert jax.numpy.zeros(1, float).dtype == (np.float64 if before[0] else np.float32)


def test_torch_keeps_no_graph_and_draws_nothing():
    reason = "torch is not installed (pip install 'jsma[referees]')"
    torch = pytest.importorskip("torch", reason=reason)
    state = torch.get_rng_state()
    for name in ("torch jacfwd", "torch jacrev"):
        (table,) = FOREIGN[name](Network([Linear(3, 2)], (3,)), np.zeros(3)).values()
        assert type(table) is np.ndarray
    assert torch.equal(torch.get_rng_state(), state)
