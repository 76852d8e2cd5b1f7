"""Whole commands as a person waits for them, for `jsma bench`: each is a process of its own.

In: a `Trial`. Out: `Reading`s in seconds; ChildProcessError where a command fails, with its last
words.
"""
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from scripts.__main__ import BLAS_THREADS
from scripts.measure.timing import Reading, alternating
from scripts.terminal.options import cores

ROOT = Path(__file__).resolve().parents[2]
JSMA = sys.executable, "-m", "scripts"
DIGITS = 50  # of each set, for `jsma reproduce`
SHORT = 3    # runs of a command that takes seconds
GRACE = 10   # seconds that a command has to end tidily


def reproduce(_):
    """One run: the time of the whole, and until the first line after a figure was written."""
    first = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        start = time.perf_counter()
        with _running([*JSMA, "reproduce", "--digits", str(DIGITS), "--out", str(out)]) as lines:
            for _line in lines:
                if not first and any(out.glob("fig*.png")):
                    first.append(time.perf_counter() - start)
        return [Reading([time.perf_counter() - start]),
                Reading(first, "" if first else "no figure was told of")]


def explain(trial):
    """The page of a digit."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*JSMA, "explain", "--target", "3", "--out", str(Path(folder) / "page.html")]
        return [Reading(*alternating([partial(_run, words)], min(SHORT, trial.repeat)))]


def beginning(trial):
    """`jsma --help`."""
    return [Reading(*alternating([partial(_run, [*JSMA, "--help"])], trial.repeat))]


def default_tests(_):
    """One run of the default tests, where this is a checkout and pytest is installed; on all cores
    where pytest-xdist is."""
    checkout = (ROOT / "setup.cfg").is_file() and (ROOT / "tests").is_dir()
    if not checkout or not importlib.util.find_spec("pytest"):
        return [Reading([], "only in a checkout, with pytest")]
    spread = ["-n", str(cores())] if importlib.util.find_spec("xdist") else []
    start = time.perf_counter()
    _run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *spread],
         env=_environment())
    return [Reading([time.perf_counter() - start])]


def _environment():
    """Ours without the numbers of BLAS threads, where all are set, as `jsma` does and no user."""
    ours = all(os.environ.get(name) == "1" for name in BLAS_THREADS)
    return {name: value for name, value in os.environ.items()
            if not (ours and name in BLAS_THREADS)}


def _run(words, **options):
    with _running(words, **options) as lines:
        for _ in lines:
            pass


@contextmanager
def _running(words, **options):
    """A block in which a command runs; yields its output, whose lines come as they are printed."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors, subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            text=True, errors="replace", **options) as process:
        try:
            yield process.stdout
            process.wait()
        except BaseException:
            _end(process)
            raise
        if process.returncode:
            errors.seek(0)
            last = "".join(errors.read().splitlines()[-1:])
            raise ChildProcessError(f"exit status {process.returncode} {last}".strip())


def _end(process):
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
