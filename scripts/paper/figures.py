"""The pictures: numbers in, a `matplotlib.figure.Figure` out; no window is opened.

In: the arrays of an experiment's `Outcome`, or of `jsma craft`. Out: figures, and PNG files of
them.
"""
import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from data.files import replacing
from scripts.paper import survey_figures
from scripts.paper.heat_map import heat_map

RIGHT, WRONG = "#2a6f97", "#b5651d"


def digit_grid(images, titles=None, frames=None):
    """A grid of digits (rows, columns, 28, 28), with titles above them and colours of the frames.

    All in one pair of axes: a hundred of them take seconds to draw.
    """
    rows, columns, height, width = images.shape
    above = 8 if titles is not None else 2  # pixels of a digit
    sheet = np.ones((rows, height + above + 3, columns, width + 5))
    sheet[:, above:above + height, :, 2:2 + width] = images.transpose(0, 2, 1, 3)
    sheet = sheet.reshape(rows * (height + above + 3), columns * (width + 5))
    figure = Figure(figsize=(sheet.shape[1] / 44, sheet.shape[0] / 44))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    for row, column in np.ndindex(rows, columns):
        left, top = column * (width + 5) + 1.5, row * (height + above + 3) + above - 0.5
        colour = frames[row][column] if frames is not None else "0.5"
        axis.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=colour,
                                 linewidth=1.5))
        if titles is not None:
            axis.text(left + width / 2, top - 1, titles[row][column], fontsize=7, ha="center",
                      va="bottom")
    return figure


def every_pair(arrays):
    """Fig. 1 and 10: row = source class, column = target class, originals on the diagonal."""
    targets = np.arange(10)
    predicted = arrays["predicted"]  # (10, 10)
    frames = np.where(predicted == targets, RIGHT, WRONG).astype(object)
    np.fill_diagonal(frames, "black")
    titles = [[f"read as {label}" for label in row] for row in predicted]
    return digit_grid(arrays["images"], titles, frames)


def from_empty(arrays):
    """Fig. 9: what was crafted from an empty image, for each class."""
    titles = np.array([f"class {t}" for t in range(10)])
    return digit_grid(arrays["images"].reshape(2, 5, 28, 28), titles.reshape(2, 5))


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
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    x1, x2 = np.meshgrid(arrays["x"], arrays["x"], indexing="ij")
    for place, (name, label) in enumerate((("surface", "F(X)"), ("slope", "∂F/∂x2"))):
        axis = figure.add_subplot(1, 2, place + 1, projection="3d")
        axis.plot_surface(x1, x2, arrays[name], cmap="viridis", rcount=50, ccount=50, linewidth=0)
        if np.isfinite(arrays["high"]):
            chosen = (arrays["x"] >= arrays["low"]) & (arrays["x"] <= arrays["high"])
            axis.plot(np.ones(chosen.sum()), arrays["x"][chosen], arrays[name][-1, chosen],
                      color="black", zorder=9)
        axis.set(xlabel="x1", ylabel="x2", title=label)
        axis.view_init(elev=25, azim=-130)
    return figure


def saliency_surface(arrays):
    """Fig. 7: a digit and the saliency of its 784 pixels, as heights and as a heat map."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots(1, 3)
    axes[0].imshow(arrays["image"], cmap="gray", vmin=0, vmax=1)
    axes[0].set(xticks=[], yticks=[], title="the digit")
    picture = axes[1].imshow(arrays["score"], cmap="viridis")
    axes[1].set(xticks=[0, 9, 18, 27], yticks=[0, 9, 18, 27], title="saliency of each pixel")
    figure.colorbar(picture, ax=axes[1], shrink=0.7)
    axes[2].remove()
    heights = figure.add_subplot(1, 3, 3, projection="3d")
    row, column = np.mgrid[:28, :28]
    heights.plot_surface(column, row, arrays["score"], cmap="viridis", rcount=28, ccount=28,
                         linewidth=0)
    heights.set(xlabel="column", ylabel="row", title="the same as heights", ylim=(27, 0))
    return figure


def over_upsilon(arrays):
    """V-A: τ and ε over Υ."""
    figure, axis = _two_axes(arrays["upsilon"], arrays["tau"], arrays["epsilon"], "Υ (%)",
                             "mean distortion ε of the successes (%)")
    axis.axvline(14.5, color="0.4", linestyle=":")
    return figure


def over_theta(arrays):
    """V-A: τ and ε over θ."""
    figure, _ = _two_axes(arrays["theta"], arrays["tau"], arrays["epsilon"], "θ",
                          "mean distortion of all samples (%)")
    return figure


def probability_path(arrays):
    """V-B1: the class probabilities after each iteration; source and target drawn thick."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axis = figure.subplots()
    named = {int(arrays["source"]): ("source", RIGHT, "-"),
             int(arrays["target"]): ("target", WRONG, "--")}
    for label, probability in enumerate(arrays["probabilities"].T):
        role, colour, line = named.get(label, ("", "0.7", "-"))
        axis.plot(probability, color=colour, linestyle=line, linewidth=2.5 if role else 1,
                  zorder=3 if role else 2, label=f"class {label} ({role})" if role else None)
    axis.set(xlabel="iteration (two pixels each)", ylabel="probability", ylim=(-0.02, 1.02))
    axis.legend()
    return figure


def _two_axes(x, tau, epsilon, label, right):
    """τ on the left axis and ε on the right one over x: the figure and its left axis."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axis = figure.subplots()
    axis.plot(x, tau, "o-", color=RIGHT)
    axis.set(xlabel=label, ylim=(0, 102))
    axis.set_ylabel("success rate τ (%), circles", color=RIGHT)
    other = axis.twinx()
    other.plot(x, epsilon, "s--", color=WRONG)
    other.set_ylabel(f"{right}, squares", color=WRONG)
    other.set_ylim(0, 1.05 * np.nanmax(epsilon, initial=0.1))
    return figure, axis


def class_table(matrix, label, form):
    """A source × target table (10, 10) with its values written in; NaN stays empty."""
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
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


def craft_grid(images, adversarial, index, labels, targets, success, most):
    """The digits and what became of them: original above, adversarial below.

    Args:
        images, adversarial: (n, 28, 28), before and after.
        index, labels: (n,), number of the digit in its split, and its class.
        targets, success: (n,), and whether the target was reached.
        most: how many samples are shown.
    """
    shown = min(len(images), most)
    columns = min(shown, 9)
    rows = -(-shown // columns)
    cells = np.zeros((2 * rows, columns, *images.shape[1:]), images.dtype)
    titles = np.full((2 * rows, columns), "", dtype=object)
    frames = np.full((2 * rows, columns), "0.8", dtype=object)
    for k in range(shown):
        row = 2 * (k // columns)
        column = k % columns
        cells[row:row + 2, column] = images[k], adversarial[k]
        titles[row:row + 2, column] = f"#{index[k]}: {labels[k]}", f"→ {targets[k]}"
        frames[row:row + 2, column] = "black", RIGHT if success[k] else WRONG
    return digit_grid(cells, titles, frames)


def png(figure):
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    # matplotlib projects a surface's unused corners, whatever they hold
    with np.errstate(all="ignore"):
        figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure, path):
    """Write the figure to `path`, whole or not at all."""
    with replacing(path) as file:
        file.write(png(figure))


def roc_curve(arrays):
    """VI: the ROC curve of the detector."""
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axis = figure.subplots()
    axis.plot(arrays["false"], arrays["caught"], color=RIGHT)
    axis.plot([0, 1], [0, 1], color="0.6", linestyle=":")
    axis.set(xlabel="benign digits taken for adversarial", ylabel="adversarial samples found",
             aspect="equal")
    return figure


def output_targets(arrays):
    """VI: digits, their outputs, altered digits, their outputs, wanted outputs, row by row."""
    words = ("digit", "its output", "altered", "its output", "wanted")
    titles = [[word] * arrays["images"].shape[1] for word in words]
    return digit_grid(arrays["images"], titles)


FIGURES = {
    "fig1": every_pair, "fig3": toy_surfaces, "fig7": saliency_surface, "fig9": from_empty,
    "fig10": every_pair, "upsilon": over_upsilon, "theta": over_theta, "fig12": success_matrix,
    "fig13": distortion_matrix, "path": probability_path, "detection": roc_curve,
    "beyond": output_targets, "fig14": hardness_matrix, "fig15": distance_matrix,
    "readings": heat_map,
    **survey_figures.FIGURES}
