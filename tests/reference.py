"""A dense referee for the forward derivative, written from the paper: every W_k of Eq. 5 as an explicit matrix.

Values and units are plain vectors in PyTorch's order (channel, row, column), one sample at a time. Only the numbers
that define a layer (kernel, stride, padding, weights) are read from `nn`; none of its arithmetic is used. Weights may
be complex, so that the complex step can differentiate with respect to them too.
"""
import numpy as np

from nn import Sigmoid, Softmax
from nn.textbook import trace

STEP = 1e-30


def logits_and_jacobian(network, x, parameters=None):
    """The values that enter the output's activation, (N,), and ∂logits/∂x, (N, M)."""
    found = trace(network, x, parameters)
    last = list(network.layers.values())[-1]
    if isinstance(last, (Softmax, Sigmoid)):
        if len(found) == 1:
            return np.asarray(x).reshape(-1), np.eye(np.size(x))
        found.pop()
    return found[-1][1].reshape(-1), found[-1][2]


def complex_step(function, x):
    """∂function/∂x at x (M,), (N, M): `function` takes (B, M) complex and gives (B, N)."""
    x = np.asarray(x, float).reshape(-1)
    return function(x + 1j * STEP * np.eye(len(x))).imag.T / STEP


def close(got, expected, relative=1e-10):
    """Same shape, and no entry further off than `relative` times the largest entry."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=relative * max(np.abs(expected).max(initial=0), 1e-9))


def with_random_weights(network, rng):
    """`network` with normal float64 weights and biases (a bias of zero would hide a forgotten one)."""
    for layer in network.layers.values():
        for key, array in layer.parameters.items():
            scale = 1 if key == "bias" else (2 / np.prod(array.shape[1:])) ** 0.5
            drawn = scale * rng.normal(size=array.shape)
            layer.parameters[key] = 0.2 + np.abs(drawn) if key == "running_var" else drawn
    return network
