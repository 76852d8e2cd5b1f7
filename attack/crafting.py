"""Crafting adversarial samples: Algorithm 1 (single features) and Algorithm 2 (pairs), many samples at a time.

In: a model (see `model`), images in [0, 1] and target classes. Out: a `Crafted` with the adversarial samples, the pairs
that were changed and why each sample stopped. Read on in `metrics`, or in `runs` for very many samples.
"""
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from attack.goals import GOALS, UNTARGETED, cheapest, every_other, reached
from attack.model import DERIVATIVES, OUTPUTS, look, output_weights
from attack.pairs import best_pair
from attack.saliency import check_targets, score_features

REASONS = ("target_reached", "already_target", "max_iterations", "domain_empty", "no_pair")
SHORTEST = 1e-3  # |θ| without a limit: M/(2|θ|) iterations at most
SALIENCIES = {"pairs": 2, "single": 1}


class Step(NamedTuple):
    """One iteration of one sample, before the change: what the attack saw and which features it chose."""
    image: np.ndarray    # (M,) the sample as it was
    logits: np.ndarray   # (N,)
    alpha: np.ndarray    # (M,) ∂F_t/∂x_i
    beta: np.ndarray     # (M,) Σ_{j≠t} ∂F_j/∂x_i
    domain: np.ndarray   # (M,) boolean, Γ
    pair: tuple          # (p, q); q = −1 for single features; (−1, −1) where none qualified
    score: float         # Eq. 8, 9 or 10


@dataclass
class Crafted:
    """The outcome for n samples, in the order they were given."""
    adversarial: np.ndarray  # (n, …) as the images
    success: np.ndarray      # (n,) boolean: the goal is reached at the end (also where it was from the start)
    predicted: np.ndarray    # (n,) the class predicted at the end
    iterations: np.ndarray   # (n,) iterations done
    distortion: np.ndarray   # (n,) percent of features whose value changed
    pairs: np.ndarray        # (n, max_iter, 2) features changed in each iteration, −1 where unused
    reason: np.ndarray       # (n,) one of REASONS
    target: np.ndarray       # (n,) the class the sample was driven to
    reached: np.ndarray      # (n,) how many of the targets that were tried succeeded
    trace: list = field(default=None)  # with trace=True: a list of `Step` for each sample


def craft(model, images, targets=None, *, goal="source/target", theta=1.0, max_distortion=14.5, domain="paper",
          saliency="pairs", derivative="forward", of="logits", batch_size=32, confidence=0.5, trace=False,
          progress=None):
    """Algorithm 2: change `images` step by step until the model takes each for its target class.

    images: (n, …) in [0, 1], in a shape the model takes; float32 and float64 are worked on in their own precision.
    targets: one class, or (n,) classes.
    goal (Fig. 2): "source/target"; "targeted", the same from any image, an empty one for instance;
    "misclassification", any class but the one it is read as at the start; "confidence", less than `confidence` for
    that class. The last two take no targets: all other classes are tried, which costs N − 1 times as much, and the
    success that changes the fewest features is kept.
    theta (θ): what is added to a chosen feature, any size and sign; the result is clipped to [0, 1]. max_distortion
    (Υ): the largest share of features to change, in percent: ⌊M·Υ/200⌋ iterations of two features (⌊M·Υ/100⌋ of one);
    None = no limit. domain: "paper" (Γ holds all features at the start) or an (M,) or (n, M) array, True for the
    features of Γ; a feature leaves Γ exactly when it is 0 or 1 after its change.
    saliency: "pairs" (Eq. 10, Algorithm 3) or "single" (Eq. 8 or 9, Algorithm 1). derivative: "forward" (Eq. 3-6) or
    "backward", which chooses the same features, faster.
    of: the outputs that are differentiated: "logits" (the paper), "centred" or "probabilities".
    batch_size: samples in work at once; a finished one is replaced at once. trace: also keep every iteration's α and
    β. progress: called with (samples done, n).

    Returns `Crafted`. Results do not depend on batch_size or order in float64 (unless two scores agree to the last
    digits); in float32, rounding may settle near ties otherwise.
    Raises ValueError or TypeError naming the argument, its value and what is allowed; nothing is crafted then.
    """
    images = _check_images(images)
    _check_choices(theta, max_distortion, saliency, derivative, of, batch_size, model)
    _check_goal(goal, targets, confidence)
    count, features = len(images), int(np.prod(images.shape[1:]))
    gamma = _check_domain(domain, count, features)
    originals = count
    if goal in UNTARGETED:
        logits = np.asarray(model.logits(images)) if count else np.zeros((0, 2))
        index, targets = every_other(logits.argmax(axis=1), logits.shape[1])
        images, gamma, count = images[index], gamma[index], len(index)
    else:
        targets = check_targets(targets, count, _classes(model, images)) if count else np.zeros(0, int)
    budget = _budget(features, max_distortion, SALIENCIES[saliency])
    work = _Work(model, images, targets, gamma, budget, theta, saliency, derivative, of, goal, confidence, trace)
    for done in work.run(int(batch_size)):
        if progress is not None:
            progress(done, count)
    return cheapest(work.result(), originals) if goal in UNTARGETED else work.result()


def replay(images, pairs, theta=1.0):
    """The adversarial samples of a crafting run from what it chose: images (n, …), pairs (n, iterations, 2)."""
    current = np.array(images)
    flat, rows = current.reshape(len(current), int(np.prod(current.shape[1:]))), np.arange(len(current))
    for feature in np.moveaxis(pairs, 0, -1).reshape(2 * pairs.shape[1], len(current)):
        chosen = rows[feature >= 0], feature[feature >= 0]
        flat[chosen] = np.clip(flat[chosen] + flat.dtype.type(np.clip(theta, -1, 1)), 0, 1)
    return current


def truncate(images, pairs, iterations, success, max_distortion, theta=1.0):
    """What a run at a larger Υ would have been at Υ = `max_distortion` percent: (success (n,), distortion (n,)).

    A sample takes the same way whatever its budget is, so the first ⌊M·Υ/200⌋ pairs are all there is to know.
    """
    features = int(np.prod(images.shape[1:]))
    budget = _budget(features, max_distortion, SALIENCIES["pairs"])
    changed = replay(images, pairs[:, :budget], theta) != images
    return success & (iterations <= budget), 100 * changed.reshape(len(images), -1).sum(axis=1) / features


class _Work:
    """The samples of one call of `craft`: `run` keeps a batch of them in work until all have a reason to stop."""

    def __init__(self, model, images, targets, gamma, budget, theta, saliency, derivative, of, goal, confidence, trace):
        self.model, self.images, self.targets, self.gamma, self.budget = model, images, targets, gamma, budget
        self.theta, self.saliency, self.derivative, self.of = theta, saliency, derivative, of
        self.goal, self.confidence, self.sources = goal, confidence, np.zeros(len(images), int)
        count = len(images)
        self.current = images.reshape(count, gamma.shape[1]).copy()
        self.predicted, self.iterations = np.zeros(count, int), np.zeros(count, int)
        self.reason = np.full(count, "", dtype=f"U{max(map(len, REASONS))}")
        self.chosen = [[] for _ in range(count)]
        self.trace = [[] for _ in range(count)] if trace else None

    def run(self, batch_size):
        """Yields the number of finished samples after each iteration of the batch."""
        count, waiting, active = len(self.images), 0, np.zeros(0, int)
        while waiting < count or len(active):
            fresh = np.arange(waiting, min(count, waiting + batch_size - len(active)))
            waiting += len(fresh)
            active = self._iterate(np.concatenate([active, fresh]))
            yield waiting - len(active)

    def result(self):
        """The `Crafted` of all samples."""
        count, features = self.current.shape
        width = max(map(len, self.chosen), default=0) if self.budget is None else self.budget
        pairs = np.full((count, width, 2), -1)
        for row, chosen in zip(pairs, self.chosen):
            row[:len(chosen)] = np.reshape(chosen, (-1, 2))
        changed = (self.current != self.images.reshape(count, features)).sum(axis=1)
        success = np.isin(self.reason, ["target_reached", "already_target"])
        return Crafted(self.current.reshape(self.images.shape), success, self.predicted, self.iterations,
                       100 * changed / max(features, 1), pairs, self.reason, self.targets, success.astype(int),
                       self.trace)

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is never chosen
    def _iterate(self, active):
        """One iteration of Algorithm 2 for the active samples; returns those that found features to change."""
        logits, sums = look(self.model, self._shaped(active), self.derivative)
        if np.isnan(logits).any():
            raise ValueError("model gives NaN for a logit, which says nothing of a class")
        stay = ~self._finished(active, logits)
        active, logits = active[stay], logits[stay]
        if not len(active):
            return active
        alpha, beta = np.moveaxis(sums(output_weights(logits, self.targets[active], self.of), stay), 1, 0)
        gamma = self.gamma[active]
        first, second, score = self._choose(alpha, beta, gamma)
        if self.trace is not None:
            for row, sample in enumerate(active):
                self.trace[sample].append(Step(self.current[sample].copy(), logits[row].copy(), alpha[row].copy(),
                                               beta[row].copy(), gamma[row].copy(),
                                               (int(first[row]), int(second[row])), float(score[row])))
        self.reason[active[first < 0]] = "no_pair"
        found = first >= 0
        active, first, second = active[found], first[found], second[found]
        self._change(active, first)
        if self.saliency == "pairs":
            self._change(active, second)
        self.iterations[active] += 1
        for sample, p, q in zip(active.tolist(), first.tolist(), second.tolist()):
            self.chosen[sample].append((p, q))
        return active

    def _choose(self, alpha, beta, gamma):
        if self.saliency == "pairs":
            return best_pair(alpha, beta, gamma, self.theta)
        scores = np.where(gamma, score_features(alpha, beta, self.theta), 0)
        first = scores.argmax(axis=1)
        score = scores[np.arange(len(scores)), first]
        return np.where(score > 0, first, -1), np.full(len(first), -1), score

    def _change(self, active, feature):
        """Add θ, clip, and take the feature out of Γ if it is now 0 or 1."""
        value = np.clip(self.current[active, feature] + self.current.dtype.type(np.clip(self.theta, -1, 1)), 0, 1)
        self.current[active, feature] = value
        self.gamma[active, feature] = (value != 0) & (value != 1)

    def _finished(self, active, logits):
        """Note prediction and reason of those that stop here; returns which do."""
        self.predicted[active] = logits.argmax(axis=1)
        begun = self.iterations[active] > 0
        self.sources[active[~begun]] = self.predicted[active[~begun]]
        done = reached(self.goal, logits, self.sources[active], self.targets[active], self.confidence)
        spent = np.full(len(active), False) if self.budget is None else self.iterations[active] >= self.budget
        empty = ~self.gamma[active].any(axis=1)
        self.reason[active] = np.select([done & begun, done, spent, empty], REASONS[:4], "")
        return self.reason[active] != ""

    def _shaped(self, active):
        return self.current[active].reshape(-1, *self.images.shape[1:])


def _budget(features, max_distortion, per_iteration):
    if max_distortion is None:
        return None
    return int(np.floor(features * max_distortion / (100 * per_iteration) + 1e-9))


def _check_images(images):
    images = np.asarray(images)
    if images.dtype.kind not in "biuf":
        raise TypeError(f"images must hold real numbers; got {images.dtype}")
    if images.ndim < 2:
        raise ValueError(f"images must have the shape (n, …), one sample a row; got {images.shape}")
    if images.dtype not in (np.float32, np.float64):
        images = images.astype(np.float32)
    if np.isnan(images).any():
        raise ValueError("images must lie in [0, 1]; got NaN")
    if images.size and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"images must lie in [0, 1]; got values from {images.min():g} to {images.max():g}")
    return images


@np.errstate(over="ignore", invalid="ignore")
def _classes(model, images):
    try:
        return np.shape(model.logits(images[:1]))[1]
    except ValueError as error:
        raise ValueError(f"images do not fit the model: {error}") from None


def _check_domain(domain, count, features):
    if isinstance(domain, str):
        if domain != "paper":
            raise ValueError(f"domain must be 'paper' or an array of booleans; got {domain!r}")
        return np.ones((count, features), bool)
    domain = np.asarray(domain)
    if domain.dtype != bool or domain.shape not in ((features,), (count, features)):
        raise ValueError(f"domain must be 'paper' or booleans of the shape ({features},) or ({count}, {features}); "
                         f"got {domain.dtype} {domain.shape}")
    return np.broadcast_to(domain, (count, features)).copy()


def _check_choices(theta, max_distortion, saliency, derivative, of, batch_size, model):
    if not _is_number(theta) or theta == 0:
        raise ValueError(f"theta must be a finite number other than 0; got {theta!r}")
    if max_distortion is not None and not (_is_number(max_distortion) and 0 < max_distortion <= 100):
        raise ValueError(f"max_distortion must lie in (0, 100] percent or be None; got {max_distortion!r}")
    if max_distortion is None and abs(theta) < SHORTEST:
        raise ValueError(f"theta must be at least {SHORTEST:g}, up or down, where max_distortion is None: smaller "
                         f"steps would not come to an end; got {theta!r}")
    for name, value, allowed in (("saliency", saliency, tuple(SALIENCIES)), ("derivative", derivative, DERIVATIVES),
                                 ("of", of, OUTPUTS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1; got {batch_size!r}")
    method = f"{derivative}_derivative"
    if not callable(getattr(model, method, None)):
        raise TypeError(f"derivative={derivative!r} needs a model with {method}(); {type(model).__name__} has none")


def _check_goal(goal, targets, confidence):
    if goal not in GOALS:
        raise ValueError(f"goal must be one of {', '.join(GOALS)}; got {goal!r}")
    if goal in UNTARGETED and targets is not None:
        raise ValueError(f"goal {goal!r} tries every other class and takes no targets; got {targets!r}")
    if goal not in UNTARGETED and targets is None:
        raise ValueError(f"goal {goal!r} needs targets: a class or one for each image; got None")
    if not (_is_number(confidence) and 0 < confidence < 1):
        raise ValueError(f"confidence must lie between 0 and 1; got {confidence!r}")


def _is_number(value):
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(np.isfinite(value))
