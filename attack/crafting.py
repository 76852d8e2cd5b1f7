"""Crafting adversarial samples: Algorithm 1 (single features) and Algorithm 2 (pairs), many samples at a time.

In: a model (see `model`), images in [0, 1] and target classes. Out: a `Crafted` with the adversarial samples, the pairs
that were changed and why each sample stopped. Read on in `variants`.
"""
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from attack.arguments import check_choices, check_domain, check_goal, check_images, classes_of
from attack.goals import UNTARGETED, cheapest, every_other, lead, reached
from attack.model import look
from attack.saliency import check_targets
from attack.variants import RULES, Rule, Seen

REASONS = ("target_reached", "already_target", "max_iterations", "domain_empty", "no_pair")


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
    trace: list | None = field(default=None)  # with trace=True: a list of `Step` for each sample


def craft(model, images, targets=None, *, goal="source/target", theta=1.0, max_distortion=14.5, domain="paper",
          saliency="pairs", rule="paper", channels="separate", derivative="forward", of="logits", margin=0.0,
          batch_size=32, confidence=0.5, trace=False, progress=None):
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
    saliency: "pairs" (Eq. 10, Algorithm 3) or "single" (Eq. 8 or 9, Algorithm 1). rule: whose rules are followed, one of
    `attack.variants.RULES`; the paper's, or those of other libraries and papers. channels: "separate", or "tied" for images
    (n, C, …): a feature is a pixel, its α and β are the sums over its channels, and all of them are changed at once;
    domain, Υ, pairs and distortion then count pixels. derivative: "forward" (Eq. 3-6) or
    "backward", which chooses the same features, faster.
    of: the outputs that are differentiated: "logits" (the paper), "centred" or "probabilities". margin: how far the
    logit of the class that is to be read must lead all others; 0 stops at once.
    batch_size: samples in work at once; a finished one is replaced at once. trace: also keep every iteration's α and
    β. progress: called with (samples done, n).

    Returns `Crafted`. Results do not depend on batch_size or order in float64 (unless two scores agree to the last
    digits); in float32, rounding may settle near ties otherwise.
    Raises ValueError or TypeError naming the argument, its value and what is allowed; nothing is crafted then.
    """
    images = check_images(images, channels)
    rule = check_choices(theta, max_distortion, saliency, derivative, of, batch_size, model, rule, channels, margin, trace)
    check_goal(goal, targets, confidence, rule, margin)
    count, width = len(images), images.shape[1] if channels == "tied" else 1
    gamma = check_domain(domain, count, int(np.prod(images.shape[1:])) // max(width, 1))
    originals, every = count, goal in UNTARGETED and not rule.untargeted
    if every:
        logits = np.asarray(model.logits(images)) if count else np.zeros((0, 2))
        index, targets = every_other(logits.argmax(axis=1), logits.shape[1])
        images, gamma, count = images[index], gamma[index], len(index)
    elif rule.untargeted or not count:
        targets = np.zeros(count, int)
    else:
        targets = check_targets(targets, count, classes_of(model, images))
    work = _Work(model, images, targets, gamma, _Options(rule, theta, max_distortion, derivative, of, goal, confidence,
                                                         margin, width), trace)
    for done in work.run(int(batch_size)):
        if progress is not None:
            progress(done, count)
    return cheapest(work.result(), originals) if every else work.result()


def replay(images, pairs, theta=1.0, channels="separate"):
    """The adversarial samples of a crafting run from what it chose: images (n, …), pairs (n, iterations, 2).

    Not for rule="maximal", which goes both ways: the pairs do not say which.
    """
    current = np.array(images)
    cells = _cells(current, current.shape[1] if channels == "tied" else 1)
    for feature in np.moveaxis(pairs, 0, -1).reshape(2 * pairs.shape[1], len(current)):
        rows = np.flatnonzero(feature >= 0)
        value = cells[rows, :, feature[rows]] + current.dtype.type(np.clip(theta, -1, 1))
        cells[rows, :, feature[rows]] = np.clip(value, 0, 1)
    return current


def truncate(images, pairs, iterations, success, max_distortion, theta=1.0):
    """What a run by the paper's rule at a larger Υ would have been at Υ = `max_distortion` percent: (success (n,),
    distortion (n,)).

    A sample takes the same way whatever its budget is, so the first ⌊M·Υ/200⌋ pairs are all there is to know.
    """
    features = int(np.prod(images.shape[1:]))
    budget = RULES["paper"].budget(features, max_distortion)
    changed = replay(images, pairs[:, :budget], theta) != images
    return success & (iterations <= budget), 100 * changed.reshape(len(images), -1).sum(axis=1) / features


class _Options(NamedTuple):
    """How the samples of one call of `craft` are worked on."""
    rule: Rule
    theta: float
    max_distortion: float | None
    derivative: str
    of: str
    goal: str
    confidence: float
    margin: float
    width: int  # channels that are changed together


class _Work:
    """The samples of one call of `craft`: `run` keeps a batch of them in work until all have a reason to stop."""

    def __init__(self, model, images, targets, gamma, options, trace):
        self.model, self.images, self.targets, self.options = model, images, targets, options
        count, self.features = gamma.shape
        self.originals = _cells(images, options.width)
        self.cells = self.originals.copy()
        self.gamma = gamma & options.rule.start(self.originals, options.theta)
        self.budget = options.rule.budget(self.features, options.max_distortion)
        self.sources, self.predicted, self.iterations = np.zeros((3, count), int)
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
        width = max(map(len, self.chosen), default=0) if self.budget is None else self.budget
        pairs = np.full((len(self.images), width, 2), -1)
        for row, chosen in zip(pairs, self.chosen):
            row[:len(chosen)] = np.reshape(chosen, (-1, 2))
        changed = (self.cells != self.originals).any(axis=1).sum(axis=1)
        success = np.isin(self.reason, ["target_reached", "already_target"])
        targets = self.predicted.copy() if self.options.rule.untargeted else self.targets
        return Crafted(self.cells.reshape(self.images.shape), success, self.predicted, self.iterations,
                       100 * changed / max(self.features, 1), pairs, self.reason, targets, success.astype(int), self.trace)

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is never chosen
    def _iterate(self, active):
        """One iteration of Algorithm 2 for the active samples; returns those that found features to change."""
        rule, options = self.options.rule, self.options
        logits, sums = look(self.model, self._shaped(active), options.derivative)
        if np.isnan(logits).any():
            raise ValueError("model gives NaN for a logit, which says nothing of a class")
        stay = ~self._finished(active, logits)
        active, logits = active[stay], logits[stay]
        if not len(active):
            return active
        found = sums(rule.weights(logits, self.targets[active], options.of), stay)
        seen = self._seen(active, found)
        first, second, score, step = rule.choose(seen, options.theta)
        if self.trace is not None:
            self._note(active, logits, seen, first, second, score)
        self.reason[active[first < 0]] = "no_pair"
        some = first >= 0
        active, first, second, step = active[some], first[some], second[some], step[some]
        self._change(active, first, step)
        two = second >= 0
        self._change(active[two], second[two], step[two])
        self.iterations[active] += 1
        for sample, p, q in zip(active.tolist(), first.tolist(), second.tolist()):
            self.chosen[sample].append((p, q))
        return active

    def _seen(self, active, found):
        """What the rule chooses from: derivatives by feature, summed over the channels that change together."""
        rule, width = self.options.rule, self.options.width
        values = self.cells[active] if rule.looks or width > 1 else None
        found = rule.scaled(found.reshape(*found.shape[:2], width, -1), values, self.options.theta)
        originals = self.originals[active] if rule.looks else None
        return Seen(found[:, :, 0] if width == 1 else found.sum(axis=2), self.gamma[active], values, originals,
                    self.sources[active])

    def _note(self, active, logits, seen, first, second, score):
        for row, sample in enumerate(active):
            self.trace[sample].append(Step(self.cells[sample].reshape(-1).copy(), logits[row].copy(),
                                           seen.found[row, 0].copy(), seen.found[row, 1].copy(), seen.gamma[row].copy(),
                                           (int(first[row]), int(second[row])), float(score[row])))

    def _change(self, active, feature, step):
        """Add θ, clip, and take the feature out of Γ if its rule says so."""
        value = self.cells[active, :, feature]
        value = np.clip(value + np.clip(step, -1, 1).astype(value.dtype)[:, None], 0, 1)
        self.cells[active, :, feature] = value
        self.gamma[active, feature] = ~self.options.rule.leaves(value)

    def _finished(self, active, logits):
        """Note prediction and reason of those that stop here; returns which do."""
        options, targets = self.options, self.targets[active]
        self.predicted[active] = logits.argmax(axis=1)
        begun = self.iterations[active] > 0
        self.sources[active[~begun]] = self.predicted[active[~begun]]
        sources = self.sources[active]
        done = reached(options.goal, logits, sources, targets, options.confidence)
        if options.margin:
            done &= lead(options.goal, logits, sources, targets) >= options.margin
        spent = options.rule.spent(self.iterations[active], [self.chosen[sample] for sample in active], self.features,
                                   options.max_distortion)
        empty = np.count_nonzero(self.gamma[active], axis=1) < options.rule.least
        self.reason[active] = np.select([done & begun, done, spent, empty], REASONS[:4], "")
        return self.reason[active] != ""

    def _shaped(self, active):
        return self.cells[active].reshape(-1, *self.images.shape[1:])


def _cells(images, width):
    """images (n, …) as (n, channels that change together, features), without a copy where there is none needed."""
    return images.reshape(len(images), width, int(np.prod(images.shape[1:])) // max(width, 1))
