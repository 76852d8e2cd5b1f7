"""Every seeded mistake leaves all values as they are and makes exactly the derivative wrong that it
says."""
import numpy as np
import pytest

from data import load_mnist
from nn import AndNetwork, Conv2d, Flatten, LeNet, Linear, Network, ReLU, Softmax
from nn.verify.mistakes import AT_TIES, BACKWARD, FORWARD, GRADIENT, MISTAKES, PARTS

DIGIT = load_mnist("test")[0][:1].astype(np.float64)
DTYPES = (np.float32, np.float64, np.complex128)


@pytest.fixture(scope="module")
def lenet():
    return LeNet.pretrained()


@pytest.fixture(scope="module")
def right(lenet):
    """{(method, type or output): what the right network answers at the digit}."""
    answers = {(name, of): getattr(lenet, name)(DIGIT, of=of)
               for name in ("forward_derivative", "backward_derivative")
               for of in ("logits", "probabilities")}
    return answers | {(name, dtype): getattr(lenet, name)(DIGIT.astype(dtype))
                      for name in ("logits", "probabilities") for dtype in DTYPES}


@pytest.fixture(params=MISTAKES)
def mistake(request):
    return MISTAKES[request.param]


def inputs(network, layer):
    """H and ∂H/∂x at the digit, as they enter `layer`."""
    names = list(network.layers)
    if names[0] == layer:
        first = Network([Identity()], (1, 28, 28))
        (_, value, jacobian), = first.trace(DIGIT)
    else:
        before = names[names.index(layer) - 1]
        value, jacobian = next((value, jacobian) for name, value, jacobian in network.trace(DIGIT)
                               if name == before)
    return value.transpose(0, 2, 3, 1), jacobian


class Identity(Flatten):
    """Nothing: stands for the image before the first layer."""

    def output_shape(self, shape):
        return shape

    def forward(self, x):
        return x, None

    def forward_derivative(self, jacobian, saved):
        return jacobian


def parts(layer, value, jacobian):
    """All that a layer derives from H and ∂H/∂x, {part: [arrays]}; the backward step for one
    gradient and for three."""
    y, saved = layer.forward(value)
    grads = np.random.default_rng(0).normal(size=(3, *y.shape))
    return {FORWARD: [layer.forward_derivative(jacobian, saved).dense(1)],
            BACKWARD: [layer.backward(grads, saved), layer.backward(grads[0], saved)],
            GRADIENT: list(layer.gradients(grads[0], saved).values())}


def changed(wrong, right):
    """The names of the layers that are not what they were."""
    return [name for name, layer in right.layers.items()
            if type(wrong.layers[name]) is not type(layer)]


def apart(got, expected):
    """The largest difference over all arrays, each relative to its largest entry."""
    assert [(a.shape, a.dtype) for a in got] == [(b.shape, b.dtype) for b in expected]
    return max((np.abs(a - b).max() / np.abs(b).max() for a, b in zip(got, expected)), default=0)


def test_exactly_one_part_of_one_layer_is_wrong(lenet, mistake):
    wrong, at = mistake.make(lenet), inputs(lenet, mistake.layer)
    assert list(wrong.layers) == list(lenet.layers) and wrong.input_shape == lenet.input_shape
    assert changed(wrong, lenet) == [mistake.layer]
    assert isinstance(wrong.layers[mistake.layer], type(lenet.layers[mistake.layer]))
    got, expected = parts(wrong.layers[mistake.layer], *at), parts(lenet.layers[mistake.layer], *at)
    assert set(got) == set(PARTS)
    for part in PARTS:
        off = apart(got[part], expected[part])
        assert off > 1e-3 if part == mistake.part else off < 1e-12, part


def test_the_network_shows_it(lenet, mistake, right):
    """From outside: wrong in its own derivative, the values and the other derivative untouched."""
    wrong = mistake.make(lenet)
    of = "probabilities" if mistake.layer == "softmax" else "logits"
    forward, backward = (apart([getattr(wrong, name)(DIGIT, of=of)], [right[name, of]])
                         for name in ("forward_derivative", "backward_derivative"))
    assert forward > 1e-3 if mistake.part == FORWARD else forward == 0
    assert backward > 1e-3 if mistake.part == BACKWARD else backward == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_the_same_bits(lenet, mistake, dtype, right):
    wrong, x = mistake.make(lenet), DIGIT.astype(dtype)
    for value in ("logits", "probabilities"):
        got, expected = getattr(wrong, value)(x), right[value, dtype]
        assert got.dtype == expected.dtype and (got == expected).all()
    if dtype == np.float32:
        assert wrong.forward_derivative(x).dtype == wrong.backward_derivative(x).dtype == np.float32


def test_the_network_itself_is_left_alone(lenet, mistake):
    before = {name: array.copy() for name, array in lenet.parameters().items()}
    for array in mistake.make(lenet).parameters().values():
        array[:] = 0
    assert all((array == before[name]).all() for name, array in lenet.parameters().items())


@pytest.mark.parametrize("name", AT_TIES)
def test_at_ties_only(lenet, name):
    """Off the ties these are right, so they are a matter of the ties alone."""
    mistake = MISTAKES[name]
    wrong, x = mistake.make(lenet), DIGIT + 0.1 * np.random.default_rng(0).uniform(size=DIGIT.shape)
    assert apart([wrong.forward_derivative(x)], [lenet.forward_derivative(x)]) < 1e-12
    assert apart([wrong.backward_derivative(x)], [lenet.backward_derivative(x)]) < 1e-12


def test_another_network():
    """The layer of LeNet's name, else the first of the kind; a network without one is told so."""
    network = Network({"a": Conv2d(1, 2, (3, 5), 2, 1, bias=False), "relu": ReLU(),
                       "b": Conv2d(2, 2, 3), "flatten": Flatten(), "c": Linear(2 * 12 * 11, 3),
                       "fc2": Linear(3, 3), "softmax": Softmax()}, (28, 28))
    for name, layer in (("conv: kernel transposed", "a"), ("conv: kernel flipped", "a"),
                        ("linear: weight transposed", "fc2"),
                        ("linear, backward: weight transposed", "c")):
        wrong = MISTAKES[name].make(network)
        assert changed(wrong, network) == [layer]
        assert (wrong.logits(DIGIT) == network.logits(DIGIT)).all()
        backward = MISTAKES[name].part == BACKWARD
        derivative = "backward_derivative" if backward else "forward_derivative"
        got, expected = (getattr(one, derivative)(DIGIT) for one in (wrong, network))
        assert apart([got], [expected]) > 1e-3
    with pytest.raises(ValueError, match="MaxPool2d.*hidden, sigmoid"):
        MISTAKES[AT_TIES[0]].make(AndNetwork())
