"""Grids of digits in which one sees what was changed: added ink orange, removed ink blue.

In: digits before and after. Out: their colours, and a `matplotlib.figure.Figure` with a legend. Ink
that stayed is white on black, as in the paper. The two colours are told apart by the colour-blind.
"""
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

ADDED, REMOVED = "#d55e00", "#0072b2"
SUCCESS, FAILURE, ORIGINAL = "0.65", "#cc79a7", "black"  # frames
SCALE = 3  # pixels of the picture a pixel of a digit
DPI = 160
GAP = 2
LEFT = 10  # what names a row, in pixels of a digit
LINE = 9   # a line of text
LETTER = 3.4  # the width of a letter of the legend
NARROWEST = 110  # room for the legend


def coloured(before, after):
    """The colours of digits (…, 28, 28) → (…, 28, 28, 3): each share of ink in its colour."""
    before, after = np.broadcast_arrays(before, after)
    stayed = np.minimum(before, after)
    return (stayed[..., None]
            + (after - stayed)[..., None] * np.array(to_rgb(ADDED))
            + (before - stayed)[..., None] * np.array(to_rgb(REMOVED)))


def digit_grid(colours, *, frames=None, titles=None, inside=None, columns=None,
               rows=None, legend=()):
    """A grid of digits, all in one pair of axes: a hundred of them take seconds to draw.

    Args:
        colours: (rows, columns, 28, 28, 3), see `coloured`.
        frames: (rows, columns), the colour of each frame; "" leaves a place empty.
        titles: (rows, columns), what stands above each digit.
        inside: (rows, columns), what stands in each digit, at the bottom.
        columns, rows: what stands above each column and left of each row.
        legend: [(colour, words)]; frames that mean something are among them.
    """
    down, across, height, width, _ = colours.shape
    above = LINE if titles is not None else 0
    top = LINE if columns is not None else 0
    left = LEFT if rows is not None else GAP
    whole = max(left + across * (width + GAP), NARROWEST)
    in_a_row = sum(LETTER * (len(words) + 5) for _, words in legend) <= whole
    lines = bool(legend) if in_a_row else len(legend)
    size = (top + down * (height + GAP + above) + GAP + lines * LINE, whole)
    sheet = np.ones((*size, 3))
    figure = Figure(figsize=(size[1] * SCALE / DPI, size[0] * SCALE / DPI))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    for row, column in np.ndindex(down, across):
        if frames is not None and not frames[row][column]:
            continue
        y, x = top + row * (height + GAP + above) + above, left + column * (width + GAP)
        sheet[y:y + height, x:x + width] = colours[row, column]
        _frame(axis, x, y, width, height, SUCCESS if frames is None else frames[row][column])
        if titles is not None:
            _text(axis, x + width / 2, y - 1, titles[row][column], 7.5)
        if inside is not None:
            _text(axis, x + width / 2, y + height - 1, inside[row][column], 7, color="white")
    for column, text in enumerate(columns if columns is not None else ()):
        _text(axis, left + column * (width + GAP) + width / 2, LINE - 1, text, 10)
    for row, text in enumerate(rows if rows is not None else ()):
        y = top + row * (height + GAP + above) + above + height / 2
        _text(axis, LEFT / 2 - 1, y, text, 10, va="center")
    axis.imshow(np.clip(sheet, 0, 1), interpolation="nearest", aspect="auto")
    if legend:
        _legend(figure, legend, len(legend) if in_a_row else 1)
    return figure


def _frame(axis, x, y, width, height, colour):
    """A line around the digit whose upper left pixel is (x, y)."""
    axis.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=colour,
                             linewidth=2 if colour in (FAILURE, ORIGINAL) else 1))


def _text(axis, x, y, text, size, **how):
    axis.text(x - 0.5, y - 0.5, text, fontsize=size, **{"ha": "center", "va": "bottom", **how})


def _legend(figure, entries, columns):
    """What the colours mean, below the digits; frames are drawn as frames."""
    handles = [Patch(label=words, linewidth=2 if colour in (FAILURE, ORIGINAL) else 0.8,
                     edgecolor=colour if colour in (FAILURE, ORIGINAL) else "0.4",
                     facecolor="none" if colour in (FAILURE, ORIGINAL) else colour)
               for colour, words in entries]
    figure.legend(handles=handles, loc="lower left", ncols=columns, fontsize=8, frameon=False,
                  borderaxespad=0, handlelength=1.4, columnspacing=1.4)


def legend_of(before, after, frames=(), meanings=()):
    """The entries for `digit_grid`: only what there is to see.

    Args:
        before, after: digits, of shapes that broadcast.
        frames: the colours of the frames.
        meanings: [(colour, words)], what frames may mean.
    """
    entries = [("white", "ink that stays")]
    if np.any(np.less(before, after)):
        entries.append((ADDED, "added ink"))
    if np.any(np.greater(before, after)):
        entries.append((REMOVED, "removed ink"))
    shown = set(np.ravel(frames))
    return entries + [(colour, words) for colour, words in meanings if colour in shown]
