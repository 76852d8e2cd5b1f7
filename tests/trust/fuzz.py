"""Seeded random input, and the one judge of what it may lead to: a right answer or one clear line.

In: a call that reads hostile input. Out: its answer, None where it refused; AssertionError for a
traceback, a warning, a message of several lines, a hang, memory beyond three times the input,
anything unpickled, executed, fetched or written outside of where it may write. What was tried is
counted in `TALLY`, which conftest prints as a table.
"""
import gc
import importlib
import io
import os
import signal
import sys
import tracemalloc
import warnings
from collections import Counter
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from scripts.__main__ import COMMANDS, main

INPUTS = {  # of each kind in a default run
    "IDX files": 900, "sets of IDX files": 40, "weights files": 120, "shards of a run": 150,
    "forged shards": 60, "manifests of a run": 32, "training records": 4, "answer files": 250,
    "image files (explain)": 80, "values written as JSON": 300, "names on the report": 40,
    "names on the explain page": 1, "command lines": 60}
SLOW = 50  # times as many in a slow run
SECONDS = 20  # more is a hang
SPARE = 32 << 20  # bytes that any input may cost
TALLY = {}  # {what: Counter of "right", "refused" and others}


def rounds(what):
    """A decorator: `how_many` inputs of a kind, few by default, in a slow run `SLOW` times."""
    few = INPUTS[what]
    return pytest.mark.parametrize("how_many",
                                   [few, pytest.param(SLOW * few, marks=pytest.mark.slow)])


def count(what, outcome, number=1):
    """Note that something was tried, and how it came out."""
    TALLY.setdefault(what, Counter())[outcome] += number


class Hang(BaseException):
    """Raised in the call itself, past every `except Exception`."""


# What is watched while a call runs

_seen = None  # a list while a call is watched
FORBIDDEN = ("pickle.find_class", "socket.connect", "socket.getaddrinfo", "subprocess.Popen",
             "os.system", "os.exec", "os.fork", "os.posix_spawn", "urllib.Request")
# imports of our own and Python's
OWN = (str(Path(__file__).parent.parent.parent), sys.prefix, sys.base_prefix, "<frozen")
WRITES = {"os.mkdir": 0, "os.rename": 1, "os.remove": 0, "os.rmdir": 0, "os.symlink": 1,
          "os.link": 1, "os.chmod": 0, "os.truncate": 0, "shutil.rmtree": 0}


def _hook(event, arguments):
    if _seen is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = (flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) if mode is None
                  else set(mode) & set("wax+"))
        if writes and isinstance(path, (str, bytes)):
            _seen.append(("write", os.fsdecode(path)))
    elif event in ("os.remove", "os.rmdir") and arguments[1] != -1:
        return  # names in an open folder
    elif event in WRITES:
        _seen.append(("write", os.fsdecode(arguments[WRITES[event]])))
    elif event in FORBIDDEN or event == "exec" and not arguments[0].co_filename.startswith(OWN):
        _seen.append((event, repr(arguments)[:200]))


sys.addaudithook(_hook)


@contextmanager
def watched(size, inside=None, answer_size=lambda: 0, seconds=SECONDS):
    """A block that reads `size` bytes of input and may write into the folder `inside` only."""
    global _seen

    def hang(*_):
        raise Hang(f"more than {seconds} s")

    gc.collect(0)
    tracemalloc.start()
    before, _seen = signal.signal(signal.SIGALRM, hang), []
    signal.alarm(seconds)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        events, _seen = _seen, None
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert not warned, f"a warning: {warned[0].message}"
    for event, what in events:
        allowed = what == os.devnull or inside and Path(what).resolve().is_relative_to(inside)
        assert event == "write" and allowed, f"{event}: {what}"
    assert peak <= 3 * max(size, answer_size()) + SPARE, f"{peak:,} bytes for an input of {size:,}"


def judged(what, call, *, size, refusals, inside=None, named=None, seconds=SECONDS):
    """The answer of `call()`, or None where it refused with one line.

    Args:
        what: the kind of input, for `TALLY`.
        call: reads the input.
        size: of the input, bytes.
        refusals: the exceptions by which it may refuse.
        inside: the folder into which it may write.
        named: text that the line must hold, such as the file's name.
        seconds: after which it counts as a hang.
    """
    answer, said = None, None
    try:
        with watched(size, inside, lambda: _bytes_of(answer), seconds):
            try:
                answer = call()
            except refusals as error:
                said = str(error)
    except (AssertionError, Hang) as error:
        count(what, "failures")
        raise AssertionError(f"{what}: {error}") from error
    except Exception:
        count(what, "failures")
        raise
    if said is not None and not (said.strip() and "\n" not in said
                                 and (named is None or str(named) in said)):
        count(what, "failures")
        pytest.fail(f"{what}: not one clear line: {said!r}")
    count(what, "right" if said is None else "refused")
    return answer


def _bytes_of(answer):
    if isinstance(answer, np.ndarray):
        return answer.nbytes
    if isinstance(answer, dict):
        answer = answer.values()
    return (sum(map(_bytes_of, answer)) if isinstance(answer, (list, tuple, type({}.values())))
            else 0)


def commanded(what, words, *, size=0, inside=None, stop=()):
    """`jsma WORDS` in this process, judged as a user sees it.

    Returns (status, standard output, standard error).

    stop: exceptions by which a stub says that the work would begin now; they count as status 0.
    """
    out, err = io.StringIO(), io.StringIO()
    importlib.import_module("scripts.paper.figures")  # imports run code, of ours
    if words and words[0] in COMMANDS:
        importlib.import_module(f"scripts.{words[0]}")
    try:
        with watched(size, inside), redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(words)
            except SystemExit as ended:  # argparse, after --help
                status = ended.code
            except stop:
                status = 0
        printed = err.getvalue()
        if status == 2:
            assert printed.startswith("jsma: error: ") and printed.count("\n") == 1, printed
            assert printed[:-1].isprintable(), printed
            assert len(printed) > len("jsma: error: x\n") and len(printed) < 2100, printed
        else:
            assert status in (0, 1) and not printed, (status, printed)
    except BaseException as error:
        count(what, "failures")
        raise AssertionError(f"jsma {words!r}: {type(error).__name__}: {error}") from error
    count(what, "refused" if status == 2 else "right")
    return status, out.getvalue(), printed


# Random input

NAMES = ("../up", "/absolute", "a/../../b", "", ".", "..", "a\nb", "\x1b[31m", "\u202eabc",
         "n" * 300, "<b>&'\"", "%s{0}", "\udcff", "-rf", "con", "~", "$HOME", "a b", "ä", "\u2028",
         "@DATA@", "</script><script>", "*")
NUMBERS = ("0", "-0", "1", "-1", "1e309", "-1e309", "nan", "inf", "-inf", "1e-320", "0x10", "1_0",
           "١", "1,2", "", " ", "1.5", "9" * 30, "9" * 5000, "1e30", "1e-30", "none", "0.5",
           "14.5", "3", "7", "true", "None", "1/2", "½")


def damaged(rng, content):
    """`content` (bytes) with one to three random wounds.

    A wound: cut, flipped, overwritten, doubled, inserted, swapped.
    """
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        size = len(content)
        at, span = int(rng.integers(0, size + 1)), int(rng.integers(1, 17))
        kind = rng.integers(0, 8)
        if kind == 0:
            del content[at:]
        elif kind == 1:
            del content[at:at + span]
        elif kind == 2 and size:
            content[at % size] ^= 1 << int(rng.integers(0, 8))
        elif kind == 3:
            content[at:at + span] = rng.bytes(span)
        elif kind == 4:
            content[at:at] = rng.bytes(span)
        elif kind == 5:
            content[at:at] = content[at:at + span]
        elif kind == 6:
            content[at:at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
                                             b"\0\0\0\x80"])
        else:
            content[at:at + span] = content[at:at + span][::-1]
    return bytes(content)


def some(rng, values):
    """One of `values`, of any types."""
    return values[int(rng.integers(len(values)))]


def anything(rng, depth=3):
    """A random JSON-like value, with all that JSON cannot hold among it."""
    kind = int(rng.integers(0, 8 if depth else 6))
    if kind == 0:
        return some(rng, (None, True, False, 0, -1, 10**400, 2**63, 1e308, 5e-324, -0.0))
    if kind == 1:
        return some(rng, (float("nan"), float("inf"), -float("inf"), np.float64("nan"),
                          np.float64(0.1)))
    if kind <= 3:
        return some(rng, NAMES)
    if kind <= 5:
        return float(rng.normal())
    size = int(rng.integers(0, 4))
    if kind == 6:
        return [anything(rng, depth - 1) for _ in range(size)]
    return {some(rng, NAMES): anything(rng, depth - 1) for _ in range(size)}
