"""Fig. 16 (what people see, over the distortion) and Fig. 17 (over θ): numbers, claims and pictures.

In: the answers as columns: participant, part, theta, distortion, digit (is it one?), right (is it the right one?). Out:
an `Outcome` each, and from its arrays a figure with the paper's values drawn in; without answers it holds these only.
"""
import numpy as np

from attack import success_interval, success_rate
from scripts.paper.intervals import with_interval
from scripts.paper.outcome import Claim, Outcome, measured, plain, verdict

PAPER = {"unaltered": (97.4, 95.3), "below": (95.0, 90.0), "above": 71.0, "intensity": (96.0, 95.0), "−1": 90.5,
         "+1": 90.0}
THRESHOLD = 14.29  # percent: 112 of 784 pixels
BIN = 100 / 28     # percent, 28 pixels: the threshold is the edge of the fourth bin
BLUE, ORANGE = "#2a6f97", "#b5651d"  # as in `figures`, which imports matplotlib
SERIES = (("digit", "a digit", BLUE, "o", -1), ("right", "the right digit", ORANGE, "s", 1))


def over_distortion(table):
    """Fig. 16: the unaltered samples and those of the distortion part; table: columns (n,) of all answers."""
    altered, unaltered, distortion = table["part"] == "distortion", table["part"] == "unaltered", table["distortion"]
    number = np.maximum(np.ceil(distortion / BIN - 1e-4), 1)
    bins = np.unique(number[altered])
    base = _seen(table, unaltered)
    below, above = (_seen(table, altered & ((distortion <= THRESHOLD) == low)) for low in (True, False))
    groups = [_seen(table, altered & (number == one)) for one in bins]
    rows = [*_both("unaltered samples", "unaltered", base), *_both("distortion up to 14.29 %", "below", below),
            _row("distortion above 14.29 %, the right digit", PAPER["above"], above, "right")]
    numbers = {"unaltered": base, "up to 14.29 %": below, "above 14.29 %": above,
               "bins": [{"from": float(BIN * (one - 1)), "to": float(BIN * one), **group}
                        for one, group in zip(bins, groups)]}
    means = [distortion[altered & (number == one)].mean() for one in bins]
    return _outcome(numbers, rows, [0.0, *means], [base, *groups], table["participant"][altered | unaltered])


def over_intensity(table):
    """Fig. 17: the unaltered samples and those of the intensity part; table: columns (n,) of all answers."""
    altered, unaltered, theta = table["part"] == "intensity", table["part"] == "unaltered", table["theta"]
    thetas = np.unique(theta[altered])
    base, every = _seen(table, unaltered), _seen(table, altered)
    mild, full = _seen(table, altered & (abs(theta) <= 0.7)), _seen(table, altered & (abs(theta) == 1))
    groups = [_seen(table, altered & (theta == one)) for one in thetas]
    rows = [*_both("all θ", "intensity", every),
            *(_row(f"θ = {one}, the right digit", PAPER[one], _seen(table, altered & (theta == sign)), "right")
              for one, sign in (("−1", -1), ("+1", 1))),
            _alike("−0.7 ≤ θ ≤ +0.7: the right digit as often as unaltered", mild, base, "right"),
            _alike("θ = ±1: a digit as often as at −0.7 ≤ θ ≤ +0.7", full, mild, "digit")]
    numbers = {"unaltered": base, "all": every,
               "thetas": [{"theta": float(one), **group} for one, group in zip(thetas, groups)]}
    return _outcome(numbers, rows, [0.0, *thetas], [base, *groups], table["participant"][altered | unaltered])


def _seen(table, chosen):
    """Of the chosen answers (n,) boolean: how many there are, [share, low, high] of "a digit" and "the right digit"."""
    people = table["participant"][chosen]
    shares = {name: plain(np.array([success_rate(table[name][chosen]), *success_interval(table[name][chosen], people)]))
              for name in ("digit", "right")}
    return {"answers": len(people), "participants": len(np.unique(people)), **shares}


def _outcome(numbers, rows, x, groups, people):
    arrays = {name: np.array([group[name] for group in groups], float) for name in ("answers", "digit", "right")}
    numbers = {"answers": len(people), "participants": len(np.unique(people)), **numbers}
    return Outcome(numbers, rows, {"x": np.array(x), "participants": np.array(numbers["participants"]), **arrays})


def _both(claim, key, group):
    return [_row(f"{claim}, {what}", paper, group, name)
            for what, name, paper in zip(("a digit", "the right digit"), ("digit", "right"), PAPER[key])]


def _row(claim, paper, group, name):
    if not group["answers"]:
        return Claim(claim, f"{paper:.2f} %", "no answers", verdict(None))
    share, *interval = group[name]
    return _counted(measured(claim, paper, share, interval), group)


def _alike(claim, group, other, name):
    """A row for "as often as": the two intervals have values in common."""
    if not (group["answers"] and other["answers"]):
        return Claim(claim, "as often", "no answers", verdict(None))
    (share, *interval), (reference, *around) = group[name], other[name]
    both = interval[0] <= around[1] and around[0] <= interval[1]
    row = Claim(claim, "as often", f"{with_interval(share, interval)} and {with_interval(reference, around)}", verdict(both),
              "the intervals " + ("overlap" if both else "lie apart"))
    return _counted(row, min(group, other, key=lambda one: one["participants"]))


def _counted(row, group):
    """The row with its number of answers, and without a verdict where one person alone gave them."""
    if group["participants"] < 2:
        return row._replace(verdict=verdict(None), why=f"{group['answers']} answers of one person: too few to tell")
    counted = f"{group['answers']} answers of {group['participants']} people"
    return row._replace(why="; ".join(filter(None, (counted, row.why))))


# Pictures

def draw_distortion(arrays):
    """Fig. 16: the shares over the percentage of changed pixels; the threshold of 14.29 % dotted."""
    end = max(25.0, np.max(arrays["x"]) + 2)
    figure, axis = _axes(arrays, "pixels changed (%), θ = +1", (-1.5, end))
    axis.axvline(THRESHOLD, color="0.3", linestyle=":", label=f"{THRESHOLD} % changed", gid="paper")
    for (_, _, colour, marker, _), start, below in zip(SERIES, PAPER["unaltered"], PAPER["below"]):
        _paper(axis, colour, [(0, start)], [(0.3, THRESHOLD, below)], marker)
    _paper(axis, ORANGE, [], [(THRESHOLD, end, PAPER["above"])])
    return _finish(figure, axis, arrays, end / 200)


def draw_intensity(arrays):
    """Fig. 17: the shares over θ; unaltered digits at 0."""
    figure, axis = _axes(arrays, "change of a pixel θ; unaltered digits at 0", (-1.15, 1.15))
    for (_, _, colour, marker, _), every in zip(SERIES, PAPER["intensity"]):
        ends = [(-1, PAPER["−1"]), (1, PAPER["+1"])] if marker == "s" else []
        _paper(axis, colour, ends, [(-1.1, 1.1, every)], marker)
    return _finish(figure, axis, arrays, 0.015)


def _axes(arrays, label, limits):
    from matplotlib.figure import Figure  # starts slowly: only where something is drawn

    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axis = figure.subplots()
    count = int(arrays["answers"].sum())
    title = f"{count} answers of {arrays['participants']} people, with 95 % intervals"
    axis.set(xlabel=label, ylabel="share of the answers (%)", xlim=limits, ylim=(-9, 104), yticks=range(0, 101, 20),
             title=title if count else "no answers: the paper's values only")
    return figure, axis


def _paper(axis, colour, points, lines, marker=None):
    for x, value in points:
        axis.plot(x, value, marker=marker, markersize=9, markerfacecolor="white", markeredgecolor=colour, linestyle="",
                  gid="paper")
    for start, end, value in lines:
        axis.plot([start, end], [value, value], color=colour, linestyle="--", linewidth=1.5, gid="paper")


def _finish(figure, axis, arrays, shift):
    """Draw the answers that there are, and name what is drawn."""
    there = arrays["answers"] > 0
    for name, words, colour, marker, side in SERIES:
        share, low, high = arrays[name][there].T
        if there.any():
            reach = np.maximum((share - low, high - share), 0)
            axis.errorbar(arrays["x"][there] + side * shift, share, reach, color=colour, marker=marker, linestyle="",
                          capsize=3, label=f"{words}, these answers", gid=name)
        axis.plot([], [], marker=marker, markerfacecolor="white", markeredgecolor=colour, color=colour, linestyle="--",
                  label=f"{words}, the paper")
    for x, answers in zip(arrays["x"][there], arrays["answers"][there]):
        axis.annotate(f"n = {answers:.0f}", (x, -6), ha="center", fontsize=8, color="0.3")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


FIGURES = {"fig16": draw_distortion, "fig17": draw_intensity}
