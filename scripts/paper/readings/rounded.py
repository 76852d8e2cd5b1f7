"""The derivative of the probabilities as a program in single precision gets it.

∂p/∂x = (diag(p) − p·pᵀ)·∂z/∂x, multiplied out as it stands. Where p is nearly 1, differences of
nearly equal numbers are taken, and what is left of β = Σ_{j≠t} ∂p_j/∂x is rounding: its sign says
nothing where p_t is below 1e-7. Our own derivative of probabilities takes no such differences
(`attack.model.output_weights`), so that β = −α there. In: a `nn.Network`. Out: a model that
`attack.craft` reads as it is (of="logits").
"""
import numpy as np
import scipy


class RoundedSoftmax:
    """A network whose outputs are its probabilities, differentiated in float32 without care; what
    is read is the same."""

    def __init__(self, network):
        self.network = network
        self.classes = network.classes

    def logits(self, x):
        """(B, N), those of the network, in float32."""
        return self.network.logits(_single(x))

    def predict(self, x):
        """(B,) classes."""
        return self.network.predict(_single(x))

    def forward_derivative(self, x):
        """(B, N, M) ∂p/∂x, all products and sums rounded to float32."""
        p = self.network.probabilities(_single(x))
        jacobian = self.network.forward_derivative(_single(x))
        return np.matmul(_softmax_derivative(p), jacobian)

    def vjp(self, x):
        """x → ((B, N) logits, v (B, K, N) → v·∂p/∂x (B, K, M)): the rows of ∂p/∂x by the transposed
        chain, each rounded, then their sums."""
        logits, pull = self.network.vjp(_single(x))
        rows = pull(_softmax_derivative(scipy.special.softmax(logits, axis=1)))
        return logits, lambda v: np.matmul(v.astype(rows.dtype, copy=False), rows)

    def backward_derivative(self, x, cotangents):
        """x, v (B, K, N) → v·∂p/∂x (B, K, M)."""
        return self.vjp(x)[1](cotangents)


def _softmax_derivative(p):
    """diag(p) − p·pᵀ as it stands: (B, N) → (B, N, N)."""
    return p[:, :, None] * (np.eye(p.shape[1], dtype=p.dtype) - p[:, None])


def _single(x):
    return np.asarray(x, np.float32)
