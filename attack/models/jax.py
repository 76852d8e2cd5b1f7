"""A function that jax can trace as a model that can be attacked.

In: a function. Out: `logits`, `forward_derivative`, `backward_derivative` and `vjp` as in `model`;
the derivatives are jax's own. jax is imported when a model is made. Read on in `models.ensemble`.
"""
import numpy as np

from attack.models.answers import as_precise_as, checked_logits, precision_of


class JaxModel:
    """A function (B, …) → (B, N) that jax can trace; float64 input is computed in float64."""

    def __init__(self, function):
        import jax  # noqa: F401  so that a missing jax is told here
        if not callable(function):
            raise TypeError(f"function must be callable; got {type(function).__name__}")
        self.function = function

    def logits(self, x):
        """x (B, …) → (B, N)."""
        with _double_precision():
            return checked_logits("JaxModel", np.asarray(self.function(_real(x))), x)

    def forward_derivative(self, x):
        """x (B, …) → (B, N, M)."""
        classes = self.logits(x[:1]).shape[1]
        every_class = np.broadcast_to(np.eye(classes), (len(x), classes, classes))
        return self.backward_derivative(x, every_class)

    def backward_derivative(self, x, cotangents):
        """x (B, …), cotangents (B, K, N) → (B, K, M)."""
        return self.vjp(x)[1](cotangents)

    def vjp(self, x):
        """One way forward: x → ((B, N), pull), pull(v (B, K, N)) → (B, K, M)."""
        import jax
        with _double_precision():
            logits, back = jax.vjp(self.function, _real(x))

        def pull(v):
            """v (B, K, N) → (B, K, M), all K at once."""
            with _double_precision():
                v = np.moveaxis(np.asarray(v), 1, 0).astype(logits.dtype)  # (K, B, N)
                (gradients,) = jax.vmap(back)(v)                           # (K, B, …)
                gradients = np.asarray(gradients).reshape(*gradients.shape[:2], -1)
            return as_precise_as(x, np.moveaxis(gradients, 1, 0))

        return checked_logits("JaxModel", np.asarray(logits), x), pull


def _double_precision():
    """A block in which jax computes in the precision it is given."""
    import jax
    try:
        return jax.enable_x64(True)
    except (AttributeError, TypeError):  # before jax 0.8
        from jax.experimental import enable_x64
        return enable_x64(True)


def _real(x):
    return np.asarray(x, precision_of(x))
