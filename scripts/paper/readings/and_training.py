"""Many AND networks of Fig. 3 trained at once, each by its own reading of the paper.

What the paper leaves open is an `AndReading`: the samples, their order and batches, the loss, the
start of the weights, momentum. Every array has an axis of networks at its end, and the gradients
are written out, as `nn` computes them for one network. In: readings and seeds. Out: the
parameters after each epoch.
"""
from typing import NamedTuple

import numpy as np
import scipy

from nn import AndNetwork
from nn.training import batches
from scripts.paper import toy

NOISE = 0.1     # standard deviation around the corners
# The largest distance from a corner, in x1 and in x2. It is ours, and it moves the edge: with
# momentum from x2 = 0.34 to 0.37 where it is 0.3, from 0.46 to 0.54 where it is 0.4 (20 seeds)
CLOSE = 0.35
SAMPLES = {"quadrants": "uniform in each quadrant", "square": "uniform in the unit square",
           "corners": "the four corners", "noise": f"corners with noise of {NOISE:g}",
           "close": f"within {CLOSE:g} of the corners"}


class AndReading(NamedTuple):
    """How the training of the AND network is read; by default as `toy.trained` does it.

    `samples` is a name of `SAMPLES`; `loss` "cross-entropy" (also what squared error comes to where
    the output's sigmoid is not differentiated) or "squared", (F − label)²; `start` "pytorch" or
    "tutorial", uniform in ±4·√(6 / (fan_in + fan_out)) with biases 0; samples that are not
    `shuffled` come in the order of the four cases.
    """
    samples: str = "quadrants"
    loss: str = "cross-entropy"
    batch: int = 1
    start: str = "pytorch"
    shuffled: bool = True
    momentum: float = 0.0

    def __str__(self):
        words = [SAMPLES[self.samples], *([self.loss] * (self.loss == "squared")),
                 *([f"batches of {self.batch}"] * (self.batch > 1)),
                 *(["start of the tutorial"] * (self.start == "tutorial")),
                 *(["case after case"] * (not self.shuffled)),
                 *([f"momentum {self.momentum:g}"] * (self.momentum > 0))]
        return ", ".join(words)


def trained_together(networks, epochs):
    """Train networks [(reading, seed), …] of one batch size; yields after each epoch {parameter:
    (…, networks)} by the names of `AndNetwork`, the same arrays each time."""
    samples = np.stack([drawn(reading.samples, seed) for reading, seed in networks], axis=-1)
    starts = [start(reading.start, seed) for reading, seed in networks]
    parameters = {name: np.stack([one[name] for one in starts], axis=-1) for name in starts[0]}
    velocity = {name: np.zeros_like(array) for name, array in parameters.items()}
    momentum = np.array([reading.momentum for reading, _ in networks])
    squared = np.array([reading.loss == "squared" for reading, _ in networks])
    count, size = len(samples), networks[0][0].batch
    columns, own = np.arange(3)[:, None], np.arange(len(networks))
    for epoch in range(epochs):
        order = np.stack([batches(count, count, seed, epoch, reading.shuffled)[0]
                          for reading, seed in networks], axis=-1)  # (samples, networks)
        for first in range(0, count, size):
            batch = samples[order[first:first + size, None], columns, own]  # (size, 3, networks)
            for name, gradient in _gradients(parameters, batch, squared).items():
                velocity[name] *= momentum
                velocity[name] += gradient
                parameters[name] -= toy.RATE * velocity[name]
        yield parameters


def forward(parameters, x):
    """The hidden neurons (batch, 2, networks) and F (batch, 1, networks) of inputs x (batch, 2,
    networks, or 1 for all of them)."""
    hidden = scipy.special.expit(parameters["hidden.bias"] + np.einsum(
        "hin,bin->bhn", parameters["hidden.weight"], x))
    return hidden, scipy.special.expit(parameters["output.bias"] + np.einsum(
        "ohn,bhn->bon", parameters["output.weight"], hidden))


def _gradients(parameters, batch, squared):
    """∂loss/∂parameters by the chain rule, mean over the batch (samples, x1 x2 label, networks)."""
    x, labels = batch[:, :2], batch[:, 2:]
    hidden, output = forward(parameters, x)
    delta = output - labels  # ∂loss/∂logit of the cross-entropy
    delta = np.where(squared, 2 * delta * output * (1 - output), delta) / len(x)
    before = np.einsum("ohn,bon->bhn", parameters["output.weight"], delta) * hidden * (1 - hidden)
    return {"hidden.weight": np.einsum("bhn,bin->hin", before, x),
            "hidden.bias": before.sum(axis=0),
            "output.weight": np.einsum("bon,bhn->ohn", delta, hidden),
            "output.bias": delta.sum(axis=0)}


def drawn(samples, seed):
    """4,000 samples (x1, x2, label): (4000, 3), case after case unless they are "square"."""
    if samples == "quadrants":
        return np.column_stack(toy.samples(seed))
    rng = np.random.default_rng(seed)
    if samples == "square":
        x = rng.random((4000, 2))
        return np.column_stack([x, (x > 0.5).all(axis=1)])
    corners = np.repeat(toy.CORNERS, 1000, axis=0)
    away = {"corners": lambda: 0.0, "noise": lambda: rng.normal(0, NOISE, corners.shape),
            "close": lambda: (1 - 2 * corners) * rng.uniform(0, CLOSE, corners.shape)}[samples]()
    return np.column_stack([corners + away, corners.all(axis=1)])


def start(name, seed):
    """The parameters of `AndNetwork(seed)` in float64, or those of `AndReading`'s "tutorial"."""
    parameters = {key: array.astype(np.float64)
                  for key, array in AndNetwork(seed).parameters().items()}
    if name == "tutorial":
        rng = np.random.default_rng(seed)
        for key, array in parameters.items():
            bound = 4 * np.sqrt(6 / sum(array.shape)) if key.endswith("weight") else 0
            array[:] = rng.uniform(-bound, bound, array.shape)
    return parameters
