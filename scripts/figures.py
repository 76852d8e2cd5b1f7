"""The pictures: numbers in, a `matplotlib.figure.Figure` out (no window is opened, nothing is kept).

In: the arrays of an experiment's `Outcome`, or of `jsma craft`. Out: figures, and PNG files of them.
"""
import io

import numpy as np
from matplotlib.figure import Figure

from data.idx import replacing

RIGHT, WRONG = "#2a6f97", "#b5651d"


def digit_grid(images, titles=None, frames=None):
    """A grid of digits: images (rows, columns, 28, 28), `titles` and frame colours of the same grid shape."""
    rows, columns = images.shape[:2]
    figure = Figure(figsize=(0.75 * columns, (0.95 if titles is not None else 0.75) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for (row, column), axis in np.ndenumerate(axes):
        axis.imshow(images[row, column], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        if titles is not None:
            axis.set_title(titles[row][column], fontsize=7, pad=2)
        for spine in axis.spines.values():
            spine.set(color=frames[row][column] if frames is not None else "0.5", linewidth=1.5)
    return figure


def every_pair(arrays):
    """Fig. 1 and 10: row = source class, column = target class, the originals framed on the diagonal."""
    targets = np.arange(10)
    frames = [["black" if s == t else RIGHT if arrays["predicted"][s, t] == t else WRONG for t in targets]
              for s in range(10)]
    titles = [[f"read as {arrays['predicted'][s, t]}" for t in targets] for s in range(10)]
    return digit_grid(arrays["images"], titles, frames)


def from_empty(arrays):
    """Fig. 9: what was crafted from an empty image, for each class."""
    return digit_grid(arrays["images"].reshape(2, 5, 28, 28), np.array([f"class {t}" for t in range(10)]).reshape(2, 5))


def success_matrix(arrays):
    """Fig. 12: success rate in percent; darker is more, as in the paper."""
    return class_table(arrays["matrix"], "success rate τ (%)", "{:.0f}")


def distortion_matrix(arrays):
    """Fig. 13: mean distortion of the successes in percent; darker is more."""
    return class_table(arrays["matrix"], "mean distortion ε of the successes (%)", "{:.1f}")


def class_table(matrix, label, form):
    """A source × target table (10, 10) with its values written in; NaN stays empty."""
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axis = figure.subplots()
    picture = axis.imshow(matrix, cmap="Blues")
    middle = (np.nanmin(matrix) + np.nanmax(matrix)) / 2
    for (s, t), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            axis.text(t, s, form.format(value), ha="center", va="center", fontsize=8,
                      color="white" if value > middle else "black")
    axis.set(xlabel="target class", ylabel="source class", xticks=range(10), yticks=range(10))
    figure.colorbar(picture, label=label)
    return figure


def craft_grid(images, adversarial, index, labels, targets, success, most):
    """The digits and what became of them, the first `most` samples: original above, adversarial below."""
    shown = min(len(images), most)
    columns = min(shown, 9)
    blank = np.zeros_like(images[0])
    rows = -(-shown // columns)
    cells = np.array([[blank] * columns] * (2 * rows))
    titles, frames = (np.full((2 * rows, columns), value, dtype=object) for value in ("", "0.8"))
    for k in range(shown):
        row, column = 2 * (k // columns), k % columns
        cells[row, column], cells[row + 1, column] = images[k], adversarial[k]
        titles[row, column], titles[row + 1, column] = f"#{index[k]}: {labels[k]}", f"→ {targets[k]}"
        frames[row, column], frames[row + 1, column] = "black", RIGHT if success[k] else WRONG
    return digit_grid(cells, titles, frames)


def png(figure):
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure, path):
    """Write the figure to `path`, whole or not at all."""
    with replacing(path) as file:
        file.write(png(figure))


FIGURES = {"fig1": every_pair, "fig9": from_empty, "fig10": every_pair, "fig12": success_matrix,
           "fig13": distortion_matrix}
