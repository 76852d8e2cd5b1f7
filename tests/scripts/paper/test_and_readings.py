"""The readings of the AND network: many networks at once are what `nn` trains one by one; samples
and starts as they are described; measures by hand; claims of made-up tables."""
from functools import partial

import numpy as np
import pytest
from scipy.special import expit

from nn import AndNetwork
from scripts.paper import toy
from scripts.paper.experiment import Setup
from scripts.paper.experiments import EXPERIMENTS
from scripts.paper.fitting import fitted
from scripts.paper.readings import and_readings as module
from scripts.paper.readings import and_training as training
from scripts.paper.readings.and_readings import (
    EDGE,
    FEW,
    READINGS,
    SEEDS,
    WIDTH,
    and_readings,
    measured,
)
from scripts.paper.readings.and_training import (
    CLOSE,
    NOISE,
    SAMPLES,
    AndReading,
    drawn,
    trained_together,
)

KEYS = [(reading, seed) for reading in READINGS if reading.batch == 1 for seed in (0, 7)]


@pytest.fixture
def few_samples(monkeypatch):
    """Every eightieth sample, for the networks together and for `toy.trained`."""
    of_quadrants, of_all = toy.samples, training.drawn
    monkeypatch.setattr(toy, "samples", lambda seed: [part[::80] for part in of_quadrants(seed)])
    monkeypatch.setattr(training, "drawn", lambda samples, seed: (
        of_all(samples, seed)[::1 if samples == "quadrants" else 80]))


def _parameters(networks, epochs):
    """[{name: parameter}, …] of each network after the last epoch."""
    *_, last = trained_together(networks, epochs)
    return [{name: array[..., number] for name, array in last.items()}
            for number in range(len(networks))]


def _same(ours, expected):
    for name, array in expected.parameters().items():
        np.testing.assert_allclose(ours[name], array, rtol=0, atol=1e-9, err_msg=name)


def test_networks_together_are_those_of_the_toy(few_samples):
    networks = [(READINGS[1], 3), (AndReading(), 3), (AndReading(), 4)]
    _, *ours = _parameters(networks, 3)
    for seed, parameters in zip((3, 4), ours):
        _same(parameters, toy.trained(seed, 3))
    with pytest.raises(AssertionError):
        _same(ours[1], toy.trained(3, 3))


@pytest.mark.slow
def test_networks_together_are_those_of_the_toy_with_all_samples():
    for parameters in _parameters([(AndReading(), 3)], 3):
        _same(parameters, toy.trained(3, 3))


def _squared(logits, labels):
    """The mean of (σ(logit) − label)², and its derivative by central differences."""
    def losses(z):
        return (expit(z) - labels[:, None]) ** 2
    step = 1e-5
    derivative = (losses(logits + step) - losses(logits - step)) / (2 * step)
    return float(losses(logits).mean()), derivative / len(logits)


@pytest.mark.parametrize("networks", [KEYS, [
    (AndReading(batch=7), 0), (AndReading("square", "squared", batch=7, momentum=0.5), 2)]],
    ids=["one by one", "in batches"])
def test_every_reading_trains_as_nn_does(networks, few_samples):
    """With `nn`'s gradients and its SGD, and a loss whose derivative is numerical."""
    for (reading, seed), ours in zip(networks, _parameters(networks, 2)):
        network = AndNetwork()
        network.load(training.start(reading.start, seed))
        samples = training.drawn(reading.samples, seed)
        x, labels = samples[:, :2], samples[:, 2].astype(int)
        words = {"loss": _squared} if reading.loss == "squared" else {}
        if reading.shuffled:
            fitted(network, x, labels, epochs=2, lr=toy.RATE, batch=reading.batch, seed=seed,
                   momentum=reading.momentum, **words)
        else:  # the same two passes, one sample at a time in the order of the cases
            for one in 2 * list(range(len(x))):
                fitted(network, x[[one]], labels[[one]], epochs=1, lr=toy.RATE, batch=1)
        _same(ours, network)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_what_their_name_says(name):
    samples = drawn(name, 5)
    x, labels = samples[:, :2], samples[:, 2]
    assert samples.shape == (4000, 3) and set(labels) == {0, 1}
    np.testing.assert_array_equal(samples, drawn(name, 5))
    assert (name == "corners") == np.array_equal(samples, drawn(name, 6))
    if name != "square":
        corners = np.repeat([[0, 0], [0, 1], [1, 0], [1, 1]], 1000, axis=0)
        np.testing.assert_array_equal(labels, [0] * 3000 + [1] * 1000)
        away = np.abs(x - corners)
        largest = {"quadrants": 0.5, "close": CLOSE, "corners": 0, "noise": 5 * NOISE}[name]
        assert 0.6 * largest <= away.max() <= largest
    if name != "noise":
        np.testing.assert_array_equal(labels, np.round(x).all(axis=1))
        assert 0 <= x.min() and x.max() <= 1
    else:
        assert (x - corners).std() == pytest.approx(NOISE, rel=0.05)


def test_the_start_of_the_tutorial():
    parameters = training.start("tutorial", 0)
    np.testing.assert_array_equal(parameters["hidden.bias"], 0)
    np.testing.assert_array_equal(parameters["output.bias"], 0)
    draws = [training.start("tutorial", seed) for seed in range(300)]
    for key, bound in (("hidden.weight", 4 * np.sqrt(6 / 4)), ("output.weight", 4 * np.sqrt(2))):
        weights = np.stack([one[key] for one in draws])
        assert 0.97 * bound < np.abs(weights).max() <= bound and abs(weights.mean()) < 0.1 * bound


def test_measures_are_those_of_the_networks(few_samples, monkeypatch):
    """The shipped network, as if training had given it; counts of epochs by hand."""
    shipped = AndNetwork.pretrained().parameters()
    epochs = [{name: np.stack([scale * array, 0 * array], axis=-1)
               for name, array in shipped.items()} for scale in (2.0, 1.0, 1.0)]
    monkeypatch.setattr(module, "trained_together", lambda networks, count: iter(epochs[:count]))
    network = AndNetwork.pretrained()
    pair = network.probabilities(toy.PAIR)[:, 0]
    monkeypatch.setattr(toy, "PAPER", tuple(pair))  # so that it comes near
    monkeypatch.setattr(toy, "NEAR", 1e-9)
    one, nothing = measured(["shipped", "all 0"], 3).values()
    outcome = toy.fig03(Setup(None)).numbers
    assert one["agreement"] == outcome["agreement_with_and"]
    assert (one["at_0.37"], one["at_0.43"]) == pytest.approx(tuple(pair), abs=1e-12)
    assert one["width"] == pytest.approx(0.06, abs=1e-9)
    edge = network.probabilities(np.array([[1, one["edge"]]]))[0, 0]
    assert edge == pytest.approx(0.5, abs=1e-9) and 0.48 < one["edge"] < 0.52
    assert one["near"] and one["epochs_near"] == 2
    assert nothing["at_0.37"] == 0.5 and not nothing["near"] and nothing["epochs_near"] == 0
    assert np.isnan(nothing["edge"]) and np.isnan(nothing["width"])


def _table(near=(), flips=(), ever=(), seeds=10):
    """Every reading, of which so many seeds {place of the reading: seeds} do so."""
    def first(numbers, place):
        return np.arange(seeds) < dict(numbers).get(place, 0)
    return {reading: {"near": first(near, place), "epochs_near": 3.0 * first(ever, place),
                      "width": np.where(first(flips, place), WIDTH, np.nan),
                      "edge": np.where(first(flips, place), 0.1 * place, 0.9)}
            for place, reading in enumerate(READINGS)}


def test_claims_count_what_most_seeds_do():
    pair, flip = module._claims(_table())
    assert pair.verdict == flip.verdict == "differs" and pair.ours == "none of 13 readings"
    assert "none of 130 networks, after some epoch none" in pair.why and "edge of never" in flip.why
    pair, flip = module._claims(_table(near={2: 5, 3: 1}, flips={1: 5, 5: 6}, ever={2: 7}))
    assert pair.verdict == "differs"  # half is not most
    assert (f"after 100 epochs 6 ({READINGS[2]}: 5; {READINGS[3]}: 1) of 130 networks, after some "
            f"epoch 7 ({READINGS[2]}: 7)") in pair.why
    assert flip.verdict == "agrees" and flip.ours == "1 of 13 readings"
    assert "at an edge of 0.100 to 0.500" in flip.why
    assert next(module._claims(_table(near={2: 6}))).verdict == "agrees"
    for row in module._claims(_table(near={2: 3}, flips={2: 3}, seeds=3)):
        assert row.verdict == "–" and row.why.startswith("too few: 3 of the 5 seeds")


def test_the_paper_s_edge_is_between_its_points():
    logits = np.log([0.11 / 0.89, 0.95 / 0.05])
    assert np.interp(0, logits, [0.37, 0.43]) == pytest.approx(EDGE, abs=5e-4)


def test_the_experiment_and_its_table(few_samples, monkeypatch):
    monkeypatch.setattr(module, "measured", partial(measured, epochs=1))
    with Setup(None) as setup:
        outcome = and_readings(setup)
    assert outcome.numbers["seeds"] == FEW < SEEDS
    listed = [AndReading(*(one[name] for name in AndReading._fields))
              for one in outcome.numbers["readings"]]
    assert tuple(listed) == READINGS and len({str(reading) for reading in listed}) == 13
    heads, rows = outcome.table
    assert all(len(row) == len(heads) for row in rows)
    assert [row[0] for row in rows] == [str(reading) for reading in READINGS]
    for one, row in zip(outcome.numbers["readings"], rows):
        assert len(one["near"]) == FEW and row[1].endswith(f" of {FEW}")
        assert row[2] == f"{min(one['at_0.37']):.3f} to {max(one['at_0.37']):.3f}"
    assert EXPERIMENTS["and"].large and EXPERIMENTS["and"].run is and_readings
