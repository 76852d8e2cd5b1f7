"""Fig. 1 with other digits: the paper does not say which ten it took, so ten are drawn many times.

In: a `Setup`; its samples are those of the sweep over Υ. Out: an `Outcome`: in which range the
numbers under Fig. 1 lie for 95 % of the draws, and whether the paper's are among them.
"""
import numpy as np

from scripts.paper.experiment import UPSILONS
from scripts.paper.outcome import FEWEST, Claim, Outcome, too_few, verdict

DRAWS = 2000
LEAST = FEWEST  # digits of a class, to draw from
RARE = 0.05  # of the draws: what happens less often is called different
PAPER = {"smallest": 0.26, "largest": 13.78, "mean": 4.06}  # percent


def tens(setup):
    """Fig. 1, for ten digits drawn again and again, one of each class."""
    samples = setup.samples("test", setup.sized(1000), max_distortion=max(UPSILONS))
    drawn = draws(samples, setup.network.classes)
    if drawn is None:
        return Outcome({"samples": 0}, [
            too_few(Claim("Fig. 1 with other digits", "–", "–", verdict(None)),
                    f"{LEAST} digits of each class are needed, read correctly")])
    every, numbers = drawn
    share = float(every.mean())
    claims = [Claim("all 90 succeed, for ten digits drawn at random", "yes",
                    f"in {100 * share:.1f} % of the draws", verdict(share >= RARE),
                    f"within Υ = {max(UPSILONS)} %; agrees from {100 * RARE:g} % on (our "
                    "threshold)")]
    for name, paper in PAPER.items():
        low, middle, high = np.nanquantile(numbers[name], [0.025, 0.5, 0.975])
        inside = None if np.isnan(middle) else low <= paper <= high
        claims.append(Claim(f"{name} distortion of the 90", f"{paper:.2f} %",
                            f"{middle:.2f} % [{low:.2f}, {high:.2f}]", verdict(inside),
                            "95 % of the draws lie in the brackets"))
    return Outcome({"samples": len(samples), "draws": DRAWS, "all_90": share}, claims)


def draws(samples, classes, seed=0):
    """What `DRAWS` sets of ten digits, one of each class, come to.

    Args:
        samples: `Samples`, all other classes of each digit. Digits that are read as a target from
            the start are left out: the paper's were read correctly.
        classes: how many there are.
        seed: of the draws.

    Returns:
        (do all of a set succeed? (DRAWS,), {"smallest", "largest", "mean": (DRAWS,) of the
        successes' distortion in percent}); None where a class has fewer than `LEAST` digits.
    """
    table = samples.index.reshape(-1, classes - 1)  # (digits, targets)
    success = samples.success.reshape(table.shape)
    distortion = np.where(success, samples.distortion.reshape(table.shape), np.nan)
    read = ~(samples.reason == "already_target").reshape(table.shape).any(axis=1)
    source = samples.sources.reshape(table.shape)[:, 0]
    rng = np.random.default_rng(seed)
    of_class = [np.flatnonzero(read & (source == digit)) for digit in range(classes)]
    if min(map(len, of_class)) < LEAST:
        return None
    chosen = np.stack([rng.choice(digits, DRAWS) for digits in of_class], axis=1)  # (DRAWS, ten)
    of_set = distortion[chosen].reshape(DRAWS, -1)
    some = ~np.isnan(of_set).all(axis=1)
    numbers = {name: np.full(DRAWS, np.nan) for name in PAPER}
    for name, measure in zip(PAPER, (np.nanmin, np.nanmax, np.nanmean)):
        numbers[name][some] = measure(of_set[some], axis=1)
    return success[chosen].all(axis=(1, 2)), numbers
