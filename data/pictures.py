"""A picture of any size as MNIST's digits are: light ink on dark, 28×28, the ink centred.

In: the bytes of a PNG or JPEG file, and the pixels that a decoder makes of them. Out: size and
orientation, told before anything is decoded; an image (28, 28) in [0, 1] and, in words, what was
done. MNIST's way: the ink is scaled into a box of 20×20 with its proportions, and its centre of
mass comes to row 14, column 14 (that of the test digits is 14.0 in the mean, ±0.3).
"""
import numpy as np

SIDE, BOX, CENTRE = 28, 20, 14  # pixels of an image, of the box of its ink, of its centre of mass
FAINT = 0.1                     # below which a value is no ink
THIN = 0.9                      # a line that comes out fainter is brought to 1
LARGE = 280                     # pixels of a side, above which a picture is reduced first
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
SEGMENTS = (*FRAMES, 0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE)
SCAN = 0xDA
TURNS = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
         5: np.transpose, 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).T, 8: np.rot90}


def header(content):
    """(height, width, orientation 1 to 8 as Exif counts) of a PNG or JPEG file; ValueError."""
    if content.startswith(b"\x89PNG"):
        if len(content) < 24:
            raise ValueError("it is cut short")
        if content.count(b"IHDR") > 1:  # the only one has the size
            raise ValueError("it is of two sizes")
        return int.from_bytes(content[20:24], "big"), int.from_bytes(content[16:20], "big"), 1
    return _jpeg_header(content)


def as_digit(picture, orientation=1, invert=None):
    """(image, words): a decoded picture in the form of MNIST's digits, and what was done to it.

    Args:
        picture: (height, width), or with 3 or 4 channels; floats in [0, 1] or 8 bits. What is
            transparent becomes white. A picture of 28×28 is not scaled.
        orientation: 1 to 8, as Exif counts: how it is to be turned to stand upright.
        invert: whether dark becomes light; None: where the picture's edge is light.

    Raises:
        ValueError: the picture shows no ink.
    """
    height, width = picture.shape[:2]
    values = TURNS[orientation](_reduced(picture, -(-max(height, width) // LARGE)))
    if invert is None:
        invert = _edge(values).mean() > 0.5
    values = 1 - values if invert else values
    words = []
    if (height, width) != (SIDE, SIDE):
        height, width = (height, width) if orientation < 5 else (width, height)
        words = [f"{width} × {height} pixels, scaled to {SIDE} × {SIDE} with the ink centred"]
        values = centred(_levelled(values))
        most = values.max()
        values = np.rint(255 * values / (most if most < THIN else 1)) / 255
    words += ["dark on light turned into light on dark"] if invert else []
    return values.astype(np.float32), words


def centred(values):
    """The ink (height, width) in [0, 1], scaled into 20×20 pixels, its centre of mass at (14, 14).

    Each pixel is the mean over a square of the picture, interpolated linearly; outside is no ink.
    """
    rows, columns = (np.flatnonzero((values >= FAINT).any(axis=axis)) for axis in (1, 0))
    scale = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    down, across = (_means(values.sum(axis=axis), scale / BOX) for axis in (1, 0))
    return np.clip(down @ values @ across.T, 0, 1)


def _means(mass, scale):
    """(28, n): what each pixel takes of n places with `mass`; `scale` places are a pixel."""
    places = np.arange(len(mass))
    steps = max(2, int(np.ceil(2 * scale)))  # points in each pixel
    points = np.arange(SIDE)[:, None] - CENTRE + (np.arange(steps) + 0.5) / steps - 0.5
    points = mass @ places / mass.sum() + scale * points
    return np.maximum(0, 1 - np.abs(points[..., None] - places)).mean(axis=1)


def _levelled(values):
    """Paper to 0, ink to 1: in a photograph neither is, and a shadow at the edge is paper."""
    ground, most = np.quantile(_edge(values), 0.9), values.max()
    if ground > 0.5:  # whoever said not to invert sees ink in what is light
        ground = values.min()
    if most - ground < FAINT:
        raise ValueError("it shows no ink: its pixels are nearly alike")
    return np.clip((values - ground) / (most - ground), 0, 1)


def _edge(values):
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def _reduced(picture, factor):
    """The picture in grey, each square of factor × factor pixels as its mean."""
    height, width = (max(1, size // factor) for size in picture.shape[:2])
    tall, wide = (min(factor, size) for size in picture.shape[:2])
    return np.stack([
        _grey(picture[row * tall:(row + 1) * tall, :width * wide]).reshape(tall, width, wide)
        .mean(axis=(0, 2)) for row in range(height)])


def _grey(picture):
    """Its brightness in [0, 1], on white."""
    values = picture.astype(float) / (255 if picture.dtype == np.uint8 else 1)
    if values.ndim == 2:
        return values
    red, green, blue = np.moveaxis(values[..., :3], 2, 0)
    grey = green + 0.299 * (red - green) + 0.114 * (blue - green)  # exact where all are alike
    if values.shape[2] == 4:
        grey = 1 + values[..., 3] * (grey - 1)
    return np.clip(grey, 0, 1)


def _jpeg_header(content):
    """Of the segments before the first scan: the only frame's size, and Exif's orientation."""
    place, size, orientation = 2, None, 1
    while True:
        marker, length = content[place + 1:place + 2], content[place + 2:place + 4]
        length = int.from_bytes(length, "big")
        if content[place:place + 1] != b"\xff" or length < 2 or place + length > len(content):
            raise ValueError("it is damaged or cut short")
        kind, body = marker[0], content[place + 4:place + 2 + length]
        if kind == SCAN:
            break
        if kind not in SEGMENTS or kind in FRAMES and (size or len(body) < 6):
            raise ValueError("it is damaged, or of two sizes")
        if kind in FRAMES:
            size = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        elif kind == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = _exif_orientation(body[6:])
        place += 2 + length
    if size is None:
        raise ValueError("it tells no size")
    return *size, orientation


def _exif_orientation(content):
    """Entry 0x0112 of a TIFF directory; 1 where there is none."""
    order = {b"II": "little", b"MM": "big"}.get(content[:2])
    if order is None:
        return 1

    def number(place, size):
        return int.from_bytes(content[place:place + size], order)

    start = number(4, 4)
    for place in range(start + 2, start + 2 + 12 * min(number(start, 2), 1000), 12):
        if number(place, 2) == 0x0112:
            return number(place + 8, 2) if number(place + 8, 2) in TURNS else 1
    return 1
