"""Success rate τ and distortion ε with their 95 % intervals, tables by source and target class (Fig. 11-13), hardness
(Eq. 12).

In: what `craft` returned, as arrays over samples. Out: percentages. The nine samples that are crafted from one digit
are not independent, so the intervals treat a digit with its targets as one draw (`groups`). Read on in `models.adapters`.
"""
import numpy as np
from scipy import stats


def success_rate(success):
    """τ in percent: the share of True in `success` (n,); NaN for no samples."""
    return 100 * float(np.mean(success)) if len(success) else float("nan")


def mean_distortion(distortion, success=None):
    """ε in percent: the mean of `distortion` (n,), over the successes only where `success` (n,) is given."""
    chosen = np.asarray(distortion) if success is None else np.asarray(distortion)[np.asarray(success, bool)]
    return float(chosen.mean()) if chosen.size else float("nan")


DISTORTIONS = ("touched", "L0", "L1", "L2", "Linf")


def distortions(images, crafted, channels="separate"):
    """How far each sample was moved: {"touched": features that were chosen, "L0": features whose value changed, both in
    percent; "L1", "L2", "Linf": norms of the change}, each (n,). Images (n, …) as they were, `crafted` from `craft` with
    the same `channels`: where these are tied, touched and L0 count pixels.

    A feature that is touched twice, or was at its bound, is touched but not (or not once more) changed.
    """
    images = np.asarray(images)
    width, size = (images.shape[1] if channels == "tied" else 1), int(np.prod(images.shape[1:]))
    change = np.abs(np.asarray(crafted.adversarial, float) - images).reshape(len(images), size)
    changed = change.reshape(len(images), width, size // width).any(axis=1)
    touched = [len(np.unique(row[row >= 0])) for row in crafted.pairs]
    return {"touched": 100 * np.array(touched, float) / changed.shape[1], "L0": 100 * changed.sum(axis=1) / changed.shape[1],
            "L1": change.sum(axis=1), "L2": np.sqrt((change**2).sum(axis=1)), "Linf": change.max(axis=1, initial=0)}


def success_interval(success, groups):
    """The 95 % interval of τ in percent: Wilson's, with the number of samples divided by the design effect.

    `success` (n,) boolean; `groups` (n,): samples of one group come from one digit. The design effect is how much
    larger the variance of the groups' sums is than that of as many independent samples; where it cannot be estimated
    (all or none succeed) a group counts as one draw.
    """
    success = np.asarray(success, bool)
    if not success.size:
        return float("nan"), float("nan")
    sums, sizes = _by_group(success, groups)
    share = success.mean()
    largest = success.size / len(sums)
    if 0 < share < 1 and len(sums) > 1:
        between = np.sum((sums - share * sizes) ** 2) * len(sums) / (len(sums) - 1)
        effect = float(np.clip(between / (success.size * share * (1 - share)), 1, largest))
    else:
        effect = largest
    draws = success.size / effect
    z2 = stats.norm.ppf(0.975) ** 2
    centre = (share + z2 / (2 * draws)) / (1 + z2 / draws)
    half = np.sqrt(z2 * (share * (1 - share) / draws + z2 / (4 * draws**2))) / (1 + z2 / draws)
    return 100 * max(float(centre - half), 0.0), 100 * min(float(centre + half), 1.0)


def distortion_interval(distortion, groups, success=None, seed=0):
    """The 95 % interval of ε in percent: percentiles of 2,000 bootstrap samples of whole groups.

    `distortion` (n,), `groups` (n,) as in `success_interval`, `success` (n,) to count successes only. NaN where fewer
    than two groups have a sample to count.
    """
    distortion, groups = np.asarray(distortion), np.asarray(groups)
    if success is not None:
        success = np.asarray(success, bool)
        distortion, groups = distortion[success], groups[success]
    sums, sizes = _by_group(distortion, groups)
    if len(sums) < 2:
        return float("nan"), float("nan")
    found = stats.bootstrap((sums, sizes), lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis), paired=True,
                            n_resamples=2000, method="percentile", rng=np.random.default_rng(seed), batch=100)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def class_matrix(values, sources, targets, classes=10):
    """The mean of `values` (n,) for each source and target class: (classes, classes), NaN where there is no sample."""
    cell = np.asarray(sources) * classes + np.asarray(targets)
    count = np.bincount(cell, minlength=classes**2)
    total = np.bincount(cell, weights=np.asarray(values, float), minlength=classes**2)
    with np.errstate(invalid="ignore"):
        return (total / np.where(count, count, np.nan)).reshape(classes, classes)


def hardness(success, distortion):
    """Eq. 12: the area below ε(τ), by trapezoids between neighbouring Υ.

    success, distortion: (K, …), τ and ε of the successes at K growing Υ, as shares; NaN distortion (no success yet)
    counts as 0. Returns H (…).
    """
    distortion = np.nan_to_num(distortion)
    return (np.diff(success, axis=0) * (distortion[1:] + distortion[:-1]) / 2).sum(axis=0)


def _by_group(values, groups):
    _, number = np.unique(groups, return_inverse=True)
    return np.bincount(number, weights=values), np.bincount(number)
