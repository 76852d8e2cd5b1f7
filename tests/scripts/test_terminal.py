"""What a terminal shows: a line that is there at once, never wraps and leaves nothing behind."""
import contextlib
import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import numpy as np
import pytest

from scripts.paper.experiments import EXPERIMENTS
from scripts.paper.work import Whole
from scripts.terminal.progress import Line, Progress, duration

ROOT = Path(__file__).parent.parent.parent


class Screen:
    """A terminal that wraps what is longer than it is wide, and anew where its width changes."""

    def __init__(self, columns):
        self.columns = columns
        self.lines = [""]  # as they were written, before they are wrapped
        self.place = 0     # of the cursor, in the last line
        self.wrapped = 0   # how often text went on in the next row

    def feed(self, text):
        """Take what a program writes."""
        for part in re.findall(r"\x1b\[\d*[A-Z]|[\r\n]|[^\r\n\x1b]+", text):
            start = max(self.place - 1, 0) // self.columns * self.columns  # of its row
            if part == "\r":
                self.place = start
            elif part == "\n":
                self.lines.append("")
                self.place = 0
            elif part == "\x1b[J":
                self.lines[-1] = self.lines[-1][:self.place]
            elif part.endswith("A"):
                self.place -= self.columns * int(part[2:-1])
            else:
                assert not part.startswith("\x1b"), part
                end = self.place + len(part)
                self.lines[-1] = (self.lines[-1][:self.place].ljust(self.place) + part
                                  + self.lines[-1][end:])
                self.place = end
                self.wrapped += end > start + self.columns

    def shown(self):
        """The rows with something on them."""
        rows = [line[start:start + self.columns].rstrip() for line in self.lines
                for start in range(0, max(len(line), 1), self.columns)]
        return [row for row in rows if row]


class Terminal:
    """A pseudo terminal: `stream` to write to, `screen` shows it."""

    def __init__(self, columns):
        self.master, self.slave = os.openpty()
        self.screen = Screen(columns)
        self.stream = os.fdopen(os.dup(self.slave), "w", encoding="utf-8")
        self.resize(columns)

    def resize(self, columns):
        """Another width."""
        self.screen.columns = columns
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def look(self):
        """Take in what was written; returns the rows that are shown."""
        self.stream.flush()
        os.set_blocking(self.master, False)
        data = b""
        try:
            while chunk := os.read(self.master, 1 << 16):
                data += chunk
        except BlockingIOError:
            pass
        self.screen.feed(data.decode().replace("\r\n", "\n"))
        return self.screen.shown()

    def close(self):
        """Close both ends."""
        self.stream.close()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture(params=[80, 40])
def terminal(request):
    terminal = Terminal(request.param)
    yield terminal
    terminal.close()


def test_a_line_is_there_at_once_and_never_wider_than_the_terminal(terminal):
    progress = Progress("crafting with a label that is long enough to fill the line", "digits",
                        terminal.stream)
    assert terminal.look()[0].startswith("crafting with a label")
    progress.line.every = 0
    for done in np.linspace(0, 12345, 50):
        progress(done, 12345)
        rows = terminal.look()
        assert len(rows) == 1 and len(rows[0]) < terminal.screen.columns
    assert terminal.screen.wrapped == 0
    progress.close()
    assert terminal.look() == []


def test_a_shorter_text_leaves_nothing_of_a_longer_one(terminal):
    line = Line(terminal.stream, every=(0, 0))
    for text in ("a long line, as long as this", "short", "a longer one", "x" * 200, "end"):
        line.write(text)
        assert terminal.look() == [text[:terminal.screen.columns - 1]]
    line.clear()
    assert terminal.look() == []


@pytest.mark.parametrize("columns", [39, 26, 20, 79, 120])
def test_nothing_is_left_where_the_window_changes(columns):
    terminal = Terminal(80)
    line = Line(terminal.stream, every=(0, 0))
    terminal.stream.write("above\n")
    line.write("x" * 200)
    assert terminal.look() == ["above", "x" * 79]
    terminal.resize(columns)
    line.write("y" * 200)
    assert terminal.look() == ["above", "y" * (columns - 1)]
    terminal.resize(columns // 2)
    line.clear()
    assert terminal.look() == ["above"]
    terminal.close()


def test_what_is_printed_stands_above_the_line(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    line = Line(terminal.stream, every=(0, 0))
    line.write("at work")
    line.print("a figure\nits claims")
    assert terminal.look() == ["a figure", "its claims", "at work"]


def test_threads_write_whole_lines(terminal):
    line = Line(terminal.stream, every=(0, 0))
    workers = [threading.Thread(target=lambda text=text: [line.write(text) for _ in range(50)])
               for text in ("a" * 30, "b" * 20, "c" * 60)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        terminal.look()  # a terminal that nobody reads takes no more
    (row,) = terminal.look()
    assert len(set(row)) == 1 and terminal.screen.wrapped == 0


def test_a_log_gets_a_plain_line_now_and_then(monkeypatch):
    log, now = io.StringIO(), [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress("crafting", stream=log)
    for second in range(100):
        now[0] = 100.0 + second
        progress(second / 2, 50, "a note")
    progress.close()
    lines = log.getvalue().splitlines()
    assert len(lines) == 3 and "\r" not in log.getvalue()
    assert lines[0] == "crafting: 15 of 50 samples (30 %), 0.5 a second, 1 min 10 s left, a note"


def test_rate_and_time_left_come_from_parts_of_samples(monkeypatch):
    """A fifth of the first sample in ten seconds: ten samples take 500 s."""
    log, now = io.StringIO(), [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress("crafting", stream=log)
    progress(0, 10)
    now[0] = 40.0
    progress(0.8, 10)
    assert log.getvalue() == ("crafting: 0 of 10 samples (8 %), 0.0 a second, "
                              f"{duration(40 / 0.8 * 9.2)} left\n")


def test_the_whole_counts_experiments_and_the_time_left(monkeypatch):
    """Twenty seconds' worth of work in ten seconds of two cores: what is left goes as fast."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    line = Line(io.StringIO())
    whole = Whole(line, {"a": "First", "b": "Second", "c": "Third"},
                  {"a": 20, "b": 60, "c": 40}, 2)
    assert whole.left() == pytest.approx(120 / 2)
    whole.run("a", lambda: None, 1)
    now[0] = 10.0
    assert whole.left() == pytest.approx(100 / 2)

    def second():
        whole.begin()
        whole.tell(1, 2)
        whole.begin()
        whole.tell(1, 2)  # three quarters of 60
        return whole.left()

    now[0] = 40.0  # slower than the table says
    assert whole.run("b", second, 2) == pytest.approx((100 - 45) * 50 / (65 + 20))
    now[0] = 80.0
    whole.show()
    assert "experiment 3 of 3, about" in line.stream.getvalue()
    assert "left: Third" in line.stream.getvalue()
    whole.run("c", lambda: None, 1)
    assert whole.left() == 0


def test_every_experiment_says_about_how_long_it_takes():
    class Size:
        def __init__(self, full):
            self.full = full

        def sized(self, paper, small=None):
            return paper if self.full else min(paper, small or 50)

    for one in EXPERIMENTS.values():
        assert 0 < one.seconds(Size(False)) <= one.seconds(Size(True)) and one.stages >= 1
    assert [name for name, one in EXPERIMENTS.items() if one.alone] == ["time"]


def on_a_terminal(words, columns):
    """(screen, status) of `jsma` with `words` where output and errors are a terminal."""
    terminal = Terminal(columns)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "-m", "scripts", *words], cwd=ROOT,
                               stdout=terminal.slave, stderr=terminal.slave, env=environment)
    first = None
    while process.poll() is None:
        rows = terminal.look()
        first = first or rows
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    terminal.look()
    terminal.close()
    return terminal.screen, first, process.returncode


@pytest.mark.parametrize(("words", "first", "last"), [
    (["explain", "--target", "3", "--out", "{}/p.html"], "jsma explain …", "open it in a browser"),
    pytest.param(["craft", "--count", "2", "--target", "3", "--out", "{}/c"], "jsma craft …",
                 "successful", marks=pytest.mark.slow),
    pytest.param(["reproduce", "--digits", "1", "--only", "fig9", "--only", "path", "--derivative",
                  "backward", "--out", "{}/r"], "jsma reproduce …", "report.html",
                 marks=pytest.mark.slow),
    (["reproduce", "--only", "fig99"], "", "(see: jsma reproduce --help)")])
def test_commands_on_a_terminal(words, first, last, tmp_path):
    """Something at once, before the packages are imported; in the end only what is to stay."""
    words = [word.format(tmp_path) for word in words]
    screen, early, status = on_a_terminal(words, 80)
    assert early == [first] or not first
    assert status == (0 if first else 2)
    assert any(last in line for line in screen.lines)
    assert not any("…" in line or " left" in line for line in screen.lines)
