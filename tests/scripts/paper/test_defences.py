"""Defences, the threat model, output vectors: numbers by hand, brute force, small runs."""
import itertools

import numpy as np
import pytest
from scipy.integrate import trapezoid
from small import quick

from attack import craft
from nn import LeNet
from scripts.paper import defences, threat
from scripts.paper.experiment import Setup
from scripts.paper.fitting import fitted


@pytest.fixture(scope="module")
def setup():
    with Setup(quick(), derivative="backward", digits=3) as setup:
        yield setup


@pytest.fixture(scope="module")
def shipped():
    with Setup(LeNet.pretrained(), derivative="backward", digits=3) as setup:
        yield setup


def test_roughness_by_hand():
    image = np.zeros((1, 28, 28))
    image[0, 5, 5] = 0.5  # four neighbours
    image[0, 0, 0] = 1.0  # two
    assert defences.roughness(image)[0] == pytest.approx(4 * 0.25 + 2 * 1)


def test_the_curve_and_its_area_by_counting():
    rng = np.random.default_rng(0)
    positive = rng.integers(0, 9, 40) + 2.0  # with ties
    negative = rng.integers(0, 9, 30) * 1.0
    false, caught = defences.roc(positive, negative)
    for threshold in np.unique(np.concatenate([positive, negative])):
        point = np.mean(negative >= threshold), np.mean(positive >= threshold)
        assert np.isclose(np.stack([false, caught], axis=1), point).all(axis=1).any()
    pairs = np.mean([(p > n) + 0.5 * (p == n) for p in positive for n in negative])
    area, (low, high) = defences.auc(positive, negative, np.arange(40))
    assert area == pytest.approx(pairs) == pytest.approx(trapezoid(caught, false))
    assert low < area < high
    assert (np.diff(false) >= 0).all() and (np.diff(caught) >= 0).all()
    assert false[-1] == caught[-1] == 1


def test_detection_tests_the_claim_literally(setup):
    outcome = defences.detection(setup)
    samples = setup.samples("test", 3)
    benign = defences.roughness(samples.images)
    altered = np.concatenate([defences.roughness(images) for _, images in samples.adversarial()])
    won = samples.success & (samples.iterations > 0)
    assert won.sum() > 5
    higher = altered[won] > benign[samples.index[won]]
    assert outcome.numbers["higher_than_its_original"] == pytest.approx(100 * higher.mean())
    above = altered[won] > benign.max()
    assert outcome.numbers["above_every_benign"] == pytest.approx(above.mean())
    assert [row.verdict for row in outcome.rows[:2]] == [
        "–" if higher.all() else "differs", "–" if above.all() else "differs"]


def test_adversarial_training_adds_the_samples_with_their_true_labels(setup, monkeypatch):
    training_sets = []

    def trained(setup, images, labels):
        training_sets.append((images, labels))
        return setup.network

    monkeypatch.setattr(defences, "_trained", trained)
    outcome = defences.adversarial_training(setup)
    (plain, _), (more, all_labels) = training_sets
    assert len(plain) == 2000 and len(more) == 2027
    assert len(more) == outcome.numbers["digits"] + outcome.numbers["added"]
    np.testing.assert_array_equal(more[:2000], plain)
    samples = setup.samples("train", 3)
    np.testing.assert_array_equal(all_labels[2000:], samples.sources)
    again = craft(setup.network, samples.images[samples.index], samples.targets,
                  derivative="backward")
    np.testing.assert_array_equal(more[2000:], again.adversarial)
    # the same network twice: no change
    assert outcome.numbers["with"] == outcome.numbers["without"]
    assert all(row.verdict == "–" and "overlap" in row.why for row in outcome.rows)


@pytest.mark.parametrize(("after", "sign", "digits", "expected"), [
    ((60, (55, 65)), -1, 5, "agrees"), ((95, (93, 97)), -1, 5, "differs"),
    ((78, (70, 85)), -1, 5, "–"), ((95, (93, 97)), 1, 5, "agrees"),
    ((60, (55, 65)), -1, 4, "–")])
def test_a_change_agrees_where_it_is_beyond_both_intervals(after, sign, digits, expected):
    before, after = ({"tau": value, "tau_interval": interval, "digits": digits}
                     for value, interval in ((80, (75, 85)), after))
    assert defences._change("τ", "", "tau", before, after, sign).verdict == expected


@pytest.mark.slow
def test_every_goal_by_every_capability_judged_by_the_victim(shipped):
    outcome = threat.threat_model(shipped)
    for goal, name in itertools.product(threat.GOALS, ("weights", "training data", "samples")):
        result = outcome.numbers[f"{goal} | {name}"]
        assert result["interval"][0] <= result["success"] <= result["interval"][1]
    assert outcome.numbers["targeted | weights"]["success"] == 100
    oracle = outcome.numbers["targeted | oracle"]
    assert oracle["queries"] > 2 * 784
    # per iteration an answer and a derivative; besides, the answer of the first look and the last
    # one, and on the first use of one sample (2) and of several (4, 4 and 1) the same again
    assert (oracle["queries"] - 2 - 2 - 9) % 1569 == 0
    assert len(outcome.table[1]) == 4 * 3 + 1


def test_the_victim_judges_not_the_surrogate(setup):
    """A surrogate that takes everything for its target convinces itself only."""
    class Yes:
        def logits(self, x):
            return np.tile([0.0] * 9 + [1.0], (len(x), 1))

        def forward_derivative(self, x):
            return np.zeros((len(x), 10, 784))

    images, labels = setup.load("test", 9)
    adversary = threat.Adversary(Yes(), "forward")
    one = "targeted", "samples"
    result = threat._attacks(setup, {"samples": adversary}, [one], images, labels)[one]
    read = int(setup.network.predict(np.zeros((1, 28, 28)))[0])
    assert result["on_its_own_model"] == 10 and result["success"] == 10 and read != 9


@pytest.mark.slow
def test_an_output_vector_comes_nearer(shipped, monkeypatch):
    monkeypatch.setattr(threat, "fitted", lambda *args, **options: fitted(
        *args, **{**options, "epochs": 4}))  # of 12
    outcome = threat.beyond(shipped)
    numbers = outcome.numbers
    assert all(after < before for after, before in zip(numbers["distance"], numbers["started"]))
    assert numbers["success"] == [after <= before / 2 + 1e-9
                                  for after, before in zip(numbers["distance"], numbers["started"])]
    assert outcome.arrays["images"].shape == (5, 5, 28, 28)


@pytest.mark.parametrize(("best", "others", "expected"), [
    ((57, 100), [(2, 18), (3, 21)], "agrees"),   # far below
    ((57, 100), [(2, 18), (57, 100)], "–"),      # five digits each: who knows
    ((88, 100), [(2, 18), (80, 95)], "agrees"), ((88, 100), [(40, 90)], "–"),
    ((10, 20), [(2, 18), (30, 90)], "differs"), ((10, 70), [(80, 90), (0, 100)], "differs")])
def test_no_adversary_does_better_where_intervals_are_apart_or_narrow(best, others, expected):
    best, *others = ({"interval": interval, "success": 50} for interval in (best, *others))
    row = threat._no_better("claim", best, others)
    assert row.verdict == expected and row.why.startswith("too few") == (expected == "–")
