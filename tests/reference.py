"""Referees and small helpers for the tests: the textbook's logits, the complex step, closeness."""
import numpy as np

from nn.textbook import trace

STEP = 1e-30


def logits_and_jacobian(network, x, parameters=None, traced=None):
    """The textbook's logits of one sample x, (N,), and ∂logits/∂x, (N, M).

    traced: its trace of x, where it is there already.
    """
    if not network.logit_layers:
        return np.asarray(x).reshape(-1), np.eye(np.size(x))
    steps = traced or trace(network, x, parameters)
    _, logits, jacobian = steps[len(network.logit_layers) - 1]
    return logits.reshape(-1), jacobian


def complex_step(function, x):
    """∂function/∂x at x (M,), (N, M): `function` takes (B, M) complex and gives (B, N)."""
    x = np.asarray(x, float).reshape(-1)
    return function(x + 1j * STEP * np.eye(len(x))).imag.T / STEP


def close(got, expected, relative=1e-10, terms=0):
    """Same shape, and no entry further off than `relative` times the largest entry.

    Where all entries are sums that cancel, `terms` is how large their terms are: 1e-13 of it is
    rounding.
    """
    got = np.asarray(got)
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    largest = max(np.abs(expected).max(initial=0), 1e-9)
    np.testing.assert_allclose(got, expected, rtol=0, atol=relative * largest + 1e-13 * terms)


def with_random_weights(network, rng):
    """`network` with normal float64 weights and biases (zeros would hide a forgotten bias)."""
    for layer in network.layers.values():
        for key, array in layer.parameters.items():
            scale = 1 if key == "bias" else (2 / np.prod(array.shape[1:])) ** 0.5
            drawn = scale * rng.normal(size=array.shape)
            layer.parameters[key] = 0.2 + np.abs(drawn) if key == "running_var" else drawn
    return network
