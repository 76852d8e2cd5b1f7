"""Which outputs F are differentiated, the argument `of`: "logits", "centred" or "probabilities".

In: forward, the Jacobian ∂z/∂x of the logits z; backward, cotangents v of F. Out: the table ∂F/∂x
(B, N, M); cotangents of the logits. Each is one class, forward and backward side by side, as in a
layer. Read on in `graph`.
"""
import numpy as np

from nn.layers.activation import Sigmoid, Softmax


class Logits:
    """F = z, the values that enter the output's activation.

    Args:
        z: the logits of a batch, (b, y, x, c).
        activation: the layer that makes probabilities of them.
    """

    def __init__(self, z, activation):
        self.z = z
        self.activation = activation

    def table(self, jacobian):
        """Forward: ∂z/∂x, a `Jacobian` → ∂F/∂x (B, N, M)."""
        table = jacobian.dense(len(self.z))  # (B, C, Y, X, M)
        return table.reshape(len(table), int(np.prod(table.shape[1:4])), table.shape[4])

    def cotangents(self, v):
        """Backward: ∂/∂F → ∂/∂z, both (K, b, y, x, c)."""
        return v


class Centred(Logits):
    """F_j = z_j − the mean of all z: the softmax sees no constant that is added to all logits."""

    def table(self, jacobian):
        """∂F_j/∂x = ∂z_j/∂x − the mean over j of ∂z_j/∂x."""
        table = np.ascontiguousarray(super().table(jacobian))
        return table - table.mean(axis=1, keepdims=True)

    def cotangents(self, v):
        """The transposed step, which is the same."""
        return v - v.mean(axis=(-3, -2, -1), keepdims=True)


class Probabilities(Logits):
    """F = the output's activation of z, most often the softmax.

    Of a single z it is σ(z), one output: the probability of class 1. As two classes z is the pair
    (0, z), whose softmax is (1 − σ(z), σ(z)); the attack sees it so, and ∂F/∂x of class 1 is this
    one, of class 0 its negative.
    """

    def table(self, jacobian):
        """Eq. 6 with the activation's f'."""
        saved = self.activation.forward(self.z)[1]
        return super().table(self.activation.forward_derivative(jacobian, saved))

    def cotangents(self, v):
        """The activation's backward step."""
        return self.activation.backward(v, self.activation.forward(self.z)[1])


def activation_behind(last, outputs):
    """The layer that makes probabilities of the logits: the network's last one, or, where that is
    no output's activation, the softmax; of a single output σ, for its softmax is always 1."""
    if isinstance(last, (Softmax, Sigmoid)):
        return last
    return Softmax() if outputs > 1 else Sigmoid()


def name_of(activation):
    """"softmax" or "sigmoid"."""
    return "sigmoid" if isinstance(activation, Sigmoid) else "softmax"


OUTPUTS = {"logits": Logits, "centred": Centred, "probabilities": Probabilities}


def outputs_of(of):
    """The class that `of` names; ValueError for another word."""
    if of not in OUTPUTS:
        raise ValueError(f"of must be one of {', '.join(OUTPUTS)}; got {of!r}")
    return OUTPUTS[of]
