"""Success rate and distortion by source and target class: Fig. 12 and 13, and what is read there.

In: a `Setup`; its samples are those of Fig. 11, test digits. Out: an `Outcome` each, with a table
(10, 10).
"""
import numpy as np

from attack import class_matrix, success_interval, success_rate
from scripts.paper.intervals import below, rank_correlation, with_interval
from scripts.paper.outcome import CELL, Claim, Outcome, counted, plain, too_few, verdict

DRAWS = 1000  # of all digits, for the class with the largest mean
SURE = 0.95   # of the draws


def fig12(setup):
    """Fig. 12: success rate for each source and target class (test digits)."""
    samples = setup.test_samples()
    matrix = 100 * class_matrix(samples.success, samples.sources, samples.targets)
    claims = [
        harder("sources 0, 2, 8 are harder to leave than 1, 7, 9", samples, samples.sources,
               (0, 2, 8), (1, 7, 9), means(matrix, 1)),
        harder("targets 1, 7 are harder to reach than 0, 8, 9", samples, samples.targets, (1, 7),
               (0, 8, 9), means(matrix, 0))]
    return Outcome({"matrix": plain(matrix), "samples": len(samples)}, claims, {"matrix": matrix},
                   no_picture=no_table(samples.sources, samples.targets))


def fig13(setup):
    """Fig. 13: mean distortion of the successes for each source and target class (test digits)."""
    samples = setup.test_samples()
    matrix = distortion_table(samples)
    success = class_matrix(samples.success, samples.sources, samples.targets)
    rho, interval = rank_correlation(matrix, success)
    unknown = np.isnan(rho)
    fewest = smallest_cell(samples.sources, samples.targets)
    relation = Claim("pairs with low distortion have high success", "negative rank correlation",
                     with_interval(rho, interval, "", "+.2f"),
                     verdict(None if unknown else below(interval, (0, 0))),
                     "every pair succeeds equally often in this sample" if unknown else "")
    if fewest < CELL:
        relation = too_few(relation, f"{fewest} for some pair of classes, {CELL} are needed")
    largest = largest_target("the target with the largest mean distortion",
                             np.where(samples.success, samples.distortion, np.nan), samples.index,
                             samples.targets, "{:.1f} %")
    numbers = {"matrix": plain(matrix), "samples": len(samples),
               "rank_correlation": None if unknown else rho,
               "largest_target": None if largest.ours == "–" else int(largest.ours)}
    return Outcome(numbers, [relation, largest], {"matrix": matrix},
                   no_picture=no_table(samples.sources, samples.targets))


def smallest_cell(sources, targets, classes=10):
    """How many samples each pair of different classes has at least."""
    cells = np.bincount(sources * classes + targets, minlength=classes**2)
    return int(cells.reshape(classes, classes)[~np.eye(classes, dtype=bool)].min())


def no_table(sources, targets):
    """Why a table of these samples by source and target class is not drawn; "" where it is."""
    fewest = smallest_cell(sources, targets)
    if fewest >= CELL:
        return ""
    return (f"no picture: some pair of classes has {fewest} of the {CELL} samples that are needed "
            "(--digits 50, say)")


def largest_target(claim, values, index, targets, form):
    """The `Claim` that target 1 has the largest mean, as the paper's figure shows it.

    The digits are drawn again and again with replacement: it agrees where target 1 is the largest
    in `SURE` of the draws, and differs where another one is.

    Args:
        claim: what is claimed, in words.
        values, index, targets: (n,), the value of each sample (NaN does not count), its digit and
            its target.
        form: the format of a mean.
    """
    digits, place = np.unique(index, return_inverse=True)
    table = np.full((len(digits), 10), np.nan)
    table[place, targets] = values
    count = ~np.isnan(table)
    if not count.any(axis=0).all():
        return too_few(Claim(claim, "1", "–", verdict(None)), "a class is missing")
    total = np.where(count, table, 0.0)
    mean = total.sum(axis=0) / count.sum(axis=0)  # (10,)
    drawn = np.random.default_rng(0).multinomial(len(digits), [1 / len(digits)] * len(digits),
                                                 DRAWS)  # (DRAWS, digits), how often
    with np.errstate(invalid="ignore"):
        means_of = np.nan_to_num(drawn @ total / (drawn @ count))  # (DRAWS, 10)
    largest = means_of.argmax(axis=1)
    first = int(mean.argmax())
    share = float(np.mean(largest == first))
    holds = first == 1 if share >= SURE else None
    row = Claim(claim, "1", f"{first}", verdict(holds), "means by target: " + ", ".join(
        f"{target}: {form.format(value)}" for target, value in enumerate(mean)))
    if holds is None:
        return too_few(row, f"it is {first} in {100 * share:.0f} % of the draws of the digits")
    return counted(row, len(digits))


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
        if min(len(np.unique(samples.index[classes == one])) for one in group) < CELL:
            return too_few(Claim(claim, "yes", "–", verdict(None)),
                           f"{CELL} digits of each class are needed")
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
