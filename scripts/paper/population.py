"""Experiments on many digits: τ and ε in the three sets (Fig. 11), with θ = −1, over Υ and θ (V-A).

In: a `Setup`. Out: an `Outcome` each. The Υ sweep is one run at the largest Υ, truncated. By source
and target class (Fig. 12 and 13): `classes`.
"""
import numpy as np

from attack import distortion_interval, mean_distortion, success_interval, success_rate
from scripts.paper.experiment import UPSILON, UPSILONS
from scripts.paper.intervals import below, mean_with_interval, with_interval
from scripts.paper.outcome import Claim, Outcome, counted, measured, verdict

THETAS = (0.25, 0.5, 0.7, 1.0, -0.5, -1.0)
FEW = 6  # digits for each θ at the small scale: it is the same samples that are compared
GAIN = 1.0  # percentage points of τ: what counts as a significant gain


def fig11(setup):
    """Fig. 11: τ, mean distortion of all samples and of the successes, in three sets and in all."""
    sets = {name: setup.test_samples() if name == "test" else
            setup.samples(name, setup.sized(10_000)) for name in setup.sets}
    numbers = {name: summary(samples.success, samples.distortion, samples.index, samples.reason)
               for name, samples in sets.items()}
    numbers["all"] = total = _summary_of_all(list(sets.values()))
    claims = [measured(claim, paper, total[key], total[f"{key}_interval"], total["digits"])
              for claim, paper, key in (("success rate τ", 97.10, "tau"),
                                        ("mean distortion of all samples", 4.44, "epsilon_all"),
                                        ("mean distortion ε of the successes", 4.02, "epsilon"))]
    return Outcome({"samples": total["samples"], **numbers}, claims,
                   table=_table_of_sets(numbers))


def _summary_of_all(sets):
    """The `summary` of several `Samples`; digits of different sets are different groups."""
    success, distortion, reason = (
        np.concatenate([getattr(samples, column) for samples in sets])
        for column in ("success", "distortion", "reason"))
    largest = max(len(samples.images) for samples in sets)
    groups = np.concatenate([samples.index + k * largest for k, samples in enumerate(sets)])
    return summary(success, distortion, groups, reason)


def _table_of_sets(numbers):
    heads = ("digits", "samples", "success rate τ", "distortion, all", "distortion ε, successes")
    rows = []
    for name, values in numbers.items():
        shown = (with_interval(values[key], values[f"{key}_interval"])
                 for key in ("tau", "epsilon_all", "epsilon"))
        rows.append((name, f"{values['samples']:,}", *shown))
    return heads, rows


def decreasing(setup):
    """V-A: 9,000 samples crafted by removing ink, θ = −1."""
    samples = setup.samples("test", setup.sized(1000), theta=-1.0)
    numbers = summary(samples.success, samples.distortion, samples.index, samples.reason)
    return Outcome(numbers, [
        measured("success rate τ with θ = −1", 64.7, numbers["tau"], numbers["tau_interval"],
                 numbers["digits"]),
        measured("mean distortion ε with θ = −1", 3.62, numbers["epsilon"],
                 numbers["epsilon_interval"], numbers["digits"])])


def upsilons(setup):
    """V-A: τ and ε over the largest allowed distortion Υ, from one run at the largest."""
    samples = setup.samples("test", setup.sized(1000), max_distortion=max(UPSILONS))
    by_upsilon = {}
    for upsilon in sorted({*UPSILONS, UPSILON}):
        success, distortion = samples.truncated(upsilon)
        by_upsilon[upsilon] = summary(success, distortion, samples.index)
    gained = samples.success & ~samples.truncated(UPSILON)[0]
    gain = success_rate(gained)
    interval = success_interval(gained, samples.index)
    claim = Claim("Υ beyond 14.5 % brings no significant gain", "no gain",
                  f"+{with_interval(gain, interval, ' points of τ')}",
                  verdict(below(interval, (GAIN, GAIN))),
                  f"from Υ = 14.5 % to {max(UPSILONS)} %; significant would be {GAIN:g} point or "
                  "more (our threshold)")
    numbers = {"samples": len(samples),
               "upsilon": {str(upsilon): values for upsilon, values in by_upsilon.items()},
               "gain": gain, "gain_interval": list(interval)}
    return Outcome(numbers, [claim], {"upsilon": np.array(list(by_upsilon)),
                                      "tau": _column(by_upsilon, "tau"),
                                      "epsilon": _column(by_upsilon, "epsilon")})


def thetas(setup):
    """V-A: θ below +1, or negative, changes more features."""
    crafted = {theta: _changed_by(setup, theta) for theta in sorted(THETAS)}
    by_theta = {theta: summary(samples.success, samples.distortion, samples.index)
                for theta, samples in crafted.items()}
    claims = [_changes_more(theta, crafted, by_theta) for theta in THETAS if theta != 1.0]
    numbers = {"samples": len(crafted[1.0]),
               "theta": {str(theta): values for theta, values in by_theta.items()}}
    return Outcome(numbers, claims,
                   {"theta": np.array(list(by_theta)), "tau": _column(by_theta, "tau"),
                    "epsilon": _column(by_theta, "epsilon_all")})


def _changed_by(setup, theta):
    """Test digits crafted with θ; at the small scale the first ones of those that there are."""
    count = setup.sized(1000, setup.few(FEW))
    if setup.full or abs(theta) != 1:
        return setup.samples("test", count, theta=theta)
    every = setup.test_samples() if theta > 0 else setup.samples("test", setup.sized(1000), theta)
    return every.part(digits=count)


def _changes_more(theta, crafted, by_theta):
    """The `Claim` that θ changes more features than θ = +1, on the samples that both turn."""
    samples = crafted[theta]
    whole = crafted[1.0]
    both = samples.success & whole.success
    more, interval = mean_with_interval((samples.distortion - whole.distortion)[both],
                                        samples.index[both])
    claim = Claim(f"θ = {_signed(theta)} changes more features than θ = +1", "more",
                  f"by {with_interval(more, interval, ' points', '+.2f')}",
                  verdict(below((0, 0), interval)),
                  f"on the {both.sum():,} samples that both turn; τ = {by_theta[theta]['tau']:.1f} "
                  f"% against {by_theta[1.0]['tau']:.1f} %")
    return counted(claim, len(np.unique(samples.index[both])))


def _column(summaries, key):
    return np.array([values[key] for values in summaries.values()])


def _signed(number):
    return f"{number:+g}".replace("-", "−")


def summary(success, distortion, groups, reason=None):
    """τ and ε with their intervals.

    Args:
        success, distortion: (n,) columns of the samples, the distortion in percent.
        groups: (n,), the digit each sample comes from.
        reason: (n,), why each sample stopped, to be counted; or None.

    Returns:
        {"samples", "digits", "tau", "epsilon_all" (of all samples), "epsilon" (of the successes)},
        the three with "…_interval", and "reasons" {reason: count}.
    """
    numbers = {"samples": len(success), "digits": len(np.unique(groups)),
               "tau": success_rate(success),
               "tau_interval": success_interval(success, groups),
               "epsilon_all": mean_distortion(distortion),
               "epsilon_all_interval": distortion_interval(distortion, groups),
               "epsilon": mean_distortion(distortion, success),
               "epsilon_interval": distortion_interval(distortion, groups, success)}
    if reason is not None:
        names, counts = np.unique(reason, return_counts=True)
        numbers["reasons"] = dict(zip(names.tolist(), counts.tolist()))
    return numbers
