"""Coloured shapes: small generated pictures for what MNIST cannot show, three channels of features.

In: how many and a seed. Out: images (n, 3, size, size) float32 in [0, 1], in multiples of 1/255,
and labels (n,): which of `SHAPES` is drawn, somewhere, turned a little, in a random colour on a
random ground, in noise. A picture and its seed do not depend on `size`, but for the noise.
"""
import numpy as np

SHAPES = ("disc", "ring", "square", "frame", "triangle", "cross", "plus", "bars", "chequers",
          "halves")
CONTRAST = 0.45  # the least distance of the two colours, of at most √3
BLOCK = 512      # pictures that are drawn at once
NOISE = 0.04     # standard deviation


def draw_shapes(count, seed, size=32):
    """`count` pictures of `size`×`size` pixels, the same for the same seed.

    Returns (images (count, 3, size, size), labels (count,)). Raises ValueError for a count or seed
    below 0, or a size below 8.
    """
    for name, value, least in (("count", count, 0), ("seed", seed, 0), ("size", size, 8)):
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")
    images = np.empty((count, 3, size, size), np.float32)
    labels = np.empty(count, np.int64)
    for number, start in enumerate(range(0, count, BLOCK)):
        rows = slice(start, min(start + BLOCK, count))
        rng = np.random.default_rng([seed, number])
        images[rows], labels[rows] = _block(rows.stop - start, rng, size)
    return images, labels


def _block(count, rng, size):
    """The first `count` pictures of a block: images (count, 3, size, size), labels (count,)."""
    kind = rng.integers(len(SHAPES), size=BLOCK)[:count]
    centre = rng.uniform(-0.3, 0.3, (BLOCK, 2, 1, 1))[:count]
    radius = rng.uniform(0.4, 0.65, (BLOCK, 1, 1))[:count]
    turn = rng.uniform(-0.35, 0.35, (BLOCK, 1, 1))[:count]
    ink, ground = _colours(rng)[:, :count]
    pixel = (np.arange(size) + 0.5) / size * 2 - 1
    y = (pixel[:, None] - centre[:, 0]) / radius  # (count, size, 1)
    x = (pixel - centre[:, 1]) / radius           # (count, 1, size)
    u = np.cos(turn) * x + np.sin(turn) * y       # (count, size, size)
    v = np.cos(turn) * y - np.sin(turn) * x
    edge = 2 / (size * radius)  # a pixel
    inside = np.empty((count, size, size))
    for shape in range(len(SHAPES)):
        here = kind == shape
        inside[here] = np.clip(0.5 - _distance(shape, u[here], v[here]) / edge[here], 0, 1)
    images = ground[..., None, None] + inside[:, None] * (ink - ground)[..., None, None]
    images += NOISE * rng.standard_normal((count, 3, size, size), np.float32)
    return np.round(np.clip(images, 0, 1) * 255) / 255, kind


def _colours(rng):
    """Ink and ground of a block, (2, BLOCK, 3): pairs that lie too near are drawn again."""
    colours = rng.random((2, BLOCK, 3))
    while (near := np.linalg.norm(colours[0] - colours[1], axis=1) < CONTRAST).any():
        colours[:, near] = rng.random((2, near.sum(), 3))
    return colours


def _distance(shape, u, v):
    """How far (u, v) lies outside the shape of radius 1, below 0 inside."""
    far = np.maximum(np.abs(u), np.abs(v))
    near = np.minimum(np.abs(u), np.abs(v))
    radial = np.hypot(u, v)
    diagonal = np.minimum(np.abs(u + v), np.abs(u - v)) / np.sqrt(2)
    return {
        "disc": lambda: radial - 1,
        "ring": lambda: np.maximum(radial - 1, 0.55 - radial),
        "square": lambda: far - 0.85,
        "frame": lambda: np.maximum(far - 0.85, 0.5 - far),
        "triangle": lambda: np.maximum(v - 0.7, np.abs(u) * 0.87 - (v + 1) * 0.5),
        "cross": lambda: np.maximum(radial - 1, diagonal - 0.22),
        "plus": lambda: np.maximum(far - 0.95, near - 0.22),
        "bars": lambda: np.maximum(far - 0.9, np.abs(np.abs(v) - 0.55) - 0.3),
        "chequers": lambda: np.maximum(far - 0.9, np.where(u * v > 0, -near, near)),
        "halves": lambda: np.maximum(radial - 1, 0.2 - np.abs(v)),
    }[SHAPES[shape]]()
