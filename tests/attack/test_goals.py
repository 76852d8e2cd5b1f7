"""The four goals of Fig. 2 on a network small enough to try every set of pixels."""
from itertools import combinations

import numpy as np
import pytest
from scipy.special import softmax

from attack import craft
from attack.goals import GOALS, cheapest, every_other

FEATURES, CLASSES = 7, 3


class Small:
    """tanh of seven features, three classes."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.inner, self.outer = rng.normal(size=(5, FEATURES)), rng.normal(size=(CLASSES, 5))

    def logits(self, x):
        return np.tanh(x @ self.inner.T) @ self.outer.T * 2

    def forward_derivative(self, x):
        slope = 1 - np.tanh(x @ self.inner.T) ** 2
        return 2 * np.einsum("nk,bk,km->bnm", self.outer, slope, self.inner)


def holds(goal, model, start, image, target, confidence):
    """Is the goal reached? Written out once more."""
    source, logits = model.logits(start[None])[0].argmax(), model.logits(image[None])[0]
    if goal == "confidence":
        return softmax(logits)[source] < confidence
    return logits.argmax() != source if goal == "misclassification" else logits.argmax() == target


def fewest(goal, model, start, target, confidence):
    """The least number of features that must be set to 1, over all sets; None if no set will do."""
    for count in range(FEATURES + 1):
        for chosen in combinations(np.flatnonzero(start < 1), count):
            image = start.copy()
            image[list(chosen)] = 1
            if holds(goal, model, start, image, target, confidence):
                return count
    return None


@pytest.mark.parametrize("goal", GOALS)
def test_against_every_set_of_pixels(goal):
    """No success that is none, none where no set of pixels will do, never fewer features than the
    best set has."""
    possible = succeeded = impossible = best = 0
    for seed in range(40):
        model, rng = Small(seed), np.random.default_rng([1, seed])
        start = np.zeros(FEATURES) if goal == "targeted" else np.round(rng.random(FEATURES))
        target = int((model.logits(start[None])[0].argmax() + 1) % CLASSES)
        named = goal in ("targeted", "source/target")
        crafted = craft(model, start[None], target if named else None, goal=goal,
                        max_distortion=None, confidence=0.4)
        least = fewest(goal, model, start, target, 0.4)
        changed = int((crafted.adversarial[0] != start).sum())
        if crafted.success[0]:
            assert holds(goal, model, start, crafted.adversarial[0], target, 0.4)
            assert least is not None and changed >= least
            best += changed <= least + 1  # pairs: one feature may be too many
        possible, impossible = possible + (least is not None), impossible + (least is None)
        succeeded += crafted.success[0]
    assert (impossible or goal == "targeted") and succeeded > 0.5 * possible
    assert best > 0.5 * succeeded


def test_the_cheapest_of_all_targets():
    """Exactly that: each other class tried by itself, the success with the fewest changes kept."""
    model, rng = Small(3), np.random.default_rng(0)
    images = np.round(rng.random((30, FEATURES)))
    crafted = craft(model, images, goal="misclassification", max_distortion=None)
    sources = model.logits(images).argmax(axis=1)
    for row, image in enumerate(images):
        single = []
        for target in set(range(CLASSES)) - {int(sources[row])}:
            index, targets = every_other([sources[row]], CLASSES)
            assert set(targets) == set(range(CLASSES)) - {int(sources[row])}
            # to the target itself: never cheaper
            alone = craft(model, image[None], target, max_distortion=None)
            if alone.success[0]:
                single.append(alone.distortion[0])
        assert crafted.success[row] >= bool(single)
        if single:
            assert crafted.distortion[row] <= min(single)
        assert 0 <= crafted.reached[row] <= CLASSES - 1 and crafted.target[row] != sources[row]
        assert crafted.success[row] == (crafted.reached[row] > 0)


def test_with_no_target_reached_it_says_so():
    model, image = Small(0), np.ones((1, FEATURES))  # nothing left to switch on
    for goal in ("misclassification", "confidence"):
        crafted = craft(model, image, goal=goal, max_distortion=None, confidence=0.01)
        assert not crafted.success[0] and crafted.reached[0] == 0
        assert crafted.reason[0] not in ("target_reached", "already_target")


def test_confidence_is_weaker_than_misclassification_is_weaker_than_a_target():
    """The lattice of Fig. 2: what reaches a stronger goal costs at least as much."""
    images = np.round(np.random.default_rng(2).random((40, FEATURES)))
    model = Small(5)
    classes = model.logits(images).argmax(axis=1)
    weak, middle = (craft(model, images, goal=goal, max_distortion=None, confidence=0.5)
                    for goal in ("confidence", "misclassification"))
    strong = craft(model, images, (classes + 1) % CLASSES, max_distortion=None)
    assert (weak.success | ~middle.success).all() and (middle.success | ~strong.success).all()
    assert (weak.distortion <= middle.distortion)[middle.success].all()
    assert (middle.distortion <= strong.distortion)[strong.success].all()


@pytest.mark.parametrize(("options", "said"), [
    ({"goal": "worse"}, "goal must be one of"),
    ({"goal": "confidence", "targets": 1}, "takes no targets"),
    ({"goal": "targeted"}, "needs targets"),
    ({"goal": "confidence", "confidence": 1.0}, "confidence must lie")])
def test_wrong_goals(options, said):
    with pytest.raises(ValueError, match=said):
        craft(Small(0), np.zeros((1, FEATURES)), **options)


def test_nothing_to_do():
    crafted = craft(Small(0), np.zeros((0, FEATURES)), goal="misclassification")
    assert len(crafted.success) == len(crafted.target) == 0
    assert len(cheapest(crafted, 0).success) == 0
