"""The oracle adversary (Fig. 2): a model of which only the answers are seen, and its derivative
from these answers.

In: a function that answers with class probabilities. Out: a model for `craft`, and the number of
queries it took: 1 a sample for the answer and 2·M for a derivative, and on the first use a few more
(`answers.FirstUse`: twice the first four samples and one alone). Probabilities fix the logits up
to a constant common to all classes, so what is attacked are the centred logits, for which β = −α.
Read on in `runs.run`.
"""
import numpy as np

from attack.bounds import bounds_of
from attack.model import ModelError
from attack.models.answers import (
    FirstUse,
    check_kinds,
    checked_answer,
    checked_probabilities,
    logits_of_probabilities,
)


class Oracle:
    """A black box as a model; `queries` counts what it was asked.

    Args:
        answer: x (B, …) → (B, N) probabilities that sum to 1, or (B, 1), that of class 1 of two.
        step: of the central differences, as a share of a feature's range; one-sided where it would
            leave that range.
        batch: how many queries are asked at once.
        output_activation: "sigmoid" where each class has a probability by itself; the logits are
            then log p − log(1 − p).
        bounds: (low, high), the range of the features, numbers or arrays, as for `craft`.
        noisy: take answers that are random, or depend on what else is asked; the derivative is then
            as rough as they are.

    Raises:
        ValueError: when it is asked, answers that are no probabilities or (unless `noisy`) random,
            and features out of their bounds.
    """

    def __init__(self, answer, step=1e-4, batch=256, output_activation="softmax", bounds=(0, 1),
                 noisy=False):
        check_kinds("probabilities", output_activation)
        self.answer = answer
        self.step_size = step
        self.batch_size = batch
        self.output_activation = output_activation
        self.bounds = bounds
        self.queries = 0
        self.first_use = None if noisy else FirstUse(
            "Oracle", "fix its seed, answer with a mean of many answers, or pass noisy=True",
            "let it answer each sample by itself, or pass noisy=True")

    def logits(self, x):
        """(B, N): log p less its mean over the classes; B queries."""
        x = np.asarray(x, float)
        self._check_first_use(x)
        p = checked_probabilities("Oracle", self._answer(x), self.output_activation)
        log_p = logits_of_probabilities(np, p.astype(float), self.output_activation)
        if self.output_activation == "sigmoid":
            return log_p
        return log_p - log_p.mean(axis=1, keepdims=True)

    def forward_derivative(self, x):
        """∂(log p_j − mean)/∂x_i (B, N, M) by differences; 2·M queries a sample."""
        x = np.asarray(x, float)
        if not len(x):
            return np.empty((0, 0, 0))
        self._check_first_use(x)
        return np.stack([self._differences(sample) for sample in x])

    def _check_first_use(self, x):
        if self.first_use:
            self.first_use.check(self._answer, x)

    def _answer(self, x):
        """(B, N) as they come, `batch_size` at once."""
        starts = range(0, len(x), self.batch_size)
        answers = [np.asarray(self.answer(x[start:start + self.batch_size])) for start in starts]
        self.queries += len(x)
        answer = np.concatenate(answers)
        whole = answer.dtype.kind in "biu"  # only 0 and 1
        return checked_answer("Oracle", answer.astype(float) if whole else answer, x)

    def _differences(self, sample):
        """(…) → (N, M)."""
        (low,), (high,) = bounds_of(self.bounds, sample.shape, float)
        flat = sample.reshape(-1)
        if (flat < low).any() or (flat > high).any():
            raise ModelError("Oracle asks within its bounds, and the samples lie outside: pass it "
                             f"bounds=(low, high); got values from {flat.min():g} to "
                             f"{flat.max():g}")
        steps = self.step_size * np.diag(high - low)  # (M, M), a feature a row
        up = np.minimum(flat + steps, high)
        down = np.maximum(flat - steps, low)
        logits = self.logits(np.concatenate([up, down]).reshape(-1, *sample.shape))  # (2M, N)
        difference = logits[:flat.size] - logits[flat.size:]
        width = (up - down).diagonal()[:, None]
        return np.divide(difference, width, out=np.zeros_like(difference), where=width > 0).T
