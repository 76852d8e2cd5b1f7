"""Random runs of `craft`, walked again one by one: every choice is the best there is (plain tables
of all pairs), every change is θ within the bounds, and every sample stops for the reason it gives.

All rules, goals, outputs, signs and sizes of θ, float32 and float64, bounds of numbers and of
features.
"""
import numpy as np
import pytest
from scipy.special import softmax

from attack import RULES, craft, replay, textbook
from nn import Flatten, Linear, Network, ReLU, Tanh

RUNS = {True: 2000, False: 200}


def random_run(rng):
    """(network, images, options) of a run of 2 samples."""
    features, classes = int(rng.integers(4, 13)), int(rng.integers(2, 6))
    hidden = int(rng.integers(3, 8))
    network = Network([Flatten(), Linear(features, hidden, rng=rng), rng.choice([Tanh, ReLU])(),
                       Linear(hidden, classes, rng=rng)], (features,))
    for array in network.parameters().values():
        array *= rng.choice([1, 4])
    low, high = 0.0, 1.0
    if rng.random() < 0.6:
        low = rng.normal(size=features) if rng.random() < 0.5 else float(rng.normal())
        high = low + rng.uniform(0.5, 3, features if np.ndim(low) else None)
    dtype = rng.choice([np.float32, np.float64])
    low, high = dtype(low), dtype(high)
    share = np.round(rng.random((2, features)), int(rng.integers(0, 4))).astype(dtype)
    images = np.clip(low + share * (high - low), low, high).astype(dtype)
    rule = str(rng.choice(list(RULES)))
    goals = ["misclassification"] if rule == "maximal" else [
        "source/target", "targeted", "misclassification", "confidence"]
    goal = str(rng.choice(goals))
    upsilon = rng.choice([40, 80, 100, None])
    options = {
        "rule": rule, "goal": goal, "bounds": (low, high),
        "theta": float(rng.choice([-1, 1]) * rng.choice([0.2, 0.5, 1, 5])),
        "of": str(rng.choice(["logits", "centred", "probabilities"])),
        "derivative": str(rng.choice(["forward", "backward"])),
        "max_distortion": None if upsilon is None else float(upsilon),
        "margin": 0.0 if goal == "confidence" else float(rng.choice([0, 0, 0.1])),
        "domain": np.array(rng.random(features) < 0.9) if rng.random() < 0.3 else "paper"}
    if goal in ("source/target", "targeted"):
        options["targets"] = rng.integers(0, classes, 2)
    return network, images, options


class Walk:
    """One sample of a run, step by step."""

    def __init__(self, network, image, target, options):
        self.network, self.options = network, options
        self.rule, self.theta, self.target = options["rule"], options["theta"], target
        self.low, self.high = (np.broadcast_to(part, image.shape) for part in options["bounds"])
        self.x, self.start = image.copy(), image.copy()
        self.gamma = np.ones(len(image), bool)
        if not isinstance(options["domain"], str):
            self.gamma &= options["domain"]
        if self.rule in ("unsaturated", "art", "cleverhans", "torchattacks"):
            self.gamma &= self.can_move(np.sign(self.theta), {"torchattacks": 0.01}.get(
                self.rule, 0))
        self.source = self.logits().argmax()
        self.touched, self.iterations = set(), 0

    def can_move(self, sign, headroom=0.0):
        room = headroom * (self.high.astype(float) - self.low)
        return (self.x < (self.high - room).astype(self.x.dtype) if sign > 0 else
                self.x > (self.low + room).astype(self.x.dtype))

    def logits(self):
        return self.network.logits(self.x[None])[0].astype(float)

    def scores(self, target, sign):
        """{pair: score} of all pairs that may be chosen, by the rule."""
        z = self.logits()
        jacobian = self.network.forward_derivative(self.x[None].astype(float))[0]
        if self.options["of"] == "centred":
            jacobian = jacobian - jacobian.mean(axis=0)
        if self.options["of"] == "probabilities":
            p = softmax(z)
            jacobian = p[:, None] * (jacobian - p @ jacobian)
        weights = softmax(z) if self.rule == "weighted" else np.ones(len(z))
        alpha = jacobian[target]
        beta = sum(weights[j] * jacobian[j] for j in range(len(z)) if j != target)
        if self.rule == "taylor":
            way = self.high - self.x if self.theta > 0 else self.x - self.low
            alpha, beta = alpha * way, beta * way
        if self.rule == "single":
            fits = (alpha * sign >= 0) & (beta * sign <= 0) & self.gamma
            return {(i, -1): abs(alpha[i] * beta[i]) for i in np.flatnonzero(fits)
                    if alpha[i] * beta[i]}
        if self.rule == "art":
            return {(i, -1): sign * alpha[i] for i in np.flatnonzero(self.gamma)}
        gamma = self.gamma
        if self.rule == "maximal":
            gamma = gamma & self.can_move(sign) & (sign * (self.x - self.start) >= 0)
        table = textbook.pair_scores(alpha, beta, sign)
        return {(int(p), int(q)): table[p, q] for p, q in zip(*np.nonzero(np.isfinite(table)))
                if gamma[p] and gamma[q]}

    def step(self, pair, tolerance):
        """Take the pair, if it is the best one; of rule="maximal" the sign is looked for."""
        chosen = tuple(int(i) for i in pair)
        signs = (1, -1) if self.rule == "maximal" else (np.sign(self.theta),)
        targets = range(len(self.logits())) if self.rule == "maximal" else [self.target]
        tables = {(sign, t): self.scores(t, sign) for sign in signs for t in targets
                  if self.rule != "maximal" or t != self.source}
        top = max((score for table in tables.values() for score in table.values()), default=0)
        sign = signs[0]
        if self.rule == "art":
            (table,) = tables.values()
            two = sorted(table.values())[-2:]
            mine = sorted(table[i, -1] for i in chosen if i >= 0)
            np.testing.assert_allclose(mine, two, rtol=tolerance, atol=tolerance * abs(top))
        elif top > 0 or self.rule != "torchattacks":
            best = {(s, t): table[chosen] for (s, t), table in tables.items() if chosen in table}
            (sign, _), score = max(best.items(), key=lambda item: item[1])
            assert score >= top * (1 - tolerance), (score, top)
        else:
            assert chosen == (0, 0)
        for i in [i for i in chosen if i >= 0]:
            way = abs(self.theta) * sign if self.rule == "maximal" else self.theta
            self.x[i] = np.clip(self.x[i] + self.x.dtype.type(way), self.low[i], self.high[i])
            self.touched.add(i)
        for i in [i for i in chosen if i >= 0]:
            at_bound = self.x[i] in (self.low[i], self.high[i])
            self.gamma[i] = not (at_bound or self.rule in ("once", "cleverhans",
                                                                   "torchattacks"))
        self.iterations += 1
        return top

    def done(self):
        """Is the goal reached?"""
        z, goal = self.logits(), self.options["goal"]
        if goal == "confidence":
            return softmax(z)[self.source] < 0.5
        if goal == "misclassification":
            lead = np.delete(z, self.source).max() - z[self.source]
            return z.argmax() != self.source and lead >= self.options["margin"]
        lead = z[self.target] - np.delete(z, self.target).max()
        return z.argmax() == self.target and lead >= self.options["margin"]

    def spent(self):
        """Is Υ?"""
        upsilon, features = self.options["max_distortion"], len(self.x)
        if upsilon is None:
            return False
        if self.rule == "art":
            return len(self.touched) / features > upsilon / 100
        size = 100 if self.rule == "single" else 200
        rounded = np.ceil if self.rule == "torchattacks" else np.floor
        return self.iterations >= rounded(features * upsilon / size)

    def may_stop(self, reason, tolerance):
        if reason == "domain_empty":
            return self.gamma.sum() < (2 if self.rule == "cleverhans" else 1)
        if reason == "no_pair":
            signs = (1, -1) if self.rule == "maximal" else (np.sign(self.theta),)
            tops = [max(self.scores(t, sign).values(), default=0) for sign in signs
                    for t in range(len(self.logits()))
                    if (t != self.source if self.rule == "maximal" else t == self.target)]
            return max(tops) <= tolerance
        return {"target_reached": self.done() and self.iterations,
                "already_target": self.done() and not self.iterations,
                "max_iterations": self.spent()}[reason]


def walk(network, images, options):
    """Hold a run against its walk; returns its reasons."""
    crafted = craft(network, images, **options)
    single = images.dtype == np.float32
    tolerance = 1e-3 if single else 1e-9
    for n, image in enumerate(images):
        one = Walk(network, image, int(crafted.target[n]), options)
        for pair in crafted.pairs[n][:crafted.iterations[n]]:
            assert not one.spent() and not one.done() and one.gamma.any()
            one.step(pair, tolerance)
        assert one.may_stop(crafted.reason[n], 1e-6 if single else 0), crafted.reason[n]
        np.testing.assert_allclose(crafted.adversarial[n], one.x, rtol=1e-6 if single else 1e-12)
        assert (one.low <= crafted.adversarial[n]).all()
        assert (crafted.adversarial[n] <= one.high).all()
        changed = (crafted.adversarial[n] != image).sum()
        assert crafted.distortion[n] == pytest.approx(100 * changed / len(image))
    if options["rule"] != "maximal":
        again = replay(images, crafted.pairs, options["theta"], bounds=options["bounds"])
        np.testing.assert_array_equal(again, crafted.adversarial)
    return set(crafted.reason)


@pytest.mark.parametrize("all_of_them", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:max_distortion")
def test_random_runs_do_what_their_rules_say(all_of_them):
    reasons = set()
    for seed in range(RUNS[all_of_them]):
        network, images, options = random_run(np.random.default_rng((22, seed)))
        try:
            reasons |= walk(network, images, options)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {options}") from error
    assert reasons >= {"target_reached", "already_target", "max_iterations", "no_pair"}
