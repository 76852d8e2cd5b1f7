"""Weights files, damaged or forged at random: the weights that were saved, or one line with the
network left as it was.

Every wrong array, name and byte of one small file is in tests/nn/test_weights.py; here come their
combinations, archives that ask for memory, and training records (`jsma train --resume`).
"""
import io
import json
import os
import pickle
import shutil
import struct
import warnings
import zipfile

import numpy as np
import pytest
from fuzz import NAMES, anything, commanded, damaged, judged, rounds, some

from data import load_mnist, write_idx
from nn import Conv2d, Flatten, Linear, Network, WeightsError, load_weights
from nn.weights import load_arrays
from scripts.__main__ import main

DTYPES = ("<f4", ">f4", "<f8", ">f8", "<f2", "<i4", "?", "<c8", "<U3", "O", "<f16", "V4")


class Bomb:
    """Unpickled, it would write a file."""

    def __reduce__(self):
        return open, ("exploded", "w")


def small(seed=0):
    rng = np.random.default_rng(seed)
    network = Network({"conv": Conv2d(1, 3, 2), "flatten": Flatten(), "fc": Linear(12, 3)}, (3, 3))
    return network.load({name: rng.normal(size=a.shape).astype(np.float32)
                         for name, a in network.parameters().items()})


def npy_bytes(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=True)
    return file.getvalue()


def a_member(rng, array):
    """The bytes of an `.npy` file, and the array it holds if that may be loaded, else None."""
    kind = int(rng.integers(0, 6))
    if kind <= 2:
        stored = array.astype(some(rng, ("<f4", ">f4", "<f8", ">f8")))
        return npy_bytes(np.asfortranarray(stored) if kind == 2 else stored), stored
    if kind == 3:
        dtype = np.dtype(some(rng, DTYPES))
        stored = (np.full(array.shape, Bomb(), object) if dtype.hasobject
                  else np.zeros(array.shape, dtype))
        return npy_bytes(stored), stored if dtype.kind == "f" and dtype.itemsize in (4, 8) else None
    if kind == 4:
        stored = array.copy()
        value = some(rng, (np.nan, np.inf, -np.inf, 1e-45, 3e38, -0.0))
        stored.reshape(-1)[int(rng.integers(stored.size))] = value
        return npy_bytes(stored), stored if np.isfinite(value) else None
    shape = some(rng, ((-3, -4), (10**9, 10**9), (2**63,), "x"))
    text = some(rng, (f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape!r}}}",
                      "__import__('os').abort()", "{}", "[" * 3000, "1if 1else 2", "'" * 99,
                      "{'descr': 'O'}"))
    size = struct.pack("<H", len(text) + 1)
    return b"\x93NUMPY\1\0" + size + text.encode() + b"\n" + rng.bytes(144), None


def an_archive(rng, arrays):
    """The bytes of a zip file of all arrays, and {name: array} if these may load, else None."""
    file, held = io.BytesIO(), {}
    method = some(rng, (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED,
                        zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, array in arrays.items():
            if rng.random() < 0.8:
                content, held[name] = npy_bytes(array), array
            else:
                content, held[name] = a_member(rng, array)
            archive.writestr(f"{name}.npy", content)
        if rng.random() < 0.1:
            name = some(rng, [name for name in NAMES if "\udcff" not in name])
            archive.writestr(name or "x", b"")
            held[""] = None
    sound = (method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
             and not any(array is None for array in held.values()))
    return file.getvalue(), held if sound else None


@rounds("weights files")
def test_a_damaged_file_gives_what_was_saved_or_nothing(how_many, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, path, network = np.random.default_rng(3), tmp_path / "w.npz", small()
    before = {name: array.copy() for name, array in network.parameters().items()}
    saved = small(1).parameters()
    for number in range(how_many):
        content, held = an_archive(rng, saved)
        broken = number % 2 == 1
        content = damaged(rng, content) if broken else content
        path.write_bytes(content)
        loaded = judged("weights files", lambda: load_weights(path, network), size=len(content),
                        refusals=WeightsError, named=path)
        now = network.parameters()
        if loaded is None:
            assert broken or held is None, (number, content)
            assert all(array.tobytes() == before[name].tobytes() for name, array in now.items())
        else:
            assert held is not None, (number, content)
            for name, array in now.items():
                np.testing.assert_array_equal(array, held[name])
            network.load(before)
    assert not (tmp_path / "exploded").exists()
    pickle.loads(pickle.dumps(Bomb())).close()  # the bomb is one
    assert (tmp_path / "exploded").exists()


def as_others_have_them(rng, network):
    """{name: array} of the network's weights with a prefix, a checkpoint's entries, other names
    or Keras' order; whatever is read of it must be the network's weights."""
    arrays = network.parameters()
    kind = int(rng.integers(0, 4))
    if kind == 0:
        arrays = {f"arr_{n}": array for n, array in enumerate(arrays.values())}
    elif kind == 1:
        arrays = {name.replace("weight", "kernel"): array for name, array in arrays.items()}
        conv, fc = arrays["conv.kernel"], arrays["fc.kernel"]
        row = fc.reshape(3, 3, 2, 2).transpose(2, 3, 1, 0).reshape(12, 3)  # (y, x, c) as one row
        arrays.update({"conv.kernel": conv.transpose(2, 3, 1, 0), "fc.kernel": row})
    if rng.random() < 0.5:
        prefix = some(rng, ("module.", "state_dict.", "a/b/", "_orig_mod."))
        arrays = {f"{prefix}{name}": array for name, array in arrays.items()}
    extra = {some(rng, ("epoch", "optimizer.state.0.exp_avg", "loss")): np.zeros(3)}
    return {**arrays, **extra} if rng.random() < 0.5 else arrays


@rounds("weights files")
def test_weights_as_others_have_them_come_out_right_or_not_at_all(how_many, tmp_path):
    rng, path, network = np.random.default_rng(6), tmp_path / "w.npz", small()
    before, saved = network.parameters(), small(1)

    def load():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load_weights(path, network)

    for number in range(how_many):
        arrays = as_others_have_them(rng, saved)
        if number % 4 == 3:  # one lost, twice or of another shape
            name = some(rng, [one for one in arrays if arrays[one].size != 3])
            array = arrays.pop(name)
            arrays.update({0: {}, 1: {f"{name}2": array, name: array},
                           2: {name: array[..., :1]}}[int(rng.integers(0, 3))])
        np.savez(path, **arrays)
        if number % 4 == 2:
            path.write_bytes(damaged(rng, path.read_bytes()))
        loaded = judged("weights files", load, size=path.stat().st_size, refusals=WeightsError,
                        named=path)
        assert (loaded is None) == (number % 4 == 3) or number % 4 == 2, (number, list(arrays))
        for name, array in network.parameters().items():
            expected = before if loaded is None else saved.parameters()
            np.testing.assert_array_equal(array, expected[name], err_msg=str(number))
        network.load(before)


METHODS = {"bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA, "deflate": zipfile.ZIP_DEFLATED}


@pytest.mark.parametrize("kind", ["bzip2", pytest.param("lzma", marks=pytest.mark.slow), "deflate",
                                  "a table of 200,000 members", "a file of 1 TB", "/dev/zero",
                                  "a pipe"])
def test_an_archive_cannot_ask_for_memory_or_time(kind, tmp_path):
    path = tmp_path / "w.npz"
    if kind in METHODS:  # 48 MB of zeros in a few kilobytes
        with zipfile.ZipFile(path, "w", METHODS[kind], compresslevel=1) as archive:
            archive.writestr("fc.bias.npy", npy_bytes(np.zeros(12 << 20, np.float32)))
    elif kind == "a table of 200,000 members":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("fc.bias.npy", b"")
        content = path.read_bytes()
        start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
        directory = struct.pack("<HHII", 9, 9, 200_000 * (end - start), start)
        path.write_bytes(content[:start] + content[start:end] * 200_000
                         + content[end:end + 8] + directory + b"\0\0")
    elif kind == "a file of 1 TB":
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    elif kind == "/dev/zero":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    size = path.stat().st_size if path.is_file() and kind != "a file of 1 TB" else 0
    assert judged("archives that are bombs", lambda: load_arrays(path, {"fc.bias": (3,)}),
                  size=size, refusals=WeightsError, named=path) is None


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training of two epochs on 60 digits: the folder of its digits and the one of its files."""
    digits, folder = tmp_path_factory.mktemp("digits"), tmp_path_factory.mktemp("trained")
    for split, part in (("train", "train"), ("test", "t10k")):
        images, labels = load_mnist(split)
        write_idx(digits / f"{part}-images-idx3-ubyte",
                  np.round(255 * images[:60]).astype(np.uint8))
        write_idx(digits / f"{part}-labels-idx1-ubyte", labels[:60].astype(np.uint8))
    words = ["train", "--data", str(digits), "--holdout", "10", "--epochs", "2", "--out",
             str(folder / "w.npz")]
    assert main(words) == 0
    return words, folder


@rounds("training records")
def test_a_damaged_record_or_state_is_no_ground_to_go_on(how_many, trained, tmp_path):
    """Accepted only where the record and the state still say what they said.

    The weights then come out the same.
    """
    words, folder = trained
    words, rng = [*words[:-1], str(tmp_path / "w.npz"), "--resume"], np.random.default_rng(4)
    names = ("w.npz", "w.json", "w.state.npz")
    sound = {name: (folder / name).read_bytes() for name in names}
    record = json.loads(sound["w.json"])
    for number in range(how_many):
        for name in names:
            (tmp_path / name).write_bytes(sound[name])
        if number % 3 == 0:
            changed = ({**record, some(rng, list(record)): anything(rng)} if rng.random() < 0.7
                       else anything(rng))
            if rng.random() < 0.3:
                changed = {**record, "epochs": [record["epochs"][0], anything(rng)]}
            (tmp_path / "w.json").write_text(json.dumps(changed))
        else:
            name = some(rng, names[1:])
            (tmp_path / name).write_bytes(damaged(rng, sound[name]))
        status, *_ = commanded("training records", words, size=1 << 22, inside=tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
        if status == 0:
            assert (tmp_path / "w.npz").read_bytes() == sound["w.npz"], number
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5000, '{"settings": [], "epochs": []}',
                                     '{"settings": {}, "epochs": {}}',
                                     '{"settings": {}, "epochs": [NaN]}', "\0", " " * (2 << 20)])
def test_a_strange_record_gets_one_line(content, trained, tmp_path):
    words, folder = trained
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "w.json").write_text(content)
    status, _, said = commanded("training records",
                                [*words[:-1], str(tmp_path / "w.npz"), "--resume"], size=1 << 22,
                                inside=tmp_path)
    assert status == 2 and "w.json: not a record of jsma train" in said


def test_weights_lost_between_the_state_and_themselves_come_back(trained, tmp_path):
    """A kill may come when the last epoch's state is written and its weights are not."""
    words, folder = trained
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "w.npz").unlink()
    assert commanded("training records", [*words[:-1], str(tmp_path / "w.npz"), "--resume"],
                     size=1 << 22, inside=tmp_path)[0] == 0
    assert (tmp_path / "w.npz").read_bytes() == (folder / "w.npz").read_bytes()
