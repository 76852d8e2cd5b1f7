"""A function that jax can trace as a model that can be attacked.

In: a function. Out: `logits`, `forward_derivative`, `backward_derivative` and `vjp` as in `model`;
the derivatives are jax's own. jax is imported when a model is made. Read on in `models.ensemble`.
"""
import numpy as np

from attack.models.answers import (
    Answering,
    as_precise_as,
    checked_logits,
    precision_of,
)


class JaxModel(Answering):
    """A function (B, …) → (B, N) that jax can trace; float64 input is computed in float64.

    Args:
        function: the function.
        outputs: what it answers with: "logits"; or "probabilities", whose logits are their
            logarithms. Where they round to 0 or 1 no derivative is left: logits are better.
        output_activation: "sigmoid" where each class has a probability by itself.

    Raises:
        TypeError: no function.
        ValueError: one that is random (it is asked again on the first use), depends on the other
            samples of a batch, or answers with something else.
    """

    def __init__(self, function, outputs="logits", output_activation="softmax"):
        import jax  # noqa: F401  so that a missing jax is told here
        if not callable(function):
            raise TypeError(f"function must be callable; got {type(function).__name__}")
        super().__init__(outputs, output_activation,
                         "leave dropout off, or give it one key for all calls",
                         "let its batch normalisation use running statistics")
        self.function = function

    def logits(self, x):
        """x (B, …) → (B, N)."""
        self._check_first_use(x)
        with _double_precision():
            return checked_logits("JaxModel", np.asarray(self._logits(_real(x))), x)

    def forward_derivative(self, x):
        """x (B, …) → (B, N, M)."""
        self._check_first_use(x)
        classes = self.logits(x[:1]).shape[1]
        every_class = np.broadcast_to(np.eye(classes), (len(x), classes, classes))
        return self.backward_derivative(x, every_class)

    def vjp(self, x):
        """One way forward: x → ((B, N), pull), pull(v (B, K, N)) → (B, K, M)."""
        import jax
        self._check_first_use(x)
        with _double_precision():
            logits, back = jax.vjp(self._logits, _real(x))

        def pull(v):
            """v (B, K, N) → (B, K, M), all K at once."""
            with _double_precision():
                v = np.moveaxis(np.asarray(v), 1, 0).astype(logits.dtype)  # (K, B, N)
                (gradients,) = jax.vmap(back)(v)                           # (K, B, …)
                gradients = np.asarray(gradients).reshape(*gradients.shape[:2], -1)
            return as_precise_as(x, np.moveaxis(gradients, 1, 0))

        return checked_logits("JaxModel", np.asarray(logits), x), pull

    def _logits(self, x):
        """The logits; probabilities are made into some."""
        import jax.numpy as jnp
        return self.as_logits(jnp, self._answer(x))

    def _answer(self, x):
        """The function's answer, of at least float32."""
        import jax.numpy as jnp
        answer = self.function(x)
        half = getattr(answer, "dtype", None) in (jnp.bfloat16, jnp.float16)
        return answer.astype(jnp.float32) if half else answer

    def _check_first_use(self, x):
        def answered(few):
            """The function's own answer."""
            with _double_precision():
                return np.asarray(self._answer(_real(few)))

        self.check_first_use(answered, x)


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
