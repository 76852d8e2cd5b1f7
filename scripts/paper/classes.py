"""Success rate and distortion by source and target class: Fig. 12 and 13, and what is read there.

In: a `Setup`; its samples are those of Fig. 11, test digits. Out: an `Outcome` each, with a table
(10, 10).
"""
import numpy as np

from attack import class_matrix, success_interval, success_rate
from scripts.paper.intervals import below, rank_correlation, with_interval
from scripts.paper.outcome import Claim, Outcome, plain, verdict


def fig12(setup):
    """Fig. 12: success rate for each source and target class (test digits)."""
    samples = setup.test_samples()
    matrix = 100 * class_matrix(samples.success, samples.sources, samples.targets)
    claims = [
        harder("sources 0, 2, 8 are harder to leave than 1, 7, 9", samples, samples.sources,
               (0, 2, 8), (1, 7, 9), means(matrix, 1)),
        harder("targets 1, 7 are harder to reach than 0, 8, 9", samples, samples.targets, (1, 7),
               (0, 8, 9), means(matrix, 0))]
    return Outcome({"matrix": plain(matrix), "samples": len(samples)}, claims, {"matrix": matrix})


def fig13(setup):
    """Fig. 13: mean distortion of the successes for each source and target class (test digits)."""
    samples = setup.test_samples()
    matrix = distortion_table(samples)
    success = class_matrix(samples.success, samples.sources, samples.targets)
    by_target = means(matrix, 0)
    largest = int(np.nanargmax(by_target)) if samples.success.any() else None
    rho, interval = rank_correlation(matrix, success)
    unknown = np.isnan(rho)
    numbers = {"matrix": plain(matrix), "samples": len(samples),
               "rank_correlation": None if unknown else rho, "largest_target": largest}
    claims = [
        Claim("pairs with low distortion have high success", "negative rank correlation",
              with_interval(rho, interval, "", "+.2f"),
              verdict(None if unknown else interval[1] < 0),
              "every pair succeeds equally often in this sample" if unknown else ""),
        Claim("the target with the largest mean distortion", "1", f"{largest}",
              verdict(None if largest is None else largest == 1),
              "means by target: "
              + ", ".join(f"{target}: {value:.1f} %" for target, value in enumerate(by_target)
                          if not np.isnan(value)))]
    return Outcome(numbers, claims, {"matrix": matrix})


def distortion_table(samples):
    """Mean distortion of the successes by source and target class (10, 10), NaN without one."""
    won = samples.success
    return class_matrix(samples.distortion[won], samples.sources[won], samples.targets[won])


def means(matrix, axis):
    """Means along an axis without the NaN of empty cells; NaN where all are."""
    count = (~np.isnan(matrix)).sum(axis=axis)
    return np.where(count, np.nansum(matrix, axis=axis) / np.maximum(count, 1), np.nan)


def harder(claim, samples, classes, hard, easy, by_class):
    """The `Claim` that τ is lower for one group of classes than for another.

    It agrees or differs where their intervals do not overlap.

    Args:
        claim: what is claimed, in words.
        samples: `Samples`, n of them.
        classes: (n,), the class of each sample that counts, its source or its target.
        hard, easy: the two groups of classes.
        by_class: (10,), τ of each class in percent.
    """
    shown = []
    bounds = []
    for group in (hard, easy):
        if not np.isin(group, classes).all():
            return Claim(claim, "yes", "–", verdict(None), "too few digits: a class is missing")
        chosen = np.isin(classes, group)
        bounds.append(success_interval(samples.success[chosen], samples.index[chosen]))
        shown.append(with_interval(success_rate(samples.success[chosen]), bounds[-1], form=".1f"))
    order = np.argsort(by_class, kind="stable")
    apart = below(*bounds)
    lowest = ", ".join(map(str, order[:3]))
    highest = ", ".join(map(str, order[:-4:-1]))
    return Claim(claim, "yes", f"τ {shown[0]} against {shown[1]}", verdict(apart),
                 f"here lowest: {lowest}; highest: {highest}"
                 + ("" if apart is not None else "; the intervals overlap"))
