"""Sets of images as they lie on people's disks: each form is read, or named for what it is.

The same images and labels are written in every form, so that what is read is known.
"""
import bz2
import gzip
import io
import lzma
import pickle
import shutil
import struct
import tarfile
import zipfile
from functools import partial

import numpy as np
import pytest
from scipy.io import savemat

from data import IdxError, load_emnist, load_mnist, read_idx, write_idx
from data.mnist import SHIPPED, check
from scripts.__main__ import main

IMAGES = {"train": np.random.default_rng(0).integers(0, 256, (13, 4, 4), np.uint8),
          "t10k": np.random.default_rng(1).integers(0, 256, (4, 4, 4), np.uint8)}
LABELS = {"train": np.arange(13, dtype=np.uint8) % 10, "t10k": np.arange(6, 10, dtype=np.uint8)}


def write_set(folder, names="{part}-{kind}-{rank}-ubyte", images=lambda a: a, labels=lambda a: a,
              test="t10k", rank="idx1", add=0):
    """The four files of the set in `folder`, in other names, shapes or types."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, called in (("train", "train"), ("t10k", test)):
        for kind, array, number in (("images", images(IMAGES[part]), "idx3"),
                                    ("labels", labels(LABELS[part] + add), rank)):
            path = folder / names.format(part=called, kind=kind, rank=number)
            path.parent.mkdir(exist_ok=True)
            write_idx(path, array)
    return folder


def is_the_set(where, load=load_mnist, turned=False, *rest):
    """Are all three splits those of `IMAGES` and `LABELS`?"""
    for split, part, rows in (("train", "train", slice(11)), ("validation", "train", slice(11, 13)),
                              ("test", "t10k", slice(4))):
        images, labels = load(split, where, *rest)
        expected = IMAGES[part][rows] / np.float32(255)
        assert images.dtype == np.float32 and labels.dtype == np.int64 and images.flags.c_contiguous
        np.testing.assert_array_equal(images, expected.transpose(0, 2, 1) if turned else expected)
        np.testing.assert_array_equal(labels, LABELS[part][rows])
    return True


def refusal(where, load=load_mnist, *rest, kind=(IdxError, FileNotFoundError)):
    with pytest.raises(kind) as caught:
        load("train", where, *rest)
    message = str(caught.value)
    assert "\n" not in message and str(where) in message
    return message


def pack(folder, path, method=zipfile.ZIP_DEFLATED, top=""):
    """All files of `folder` in the zip archive `path`."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, top + str(file.relative_to(folder)))
    return path


# Names and folders

@pytest.mark.parametrize("names", [
    "{part}-{kind}-{rank}-ubyte/{part}-{kind}-{rank}-ubyte",  # Kaggle
    "{part}-{kind}.{rank}-ubyte/{part}-{kind}.{rank}-ubyte", "{part}-{kind}-{rank}-ubyte.GZ",
    "{part}-{kind}-{rank}-ubyte.gz", "{part}_{kind}_{rank}-ubyte", "T-{part}-{kind}-{rank}-UBYTE",
    "kmnist-{part}-{kind}-{rank}-ubyte.gz",
])
@pytest.mark.parametrize("test", ["t10k", "test"])
def test_names_in_use(tmp_path, names, test):
    assert is_the_set(write_set(tmp_path, names, test=test))


@pytest.mark.parametrize("below", ["FashionMNIST/raw", "KMNIST/raw", "QMNIST/raw", "raw"])
def test_folders_of_torchvision(tmp_path, below):
    write_set(tmp_path / below)
    assert is_the_set(tmp_path)
    assert is_the_set(str(tmp_path / below.split("/")[0]))


def test_mnist_comes_before_the_other_sets_beside_it(tmp_path):
    """As in a folder that torchvision filled; without MNIST nothing is guessed."""
    write_set(tmp_path / "MNIST/raw")
    for other in ("FashionMNIST/raw", "KMNIST/raw"):
        write_set(tmp_path / other, labels=np.zeros_like)
    write_set(tmp_path / "EMNIST/raw", "emnist-letters-{part}-{kind}-{rank}-ubyte", test="test")
    assert is_the_set(tmp_path)
    shutil.rmtree(tmp_path / "MNIST")
    message = refusal(tmp_path)
    assert "FashionMNIST/raw, KMNIST/raw" in message and "name the folder of one" in message


def test_two_sets_in_one_folder(tmp_path):
    write_set(tmp_path, "a-{part}-{kind}-{rank}-ubyte")
    assert is_the_set(tmp_path)
    write_set(tmp_path, "b-{part}-{kind}-{rank}-ubyte", labels=np.zeros_like)
    assert "there are several sets (a-, b-)" in refusal(tmp_path)
    write_set(tmp_path)
    assert is_the_set(tmp_path)


def test_bytes_as_a_path(tmp_path):
    assert is_the_set(bytes(write_set(tmp_path)))


# Shapes and types

@pytest.mark.parametrize("images", [
    lambda a: a.reshape(len(a), 16), lambda a: a[..., None], lambda a: a[:, None]],
    ids=["(n, 784)", "(n, 28, 28, 1)", "(n, 1, 28, 28)"])
@pytest.mark.parametrize("labels", [
    lambda a: a[:, None], lambda a: a.astype(np.int32), lambda a: a[:, None].astype(np.int16),
    lambda a: np.stack([a.astype(np.int32)] + [a * 0 - 1] * 7, 1)],
    ids=["(n, 1)", "int32", "(n, 1) int16", "QMNIST"])
def test_shapes_in_use(tmp_path, images, labels):
    assert is_the_set(write_set(tmp_path, images=images, labels=labels))


def test_qmnist(tmp_path):
    def eight(labels):
        rest = np.random.default_rng(2).integers(0, 9999, (len(labels), 7))
        return np.column_stack([labels, rest]).astype(np.int32)

    write_set(tmp_path, "qmnist-{part}-{kind}-{rank}-ubyte", labels=eight, test="test", rank="idx2")
    for path in tmp_path.glob("*labels*"):
        path.rename(tmp_path / path.name.replace("ubyte", "int"))
    assert is_the_set(tmp_path)
    bad = eight(LABELS["train"])
    bad[3, 0] = 10
    write_idx(tmp_path / "qmnist-train-labels-idx2-int", bad)
    assert "found 10 at index 3 (offset 108)" in refusal(tmp_path)


@pytest.mark.parametrize(("images", "labels", "said"), [
    (lambda a: a.reshape(len(a), 16)[:, :8], np.copy, "uint8 (13, 8)"),
    (lambda a: np.stack([a] * 3, -1), np.copy, "found uint8 (13, 4, 4, 3)"),
    (lambda a: a / 255, np.copy, "found float64 (13, 4, 4)"),
    (np.copy, lambda a: np.eye(10, dtype=np.uint8)[a], "found uint8 (13, 10)"),
    (np.copy, lambda a: np.stack([a] * 8, 1), "found uint8 (13, 8)"),
    (np.copy, lambda a: a.astype(np.float32), "found float32 (13,)"),
    (np.copy, lambda a: a + np.uint8(1), "they are 1..10: did you mean labels - 1?"),
    (np.copy, lambda a: a.astype(np.int16) - 1, "found -1 at index 0"),
], ids=["rows of no square", "colour", "floats", "one-hot", "eight columns of bytes",
        "float labels", "labels 1..10", "labels -1..8"])
def test_shapes_and_labels_that_are_refused(tmp_path, images, labels, said):
    assert said in refusal(write_set(tmp_path, images=images, labels=labels))


# EMNIST

@pytest.mark.parametrize("below", ["", "gzip", "raw", "EMNIST/raw", "EMNIST/raw/gzip"])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_emnist_stands_upright_and_counts_from_0(tmp_path, below, end):
    for kind, add in (("letters", 1), ("balanced", 0)):
        write_set(tmp_path / below, f"emnist-{kind}-{{part}}-{{kind}}-{{rank}}-ubyte{end}",
                  test="test", add=np.uint8(add))
        assert is_the_set(tmp_path, load_emnist, True, kind)
    message = refusal(tmp_path)
    assert "load_emnist(split, directory, \"balanced\")" in message
    assert "no emnist-digits-train images" in refusal(tmp_path, load_emnist, "digits")


@pytest.mark.parametrize(("kind", "least", "most"), [
    ("letters", 1, 26), ("balanced", 0, 46), ("bymerge", 0, 46), ("byclass", 0, 61),
    ("digits", 0, 9), ("mnist", 0, 9)])
def test_the_classes_of_emnist(tmp_path, kind, least, most):
    names = f"emnist-{kind}-{{part}}-{{kind}}-{{rank}}-ubyte"

    def ends(labels):
        return np.where(np.arange(len(labels)) % 2, least, most).astype(np.uint8)

    write_set(tmp_path, names, labels=ends, test="test")
    assert set(load_emnist("train", tmp_path, kind)[1]) == {0, most - least}
    for beyond in {most + 1, least - 1} - {-1}:
        write_set(tmp_path, names, labels=partial(np.full_like, fill_value=beyond), test="test")
        assert f"expected labels in {least}..{most}, found {beyond}" in refusal(
            tmp_path, load_emnist, kind)


def test_wrong_words_for_emnist(tmp_path):
    with pytest.raises(ValueError, match="kind must be one of balanced, .*, found 'Letters'"):
        load_emnist("train", tmp_path, "Letters")
    with pytest.raises(ValueError, match="split must be one of train, .*, found 'valid'"):
        load_emnist("valid", tmp_path, "letters")


# Archives

@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("top", ["", "archive/raw/"])
@pytest.mark.parametrize("names", [
    "{part}-{kind}-{rank}-ubyte", "{part}-{kind}-{rank}-ubyte.gz",
    "{part}-{kind}-{rank}-ubyte/{part}-{kind}-{rank}-ubyte"])
def test_a_zip_archive_of_the_set(tmp_path, method, top, names):
    path = pack(write_set(tmp_path / "set", names), tmp_path / "a.zip", method, top)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"__MACOSX/{top}._train-images-idx3-ubyte", b"Mac OS X")
        archive.writestr(f"{top}readme.txt", b"digits")
    assert is_the_set(path)
    assert [row.shape for row in check(path)] == [(13, 4, 4), (13,), (4, 4, 4), (4,)]
    inside = top + names.format(part="t10k", kind="labels", rank="idx1")
    assert read_idx(path / inside).tolist() == LABELS["t10k"].tolist()
    assert f"no {inside}s in this" in refusal(path, lambda _, at: read_idx(at / f"{inside}s"))


def test_emnist_in_its_archive(tmp_path):
    write_set(tmp_path / "s/gzip", "emnist-letters-{part}-{kind}-{rank}-ubyte.gz", test="test",
              add=np.uint8(1))
    path = pack(tmp_path / "s", tmp_path / "gzip.zip")
    assert is_the_set(path, load_emnist, True, "letters")
    assert "load_emnist" in refusal(path)


def test_archives_that_hold_no_set_or_two(tmp_path):
    for name in ("a", "b"):
        write_set(tmp_path / "s" / name)
    assert "expected one set, found 2, in a, b" in refusal(pack(tmp_path / "s", tmp_path / "2.zip"))
    (tmp_path / "none").mkdir()
    assert "in this archive" in refusal(pack(tmp_path / "none", tmp_path / "0.zip"))


@pytest.mark.parametrize("savez", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", "CF")
def test_keras_mnist_npz(tmp_path, savez, order):
    savez(tmp_path / "mnist.npz", **{
        f"{axis}_{name}": np.asarray(arrays[part], order=order)
        for axis, arrays in (("x", IMAGES), ("y", LABELS))
        for name, part in (("train", "train"), ("test", "t10k"))})
    assert is_the_set(tmp_path / "mnist.npz") and is_the_set(tmp_path)
    np.savez(tmp_path / "mnist.npz", arr_0=IMAGES["train"])
    message = refusal(tmp_path / "mnist.npz")
    assert "expected the arrays x_train, y_train" in message and "found arr_0" in message


@pytest.mark.slow
def test_the_digits_in_keras_form_are_mnist(tmp_path, capsys):
    arrays = {f"{axis}_{name}": read_idx(SHIPPED / f"{part}-{kind}-ubyte.gz")
              for axis, kind in (("x", "images-idx3"), ("y", "labels-idx1"))
              for name, part in (("train", "train"), ("test", "t10k"))}
    np.savez_compressed(tmp_path / "mnist.npz", **arrays)
    assert main(["data", "check", str(tmp_path / "mnist.npz")]) == 0
    assert "all four files are MNIST's" in capsys.readouterr().out


@pytest.mark.parametrize(("change", "said"), [
    ({"x_train": np.full((13, 4, 4), None)}, "a pickle; none is ever loaded"),
    ({"x_train": np.full((13, 4, 4), "a")}, "expected numbers"),
    ({"x_train": np.zeros((13, 4, 4))}, "expected images, uint8 (n, height, width), found float64"),
    ({"y_train": np.arange(12)}, "13 images and 12 labels"),
    ({"y_train": np.arange(13)}, "expected labels in 0..9, found 10 at index 10"),
])
def test_wrong_arrays_in_keras_form(tmp_path, change, said):
    arrays = {"x_train": IMAGES["train"], "y_train": LABELS["train"], "x_test": IMAGES["t10k"],
              "y_test": LABELS["t10k"], **change}
    np.savez(tmp_path / "mnist.npz", **arrays)
    assert said in refusal(tmp_path / "mnist.npz")


# What is not read

def tar_bytes(folder):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(folder, "mnist")
    return file.getvalue()


def mat_bytes(_):
    file = io.BytesIO()
    savemat(file, {"dataset": IMAGES["train"]})
    return file.getvalue()


def torch_bytes(_):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("training/data.pkl", b"\x80\2.")
        archive.writestr("training/data/0", b"")
    return file.getvalue()


ROWS = b"label,pixel0,pixel1\n5,0,0\n0,0,255\n"
FOREIGN = {
    "mnist.tar": (tar_bytes, "a tar archive", "tar xf"),
    "mnist.tar.gz": (lambda folder: gzip.compress(tar_bytes(folder)), "a tar archive", "tar xf"),
    "mnist.tar.xz": (lambda folder: lzma.compress(tar_bytes(folder)), "an xz file", "xz -d"),
    "train.xz": (lambda _: lzma.compress(ROWS), "an xz file", "xz -d"),
    "train.bz2": (lambda _: bz2.compress(ROWS), "a bzip2 file", "bzip2 -d"),
    "mnist.7z": (lambda _: b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive", "7z x"),
    "mnist.zst": (lambda _: b"\x28\xb5\x2f\xfd\4", "a zstd file", "zstd -d"),
    "mnist_train.csv": (lambda _: ROWS, "plain text (CSV", "numpy.loadtxt"),
    "emnist-letters.mat": (mat_bytes, "a MATLAB file", "scipy.io.loadmat"),
    "train-00000-of-00001.parquet": (lambda _: b"PAR1\x15\4", "a Parquet file", "read_parquet"),
    "data.arrow": (lambda _: b"ARROW1\0\0", "an Arrow file", "pyarrow"),
    "mnist.pkl": (lambda _: pickle.dumps(IMAGES), "a pickle", "never loaded"),
    "mnist.pkl.gz": (lambda _: gzip.compress(pickle.dumps(IMAGES, 2)), "a pickle", "pickle.load"),
    "mnist.h5": (lambda _: b"\x89HDF\r\n\x1a\n", "an HDF5 file", "h5py"),
    "training.pt": (torch_bytes, "a file of torch.save", "torch.load"),
    "x_train.npy": (lambda _: b"\x93NUMPY\1\0", "a .npy array", "numpy.load"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_read_is_named_with_the_way_out(tmp_path, name):
    """In place of an IDX file, alone in a folder, and in place of the folder."""
    make, what, way = FOREIGN[name]
    write_set(tmp_path / "set")
    content = make(tmp_path / "set")
    path = tmp_path / "set" / "train-images-idx3-ubyte"
    path.write_bytes(content)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / name).write_bytes(content)
    said = [refusal(tmp_path / "set"), refusal(tmp_path / "alone"),
            refusal(path, lambda _, at: read_idx(at))]
    if not name.endswith("pt"):
        said.append(refusal(tmp_path / "alone" / name))
    for line in said:
        assert what in line and way in line, line


# Hostile archives; damaged ones are in tests/trust/test_fuzz_data.py

@pytest.mark.parametrize(("member", "field", "claim"), [
    ("t10k-images", 24, 1 << 31), ("t10k-images", 20, 1 << 31), ("t10k-labels", 24, 200_000)])
def test_an_archive_that_claims_more_than_it_holds(tmp_path, member, field, claim):
    """The table's size of a member (24) and of its packed bytes (20) are held against the
    archive's before memory is asked for."""
    path = pack(write_set(tmp_path / "set"), tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    at = content.rindex(member.encode()) - 46
    assert content[at:at + 4] == b"PK\1\2"
    struct.pack_into("<I", content, at + field, claim)
    path.write_bytes(content)
    assert "claims to hold" in refusal(path, lambda _, at: load_mnist("test", at))


def test_an_archive_of_a_gzip_bomb(tmp_path):
    """A gzip file that deflate shrinks again is held against its packed size."""
    bomb = gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, 1 << 27) + bytes(1 << 22), 9)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.gz", bomb)
    assert "body too short" in refusal(tmp_path / "a.zip", lambda _, at: read_idx(at))


@pytest.mark.parametrize("size", [(1 << 30) + 1])
def test_an_archive_that_is_too_large_or_of_too_many_members(tmp_path, size):
    path = pack(write_set(tmp_path / "set"), tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(1001):
            archive.writestr(f"{number}", b"")
    assert "1000 members at most" in refusal(path)
    with open(path, "ab") as file:
        file.truncate(size)
    assert "1,073,741,824 bytes at most" in refusal(path)
