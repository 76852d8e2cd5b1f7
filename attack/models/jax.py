"""A function that jax can trace as a model that can be attacked.

In: a function. Out: `logits`, `forward_derivative`, `backward_derivative` and `vjp` as in `model`;
the derivatives are jax's own. jax is imported when a model is made. Read on in `models.ensemble`.
"""
import numpy as np

from attack.models.answers import (
    FirstUse,
    as_precise_as,
    check_kinds,
    checked_logits,
    checked_probabilities,
    logits_of_probabilities,
    precision_of,
)


class JaxModel:
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
        check_kinds(outputs, output_activation)
        self.function = function
        self.outputs = outputs
        self.output_activation = output_activation
        self.first_use = FirstUse(
            "JaxModel", "leave dropout off, or give it one key for all calls",
            "let its batch normalisation use running statistics")

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

    def backward_derivative(self, x, cotangents):
        """x (B, …), cotangents (B, K, N) → (B, K, M)."""
        return self.vjp(x)[1](cotangents)

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
        answer = self._answer(x)
        if self.outputs == "logits":
            return answer
        return logits_of_probabilities(jnp, answer, self.output_activation)

    def _answer(self, x):
        """The function's answer, of at least float32."""
        import jax.numpy as jnp
        answer = self.function(x)
        half = getattr(answer, "dtype", None) in (jnp.bfloat16, jnp.float16)
        return answer.astype(jnp.float32) if half else answer

    def _check_first_use(self, x):
        def answer(few):
            """The function's own answer."""
            with _double_precision():
                answer = np.asarray(self._answer(_real(few)))
            if self.outputs == "probabilities":
                checked_probabilities("JaxModel", answer, self.output_activation)
            return answer

        self.first_use.check(answer, x)


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
