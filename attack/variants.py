"""Whose rules an attack follows: the paper's Algorithms 2 and 3, those that other libraries compute
under its name, and the published variants.

In: what an iteration sees (`Scene`). Out: the features to change and by how much (`Choice`),
whether a feature leaves Γ, when the budget Υ is spent. A variant overrides what differs from the
paper, each written from the description of what it does; all else is shared (`crafting`). Every
variant can be asked for with the derivative of the logits (the default here; ART and torchattacks
take what the module gives), of centred logits or of probabilities (cleverhans 3). Read on in
`bounds`.
"""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from attack.bounds import Bounds
from attack.model import output_weights, probabilities_of
from attack.pairs import best_pair
from attack.saliency import score_features


class Scene(NamedTuple):
    """What one iteration sees of B samples with C channels that change together and M features."""
    logits: np.ndarray     # (B, N)
    targets: np.ndarray    # (B,) t
    sources: np.ndarray    # (B,) the class each was read as at the start
    gamma: np.ndarray      # (B, M) booleans, Γ
    active: np.ndarray     # (B,) their places among all n samples
    all_values: np.ndarray     # (n, C, M) all samples as they are
    all_originals: np.ndarray  # (n, C, M) as they were
    theta: float
    of: str                # which outputs are differentiated
    bounds: Bounds
    gradients: Callable    # weights of the logits (B, K, N) → their derivatives (B, K, C, M)
    activation: str = "softmax"  # what makes probabilities of the logits

    @property
    def values(self):
        """(B, C, M): the samples as they are; looked up only by the variants that ask."""
        return self.all_values[self.active]

    @property
    def originals(self):
        """(B, C, M): the samples as they were."""
        return self.all_originals[self.active]

    def weights(self, targets, others=None):
        """`output_weights` of the targets (B,)."""
        return output_weights(self.logits, targets, self.of, others, self.activation)


class Sums(NamedTuple):
    """The two sums of Eq. 10 for every feature, (B, M)."""
    alpha: np.ndarray  # ∂F_t/∂x_i
    beta: np.ndarray   # Σ_{j≠t} ∂F_j/∂x_i


class Choice(NamedTuple):
    """The features to change."""
    p: np.ndarray              # (B,), −1 where no features qualify
    q: np.ndarray              # (B,), −1 for a single feature
    score: np.ndarray          # (B,)
    theta: float | np.ndarray  # what is added, one number or (B,)


class Paper:
    """Algorithm 2: the pair with the largest −α·β (Eq. 10) while one qualifies; Γ holds all
    features at the start, one leaves when it is 0 or 1 after a change; ⌊M·Υ/200⌋ iterations."""
    name = "paper"
    size = 2            # features of an iteration
    least = 1           # features that Γ must have
    untargeted = False
    headroom: float | None = None  # Γ at the start: all, or those that can move by more than this

    def start(self, values, theta, bounds):
        """Γ at the start: values (n, C, M) → booleans (n, M), or True for all."""
        return True if self.headroom is None else bounds.movable(values, theta, self.headroom)

    def budget(self, features, max_distortion):
        """The most iterations for Υ = `max_distortion` percent, None for no limit."""
        if max_distortion is None:
            return None
        return int(np.floor(features * max_distortion / (100 * self.size) + 1e-9))

    def spent(self, iterations, pairs, features, max_distortion):
        """Is Υ spent? (B,) booleans from iterations (B,) and the B lists of pairs chosen so far."""
        budget = self.budget(features, max_distortion)
        return np.full(len(iterations), False) if budget is None else iterations >= budget

    def alpha_beta(self, scene):
        """α and β of every feature (Eq. 10)."""
        weights = scene.weights(scene.targets)
        return Sums(*_by_feature(scene.gradients(weights)))

    def choose(self, scene, sums):
        """Algorithm 3: the best pair."""
        sums, exponent = _in_range(sums)
        pair = best_pair(sums.alpha, sums.beta, scene.gamma, scene.theta)
        return Choice(pair.p, pair.q, np.ldexp(pair.score, 2 * exponent), scene.theta)

    def leaves(self, values, bounds):
        """Does a feature leave Γ? (B,) booleans from its values (B, C) after the change and the
        `Bounds` of these."""
        return bounds.reached(values).all(axis=1)


class Single(Paper):
    """Algorithm 1: the single feature with the best Eq. 8 or 9; ⌊M·Υ/100⌋ iterations."""
    name = "single"
    size = 1

    def choose(self, scene, sums):
        """The first feature with the largest score."""
        sums, exponent = _in_range(sums)
        scores = np.where(scene.gamma, score_features(*sums, scene.theta), 0)  # (B, M)
        p = scores.argmax(axis=1)
        score = scores[np.arange(len(scores)), p]
        return Choice(np.where(score > 0, p, -1), np.full(len(p), -1),
                      np.ldexp(score, 2 * exponent), scene.theta)


class Art(Paper):
    """ART's SaliencyMapMethod (1.20): the two features with the largest ∂F_t/∂x_i (θ < 0: the
    smallest), of any sign, the other classes are not looked at; features at the bound in the
    direction of θ are not in Γ; it goes on while the share of touched features is at most Υ, so it
    stops after exceeding it."""
    name = "art"
    headroom = 0.0

    def budget(self, features, max_distortion):
        """Not counted in iterations."""
        return None

    def spent(self, iterations, pairs, features, max_distortion):
        """More features touched than Υ."""
        limit = np.inf if max_distortion is None else max_distortion / 100
        touched = [len({feature for pair in sample for feature in pair if feature >= 0})
                   for sample in pairs]
        return np.array([count / features > limit for count in touched], bool)

    def choose(self, scene, sums):
        """The two best of Γ by α alone."""
        usable = scene.gamma & np.isfinite(sums.alpha)
        alpha = np.where(usable, np.sign(scene.theta) * sums.alpha, -np.inf)
        two = np.argsort(-alpha, axis=1, kind="stable")[:, :2]  # (B, 2)
        score = np.take_along_axis(alpha, two, axis=1)
        two = np.where(score > -np.inf, two, -1)
        two = np.where((two >= 0).all(axis=1, keepdims=True), np.sort(two, axis=1), two)
        q = two[:, 1] if two.shape[1] > 1 else np.full(len(two), -1)
        return Choice(two[:, 0], q, np.where(score > -np.inf, score, 0).sum(axis=1), scene.theta)


class Unsaturated(Paper):
    """As the paper, but Γ at the start holds only the features that can move: for θ > 0 those below
    1, for θ < 0 those above 0."""
    name = "unsaturated"
    headroom = 0.0


class Once(Paper):
    """As the paper, but a feature leaves Γ after one change, wherever it is then (for |θ| = 1 and
    features in [0, 1] that is the same)."""
    name = "once"

    def leaves(self, values, bounds):
        """After one change."""
        return np.full(len(values), True)


class Cleverhans(Once):
    """cleverhans 3: Eq. 10 (it differentiates probabilities); features at the bound are not in Γ,
    and one that was changed once leaves it; it ends when fewer than two are left. Where no pair
    qualifies the sample stops here (there feature 0 is changed)."""
    name = "cleverhans"
    least = 2
    headroom = 0.0


class Torchattacks(Cleverhans):
    """torchattacks' JSMA (3.5): as cleverhans, of logits; Γ holds features below 0.99 (θ < 0: above
    0.01), ⌈M·Υ/200⌉ iterations; where no pair qualifies it changes feature 0, twice, and goes
    on."""
    name = "torchattacks"
    least = 1
    headroom = 0.01

    def budget(self, features, max_distortion):
        """Rounded up."""
        if max_distortion is None:
            return None
        return int(np.ceil(features * max_distortion / 200 - 1e-9))

    def choose(self, scene, sums):
        """Eq. 10, or the first entry of a table that is all zero."""
        choice = super().choose(scene, sums)
        return choice._replace(p=np.maximum(choice.p, 0), q=np.maximum(choice.q, 0))


class Weighted(Paper):
    """WJSMA (Combey et al. 2020): Eq. 10 with the other classes weighted by their probability,
    β = Σ_{j≠t} p_j ∂F_j/∂x_i; all else as in the paper."""
    name = "weighted"

    def alpha_beta(self, scene):
        """α, and β with the probabilities as weights."""
        weights = scene.weights(scene.targets, probabilities_of(scene.logits, scene.activation))
        return Sums(*_by_feature(scene.gradients(weights)))


class Taylor(Paper):
    """TJSMA (Combey et al. 2020): Eq. 10 with each feature's derivatives times the way it can still
    go, 1 − x, or x for θ < 0 (with other bounds: up to these); the other classes count alike
    here; all else as in the paper."""
    name = "taylor"

    def alpha_beta(self, scene):
        """(1 − x)·∂F/∂x or x·∂F/∂x."""
        weights = scene.weights(scene.targets)
        values = scene.values  # (B, C, M)
        bounds = scene.bounds
        way = bounds.high - values if scene.theta > 0 else values - bounds.low
        return Sums(*_by_feature(scene.gradients(weights) * way[:, None]))


class Maximal(Paper):
    """M-JSMA (Wiyatno and Xu 2018), untargeted: in every iteration the best pair (Eq. 10) over all
    classes but the source and over both signs of θ; done when another class is read. A feature that
    went one way does not go back, and one that cannot move that way is not chosen."""
    name = "maximal"
    untargeted = True

    def alpha_beta(self, scene):
        """α and β of every class as the target: N pairs of (B, M)."""
        count, classes = scene.logits.shape
        weights = [scene.weights(np.full(count, t))[:, 0] for t in range(classes)]
        alpha = _by_feature(scene.gradients(np.stack(weights, axis=1)))  # (N, B, M)
        return Sums(alpha, alpha.sum(axis=0) - alpha)

    def choose(self, scene, sums):
        """The best of 2·(N − 1) searches."""
        count = len(scene.logits)
        sums, exponent = _in_range(sums)
        values = scene.values
        change = values - scene.originals
        best = Choice(np.full(count, -1), np.full(count, -1), np.zeros(count), np.zeros(count))
        for sign in (1.0, -1.0):
            gamma = scene.gamma & scene.bounds.movable(values, sign)
            gamma &= (sign * change >= 0).all(axis=1)
            for target, (alpha, beta) in enumerate(zip(*sums)):
                pair = best_pair(alpha, beta, gamma, sign)
                better = (pair.score > best.score) & (scene.sources != target)
                best.p[better] = pair.p[better]
                best.q[better] = pair.q[better]
                best.score[better] = pair.score[better]
                best.theta[better] = sign * abs(scene.theta)
        return best._replace(score=np.ldexp(best.score, 2 * exponent))


def _in_range(sums):
    """The sums, of a sample all of whose entries are tiny times a power of two, so that no product
    of them rounds to 0, and that power's negative exponent (B,). What is chosen stays the same.

    Probabilities are so where a network is sure: at p_t = 1e-25 the products of single precision
    are 0 for all pairs alike.
    """
    size = np.abs(np.stack(sums))  # (2, …, B, M)
    largest = np.fmax.reduce(np.moveaxis(size, -2, 0).reshape(size.shape[-2], -1), axis=1)
    tiny = np.finfo(size.dtype).tiny ** 0.25
    exponent = np.where((largest > 0) & (largest < tiny), np.frexp(largest)[1], 0)  # (B,)
    if not exponent.any():
        return sums, exponent
    return Sums(*(np.ldexp(part, -exponent[:, None]) for part in sums)), exponent


def _by_feature(gradients):
    """(B, K, C, M) → (K, B, M): summed over the channels that change together."""
    tied = gradients[:, :, 0] if gradients.shape[2] == 1 else gradients.sum(axis=2)
    return tied.swapaxes(0, 1)


RULES = {variant.name: variant for variant in (
    Paper(), Unsaturated(), Once(), Art(), Cleverhans(), Torchattacks(), Single(), Weighted(),
    Taylor(), Maximal())}
