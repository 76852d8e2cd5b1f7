"""The list of experiments: one for each figure, table and claim of the paper's evaluation.

In: a name. Out: the function that takes a `Setup` and gives an `Outcome` (see `experiment`), its
title, and what its picture shows.
"""
from collections.abc import Callable
from typing import NamedTuple

from scripts.paper import classes, defences, hardness, population, single, threat, toy
from scripts.paper.human_study import human_study
from scripts.paper.readings import and_readings, table, tens


class Experiment(NamedTuple):
    """`run(setup)` gives the `Outcome`; `title` heads it; `text` says what the picture shows.

    `seconds(setup)`: what it takes on one core, about, for the time that is left; `stages`: how
    many pieces of work it asks for, one after the other; `alone`: it measures time, so nothing else
    may run; `large`: it runs where it is named, and at the paper's sizes.
    """
    run: Callable
    title: str
    text: str = ""
    seconds: Callable = lambda setup: 0.3
    stages: int = 1
    alone: bool = False
    large: bool = False


def _a_digit(seconds, paper, small=None):
    """`Experiment.seconds` for so many a digit, where the paper has `paper` digits."""
    return lambda setup: seconds * setup.sized(paper, small)


def _always(seconds):
    """`Experiment.seconds` for the same at each size."""
    return lambda setup: seconds


EXPERIMENTS = {
    "fig1": Experiment(
        single.fig01, "Fig. 1: every digit turned into every other",
        "Rows: ten test digits (framed black). Columns: the class that each is to be read as. "
        "Orange: added ink; white: ink of the digit. A sample that is not read as its target is "
        "framed pink and says what it is read as.", _always(14)),
    "ten": Experiment(
        tens.tens, "Fig. 1 again: ten digits, drawn many times"),
    "fig3": Experiment(
        toy.fig03, "Fig. 3 to 5: the AND network",
        "Above: the output F over the two inputs. Below: its forward derivative ∂F/∂x2. The pink "
        "bar at x1 = 1 runs from F = 0.11 to F = 0.95.", _always(1)),
    "and": Experiment(
        and_readings.and_readings, "Fig. 3 to 5 again: which reading gives the AND network's edge?",
        seconds=lambda setup: 25 + 2.6 * setup.sized(and_readings.SEEDS, and_readings.FEW),
        large=True),
    "fig7": Experiment(
        single.fig07, "Fig. 7: a saliency map",
        "A test 0 and its saliency map (Eq. 8) for the target 1: colour and height are the score "
        "of each pixel."),
    "fig9": Experiment(
        single.fig09, "Fig. 9: digits crafted from an empty image",
        "Ten images crafted from an empty one, by target class; all their ink is added (orange)."),
    "fig10": Experiment(
        single.fig10, "Fig. 10: every digit turned into every other by removing ink",
        "As Fig. 1, but pixels are switched off (θ = −1): blue is the ink that is removed, pink "
        "frames a sample that is not read as its target.", _always(3)),
    "fig11": Experiment(
        population.fig11, "Fig. 11: success rate and distortion on the three sets",
        seconds=_a_digit(0.23, 10_000), stages=2),
    "decreasing": Experiment(
        population.decreasing, "V-A: crafting by removing ink, θ = −1",
        seconds=_a_digit(0.21, 1000)),
    "upsilon": Experiment(
        population.upsilons, "V-A: the largest allowed distortion Υ",
        "Success rate (left axis) and mean distortion of the successes (right axis) over Υ; the "
        "dotted line is Υ = 14.5 %.", _a_digit(0.16, 1000)),
    "theta": Experiment(
        population.thetas, "V-A: the change of a pixel θ",
        "Success rate (left axis) and mean distortion of all samples (right axis) over θ.",
        _a_digit(0.7, 1000, population.FEW), stages=4),
    "fig12": Experiment(
        classes.fig12, "Fig. 12: success rate by source and target class",
        "Share of samples that reach their target, in percent, by source class (rows) and target "
        "class (columns)."),
    "fig13": Experiment(
        classes.fig13, "Fig. 13: distortion by source and target class",
        "Mean share of pixels changed in successful samples, in percent, by source and target "
        "class."),
    "path": Experiment(
        single.path, "V-B1: class probabilities along the way",
        "A test 2 turned into a 4: the probability of each class after each iteration. Each class "
        "that is read at some iteration is named; the others are grey.",
        _always(1.5)),
    "fig14": Experiment(
        hardness.fig14, "Fig. 14: hardness by source and target class",
        "Hardness H(s, t) (Eq. 12, in percent) by source and target class, from nine values of Υ."),
    "fig15": Experiment(
        hardness.fig15, "Fig. 15 and Eq. 14: adversarial distance",
        "Mean adversarial distance by source and target class: 1 less the share of pairs of pixels "
        "that Eq. 10 accepts.", _a_digit(0.02, 1000)),
    "fig16": Experiment(
        lambda setup: human_study(setup.answers)["fig16"],
        "Fig. 16: what people see, over the distortion",
        "Shares of answers (filled, with 95 % intervals) over the share of pixels changed; the "
        "paper's values as open marks and dashed lines."),
    "fig17": Experiment(
        lambda setup: human_study(setup.answers)["fig17"],
        "Fig. 17: what people see, over θ", "As Fig. 16, over the change θ of a pixel."),
    "fig2": Experiment(
        threat.threat_model, "Fig. 2: goals and capabilities",
        seconds=_a_digit(1.4, 100, threat.FEW), stages=3),
    "detection": Experiment(
        defences.detection, "VI: detection by neighbouring pixels",
        "ROC curve of the sum of squared differences of neighbouring pixels: share of adversarial "
        "samples found over share of benign digits taken for adversarial."),
    "training": Experiment(
        defences.adversarial_training, "VI: training with adversarial samples",
        seconds=_a_digit(0.5, 1000, defences.FEW), stages=5),
    "beyond": Experiment(
        threat.beyond, "VI: an output vector as target",
        "An autoencoder. Rows: five digits, what it makes of them, the altered digits, what it "
        "makes of these, and what it was to make. Orange: added ink.", _always(2), stages=2),
    "identical": Experiment(
        single.identical, "Forward and backward derivative",
        seconds=_a_digit(0.14, 500, single.AGAIN)),
    "readings": Experiment(
        table.readings, "Which reading of the paper gives its numbers?",
        "Rows: readings (network, outputs whose derivative is taken, rule of Γ) and how many "
        "claims each agrees with; columns: claims, with the paper's value.",
        _a_digit(table.SECONDS * len(table.every_reading()), 1000), large=True),
    "time": Experiment(
        single.seconds, "V: crafting time", seconds=_always(3), alone=True),
}
