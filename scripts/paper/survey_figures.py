"""Fig. 16 (what people see, over the distortion) and Fig. 17 (over θ): numbers, claims, pictures.

In: the answers as columns: participant, part, theta, distortion, digit (is it one?), right (is it
the right one?). Out: an `Outcome` each, and from its arrays a figure with the paper's values drawn
in; without answers it holds these only.
"""
from typing import NamedTuple

import numpy as np

from attack import success_interval, success_rate
from scripts.paper.intervals import with_interval
from scripts.paper.outcome import (
    Claim,
    Outcome,
    counted,
    measured,
    narrow,
    plain,
    too_few,
    verdict,
)

PAPER = {"unaltered": (97.4, 95.3), "below": (95.0, 90.0), "above": 71.0,
         "intensity": (96.0, 95.0), "−1": 90.5, "+1": 90.0}
THRESHOLD = 14.29  # percent: 112 of 784 pixels
NO_ANSWERS = ("no picture: there are no answers yet; `jsma survey make` makes the page that people "
              "answer, and --answers FILE.csv shows what they said")
BIN = 100 / 28  # percent, 28 pixels: the threshold is the edge of the fourth bin
BLUE = "#2a6f97"  # both as in `figures`, which imports matplotlib
ORANGE = "#b5651d"


class Series(NamedTuple):
    """What is drawn of one question; `shift` keeps the two apart where they share a place."""
    name: str
    words: str
    colour: str
    marker: str
    shift: int


SERIES = (Series("digit", "a digit", BLUE, "o", -1),
          Series("right", "the right digit", ORANGE, "s", 1))


def over_distortion(table):
    """Fig. 16, of the unaltered samples and the distortion part; table: columns (n,) of answers."""
    altered = table["part"] == "distortion"
    unaltered = table["part"] == "unaltered"
    distortion = table["distortion"]
    number = np.maximum(np.ceil(distortion / BIN - 1e-4), 1)  # (n,), of the bin
    bins = np.unique(number[altered])
    base = _shares(table, unaltered)
    below = _shares(table, altered & (distortion <= THRESHOLD))
    above = _shares(table, altered & (distortion > THRESHOLD))
    groups = [_shares(table, altered & (number == one)) for one in bins]
    rows = [*_both("unaltered samples", "unaltered", base),
            *_both("distortion up to 14.29 %", "below", below),
            _claim("distortion above 14.29 %, the right digit", PAPER["above"], above, "right")]
    numbers = {"unaltered": base, "up to 14.29 %": below, "above 14.29 %": above,
               "bins": [{"from": float(BIN * (one - 1)), "to": float(BIN * one), **group}
                        for one, group in zip(bins, groups)]}
    means = [distortion[altered & (number == one)].mean() for one in bins]
    people = table["participant"][altered | unaltered]
    return _outcome(numbers, rows, [0.0, *means], [base, *groups], people)


def over_intensity(table):
    """Fig. 17, of the unaltered samples and the intensity part; table: columns (n,) of answers."""
    altered = table["part"] == "intensity"
    unaltered = table["part"] == "unaltered"
    theta = table["theta"]
    thetas = np.unique(theta[altered])
    base = _shares(table, unaltered)
    every = _shares(table, altered)
    mild = _shares(table, altered & (abs(theta) <= 0.7))
    full = _shares(table, altered & (abs(theta) == 1))
    groups = [_shares(table, altered & (theta == one)) for one in thetas]
    ends = [_claim(f"θ = {one}, the right digit", PAPER[one],
                   _shares(table, altered & (theta == sign)), "right")
            for one, sign in (("−1", -1), ("+1", 1))]
    rows = [*_both("all θ", "intensity", every), *ends,
            _alike("−0.7 ≤ θ ≤ +0.7: the right digit as often as unaltered", mild, base, "right"),
            _alike("θ = ±1: a digit as often as at −0.7 ≤ θ ≤ +0.7", full, mild, "digit")]
    numbers = {"unaltered": base, "all": every,
               "thetas": [{"theta": float(one), **group} for one, group in zip(thetas, groups)]}
    people = table["participant"][altered | unaltered]
    return _outcome(numbers, rows, [0.0, *thetas], [base, *groups], people)


def _shares(table, chosen):
    """Of the chosen answers, (n,) boolean: how many, and what share says yes to each question.

    A share is [percent, low, high], for "digit" and for "right".
    """
    people = table["participant"][chosen]
    shares = {}
    for name in ("digit", "right"):
        answers = table[name][chosen]
        shares[name] = plain(np.array([success_rate(answers), *success_interval(answers, people)]))
    return {"answers": len(people), "participants": len(np.unique(people)), **shares}


def _outcome(numbers, rows, x, groups, people):
    """The `Outcome` of a figure.

    Args:
        numbers: of all groups, for `results.json`.
        rows: the `Claim`s.
        x: (g,), where each group is drawn.
        groups: what `_shares` says of each of the g groups.
        people: (n,), who gave the answers.
    """
    participants = len(np.unique(people))
    arrays = {name: np.array([group[name] for group in groups], float)
              for name in ("answers", "digit", "right")}  # (g,), (g, 3), (g, 3)
    return Outcome({"answers": len(people), "participants": participants, **numbers}, rows,
                   {"x": np.array(x), "participants": np.array(participants), **arrays},
                   no_picture="" if len(people) else NO_ANSWERS)


def _both(claim, key, group):
    """The claims on both questions, with the paper's two values PAPER[key]."""
    return [_claim(f"{claim}, {series.words}", paper, group, series.name)
            for series, paper in zip(SERIES, PAPER[key])]


def _claim(claim, paper, group, name):
    """The `Claim` that the group's share is the paper's value, percent."""
    if not group["answers"]:
        return Claim(claim, f"{paper:.2f} %", "no answers", verdict(None))
    share, *interval = group[name]
    return _counted(measured(claim, paper, share, interval, group["participants"], "people"), group)


def _alike(claim, group, reference, name):
    """The `Claim` "as often as": the two intervals have values in common."""
    if not (group["answers"] and reference["answers"]):
        return Claim(claim, "as often", "no answers", verdict(None))
    share, low, high = group[name]
    other_share, other_low, other_high = reference[name]
    overlap = low <= other_high and other_low <= high
    ours = (f"{with_interval(share, (low, high))} and "
            f"{with_interval(other_share, (other_low, other_high))}")
    why = "the intervals " + ("overlap" if overlap else "lie apart")
    row = Claim(claim, "as often", ours, verdict(overlap), why)
    if overlap and not (narrow((low, high)) and narrow((other_low, other_high))):
        row = too_few(row, "the intervals are too wide to tell")
    fewer = min(group, reference, key=lambda one: one["participants"])
    return _counted(counted(row, fewer["participants"], "people"), fewer)


def _counted(claim, group):
    """The claim with its number of answers."""
    number = f"{group['answers']} answers of {group['participants']} people"
    return claim._replace(why="; ".join(filter(None, (claim.why, number))))


# Pictures

def draw_distortion(arrays):
    """Fig. 16: the shares over the percentage of changed pixels; the threshold is dotted."""
    end = max(25.0, np.max(arrays["x"]) + 2)
    figure, axis = _axes(arrays, "pixels changed (%), θ = +1", (-1.5, end))
    axis.axvline(THRESHOLD, color="0.3", linestyle=":", label=f"{THRESHOLD} % changed", gid="paper")
    for series, start, below in zip(SERIES, PAPER["unaltered"], PAPER["below"]):
        _paper_points(axis, series.colour, series.marker, [(0, start)])
        _paper_lines(axis, series.colour, [(0.3, THRESHOLD, below)])
    _paper_lines(axis, ORANGE, [(THRESHOLD, end, PAPER["above"])])
    return _finish(figure, axis, arrays, end / 200)


def draw_intensity(arrays):
    """Fig. 17: the shares over θ; unaltered digits at 0."""
    figure, axis = _axes(arrays, "change of a pixel θ; unaltered digits at 0", (-1.15, 1.15))
    for series, every in zip(SERIES, PAPER["intensity"]):
        if series.name == "right":
            ends = [(-1, PAPER["−1"]), (1, PAPER["+1"])]
            _paper_points(axis, series.colour, series.marker, ends)
        _paper_lines(axis, series.colour, [(-1.1, 1.1, every)])
    return _finish(figure, axis, arrays, 0.015)


def _axes(arrays, label, limits):
    from matplotlib.figure import Figure  # starts slowly: only where something is drawn

    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    axis = figure.subplots()
    count = int(arrays["answers"].sum())
    title = f"{count} answers of {arrays['participants']} people, with 95 % intervals"
    axis.set(xlabel=label, ylabel="share of the answers (%)", xlim=limits, ylim=(-9, 104),
             yticks=range(0, 101, 20))
    axis.set_title(title if count else "no answers: the paper's values only", fontsize=10)
    return figure, axis


def _paper_points(axis, colour, marker, points):
    """The paper's values at single places, points: [(x, percent)]."""
    for x, value in points:
        axis.plot(x, value, marker=marker, markersize=9, markerfacecolor="white",
                  markeredgecolor=colour, linestyle="", gid="paper")


def _paper_lines(axis, colour, lines):
    """The paper's values over a stretch, lines: [(start, end, percent)]."""
    for start, end, value in lines:
        axis.plot([start, end], [value, value], color=colour, linestyle="--", linewidth=1.5,
                  gid="paper")


def _finish(figure, axis, arrays, shift):
    """Draw the answers that there are, and name what is drawn."""
    there = arrays["answers"] > 0
    for series in SERIES:
        share, low, high = arrays[series.name][there].T
        if there.any():
            bars = np.maximum((share - low, high - share), 0)
            axis.errorbar(arrays["x"][there] + series.shift * shift, share, bars,
                          color=series.colour, marker=series.marker, linestyle="", capsize=3,
                          label=f"{series.words}, these answers", gid=series.name)
        axis.plot([], [], marker=series.marker, markerfacecolor="white",
                  markeredgecolor=series.colour, color=series.colour, linestyle="--",
                  label=f"{series.words}, the paper")
    for x, answers in zip(arrays["x"][there], arrays["answers"][there]):
        axis.annotate(f"n = {answers:.0f}", (x, -6), ha="center", fontsize=8, color="0.3")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


FIGURES = {"fig16": draw_distortion, "fig17": draw_intensity}
