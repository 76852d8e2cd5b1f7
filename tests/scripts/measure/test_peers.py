"""The peers of `jsma bench` do the same work: derivative, search, targets that are reached."""
import itertools

import numpy as np
import pytest

from attack import best_pair
from data import load_mnist
from nn import Flatten, LeNet, Linear, Network, Tanh
from scripts.measure import growth, peers, timing
from scripts.measure.beside import Work, beside, fastest
from scripts.measure.timing import Reading, Trial, peak_memory

IMAGES, LABELS = (part[:4] for part in load_mnist("test"))


def small():
    return Network({"flatten": Flatten(), "fc1": Linear(784, 8), "tanh": Tanh(),
                    "fc2": Linear(8, 10)}, (28, 28))


@pytest.mark.parametrize("peer", [peers.jacfwd, peers.jacrev])
def test_torch_gives_our_derivative(peer):
    pytest.importorskip("torch", reason="torch is not installed (pip install 'jsma[peers]')")
    network = small()
    jacobian = peer(network, IMAGES)().reshape(4, 10, 784).numpy()
    np.testing.assert_allclose(jacobian, network.forward_derivative(IMAGES), atol=1e-6)


def test_the_dense_search_finds_the_same_pairs():
    alpha, beta = np.random.default_rng(0).normal(size=(2, 6, 40)).astype(np.float32)
    p, q, _ = best_pair(alpha, beta)
    assert peers.dense_search(alpha, beta)() == (40 * p + q).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["art", "torchattacks"])
def test_the_attacks_reach_their_targets(peer):
    pytest.importorskip(peer, reason=f"{peer} is not installed (pip install 'jsma[peers]')")
    network, targets = LeNet.pretrained(), (LABELS + 1) % 10
    run = (peers.art(network, IMAGES, targets, 14.5, 1) if peer == "art" else
           peers.torchattacks(network, IMAGES, targets, 14.5))
    adversarial = np.asarray(run()).reshape(4, 28, 28)
    assert (network.predict(adversarial) == targets).sum() >= 2
    assert ((adversarial != IMAGES).sum(axis=(1, 2)) <= 120).all()


def test_a_missing_peer_is_named_and_the_fastest_way_counts():
    def absent():
        raise ImportError("No module named 'nothing'")

    def ways():
        return fastest([Work(1, lambda: sum(range(200_000)), "slow"), Work(1, lambda: 0, "fast")])

    ours, missing, best = beside(Trial(3, True, 1.0), "ms", Work(1, lambda: None), [absent, ways])
    assert missing == Reading([], "not installed: No module named 'nothing'")
    assert best.note == "fast" and len(best.values) == len(ours.values) == 3


def test_a_peak_of_memory_is_what_was_held_at_once():
    held = []

    def action():
        held.append(np.zeros(1_000_000))
        np.zeros(3_000_000)

    assert peak_memory(action) == pytest.approx(32, rel=0.01)


def test_a_row_that_takes_long_is_timed_three_times(monkeypatch):
    monkeypatch.setattr(timing, "PATIENCE", 0)
    calls = []
    row = timing.timed(lambda: calls.append(1), 2, "ms", 9)
    assert len(calls) == len(row["timings"]) == 3
    monkeypatch.setattr(timing, "PATIENCE", 60)
    assert len(timing.timed(lambda: None, 2, "ms", 9)["timings"]) == 9


def test_growth_finds_the_power(monkeypatch):
    def series():
        for size in (100_000, 200_000, 400_000):
            def action(size=size):
                return np.zeros(size**2 // 10_000).sum()

            yield "n", size, f"square, {size}", "ms", action

    monkeypatch.setattr(growth, "_pairs", series)
    rows = list(itertools.islice(growth.growth(1), 3))
    assert rows[0]["power"] is None
    assert [row["memory_power"] for row in rows[1:]] == pytest.approx([2, 2], abs=0.01)
