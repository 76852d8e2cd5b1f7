"""Success rate τ and distortion ε with their 95 % intervals, tables by source and target class
(Fig. 11-13), hardness (Eq. 12), adversarial distance (Eq. 13) and robustness (Eq. 14).

In: what `craft` returned, as arrays over samples; for Eq. 13 a model and images. Out: percentages
and tables. The nine samples that are crafted from one digit are not independent, so the intervals
treat a digit with its targets as one draw (`groups`). Read on in `models.answers`.
"""
import numpy as np
import scipy

from attack.model import activation_of, look, output_weights
from attack.pairs import pair_share

DISTORTIONS = ("touched", "L0", "L1", "L2", "Linf")


def success_rate(success):
    """τ in percent: the share of True in `success` (n,); NaN for no samples."""
    return 100 * float(np.mean(success)) if len(success) else float("nan")


def mean_distortion(distortion, success=None):
    """ε in percent: the mean of `distortion` (n,), over the successes only if `success` (n,) is
    given."""
    chosen = np.asarray(distortion)
    if success is not None:
        chosen = chosen[np.asarray(success, bool)]
    return float(chosen.mean()) if chosen.size else float("nan")


def distortions(images, crafted, channels="separate"):
    """How far each sample was moved, by five measures, each (n,).

    A feature that is touched twice, or was at its bound, is touched but not (or not once more)
    changed. images: (n, …) as they were; crafted: from `craft` with the same `channels`: where
    these are tied, touched and L0 count pixels.

    Returns {"touched": features that were chosen, "L0": features whose value changed, both in
    percent; "L1", "L2", "Linf": norms of the change}.
    """
    images = np.asarray(images)
    width = images.shape[1] if channels == "tied" else 1
    size = int(np.prod(images.shape[1:]))
    change = np.abs(np.asarray(crafted.adversarial, float) - images).reshape(len(images), size)
    changed = change.reshape(len(images), width, size // width).any(axis=1)  # (n, M)
    features = changed.shape[1]
    touched = [len(np.unique(row[row >= 0])) for row in crafted.pairs]
    return {"touched": 100 * np.array(touched, float) / features,
            "L0": 100 * changed.sum(axis=1) / features,
            "L1": change.sum(axis=1),
            "L2": np.sqrt((change**2).sum(axis=1)),
            "Linf": change.max(axis=1, initial=0)}


def success_interval(success, groups):
    """The 95 % interval of τ in percent: Wilson's, with the number of samples divided by the design
    effect.

    `success` (n,) boolean; `groups` (n,): samples of one group come from one digit. The design
    effect is how much larger the variance of the groups' sums is than that of as many independent
    samples; where it cannot be estimated (all or none succeed) a group counts as one draw.
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
    z2 = scipy.stats.norm.ppf(0.975) ** 2
    centre = (share + z2 / (2 * draws)) / (1 + z2 / draws)
    half = np.sqrt(z2 * (share * (1 - share) / draws + z2 / (4 * draws**2))) / (1 + z2 / draws)
    return 100 * max(float(centre - half), 0.0), 100 * min(float(centre + half), 1.0)


def distortion_interval(distortion, groups, success=None, seed=0):
    """The 95 % interval of ε in percent: percentiles of 2,000 bootstrap samples of whole groups.

    Args:
        distortion: (n,) in percent.
        groups: (n,), as in `success_interval`.
        success: (n,) booleans, to count successes only.
        seed: of the bootstrap.

    Returns:
        (low, high); NaN where fewer than two groups have a sample to count.
    """
    distortion, groups = np.asarray(distortion), np.asarray(groups)
    if success is not None:
        success = np.asarray(success, bool)
        distortion, groups = distortion[success], groups[success]
    sums, sizes = _by_group(distortion, groups)
    if len(sums) < 2:
        return float("nan"), float("nan")
    bootstrap = scipy.stats.bootstrap(
        (sums, sizes), lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis), paired=True,
        n_resamples=2000, method="percentile", rng=np.random.default_rng(seed), batch=100)
    interval = bootstrap.confidence_interval
    return float(interval.low), float(interval.high)


def class_matrix(values, sources, targets, classes=10):
    """The mean of `values` (n,) for each source and target class.

    Args:
        values: (n,).
        sources, targets: (n,) classes.
        classes: N.

    Returns:
        (N, N), NaN where there is no sample.
    """
    cell = np.asarray(sources) * classes + np.asarray(targets)
    count = np.bincount(cell, minlength=classes**2)
    total = np.bincount(cell, weights=np.asarray(values, float), minlength=classes**2)
    with np.errstate(invalid="ignore"):
        return (total / np.where(count, count, np.nan)).reshape(classes, classes)


def hardness(success, distortion):
    """Eq. 12: the area below ε(τ), by trapezoids between neighbouring Υ.

    success, distortion: (K, …), τ and ε of the successes at K growing Υ, as shares; NaN distortion
    (no success yet) counts as 0. Returns H (…).
    """
    distortion = np.nan_to_num(distortion)
    return (np.diff(success, axis=0) * (distortion[1:] + distortion[:-1]) / 2).sum(axis=0)


def adversarial_distance(model, images, *, theta=1.0, derivative="forward", of="logits",
                         batch_size=16, progress=None):
    """Eq. 13 by pairs, as the paper's experiments sum it: A(X, t) of every image and class t.

    A(X, t) is 1 less the share of pairs of features whose Eq. 10 score is positive: the larger, the
    harder it is to drive X to t.

    Args:
        model: anything with the methods of `attack.Model`.
        images: (n, …) in [0, 1].
        theta: its sign counts: θ > 0 increases features, θ < 0 decreases them.
        derivative, of: as in `craft`.
        batch_size: images in work at once.
        progress: called with (images done, n).

    Returns:
        (n, N) in [0, 1]; NaN for a model of fewer than two features.
    """
    count = len(images)
    activation = "softmax"
    if of == "probabilities" and count:
        activation = activation_of(model, np.shape(model.logits(images[:1]))[1])
    distances = [np.zeros((0, 0))]
    for start in range(0, count, batch_size):
        batch = images[start:start + batch_size]
        logits, sums = look(model, batch, derivative)
        classes = logits.shape[1]
        weights = np.stack([output_weights(logits.astype(float), np.full(len(batch), t), of,
                                           activation=activation) for t in range(classes)], axis=2)
        # it is signs that count: those of a small probability must not round to 0
        _, exponent = np.frexp(np.abs(weights).max(axis=(1, 3), keepdims=True))
        weights = np.ldexp(weights, -exponent).astype(logits.dtype)
        alpha_beta = sums(weights.reshape(len(batch), 2 * classes, classes),
                          np.ones(len(batch), bool))           # (B, 2N, M)
        features = alpha_beta.shape[2]
        alpha, beta = np.split(alpha_beta, 2, axis=1)          # (B, N, M)
        share = pair_share(alpha.reshape(-1, features), beta.reshape(-1, features), theta)
        distances.append(1 - share.reshape(len(batch), -1))
        if progress is not None:
            progress(start + len(batch), count)
    return np.concatenate(distances[1:] or distances)


def robustness(distance):
    """Eq. 14, R(F): the smallest A(X, t) of `distance` (any shape), NaN left out."""
    distance = np.asarray(distance, float)
    distance = distance[~np.isnan(distance)]
    return float(distance.min()) if distance.size else float("nan")


def _by_group(values, groups):
    _, number = np.unique(groups, return_inverse=True)
    return np.bincount(number, weights=values), np.bincount(number)
