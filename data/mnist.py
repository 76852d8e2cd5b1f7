"""MNIST, or any set of four IDX files in its form (Fashion-MNIST, ...), and the files' integrity.

In: a split's name and a folder (default: the MNIST shipped beside this file). Out: images in [0, 1]
and labels.
"""
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.idx import IdxError, encode, read_header, read_idx

SHIPPED = Path(__file__).parent / "mnist"
FILE_OF_SPLIT = {"train": "train", "validation": "train", "test": "t10k"}
CLASSES = 10
SHA256 = {  # of the uncompressed files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class CheckedFile(NamedTuple):
    """One file that `check` looked at."""

    file: Path
    shape: tuple  # of integers
    sha256: str  # of the uncompressed file, hexadecimal
    is_mnist: bool


def load_mnist(split, directory=None):
    """Load one split: images and labels.

    Args:
        split: "train" (MNIST: the first 50,000 of the training file), "validation" (its last
            10,000; in any other set the last sixth) or "test" (10,000). The three are disjoint.
        directory: where the IDX files are, plain or `.gz`, named `train-images-idx3-ubyte` or
            `train-images.idx3-ubyte`, directly or in torchvision's `raw` or `MNIST/raw` below;
            default: the MNIST that ships with this package.

    Returns:
        (images, labels): float32 (n, height, width) in [0, 1] and int64 (n,) in 0..9.

    Raises:
        ValueError: for an unknown split.
        FileNotFoundError: for a missing file.
        IdxError: for an unsound one.
    """
    if split not in FILE_OF_SPLIT:
        raise ValueError(f"split must be one of {', '.join(FILE_OF_SPLIT)}, found {split!r}")
    images, labels = _read_pair(*_find_pair(directory, FILE_OF_SPLIT[split]))
    border = len(images) - len(images) // 6
    parts = {"train": slice(border), "validation": slice(border, None), "test": slice(None)}
    part = parts[split]
    scaled = images[part].astype(np.float32)
    scaled /= 255
    return scaled, labels[part].astype(np.int64)


def check(directory=None):
    """Read all four files of a set (see `load_mnist`): four `CheckedFile`s, training files first.

    Raises FileNotFoundError or `IdxError` if a file is missing or unsound, or if images and labels
    do not fit.
    """
    checked = []
    for part in ("train", "t10k"):
        paths = _find_pair(directory, part)
        for kind, path, array in zip(("images-idx3", "labels-idx1"), paths, _read_pair(*paths)):
            header, body = encode(array)
            digest = hashlib.sha256(header)
            digest.update(body)
            sha256 = digest.hexdigest()
            is_mnist = sha256 == SHA256[f"{part}-{kind}-ubyte"]
            checked.append(CheckedFile(path, array.shape, sha256, is_mnist))
    return checked


def _find_pair(directory, part):
    """Paths of the images and the labels of `part` ("train" or "t10k"), both in one folder."""
    directory = SHIPPED if directory is None else Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: no such folder "
                                f"(looked there for {part}-images-idx3-ubyte)")
    folders = [directory, directory / "raw", directory / "MNIST" / "raw"]
    names = [[f"{part}-{kind}{dot}{rank}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
             for kind, rank in (("images", "idx3"), ("labels", "idx1"))]
    pairs = [[_first_file(folder, spellings) for spellings in names] for folder in folders]
    for pair in pairs:
        if all(pair):
            return pair
    has_images = any(images for images, _ in pairs)
    raise FileNotFoundError(f"{directory}: no {part} {'labels' if has_images else 'images'}: "
                            f"looked for {', '.join(names[has_images])} "
                            f"in {', '.join(map(str, folders))}")


def _first_file(folder, names):
    """The path of the first name that is a file in `folder`, or None."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_pair(images_path, labels_path):
    """Images (n, height, width) and labels (n,), both uint8, after all checks.

    What the headers claim is checked first.
    """
    image_count = _count(images_path, "images", "(n, height, width)", 3)
    label_count = _count(labels_path, "labels", "(n,)", 1)
    if image_count != label_count:
        raise IdxError(f"{images_path}: expected as many images as labels, found {image_count} "
                       f"images and {label_count} labels in {labels_path}")
    images = read_idx(images_path)
    labels = read_idx(labels_path)
    beyond = np.flatnonzero(labels >= CLASSES)
    if beyond.size:
        first = beyond[0]
        raise IdxError(f"{labels_path}: expected labels in 0..{CLASSES - 1}, found "
                       f"{labels[first]} at index {first} (offset {8 + first})")
    return images, labels


def _count(path, kind, form, rank):
    """How many images or labels the header of the file claims to hold."""
    dtype, shape = read_header(path)
    if dtype == np.uint8 and len(shape) == rank:
        return shape[0]
    likely = {(np.uint8, 1): ", a label file", (np.uint8, 3): ", an image file"}
    looks = likely.get((dtype.type, len(shape)), "")
    raise IdxError(f"{path}: expected {kind}, uint8 {form}, found {dtype.name} {shape}{looks}")
