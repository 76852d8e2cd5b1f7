"""Experiments on single digits, one after the other.

Fig. 1 and 10 (every digit into every other), 7 (a saliency map), 9 (from nothing), the class
probabilities along the way (V-B1), the time a sample takes, and whether both derivatives choose
alike. In: a `Setup`. Out: an `Outcome` each.
"""
import time

import numpy as np
import scipy

from attack import craft, replay, saliency_map
from attack.goals import every_other
from scripts.paper.experiment import UPSILON
from scripts.paper.intervals import below, mean_with_interval, with_interval
from scripts.paper.outcome import Claim, Outcome, counted, plain, verdict

NONE = "no sample succeeded"
AGAIN = 9  # samples that are crafted again by the other derivative at the small scale


def fig01(setup):
    """Fig. 1: one test digit of each class to every other class, θ = +1, Υ = ∞."""
    outcome, distortion = _every_pair(setup, 1.0, setup.shown)
    ours = " / ".join(f"{number:.2f}" for number in (
        distortion.min(), distortion.max(), distortion.mean())) + " %" if len(distortion) else NONE
    outcome.rows.append(Claim("min / max / mean distortion", "0.26 / 13.78 / 4.06 %", ours, "–",
                              "ten digits: which ten the paper took is not known"))
    return outcome


def fig10(setup):
    """Fig. 10: as Fig. 1 with θ = −1."""
    outcome, distortion = _every_pair(setup, -1.0, setup.derivative)
    outcome.rows.append(Claim("mean distortion of the successes", "not given",
                              f"{distortion.mean():.2f} %" if len(distortion) else NONE, "–"))
    return outcome


def _every_pair(setup, theta, derivative):
    """The `Outcome` of Fig. 1 for one θ, and the distortion of its successes in percent."""
    originals = setup.one_of_each
    index, targets = every_other(np.arange(10), 10)
    crafted = setup.craft(originals[index], targets, theta=theta, max_distortion=None,
                          derivative=derivative)
    # (10, 10, 28, 28), the originals on the diagonal
    images = originals[:, None].repeat(10, axis=1)
    images[index, targets] = crafted.adversarial
    predicted = np.tile(np.arange(10)[:, None], 10)  # (10, 10)
    predicted[index, targets] = crafted.predicted
    successes = int(crafted.success.sum())
    failed = [f"{index[k]}→{targets[k]} ({crafted.reason[k]})"
              for k in np.flatnonzero(~crafted.success)]
    numbers = {"successes": successes, "distortion": plain(crafted.distortion), "failed": failed}
    claim = Claim("every digit is turned into every other", "90 of 90", f"{successes} of 90",
                  verdict(successes == 90), f"not: {', '.join(failed)}" if failed else "")
    outcome = Outcome(numbers, [claim], {"images": images, "predicted": predicted})
    return outcome, crafted.distortion[crafted.success]


def fig07(setup):
    """Fig. 7: the saliency map (Eq. 8) of a digit, each of the 784 pixels by itself."""
    image = setup.one_of_each[0]
    target = 1
    jacobian = setup.network.forward_derivative(image[None], of=setup.of)
    score = saliency_map(jacobian, np.array([target]))[0]
    positive = int((score > 0).sum())
    claim = Claim("the map picks out few of the 784 pixels", "picture",
                  f"{positive} pixels score above 0", "–", f"first test 0, target {target}")
    return Outcome({"source": 0, "target": target, "positive": positive}, [claim],
                   {"image": image, "score": score.reshape(28, 28)})


def fig09(setup):
    """Fig. 9: from an empty image to each class, θ = +1, Υ = ∞."""
    empty = np.zeros((10, 28, 28), np.float32)
    crafted = setup.craft(empty, np.arange(10), max_distortion=None, derivative=setup.shown)
    start = np.flatnonzero(crafted.reason == "already_target").tolist()
    successes = int(crafted.success.sum())
    note = ""
    if start:
        note = f"the empty image itself is read as {start[0]}, so nothing had to change there"
    claim = Claim("every class is reached from an empty image", "10 of 10", f"{successes} of 10",
                  verdict(successes == 10), note)
    numbers = {"successes": successes, "distortion": crafted.distortion.tolist(),
               "read_as_when_empty": start}
    return Outcome(numbers, [claim], {"images": crafted.adversarial})


def path(setup):
    """V-B1: the class probabilities along the way; how much distortion leaving the source takes."""
    samples = setup.test_samples()
    shares, groups = _shares_of_leaving(setup, samples)
    mean, interval = mean_with_interval(100 * shares, groups)
    claim = Claim("most of the distortion goes into leaving the source class", "more than half",
                  with_interval(mean, interval),
                  verdict(below((50, 50), interval)),
                  "share of the iterations in which the source class is still read; most: above "
                  "50 % (our threshold); "
                  f"{len(shares):,} samples")
    numbers = {"share_of_leaving": None if np.isnan(mean) else mean, "samples": len(shares)}
    return Outcome(numbers, [counted(claim, len(np.unique(groups)))],
                   {"probabilities": _probabilities_along(setup, 2, 4), "source": np.array(2),
                    "target": np.array(4)})


def _shares_of_leaving(setup, samples):
    """`share_of_leaving` of the first successes of each shard, and the digits they come from."""
    shares = []
    groups = []
    for rows, images, pairs in samples.shards():
        turned = samples.success[rows] & (samples.iterations[rows] > 0)
        chosen = np.flatnonzero(turned)[:setup.sized(1000, 90)]
        shares.append(setup.away(share_of_leaving, setup.network, images[chosen], pairs[chosen],
                                 samples.sources[rows][chosen]))
        groups.append(samples.index[rows][chosen])
        if sum(map(len, shares)) >= setup.sized(9000, 90):
            break
    return np.concatenate(shares), np.concatenate(groups)


def share_of_leaving(network, images, pairs, sources):
    """The share of each sample's iterations (n,) before which its source class is still read.

    Args:
        network: with `predict`.
        images: (n, …), where the samples started.
        pairs: (n, iterations, 2), the features they changed, −1 where there was nothing left to do.
        sources: (n,), the classes they were read as.
    """
    used = (pairs[:, :, 0] >= 0).sum(axis=1)
    has_left = np.zeros(len(images), bool)
    staying = np.zeros(len(images))
    for count in range(pairs.shape[1]):
        has_left |= network.predict(replay(images, pairs[:, :count])) != sources
        staying += ~has_left & (count < used)
    return staying / np.maximum(used, 1)


def _probabilities_along(setup, source, target):
    """The class probabilities after each iteration of one digit: (iterations + 1, 10)."""
    image = setup.one_of_each[source]
    crafted = craft(setup.network, image[None], target, derivative=setup.derivative, of=setup.of,
                    rule=setup.rule, max_distortion=None, trace=True)
    before = [step.logits for step in crafted.trace[0]]
    last = setup.network.logits(crafted.adversarial)[0]
    return scipy.special.softmax(np.stack([*before, last]), axis=1)


def identical(setup):
    """Samples of Fig. 11 crafted again with the other derivative: how many come out the same?"""
    samples = setup.test_samples()
    count = min(setup.sized(500, AGAIN), len(samples))
    chosen = np.random.default_rng(0).choice(len(samples), count, replace=False)
    adversarial = {}  # number of the sample: its image
    for rows, images, pairs in samples.shards():
        numbers = chosen[(chosen >= rows.start) & (chosen < rows.stop)]
        replayed = replay(images[numbers - rows.start], pairs[numbers - rows.start])
        adversarial.update(zip(numbers.tolist(), replayed))
    other = "backward" if setup.derivative == "forward" else "forward"
    again = setup.craft(samples.images[samples.index[chosen]], samples.targets[chosen],
                        derivative=other, max_distortion=UPSILON)
    same = sum(np.array_equal(adversarial[number], image)
               for number, image in zip(chosen.tolist(), again.adversarial))
    claim = Claim(f"the {other} derivative gives the same adversarial samples", "the same",
                  f"{same} of {len(chosen)}", "–",
                  "in float32: where two pairs score alike, rounding decides")
    return Outcome({"samples": len(chosen), "same": same, "again_with": other}, [claim])


def seconds(setup):
    """V: the time it takes to craft one sample, by the forward derivative, one at a time."""
    timings = []
    for target in range(1, 10):
        start = time.perf_counter()
        craft(setup.network, setup.one_of_each[:1], target, derivative="forward", of=setup.of,
              rule=setup.rule)
        timings.append(time.perf_counter() - start)
        setup.whole.tell(target, 9)
    median = float(np.median(timings))
    claim = Claim("crafting time of a sample", "below 1 s",
                  f"{median:.2f} s (slowest of nine {max(timings):.2f} s)", verdict(median < 1),
                  "one sample at a time, forward derivative, on this machine")
    return Outcome({"seconds": timings, "median": median}, [claim])
