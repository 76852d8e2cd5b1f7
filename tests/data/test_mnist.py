"""Splits and sets: MNIST's published facts, and small sets made by hand."""
import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

import data
from data import IdxError, load_mnist
from data.mnist import check


@pytest.fixture(scope="module")
def mnist():
    return {split: load_mnist(split) for split in ("train", "validation", "test")}


@pytest.mark.parametrize("split, count",
                         [("train", 50_000), ("validation", 10_000), ("test", 10_000)])
def test_shapes_types_and_range(mnist, split, count):
    images, labels = mnist[split]
    assert images.shape == (count, 28, 28) and images.dtype == np.float32
    assert labels.shape == (count,) and labels.dtype == np.int64
    assert images.min() == 0 and images.max() == 1


def test_published_labels(mnist):
    assert np.bincount(mnist["test"][1]).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    training = np.concatenate([mnist["train"][1], mnist["validation"][1]])
    assert np.bincount(training).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist["train"][1][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist["test"][1][:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_published_mean_and_deviation_of_the_training_pixels(mnist):
    pixels = np.concatenate([mnist["train"][0], mnist["validation"][0]])
    assert abs(pixels.mean(dtype=np.float64) - 0.1307) < 5e-5
    assert abs(pixels.std(dtype=np.float64) - 0.3081) < 5e-5


def test_the_files_bytes_are_the_pixels(mnist):
    for split, part, first in (("train", "train", 0), ("validation", "train", 50_000),
                               ("test", "t10k", 0)):
        path = Path(data.__file__).parent / f"mnist/{part}-images-idx3-ubyte.gz"
        content = gzip.decompress(path.read_bytes())
        start = 16 + 784 * first
        raw = np.frombuffer(content[start:start + 784 * 1000], np.uint8).reshape(-1, 28, 28)
        assert np.array_equal(mnist[split][0][:1000], raw / np.float32(255))


def test_the_default_folder_does_not_depend_on_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_mnist("test")[1][:3].tolist() == [7, 2, 1]


def test_another_set_is_split_in_the_same_proportion(tmp_path, small_set):
    small_set(tmp_path)
    images, labels = load_mnist("train", tmp_path)
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0] and images.shape == (11, 3, 2)
    images, labels = load_mnist("validation", tmp_path)
    assert labels.tolist() == [1, 2]
    expected = [[[110, 111], [112, 113], [114, 115]], [[120, 121], [122, 123], [124, 125]]]
    assert np.array_equal(images, np.array(expected, np.float32) / np.float32(255))
    assert load_mnist("test", tmp_path)[1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("dot", "-.")
@pytest.mark.parametrize("end", ["", ".gz"])
def test_names_and_folders_in_use(tmp_path, small_set, below, dot, end):
    small_set(tmp_path / below, dot, end)
    assert load_mnist("test", str(tmp_path))[1].tolist() == [0, 1, 2, 3]
    assert [row.shape for row in check(tmp_path)] == [(13, 3, 2), (13,), (4, 3, 2), (4,)]


def test_images_and_labels_come_from_one_folder(tmp_path, small_set):
    small_set(tmp_path / "raw")
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        content = bytearray((tmp_path / "raw" / name).read_bytes())
        content[-1] = 9
        (tmp_path / name).write_bytes(content)
    assert load_mnist("test", tmp_path)[1].tolist() == [0, 1, 2, 9]
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    assert load_mnist("test", tmp_path)[1].tolist() == [0, 1, 2, 3]


def test_a_folder_of_the_files_name_is_passed_over(tmp_path, small_set):
    (tmp_path / "t10k-images-idx3-ubyte").mkdir()
    small_set(tmp_path, ".")
    assert load_mnist("test", tmp_path)[0].shape == (4, 3, 2)


@pytest.mark.parametrize("split", ["valid", "", None, 0])
def test_unknown_split(split):
    with pytest.raises(ValueError,
                       match="split must be one of train, validation, test, found") as caught:
        load_mnist(split)
    assert repr(split) in str(caught.value)


def refusal(folder, kind=IdxError, split="train"):
    with pytest.raises(kind) as caught:
        load_mnist(split, folder)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and str(folder) in message
    with pytest.raises(kind) as again:
        check(folder)
    assert str(again.value) == message
    return message


@pytest.mark.parametrize("missing", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_a_missing_file_is_named_with_all_places(tmp_path, small_set, missing):
    small_set(tmp_path)
    (tmp_path / missing).unlink()
    message = refusal(tmp_path, FileNotFoundError)
    other = missing.replace("images-idx", "images.idx").replace("labels-idx", "labels.idx")
    for word in (missing, f"{missing}.gz", other, f"{tmp_path}/raw", f"{tmp_path}/MNIST/raw"):
        assert word in message
    kind = missing.split("-")[1]
    assert message.startswith(f"{tmp_path}: no train {kind}: looked for {missing}, ")


def test_a_missing_folder_is_named(tmp_path):
    assert "no such folder" in refusal(tmp_path / "nowhere", FileNotFoundError)


IMAGES = struct.pack(">4B3I", 0, 0, 8, 3, 13, 3, 2) + bytes(78)
LABELS = struct.pack(">4BI", 0, 0, 8, 1, 13) + bytes(13)
UNFIT = {
    "labels-as-images": ("images-idx3", LABELS, ["expected images", "uint8 (13,)", "label file"]),
    "images-as-labels": ("labels-idx1", IMAGES,
                         ["expected labels", "uint8 (13, 3, 2)", "image file"]),
    "signed-images": ("images-idx3", b"\0\0\x09" + IMAGES[3:],
                      ["expected images, uint8", "found int8"]),
    "float-labels": ("labels-idx1", struct.pack(">4BI13f", 0, 0, 13, 1, 13, *[0] * 13),
                     ["labels, uint8", "float32"]),
    "rank-two": ("images-idx3", struct.pack(">4B2I", 0, 0, 8, 2, 13, 6) + bytes(78),
                 ["(n, height, width)", "(13, 6)"]),
    "counts": ("labels-idx1", LABELS[:7] + b"\x0c" + bytes(12),
               ["13 images", "12 labels", "images-idx3"]),
    "label-ten": ("labels-idx1", LABELS[:-3] + b"\x0a\x0b\x00",
                  ["0..9", "found 10", "index 10", "offset 18"]),
    "damaged": ("labels-idx1", LABELS[:-1], ["body too short"]),
}


@pytest.mark.parametrize("file, content, words", UNFIT.values(), ids=UNFIT)
def test_unfit_files_are_refused_in_one_line(tmp_path, small_set, file, content, words):
    small_set(tmp_path)
    path = tmp_path / f"train-{file}-ubyte"
    path.write_bytes(content)
    message = refusal(tmp_path)
    assert [word for word in [str(path), *words] if word not in message] == []


def test_check_knows_mnist_by_the_sha256_of_the_uncompressed_bytes():
    rows = check()
    assert [row.file.name for row in rows] == [
        "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    assert [row.shape for row in rows] == [(60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)]
    assert all(row.is_mnist for row in rows)
    readme = (Path(data.__file__).parent / "mnist/README.md").read_text(encoding="utf-8")
    for row in rows:
        assert row.sha256 == hashlib.sha256(gzip.decompress(row.file.read_bytes())).hexdigest()
        assert f"{row.sha256}  {row.file.stem}" in readme


def test_check_of_another_set(tmp_path, small_set):
    rows = check(small_set(tmp_path, end=".gz"))
    assert not any(row.is_mnist for row in rows)
    assert [row.sha256 for row in rows] == [
        hashlib.sha256(gzip.decompress(row.file.read_bytes())).hexdigest() for row in rows]
