"""The figures: colours of added and removed ink, what is labelled, what is drawn once or not."""
import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from scripts.paper import figures
from scripts.paper.digit_grids import (
    ADDED,
    FAILURE,
    ORIGINAL,
    REMOVED,
    SUCCESS,
    coloured,
    legend_of,
)
from scripts.paper.figures import FIGURES, craft_grid, png
from scripts.paper.report.thumbnail import size_of, thumbnail

BLACK, WHITE = np.zeros(3), np.ones(3)


def texts(figure):
    """All that is written into the picture."""
    return [text.get_text() for axis in figure.axes for text in axis.texts if text.get_text()]


def legend(figure):
    """What the legend of a grid says."""
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def frames(figure):
    """The colours of the frames of a grid, in the order of its cells."""
    return [patch.get_edgecolor()[:3] for patch in figure.axes[0].patches]


@pytest.mark.parametrize(("before", "after", "expected"), [
    (0, 0, BLACK), (1, 1, WHITE), (0.4, 0.4, 0.4 * WHITE),
    (0, 1, np.array([213, 94, 0]) / 255), (1, 0, np.array([0, 114, 178]) / 255),
    (0.5, 1, 0.5 * WHITE + 0.5 * np.array(to_rgb(ADDED))),
    (1, 0.25, 0.25 * WHITE + 0.75 * np.array(to_rgb(REMOVED)))])
def test_added_ink_is_orange_and_removed_ink_blue(before, after, expected):
    colours = coloured(np.full((2, 3), before, float), np.full((2, 3), after, float))
    np.testing.assert_allclose(colours, np.broadcast_to(expected, (2, 3, 3)))


def test_the_legend_names_what_there_is_to_see():
    zero, one = np.zeros((2, 2)), np.ones((2, 2))
    meanings = [(ORIGINAL, "the original"), (FAILURE, "not read as its target")]
    assert legend_of(zero, one) == [("white", "ink that stays"), (ADDED, "added ink")]
    assert legend_of(one, zero, [SUCCESS], meanings)[1:] == [(REMOVED, "removed ink")]
    assert legend_of(one, one, [SUCCESS, FAILURE], meanings)[1:] == meanings[1:]


def pairs(change):
    """The arrays of Fig. 1 with one pixel of each sample changed; 2→5 is still read as 2."""
    images = np.zeros((10, 10, 28, 28))
    images[..., 10:20, 14] = 0.5
    off = ~np.eye(10, dtype=bool)
    images[off, 12, 14] += change
    predicted = np.tile(np.arange(10), (10, 1))
    predicted[2, 5] = 2
    return {"images": images, "predicted": predicted}


@pytest.mark.parametrize(("name", "change", "ink"), [
    ("fig1", 0.5, "added ink"), ("fig10", -0.5, "removed ink")])
def test_every_pair_shows_ink_and_failures(name, change, ink):
    figure = FIGURES[name](pairs(change))
    assert legend(figure) == ["ink that stays", ink, "the original", "not read as its target"]
    assert [text for text in texts(figure) if "read" in text] == ["read as 2"]
    drawn = np.array(frames(figure)).reshape(10, 10, 3)
    assert (drawn[2, 5] == to_rgb(FAILURE)).all()
    assert (drawn[np.eye(10, dtype=bool)] == BLACK).all()
    assert (drawn == to_rgb(FAILURE)).all(axis=-1).sum() == 1
    picture = imread(io.BytesIO(png(figure)))[..., :3]
    colour = np.round(coloured(np.array(0.5), np.array(0.5 + change)) * 255) / 255
    seen = (abs(picture - colour) < 0.01).all(axis=-1).sum()
    assert seen >= 90 * 9  # a pixel of each of 90 samples, nine of the picture


def test_grids_from_nothing_and_of_outputs_have_colours():
    assert legend(FIGURES["fig9"]({"images": np.full((10, 28, 28), 0.5)})) == ["added ink"]
    rows = np.zeros((5, 5, 28, 28))
    rows[2, :, 3, 3] = 1
    figure = FIGURES["beyond"]({"images": rows})
    sheet = figure.axes[0].images[0].get_array()
    assert legend(figure) == ["ink that stays", "added ink"]
    assert np.isclose(sheet, to_rgb(ADDED)).all(axis=-1).sum() == 5


def test_craft_shows_each_original_once_and_what_failures_are_read_as():
    images = np.zeros((5, 28, 28))
    adversarial = images.copy()
    adversarial[:3, 5, 5] = 1
    figure = craft_grid(images, adversarial, [4, 4, 4, 9, 9], [7] * 5, [1, 2, 3, 7, 8],
                        [1, 0, 3, 7, 7], np.array([True, False, True, False, False]), 30)
    assert texts(figure) == ["#4, a 7", "→ 1", "0, not 2", "→ 3",
                             "#9, a 7", "7 already", "7, not 8"]
    names = {to_rgb(colour): colour for colour in (ORIGINAL, SUCCESS, FAILURE)}
    assert [names[frame] for frame in frames(figure)] == [
        ORIGINAL, SUCCESS, FAILURE, SUCCESS, ORIGINAL, SUCCESS, FAILURE]
    assert "not read as its target" in legend(figure)
    few = craft_grid(images, adversarial, [4, 4, 4, 9, 9], [7] * 5, [1, 2, 3, 7, 8],
                     [1, 2, 3, 7, 7], np.array([True, True, True, False, False]), 3)
    assert texts(few) == ["#4, a 7", "→ 1", "→ 2", "→ 3"]
    assert "not read as its target" not in legend(few)


def test_a_row_of_craft_holds_a_digit_and_its_nine_samples():
    images = np.zeros((18, 28, 28))
    targets = np.tile(np.arange(1, 10), 2)
    figure = craft_grid(images, images, np.repeat([3, 8], 9), [0] * 18, targets, targets,
                        np.ones(18, bool), 30)
    left = [patch.get_x() for patch in figure.axes[0].patches]
    assert len(left) == 20 and left[0] == left[10] and texts(figure)[10] == "#8, a 0"


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_the_legend_is_not_cut_off(count):
    """Of grids of any width, with both inks and both frames."""
    images = np.full((count, 28, 28), 0.5)
    adversarial = images.copy()
    adversarial[:, 3:9] = [[[0.0], [1.0]] * 3]
    figure = craft_grid(images, adversarial, range(count), [1] * count, [2] * count, [3] * count,
                        np.zeros(count, bool), 30)
    png(figure)
    assert len(legend(figure)) == 5
    box = figure.legends[0].get_window_extent()
    lowest = max(patch.get_window_extent().y0 for patch in figure.axes[0].patches[-2:])
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width and -1 <= box.y0 < box.y1 <= lowest + 1


def test_every_class_that_is_read_on_the_way_is_named():
    probabilities = np.full((4, 10), 0.01)
    for step, label in enumerate((2, 8, 8, 4)):
        probabilities[step, label] = 0.9
    figure = FIGURES["path"]({"probabilities": probabilities, "source": np.array(2),
                              "target": np.array(4)})
    assert sorted(legend(figure)) == ["class 2: source", "class 4: target",
                                      "class 8: read on the way"]
    assert texts(figure) == ["2", "4", "8"]


def test_no_line_runs_through_theta_0():
    theta = np.array([-1, -0.5, 0.25, 0.5, 1.0])
    figure = FIGURES["theta"]({"theta": theta, "tau": 50 + theta, "epsilon": 3 + theta})
    lines = [line for axis in figure.axes for line in axis.lines if line.get_gid() != "zero"]
    places = [line.get_xdata().tolist() for line in lines]
    assert sorted(places) == [[-1, -0.5]] * 2 + [[0.25, 0.5, 1]] * 2
    one = FIGURES["theta"]({"theta": theta[2:], "tau": theta[2:], "epsilon": theta[2:]})
    assert sum(len(axis.lines) for axis in one.axes) == 3


@pytest.mark.parametrize("high", [0.54, np.nan])
def test_the_and_network_is_a_heat_map_with_the_way_drawn_in(high):
    x = np.linspace(0, 1, 101)
    surface = np.outer(x, x**2)
    figure = FIGURES["fig3"]({"x": x, "surface": surface, "slope": 2 * np.outer(x, x),
                              "low": np.array(0.5), "high": np.array(high)})
    maps = [axis for axis in figure.axes if axis.images]
    for axis in maps:
        assert (axis.get_xlabel(), axis.get_ylabel()) == ("x1", "x2")
        image, = axis.images
        assert image.colorbar is not None and image.get_extent() == [0, 1, 0, 1]
        ways = [line.get_xydata().tolist() for line in axis.lines if line.get_gid() == "way"]
        assert ways == ([[[1, 0.5], [1, high]]] if np.isfinite(high) else [])
    # x1 to the right, x2 upwards: F(1, 0) = 0 and F(1, 1) = 1
    assert maps[0].images[0].origin == "lower"
    np.testing.assert_allclose(maps[0].images[0].get_array()[[0, 100], 100], [0, 1])


@pytest.mark.parametrize("name", ["fig12", "fig13", "fig14", "fig15", "fig7"])
def test_colours_that_are_numbers_have_a_bar(name):
    figure = FIGURES[name]({"matrix": np.eye(10), "image": np.eye(28), "score": np.eye(28)})
    mapped = [image for axis in figure.axes for image in axis.images if image.cmap.name != "gray"]
    assert mapped and all(image.colorbar for image in mapped)


def test_words_are_readable_at_the_width_of_a_telephone():
    """368 pixels are left of 400: no word of an axis is smaller than 8 of them there."""
    theta = np.array([-1, -0.5, 0.25, 1])
    for name, arrays in {
            "theta": {"theta": theta, "tau": theta, "epsilon": theta},
            "fig12": {"matrix": np.eye(10)}, "fig1": pairs(0.5),
            "detection": {"false": theta, "caught": theta}}.items():
        figure = FIGURES[name](arrays)
        width = figure.get_figwidth() * 72  # points
        sizes = [text.get_fontsize() for axis in figure.axes
                 for text in (axis.xaxis.label, axis.yaxis.label, *axis.get_xticklabels())
                 if axis.axison]
        sizes = sizes or [text.get_fontsize() for text in figure.axes[0].texts
                          if text.get_text().startswith("→")]
        assert min(sizes) * 368 / width >= 8, name


def test_a_thumbnail_is_the_mean_of_blocks():
    picture = png(figures.digit_grid(coloured(np.zeros((2, 2, 28, 28)), np.eye(28))))
    width, height = size_of(picture)
    assert imread(io.BytesIO(picture)).shape[:2] == (height, width)
    small = thumbnail(picture, 100)
    block = width // 100
    assert size_of(small) == (width // block, height // block) and size_of(small)[0] >= 100
    expected = imread(io.BytesIO(picture))[:block, :block, :3].mean(axis=(0, 1))
    np.testing.assert_allclose(imread(io.BytesIO(small))[0, 0, :3], expected, atol=1 / 255)
    assert size_of(thumbnail(picture, 10 * width)) == (width, height)
