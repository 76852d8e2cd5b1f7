"""Layers of one's own that work unit by unit, as people write them: layer, part and cause are
named, with z and f'(z); and layers that are right are right, whatever they are made of."""
import numpy as np
import pytest

from nn import Conv2d, Flatten, Layer, Linear, MaxPool2d, Network, ReLU, Tanh, check_network

X = np.random.default_rng(5).normal(size=(2, 6))


class Own(Layer):
    """f(z) = z·φ(z), as it is right; it saves z and f(z)."""

    def forward(self, x):
        y = x / (1 + np.exp(-x))
        return y, (x, y)

    def slope(self, z, y):
        phi = 1 / (1 + np.exp(-z))
        return phi + z * phi * (1 - phi)

    def forward_derivative(self, jacobian, saved):
        return jacobian.scaled(self.slope(*saved))

    def backward(self, grad_y, saved):
        return grad_y * self.slope(*saved)


class OfTheValue(Own):
    def slope(self, z, y):
        return super().slope(y, y)


class OfTanh(Own):
    def slope(self, z, y):
        return 1 - np.tanh(z) ** 2


class OfTheSigmoid(Own):
    def slope(self, z, y):
        return np.exp(-z) / (1 + np.exp(-z)) ** 2


class OneMinusTheSquare(Own):
    """Right for tanh, and copied from there."""

    def slope(self, z, y):
        return 1 - y * y


class Doubled(Own):
    def slope(self, z, y):
        return 2 * super().slope(z, y)


class Negative(Own):
    def slope(self, z, y):
        return -super().slope(z, y)


class Squared(Own):
    def slope(self, z, y):
        return super().slope(z, y) ** 2


class Missing(Own):
    def slope(self, z, y):
        return np.ones_like(z)


class TheValue(Own):
    def slope(self, z, y):
        return y


class Unknown(Own):
    """Nothing that is known."""

    def slope(self, z, y):
        return super().slope(z, y) + 0.1 * z


CAUSES = {
    OfTheValue: "f' is that of y, not of z", OfTanh: "f' is that of tanh",
    OfTheSigmoid: "f' is that of a sigmoid",
    OneMinusTheSquare: "f' is 1 − y², which is right for tanh", Doubled: "scaled by 2",
    Negative: "the sign is wrong", Squared: "f' is squared", Missing: "f' is missing",
    TheValue: "f' is y itself", Unknown: ""}


def network(layer):
    rng = np.random.default_rng(1)
    return Network({"fc1": Linear(6, 8, rng=rng), "own": layer, "fc2": Linear(8, 3, rng=rng)}, (6,))


def with_part(kind, part):
    """The layer with only one part as wrong as its class has it."""
    other = "backward" if part == "forward derivative" else "forward_derivative"
    return type(kind.__name__, (kind,), {other: lambda self, incoming, saved: getattr(
        Own(), other)(incoming, saved)})()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("part", ["forward derivative", "backward"])
@pytest.mark.parametrize("kind", CAUSES, ids=lambda kind: kind.__name__)
def test_the_cause_is_named_with_z_and_both_slopes(kind, part, dtype):
    report = check_network(network(with_part(kind, part)), X.astype(dtype))
    assert (report.verdict, report.layer, report.part) == ("wrong", "own", part), str(report)
    assert report.finding.cause == CAUSES[kind]
    slope, own = report.finding.slope, Own()
    z = np.float64(slope.z)
    assert slope.expected == pytest.approx(own.slope(z, own.forward(z)[0]), rel=1e-5)
    assert slope.claimed == pytest.approx(kind().slope(z, own.forward(z)[0]), rel=1e-4)
    assert f"z = {slope.z:.6g}: f'(z) is {slope.expected:.6g}" in str(report)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_right_one_is_right(dtype):
    assert check_network(network(Own()), X.astype(dtype)).verdict == "right"


def test_a_cause_explains_the_numbers_to_rounding():
    """Wrong by 3·10⁻⁶ of itself: no "scaled by 1", and no other name."""
    class Nearly(Own):
        def slope(self, z, y):
            return super().slope(z, y) * (1 + 3e-6 * np.cos(5 * z))

    class Scaled(Own):
        def slope(self, z, y):
            return super().slope(z, y) * (1 + 3e-6)

    report = check_network(network(Nearly()), X)
    assert (report.verdict, report.layer, report.finding.cause) == ("wrong", "own", "")
    report = check_network(network(Scaled()), X)
    assert report.finding.cause == "scaled by 1 +3e-06"


class Absolute(Layer):
    """|z|, in which complex numbers have no place: np.abs takes them all the same."""

    right = True

    def forward(self, x):
        return np.abs(x), np.sign(x)

    def forward_derivative(self, jacobian, saved):
        return jacobian.scaled(saved if self.right else 2 * saved)

    def backward(self, grad_y, saved):
        return grad_y * saved


class RootOfSquares(Absolute):
    def forward(self, x):
        return np.sqrt(x * x.conj() + 1e-3), x / np.sqrt(x * x + 1e-3)


class RealOnly(Absolute):
    def forward(self, x):
        if x.dtype.kind == "c":
            raise RuntimeError("real numbers only\nhere")
        return np.abs(x), np.sign(x)


@pytest.mark.parametrize(("kind", "reason"), [(Absolute, "not analytic"),
                                              (RootOfSquares, "not analytic"),
                                              (RealOnly, "real numbers only here")])
@pytest.mark.parametrize("right", [True, False])
def test_where_complex_numbers_have_no_place_others_judge(kind, reason, right):
    layer = kind()
    layer.right = right
    report = check_network(network(layer), X, against=["complex step", "differences"])
    assert reason in report.missing["complex step"]
    assert list(report.rows[-1].errors) == ["differences"]
    assert report.verdict == ("right" if right else "wrong"), str(report)
    alone = check_network(network(layer), X)
    assert alone.verdict == report.verdict and "in place of the complex step" in alone.notes[0]
    assert set(alone.missing) == {"complex step", "dense"}


class Rectifier(Layer):
    """NumPy orders complex numbers by their imaginary part where the real parts are equal."""

    def forward(self, x):
        return np.maximum(x, 0), x.real > 0

    def forward_derivative(self, jacobian, saved):
        return jacobian.scaled(saved)

    def backward(self, grad_y, saved):
        return grad_y * saved


class RectifierOfOurs(Rectifier, ReLU):
    pass


class Masked(Rectifier):
    def forward(self, x):
        return x * (x > 0), x.real > 0


class Largest(Layer):
    """Of all inputs, the first of equals."""

    def output_shape(self, shape):
        return (1, 1, 1)

    def forward(self, x):
        first = np.arange(x.shape[-1]) == x.real.argmax(axis=-1)[..., None]
        return x.max(axis=-1, keepdims=True), first

    def forward_derivative(self, jacobian, saved):
        return jacobian.with_values((jacobian.values * saved).sum(axis=-1, keepdims=True))

    def backward(self, grad_y, saved):
        return grad_y * saved


@pytest.mark.parametrize("kind", [Rectifier, RectifierOfOurs, Masked, Largest])
def test_a_kink_of_ones_own_is_no_mistake(kind):
    """Units at exactly 0 or equal: there is no derivative, whatever complex numbers give."""
    x = np.array([[0.0, 0, 1, 1, -1, 0.5]])
    layers = Network([kind(), Linear(1 if kind is Largest else 6, 3)], (6,))
    for dtype in (np.float64, np.float32):
        report = check_network(layers, x.astype(dtype))
        assert report.verdict == ("right" if kind is RectifierOfOurs else "not judged"), str(report)
        assert report.rows[0].ties > 0
        moved = x + np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
        assert check_network(layers, moved.astype(dtype)).verdict == "right"
    layers.layers["0"].forward_derivative = lambda jacobian, saved: kind.forward_derivative(
        layers.layers["0"], jacobian, saved * 2)
    assert check_network(layers, moved).verdict == "wrong"


def test_a_random_layer_is_not_judged():
    class Dropping(Own):
        rng = np.random.default_rng(0)

        def forward(self, x):
            y, saved = super().forward(x)
            return y * (self.rng.random(x.shape) < 0.5), saved

    report = check_network(network(Dropping()), X)
    assert report.verdict == "not judged"
    assert "layer 'own': Dropping gives other values each time" in report.missing["complex step"]


def test_a_layer_that_mixes_units_is_judged_too():
    """Not unit by unit, none of nn's: v / (1 + Σ v²), right and with one term forgotten."""
    class Scaled(Layer):
        forgotten = False

        def forward(self, x):
            return x / (1 + (x * x).sum(axis=-1, keepdims=True)), x

        def _local(self, x):
            size = 1 + (x * x).sum()
            local = np.eye(x.size) / size
            return local if self.forgotten else local - 2 * np.outer(x, x) / size ** 2

        def forward_derivative(self, jacobian, saved):
            return jacobian.with_values(jacobian.values @ self._local(saved.reshape(-1)).T)

        def backward(self, grad_y, saved):
            return grad_y @ self._local(saved.reshape(-1))

    layer = Scaled()
    for scale in (1e-30, 1, 30):
        report = check_network(network(layer), scale * X)
        assert report.verdict == "right" and report.missing.keys() == {"dense"}, str(report)
    layer.forgotten = True
    report = check_network(network(layer), X)
    assert (report.layer, report.part) == ("own", "forward derivative")
    assert report.finding.slope is None


def test_a_layer_of_ones_own_behind_a_convolution():
    network = Network([Conv2d(1, 3, 3), Own(), MaxPool2d(2), Flatten(), Linear(12, 2), Tanh()],
                      (6, 6))
    x = np.random.default_rng(0).random((2, 6, 6))
    assert check_network(network, x).verdict == "right"
    network.layers["1"].__class__ = Squared
    report = check_network(network, x)
    assert (report.layer, report.finding.cause) == ("1", "f' is squared")
