"""The pictures: numbers in, a `matplotlib.figure.Figure` out; no window is opened.

In: the arrays of an experiment's `Outcome`, or of `jsma craft`. Out: figures, and PNG files of
them.
"""
import io

import numpy as np
from matplotlib.figure import Figure

from data.files import replacing
from scripts.paper import survey_figures
from scripts.paper.digit_grids import (
    DPI,
    FAILURE,
    ORIGINAL,
    SUCCESS,
    coloured,
    digit_grid,
    legend_of,
)
from scripts.paper.readings.heat_map import heat_map

BLUE, ORANGE = "#2a6f97", "#b5651d"  # lines
OTHERS = ("#117733", "#882255", "#999933", "#6a3d9a")  # further lines that are named
WAY = "#e7298a"  # on a heat map
ACROSS = 10  # digits in a row of `craft_grid`


def every_pair(arrays):
    """Fig. 1 and 10: row = source class, column = target class, originals on the diagonal."""
    images = arrays["images"]  # (10, 10, 28, 28)
    before = images[np.arange(10), np.arange(10)][:, None]
    predicted = arrays["predicted"]  # (10, 10)
    frames = np.where(predicted == np.arange(10), SUCCESS, FAILURE).astype(object)
    np.fill_diagonal(frames, ORIGINAL)
    legend = legend_of(before, images, frames, [(ORIGINAL, "the original"),
                                                (FAILURE, "not read as its target")])
    read = [[f"read as {label}" if frame == FAILURE else "" for label, frame in zip(*both)]
            for both in zip(predicted, frames)]
    return digit_grid(coloured(before, images), frames=frames, inside=read, rows=range(10),
                      columns=[f"→ {t}" for t in range(10)], legend=legend)


def from_empty(arrays):
    """Fig. 9: what was crafted from an empty image, for each class."""
    images = arrays["images"].reshape(2, 5, 28, 28)
    titles = np.array([f"class {t}" for t in range(10)]).reshape(2, 5)
    return digit_grid(coloured(0.0, images), titles=titles, legend=legend_of(0.0, images)[1:])


def success_matrix(arrays):
    """Fig. 12: success rate in percent; darker is more, as in the paper."""
    return class_table(arrays["matrix"], "success rate τ (%)", "{:.0f}")


def distortion_matrix(arrays):
    """Fig. 13: mean distortion of the successes in percent; darker is more."""
    return class_table(arrays["matrix"], "mean distortion ε of the successes (%)", "{:.1f}")


def hardness_matrix(arrays):
    """Fig. 14: hardness (Eq. 12) in percent."""
    return class_table(arrays["matrix"], "hardness H(s, t) (%)", "{:.1f}")


def distance_matrix(arrays):
    """Fig. 15: mean adversarial distance (Eq. 13, by pairs)."""
    return class_table(arrays["matrix"], "mean adversarial distance", "{:.2f}")


def toy_surfaces(arrays):
    """Fig. 4 and 5: F(x1, x2) and ∂F/∂x2 of the AND network, and the way from F = 0.11 to 0.95."""
    figure = Figure(figsize=(4.7, 7.2), layout="compressed")
    low, high = float(arrays["low"]), float(arrays["high"])
    for axis, name, label, colours in zip(
            figure.subplots(2), ("surface", "slope"),
            ("output F(x1, x2)", "forward derivative ∂F/∂x2"), ("viridis", "magma")):
        picture = axis.imshow(arrays[name].T, origin="lower", extent=(0, 1, 0, 1), cmap=colours)
        figure.colorbar(picture, ax=axis, label=label)
        if np.isfinite([low, high]).all():
            axis.plot([1, 1], [low, high], color=WAY, linewidth=6, clip_on=False,
                      solid_capstyle="butt", gid="way", zorder=9)
            axis.annotate(f"F from 0.11 to 0.95:\nx2 from {low:.3f} to {high:.3f}",
                          (1, (low + high) / 2), (0.52, 0.2), color="white", ha="center",
                          arrowprops={"arrowstyle": "->", "color": "white"})
        axis.set(xlabel="x1", ylabel="x2")
    return figure


def saliency_surface(arrays):
    """Fig. 7: a digit and the saliency of its 784 pixels, as a heat map and as heights."""
    figure = Figure(figsize=(5.4, 5.6), layout="constrained")
    above, below = figure.subfigures(2, height_ratios=(1, 1))
    digit, scores = above.subplots(1, 2)
    digit.imshow(arrays["image"], cmap="gray", vmin=0, vmax=1)
    picture = scores.imshow(arrays["score"], cmap="viridis")
    for axis, title in ((digit, "the digit"), (scores, "saliency of each pixel")):
        axis.set(xticks=[0, 9, 18, 27], yticks=[0, 9, 18, 27])
        axis.set_title(title, fontsize=10)
    above.colorbar(picture, ax=scores, shrink=0.8)
    heights = below.add_subplot(projection="3d")
    row, column = np.mgrid[:28, :28]
    heights.plot_surface(column, row, arrays["score"], cmap="viridis", rcount=28, ccount=28,
                         linewidth=0)
    heights.set(xlabel="column", ylabel="row", ylim=(27, 0))
    heights.set_title("the same as heights", fontsize=10)
    heights.set_box_aspect(None, zoom=0.95)
    return figure


def over_upsilon(arrays):
    """V-A: τ and ε over Υ."""
    figure, axis = _two_axes(arrays["upsilon"], arrays["tau"], arrays["epsilon"], "Υ (%)",
                             "mean distortion ε of the successes (%)")
    axis.axvline(14.5, color="0.4", linestyle=":")
    return figure


def over_theta(arrays):
    """V-A: τ and ε over θ; θ = 0 changes nothing, so no line runs through it."""
    figure, axis = _two_axes(arrays["theta"], arrays["tau"], arrays["epsilon"], "θ",
                             "mean distortion of all samples (%)")
    axis.axvline(0, color="0.7", linewidth=0.8, gid="zero")
    return figure


def probability_path(arrays):
    """V-B1: the class probabilities after each iteration; each class that is read is named."""
    figure = Figure(figsize=(5.4, 3.9), layout="constrained")
    axis = figure.subplots()
    probabilities = arrays["probabilities"]  # (iterations + 1, 10)
    named = {int(arrays["source"]): ("source", BLUE, "-"),
             int(arrays["target"]): ("target", ORANGE, "--")}
    between = [label for label in np.unique(probabilities.argmax(axis=1)) if label not in named]
    named |= {int(label): ("read on the way", colour, "-.")
              for label, colour in zip(between, OTHERS)}
    for label, probability in enumerate(probabilities.T):
        role, colour, line = named.get(label, ("", "0.75", "-"))
        axis.plot(probability, color=colour, linestyle=line, linewidth=2.2 if role else 1,
                  zorder=3 if role else 2, label=f"class {label}: {role}" if role else None)
        if role:
            top = int(probability.argmax())
            axis.annotate(label, (top, probability[top]), (0, 3), color=colour, ha="center",
                          textcoords="offset points", weight="bold")
    axis.set(xlabel="iteration (two pixels each)", ylabel="probability", ylim=(-0.02, 1.1))
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def _two_axes(x, tau, epsilon, label, right):
    """τ on the left axis and ε on the right one over x: the figure and its left axis."""
    figure = Figure(figsize=(5.4, 3.9), layout="constrained")
    axis = figure.subplots()
    other = axis.twinx()
    for part in (x < 0, x > 0):
        if part.any():
            axis.plot(x[part], tau[part], "o-", color=BLUE)
            other.plot(x[part], epsilon[part], "s--", color=ORANGE)
    axis.set(xlabel=label, ylim=(0, 102))
    axis.set_ylabel("success rate τ (%), circles", color=BLUE)
    other.set_ylabel(f"{right}, squares", color=ORANGE)
    other.set_ylim(0, 1.05 * np.nanmax(epsilon, initial=0.1))
    return figure, axis


def class_table(matrix, label, form):
    """A source × target table (10, 10) with its values written in; NaN stays empty."""
    figure = Figure(figsize=(5.4, 4.7), layout="constrained")
    axis = figure.subplots()
    picture = axis.imshow(matrix, cmap="Blues")
    axis.set_facecolor("0.85")  # no sample, or the class itself
    middle = (np.nanmin(matrix) + np.nanmax(matrix)) / 2
    for (s, t), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            axis.text(t, s, form.format(value), ha="center", va="center", fontsize=8,
                      color="white" if value > middle else "black")
    axis.set(xlabel="target class", ylabel="source class", xticks=range(10), yticks=range(10))
    figure.colorbar(picture, label=label)
    return figure


def craft_grid(images, adversarial, index, labels, targets, predicted, success, most):
    """The digits, each once, and behind it what became of it.

    Args:
        images, adversarial: (n, 28, 28), before and after.
        index, labels: (n,), number of the digit in its split, and its class.
        targets, predicted, success: (n,), what it was to be read as, what it is read as, and
            whether that is the goal.
        most: how many samples are shown.
    """
    cells = []  # (colours, frame, title) of each
    for k in range(min(len(images), most)):
        if k == 0 or index[k] != index[k - 1]:
            cells.append((coloured(images[k], images[k]), ORIGINAL, f"#{index[k]}, a {labels[k]}"))
        frame, title = SUCCESS, f"→ {targets[k]}"
        if not success[k]:
            frame, title = ((SUCCESS, f"{targets[k]} already") if predicted[k] == targets[k] else
                            (FAILURE, f"{predicted[k]}, not {targets[k]}"))
        cells.append((coloured(images[k], adversarial[k]), frame, title))
    across = min(len(cells), ACROSS)
    empty = (np.ones((*images.shape[1:], 3)), "", "")
    cells += [empty] * (-len(cells) % across)
    colours, frames, titles = zip(*cells)
    shape = (-1, across)
    legend = legend_of(images[:most], adversarial[:most], frames, [
        (ORIGINAL, "the original"), (FAILURE, "not read as its target")])
    return digit_grid(np.reshape(colours, (*shape, *images.shape[1:], 3)),
                      frames=np.reshape(frames, shape), titles=np.reshape(titles, shape),
                      legend=legend)


def png(figure):
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    # matplotlib projects a surface's unused corners, whatever they hold
    with np.errstate(all="ignore"):
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure, path):
    """Write the figure to `path`, whole or not at all."""
    with replacing(path) as file:
        file.write(png(figure))


def roc_curve(arrays):
    """VI: the ROC curve of the detector."""
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axis = figure.subplots()
    axis.plot(arrays["false"], arrays["caught"], color=BLUE)
    axis.plot([0, 1], [0, 1], color="0.6", linestyle=":")
    axis.set(xlabel="benign digits taken for adversarial (share)",
             ylabel="adversarial samples detected (share)", aspect="equal")
    return figure


def output_targets(arrays):
    """VI: digits, their outputs, altered digits, their outputs, wanted outputs, row by row."""
    images = arrays["images"]  # (5, n, 28, 28)
    words = ("digit", "its output", "altered", "its output", "wanted")
    titles = [[word] * images.shape[1] for word in words]
    before = images.copy()
    before[2] = images[0]
    return digit_grid(coloured(before, images), titles=titles,
                      legend=legend_of(images[0], images[2]))


FIGURES = {
    "fig1": every_pair, "fig3": toy_surfaces, "fig7": saliency_surface, "fig9": from_empty,
    "fig10": every_pair, "upsilon": over_upsilon, "theta": over_theta, "fig12": success_matrix,
    "fig13": distortion_matrix, "path": probability_path, "detection": roc_curve,
    "beyond": output_targets, "fig14": hardness_matrix, "fig15": distance_matrix,
    "readings": heat_map,
    **survey_figures.FIGURES}
