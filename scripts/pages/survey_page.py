"""The page of the human study (Section V-C): its samples, made by the attack, and the page itself.

In: a network, digits, the shares of pixels ε and the changes θ to show. Out: samples, and one
self-contained page (survey.html, survey.css, survey.js) that asks of each whether it is a digit,
and which one; the answers leave it as CSV (`HEADER`), which `survey` reads.
"""
import base64
import hashlib
import json

import numpy as np

from attack import craft, replay
from scripts.pages.document import assemble

HEADER = ("survey,participant,sample,index,part,label,target,theta,distortion,is_digit,digit,"
          "seconds")
PARTS = ("unaltered", "distortion", "intensity")
UPSILON = 14.5  # percent, Υ of the intensity part
MOST = 2000  # samples, about 1.1 KB each
FILES = ("survey.html", "survey.css", "survey.js")


class Onward:
    """A network that crafting never ends with: an eleventh class, which no pixel changes, wins.

    The attack then goes its way (Algorithm 2), past its target, up to the share of pixels that is
    asked for.
    """

    def __init__(self, network):
        self.network = network
        if hasattr(network, "in_threads"):  # all cores, where the network can serve them
            self.num_threads = network.num_threads
            self.in_threads = network.in_threads

    def logits(self, x):
        """x (B, …) → (B, N + 1), the last +∞."""
        return np.pad(self.network.logits(x), [(0, 0), (0, 1)], constant_values=np.inf)

    def forward_derivative(self, x):
        """x (B, …) → (B, N + 1, M), the last row 0."""
        return np.pad(self.network.forward_derivative(x), [(0, 0), (0, 1), (0, 0)])

    def backward_derivative(self, x, cotangents):
        """x (B, …), cotangents (B, K, N + 1) → (B, K, M)."""
        return self.network.backward_derivative(x, cotangents[:, :, :-1])


def onward(network, images, targets, epsilon, derivative="forward", progress=None):
    """Images with as many pairs changed, θ = +1, as keep the changed pixels within ε.

    A pixel that is 1 already may be chosen, too, but does not count: nobody sees it.

    Args:
        network: a model with `logits` and a derivative.
        images: (n, 28, 28) in [0, 1].
        targets: (n,), the class each is driven to, and past.
        epsilon: ε, percent of the pixels.
        derivative, progress: as in `craft`.

    Returns:
        the changed images, (n, 28, 28).
    """
    budget = min(1.5 * epsilon, 100)
    pairs = craft(Onward(network), images, targets, max_distortion=budget,
                  derivative=derivative, progress=progress).pairs  # (n, iterations, 2)
    flat = images.reshape(len(images), -1)
    values = np.take_along_axis(flat, pairs.reshape(len(images), -1), axis=1)
    changed = (values < 1).reshape(pairs.shape).sum(axis=2).cumsum(axis=1)  # (n, iterations)
    return replay(images, np.where(changed[:, :, None] <= 7.84 * epsilon, pairs, -1))


def draw(network, images, labels, epsilons, thetas, count, seed=0, derivative="forward",
         progress=None):
    """`count` samples in random order, as many of each ε and each θ as of any other, or one more.

    No digit is taken twice; each is crafted to a random other class.

    Args:
        network: a model with `logits` and a derivative.
        images: (n, 28, 28) in [0, 1].
        labels: (n,).
        epsilons: percent; at 0 the digit stays as it is, else it goes `onward`.
        thetas: crafted with Υ = 14.5 %, whether the target is reached or not.
        count: how many samples.
        seed: of digits, targets and order.
        derivative: "forward" or "backward", as in `craft`.
        progress: called with (done, count), as in `craft`.

    Returns:
        a list of (pixels (28, 28) uint8, the columns from `index` to `distortion` as text).

    Raises:
        ValueError: where `count` is too small or too large.
    """
    ways = _ways(epsilons, thetas)
    _check_count(count, len(ways), len(images))
    rng = np.random.default_rng(seed)
    index = rng.choice(len(images), count, replace=False)
    targets = (labels[index] + rng.integers(1, 10, count)) % 10
    turn = rng.permutation(np.arange(count) % len(ways))
    samples = [None] * count
    done = 0
    for number, way in enumerate(ways):
        rows = np.flatnonzero(turn == number)
        before = images[index[rows]]
        after = _altered(network, before, targets[rows], way, derivative,
                         _further(progress, done, count))
        before, after = (np.round(255 * shown).astype(np.uint8) for shown in (before, after))
        percent = 100 * (before != after).reshape(len(rows), -1).mean(axis=1)
        part, theta, _ = way
        for row, pixels, changed in zip(rows, after, percent):
            how = "," if part == "unaltered" else f"{targets[row]},{theta:g}"
            text = f"{index[row]},{part},{labels[index[row]]},{how},{changed:.4f}"
            samples[row] = pixels, text
        done += len(rows)
        if progress is not None:
            progress(done, count)
    return samples


def _further(progress, before, count):
    """The `progress` of `craft` for samples that come after `before` others of `count`."""
    return progress and (lambda done, _: progress(before + done, count))


def _ways(epsilons, thetas):
    """What is done to digits, each way once: (part, θ, ε or Υ in percent)."""
    by_distortion = [("distortion" if epsilon else "unaltered", 1.0, epsilon)
                     for epsilon in dict.fromkeys(epsilons)]
    return by_distortion + [("intensity", theta, UPSILON) for theta in dict.fromkeys(thetas)]


def _check_count(count, ways, images):
    least = max(1, ways)
    most = min(MOST, images)
    if not ways or not least <= count <= most:
        raise ValueError(f"--count must lie in {least}..{most}: each ε and θ once at least "
                         f"(there are {ways}), no digit twice; got {count}")


def _altered(network, images, targets, way, derivative, progress):
    """The images (n, 28, 28) after what the way does to them."""
    part, theta, percent = way
    if part == "distortion":
        return onward(network, images, targets, percent, derivative, progress)
    if part == "intensity":
        return craft(network, images, targets, theta=theta, max_distortion=percent,
                     derivative=derivative, progress=progress).adversarial
    return images


def page(samples):
    """(survey id, HTML) of what `draw` returns; the id is made of all that the samples are."""
    shown = [{"pixels": base64.b64encode(pixels.tobytes()).decode(), "row": f"{number},{row}"}
             for number, (pixels, row) in enumerate(samples, 1)]
    digest = hashlib.sha256(json.dumps(shown).encode()).hexdigest()
    survey = "s" + digest[:12]  # 12e4 alone is a number
    data = {"id": survey, "header": HEADER, "samples": shown}
    return survey, assemble("What do you see?", FILES, data, {"COUNT": str(len(samples))})
