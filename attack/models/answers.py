"""The answers of other libraries in the precision of the question, and held against what a model
owes: shape and numbers each time, and on its first use that it is steady (`FirstUse`).

In: an array of another library, and the samples x (B, …) that were asked about. Out: the array in
x's precision, probabilities as logits, or a ValueError in one line. Read on in `models.torch`.
"""
import numpy as np

from attack.first_look import look_like_probabilities
from attack.model import ACTIVATIONS, ModelError

KINDS = ("logits", "probabilities")  # what a model may answer with
SLACK = 0.02  # what rounding, also to two digits, may add to a sum of probabilities
FEW = 4       # samples of a first use
# By the bytes of a number, the share by which answers may differ for rounding alone: to the same
# question, for a GPU need not add in the same order; to one alone and among others, for a library
# may add in another way then, on a GPU with fewer digits.
SAME = {8: 1e-7, 4: 1e-5, 2: 1e-2}
ALONE = {8: 1e-2, 4: 1e-2, 2: 1e-1}


def precision_of(x):
    """float64 for float64, else float32."""
    dtype = np.asarray(x).dtype
    return dtype if dtype in (np.float32, np.float64) else np.dtype(np.float32)


def as_precise_as(x, array):
    """`array` in the precision of x."""
    return array.astype(precision_of(x), copy=False)


def checked_logits(who, logits, x):
    """The answer of `who` to x, in x's precision; ValueError where it is not (B, N) finite
    numbers."""
    return as_precise_as(x, checked_answer(who, logits, x))


def checked_answer(who, answer, x):
    """The same in the answer's own precision."""
    if answer.ndim != 2 or len(answer) != len(x) or answer.dtype.kind != "f":
        raise ValueError(f"{who} must answer {len(x)} samples with floats of the shape "
                         f"({len(x)}, N); got {answer.dtype} {answer.shape}")
    if not np.isfinite(answer).all():
        raise ValueError(f"{who} answers with NaN or infinite values")
    return answer


def checked_probabilities(who, p, activation="softmax"):
    """p (B, N), if they are probabilities; ModelError that says what they look like instead."""
    if not p.size:
        return p
    alone = p.shape[1] == 1 or activation == "sigmoid"
    low, high = float(p.min()), float(p.max())
    rows = p.sum(axis=1)
    if low < -1e-6 or high > 1 + 1e-6:
        got = f"values from {low:.4g} to {high:.4g}"
        if high <= 1e-6 and (alone or look_like_probabilities(np.exp(p), SLACK)):
            like = "logarithms of probabilities: pass their exponential"
        elif low >= 0 and not alone and (np.abs(rows / 100 - 1) <= SLACK).all():
            like = "percentages: divide them by 100"
        else:
            like = f"logits: pass their {'sigmoid' if alone else 'softmax'}"
    elif alone or look_like_probabilities(np.maximum(p, 0), SLACK):
        return p
    else:
        got = f"rows that sum to {rows[np.abs(rows - 1).argmax()]:.4g}"
        like = "probabilities of each class by itself: say output_activation='sigmoid'"
    raise ModelError(f"{who} must answer with probabilities; got {got}, which look like {like}")


def logits_of_probabilities(library, p, activation="softmax"):
    """Logits of which p (B, N) are the probabilities: log p, which are right up to a constant.

    A single column is the probability of class 1, and gives two logits; probabilities of each class
    by itself give log p − log(1 − p). A p of 0 counts as the smallest number with all its digits;
    there and below the derivative is 0.

    Args:
        library: `numpy`, `torch` or `jax.numpy`, whichever p is of.
        p: (B, N).
        activation: "softmax" or "sigmoid".
    """
    least = float(library.finfo(p.dtype).tiny)

    def log(q):
        """log q."""
        return library.log(library.clip(q, least, None))

    if activation == "sigmoid":
        return log(p) - log(1 - p)
    return log(p) if p.shape[1] > 1 else library.concatenate([log(1 - p), log(p)], 1)


def check_kinds(outputs, output_activation):
    """ValueError unless `outputs` and `output_activation` are words that we know."""
    for name, value, allowed in (("outputs", outputs, KINDS),
                                 ("output_activation", output_activation, ACTIVATIONS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


class FirstUse:
    """Asks a model again before its answers are trusted: the same samples twice, and one of them
    alone. Once with one sample, and once with several, as soon as there are any.

    ModelError for a model that is random, or whose answer depends on the other samples of the
    batch; what differs by rounding alone passes.

    Args:
        who: the model, as the message calls it.
        if_random, if_dependent: what to do about it.
    """

    def __init__(self, who, if_random, if_dependent):
        self.who = who
        self.if_random = if_random
        self.if_dependent = if_dependent
        self.asked = 0  # samples at once, up to 2

    def check(self, answer, x, size=None):
        """Ask `answer`, a function (B, …) → (B, N), about the first of x (B, …); `size`: the bytes
        of a number that it computes with (default: of its answer)."""
        few = x[:FEW]
        if min(len(few), 2) <= self.asked:
            return
        once = self._checked(answer, few)
        size = min(size or once.dtype.itemsize, 8)
        change = _difference(once, self._checked(answer, few))
        if change > SAME[size]:
            raise ModelError(f"{self.who} is random: it answers the same samples otherwise the "
                             f"second time, by {100 * change:.2g} %; {self.if_random}")
        if len(few) > 1:
            try:
                change = _difference(once[-1:], self._checked(answer, few[-1:]))
            except ValueError as error:
                line = " ".join(str(error).split())
                raise ModelError(f"{self.who} depends on the other samples of the batch: it does "
                                 f"not answer one alone ({line}); {self.if_dependent}") from None
            if change > ALONE[size]:
                raise ModelError(f"{self.who} depends on the other samples of the batch: it "
                                 f"answers one alone otherwise than among others, by "
                                 f"{100 * change:.2g} %; {self.if_dependent}")
        self.asked = min(len(few), 2)

    def _checked(self, answer, x):
        return checked_answer(self.who, answer(x), x)


class Answering:
    """What the models of other libraries share: they answer with logits or with probabilities, are
    asked again on their first use, and go back by their `vjp`.

    Args:
        outputs: one of `KINDS`.
        output_activation: what makes probabilities of the logits.
        if_random, if_dependent: what to do about such a model.
    """

    def __init__(self, outputs, output_activation, if_random, if_dependent):
        check_kinds(outputs, output_activation)
        self.outputs = outputs
        self.output_activation = output_activation
        self.first_use = FirstUse(type(self).__name__, if_random, if_dependent)

    def backward_derivative(self, x, cotangents):
        """x (B, …), cotangents (B, K, N) → (B, K, M)."""
        return self.vjp(x)[1](cotangents)

    def as_logits(self, library, answer):
        """The logits of an answer; probabilities are made into some. `library`: whichever the
        answer is of."""
        if self.outputs == "logits":
            return answer
        return logits_of_probabilities(library, answer, self.output_activation)

    def check_first_use(self, answered, x, size=None):
        """As `FirstUse.check`; `answered` gives the model's own answer, an array."""
        def answer(few):
            """The same, where it is what `outputs` says."""
            answer = answered(few)
            if self.outputs == "probabilities":
                checked_probabilities(type(self).__name__, answer, self.output_activation)
            return answer

        self.first_use.check(answer, x, size)


def _difference(one, other):
    """The largest difference, as a share of the largest number."""
    largest = max(np.abs(one).max(initial=0), np.abs(other).max(initial=0))
    return float(np.abs(one - other).max(initial=0) / (largest or 1))
