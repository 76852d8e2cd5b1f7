"""Bad constructor arguments: one line that names the argument and the value.

A network takes layers and finite numbers.
"""
import numpy as np
import pytest

from nn import Conv2d, Linear, Network, Tanh


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Linear(0, 2), ["in_features", "0"]),
    (lambda: Linear(2, -1), ["out_features", "-1"]),
    (lambda: Linear(2.5, 3), ["in_features", "2.5"]),
    (lambda: Conv2d(0, 2, 3), ["in_channels", "0"]),
    (lambda: Conv2d(1, -2, 3), ["out_channels", "-2"]),
    (lambda: Conv2d(1, 2, 0), ["kernel_size", "0"]),
    (lambda: Conv2d(1, 2, 3, stride=0), ["stride", "0"]),
    (lambda: Conv2d(1, 2, 3, padding=-1), ["padding", "-1"]),
    (lambda: Network([], (3,)), ["layers"]),
    (lambda: Network([Tanh()], (0,)), ["input_shape", "0"]),
    (lambda: Network([Tanh()], (1, 2, 3, 4)), ["input_shape", "4"]),
    (lambda: Network([Tanh(), np.tanh], (3,)), ["'1'", "ufunc"]),
])
def test_bad_arguments_are_named(make, words):
    with pytest.raises((ValueError, TypeError)) as error:
        make()
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1])
def test_a_network_takes_only_finite_floating_point_parameters(value):
    network = Network([Linear(2, 1)], (2,))
    before = network.parameters()["0.weight"].copy()
    with pytest.raises(ValueError, match="0.weight"):
        network.load({"0.weight": np.full((1, 2), value), "0.bias": np.zeros(1)})
    np.testing.assert_array_equal(network.parameters()["0.weight"], before)


def test_one_output_is_a_yes_or_no():
    network = Network([Linear(1, 1, bias=False)], (1,)).load({"0.weight": np.ones((1, 1))})
    assert network.predict(np.array([[-2.0], [0.0], [3.0]])).tolist() == [0, 0, 1]
