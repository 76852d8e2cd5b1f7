"""The coloured shapes: range, steps, seeds and sizes, and that each class is what its name says."""
import numpy as np
import pytest

from data import draw_shapes
from data.shapes import BLOCK, CONTRAST, NOISE, SHAPES

IMAGES, LABELS = draw_shapes(1200, 7)


def test_pictures_are_like_those_of_a_camera():
    assert IMAGES.shape == (1200, 3, 32, 32) and IMAGES.dtype == np.float32
    assert LABELS.dtype == np.int64
    assert IMAGES.min() >= 0 and IMAGES.max() <= 1
    steps = IMAGES.astype(float) * 255
    assert np.abs(steps - steps.round()).max() < 1e-4
    assert set(LABELS.tolist()) == set(range(len(SHAPES)))


def test_a_seed_gives_the_same_pictures_whatever_their_number():
    again, labels = draw_shapes(1200, 7)
    assert np.array_equal(again, IMAGES) and np.array_equal(labels, LABELS)
    assert not np.array_equal(draw_shapes(20, 8)[0], IMAGES[:20])
    for count in (0, 1, BLOCK + 1):
        few, labels = draw_shapes(count, 7)
        assert np.array_equal(labels, LABELS[:count]) and np.array_equal(few, IMAGES[:count])


def test_another_size_shows_the_same_pictures():
    large, labels = draw_shapes(100, 7, size=96)
    assert np.array_equal(labels, LABELS[:100])
    shrunk = large.reshape(100, 3, 32, 3, 32, 3).mean(axis=(3, 5))
    assert np.abs(shrunk - IMAGES[:100]).mean() < 1.5 * NOISE


def inked(image):
    """Which pixels are nearer to the colour that stands out most from that of the corners."""
    ground = np.median(image.reshape(3, -1), axis=1)
    distance = np.linalg.norm(image - ground[:, None, None], axis=0)
    return distance > CONTRAST / 2 - NOISE


@pytest.mark.parametrize(("name", "holes", "parts"), [
    ("disc", 0, 1), ("ring", 1, 1), ("square", 0, 1), ("frame", 1, 1), ("triangle", 0, 1),
    ("cross", 0, 1), ("plus", 0, 1),
    ("bars", 0, 2), ("halves", 0, 2)])
def test_holes_and_parts_are_those_of_the_shape(name, holes, parts):
    """Counted by SciPy in pictures of 64 pixels, where noise can be smoothed away."""
    from scipy.ndimage import label, median_filter

    images, labels = draw_shapes(150, 3, size=64)
    right = []
    for image in images[labels == SHAPES.index(name)]:
        ink = inked(median_filter(image, size=(1, 3, 3)))
        ground, sizes = label(~ink)[0], np.bincount(label(ink)[0].reshape(-1))
        big = np.bincount(ground.reshape(-1))[1:] > 8
        right.append((big.sum() - 1, (sizes[1:] > 8).sum()) == (holes, parts))
    assert np.mean(right) > 0.9 and len(right) > 9


@pytest.mark.parametrize(("words", "said"), [
    ((-1, 0), "count must be a whole number of at least 0; got -1"), ((1.5, 0), "count"),
    ((1, -2), "seed"),
    ((1, 0, 7), "size must be a whole number of at least 8; got 7")])
def test_bad_arguments_are_named(words, said):
    with pytest.raises(ValueError, match=said):
        draw_shapes(*words)
