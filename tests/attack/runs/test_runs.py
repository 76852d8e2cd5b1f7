"""Runs in shards: the same as one call of `craft`, whatever stops them, whoever does the work,
whatever is damaged."""
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sessions import members
from small import Small, quick, some_samples
from toy import Toy, samples, toy_run

from attack import craft, craft_run, processes, replay, truncate
from attack.crafting import REASONS
from attack.runs.shards import TYPES
from data import load_mnist
from nn import LeNet

ROOT = Path(__file__).parents[3]
PATHS = [str(path) for path in (ROOT, Path(__file__).parent)]  # of a child process
OPTIONS = {"derivative": "backward", "max_distortion": 6.0}
NAMES = ("success", "predicted", "iterations", "distortion", "reason")


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*")
            if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def mnist():
    images, labels = load_mnist("test")
    index = np.repeat(np.arange(4), 3)
    return images[:4], index, (labels[index] + np.tile([1, 3, 5], 4)) % 10


def test_a_run_is_craft_in_shards(mnist, tmp_path):
    images, index, targets = mnist
    network = quick()
    run = craft_run(network, images, targets, tmp_path, index=index, shard_size=5, **OPTIONS)
    assert len(run) == 3 and len(contents(tmp_path)) == 4
    columns = dict(zip(NAMES, run.columns(*NAMES)))
    for shard in range(3):
        rows = run.rows(shard)
        alone = craft(network, images[index[rows]], targets[rows], **OPTIONS)
        for name in NAMES[:-1]:
            np.testing.assert_array_equal(columns[name][rows], getattr(alone, name))
        assert [REASONS[code] for code in columns["reason"][rows]] == alone.reason.tolist()
        pairs = run.load(shard)["pairs"]
        np.testing.assert_array_equal(alone.pairs[:, :pairs.shape[1]], pairs)
        np.testing.assert_array_equal(replay(images[index[rows]], pairs), alone.adversarial)


@pytest.mark.parametrize("bounds", [(0, 2), (np.float32(0), np.float32(2)),
                                    (np.zeros((6, 6)), np.full((6, 6), 2.0))])
def test_bounds_and_labels_of_a_run(bounds, tmp_path):
    """As in one call of `craft`; with other ones it is another run."""
    images, targets = some_samples(10)
    labels = Small().predict(images)
    labels[::3] = (labels[::3] + 1) % 4
    options = {"bounds": bounds, "max_distortion": 40.0}
    for _ in range(2):  # from nothing, and from what is there
        run = craft_run(Small(), images, targets, tmp_path, shard_size=3, labels=labels, **options)
    alone = craft(Small(), images, targets, labels=labels, **options)
    success, reason = run.columns("success", "reason")
    np.testing.assert_array_equal(success, alone.success)
    assert [REASONS[code] for code in reason] == alone.reason.tolist()
    assert (alone.reason == "misread").sum() == 4
    for changed in ({"labels": (labels + 1) % 4}, {"labels": None}, {"bounds": (0, 3)}):
        with pytest.raises(ValueError, match="holds another run"):
            craft_run(Small(), images, targets, tmp_path, shard_size=3,
                      **{"labels": labels, **options, **changed})
    with pytest.raises(ValueError, match="labels must be 10 classes"):
        craft_run(Small(), images, targets, tmp_path / "b", labels=labels[:3], **options)


@pytest.mark.parametrize("shard_size", [3, 7, 100])
def test_every_column_of_all_shards_is_one_array(tmp_path, shard_size):
    """Shards end after different numbers of iterations; the columns are those of one `craft`."""
    images, targets = samples(60)
    whole = craft(Toy(), images, targets, max_distortion=50.0)
    run = craft_run(Toy(), images, targets, tmp_path, shard_size=shard_size, max_distortion=50.0)
    widths = {run.load(shard)["pairs"].shape[1] for shard in range(len(run))}
    assert len(widths) > 1 or shard_size >= 60
    columns = dict(zip(TYPES, run.columns(*TYPES)))
    for name in NAMES[:-1]:
        np.testing.assert_array_equal(columns[name], getattr(whole, name))
    assert [REASONS[code] for code in columns["reason"]] == whole.reason.tolist()
    longest = whole.iterations.max()
    np.testing.assert_array_equal(columns["pairs"], whole.pairs[:, :longest])
    assert (whole.pairs[:, longest:] == -1).all()
    np.testing.assert_array_equal(replay(images, run.columns("pairs")[0]), whole.adversarial)
    twice = run.columns("pairs", "success", "pairs")
    assert len(twice) == 3 and twice[0].tobytes() == twice[2].tobytes()


def test_a_run_of_no_samples_has_its_columns_and_no_others(tmp_path):
    run = craft_run(Toy(), np.zeros((0, 4, 4)), np.zeros(0, int), tmp_path, max_distortion=50.0)
    some = craft_run(Toy(), *samples(3), tmp_path / "some", max_distortion=50.0)
    for name in TYPES:
        (none,), (column,) = run.columns(name), some.columns(name)
        assert none.dtype == column.dtype and none.ndim == column.ndim and len(none) == 0
    assert run.columns() == ()
    with pytest.raises(ValueError, match="has the columns success, .*pairs; got 'adversarial'"):
        some.columns("success", "adversarial")


@pytest.mark.parametrize("theta", [1.0, 0.3, -0.4])
def test_replay_makes_the_adversarial_samples_again(theta):
    images, targets = samples(20)
    crafted = craft(Toy(), images, targets, theta=theta, max_distortion=None)
    np.testing.assert_array_equal(replay(images, crafted.pairs, theta), crafted.adversarial)
    assert replay(images[:0], crafted.pairs[:0], theta).shape == (0, 4, 4)


@pytest.mark.slow
def test_one_run_truncated_is_nine_runs(mnist):
    """The Υ of Fig. 14 from the run at the largest; by default tried through Eq. 12, in
    tests/scripts/paper/test_experiments.py."""
    images, index, targets = mnist
    network, images = LeNet.pretrained(), images[index].astype(np.float64)
    large = craft(network, images, targets, derivative="backward", max_distortion=38.3)
    for upsilon in (0.3, 1.3, 2.6, 5.1, 7.7, 10.2, 12.8, 25.5, 38.3):
        own = craft(network, images, targets, derivative="backward", max_distortion=upsilon)
        success, distortion = truncate(images, large.pairs, large.iterations, large.success,
                                       upsilon)
        np.testing.assert_array_equal(success, own.success)
        np.testing.assert_array_equal(distortion, own.distortion)


def test_who_works_does_not_matter(tmp_path):
    whole = contents(toy_run(tmp_path / "a").folder)
    with ThreadPoolExecutor(3) as threads:
        assert contents(toy_run(tmp_path / "b", executor=threads).folder) == whole
    with processes(2) as pool:
        assert contents(toy_run(tmp_path / "c", executor=pool).folder) == whole
    assert os.environ.get("OPENBLAS_NUM_THREADS", "1") == "1"  # as conftest set it


def test_dask_may_do_the_work(tmp_path):
    distributed = pytest.importorskip(
        "distributed", reason="dask.distributed (extra: cluster) is not installed")
    with (distributed.LocalCluster(2, processes=False, dashboard_address=None) as cluster,
          cluster.get_client() as client):
        run = toy_run(tmp_path / "b", executor=client.get_executor())
    assert contents(run.folder) == contents(toy_run(tmp_path / "a").folder)


def test_a_stopped_run_goes_on_and_says_so(tmp_path):
    whole = contents(toy_run(tmp_path / "whole").folder)

    def stop(done, total):
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "part", progress=stop)
    said, calls = [], []
    run = toy_run(tmp_path / "part", say=said.append, progress=lambda *call: calls.append(call))
    assert contents(run.folder) == whole and not run.damaged
    assert said == [f"{run.folder}: 21 of 60 samples are there; going on"]
    assert calls[0] == (21, 60) and calls[-1] == (60, 60)


@pytest.mark.parametrize(("jobs", "wanted"), [(0, 3), pytest.param(0, 10, marks=pytest.mark.slow),
                                              pytest.param(2, 10, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path, jobs, wanted):
    """SIGKILL, no chance to tidy up: what is on disk is whole, and the last start ends with the
    same bytes."""
    whole = contents(toy_run(tmp_path / "whole", count=300).folder)
    code = f"""if __name__ == "__main__":
        import sys, contextlib; sys.path[:0] = {PATHS}
        from toy import toy_run
        from attack import processes
        with processes({jobs}) if {jobs} else contextlib.nullcontext() as pool:
            toy_run({str(tmp_path / "part")!r}, count=300, pause=0.003, executor=pool)"""
    script = tmp_path / "script.py"
    script.write_text(code)
    rng, kills = np.random.default_rng(0), 0
    while kills < wanted:
        child = subprocess.Popen([sys.executable, str(script)])
        before = len(contents(tmp_path / "part"))
        while child.poll() is None and len(contents(tmp_path / "part")) == before:
            time.sleep(0.002)  # it is at work
        time.sleep(rng.uniform(0, 0.05))
        assert child.poll() is None, "it ended before it could be killed"
        child.send_signal(signal.SIGKILL)
        kills += 1
        child.wait()
    assert contents(toy_run(tmp_path / "part", count=300).folder) == whole


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to look for processes")
def test_no_worker_survives_its_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""if __name__ == "__main__":
        import sys; sys.path[:0] = {PATHS}
        from toy import toy_run
        from attack import processes
        with processes(2) as pool:
            toy_run({str(tmp_path / "part")!r}, count=5000, pause=0.003, executor=pool)""")
    child = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    while len(contents(tmp_path / "part")) < 3:
        time.sleep(0.01)
        assert child.poll() is None
    child.kill()
    child.wait()
    for _ in range(100):
        if not members(child.pid):
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {members(child.pid)}")


def damage(path, kind):
    data = bytearray(path.read_bytes())
    if kind == "cut":
        data = data[:len(data) // 2]
    elif kind == "bit":
        data[len(data) // 2] ^= 4
    elif kind == "empty":
        data = b""
    elif kind == "another shard's":
        data = path.with_name("shard-00001.npz").read_bytes()
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["cut", "bit", "empty", "another shard's"])
def test_a_damaged_shard_is_found_said_and_crafted_again(kind, tmp_path):
    whole = contents(toy_run(tmp_path).folder)
    damage(tmp_path / "shard-00002.npz", kind)
    said = []
    run = toy_run(tmp_path, say=said.append)
    assert contents(tmp_path) == whole and run.damaged == [2]
    assert "shard-00002.npz: damaged" in said[0] and said[0].endswith("crafted again")


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_every_flipped_bit_and_every_cut_is_found(tmp_path, stride):
    """Over the bytes of a small shard, which NumPy alone reads like any other file."""
    run = toy_run(tmp_path, count=4)
    path = run.path(0)
    data = path.read_bytes()
    with np.load(path) as archive:
        np.testing.assert_array_equal(archive["iterations"], run.load(0)["iterations"])
    for place in range(0, len(data), stride):
        flipped = data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1:]
        for wrong in (data[:place], flipped):
            path.write_bytes(wrong)
            with pytest.raises(ValueError, match="damaged"):
                run.load(0)


def test_a_folder_from_before_the_redesign_goes_on(tmp_path):
    """`old_run` holds two of four shards, written by the code of the commit 8c6c02f."""
    old_run = Path(__file__).parent / "old_run"
    shutil.copytree(old_run, tmp_path / "run")
    options = {"shard_size": 3, "max_distortion": 40.0}
    said = []
    run = craft_run(Small(), *some_samples(12), tmp_path / "run", say=said.append, **options)
    assert said == [f"{run.folder}: 6 of 12 samples are there; going on"] and not run.damaged
    new = craft_run(Small(), *some_samples(12), tmp_path / "new", **options)
    assert contents(run.folder).items() >= contents(old_run).items() and len(run) == len(new) == 4
    for shard in range(4):
        old_arrays, new_arrays = run.load(shard), new.load(shard)
        for name, array in new_arrays.items():
            np.testing.assert_array_equal(old_arrays[name], array)


def test_another_run_in_the_folder_is_refused_and_left_alone(tmp_path):
    whole = contents(toy_run(tmp_path).folder)
    larger_shards = {"max_distortion": 50.0}
    for changed, word in ((lambda: toy_run(tmp_path, theta=0.5), "options"),
                          (lambda: toy_run(tmp_path, count=61), "samples"),
                          (lambda: craft_run(Toy(), *samples(60), tmp_path, **larger_shards),
                           "shard_size")):
        with pytest.raises(ValueError, match=f"holds another run \\({word}"):
            changed()
    other = Toy()
    other.weights = Toy.weights + 1e-9
    with pytest.raises(ValueError, match="model"):
        craft_run(other, *samples(60), tmp_path, shard_size=7, max_distortion=50.0)
    assert contents(tmp_path) == whole


def test_two_processes_in_one_folder_do_not_spoil_each_other(tmp_path):
    whole = contents(toy_run(tmp_path / "whole").folder)
    code = (f"import sys; sys.path[:0] = {PATHS}\n"
            f"from toy import toy_run; toy_run({str(tmp_path / 'both')!r}, pause=0.002)")
    children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    assert contents(tmp_path / "both") == whole


def test_where_nothing_can_be_written_nothing_is_lost(tmp_path, monkeypatch):
    """A full disk: the error names the file, the shards before it stay, and the run goes on when
    there is room."""
    whole = contents(toy_run(tmp_path / "whole").folder)
    written, original = [], os.fsync

    def full(number):
        written.append(number)
        if len(written) > 4:
            raise OSError(28, "No space left on device")
        original(number)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        toy_run(tmp_path / "part")
    assert "shard-" in str(error.value) and len(contents(tmp_path / "part")) == 4
    monkeypatch.setattr("os.fsync", original)
    assert contents(toy_run(tmp_path / "part").folder) == whole


@pytest.mark.parametrize(("wrong", "word"), [
    ({"trace": True}, "trace"), ({"domain": np.ones(16, bool)}, "domain"), ({"theta": 0}, "theta"),
    ({"index": [60]}, "index"), ({"index": [-1]}, "index"),
    ({"derivative": "backward"}, "backward_derivative")])
def test_wrong_arguments_leave_no_folder(wrong, word, tmp_path):
    images, targets = samples(60)
    with pytest.raises((ValueError, TypeError), match=word):
        craft_run(Toy(), images, targets[:1] if "index" in wrong else targets, tmp_path / "new",
                  **wrong)
    assert not (tmp_path / "new").exists()


def test_a_file_in_place_of_the_folder_and_a_damaged_manifest(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        toy_run(tmp_path / "file")
    toy_run(tmp_path / "run")
    (tmp_path / "run" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json: damaged"):
        toy_run(tmp_path / "run")


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    """Ten times the samples, from a memory map: the same peak, to a tenth of what the images would
    take."""
    peaks = []
    for count in (200, 2000):
        path = tmp_path / f"{count}.dat"
        images = np.memmap(path, np.float32, "w+", shape=(count, 4, 4))
        images[:] = samples(count)[0]
        tracemalloc.start()
        craft_run(Toy(), images, np.zeros(count, int), tmp_path / f"run{count}", shard_size=50,
                  max_distortion=20.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1800 * 4 * 4 * 4
