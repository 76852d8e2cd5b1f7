"""The busy loops of `jsma bench` run while a block does, and none is left after it, whatever ends
it."""
import signal
import sys
import time
from pathlib import Path

import pytest
from sessions import members, started

from scripts.measure import busy

ROOT = Path(__file__).parent.parent.parent.parent
SOON = 30  # seconds, far more than it takes
BLOCK = """
import time
from scripts.measure.busy import busy
with busy(2):
    print("busy", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def loops(monkeypatch):
    """The processes that are started as loops."""
    processes = []
    make = busy._loop
    monkeypatch.setattr(busy, "_loop", lambda: processes.append(make()) or processes[-1])
    return processes


def processor_time(process):
    """What a process has used, in ticks of the system's clock."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def gone(session):
    """Whether no process of a session is left, soon."""
    end = time.monotonic() + SOON
    while members(session) and time.monotonic() < end:
        time.sleep(0.02)
    return not members(session)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
def test_the_loops_run_all_the_time(loops):
    with busy.busy(2) as shares:
        end = time.monotonic() + SOON
        before = [processor_time(process) for process in loops]
        while (any(processor_time(process) <= used + 1 for process, used in zip(loops, before))
               and time.monotonic() < end):
            time.sleep(0.02)
        assert all(processor_time(process) > used for process, used in zip(loops, before))
        assert all(process.poll() is None for process in loops) and not shares
    assert len(loops) == 2 and all(process.returncode is not None for process in loops)
    assert len(shares) == 1 and 0 < shares[0]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_no_loop_is_left_after_an_error(error, loops):
    with pytest.raises(error), busy.busy(2):
        raise error
    assert len(loops) == 2 and all(process.returncode is not None for process in loops)


def test_no_loop_is_left_where_a_later_one_cannot_start(loops, monkeypatch):
    make = busy._loop

    def second_fails():
        """There are no more processes to be had."""
        if loops:
            raise OSError("no more processes")
        return make()

    monkeypatch.setattr(busy, "_loop", second_fails)
    with pytest.raises(OSError, match="no more"), busy.busy(2):
        pass
    assert len(loops) == 1 and loops[0].returncode is not None


def test_a_loop_that_ends_early_is_told(loops):
    with pytest.raises(ChildProcessError, match="ended before"), busy.busy(2):
        loops[1].kill()
        loops[1].wait()
    assert loops[0].returncode is not None


def test_a_loop_that_does_not_start_is_told(loops, monkeypatch):
    monkeypatch.setattr(busy, "LOOP", "raise SystemExit")
    with pytest.raises(ChildProcessError, match="did not start"), busy.busy(2):
        pass
    assert all(process.returncode is not None for process in loops)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_loop_outlives_its_parent(number):
    process = started([sys.executable, "-c", BLOCK], cwd=ROOT, start_new_session=True)
    with process:
        assert process.stdout.readline() == "busy\n", process.stderr.read()
        assert len(members(process.pid)) == 3
        process.send_signal(number)
        assert gone(process.pid)


@pytest.mark.parametrize(("number", "status"), [
    (signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)])
def test_the_command_ends_its_loops(number, status):
    words = ["bench", "--only", "start", "--load", "busy", "--repeat", "100000"]
    with started([sys.executable, "-m", "scripts", *words], cwd=ROOT,
                 start_new_session=True) as process:
        end = time.monotonic() + SOON
        while len(members(process.pid)) < 3 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(members(process.pid)) >= 3
        process.send_signal(number)
        _, error = process.communicate(timeout=SOON)
        assert process.returncode == status and error.count("\n") == 1, error
        assert gone(process.pid)
