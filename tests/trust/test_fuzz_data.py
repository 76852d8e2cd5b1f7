"""IDX files and sets of them, damaged at random, against a reader of a few lines; bombs; what else
lies under a name.

Every truncation, every flipped bit of a header and of a gzip file, and sizes that cannot be true
are in tests/data/test_idx.py, unfit sets in test_mnist.py; here come combinations of damage, and
links, pipes and bombs.
"""
import gzip
import io
import math
import os
import struct
import zipfile
import zlib
from functools import partial

import numpy as np
import pytest
from fuzz import INPUTS, SLOW, commanded, damaged, judged, rounds, some

from data import IdxError, load_mnist, read_idx
from data.idx import TYPES, encode

FILES = [f"{part}-{kind}" for part in ("train", "t10k")
         for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]


def an_idx_file(rng):
    """The bytes of a small IDX file of any type, rank and values, NaN and infinities too."""
    code = some(rng, list(TYPES))
    shape = tuple(int(n) for n in rng.integers(0, 5, int(rng.integers(0, 5))))
    dtype = np.dtype(f">{TYPES[code]}") if rng.random() < 0.9 else np.dtype(f"<{TYPES[code]}")
    body = rng.bytes(math.prod(shape) * dtype.itemsize)
    if dtype.kind == "f":
        odd = [np.nan, np.inf, -np.inf, 5e-324, 1e-45, -0.0, 1.0]
        body = rng.choice(odd, math.prod(shape)).astype(dtype).tobytes()
    order = dtype.str[0] if dtype.itemsize > 1 else ">"
    return struct.pack(f"{order}HBB{len(shape)}I", 0, code, len(shape), *shape) + body


def packed(rng, content):
    """`content` as it is, gzipped, in several gzip members, or gzipped twice."""
    kind = rng.integers(0, 4)
    if kind == 0:
        return content
    middle = int(rng.integers(0, len(content) + 1))
    parts = (content[:middle], content[middle:]) if kind == 1 else (content,)
    whole = b"".join(gzip.compress(part, int(rng.integers(0, 10)), mtime=0) for part in parts)
    return gzip.compress(whole, mtime=0) if kind == 3 and rng.random() < 0.2 else whole


def by_hand(content):
    """What an IDX file holds, as (type, shape, bytes), or None where it is unsound."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES or content[3] > 32:
        return None
    start = 4 + 4 * content[3]
    if len(content) < start:
        return None
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    dtype = np.dtype(TYPES[content[2]])
    whole = len(content) - start == math.prod(shape) * dtype.itemsize
    return (dtype, shape, content[start:]) if whole else None


def test_enough_is_tried():
    assert sum(INPUTS.values()) >= 2000 and SLOW * sum(INPUTS.values()) >= 100_000


@rounds("IDX files")
def test_a_damaged_file_is_read_as_it_is_or_refused(how_many, tmp_path):
    rng, path = np.random.default_rng(1), tmp_path / "file"
    for number in range(how_many):
        content = packed(rng, an_idx_file(rng))
        content = content if number % 10 == 0 else damaged(rng, content)
        path.write_bytes(content)
        array = judged("IDX files", lambda: read_idx(path), size=len(content), refusals=IdxError,
                       named=path)
        expected = by_hand(content)
        if expected is None or expected[1] and max(expected[1]) > 1 << 40:
            assert array is None, (number, content)
            continue
        dtype, shape, body = expected
        if array is None:  # NumPy holds no shape like (0, 4294967295, 4294967295, 4294967295)
            assert 0 in shape and math.prod(max(n, 1) for n in shape) >= 1 << 60, (number, content)
        else:
            assert (array.dtype, array.shape) == (dtype, shape), number
            assert array.astype(dtype.newbyteorder(">")).tobytes() == body, number


@rounds("sets of IDX files")
def test_a_damaged_set_is_checked_or_refused(how_many, small_set, tmp_path):
    rng = np.random.default_rng(2)
    small_set(tmp_path)
    sound = {name: (tmp_path / name).read_bytes() for name in FILES}
    for number in range(how_many):
        name, other = some(rng, FILES), some(rng, FILES)
        content = sound[other] if number % 9 == 0 else damaged(rng, sound[name])
        (tmp_path / name).write_bytes(content)
        status, *_ = commanded("sets of IDX files", ["data", "check", str(tmp_path), "--any-set"],
                               size=4096)
        if by_hand(content) is None:
            assert status == 2, (number, content)
        (tmp_path / name).write_bytes(sound[name])
    assert commanded("sets of IDX files", ["data", "check", str(tmp_path), "--any-set"],
                     size=4096)[0] == 0


def an_archive(rng, arrays):
    """The bytes of a zip archive of a set: IDX files, gzipped or not, or Keras' `mnist.npz`."""
    file = io.BytesIO()
    method = some(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    keras, end = rng.random() < 0.5, some(rng, ("", ".gz"))
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, array in arrays.items():
            part, kind = name.split("-")[:2]
            if keras:
                with archive.open(f"{kind[0].translate(AXES)}_{TESTS[part]}.npy", "w") as member:
                    np.lib.format.write_array(member, array)
            else:
                content = b"".join(map(bytes, encode(array)))
                archive.writestr(f"set/{name}{end}", gzip.compress(content) if end else content)
    return file.getvalue()


AXES, TESTS = str.maketrans("il", "xy"), {"train": "train", "t10k": "test"}


@rounds("sets of IDX files")
def test_a_damaged_archive_of_a_set_gives_its_numbers_or_one_line(how_many, small_set, tmp_path):
    rng, path = np.random.default_rng(7), tmp_path / "set.zip"
    arrays = {name: read_idx(small_set(tmp_path) / name) for name in FILES}
    whole = [load_mnist(split, tmp_path) for split in ("train", "validation", "test")]
    for number in range(how_many):
        content = an_archive(rng, arrays)
        content = content if number % 8 == 0 else damaged(rng, content)
        path.write_bytes(content)
        for split, expected in zip(("train", "validation", "test"), whole):
            read = judged("archives of sets", partial(load_mnist, split, path), size=len(content),
                          refusals=(IdxError, FileNotFoundError), named=path)
            assert read is not None or number % 8, number
            for one, other in zip(read or (), expected):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("megabytes", [8, pytest.param(256, marks=pytest.mark.slow)])
def test_a_gzip_bomb_that_lies_costs_nothing(megabytes, tmp_path):
    """A stream of zeros, a thousandth of its size, that claims to be more or less than it is."""
    for claimed in (1000, megabytes << 16, 1 << 30, (1 << 32) - 1):
        path = tmp_path / "bomb"
        header = struct.pack(">4BI", 0, 0, 8, 1, claimed)
        path.write_bytes(gzip.compress(header + bytes(megabytes << 20), 9))
        assert judged("gzip bombs", partial(read_idx, path), size=path.stat().st_size,
                      refusals=IdxError) is None


def test_a_bomb_of_labels_is_refused_by_its_header(small_set, tmp_path):
    """A sound file of 2^30 labels in 1 MB does not belong to 13 images: nothing of it is read."""
    small_set(tmp_path)
    header, step = struct.pack(">4BI", 0, 0, 8, 1, 1 << 30), bytes(1 << 20)
    with gzip.open(tmp_path / "train-labels-idx1-ubyte", "wb", 9) as file:
        file.write(header)
        for _ in range(32):
            file.write(step)
    with open(tmp_path / "train-labels-idx1-ubyte", "ab") as file:
        file.truncate(2 << 20)
    assert judged("gzip bombs", lambda: load_mnist("train", tmp_path), size=2 << 20,
                  refusals=IdxError, named="13 images and 1073741824 labels") is None


def test_links_pipes_and_devices_under_the_names(small_set, tmp_path):
    folder, name = small_set(tmp_path / "set"), "train-labels-idx1-ubyte"
    sound = (folder / name).read_bytes()
    (tmp_path / "outside").write_bytes(sound)
    (folder / name).unlink()
    for make, wanted in ((lambda at: os.symlink(tmp_path / "outside", at), 0),
                         (lambda at: os.symlink("nowhere", at), 2),
                         (lambda at: os.symlink(at, at), 2),
                         (lambda at: os.symlink("/dev/zero", at), 2),
                         (os.mkfifo, 2), (os.mkdir, 2)):
        make(folder / name)
        assert commanded("links, pipes, devices", ["data", "check", str(folder), "--any-set"],
                         size=4096)[0] == wanted
        (folder / name).rmdir() if (folder / name).is_dir() else (folder / name).unlink()


@pytest.mark.parametrize("images", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_no_image_and_one_image(images, tmp_path):
    for part in ("train", "t10k"):
        images_header = struct.pack(">4B3I", 0, 0, 8, 3, images, 28, 28)
        labels_header = struct.pack(">4BI", 0, 0, 8, 1, images)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(images_header + bytes(784 * images))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(labels_header + bytes(images))
    for split, number in (("train", images), ("validation", 0), ("test", images)):
        pixels, labels = load_mnist(split, tmp_path)
        assert pixels.shape == (number, 28, 28) and labels.shape == (number,)
    for words in (["craft", "--out", str(tmp_path / "o"), "--target", "3", "--max-distortion", "1"],
                  ["craft", "--out", str(tmp_path / "o"), "--split", "validation"], ["verify"],
                  ["survey", "make", "--out", str(tmp_path / "s.html")],
                  ["train", "--holdout", "0", "--epochs", "1", "--out", str(tmp_path / "w.npz")],
                  ["explain", "--target", "3", "--max-distortion", "1", "--out",
                   str(tmp_path / "p.html")],
                  ["reproduce", "--jobs", "1", "--out", str(tmp_path / "r"), "--only", "fig1",
                   "--only", "fig11"]):
        if images and words[0] in ("verify", "train"):
            continue  # these work; they are long
        commanded("sets of no and of one image", [*words, "--data", str(tmp_path)], size=1 << 26,
                  inside=tmp_path)
