"""Whose rules an attack follows: the paper's Algorithms 2 and 3, those that other libraries compute under its name, and the
published variants.

In: what an iteration sees (`Seen`). Out: the features to change, whether a feature leaves Γ, when the budget Υ is spent.
A rule is a few lines, each written from the description of what it does; all else is shared (`crafting`). Every rule can
be asked for with the derivative of the logits (the default here; ART and torchattacks take what the module gives), of
centred logits or of probabilities (cleverhans 3). Read on in `goals`.
"""
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from attack.model import output_weights
from attack.pairs import best_pair
from attack.saliency import score_features


class Seen(NamedTuple):
    """What an iteration sees of B samples."""
    found: np.ndarray            # (B, K, M): the derivatives that `Rule.weights` asked for, by feature
    gamma: np.ndarray            # (B, M) boolean, Γ
    values: np.ndarray | None    # (B, C, M) the samples as they are, where the rule `looks`
    originals: np.ndarray | None  # (B, C, M) as they were
    sources: np.ndarray          # (B,) the class each was read as at the start


class Rule:
    """The paper: the pair with the largest −α·β (Eq. 10) while it qualifies; Γ holds all features at the start, one
    leaves when it is 0 or 1 after a change; ⌊M·Υ/200⌋ iterations."""
    name = "paper"
    size = 2            # features of an iteration
    least = 1           # features that Γ must have
    looks = False       # at the values of the features
    untargeted = False

    def start(self, values, theta):
        """Γ at the start: values (n, C, M) → booleans (n, M) or True for all."""
        return True

    def budget(self, features, max_distortion):
        """The most iterations, None for no limit; Υ in percent."""
        if max_distortion is None:
            return None
        return int(np.floor(features * max_distortion / (100 * self.size) + 1e-9))

    def spent(self, iterations, chosen, features, max_distortion):
        """(B,) booleans from iterations (B,) and the features chosen so far, a list of pairs for each sample."""
        budget = self.budget(features, max_distortion)
        return np.zeros(len(iterations), bool) if budget is None else iterations >= budget

    def weights(self, logits, targets, of):
        """The derivatives that are asked for, as weights of the logits: (B, K, N); here α and β."""
        return output_weights(logits, targets, of)

    def scaled(self, found, values, theta):
        """The derivatives (B, K, C, M) as the rule weighs them by the features' values (B, C, M)."""
        return found

    def choose(self, seen, theta):
        """(p, q, score, θ of each sample), each (B,); p = −1 where no features qualify, q = −1 for one alone."""
        found = best_pair(seen.found[:, 0], seen.found[:, 1], seen.gamma, theta)
        return (*found, np.full(len(found[0]), float(theta)))

    def leaves(self, values):
        """(B,) booleans: does the feature with `values` (B, C) after its change leave Γ?"""
        return ((values == 0) | (values == 1)).all(axis=1)


class Single(Rule):
    """Algorithm 1: the single feature with the best Eq. 8 or 9; ⌊M·Υ/100⌋ iterations."""
    name = "single"
    size = 1

    def choose(self, seen, theta):
        """The first feature with the largest score."""
        scores = np.where(seen.gamma, score_features(seen.found[:, 0], seen.found[:, 1], theta), 0)
        first = scores.argmax(axis=1)
        score = scores[np.arange(len(scores)), first]
        return np.where(score > 0, first, -1), np.full(len(first), -1), score, np.full(len(first), float(theta))


class Art(Rule):
    """ART's SaliencyMapMethod (1.20): the two features with the largest ∂F_t/∂x_i (θ < 0: the smallest), of any sign, the
    other classes are not looked at; features at the bound in the direction of θ are not in Γ; it goes on while the share
    of touched features is at most Υ, so it stops after exceeding it."""
    name = "art"

    def start(self, values, theta):
        """What θ can still move."""
        return _movable(values, theta)

    def budget(self, features, max_distortion):
        """Not counted in iterations."""
        return None

    def spent(self, iterations, chosen, features, max_distortion):
        """More features touched than Υ."""
        limit = np.inf if max_distortion is None else max_distortion / 100
        return np.array([len({feature for pair in some for feature in pair if feature >= 0}) / features > limit
                         for some in chosen], bool)

    def choose(self, seen, theta):
        """The two best of Γ by α alone."""
        alpha = np.where(seen.gamma & np.isfinite(seen.found[:, 0]), np.sign(theta) * seen.found[:, 0], -np.inf)
        order = np.argsort(-alpha, axis=1, kind="stable")[:, :2]
        best = np.take_along_axis(alpha, order, axis=1)
        pair = np.where(best > -np.inf, order, -1)
        pair = np.where((pair >= 0).all(axis=1, keepdims=True), np.sort(pair, axis=1), pair)
        second = pair[:, 1] if pair.shape[1] > 1 else np.full(len(pair), -1)
        return pair[:, 0], second, np.where(best > -np.inf, best, 0).sum(axis=1), np.full(len(pair), float(theta))


class Cleverhans(Rule):
    """cleverhans 3: Eq. 10 (it differentiates probabilities); features at the bound are not in Γ, and one that was
    changed once leaves it; it ends when fewer than two are left. Where no pair qualifies the sample stops here (there
    feature 0 is changed)."""
    name = "cleverhans"
    least = 2

    def start(self, values, theta):
        """What θ can still move."""
        return _movable(values, theta)

    def leaves(self, values):
        """After one change."""
        return np.ones(len(values), bool)


class Torchattacks(Cleverhans):
    """torchattacks' JSMA (3.5): as cleverhans, of logits; Γ holds features below 0.99 (θ < 0: above 0.01), ⌈M·Υ/200⌉
    iterations; where no pair qualifies it changes feature 0, twice, and goes on."""
    name = "torchattacks"
    least = 1

    def start(self, values, theta):
        """What lies a hundredth from the bound."""
        return _movable(values, theta, 0.01)

    def budget(self, features, max_distortion):
        """Rounded up."""
        return None if max_distortion is None else int(np.ceil(features * max_distortion / 200 - 1e-9))

    def choose(self, seen, theta):
        """Eq. 10, or the first entry of a table that is all zero."""
        first, second, score, step = super().choose(seen, theta)
        return np.maximum(first, 0), np.maximum(second, 0), score, step


class Weighted(Rule):
    """WJSMA (Combey et al. 2020): Eq. 10 with the other classes weighted by their probability, β = Σ_{j≠t} p_j ∂F_j/∂x_i;
    all else as in the paper."""
    name = "weighted"

    def weights(self, logits, targets, of):
        """α, and β with the probabilities as weights."""
        return output_weights(logits, targets, of, softmax(logits, axis=1))


class Taylor(Rule):
    """TJSMA (Combey et al. 2020): Eq. 10 with each feature's derivatives times the way it can still go, 1 − x, or x for
    θ < 0; the other classes count alike here; all else as in the paper."""
    name = "taylor"
    looks = True

    def scaled(self, found, values, theta):
        """(1 − x)·∂F/∂x or x·∂F/∂x."""
        return found * (1 - values if theta > 0 else values)[:, None]


class Maximal(Rule):
    """M-JSMA (Wiyatno and Xu 2018), untargeted: in every iteration the best pair (Eq. 10) over all classes but the source
    and over both signs of θ; done when another class is read. A feature that went one way does not go back, and one that
    cannot move that way is not chosen."""
    name = "maximal"
    looks = untargeted = True

    def weights(self, logits, targets, of):
        """∂F_t/∂x for every class t."""
        classes = logits.shape[1]
        return np.stack([output_weights(logits, np.full(len(logits), t), of)[:, 0] for t in range(classes)], axis=1)

    def choose(self, seen, theta):
        """The best of 2·(N − 1) searches."""
        count, classes = seen.found.shape[:2]
        first, second = np.full((2, count), -1)
        score, step, total = np.zeros(count), np.zeros(count), seen.found.sum(axis=1)
        for sign in (1.0, -1.0):
            moved = sign * (seen.values - seen.originals)
            gamma = seen.gamma & _movable(seen.values, sign) & (moved >= 0).all(axis=1)
            for target in range(classes):
                alpha = seen.found[:, target]
                p, q, found = best_pair(alpha, total - alpha, gamma, sign)
                better = (found > score) & (seen.sources != target)
                first[better], second[better], score[better] = p[better], q[better], found[better]
                step[better] = sign * abs(theta)
        return first, second, score, step


def _movable(values, theta, slack=0.0):
    """(n, M): the features of values (n, C, M) that are not at the bound in the direction of θ, in some channel."""
    return (values < 1 - slack if theta > 0 else values > slack).any(axis=1)


RULES = {rule.name: rule for rule in (Rule(), Art(), Cleverhans(), Torchattacks(), Single(), Weighted(), Taylor(),
                                      Maximal())}
