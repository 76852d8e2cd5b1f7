"""`craft` in several threads: the same samples, an error or Ctrl-C ends all parts, shards are made
by one."""
import threading

import numpy as np
import pytest

from attack import craft, craft_run
from nn import LeNet, set_num_threads


@pytest.fixture(autouse=True)
def two_threads():
    set_num_threads(2)
    yield
    set_num_threads(None)


class Watched:
    """A LeNet that notes which threads ask it for a derivative."""

    def __init__(self):
        self.network = LeNet.pretrained()
        self.threads = set()
        self.alone = self.network.alone
        self.in_threads = self.network.in_threads

    @property
    def num_threads(self):
        return self.network.num_threads

    def logits(self, x):
        return self.network.logits(x)

    def forward_derivative(self, x):
        self.threads.add(threading.get_ident())
        return self.network.forward_derivative(x)

    def backward_derivative(self, x, cotangents):
        return self.network.backward_derivative(x, cotangents)

    def vjp(self, x):
        self.threads.add(threading.get_ident())
        return self.network.vjp(x)


def some_digits(count):
    images = np.random.default_rng(3).random((count, 28, 28))
    return images, np.arange(count) % 10


@pytest.mark.parametrize("derivative", ["forward", "backward"])
def test_two_threads_craft_what_one_crafts(derivative):
    images, targets = some_digits(5)
    options = {"derivative": derivative, "max_distortion": 1.0, "trace": True}
    model = Watched()
    together = craft(model, images, targets, **options)
    assert len(model.threads) == 2 and threading.get_ident() not in model.threads
    with model.alone():
        one = craft(model, images, targets, **options)
    np.testing.assert_array_equal(together.adversarial, one.adversarial)
    for column in ("success", "predicted", "iterations", "distortion", "pairs", "reason", "target"):
        np.testing.assert_array_equal(getattr(together, column), getattr(one, column))
    for steps, others in zip(together.trace, one.trace):
        for step, other in zip(steps, others, strict=True):
            np.testing.assert_allclose(step.alpha, other.alpha, rtol=1e-9, atol=1e-12)


def test_progress_grows_to_the_end():
    images, targets = some_digits(6)
    told = []
    craft(LeNet.pretrained(), images, targets, max_distortion=1.0, derivative="backward",
          progress=lambda done, count: told.append((done, count)))
    done, counts = zip(*told)
    assert set(counts) == {6} and done[-1] == 6
    assert list(done) == sorted(done)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_in_one_part_ends_the_others(error):
    images, targets = some_digits(8)
    calls = []

    def stop(done, count):
        calls.append(done)
        if len(calls) == 3:
            raise error("enough")

    with pytest.raises(error, match="enough"):
        craft(LeNet.pretrained(), images, targets, max_distortion=None, derivative="backward",
              progress=stop)
    assert len(calls) < 10  # a part that is in an iteration ends it


def test_a_shard_is_made_by_one_thread(tmp_path, monkeypatch):
    """Its bytes must not depend on how many cores a machine has."""
    images, targets = some_digits(4)
    threads = []

    def watched(model, images, *rest, **options):
        threads.append((len(images), model.num_threads))
        return craft(model, images, *rest, **options)

    monkeypatch.setattr("attack.runs.run.craft", watched)
    craft_run(LeNet.pretrained(), images, targets, tmp_path, max_distortion=1.0, shard_size=3)
    assert [number for count, number in threads if count] == [1, 1]
    assert LeNet.pretrained().num_threads == 2
