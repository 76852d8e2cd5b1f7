"""Experiments on single digits: Fig. 1 and 10 (every digit into every other), 7 (a saliency map), 9 (from nothing), the
class probabilities along the way (V-B1), the time a sample takes, and whether both derivatives choose alike.

In: a `Setup`. Out: an `Outcome` each.
"""
import time

import numpy as np
from scipy.special import softmax

from attack import craft, replay, saliency_map
from scripts.craft import pair_up
from scripts.paper.experiment import UPSILON, Outcome, Row, mean_of, plain, spread, verdict


def fig01(setup):
    """Fig. 1: one test digit of each class to every other class, θ = +1, Υ = ∞."""
    outcome, distortion = _every_pair(setup, 1.0)
    ours = f"{distortion.min():.2f} / {distortion.max():.2f} / {distortion.mean():.2f} %"
    outcome.rows.append(Row("min / max / mean distortion", "0.26 / 13.78 / 4.06 %", ours, "–",
                            "ten digits: which ten the paper took is not known"))
    return outcome


def fig07(setup):
    """Fig. 7: the saliency map (Eq. 8) of a digit, each of the 784 pixels by itself."""
    image, source, target = setup.one_of_each[0], 0, 1
    score = saliency_map(setup.network.forward_derivative(image[None]), np.array([target]))[0]
    positive = int((score > 0).sum())
    return Outcome({"source": source, "target": target, "positive": positive},
                   [Row("the map picks out few of the 784 pixels", "picture", f"{positive} pixels score above 0", "–",
                        f"first test 0, target {target}")],
                   {"image": image, "score": score.reshape(28, 28)})


def fig09(setup):
    """Fig. 9: from an empty image to each class, θ = +1, Υ = ∞."""
    crafted = setup.craft(np.zeros((10, 28, 28), np.float32), np.arange(10), "Fig. 9", max_distortion=None)
    start = [int(t) for t in np.flatnonzero(crafted.reason == "already_target")]
    done = int(crafted.success.sum())
    note = f"the empty image itself is read as {start[0]}, so nothing had to change there" if start else ""
    return Outcome({"successes": done, "distortion": crafted.distortion.tolist(), "read_as_when_empty": start},
                   [Row("every class is reached from an empty image", "10 of 10", f"{done} of 10",
                        verdict(done == 10), note)],
                   {"images": crafted.adversarial})


def fig10(setup):
    """Fig. 10: as Fig. 1 with θ = −1."""
    outcome, distortion = _every_pair(setup, -1.0)
    outcome.rows.append(Row("mean distortion of the successes", "not given", f"{distortion.mean():.2f} %", "–"))
    return outcome


def path(setup):
    """V-B1: the class probabilities along the way; how much of the distortion goes into leaving the source class."""
    samples = setup.samples("test", setup.sized(10_000))
    share, groups = [], []
    for rows, images, pairs in samples.shards():
        chosen = np.flatnonzero(samples.success[rows] & (samples.iterations[rows] > 0))[:setup.sized(1000, 90)]
        share.append(_share_of_leaving(setup.network, images[chosen], pairs[chosen], samples.sources[rows][chosen]))
        groups.append(samples.index[rows][chosen])
        if sum(map(len, share)) >= setup.sized(9000, 90):
            break
    share, groups = np.concatenate(share), np.concatenate(groups)
    mean, interval = mean_of(100 * share, groups)
    image = setup.one_of_each[2]
    crafted = craft(setup.network, image[None], 4, derivative=setup.derivative, max_distortion=None, trace=True)
    along = np.stack([step.logits for step in crafted.trace[0]] + [setup.network.logits(crafted.adversarial)[0]])
    return Outcome({"share_of_leaving": None if np.isnan(mean) else mean, "samples": len(share)},
                   [Row("most of the distortion goes into leaving the source class", "more than half",
                        spread(mean, interval), verdict(None if np.isnan(interval[0]) else interval[0] > 50),
                        f"share of the iterations in which the source class is still read, {len(share):,} samples")],
                   {"probabilities": softmax(along, axis=1), "source": np.array(2),
                    "target": np.array(4)})


def identical(setup):
    """Samples of Fig. 11 crafted again with the other derivative: how many come out the same, pixel by pixel?"""
    samples = setup.samples("test", setup.sized(10_000))
    chosen = np.random.default_rng(0).choice(len(samples), setup.sized(500, 9), replace=False)
    there = {}
    for rows, images, pairs in samples.shards():
        here = chosen[(chosen >= rows.start) & (chosen < rows.stop)]
        there.update(zip(here.tolist(), replay(images[here - rows.start], pairs[here - rows.start])))
    other = "backward" if setup.derivative == "forward" else "forward"
    again = setup.craft(samples.images[samples.index[chosen]], samples.targets[chosen],
                        f"again with the {other} derivative", derivative=other, max_distortion=UPSILON)
    same = np.array([np.array_equal(there[sample], image) for sample, image in zip(chosen.tolist(), again.adversarial)])
    return Outcome({"samples": len(same), "same": int(same.sum()), "again_with": other},
                   [Row(f"the {other} derivative gives the same adversarial samples", "the same",
                        f"{same.sum()} of {len(same)}", "–", "in float32: where two pairs score alike, rounding decides")])


def seconds(setup):
    """V: the time it takes to craft one sample, by the forward derivative, one at a time."""
    taken = []
    for target in range(1, 10):
        begun = time.perf_counter()
        craft(setup.network, setup.one_of_each[:1], target, derivative="forward")
        taken.append(time.perf_counter() - begun)
    median = float(np.median(taken))
    return Outcome({"seconds": taken, "median": median},
                   [Row("crafting time of a sample", "below 1 s", f"{median:.2f} s (slowest of nine {max(taken):.2f} s)",
                        verdict(median < 1), "one sample at a time, forward derivative, on this machine")])


def _share_of_leaving(network, images, pairs, sources):
    """The share of each sample's iterations (n,) after which the network still reads its source class."""
    used = (pairs[:, :, 0] >= 0).sum(axis=1)
    left = np.zeros(len(images), bool)
    still = np.zeros(len(images))
    for done in range(pairs.shape[1]):
        left |= network.predict(replay(images, pairs[:, :done])) != sources
        still += ~left & (done < used)
    return still / np.maximum(used, 1)


def _every_pair(setup, theta):
    originals = setup.one_of_each
    index, targets = pair_up(np.arange(10), np.arange(10), "all")
    crafted = setup.craft(originals[index], targets, f"θ = {theta:+g}, Υ = ∞", theta=theta, max_distortion=None)
    images = originals[:, None].repeat(10, axis=1)
    images[index, targets] = crafted.adversarial
    predicted = np.tile(np.arange(10)[:, None], 10)
    predicted[index, targets] = crafted.predicted
    done, won = int(crafted.success.sum()), crafted.distortion[crafted.success]
    failed = [f"{s}→{t} ({reason})" for s, t, reason, success in
              zip(index, targets, crafted.reason, crafted.success) if not success]
    numbers = {"successes": done, "distortion": plain(crafted.distortion), "failed": failed}
    row = Row("every digit is turned into every other", "90 of 90", f"{done} of 90", verdict(done == 90),
              f"not: {', '.join(failed)}" if failed else "")
    return Outcome(numbers, [row], {"images": images, "predicted": predicted}), won
