"""Saturated activations: f and f' are tiny and right in all their digits, in the layers, in the
textbook and by the complex step."""
from fractions import Fraction

import numpy as np
import pytest
from reference import STEP

from nn import (
    ELU,
    GELU,
    Flatten,
    Linear,
    Network,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    textbook,
)

Z = [0.0, 1e-30, 1e-3, 0.3, 1.0, 3.0, 12.0, 20.0, 37.0, 40.0, 100.0, 300.0]
Z += [-z for z in Z]
DIGITS = 80


def exponential(z):
    """e^z for a float z, as a fraction with `DIGITS` digits."""
    z = Fraction(z)
    halvings = max(0, int(abs(z)).bit_length() + 4)
    small, term, total = z / 2 ** halvings, Fraction(1), Fraction(1)
    for n in range(1, 60):
        term = _short(term * small / n)
        total += term
    for _ in range(halvings):
        total = _short(total * total)
    return total


def _short(number):
    """The fraction with so many significant digits."""
    if not number:
        return number
    size = len(str(abs(number.numerator))) - len(str(number.denominator))
    scale = Fraction(10) ** (DIGITS - size)
    return Fraction(round(number * scale)) / scale


def expected(layer, z):
    """f'(z) from its definition, in many digits."""
    z = Fraction(z)
    if isinstance(layer, Tanh):
        e = exponential(float(2 * z))
        return float(4 * e / (1 + e) ** 2)
    if isinstance(layer, Sigmoid):
        e = exponential(float(z))
        return float(e / (1 + e) ** 2)
    if isinstance(layer, ELU):
        return 1.0 if z > 0 else layer.alpha * float(exponential(float(z)))
    e = exponential(float(z * Fraction(layer.beta)))
    return float(e / (1 + e))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layer", [Tanh(), Sigmoid(), ELU(0.5), Softplus(), Softplus(0.5)],
                         ids=repr)
def test_the_slope_is_right_in_all_digits(layer, dtype):
    z = np.array([z for z in Z if dtype == np.float64 or abs(z) < 41], dtype)
    right = np.array([expected(layer, float(one)) for one in z])
    near = 16 * np.finfo(dtype).eps
    value, slope = layer.forward(z.reshape(1, 1, 1, -1))
    assert slope.dtype == dtype
    np.testing.assert_allclose(slope.reshape(-1), right, rtol=near)
    wide = z.astype(float)
    (_, _, jacobian), = textbook.trace(Network([layer], (len(z),)), wide)
    np.testing.assert_allclose(np.diag(jacobian), right, rtol=16 * np.finfo(float).eps)
    step = layer.forward(wide.reshape(1, 1, 1, -1) + 1j * STEP)[0].reshape(-1)
    kept = right > 1e-270  # times the step size it is no longer lost
    np.testing.assert_allclose((step.imag / STEP)[kept], right[kept], rtol=1e-14)
    np.testing.assert_allclose(step.real, value.reshape(-1).astype(float), rtol=near,
                               atol=STEP ** 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("z", [[40.0, 0, -1], [0.3, 0.2, 60], [3.0, 3, 3], [80.0, 79.5, 2],
                               [17.0, 1, 0], [-300.0, 0, 300]])
def test_softmax_is_right_where_one_output_takes_nearly_all(z, dtype):
    """∂p_j/∂z_k = p_j (δ_jk − p_k), with 1 − p_j as the sum of the others."""
    e = [exponential(float(np.array(one, dtype)) - max(z)) for one in z]
    p = [one / sum(e) for one in e]
    right = np.array([[float(p[j] * (sum(p) - p[j]) if j == k else -p[j] * p[k])
                       for k in range(3)] for j in range(3)])
    network, x = Network([Softmax()], (3,)), np.array([z], dtype)
    tiny = np.finfo(dtype).tiny
    p, saved = Softmax().forward(x.reshape(1, 1, 1, 3))
    forward = network.forward_derivative(x, of="probabilities")[0]
    backward = network.backward_derivative(x, of="probabilities")[0]
    _, _, jacobian = textbook.trace(network, x[0].astype(float))[-1]
    step = np.stack([Softmax().forward(x.reshape(1, 1, 1, 3) + 1j * STEP * unit)[0].imag.reshape(3)
                     / STEP for unit in np.eye(3)], axis=1)
    near = 32 * np.finfo(dtype).eps
    for got, relative in ((forward, near), (backward, near), (jacobian, 1e-13), (step, 1e-13)):
        np.testing.assert_allclose(got, right, rtol=relative, atol=max(tiny, 1e-270))


def test_what_enters_a_softmax_may_have_derivatives_of_any_size():
    """The same number added to all ∂z changes nothing, however large it is."""
    rng = np.random.default_rng(0)
    network = Network([Flatten(), Linear(4, 3), Softmax()], (4,))
    weight = rng.integers(-8, 9, (3, 4)) / 8.0
    z = np.array([[30.0, 1, 0, 0]])
    derivatives = []
    for shift in (0, 2.0 ** 20):
        network.load({"1.weight": weight + shift * np.array([0, 0, 1, 1]),
                      "1.bias": np.array([25.0, 0, 0])})
        derivatives.append(network.forward_derivative(z, of="probabilities"))
    np.testing.assert_allclose(derivatives[1], derivatives[0], rtol=1e-12)


def normal(z):
    """(Φ, Φ') of the normal distribution for a fraction z < −1, by Mills' continued fraction."""
    tail = Fraction(0)
    for n in range(600, 0, -1):
        tail = _short(Fraction(n) / (-z + tail))
    density = exponential(-z * z / 2)
    return density / (-z + tail), density


def tails(layer, z):
    """(f(z), f'(z)) from the definition, in many digits; z is a float below 0."""
    z = Fraction(z)
    if isinstance(layer, Tanh):
        e = exponential(2 * z)
        return (e - 1) / (e + 1), 4 * e / (1 + e) ** 2
    if isinstance(layer, Softplus):  # log(1 + e) = e − e²/2 + … for the tiny e of these z
        e = exponential(z * Fraction(layer.beta))
        power, terms, n = e, e, 1
        while abs(power) > terms / 10 ** 40:
            power, n = _short(-power * e), n + 1
            terms = _short(terms + power / n)
        return terms / Fraction(layer.beta), e / (1 + e)
    if isinstance(layer, GELU) and layer.approximate == "none":
        share, density = normal(z)
        root = Fraction(np.sqrt(2 * np.pi))
        return z * share / root, (share + z * density) / root
    slope = Fraction(1)
    u = z
    if isinstance(layer, GELU):
        root, cubic = Fraction(np.sqrt(8 / np.pi)), Fraction(0.044715)
        u, slope = root * (z + cubic * z ** 3), root * (1 + 3 * cubic * z ** 2)
    e = exponential(u)
    share, change = e / (1 + e), e / (1 + e) ** 2
    if isinstance(layer, Sigmoid):
        return share, change
    return z * share, share + z * change * slope


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layer", [Tanh(), Sigmoid(), Softplus(), Softplus(0.5), SiLU(), GELU(),
                                   GELU("tanh")], ids=repr)
def test_the_lower_tail_has_all_its_digits(layer, dtype):
    """Value and slope, also of complex numbers: as far as the type has numbers of full precision,
    in both of their parts. e^−z is as exact as z is, so a z of 100 may cost 100 roundings."""
    steps = [-9.0, -17, -25, -37.5, -60, -88, -300]
    z = np.array([-3, -5.5, *([-9.25, -12, -20, -30] if isinstance(layer, GELU) else steps)], dtype)
    right = np.array([[float(part) for part in tails(layer, float(one))] for one in z])
    steep = z * z if isinstance(layer, GELU) else np.abs(z)
    if isinstance(layer, GELU) and layer.approximate == "tanh":
        steep = np.abs(z) ** 3
    allowed = (8 + steep.astype(float)) * np.finfo(dtype).eps * np.abs(right.T)
    seen = (np.abs(right.T) > np.finfo(dtype).tiny).all(axis=0)
    assert seen.sum() >= 3
    for x in (z, z + 0j * z):
        value, slope = (part.reshape(-1) for part in layer.forward(x.reshape(1, 1, 1, -1)))
        assert value.dtype == x.dtype and slope.dtype in (x.dtype, dtype)
        for got, expected, near in ((value, right[:, 0], allowed[0]),
                                    (slope, right[:, 1], allowed[1])):
            assert (np.abs(got - expected) <= near)[seen].all(), (got, expected)
        assert np.isfinite(value).all() and np.isfinite(slope).all()
    wide = z.astype(float)
    step = layer.forward(wide.reshape(1, 1, 1, -1) + 1j * STEP)[0].reshape(-1).imag / STEP
    kept = seen & (np.abs(right[:, 1]) > 1e-270)  # times the step size it is no longer lost
    assert (np.abs(step - right[:, 1]) <= 2 * allowed[1] + 1e-300)[kept].all()


def test_the_derivative_of_a_tanh_at_complex_numbers():
    """A network may be differentiated at complex samples too: 1 − tanh² would be 0 here."""
    z = np.array([[-30.0, 25.0]]) + 0j
    jacobian = Network([Tanh()], (2,)).forward_derivative(z)[0]
    np.testing.assert_allclose(np.diag(jacobian), 4 * np.exp(-2 * np.abs(z[0])), rtol=1e-13)
