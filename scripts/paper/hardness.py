"""How hard a pair of classes is (Eq. 11 to 14): hardness, adversarial distance, robustness.

In: a `Setup`. Out: an `Outcome` each. Fig. 14 takes one run at the largest Υ, truncated to all
nine; Fig. 15 counts all 307,000 pairs of pixels of a sample.
"""
import numpy as np

from attack import adversarial_distance, class_matrix, hardness, robustness
from attack.goals import every_other
from scripts.paper.classes import distortion_table, largest_target, no_table, smallest_cell
from scripts.paper.experiment import UPSILONS
from scripts.paper.intervals import mean_with_interval, with_interval
from scripts.paper.outcome import Claim, Outcome, plain, similar

PIECE = 16  # images that a worker looks at at once


def fig14(setup):
    """Fig. 14: hardness of each source and target class, K = 9 values of Υ."""
    samples = setup.samples("test", setup.sized(1000), max_distortion=max(UPSILONS))
    matrix = hardness_table(samples)
    claim = similar("hardness looks like mean distortion (Fig. 13)", matrix, _fig13(setup),
                    smallest_cell(samples.sources, samples.targets))
    numbers = {"matrix": plain(matrix), "upsilon": list(UPSILONS), "samples": len(samples)}
    return Outcome(numbers, [claim], {"matrix": matrix},
                   no_picture=no_table(samples.sources, samples.targets))


def fig15(setup):
    """Fig. 15 and Eq. 14: adversarial distance by source and target class, minimum and mean."""
    images, labels = setup.load("test", setup.sized(1000))
    index, targets = every_other(labels, setup.network.classes)
    pieces = [(setup.network, images[start:start + PIECE])
              for start in range(0, len(images), PIECE)]
    distances = setup.each(adversarial_distance, pieces, derivative=setup.derivative,
                           of=setup.of)
    distance = np.concatenate(distances)[index, targets]
    matrix = class_matrix(distance, labels[index], targets)
    samples = setup.samples("test", setup.sized(1000), max_distortion=max(UPSILONS))
    mean, interval = mean_with_interval(distance, index)
    worst = int(distance.argmin())
    where = setup.number("test", index[worst])
    numbers = {"matrix": plain(matrix), "samples": len(distance),
               "robustness_min": robustness(distance), "robustness_mean": mean,
               "robustness_mean_interval": interval}
    fewest = smallest_cell(labels[index], targets)
    claims = [
        similar("adversarial distance looks like hardness (Fig. 14)", matrix,
                hardness_table(samples), fewest),
        similar("adversarial distance looks like mean distortion (Fig. 13)", matrix, _fig13(setup),
                fewest),
        largest_target("the target with the largest mean adversarial distance", distance, index,
                       targets, "{:.3f}"),
        Claim("robustness R(F), the smallest adversarial distance (Eq. 14)", "no value",
              f"{robustness(distance):.4f}", "–",
              f"test digit {where}, a {labels[index[worst]]}, to {targets[worst]}; "
              f"{len(distance):,} samples"),
        Claim("mean adversarial distance", "no value", with_interval(mean, interval, "", ".4f"),
              "–")]
    return Outcome(numbers, claims, {"matrix": matrix},
                   no_picture=no_table(labels[index], targets))


def hardness_table(samples):
    """Eq. 12 for each source and target class (10, 10), from one run truncated to the nine Υ."""
    tau = []
    epsilon = []
    for upsilon in UPSILONS:
        success, distortion = samples.truncated(upsilon)
        tau.append(class_matrix(success, samples.sources, samples.targets))
        epsilon.append(class_matrix(distortion[success], samples.sources[success],
                                    samples.targets[success]))
    return 100 * hardness(np.stack(tau), np.stack(epsilon) / 100)


def _fig13(setup):
    return distortion_table(setup.test_samples())
