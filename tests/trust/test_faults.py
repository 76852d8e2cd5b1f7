"""What breaks around the commands while they work: signals at random moments, full disks, folders
that cannot be written or vanish, a clock that jumps, two at once, a worker that dies, outputs that
nobody takes.

Runs in shards have their own in tests/attack/test_runs.py: SIGKILL, damage, two processes, a disk
that fills.
"""
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fuzz import commanded, count
from sessions import members, started
from test_fuzz_runs import Flat

import scripts.paper.experiments
import scripts.train
from attack import craft_run, processes
from data import load_mnist, write_idx

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1",
               "OPENBLAS_NUM_THREADS": "1"}
FULL = """
import sys
try:
    import scripts.paper.experiment
except KeyboardInterrupt:  # of this script, not of the command, which imports where it answers
    sys.exit("jsma: interrupted")
from scripts.__main__ import main
scripts.paper.experiment.Setup.sized = lambda self, paper, small=None: 6
scripts.paper.experiment.SHARD["full"] = 6
sys.exit(main(sys.argv[1:]))"""  # the paper's sizes cut to 6 digits, in 9 shards


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A set of 300 training and 60 test digits."""
    folder = tmp_path_factory.mktemp("digits")
    for split, part, number in (("train", "train", 300), ("test", "t10k", 60)):
        images, labels = load_mnist(split)
        write_idx(folder / f"{part}-images-idx3-ubyte",
                  np.round(255 * images[:number]).astype(np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels[:number].astype(np.uint8))
    return folder


def command(what, digits, out):
    """The words of python that train, craft or reproduce into `out`: some seconds of work."""
    words = {"train": ["train", "--data", str(digits), "--holdout", "50", "--epochs", "20",
                       "--out", str(out / "w.npz")],
             "craft": ["craft", "--count", "60", "--target", "all", "--derivative", "backward",
                       "--out", str(out)],
             "reproduce": ["reproduce", "--scale", "full", "--derivative", "backward", "--only",
                           "fig13", "--jobs", "2", "--out", str(out)]}[what]
    if what == "train" and (out / "w.state.npz").exists():
        words.append("--resume")
    return ["-c", FULL, *words] if what == "reproduce" else ["-m", "scripts", *words]


def start(words):
    """Python with `words`, in a session of its own."""
    return started([sys.executable, *words], cwd=ROOT, env=ENVIRONMENT, start_new_session=True)


def ended(child, seconds=60):
    """(status, standard error) of a process that is waited for."""
    errors = child.communicate(timeout=seconds)[1]
    return child.returncode, errors


def contents(folder):
    """{name: bytes} of the results, less what tells the time; every file must be whole."""
    results = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name.startswith("."):
            continue
        content = path.read_bytes()
        if path.suffix == ".npz":
            with np.load(path) as archive:
                assert all(archive[name] is not None for name in archive)
        elif path.suffix == ".json":
            value = json.loads(content)
            value.pop("about", None)
            content = json.dumps(value)
        elif path.suffix == ".png":
            assert content.endswith(b"IEND\xaeB`\x82")
        if path.name != "report.html":
            results[str(path.relative_to(folder))] = content
    return results


def said_in_one_line(errors, begin):
    lines = [line for line in errors.splitlines()
             if "going on" not in line and "stopping" not in line]
    return len(lines) == 1 and lines[0].startswith(begin)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("what", ["train", "craft", "reproduce"])
def test_stopped_ten_times_at_random_moments(what, number, digits, tmp_path):
    """What is there stays whole; the next start ends with the bytes of a run never stopped."""
    start_time = time.monotonic()
    assert ended(start(command(what, digits, tmp_path / "whole")))[0] == 0
    takes = time.monotonic() - start_time
    rng = np.random.default_rng(number)
    out = tmp_path / "part"
    whole = contents(tmp_path / "whole")
    for _ in range(10):
        child = start(command(what, digits, out))
        time.sleep(rng.uniform(0.3, 0.9 * takes))
        child.send_signal(number)
        asked = time.monotonic()
        status, errors = ended(child)
        answered = time.monotonic() - asked
        # Python starts or ends
        not_working = (status == -number != -signal.SIGKILL
                       and (not errors or contents(out) == whole))
        if status == 0:
            assert contents(out) == whole
            shutil.rmtree(out)
        if status == 0 or not_working:
            count(f"{number.name} to {what}, before its work or after", "right")
            continue
        if number != signal.SIGKILL:
            begin = "jsma: terminated" if number == signal.SIGTERM else "jsma: interrupted"
            # 1: while FULL imports
            assert status in (1, 143 if number == signal.SIGTERM else 130), errors
            assert said_in_one_line(errors, begin), errors
            assert not list(out.rglob(".*"))
            assert answered < 1 or "stopping" in errors, answered
        assert not Path("/proc").is_dir() or gone(child.pid)
        contents(out)
        count(f"{number.name} to {what}", "right")
    status, errors = ended(start(command(what, digits, out)))
    assert status == 0, errors
    assert contents(out) == whole


def gone(session):
    """No process of the session is left, within a few seconds."""
    return any(not members(session) or time.sleep(0.1) for _ in range(50))


def test_an_interrupted_craft_answers_at_once(tmp_path):
    code = ("import sys; from scripts.__main__ import main; print('here', flush=True); "
            "sys.exit(main(sys.argv[1:]))")
    child = start(["-c", code, "craft", "--count", "400", "--out", str(tmp_path / "out")])
    assert child.stdout.readline() == "here\n"
    time.sleep(0.7)
    child.send_signal(signal.SIGINT)
    asked = time.monotonic()
    status, errors = ended(child)
    assert time.monotonic() - asked < 1 and status == 130
    assert errors.startswith("jsma: interrupted") and errors.count("\n") == 1
    assert not (tmp_path / "out").exists()
    count("SIGINT to craft", "right")


def test_craft_keeps_the_pieces_that_are_finished(tmp_path, monkeypatch, capsys):
    """… and says which digits are left; together they are what one run would have made."""
    words = ["craft", "--count", "5", "--target", "3", "--max-distortion", "2", "--derivative",
             "backward"]
    assert commanded("craft in pieces", [*words, "--out", str(tmp_path / "whole")], size=1 << 26,
                     inside=tmp_path)[0] == 0
    monkeypatch.setattr("scripts.craft.PIECE", 2)
    original, calls = scripts.craft.craft, []

    def stopped(*args, **options):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr("scripts.craft.craft", stopped)
    assert scripts.__main__.main([*words, "--out", str(tmp_path / "part")]) == 130
    said = capsys.readouterr().err
    assert "4 samples are in" in said and "digit 4 with --index" in said
    assert "for the 1 that are left" in said
    whole, part = (np.load(tmp_path / name / "crafted.npz") for name in ("whole", "part"))
    for name in whole:
        width = part["pairs"].shape[1] if name == "pairs" else None
        np.testing.assert_array_equal(whole[name][:4, :width] if width else whole[name][:4],
                                      part[name])


@contextmanager
def files_of(size):
    """A block in which no file may grow beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def each_command(digits, out):
    """(words, the files that they write) of every command that writes, at its smallest."""
    quick = ["--max-distortion", "0.3", "--derivative", "backward"]
    yield ["craft", "--count", "1", "--target", "3", *quick, "--out", str(out)]
    yield ["explain", "--and", "--out", str(out / "and.html")]
    yield ["survey", "analyse", "--out", str(out)]
    yield ["reproduce", "--only", "fig3", "--jobs", "1", "--out", str(out)]
    yield ["train", "--data", str(digits), "--holdout", "50", "--epochs", "1", "--out",
           str(out / "w.npz")]


# of `each_command`
SMALL = [0, 1, *(pytest.param(number, marks=pytest.mark.slow) for number in (2, 3)), 4]


@pytest.mark.parametrize("number", SMALL)
def test_a_full_disk_is_named_in_one_line_and_leaves_nothing_half(number, digits, tmp_path):
    words = list(each_command(digits, tmp_path / "out"))[number]
    (tmp_path / "out").mkdir()
    with files_of(100):
        status, _, said = commanded("full disk", words, size=1 << 27, inside=tmp_path)
    assert status == 2 and str(tmp_path / "out") in said and "large" in said
    left = list((tmp_path / "out").iterdir())
    assert all(path.stat().st_size <= 100 and not path.name.startswith(".") for path in left), left
    if words[0] != "train":
        assert commanded("full disk, with room again", words, size=1 << 27, inside=tmp_path)[0] == 0


@pytest.fixture
def disk(tmp_path):
    """A disk of 1 MB, for root on Linux."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root and mount")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder],
                      capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_a_small_disk_fills_up(number, digits, disk):
    (disk / "out").mkdir()
    with pytest.raises(OSError), open(disk / "filler", "wb", 0) as file:
        while file.write(bytes(4096)) == 4096:
            pass
    words = list(each_command(digits, disk / "out"))[number]
    status, _, said = commanded("full disk, mounted", words, size=1 << 27, inside=disk)
    assert status == 2 and str(disk) in said and "No space left" in said
    assert not list(disk.rglob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_a_folder_that_cannot_be_written(number, digits, disk):
    (disk / "out").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    words = list(each_command(digits, disk / "out"))[number]
    status, _, said = commanded("read-only folder", words, size=1 << 27, inside=disk)
    assert status == 2 and str(disk) in said and "Read-only" in said


@pytest.mark.parametrize("number", [pytest.param(3, marks=pytest.mark.slow), 4])
def test_a_folder_that_vanishes_at_work(number, digits, tmp_path, monkeypatch):
    def vanishing(action):
        def run(*args, **options):
            shutil.rmtree(tmp_path / "out")
            return action(*args, **options)
        return run

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(scripts.train, "_epoch",
                        vanishing(lambda *_: {"loss": 1.0, "test_error": 1.0}))
    experiments = scripts.paper.experiments
    toy = experiments.EXPERIMENTS["fig3"]._replace(run=vanishing(experiments.toy.fig03))
    monkeypatch.setitem(experiments.EXPERIMENTS, "fig3", toy)
    words = list(each_command(digits, tmp_path / "out"))[number]
    status, _, said = commanded("folder removed at work", words, size=1 << 27, inside=tmp_path)
    assert status == 2 and str(tmp_path / "out") in said


@pytest.mark.slow
def test_a_clock_that_jumps_changes_no_byte(digits, tmp_path, monkeypatch):
    files = []
    for name in ("still", "jumping"):
        if name == "jumping":
            rng = np.random.default_rng(0)
            monkeypatch.setattr("time.time", partial(rng.uniform, -1e9, 4e9))
        for words in list(each_command(digits, tmp_path / name))[:1]:
            assert commanded("clock that jumps", words, size=1 << 27, inside=tmp_path)[0] == 0
        files.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert files[0] == files[1] and len(files[0]) == 5


@pytest.mark.slow
@pytest.mark.parametrize("what", ["train", "craft", "reproduce"])
def test_two_at_once_in_one_folder(what, digits, tmp_path):
    """Both end well, or one is told in a line that another was there first.

    The files are those of one alone.
    """
    assert ended(start(command(what, digits, tmp_path / "whole")))[0] == 0
    children = [start(command(what, digits, tmp_path / "both")) for _ in range(2)]
    answers = [ended(child, 300) for child in children]
    for status, errors in answers:
        assert status == 0 or status == 2 and said_in_one_line(errors, "jsma: error: "), answers
        count("two processes in one folder", "refused" if status else "right")
    assert contents(tmp_path / "both") == contents(tmp_path / "whole")


class Dying(Flat):
    """A model that takes the process that works on it along."""

    def logits(self, x):
        if multiprocessing.parent_process() is not None:
            os._exit(1)
        return super().logits(x)


@pytest.mark.slow
def test_a_worker_that_dies_is_one_line(tmp_path):
    said = "a process ended before its work"
    with processes(1) as executor, pytest.raises(ChildProcessError, match=said) as error:
        craft_run(Dying(), np.zeros((7, 2)), 0, tmp_path / "run", shard_size=3, executor=executor)
    assert "\n" not in str(error.value)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["manifest.json"]
    count("worker killed", "refused")


@pytest.mark.parametrize(("shell", "status", "lines"), [
    ("{} data check {} > /dev/full", 2, 1),
    pytest.param("{} data check {} >&-", 0, 0, marks=pytest.mark.slow),
    pytest.param("{} --help > /dev/full", 2, 1, marks=pytest.mark.slow),
    pytest.param("{} fly 2>&-", 2, 0, marks=pytest.mark.slow),
    pytest.param("PYTHONIOENCODING=ascii {} data check {}/\u03b8", 2, 1, marks=pytest.mark.slow)])
def test_outputs_that_nobody_takes(shell, status, lines, small_set, tmp_path):
    words = shell.format(f"{sys.executable} -m scripts", f"{small_set(tmp_path)} --any-set")
    done = subprocess.run(["bash", "-c", words.replace(" --any-set/\u03b8", "/\u03b8")], cwd=ROOT,
                          capture_output=True, text=True,
                          env={**os.environ, "PYTHONUNBUFFERED": ""})
    assert done.returncode == status and done.stderr.count("\n") == lines, done.stderr
    assert not lines or done.stderr.startswith("jsma: error: ")
    count("outputs that nobody takes", "refused" if status else "right")
