"""Small copies of pictures, for the first screen of the report.

In: PNG bytes. Out: PNG bytes of about the width that is asked for, each pixel the mean of a block.
"""
import io

import numpy as np


def thumbnail(picture, width):
    """The picture, smaller by a whole number, so that it is at least `width` pixels wide."""
    from matplotlib.image import imread, imsave  # starts slowly

    pixels = imread(io.BytesIO(picture), format="png")[..., :3]
    block = max(pixels.shape[1] // width, 1)
    rows, columns = (size // block for size in pixels.shape[:2])
    blocks = pixels[:rows * block, :columns * block].reshape(rows, block, columns, block, 3)
    file = io.BytesIO()
    imsave(file, np.ascontiguousarray(blocks.mean(axis=(1, 3))), format="png",
           metadata={"Software": None})
    return file.getvalue()


def size_of(picture):
    """(width, height) of a PNG in pixels, as its header says."""
    return tuple(int.from_bytes(picture[start:start + 4], "big") for start in (16, 20))
