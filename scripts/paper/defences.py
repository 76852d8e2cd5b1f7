"""Defences (VI): detection by neighbouring pixels, and training with adversarial samples.

In: a `Setup`. Out: an `Outcome` each. The paper's 18,000 samples are the first 2,000 training
digits with nine targets. Two new networks are trained alike, with and without them; at the small
scale for two epochs, on the few samples there are.
"""
import numpy as np
import scipy

from attack import distortion_interval, success_interval, success_rate
from nn import LeNet
from nn.training import accuracy
from scripts.paper.fitting import RECIPES, fitted
from scripts.paper.intervals import below, with_interval
from scripts.paper.outcome import Claim, Outcome, always, counted, verdict
from scripts.paper.population import summary

FEW = 10  # test digits that attack each network at the small scale


def detection(setup):
    """VI: are the squared differences of neighbours always higher for adversarial samples?"""
    samples = setup.test_samples()
    benign = roughness(samples.images)
    altered = np.empty(len(samples))
    for rows, images in samples.adversarial():
        altered[rows] = roughness(images)
    won = samples.success & (samples.iterations > 0)
    altered = altered[won]
    index = samples.index[won]
    higher = altered > benign[index]
    share = success_rate(higher)
    interval = success_interval(higher, index)
    rough = altered > benign.max()
    area, area_interval = auc(altered, benign, index)
    false, caught = roc(altered, benign)
    at_five = float(np.interp(0.05, false, caught))
    numbers = {"auc": area, "auc_interval": area_interval, "higher_than_its_original": share,
               "interval": interval, "above_every_benign": success_rate(rough) / 100,
               "caught_at_5_percent_false_alarms": at_five, "samples": len(altered)}
    claims = [
        always("always higher than for benign samples (the sample's own original)", higher,
               interval, f"{int((~higher).sum()):,} of {len(higher):,} are not"),
        always("always higher than for benign samples (any of them)", rough,
               success_interval(rough, index),
               "share of the adversarial samples above the roughest benign one"),
        Claim("detection by this sum, area below the ROC curve", "no value",
              with_interval(area, area_interval, "", ".3f"), "–",
              f"{100 * at_five:.0f} % are found at 5 % false alarms")]
    return Outcome(numbers, claims, {"false": false, "caught": caught})


def roughness(images):
    """The sum of squared differences of neighbouring pixels: images (n, 28, 28) → (n,).

    Σ (x[r, c] − x[r + 1, c])² + (x[r, c] − x[r, c + 1])² over all rows r and columns c.
    """
    images = np.asarray(images, float)
    down = np.diff(images, axis=1)
    across = np.diff(images, axis=2)
    return (down**2).sum(axis=(1, 2)) + (across**2).sum(axis=(1, 2))


def roc(positive, negative):
    """Shares of `negative` and of `positive` at or above each threshold on a score, rising."""
    threshold = np.unique(np.concatenate([positive, negative]))[::-1]
    shares = [1 - np.searchsorted(np.sort(values), threshold) / len(values)
              for values in (negative, positive)]
    return tuple(np.concatenate([[0.0], share]) for share in shares)


def auc(positive, negative, groups):
    """The area below the curve `roc` (Mann-Whitney) and its 95 % interval.

    Args:
        positive, negative: (n,) and (m,) scores.
        groups: (n,), which of `positive` come from one digit; whole groups are drawn anew.
    """
    if not len(positive):
        return float("nan"), (float("nan"),) * 2
    in_all = scipy.stats.rankdata(np.concatenate([positive, negative]))[:len(positive)]
    # (n,): for each positive the share of negatives below it
    share_below = (in_all - scipy.stats.rankdata(positive)) / len(negative)
    return float(share_below.mean()), distortion_interval(share_below, groups)


def adversarial_training(setup):
    """VI: two new networks, one trained on 18,000 adversarial samples more; 9,000 new ones against
    each."""
    samples = setup.samples("train", setup.sized(10_000))
    added = _first(samples, 18_000)
    digits = setup.sized(50_000, 2000)
    images, labels = setup.load("train", digits)
    without = _trained(setup, images, labels)
    defended = _trained(setup, np.concatenate([images, added]),
                        np.concatenate([labels, samples.sources[:len(added)]]))
    before = _attacked(setup, without, "without")
    after = _attacked(setup, defended, "with")
    claims = [_change("success rate τ", "−7.2 %", "tau", before, after, -1),
              _change("mean distortion ε of the successes", "+37.5 %", "epsilon", before, after, 1)]
    heads = ("network", "test accuracy", "τ", "ε of the successes")
    table = [(name, f"{numbers['accuracy']:.2f} %",
              with_interval(numbers["tau"], numbers["tau_interval"]),
              with_interval(numbers["epsilon"], numbers["epsilon_interval"]))
             for name, numbers in (("without", before), ("with", after))]
    numbers = {"samples": before["samples"], "without": before, "with": after,
               "added": len(added), "digits": digits}
    return Outcome(numbers, claims, table=(heads, table))


def _first(samples, most):
    """The first `most` adversarial images."""
    parts = []
    for rows, images in samples.adversarial():
        parts.append(images)
        if rows.stop >= most:
            break
    return np.concatenate(parts)[:most]


def _trained(setup, images, labels):
    """A new LeNet, by the recipe of the shipped one; at the small scale two epochs."""
    recipe = RECIPES["momentum"]
    epochs = setup.sized(recipe["epochs"], 2)
    return setup.away(fitted, LeNet(1), images, labels, seed=1, **{**recipe, "epochs": epochs})


def _attacked(setup, network, name):
    """τ and ε of new samples against `network`, and its accuracy on the test digits."""
    samples = setup.samples("test", setup.sized(1000, setup.few(FEW)), network=network,
                            called=f"{name} adversarial training")
    test = setup.load("test", setup.sized(10_000, 1000))
    return {**summary(samples.success, samples.distortion, samples.index),
            "accuracy": setup.away(accuracy, network, *test)}


def _change(what, paper, key, before, after, sign):
    """The `Claim` that training changes a number, with the paper's sign and beyond both intervals.

    Args:
        what: the number, in words.
        paper: the paper's change, as text.
        key: the number's name in `before` and `after`.
        before, after: as `summary` gives them, without and with the adversarial samples.
        sign: of the paper's change, −1 or 1.
    """
    relative = 100 * (after[key] / before[key] - 1) if before[key] else float("nan")
    intervals = before[f"{key}_interval"], after[f"{key}_interval"]
    holds = below(*intervals[::sign])
    change = "–" if np.isnan(relative) else f"{relative:+.1f} %"
    old, new = (with_interval(values[key], interval)
                for values, interval in zip((before, after), intervals))
    claim = Claim(f"adversarial training changes the {what}", paper, f"{change} ({old} → {new})",
                  verdict(holds), "" if holds is not None else "the intervals overlap")
    return counted(claim, after["digits"])
