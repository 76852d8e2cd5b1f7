"""A model of a few features, samples for it and their run in shards: what the child processes of
these tests load, and no more than that."""
import time

import numpy as np

from attack import craft_run


class Toy:
    """Sixteen features, three classes, logits that bend; with `pause`, slow, so that it can be
    killed at work."""
    weights = np.random.default_rng(0).normal(size=(3, 16))

    def __init__(self, pause=0.0):
        self.pause = pause

    def parameters(self):
        return {"weights": self.weights}

    def logits(self, x):
        time.sleep(self.pause)
        return np.tanh(x.reshape(len(x), -1) - 0.3) @ self.weights.T

    def forward_derivative(self, x):
        return self.weights * (1 - np.tanh(x.reshape(len(x), 1, -1) - 0.3) ** 2)


def samples(count):
    rng = np.random.default_rng(1)
    return rng.random((count, 4, 4)), rng.integers(0, 3, count)


def toy_run(folder, count=60, pause=0.0, **options):
    return craft_run(Toy(pause), *samples(count), folder, shard_size=7, max_distortion=50.0,
                     **options)
