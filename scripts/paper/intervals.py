"""Values with their 95 % intervals: means, rank correlations, comparisons, and their text.

In: values of samples and the digit each comes from, or two tables by source and target class. Out:
a value and its interval (low, high); NaN where there is too little to tell.
"""
import numpy as np
import scipy

from attack import distortion_interval


def below(a, b):
    """True where interval a lies below interval b, False where above, None where they overlap."""
    if a[1] < b[0]:
        return True
    return False if a[0] > b[1] else None


def with_interval(value, interval, unit=" %", form=".2f"):
    """A number with its interval as text; "–" where it is unknown.

    Args:
        value: the number, or None.
        interval: (low, high); left out where it is NaN.
        unit: what stands behind the number.
        form: the format of all three numbers.
    """
    if value is None or np.isnan(value):
        return "–"
    low, high = interval
    text = f"{value:{form}}{unit}"
    if not np.isnan(low):
        text += f" [{low:{form}}, {high:{form}}]"
    return text.replace("-", "−")


def mean_with_interval(values, groups):
    """The mean of values (n,) and its 95 % interval over whole groups (n,)."""
    mean = float(np.mean(values)) if len(values) else float("nan")
    return mean, distortion_interval(values, groups)


def rank_correlation(a, b):
    """Spearman's ρ of two tables over the cells that both have, and its 95 % interval (Fisher's z).

    NaN where a table is constant or fewer than four cells are left.
    """
    both = ~np.isnan(a) & ~np.isnan(b)
    if both.sum() < 4 or not np.ptp(a[both]) or not np.ptp(b[both]):
        return float("nan"), (float("nan"),) * 2
    rho = float(scipy.stats.spearmanr(a[both], b[both]).statistic)
    half = 1.96 * 1.03 / np.sqrt(both.sum() - 3)
    centre = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    return rho, (float(np.tanh(centre - half)), float(np.tanh(centre + half)))
