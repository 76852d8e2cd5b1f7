"""The oracle adversary (Fig. 2): a model of which only the answers are seen, and its derivative from these answers.

In: a function that answers with class probabilities. Out: a model for `craft`, and the number of queries it took:
1 a sample for the answer and 2·M for a derivative. Probabilities fix the logits up to a constant common to all classes,
so what is attacked are the centred logits, for which β = −α. Read on in `runs.run`.
"""
import numpy as np

TINY = np.finfo(float).tiny


class Oracle:
    """`answer(x (B, …)) -> (B, N)` probabilities; `step`: of the central differences, one-sided at 0 and 1, where it
    would leave the images' range; `batch`: queries asked at once. `queries` counts them."""

    def __init__(self, answer, step=1e-4, batch=256):
        self.answer, self.step, self.batch, self.queries = answer, step, batch, 0

    def logits(self, x):
        """(B, N): log p less its mean over the classes; B queries."""
        x = np.asarray(x, float)
        answers = [np.asarray(self.answer(x[start:start + self.batch])) for start in range(0, len(x), self.batch)]
        self.queries += len(x)
        log_p = np.log(np.maximum(np.concatenate(answers), TINY))
        return log_p - log_p.mean(axis=1, keepdims=True)

    def forward_derivative(self, x):
        """∂(log p_j − mean)/∂x_i (B, N, M) by differences; 2·M queries a sample."""
        x = np.asarray(x, float)
        return np.stack([self._differences(sample) for sample in x]) if len(x) else np.empty((0, 0, 0))

    def _differences(self, sample):
        flat = sample.reshape(-1)
        step = self.step * np.eye(flat.size)
        up, down = np.minimum(flat + step, 1), np.maximum(flat - step, 0)
        logits = self.logits(np.concatenate([up, down]).reshape(-1, *sample.shape))
        return ((logits[:flat.size] - logits[flat.size:]) / (up - down).diagonal()[:, None]).T
