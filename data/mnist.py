"""MNIST, or any set in its form (Fashion-MNIST, KMNIST, QMNIST, EMNIST), and the files' integrity.

In: a split's name and a folder (default: the MNIST shipped beside this file). Out: images in [0, 1]
and labels.
"""
import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.folders import find_pair
from data.idx import encode, read_header, read_idx
from data.npy import read_npy, read_npy_header
from data.sources import IdxError

SHIPPED = Path(__file__).parent / "mnist"
FILE_OF_SPLIT = {"train": "train", "validation": "train", "test": "t10k"}
CLASSES = 10
EMNIST = {"balanced": 47, "byclass": 62, "bymerge": 47, "digits": 10, "letters": 26, "mnist": 10}
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
    sha256: str  # of the uncompressed file in MNIST's form, hexadecimal
    is_mnist: bool


def load_mnist(split, directory=None):
    """Load one split: images and labels.

    Args:
        split: "train" (MNIST: the first 50,000 of the training file), "validation" (its last
            10,000; in any other set the last sixth) or "test" (10,000). The three are disjoint.
        directory: the folder of the IDX files, plain or `.gz`, named `train-images-idx3-ubyte` or
            `train-images.idx3-ubyte`, each also in a folder of its own name; or the folder above
            torchvision's `raw` or `MNIST/raw` (`FashionMNIST/raw`, `KMNIST/raw`, `QMNIST/raw`); or
            a zip archive of them; or Keras' `mnist.npz`. Default: the MNIST that ships with this
            package.

    Returns:
        (images, labels): float32 (n, height, width) in [0, 1] and int64 (n,) in 0..9.

    Raises:
        ValueError: for an unknown split.
        FileNotFoundError: for a missing file.
        IdxError: for an unsound one.
    """
    images, labels = _read_pair(*_find_pair(directory, _file_of(split)))
    return _part(split, images, labels)


def load_emnist(split, directory, kind):
    """Load one split of EMNIST: images, upright, and labels from 0.

    Args:
        split: "train", "validation" (the last sixth of the training file) or "test".
        directory: the folder of the files, plain or `.gz`, named
            `emnist-letters-train-images-idx3-ubyte` and the like, or the one above `gzip` or
            torchvision's `EMNIST/raw`; or a zip archive of them.
        kind: "balanced" or "bymerge" (47 classes), "byclass" (62), "letters" (26), "digits" or
            "mnist" (10).

    Returns:
        (images, labels): as `load_mnist`. The file's images are transposed, these stand upright;
        the file's letters are 1..26, these are 0..25.

    Raises:
        ValueError, FileNotFoundError, IdxError: as `load_mnist`.
    """
    if kind not in EMNIST:
        raise ValueError(f"kind must be one of {', '.join(EMNIST)}, found {kind!r}")
    first = int(kind == "letters")
    paths = find_pair(directory, _file_of(split), f"emnist-{kind}-")
    images, labels = _read_classes(*paths, EMNIST[kind], first)
    return _part(split, images.transpose(0, 2, 1), labels)


def _file_of(split):
    if split not in FILE_OF_SPLIT:
        raise ValueError(f"split must be one of {', '.join(FILE_OF_SPLIT)}, found {split!r}")
    return FILE_OF_SPLIT[split]


def _part(split, images, labels):
    """Of the arrays of a file, the images in [0, 1] and labels of a split."""
    border = len(images) - len(images) // 6
    parts = {"train": slice(border), "validation": slice(border, None), "test": slice(None)}
    part = parts[split]
    scaled = images[part].astype(np.float32, order="C")
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
    return find_pair(SHIPPED if directory is None else directory, part)


def _read_pair(images_path, labels_path):
    return _read_classes(images_path, labels_path, CLASSES, 0)


def _read_classes(images_path, labels_path, classes, first):
    """Images (n, height, width) and labels (n,) from 0, both uint8, after all checks.

    What the headers claim is checked before. `first`: the label of the first class in the file.
    """
    image_shape = _shape(images_path, "images", "(n, height, width)", _image_shape)
    (label_count,) = _shape(labels_path, "labels", "(n,)", _label_shape)
    if image_shape[0] != label_count:
        raise IdxError(f"{images_path}: expected as many images as labels, found {image_shape[0]} "
                       f"images and {label_count} labels in {labels_path}")
    images = _read(images_path).reshape(image_shape)
    labels = _read(labels_path)
    _check_labels(labels_path, labels, classes, first)
    return images, (_column(labels) - first).astype(np.uint8)


def _column(labels):
    return labels if labels.ndim == 1 else labels[:, 0]


def _read(path):
    return read_npy(path) if path.suffix == ".npy" else read_idx(path)


def _shape(path, kind, form, shape_of):
    """The shape that the array of a file has in MNIST's form, from its header."""
    dtype, shape = (read_npy_header if path.suffix == ".npy" else read_header)(path)
    in_form = shape_of(dtype, shape)
    if in_form is None:
        likely = {(np.uint8, 1): ", a label file", (np.uint8, 3): ", an image file"}
        looks = likely.get((dtype.type, len(shape)), "")
        raise IdxError(f"{path}: expected {kind}, uint8 {form}, found {dtype.name} {shape}{looks}")
    return in_form


def _image_shape(dtype, shape):
    """(n, height, width) of images that have one channel, or are rows with a square side."""
    if dtype != np.uint8 or len(shape) < 2:
        return None
    if len(shape) == 2:
        width = math.isqrt(shape[1])
        return (shape[0], width, width) if width * width == shape[1] else None
    if len(shape) == 4 and 1 in (shape[1], shape[3]):
        return (shape[0], *(shape[1:3] if shape[3] == 1 else shape[2:]))
    return shape if len(shape) == 3 else None


def _label_shape(dtype, shape):
    """(n,) of labels, of whole numbers of any width; of QMNIST's eight columns the first counts."""
    columns = {1, 8} if dtype == np.int32 else {1}
    one_each = len(shape) == 1 or len(shape) == 2 and shape[1] in columns
    return shape[:1] if one_each and dtype.kind in "iu" else None


def _check_labels(path, labels, classes, first):
    """Every label is one of `classes`, counted from `first`."""
    column, last = _column(labels), first + classes - 1
    beyond = np.flatnonzero((column < first) | (column > last))
    if beyond.size:
        at = beyond[0]
        hint = ""
        if path.suffix != ".npy":
            hint = f" (offset {4 + 4 * labels.ndim + labels.strides[0] * at})"
        if not first and (column.min(), column.max()) == (1, classes):
            hint += f"; they are 1..{classes}: did you mean labels - 1?"
        raise IdxError(f"{path}: expected labels in {first}..{last}, found {column[at]} at index "
                       f"{at}{hint}")
