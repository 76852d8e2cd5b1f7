"""Experiments on many digits: τ and ε in the three sets (Fig. 11), with θ = −1 (V-A), over Υ and θ (V-A), and by source
and target class (Fig. 12 and 13).

In: a `Setup`. Out: an `Outcome` each. The Υ sweep is one run at the largest Υ, truncated.
"""
import numpy as np

from attack import (
    class_matrix,
    distortion_interval,
    mean_distortion,
    success_interval,
    success_rate,
)
from scripts.paper.experiment import (
    UPSILON,
    Outcome,
    Row,
    below,
    mean_of,
    measured,
    plain,
    rank_correlation,
    spread,
    verdict,
)

SETS = ("train", "validation", "test")
UPSILONS = (0.3, 1.3, 2.6, 5.1, 7.7, 10.2, 12.8, 25.5, 38.3)
THETAS = (0.25, 0.5, 0.7, 1.0, -0.5, -1.0)
GAIN = 1.0  # percentage points of τ: what counts as a significant gain


def fig11(setup):
    """Fig. 11: success rate τ, mean distortion of all and of the successes, in each of the three sets and in all."""
    sets = {name: setup.samples(name, setup.sized(10_000)) for name in SETS}
    numbers = {name: summary(one.success, one.distortion, one.reason, one.index) for name, one in sets.items()}
    offset = max(len(one.images) for one in sets.values())  # digits of different sets are different groups
    joined = [np.concatenate([getattr(one, name) for one in sets.values()])
              for name in ("success", "distortion", "reason")]
    groups = np.concatenate([one.index + k * offset for k, one in enumerate(sets.values())])
    numbers["all"] = row = summary(*joined, groups)
    return Outcome(numbers, [measured(claim, paper, row[key], row[f"{key}_interval"]) for claim, paper, key in (
        ("success rate τ", 97.10, "tau"), ("mean distortion of all samples", 4.44, "epsilon_all"),
        ("mean distortion ε of the successes", 4.02, "epsilon"))], table=_sets(numbers))


def decreasing(setup):
    """V-A: 9,000 samples crafted by removing ink, θ = −1."""
    samples = setup.samples("test", setup.sized(1000), theta=-1.0)
    row = summary(samples.success, samples.distortion, samples.reason, samples.index)
    return Outcome(row, [measured("success rate τ with θ = −1", 64.7, row["tau"], row["tau_interval"]),
                         measured("mean distortion ε with θ = −1", 3.62, row["epsilon"], row["epsilon_interval"])])


def upsilons(setup):
    """V-A: τ and ε over the largest allowed distortion Υ, from one run at the largest."""
    samples = setup.samples("test", setup.sized(1000), max_distortion=max(UPSILONS))
    found = {}
    for upsilon in sorted({*UPSILONS, UPSILON}):
        success, distortion = samples.truncated(upsilon)
        found[upsilon] = summary(success, distortion, None, samples.index)
    within = samples.truncated(UPSILON)[0]
    gained = samples.success & ~within
    gain, (low, high) = success_rate(gained), success_interval(gained, samples.index)
    row = Row("Υ beyond 14.5 % brings no significant gain", "no gain", f"+{spread(gain, (low, high), ' points of τ')}",
              verdict(below((low, high), (GAIN, GAIN))),
              f"from Υ = 14.5 % to {max(UPSILONS)} %; significant would be {GAIN:g} point or more")
    return Outcome({"upsilon": {str(key): value for key, value in found.items()}, "gain": gain,
                    "gain_interval": [low, high]}, [row],
                   {"upsilon": np.array(list(found)), "tau": np.array([value["tau"] for value in found.values()]),
                    "epsilon": np.array([value["epsilon"] for value in found.values()])})


def thetas(setup):
    """V-A: θ below +1, or negative, changes more features."""
    crafted = {theta: setup.samples("test", setup.sized(1000, 2), theta=theta) for theta in THETAS}
    found = {theta: summary(one.success, one.distortion, None, one.index) for theta, one in crafted.items()}
    whole, rows = crafted.pop(1.0), []
    for theta, samples in crafted.items():
        both = samples.success & whole.success
        more, interval = mean_of((samples.distortion - whole.distortion)[both], samples.index[both])
        rows.append(Row(f"θ = {_signed(theta)} changes more features than θ = +1", "more",
                        f"by {spread(more, interval, ' points', '+.2f')}", verdict(below((0, 0), interval)),
                        f"on the {both.sum():,} samples that both turn; τ = {found[theta]['tau']:.1f} % against "
                        f"{found[1.0]['tau']:.1f} %"))
    order = sorted(found)
    return Outcome({"theta": {str(theta): found[theta] for theta in order}}, rows,
                   {"theta": np.array(order), "tau": np.array([found[theta]["tau"] for theta in order]),
                    "epsilon": np.array([found[theta]["epsilon_all"] for theta in order])})


def fig12(setup):
    """Fig. 12: success rate for each source and target class (test digits)."""
    samples = setup.samples("test", setup.sized(10_000))
    matrix = 100 * class_matrix(samples.success, samples.sources, samples.targets)
    return Outcome({"matrix": plain(matrix)}, [
        _harder("sources 0, 2, 8 are harder to leave than 1, 7, 9", samples, samples.sources, (0, 2, 8), (1, 7, 9),
                means(matrix, 1)),
        _harder("targets 1, 7 are harder to reach than 0, 8, 9", samples, samples.targets, (1, 7), (0, 8, 9),
                means(matrix, 0))],
        {"matrix": matrix})


def fig13(setup):
    """Fig. 13: mean distortion of the successes for each source and target class (test digits)."""
    samples = setup.samples("test", setup.sized(10_000))
    matrix = distortion_table(samples)
    success = class_matrix(samples.success, samples.sources, samples.targets)
    column = means(matrix, 0)
    largest = int(np.nanargmax(column)) if samples.success.any() else None
    rho, interval = rank_correlation(matrix, success)
    return Outcome({"matrix": plain(matrix), "rank_correlation": None if np.isnan(rho) else rho,
                    "largest_target": largest}, [
        Row("pairs with low distortion have high success", "negative rank correlation",
            spread(rho, interval, "", "+.2f"), verdict(None if np.isnan(rho) else interval[1] < 0),
            "every pair succeeds equally often in this sample" if np.isnan(rho) else ""),
        Row("the target with the largest mean distortion", "1", f"{largest}",
            verdict(None if largest is None else largest == 1),
            "means by target: " + ", ".join(f"{t}: {value:.1f} %" for t, value in enumerate(column) if value == value))],
        {"matrix": matrix})


def distortion_table(samples):
    """Mean distortion of the successes by source and target class (10, 10), NaN where there is none."""
    won = samples.success
    return class_matrix(samples.distortion[won], samples.sources[won], samples.targets[won])


def means(matrix, axis):
    """Means along an axis without the NaN of empty cells; NaN where all are."""
    count = (~np.isnan(matrix)).sum(axis=axis)
    return np.where(count, np.nansum(matrix, axis=axis) / np.maximum(count, 1), np.nan)


def _sets(numbers):
    return (("digits", "samples", "success rate τ", "distortion, all", "distortion ε, successes"),
            [(name, f"{row['samples']:,}", *(spread(row[key], row[f"{key}_interval"])
                                             for key in ("tau", "epsilon_all", "epsilon")))
             for name, row in numbers.items()])


def summary(success, distortion, reason, groups):
    """τ and ε with their intervals, for samples (n,) in `groups` of one digit; `reason` may be None."""
    found = {"samples": len(success), "tau": success_rate(success), "tau_interval": success_interval(success, groups),
             "epsilon_all": mean_distortion(distortion), "epsilon_all_interval": distortion_interval(distortion, groups),
             "epsilon": mean_distortion(distortion, success),
             "epsilon_interval": distortion_interval(distortion, groups, success)}
    if reason is not None:
        found["reasons"] = dict(zip(*(column.tolist() for column in np.unique(reason, return_counts=True))))
    return found


def _signed(number):
    return f"{number:+g}".replace("-", "−")


def _harder(claim, samples, classes, hard, easy, by_class):
    """τ of two groups of classes, each with its interval; they differ where the intervals do not overlap."""
    shown, bounds = [], []
    for group in (hard, easy):
        chosen = np.isin(classes, group)
        if not all((classes == one).any() for one in group):
            return Row(claim, "yes", "–", verdict(None), "too few digits: a class is missing")
        bounds.append(success_interval(samples.success[chosen], samples.index[chosen]))
        shown.append(spread(success_rate(samples.success[chosen]), bounds[-1], form=".1f"))
    order = np.argsort(by_class, kind="stable")
    apart = below(*bounds)
    return Row(claim, "yes", f"τ {shown[0]} against {shown[1]}", verdict(apart),
               f"here lowest: {', '.join(map(str, order[:3]))}; highest: {', '.join(map(str, order[:-4:-1]))}"
               + ("" if apart is not None else "; the intervals overlap"))
