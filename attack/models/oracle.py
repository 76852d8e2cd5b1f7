"""The oracle adversary (Fig. 2): a model of which only the answers are seen, and its derivative
from these answers.

In: a function that answers with class probabilities. Out: a model for `craft`, and the number of
queries it took: 1 a sample for the answer and 2·M for a derivative. Probabilities fix the logits up
to a constant common to all classes, so what is attacked are the centred logits, for which β = −α.
Read on in `runs.run`.
"""
import numpy as np

TINY = np.finfo(float).tiny


class Oracle:
    """A black box as a model; `queries` counts what it was asked.

    answer: x (B, …) → (B, N) probabilities. step: of the central differences, one-sided at 0 and 1,
    where it would leave the images' range. batch: how many queries are asked at once.
    """

    def __init__(self, answer, step=1e-4, batch=256):
        self.answer = answer
        self.step_size = step
        self.batch_size = batch
        self.queries = 0

    def logits(self, x):
        """(B, N): log p less its mean over the classes; B queries."""
        x = np.asarray(x, float)
        answers = [np.asarray(self.answer(x[start:start + self.batch_size]))
                   for start in range(0, len(x), self.batch_size)]
        self.queries += len(x)
        log_p = np.log(np.maximum(np.concatenate(answers), TINY))
        return log_p - log_p.mean(axis=1, keepdims=True)

    def forward_derivative(self, x):
        """∂(log p_j − mean)/∂x_i (B, N, M) by differences; 2·M queries a sample."""
        x = np.asarray(x, float)
        if not len(x):
            return np.empty((0, 0, 0))
        return np.stack([self._differences(sample) for sample in x])

    def _differences(self, sample):
        """(…) → (N, M)."""
        flat = sample.reshape(-1)
        steps = self.step_size * np.eye(flat.size)                    # (M, M), a feature a row
        up = np.minimum(flat + steps, 1)
        down = np.maximum(flat - steps, 0)
        logits = self.logits(np.concatenate([up, down]).reshape(-1, *sample.shape))  # (2M, N)
        difference = logits[:flat.size] - logits[flat.size:]
        return (difference / (up - down).diagonal()[:, None]).T
