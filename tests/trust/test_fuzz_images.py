"""Image files for `jsma explain --image`: an image in [0, 1] or one line; one image is all that is
read of a large file.

One wrong file of each kind is in tests/scripts/test_explain.py.
"""
import gzip
import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from fuzz import damaged, judged, rounds, some
from matplotlib.image import imsave

import data
from data import write_idx
from data.idx import encode
from scripts.terminal.pictures import decode


def read_image(path):
    """The image as the command reads it."""
    return data.read_image(path, decode)


def a_png(rng, pixels, colour=0, chunks=()):
    """A PNG by hand.

    pixels: (height, width, channels) of 8 bits; chunks: [(name, bytes)], further ones before them.
    """
    def chunk(name, body):
        return (struct.pack(">I", len(body)) + name + body
                + struct.pack(">I", zlib.crc32(name + body)))

    height, width = pixels.shape[:2]
    rows = b"".join(bytes([int(rng.integers(0, 5))]) + row.tobytes() for row in pixels)
    header = struct.pack(">2I5B", width, height, 8, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + b"".join(chunk(*one) for one in chunks)
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def an_image(rng, folder):
    """The bytes of a file that holds an image (pictures of any size among them), and the image as
    float64 (28, 28).

    None instead of the image where only the form is sound.
    """
    shape = some(rng, ((28, 28), (1, 28, 28), (3, 28, 28), (2, 2, 28, 28)))
    # half of them zero
    pixels = rng.integers(0, 256, shape, np.uint8) * np.uint8(rng.integers(0, 2))
    first = pixels.reshape(-1, 28, 28)[0] / 255
    kind = int(rng.integers(0, 6))
    if kind == 0:
        content = b"".join(encode(pixels))
        return gzip.compress(content) if rng.random() < 0.5 else content, first
    if kind == 1:
        channels = some(rng, ((0, 1), (2, 3), (4, 2), (6, 4)))
        size = some(rng, ((28, 28), (28, 28), (1, 40), (90, 60), (300, 7)))
        return a_png(rng, rng.integers(0, 256, (*size, channels[1]), np.uint8), channels[0],
                     [(b"tEXt", b"a\0" + rng.bytes(9))] * int(rng.integers(0, 2))), None
    if kind == 5:
        file = io.BytesIO()
        size = some(rng, ((28, 28), (1, 40), (90, 60, 3), (300, 7, 3)))
        imsave(file, rng.integers(0, 256, size, np.uint8), format="jpg")
        return file.getvalue(), None
    array = (pixels / 255).astype(some(rng, ("<f8", ">f8", "<f4", ">f4", "<f2")))
    if kind == 2 and array.ndim == 2:
        array = np.asfortranarray(array)
    if kind == 3:
        odd = some(rng, (np.nan, np.inf, -1e-30, 1.001, 1e-45))
        array.reshape(-1)[int(rng.integers(784))] = odd
        first = first if odd == 1e-45 else None
    file = io.BytesIO()
    (np.savez if kind == 4 else np.save)(file, array)
    return file.getvalue(), None if first is None else array.reshape(-1, 28, 28)[0].astype(float)


@rounds("image files (explain)")
def test_an_image_is_read_as_it_is_or_refused(how_many, tmp_path):
    rng, path = np.random.default_rng(10), tmp_path / "image"
    for number in range(how_many):
        content, image = an_image(rng, tmp_path)
        broken = number % 2 == 1
        content = damaged(rng, content) if broken else content
        path.write_bytes(content)
        read = judged("image files (explain)", lambda: read_image(path), size=len(content),
                      refusals=ValueError, named=path)
        if read is not None:
            assert read.shape == (28, 28) and read.min() >= 0 and read.max() <= 1
        if image is not None and not broken:
            np.testing.assert_allclose(read.astype(float), image, atol=1e-7)


def large(path, kind):
    """A file of 10,000 images and more, and how large it is."""
    count = 400_000 if kind.startswith("zipped") else 20_000
    zeros = np.zeros((1000, 28, 28), np.uint8)
    if kind == "zipped idx":
        with gzip.open(path, "wb", 1) as file:
            file.write(struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28))
            for _ in range(0, count, 1000):
                file.write(zeros)
    elif kind == "idx":
        write_idx(path, np.zeros((count, 28, 28), np.uint8))
    elif kind == "zipped npz":
        with (zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
              archive.open("a.npy", "w") as file):
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, 28, 28)}
            np.lib.format.write_array_header_1_0(file, header)
            for _ in range(0, count, 1000):
                file.write(zeros)
    else:
        with open(path, "wb") as file:
            np.save(file, np.zeros((count, 28, 28), np.uint8))
    return path.stat().st_size


@pytest.mark.parametrize("kind", ["idx", "npy", pytest.param("zipped idx", marks=pytest.mark.slow),
                                  pytest.param("zipped npz", marks=pytest.mark.slow)])
def test_one_image_is_all_that_is_read_of_a_large_file(kind, tmp_path):
    size = large(tmp_path / "large", kind)
    read = judged("image files that are bombs", lambda: read_image(tmp_path / "large"),
                  size=min(size, 1 << 20), refusals=ValueError)
    assert read.shape == (28, 28) and not read.any()


FRAME = b"\xff\xc0\0\x0b\x08\3\xff\3\xff\1\1\x11\0"  # of a JPEG of 1,023 × 1,023
BOMBS = {
    "an .npy of terabytes":
        b"\x93NUMPY\1\0v\0"
        + b"{'descr': '<f8', 'fortran_order': True, 'shape': (100000000, 28, 28), }".ljust(117)
        + b"\n",
    "a PNG of 30,000 × 30,000":
        (lambda content: content[:16] + struct.pack(">2I", 30_000, 30_000) + content[24:]),
    "a JPEG of 65,535 × 65,535":
        b"\xff\xd8" + FRAME.replace(b"\3", b"\xff") + b"\xff\xda\0\2",
    "a JPEG of two sizes": b"\xff\xd8" + 2 * FRAME + b"\xff\xda\0\2",
    "a PNG of two sizes": [(b"IHDR", struct.pack(">2I5B", 13_000, 13_000, 8, 0, 0, 0, 0))],
    "a PNG with a text of 64 MB": [(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26), 1))],
    "a PNG with a colour profile of 64 MB":
        [(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 26), 1))],
}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow if "64" in kind else ())
                                  for kind in BOMBS])
def test_a_picture_cannot_ask_for_memory(kind, tmp_path):
    bomb, rng, path = BOMBS[kind], np.random.default_rng(0), tmp_path / "bomb"
    pixels = np.zeros((28, 28, 1), np.uint8)
    if isinstance(bomb, bytes):
        path.write_bytes(bomb)
    elif callable(bomb):
        path.write_bytes(bomb(a_png(rng, pixels)))
    else:
        path.write_bytes(a_png(rng, pixels, chunks=bomb))
    judged("image files that are bombs", lambda: read_image(path), size=path.stat().st_size,
           refusals=ValueError)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_pipes_and_devices(make, tmp_path):
    make(tmp_path / "image")
    assert judged("links, pipes, devices", lambda: read_image(tmp_path / "image"), size=0,
                  refusals=ValueError) is None
