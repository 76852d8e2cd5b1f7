"""Weights files: bit for bit there and back, and one line for every kind of damage, with the
network left untouched."""
import io
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

from nn import Conv2d, Flatten, LeNet, Linear, Network, WeightsError, load_weights, save_weights

NAMES = ["conv.weight", "conv.bias", "fc.weight", "fc.bias"]
ORDER = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 12), }"


def small(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    network = Network({"conv": Conv2d(1, 3, 2), "flatten": Flatten(), "fc": Linear(12, 3)}, (3, 3))
    return network.load({name: rng.normal(size=a.shape).astype(dtype)
                         for name, a in network.parameters().items()})


def member(array, **options):
    """The bytes of an `.npy` file."""
    file = io.BytesIO()
    npy.write_array(file, np.asanyarray(array), **options)
    return file.getvalue()


def raw_member(header, version=1, length=None, body=bytes(144)):
    """An `.npy` file whose header is whatever text stands in `header`."""
    text = header.encode("latin1") + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return npy.MAGIC_PREFIX + bytes([version, 0]) + size + text + body


def write(path, members, **options):
    """A zip file with the members of a good weights file, changed by {name: bytes, or None to leave
    it out}."""
    good = {f"{name}.npy": member(array) for name, array in small(1).parameters().items()}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in {**good, **members}.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def refused(path, network=None):
    """The one line with which `path` is refused; the network must be as before."""
    network = network or small()
    before = {name: (array, array.copy()) for name, array in network.parameters().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(WeightsError) as caught:
            load_weights(path, network)
    for name, array in network.parameters().items():
        assert array is before[name][0]
        np.testing.assert_array_equal(array, before[name][1])
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


# there and back

@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back_bit_for_bit(tmp_path, dtype, layout):
    network = small(3, dtype)
    odd = network.parameters()["fc.weight"]
    odd.flat[:6] = [-0.0, np.finfo(dtype).tiny / 8, np.finfo(dtype).max, -np.finfo(dtype).max,
                    np.pi, 1 / 3]
    network.load({name: layout(array) for name, array in network.parameters().items()})
    save_weights(tmp_path / "w.npz", network)
    again = load_weights(tmp_path / "w.npz", small(4))
    assert list(again.parameters()) == NAMES
    for name, array in network.parameters().items():
        got = again.parameters()[name]
        assert got.dtype == dtype and got.shape == array.shape and got.tobytes() == array.tobytes()


def test_the_file_is_a_plain_npz_with_pytorchs_names(tmp_path):
    network = LeNet(2)
    save_weights(str(tmp_path / "w.npz"), network)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as file:
        assert {name: file[name].shape for name in file} == {
            "conv1.weight": (20, 1, 5, 5), "conv1.bias": (20,), "conv2.weight": (50, 20, 5, 5),
            "conv2.bias": (50,),
            "fc1.weight": (500, 800), "fc1.bias": (500,), "fc2.weight": (10, 500),
            "fc2.bias": (10,)}
        for name, array in network.parameters().items():
            np.testing.assert_array_equal(file[name], array)


@pytest.mark.parametrize("savez", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("change", [
    lambda a: a, lambda a: a.astype(a.dtype.newbyteorder(">")), np.asfortranarray,
    lambda a: a.astype(">f8"),
], ids=["plain", ">f4", "fortran", ">f8"])
def test_files_of_numpy_load(tmp_path, savez, change):
    network = small(5)
    savez(tmp_path / "w.npz", **{name: change(array)
                                 for name, array in network.parameters().items()})
    again = load_weights(tmp_path / "w.npz", small(6))
    for name, array in network.parameters().items():
        np.testing.assert_array_equal(again.parameters()[name], array)
        assert again.parameters()[name].dtype.isnative
    x = np.random.default_rng(0).random((2, 9)).astype(np.float32)
    np.testing.assert_allclose(again.logits(x), network.logits(x), rtol=1e-5)


# saving

def test_the_same_weights_give_the_same_bytes(tmp_path, monkeypatch):
    save_weights(tmp_path / "a.npz", small(1))
    monkeypatch.setattr("time.time", lambda: 2e9)
    save_weights(tmp_path / "b.npz", small(1))
    save_weights(tmp_path / "a.npz", small(1))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    save_weights(tmp_path / "b.npz", small(2))
    assert (tmp_path / "a.npz").read_bytes() != (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("fails", ["replace", "fsync"])
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, fails):
    def fail(*args):
        raise OSError("disk full")

    save_weights(tmp_path / "w.npz", small(1))
    before = (tmp_path / "w.npz").read_bytes()
    monkeypatch.setattr(os, fails, fail)
    for name in ("w.npz", "new.npz"):
        with pytest.raises(OSError, match="disk full"):
            save_weights(tmp_path / name, small(2))
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]
    assert (tmp_path / "w.npz").read_bytes() == before


def test_an_array_that_cannot_be_written_leaves_the_old_file(tmp_path):
    network = small(1)
    save_weights(tmp_path / "w.npz", network)
    before = (tmp_path / "w.npz").read_bytes()
    network.layers["fc"].parameters["bias"] = np.array([None, 1, 2], object)
    with pytest.raises(ValueError):
        save_weights(tmp_path / "w.npz", network)
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]
    assert (tmp_path / "w.npz").read_bytes() == before


def test_the_temporary_is_beside_the_file_until_it_is_complete(tmp_path, monkeypatch):
    """`os.replace` gets a complete file of the same folder, so another reader never sees half of
    one."""
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace",
                        lambda old, new: (moved.append((old, zipfile.ZipFile(old).testzip())),
                                                         replace(old, new)))
    save_weights(tmp_path / "w.npz", small(1))
    (old, damaged), = moved
    assert os.path.dirname(old) == str(tmp_path) and damaged is None
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]


# files that are refused

WEIGHT = np.ones((3, 12), np.float32)
WRONG_ARRAYS = {
    "shape": (member(WEIGHT.T), r"fc.weight must have the shape (3, 12); got (12, 3)"),
    "one axis more": (member(WEIGHT[None]),
                      "fc.weight must have the shape (3, 12); got (1, 3, 12)"),
    "a number": (member(np.float32(1)), "fc.weight must have the shape (3, 12); got ()"),
    "integers": (member(WEIGHT.astype(int)), "fc.weight must be float32 or float64; got int64"),
    "booleans": (member(WEIGHT > 0), "fc.weight must be float32 or float64; got bool"),
    "half precision": (member(WEIGHT.astype(np.float16)),
                       "fc.weight must be float32 or float64; got float16"),
    "complex": (member(WEIGHT.astype(complex)),
                "fc.weight must be float32 or float64; got complex128"),
    "text": (member(WEIGHT.astype("U3")), "fc.weight must be float32 or float64; got <U3"),
    "a structure": (member(np.zeros((3, 12), [("a", "f4")])),
                    "fc.weight must be float32 or float64"),
    "nan": (member(np.where(np.eye(3, 12) > 0, np.nan, WEIGHT)),
            "fc.weight has NaN or infinite values"),
    "infinity": (member(np.where(np.eye(3, 12) > 0, -np.inf, WEIGHT)),
                 "fc.weight has NaN or infinite values"),
    "short": (member(WEIGHT)[:-1], "fc.weight is cut short or damaged"),
    "header only": (member(WEIGHT)[:-144], "fc.weight is cut short or damaged"),
    "half a header": (member(WEIGHT)[:40], "fc.weight is not a NumPy array"),
    "nothing": (b"", "fc.weight is not a NumPy array"),
    "not an array": (b"hello, world", "fc.weight is not a NumPy array"),
    "a pickle": (pickle.dumps(WEIGHT), "fc.weight is not a NumPy array"),
    "terabytes": (raw_member(ORDER.replace("(3, 12)", "(1000000, 1000000)")),
                  "fc.weight must have the shape (3, 12); got (1000000, 1000000)"),
    "a negative size": (raw_member(ORDER.replace("(3, 12)", "(-3, -12)")),
                        "fc.weight must have the shape (3, 12)"),
    "a header of 4 GB": (raw_member(ORDER, 2, 4_000_000_000), "fc.weight is not a NumPy array"),
    "version 9": (raw_member(ORDER, 9), "fc.weight"),
    "header: no dictionary": (raw_member("[1, 2]"), "fc.weight is not a NumPy array"),
    "header: other keys": (raw_member("{1: 2, 'shape': 3}"), "fc.weight is not a NumPy array"),
    "header: code": (raw_member("__import__('os').abort()"), "fc.weight is not a NumPy array"),
    "header: cut inside a bracket": (raw_member(ORDER[:50]), "fc.weight"),
    "header: cut inside a word": (raw_member(ORDER[:12]), "fc.weight"),
    "header: deeply nested": (raw_member("-" * 9000 + "1"), "fc.weight"),
    "header: many brackets": (raw_member("(" * 9000), "fc.weight"),
    "header: empty descr": (raw_member(ORDER.replace("'<f4'", "()")), "fc.weight"),
}


@pytest.mark.parametrize("kind", WRONG_ARRAYS)
def test_a_wrong_array_is_named(tmp_path, kind):
    content, message = WRONG_ARRAYS[kind]
    assert message in refused(write(tmp_path / "w.npz", {"fc.weight.npy": content}))


def test_the_last_array_is_checked_before_the_first_is_taken_over(tmp_path):
    path = write(tmp_path / "w.npz", {"fc.bias.npy": member(np.full(3, np.nan))})
    assert "fc.bias has NaN" in refused(path)


@pytest.mark.parametrize(("members", "message"), [
    ({"fc.bias.npy": None}, "missing 'fc.bias.npy'"),
    ({"fc.extra.npy": member(WEIGHT)}, "unknown 'fc.extra.npy'"),
    ({"fc.bias.npy": None, "fc.Bias.npy": member(WEIGHT[0, :3])},
     "missing 'fc.bias.npy'; unknown 'fc.Bias.npy'"),
    ({"a\nb.npy": b""}, r"unknown 'a\nb.npy'"),
    ({"fc.weight": member(WEIGHT)}, "unknown 'fc.weight'"),
    ({"fc.weight.npy": None, "fc.weight": member(WEIGHT)},
     "missing 'fc.weight.npy'; unknown 'fc.weight'"),
], ids=["missing", "unknown", "both", "line break", "twice, once without .npy", "without .npy"])
def test_wrong_names_are_named(tmp_path, members, message):
    assert message in refused(write(tmp_path / "w.npz", members))


def test_a_name_that_stands_twice(tmp_path):
    path = write(tmp_path / "w.npz", {})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("fc.bias.npy", member(np.ones(3, np.float32)))
    assert "twice" in refused(path)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "w.npz", small())


@pytest.mark.parametrize("content",
                         [b"", b"hello\n", member(WEIGHT), b"PK\5\6", bytes(5000),
                          pickle.dumps({"a": 1})],
                         ids=["empty", "text", "npy", "half an end", "zeros", "pickle"])
def test_not_a_zip_file(tmp_path, content):
    (tmp_path / "w.npz").write_bytes(content)
    refused(tmp_path / "w.npz")


def test_a_folder(tmp_path):
    (tmp_path / "w.npz").mkdir()
    refused(tmp_path / "w.npz")


@pytest.mark.parametrize(("signature", "flags", "name"), [(b"PK\1\2", 9, 46), (b"PK\3\4", 7, 30)],
                         ids=["in the table", "beside the array"])
def test_a_name_that_is_not_utf8_though_it_says_so(tmp_path, signature, flags, name):
    content = bytearray(write(tmp_path / "w.npz", {}).read_bytes())
    start = content.index(signature)
    content[start + flags] |= 8
    content[start + name] = 0xff
    (tmp_path / "w.npz").write_bytes(content)
    refused(tmp_path / "w.npz")


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_is_never_read(tmp_path):
    bomb = np.full((3, 12), Bomb(tmp_path / "exploded"), object)
    path = write(tmp_path / "w.npz", {"fc.weight.npy": member(bomb, allow_pickle=True)})
    assert "fc.weight holds Python objects (a pickle)" in refused(path)
    raw = raw_member(ORDER, body=pickle.dumps(Bomb(tmp_path / "exploded")) + bytes(144))
    path = write(tmp_path / "w.npz", {"fc.weight.npy": raw})
    load_weights(path, small())  # the bytes of a pickle, read as numbers
    (tmp_path / "w.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    refused(tmp_path / "w.npz")
    assert not (tmp_path / "exploded").exists()
    np.load(io.BytesIO(member(bomb, allow_pickle=True)), allow_pickle=True)  # the bomb is one
    assert (tmp_path / "exploded").exists()


def test_a_file_cut_short_anywhere(tmp_path):
    save_weights(tmp_path / "good.npz", small(1))
    content = (tmp_path / "good.npz").read_bytes()
    for size in range(0, len(content), 3):
        (tmp_path / "w.npz").write_bytes(content[:size])
        refused(tmp_path / "w.npz")


def wrong_bytes(folder, savez, stride, all_of_the_end):
    """Every `stride`-th byte, and all of the last ones, wrong: the file is refused in one line, or
    the byte was not one of the numbers'."""
    saved = small(1).parameters()
    savez(folder / "good.npz", **saved)
    content, path = bytearray((folder / "good.npz").read_bytes()), folder / "w.npz"
    loaded, network, before = 0, small(), small().parameters()
    warnings.simplefilter("ignore")  # undone by pytest
    for position, flip in enumerate(np.random.default_rng(0).integers(1, 256, len(content))):
        if position % stride and position < len(content) - all_of_the_end:
            continue
        damaged = content.copy()
        damaged[position] ^= int(flip)
        path.write_bytes(damaged)
        network.load(before)
        try:
            load_weights(path, network)
        except WeightsError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            continue
        loaded += 1
        for name, array in network.parameters().items():
            np.testing.assert_array_equal(array, saved[name])
    assert loaded < len(content) / 2


@pytest.mark.parametrize("savez", [np.savez, np.savez_compressed])
def test_a_file_with_a_wrong_byte_anywhere(tmp_path, savez):
    """A tenth of them and the zip file's end; all of them in the slow test below."""
    wrong_bytes(tmp_path, savez, 10, 100)


@pytest.mark.slow
@pytest.mark.parametrize("savez", [np.savez, np.savez_compressed])
def test_a_file_with_every_byte_wrong(tmp_path, savez):
    wrong_bytes(tmp_path, savez, 1, 0)


@pytest.mark.parametrize(("content", "options"), [
    (raw_member(ORDER.replace("(3, 12)", "(1000000, 1000000)")), {}),
    (raw_member(ORDER, 2, 4_000_000_000), {}),
    (npy.MAGIC_PREFIX + b"\2\0" + struct.pack("<I", 60_000_000) + b" " * 60_000_000,
     {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}),
], ids=["terabytes", "a header of 4 GB, claimed", "a header of 60 MB, compressed"])
def test_a_small_file_cannot_ask_for_memory(tmp_path, content, options):
    path = write(tmp_path / "w.npz", {"fc.weight.npy": content}, **options)
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
