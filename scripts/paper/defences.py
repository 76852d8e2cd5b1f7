"""Defences (VI): detection by the differences of neighbouring pixels, and training with adversarial samples.

In: a `Setup`. Out: an `Outcome` each. The paper's 18,000 samples are the first 2,000 training digits with nine targets;
at the small scale two small networks are trained, with and without the few samples there are.
"""
import numpy as np
from scipy import stats

from attack import distortion_interval, success_interval, success_rate
from nn import LeNet
from nn.training import accuracy
from scripts.paper.experiment import Outcome, Row, below, fitted, spread, verdict
from scripts.paper.population import summary
from scripts.train import RECIPES


def detection(setup):
    """VI: is the sum of squared differences of neighbouring pixels always higher for adversarial samples?"""
    samples = setup.samples("test", setup.sized(10_000))
    benign = roughness(samples.images)
    altered = np.empty(len(samples))
    for rows, images in samples.adversarial():
        altered[rows] = roughness(images)
    won = samples.success & (samples.iterations > 0)
    altered, index = altered[won], samples.index[won]
    area, interval = auc(altered, benign, index)
    higher = altered > benign[index]
    share, bounds = success_rate(higher), success_interval(higher, index)
    above = float(np.mean(altered > benign.max()))
    false, caught = roc(altered, benign)
    at_five = float(np.interp(0.05, false, caught))
    return Outcome(
        {"auc": area, "auc_interval": interval, "higher_than_its_original": share, "interval": bounds,
         "above_every_benign": above, "caught_at_5_percent_false_alarms": at_five, "samples": len(altered)},
        [Row("always higher than for benign samples (the sample's own original)", "always", spread(share, bounds),
             verdict(bool(higher.all())), f"{int((~higher).sum()):,} of {len(higher):,} are not"),
         Row("always higher than for benign samples (any of them)", "always", f"{100 * above:.1f} %",
             verdict(above == 1), "share of the adversarial samples above the roughest benign one"),
         Row("detection by this sum, area below the ROC curve", "no value", spread(area, interval, "", ".3f"), "–",
             f"{100 * at_five:.0f} % are found at 5 % false alarms")],
        {"false": false, "caught": caught})


def adversarial_training(setup):
    """VI: 18,000 adversarial samples more in the training set of a new network; 9,000 new samples against it."""
    samples = setup.samples("train", setup.sized(10_000))
    added = _first(samples, 18_000)
    digits = setup.sized(50_000, 2000)
    images, labels = setup.load("train", digits)
    without = setup.network if setup.full else _trained(setup, images, labels, "without")
    trained = _trained(setup, np.concatenate([images, added]),
                       np.concatenate([labels, samples.sources[:len(added)]]), "with")
    found = {}
    for name, network in (("without", without), ("with", trained)):
        new = setup.samples("test", setup.sized(1000, 3), network=network, called=f"{name} adversarial training")
        found[name] = {**summary(new.success, new.distortion, None, new.index),
                       "accuracy": accuracy(network, *setup.load("test", setup.sized(10_000, 1000)))}
    before, after = found["without"], found["with"]
    rows = [_change("success rate τ", "−7.2 %", "tau", before, after, -1),
            _change("mean distortion ε of the successes", "+37.5 %", "epsilon", before, after, 1)]
    return Outcome({**found, "added": len(added), "digits": digits}, rows,
                   table=(("network", "test accuracy", "τ", "ε of the successes"),
                          [(name, f"{one['accuracy']:.2f} %", spread(one["tau"], one["tau_interval"]),
                            spread(one["epsilon"], one["epsilon_interval"])) for name, one in found.items()]))


def roughness(images):
    """Σ (x[y, x] − x[y + 1, x])² + (x[y, x] − x[y, x + 1])² over all neighbours: images (n, 28, 28) → (n,)."""
    images = np.asarray(images, float)
    return (np.diff(images, axis=1) ** 2).sum(axis=(1, 2)) + (np.diff(images, axis=2) ** 2).sum(axis=(1, 2))


def roc(positive, negative):
    """The curve of a threshold on a score: (share of `negative` at or above it, share of `positive`), rising."""
    threshold = np.unique(np.concatenate([positive, negative]))[::-1]
    shares = [1 - np.searchsorted(np.sort(values), threshold, side="left") / len(values)
              for values in (negative, positive)]
    return tuple(np.concatenate([[0.0], share]) for share in shares)


def auc(positive, negative, groups):
    """The area below that curve (Mann-Whitney) and its 95 % interval, by drawing whole groups of `positive` anew."""
    if not len(positive):
        return float("nan"), (float("nan"),) * 2
    rank = stats.rankdata(np.concatenate([positive, negative]))[:len(positive)] - stats.rankdata(positive)
    below = rank / len(negative)  # for each positive the share of negatives below it
    return float(below.mean()), distortion_interval(below, groups)


def _first(samples, most):
    parts = []
    for rows, images in samples.adversarial():
        parts.append(images)
        if rows.stop >= most:
            break
    return np.concatenate(parts)[:most]


def _trained(setup, images, labels, name):
    """A new LeNet, by the recipe of the shipped one; at the small scale two epochs."""
    recipe = RECIPES["momentum"]
    return fitted(LeNet(1), images, labels, f"training {name} adversarial samples", seed=1,
                  **{**recipe, "epochs": setup.sized(recipe["epochs"], 2)})


def _change(what, paper, key, before, after, sign):
    """Agrees where the change has the paper's sign beyond both intervals."""
    relative = 100 * (after[key] / before[key] - 1) if before[key] else float("nan")
    around = before[f"{key}_interval"], after[f"{key}_interval"]
    holds = below(*around[::sign])
    shown = "–" if np.isnan(relative) else f"{relative:+.1f} %"
    return Row(f"adversarial training changes the {what}", paper,
               f"{shown} ({spread(before[key], around[0])} → {spread(after[key], around[1])})", verdict(holds),
               "" if holds is not None else "the intervals overlap")
