"""The textbook against the fast code: every H_k and ∂H_k/∂x, on random networks and real digits.

The random graphs of test_graph are held against it too. Here also: what the textbook promises about
itself, and that a network by hand comes out as by hand.
"""
import numpy as np
import pytest
from random_networks import check_trace, random_activation, random_layer
from reference import STEP, close, trace, with_random_weights

from data import load_mnist
from nn import (
    ELU,
    GELU,
    AndNetwork,
    Conv2d,
    Flatten,
    Hardtanh,
    Layer,
    LeakyReLU,
    LeNet,
    Linear,
    MaxPool2d,
    Network,
    ReLU,
    ReLU6,
    ResNet,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    textbook,
)


@pytest.fixture(scope="module", params=[
    LeNet.pretrained, pytest.param(ResNet.pretrained, marks=pytest.mark.slow)])
def traced(request):
    """A network, the first 1 and its trace by the textbook."""
    network, digit = request.param(), first(1)
    return network, digit, trace(network, digit)


def first(label):
    """The first test digit of a class."""
    images, labels = load_mnist("test")
    return images[labels == label][0].astype(np.float64)


def test_every_layer_on_real_digits(traced):
    """Ties of max pooling included: both break them by the same rule."""
    network, digit, expected = traced
    check_trace(network, digit, expected=expected)


@pytest.mark.slow
@pytest.mark.parametrize("make", [LeNet.pretrained, ResNet.pretrained])
def test_every_layer_on_an_8(make):
    check_trace(make(), first(8))


def test_the_whole_forward_derivative_on_a_real_digit(traced):
    network, digit, expected = traced
    _, logits, jacobian = expected[len(network.logit_layers) - 1]
    close(network.logits(digit[None])[0], logits.reshape(-1))
    close(network.forward_derivative(digit[None])[0], jacobian)
    close(network.backward_derivative(digit[None])[0], jacobian)


@pytest.mark.parametrize("seed", range(25))
def test_every_layer_of_random_chains(seed):
    rng = np.random.default_rng(seed)
    image = (int(rng.integers(1, 4)), *(int(n) for n in rng.integers(5, 9, 2)))
    shape = image
    layers = []
    for _ in range(int(rng.integers(2, 6))):
        layer = random_layer(rng, "mixed", shape)
        try:
            shape = layer.output_shape(shape)
        except ValueError:  # does not fit
            continue
        layers.append(layer)
    layers += [Flatten(), Linear(int(np.prod(shape)), 5), random_activation(rng), Linear(5, 3)]
    names = [str(n) for n in range(len(layers))]
    chain = {**dict(zip(names, layers)), "softmax": Softmax()}
    check_trace(with_random_weights(Network(chain, image), rng), rng.normal(size=image))


def test_the_and_network_by_hand():
    """Fig. 3: ∂F/∂x = f'(z_2) · W_2 · f'(z_1) · W_1 with f' = f·(1 − f)."""
    network = AndNetwork.pretrained()
    p = {name: array.astype(np.float64) for name, array in network.parameters().items()}
    x = np.array([1, 0.37])
    hidden = 1 / (1 + np.exp(-p["hidden.weight"] @ x - p["hidden.bias"]))
    output = 1 / (1 + np.exp(-p["output.weight"] @ hidden - p["output.bias"]))
    slopes = np.diag(hidden * (1 - hidden))
    by_hand = output * (1 - output) * (p["output.weight"] @ slopes @ p["hidden.weight"])
    name, h, jacobian = trace(network, x)[-1]
    assert name == "sigmoid2"
    close(h.reshape(-1), output, 1e-14)
    close(jacobian, by_hand, 1e-14)


def test_of_equal_units_the_first_is_the_maximum():
    layers = [MaxPool2d(2)]
    assert trace(Network(layers, (2, 2)), np.array([1.0, 3, 3, 3]))[0][2].tolist() == [[0, 1, 0, 0]]
    assert trace(Network(layers, (2, 2)), np.zeros(4))[0][2].tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize("layer", [Tanh(), Sigmoid(), ReLU(), LeakyReLU(0.1), ELU(0.5), Softplus(),
                                   Softplus(3.0), SiLU(), GELU(), GELU("tanh"),
                                   Hardtanh(-2, 0.5), ReLU6()], ids=repr)
def test_activations_of_any_size(layer):
    """No overflow, no NaN; f' is the complex step of f, and that of the layer itself."""
    z = np.array([-1e5, -800, -30, -1, -1e-3, 1e-3, 1, 30, 800, 1e5])
    (_, h, jacobian), = trace(Network([layer], (10,)), z)
    value, slope = layer.forward(z.reshape(1, 1, 1, -1))
    np.testing.assert_allclose(h.reshape(-1), value.reshape(-1), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(jacobian, np.diag(slope.reshape(-1)), rtol=1e-14, atol=2e-16)
    middle = z[2:-2]
    (_, h, _), = trace(Network([layer], (6,)), middle + 1j * STEP)
    (_, _, jacobian), = trace(Network([layer], (6,)), middle)
    np.testing.assert_allclose(h.imag.reshape(-1) / STEP, np.diag(jacobian), rtol=1e-12)


def test_parameters_may_be_others_and_complex():
    rng = np.random.default_rng(0)
    network = with_random_weights(Network([Conv2d(1, 2, 2), Flatten(), Linear(8, 2)], (3, 3)), rng)
    x = rng.normal(size=9)
    parameters = network.parameters()
    moved = {**parameters, "0.weight": parameters["0.weight"] + 1j * STEP}
    size = 1e-6
    up, down = (trace(network, x, {**parameters, "0.weight": parameters["0.weight"] + change})
                for change in (size, -size))
    traces = zip(trace(network, x, moved), up, down)
    for (_, h, table), (_, high, high_table), (_, low, low_table) in traces:
        np.testing.assert_allclose(h.imag / STEP, (high - low) / (2 * size), atol=1e-8)
        difference = (high_table - low_table) / (2 * size)
        np.testing.assert_allclose(table.imag / STEP, difference, atol=1e-8)


def test_a_layer_of_a_derived_class_counts_as_its_kind():
    class WrongTanh(Tanh):
        """Its own arithmetic is wrong: the textbook does not ask it."""

        def forward(self, x):
            return x, x

    (_, h, jacobian), = trace(Network([WrongTanh()], (3,)), np.ones(3))
    close(h.reshape(-1), np.tanh(np.ones(3)))
    close(jacobian, np.diag(1 / np.cosh(np.ones(3)) ** 2))


def test_an_unknown_layer_is_named():
    class Cube(Layer):
        """z³."""

    message = "^Cube is none of the layers that the textbook writes out$"
    with pytest.raises(TypeError, match=message):
        textbook.trace(Network([Cube()], (3,)), np.ones(3))
