"""Saturated activations: f' is tiny and right in all its digits, in the layers, in the textbook and
by the complex step."""
from fractions import Fraction

import numpy as np
import pytest
from reference import STEP

from nn import ELU, Flatten, Linear, Network, Sigmoid, Softmax, Softplus, Tanh, textbook

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
