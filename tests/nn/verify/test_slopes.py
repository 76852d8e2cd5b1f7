"""Differences with an error: functions whose slopes are known from calculus; the error that is
stated holds, kinks are seen where they are, and nothing is said where nothing can be."""
import numpy as np
import pytest

from nn.verify.functions.point import DOUBLE, SINGLE, Point
from nn.verify.functions.referee import Referee
from nn.verify.functions.slopes import slopes


def at(f, x, scale=1.0):
    noise = 8 * DOUBLE * np.abs(np.atleast_1d(f(x)))
    return slopes(lambda t: np.atleast_1d(f(x + t)), scale, noise, DOUBLE * scale)


@pytest.mark.parametrize(("f", "slope", "x"), [
    (np.sin, np.cos, 0.3), (np.exp, np.exp, 3.0), (np.log, lambda x: 1 / x, 0.1),
    (np.log, lambda x: 1 / x, 1e-3), (lambda x: x ** 9, lambda x: 9 * x ** 8, 0.7),
    (lambda x: np.sin(50 * x), lambda x: 50 * np.cos(50 * x), 0.2),
    (lambda x: np.sin(500 * x), lambda x: 500 * np.cos(500 * x), 0.2),
    (lambda x: x, lambda x: 1.0, 0.3), (lambda x: 7.0 + 0 * x, lambda x: 0.0, 0.3),
    (np.tanh, lambda x: 4 * np.exp(-2 * x), 12.0), (np.sqrt, lambda x: 0.5 / np.sqrt(x), 1e-2),
])
def test_the_error_that_is_stated_holds(f, slope, x):
    said = at(f, x)
    assert abs(said.value[0] - slope(x)) <= said.error[0] + 1e-12 * abs(slope(x))
    assert said.error[0] <= 1e-6 * abs(slope(x)) + 1e-11 and not said.kink[0]


@pytest.mark.parametrize("distance", 10.0 ** -np.arange(1, 7))
@pytest.mark.parametrize("side", [1, -1])
def test_a_kink_nearby_does_not_spoil_the_slope(distance, side):
    said = at(lambda x: np.maximum(side * x, 0) * np.cos(x) + 0.1 * x, side * distance)
    right = side * np.cos(distance) - distance * np.sin(distance) * 1 + 0.1
    if side < 0:
        right = -np.cos(distance) + distance * np.sin(distance) + 0.1
    assert said.kink[0] or abs(said.value[0] - right) <= said.error[0] + 1e-9
    assert not said.kink[0] or distance < 1e-5


@pytest.mark.parametrize("distance", [0.0, 1e-9, 1e-12])
def test_a_kink_at_the_point_has_two_slopes(distance):
    said = at(lambda x: np.where(x > 0, 3 * x, -0.5 * x), distance)
    assert said.kink[0] and np.isnan(said.value[0])
    assert said.low[0] == pytest.approx(-0.5) and said.high[0] == pytest.approx(3)


@pytest.mark.parametrize("f", [np.sqrt, np.log, lambda x: np.nan * x,
                               lambda x: np.where(x == 0, 1.0, np.nan)])
def test_nothing_is_said_where_values_are_missing(f):
    with np.errstate(all="ignore"):
        said = at(f, 0.0)
    assert np.isnan(said.error[0])


def test_noise_makes_the_error_larger():
    rng = np.random.default_rng(0)
    values = {}

    def rough(x):
        return np.sin(x) + 1e-6 * values.setdefault(float(x), rng.normal())

    said = slopes(lambda t: np.atleast_1d(rough(0.3 + t)), 1.0, np.array([1e-6]))
    assert abs(said.value[0] - np.cos(0.3)) <= said.error[0] and said.error[0] > 1e-6


@pytest.mark.parametrize(("f", "epsilon"), [
    (lambda x: np.sin(x), DOUBLE), (lambda x: np.sin(x.astype(np.float32)), SINGLE),
    (lambda x: np.sin(x.astype(np.float32)).astype(float), SINGLE),
    (lambda x: float(np.float32(x[0]) ** 2), SINGLE), (lambda x: np.tanh(30 * x), DOUBLE),
    (lambda x: 0 * x, DOUBLE),
])
def test_the_precision_inside_is_seen(f, epsilon):
    assert Point(lambda arrays: f(arrays["x"]), {"x": np.array([0.7, 0.9])}).epsilon == epsilon


def referee(f, x):
    return Referee(Point(lambda arrays: f(arrays["x"]), {"x": np.array(x)}))


@pytest.mark.parametrize(("f", "x", "slope"), [
    (lambda x: np.abs(x) ** 2 + 0j * x, [0.3], 0.6), (lambda x: x * np.conj(x), [0.3], 0.6),
    (lambda x: np.sqrt(np.abs(x) + 0 * x), [4.0], 0.25), (lambda x: np.real(x) ** 3, [2.0], 12.0),
])
def test_a_function_that_is_not_analytic_is_judged_by_differences(f, x, slope):
    judge = referee(lambda x: f(x) if np.iscomplexobj(x) else np.real(f(x)), x)
    said = judge.measure({"x": np.ones(1)})
    assert said.value[0] == pytest.approx(slope, abs=1e-8) and not said.exact[0]
    assert judge.refused and not judge.disagreements


def test_referees_that_are_both_sure_and_differ_disagree():
    def two_faced(x):  # analytic, and another function for tiny imaginary parts
        tiny = np.iscomplexobj(x) and 0 < np.abs(x.imag).max() < 1e-10
        return np.sin(2 * x) if tiny else np.sin(x)

    judge = referee(two_faced, [0.3])
    judge.measure({"x": np.ones(1)})
    assert judge.disagreements and not judge.is_trusted
