"""The picture of the readings: readings × claims, blue where they agree with the paper.

In: the arrays of `readings.readings`. Out: a `matplotlib.figure.Figure`. The colours are told apart
by the colour-blind, and each cell holds its value.
"""
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

AGREES, DIFFERS, UNKNOWN = "#2a6f97", "#f2c9a1", "#e6e6e6"
WIDE = 44  # letters of a claim's name


def heat_map(arrays):
    """Rows: readings, the one that agrees with most first; columns: claims, with the paper's
    value."""
    verdict = arrays["verdict"].T
    rows, columns = verdict.shape
    figure = Figure(figsize=(3.4 + 0.4 * columns, 3.2 + 0.22 * rows), layout="constrained")
    axis = figure.subplots()
    axis.imshow(verdict, cmap=ListedColormap([DIFFERS, UNKNOWN, AGREES]), vmin=-1, vmax=1,
                aspect="auto")
    for (row, column), text in np.ndenumerate(arrays["shown"].T):
        axis.text(column, row, _value(text), ha="center", va="center", fontsize=6.5,
                  color="white" if verdict[row, column] == 1 else "black")
    counts = (verdict == 1).sum(axis=1)
    axis.set_yticks(range(rows), [f"{reading}: {count}" for reading, count
                                  in zip(arrays["readings"], counts)], fontsize=8)
    axis.set_xticks(range(columns), [_name(claim) for claim in arrays["claims"]],
                    rotation=55, ha="left", rotation_mode="anchor", fontsize=8)
    axis.xaxis.tick_top()
    axis.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=1.5)
    axis.tick_params(which="both", length=0)
    axis.spines[:].set_visible(False)
    figure.legend(handles=[Patch(color=AGREES, label="agrees with the paper"),
                           Patch(color=DIFFERS, label="differs"),
                           Patch(color=UNKNOWN, label="not judged")],
                  loc="outside lower left", ncols=3, frameon=False, fontsize=8)
    return figure


def _name(claim):
    return claim if len(claim) <= WIDE else claim[:WIDE - 1] + "…"


def _value(text):
    """The first number of a value, or its first words."""
    return text.removeprefix("by ").removeprefix("in ").removeprefix("τ ").split(" ")[0]
