"""Crafting adversarial samples: Algorithm 2 (pairs) and Algorithm 1 (single features), many samples
at a time.

In: a model (see `model`), images within their bounds and target classes. Out: a `Crafted` with the
adversarial samples, the pairs that were changed and why each sample stopped. `_Batch.iterate` is
the loop of Algorithm 2; for one sample it stands plainly in `algorithm_1` and `algorithm_2` of
attack.textbook. Read on in `crafted`.
"""
import threading

import numpy as np

from attack.arguments import Options, check_budget, checked
from attack.crafted import REASONS, Crafted, Step, as_cells, as_given, replay, truncate
from attack.goals import UNTARGETED, cheapest, every_other, lead, reached
from attack.model import logits_of, look
from attack.steps import Adding, Flipping
from attack.variants import Choice, Scene

__all__ = ["REASONS", "Crafted", "Step", "craft", "replay", "truncate"]
USUAL = 4  # percent of the features that a sample changes, as in the paper


def craft(model, images, targets=None, *, goal="source/target", theta=1.0, max_distortion=14.5,
          domain="paper", saliency="pairs", rule="paper", channels="separate", derivative="forward",
          of="logits", margin=0.0, batch_size=32, confidence=0.5, trace=False, progress=None,
          bounds=(0, 1), step="add", groups=None, labels=None):
    """Algorithm 2: change `images` pair by pair until the model takes each for its target class.

    Args:
        model: anything with the methods of `attack.Model`.
        images: (n, …) within `bounds`, as the model takes them; float32 and float64 keep their
            precision; integers are computed as floats and stay integers where θ is a whole number.
        targets: one class, (n,) classes or one-hot rows; None for the goals that name no target.
        goal: "source/target"; "targeted", the same from any image; "misclassification", any class
            but the one read at the start; "confidence", less than `confidence` for that class
            (Fig. 2). The last two try all other classes and keep the cheapest success.
        theta: θ, what is added to a feature, any size and sign; values are clipped to the bounds.
        max_distortion: Υ, percent of the features: ⌊M·Υ/200⌋ iterations; None = no limit.
        domain: Γ at the start: "paper" (all features), or booleans (M,) or (n, M). A feature leaves
            Γ exactly when it is at a bound (0 or 1) after its change.
        saliency: "pairs" (Eq. 10, Algorithm 3); "single" is rule="single" (Eq. 8, 9, Algorithm 1).
        rule: whose rules are followed, one of `attack.RULES`.
        channels: "separate"; or "tied" for images (n, C, …): a feature is a pixel, its α and β are
            sums over C, all C change at once; domain, Υ, pairs and distortion count pixels.
        derivative: "forward" (Eq. 3-6) or "backward", which chooses the same features, faster.
        of: the outputs that are differentiated: "logits" (the paper), "centred", "probabilities";
            of a probability below 1e-38 only float64 images leave a derivative.
        margin: how far the logit of the class that is to be read must lead all others.
        batch_size: samples in work at once, in each thread that the model can serve; a finished one
            is replaced at once.
        confidence: for goal="confidence", between 0 and 1.
        trace: also keep each iteration's α and β, as a list of `Step` for each sample.
        progress: called with (done, n) after each iteration: samples done, and of those in work the
            share of their way that they have likely gone.
        bounds: (low, high) of the features, numbers or arrays that fit a sample; θ is in their
            units.
        step: "add" (θ), or "flip": a feature goes from one bound to the other, once (rules paper,
            single, weighted).
        groups: (M,) whole numbers: features of one number are one-hot and change together, as one
            feature; below 0: on its own. For step="flip" with saliency="single".
        labels: (n,) true classes: samples that are misread from the start are not attacked, and
            those that are in their target class from the start are no successes.

    Returns:
        `Crafted`. In float64 it does not depend on batch_size or order (unless two scores agree to
        the last digits); in float32, rounding may settle near ties otherwise.

    Raises:
        ValueError, TypeError: names the argument, its value and what is allowed.
    """
    options = Options(goal, theta, max_distortion, saliency, rule, channels, derivative, of, margin,
                      batch_size, confidence, trace, step)
    work = checked(model, images, targets, options, (domain, bounds, groups, labels))
    to_all = goal in UNTARGETED and not options.variant.untargeted
    crafted = (_craft_to_every_other if to_all else _craft_to)(work, progress)
    crafted.adversarial = as_given(crafted.adversarial, images, theta, work.bounds)
    return crafted


def _craft_to(work, progress):
    """Each sample to its target."""
    return _Batch(work, work.targets).run(progress)


def _craft_to_every_other(work, progress):
    """Each sample to all classes but its own; of these the cheapest success."""
    count = len(work.images)
    logits = logits_of(work.model, work.images) if count else np.zeros((0, 2))
    index, targets = every_other(logits.argmax(axis=1), logits.shape[1])
    return cheapest(_Batch(work.of(index), targets).run(progress), count)


class _Batch:
    """The n samples of one call of `craft`; a batch of them is in work until each has a reason to
    stop. An array has a row a sample; `active` (B,) are the samples in work."""

    def __init__(self, work, targets):
        self.model, self.images, gamma, options, bounds, groups, self.labels, _ = work
        self.targets = targets
        self.options = options
        self.bounds = bounds
        self.variant = options.variant
        self.originals = as_cells(self.images, len(bounds.low))
        self.cells = self.originals.copy()  # (n, C, M): X*, by channels that change together
        self.step = (Adding(bounds, self.variant) if options.step == "add" else
                     Flipping(bounds, self.variant, self.originals, groups))
        self.features = self.step.features
        self.gamma = gamma & self.step.start(self.originals, options.theta)
        count = len(gamma)
        if count:
            check_budget(options, self.features)
        self.sources = np.zeros(count, int)
        self.predicted = np.zeros(count, int)
        self.iterations = np.zeros(count, int)
        self.reason = np.full(count, "", dtype=f"U{max(map(len, REASONS))}")
        self.pairs = [[] for _ in range(count)]
        self.trace = [[] for _ in range(count)] if options.trace else None
        # no number of iterations ends the work: whoever no longer changes does
        self.endless = self.variant.budget(self.features, options.max_distortion) is None
        self.lock = threading.Lock()
        self.stopped = False

    def run(self, progress):
        """Work on all samples, in as many threads as the model can serve; progress is told how many
        are done."""
        count = len(self.images)
        number = min(getattr(self.model, "num_threads", 1), count)
        self.progress = progress
        self.done = np.zeros(max(number, 1))
        if number > 1:
            parts = [(k, np.arange(k, count, number)) for k in range(number)]
            try:
                self.model.in_threads(lambda part: self.work(*part), parts)
            except BaseException:
                self.stopped = True
                raise
        else:
            self.work(0, np.arange(count))
        return self.outcome()

    def work(self, part, samples):
        """Work on the `samples` of one part, `batch_size` at once; a finished one is replaced by
        the next."""
        size = int(self.options.batch_size)
        waiting = 0  # how many have been in work
        active = samples[:0]
        try:
            while (waiting < len(samples) or len(active)) and not self.stopped:
                fresh = samples[waiting:waiting + size - len(active)]
                waiting += len(fresh)
                active = self.iterate(np.concatenate([active, fresh]))
                self.tell(part, samples, waiting - len(active), active)
        except BaseException:
            self.stopped = True  # the other parts as well
            raise

    def tell(self, part, samples, finished, active):
        """Call progress with how many samples are done, those in work by their share: of k
        iterations and the mean m still to come, k/(k + m). Before many are done, m is `USUAL`
        percent of the features."""
        if self.progress is None:
            return
        guess = self.options.batch_size
        changed = self.iterations[samples].sum() + guess * self.features * USUAL / 200
        gone = self.iterations[active]
        share = gone / np.maximum(gone + changed / (finished + guess), 1)
        with self.lock:
            self.done[part] = max(self.done[part], finished + float(share.sum()))
            self.progress(float(self.done.sum()), len(self.images))

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is never chosen
    def iterate(self, active):
        """The loop of Algorithm 2, once; returns the samples that go on."""
        variant = self.variant
        logits, sums = look(self.model, self._images(active), self.options.derivative)
        stay = ~self.stops(active, logits)               # while s ≠ t and iter < max_iter and Γ ≠ ∅
        active = active[stay]
        if not len(active):
            return active
        scene = self._scene(active, logits[stay], lambda weights: sums(weights, stay))
        alpha_beta = variant.alpha_beta(scene)           # from ∇F(X*)
        choice = self.step.choose(scene, alpha_beta)     # p, q = saliency_map(∇F(X*), Γ, t)
        self._note(active, scene, alpha_beta, choice)
        active, choice = self._with_a_pair(active, choice)
        two = choice.q >= 0
        moves = self.change(active, choice.p, choice.theta)  # change p and q by θ; they leave Γ
        moves[two] |= self.change(active[two], choice.q[two], choice.theta[two])
        if self.endless:
            active, choice = self._stopped(active, choice, moves)
        self.iterations[active] += 1                     # iter++
        for sample, p, q in zip(active.tolist(), choice.p.tolist(), choice.q.tolist()):
            self.pairs[sample].append((p, q))
        return active

    def stops(self, active, logits):
        """Which samples stop here, (B,) booleans; notes why, and the class that is read."""
        if np.isnan(logits).any():
            raise ValueError("model gives NaN for a logit, which says nothing of a class")
        options, variant = self.options, self.variant
        self.predicted[active] = logits.argmax(axis=1)
        changed = self.iterations[active] > 0
        self.sources[active[~changed]] = self.predicted[active[~changed]]
        done = self._goal_reached(active, logits)
        pairs = [self.pairs[sample] for sample in active]
        spent = variant.spent(self.iterations[active], pairs, self.features, options.max_distortion)
        empty = np.count_nonzero(self.gamma[active], axis=1) < variant.least
        self.reason[active] = np.select([done & changed, done, spent, empty], REASONS[:4], "")
        if self.labels is not None:
            misread = ~changed & (self.predicted[active] != self.labels[active])
            self.reason[active[misread]] = "misread"
        return self.reason[active] != ""

    def change(self, active, feature, theta):
        """Change one feature (B,) of each sample, by θ (B,) where that is added; it leaves Γ, or
        stays. Returns for which samples anything is different then, (B,) booleans."""
        before = self.cells[active, :, feature]  # (B, C)
        was_in = self.gamma[active, feature]
        values = self.step.moved(before, feature, theta)
        self.cells[active, :, feature] = values
        self.step.leave(self.gamma, active, feature, values)
        return (values != before).any(axis=1) | (self.gamma[active, feature] != was_in)

    def outcome(self):
        """The `Crafted` of all samples."""
        budget = self.variant.budget(self.features, self.options.max_distortion)
        width = max(map(len, self.pairs), default=0) if budget is None else budget
        pairs = np.full((len(self.images), width, 2), -1)
        for row, chosen in zip(pairs, self.pairs):
            row[:len(chosen)] = np.reshape(chosen, (-1, 2))
        changed = self.step.changed(self.cells, self.originals)
        success = np.isin(self.reason, REASONS[:1] if self.labels is not None else REASONS[:2])
        return Crafted(
            adversarial=self.cells.reshape(self.images.shape), success=success,
            predicted=self.predicted, iterations=self.iterations,
            distortion=100 * changed / max(self.features, 1), pairs=pairs, reason=self.reason,
            target=self.predicted.copy() if self.variant.untargeted else self.targets,
            reached=success.astype(int), trace=self.trace)

    def _images(self, active):
        return self.cells[active].reshape(-1, *self.images.shape[1:])

    def _goal_reached(self, active, logits):
        options = self.options
        sources, targets = self.sources[active], self.targets[active]
        done = reached(options.goal, logits, sources, targets, options.confidence,
                       options.activation)
        if options.margin:
            done &= lead(options.goal, logits, sources, targets) >= options.margin
        return done

    def _scene(self, active, logits, sums):
        def gradients(weights):
            """(B, K, N) → (B, K, C, M)."""
            return sums(weights).reshape(*weights.shape[:2], *self.cells.shape[1:])

        return Scene(logits, self.targets[active], self.sources[active], self.gamma[active], active,
                     self.cells, self.originals, self.options.theta, self.options.of, self.bounds,
                     gradients, self.options.activation)

    def _with_a_pair(self, active, choice):
        """The samples that found features to change, and these; the others stop, untouched."""
        qualifies = choice.p >= 0
        self.reason[active[~qualifies]] = "no_pair"
        choice = choice._replace(theta=np.broadcast_to(choice.theta, qualifies.shape))
        return active[qualifies], Choice(*(values[qualifies] for values in choice))

    def _stopped(self, active, choice, moves):
        """Those whose iteration changed something; for the others it would be the same for ever."""
        self.reason[active[~moves]] = "no_pair"
        return active[moves], Choice(*(values[moves] for values in choice))

    def _note(self, active, scene, alpha_beta, choice):
        """Keep a `Step` of each sample, where a trace is wanted."""
        if self.trace is None:
            return
        values = scene.values
        for row, sample in enumerate(active):
            self.trace[sample].append(Step(
                values[row].reshape(-1).copy(), scene.logits[row].copy(),
                alpha_beta.alpha[row].copy(), alpha_beta.beta[row].copy(), scene.gamma[row].copy(),
                (int(choice.p[row]), int(choice.q[row])), float(choice.score[row])))
