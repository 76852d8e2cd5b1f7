"""The folder of a run: damaged shards, shards forged with a right checksum, manifests of any
content.

That every flipped bit and every cut of a small shard is found is in tests/attack/test_runs.py; here
come combinations, and what a checksum does not find.
"""
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
from fuzz import anything, damaged, judged, rounds, some

from attack import craft_run
from attack.runs.shards import _checksum, _encode

NAMES = ("success", "predicted", "iterations", "distortion", "reason", "pairs")


class Flat:
    """Two features, two classes, a straight line between them."""

    def parameters(self):
        return {}

    def logits(self, x):
        return np.stack([x[:, 0] + x[:, 1], np.full(len(x), 1.2)], axis=1)

    def forward_derivative(self, x):
        return np.broadcast_to(np.array([[1.0, 1.0], [0.0, -0.1]]), (len(x), 2, 2))


def run_in(folder, **options):
    images = np.random.default_rng(0).random((7, 2))
    return craft_run(Flat(), images, 0, folder, shard_size=3, max_distortion=None,
                     **{"theta": 0.2, **options})


@pytest.fixture
def run(tmp_path):
    run = run_in(tmp_path / "run")
    assert run.load(0)["iterations"].max() > 0
    return run


def same(left, right):
    return set(left) == set(right) and all(
        left[name].dtype == right[name].dtype and left[name].tobytes() == right[name].tobytes()
        for name in left)


@rounds("shards of a run")
def test_a_damaged_shard_is_never_taken_for_a_sound_one(how_many, run):
    rng, path = np.random.default_rng(5), run.path(1)
    content, arrays, other = path.read_bytes(), run.load(1), run.path(0).read_bytes()
    for number in range(how_many):
        wrong = other if number == 0 else damaged(rng, content)
        path.write_bytes(wrong)
        loaded = judged("shards of a run", lambda: run.load(1), size=len(wrong),
                        refusals=ValueError, named=path)
        assert (loaded is None) == (wrong != content) and (loaded is None or same(loaded, arrays))


def a_forgery(rng, arrays, pixels=2):
    """Arrays that no run makes, as {name: array}; or the bytes of a file without its checksum."""
    arrays, name, kind = dict(arrays), some(rng, NAMES), int(rng.integers(0, 8))
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays["../" + name] = arrays[name]
    elif kind == 2:
        arrays[name] = arrays[name][:-1] if rng.random() < 0.5 else arrays[name][None]
    elif kind == 3:
        arrays[name] = (np.array([{}] * 3, object) if rng.random() < 0.5
                        else arrays[name].astype("U9"))
    elif kind == 4:
        wrong = {"reason": 99, "pairs": some(rng, (pixels, 2**31 - 1, -2)), "predicted": -1,
                 "iterations": some(rng, (-1, 99)),
                 "distortion": some(rng, (np.nan, -1.0, 100.1, np.inf))}
        name = some(rng, list(wrong))
        arrays[name] = arrays[name].copy()
        arrays[name].reshape(-1)[-1] = wrong[name]
    elif kind == 5:
        return b"PK" + rng.bytes(40)
    else:
        file = io.BytesIO()
        method = some(rng, (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
        with zipfile.ZipFile(file, "w", method) as archive:
            for each, array in arrays.items():
                body = io.BytesIO()
                np.save(body, np.zeros((3, 10_000)) if each == name else array)
                archive.writestr(f"{each}.npy", body.getvalue())
        return file.getvalue()[:-2]
    return arrays


@rounds("forged shards")
def test_a_right_checksum_is_not_enough(how_many, run):
    rng, path, arrays = np.random.default_rng(6), run.path(0), run.load(0)
    assert same(arrays, run.load(0)) and path.read_bytes() == _encode(arrays, run.key, 0)
    for number in range(how_many):
        wrong = a_forgery(rng, arrays)
        if isinstance(wrong, bytes):
            body = wrong + (64).to_bytes(2, "little")
            content = body + _checksum(body, run.key, 0)
        else:
            content = _encode(wrong, run.key, 0)
        path.write_bytes(content)
        loaded = judged("forged shards", lambda: run.load(0), size=len(content),
                        refusals=ValueError, named=path)
        assert loaded is None, number


@rounds("manifests of a run")
def test_any_manifest_is_this_run_s_or_refused(how_many, run):
    rng, path = np.random.default_rng(7), run.folder / "manifest.json"
    content = path.read_bytes()
    manifest = json.loads(content)
    whole = {file.name: file.read_bytes() for file in run.folder.iterdir()}
    for number in range(how_many):
        wrong = (damaged(rng, content),
                 json.dumps({**manifest, some(rng, list(manifest)): anything(rng)}).encode(),
                 json.dumps(anything(rng)).encode(),
                 json.dumps(manifest, sort_keys=True).encode())[number % 4]
        path.write_bytes(wrong)
        again = judged("manifests of a run", lambda: run_in(run.folder), size=len(wrong),
                       refusals=ValueError, inside=run.folder, named=run.folder)
        assert (again is not None) == (number % 4 == 3) or json.loads(wrong) == manifest, number
        path.write_bytes(content)
        assert {file.name: file.read_bytes() for file in run.folder.iterdir()} == whole


@pytest.mark.parametrize("make", [lambda path: path.write_text("[" * 50_000),
                                  lambda path: path.write_text(" " * 100_000),
                                  lambda path: path.mkdir(), os.mkfifo,
                                  lambda path: path.symlink_to("/dev/zero"),
                                  lambda path: path.write_text('{"options": NaN}'),
                                  lambda path: path.write_bytes(b"\xff")])
def test_a_strange_manifest_gets_one_line(make, run):
    path = run.folder / "manifest.json"
    path.unlink()
    make(path)
    assert judged("manifests of a run", lambda: run_in(run.folder), size=1 << 17,
                  refusals=ValueError, inside=run.folder, named=run.folder) is None


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"),
                                  lambda path: path.symlink_to("gone"),
                                  lambda path: path.symlink_to(path)])
def test_what_lies_in_place_of_a_shard_is_replaced_not_followed(make, run):
    path, content = run.path(1), run.path(1).read_bytes()
    path.unlink()
    make(path)
    again = judged("links, pipes, devices", lambda: run_in(run.folder), size=1 << 17,
                   refusals=OSError, inside=run.folder)
    if again is not None:
        assert not path.is_symlink() and path.read_bytes() == content


def test_a_link_out_of_the_folder_is_replaced_not_written_through(run, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    run.path(1).unlink()
    run.path(1).symlink_to(outside)
    run_in(run.folder)
    assert outside.read_text() == "mine" and not run.path(1).is_symlink()


def test_the_forged_pickles_are_pickles(run):
    """NumPy would load them if it were asked to."""
    content = _encode({**run.load(0), "reason": np.array([{}], object)}, "key", 0)
    with np.load(io.BytesIO(content), allow_pickle=True) as archive:
        assert archive["reason"][0] == {} and pickle.loads(pickle.dumps({})) == {}
