"""One line on the terminal: how far long work is, how fast it goes, how long it will take.

In: counts. Out: on a terminal a line that is written over and never wraps, elsewhere (a log) a
plain line now and then, on stderr.
"""
import os
import sys
import threading
import time
from contextlib import contextmanager


class Line:
    """The line on the terminal that is written over.

    `every`: at most once in so many seconds, on a terminal and in a log. Several threads may write
    it. On a terminal that is narrower than the text, the end of the text is left out.
    """

    def __init__(self, stream=None, every=(0.1, 30)):
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self.every = every[not self.live]
        self.shown = -1e9 if self.live else time.monotonic()
        self.text = ""  # what stands on the terminal
        self._lock = threading.RLock()

    def write(self, text, now=False):
        """Show `text`, unless the last one is too young; `now`: on a terminal in any case."""
        with self._lock:
            seconds = time.monotonic()
            if seconds - self.shown < self.every and not (now and self.live):
                return
            self.shown = seconds
            if not self.live:
                self.stream.write(text + "\n")
            else:
                home = self._home()
                self.text = text[:self._columns() - 1].ljust(len(self.text))
                self.stream.write(home + self.text)
            self.stream.flush()

    def clear(self):
        """Leave the line empty."""
        with self._lock:
            if self.text:
                self.stream.write(self._home() + " " * len(self.text) + "\r" * bool(self.text))
                self.text = ""
            self.stream.flush()

    def print(self, text):
        """`text` on stdout, to stay, above the line."""
        with self._lock:
            before = self.text.rstrip()
            self.clear()
            print(text, flush=True)
            if before:
                self.write(before, now=True)

    def _home(self):
        """To where the line begins. Where the window was narrowed, the terminal has wrapped it: go
        up and erase what is below."""
        columns = self._columns()
        rows = max(len(self.text) - 1, 0) // columns
        if not rows:
            return "\r"
        self.text = ""
        return f"\r\x1b[{rows}A\x1b[J"

    def _columns(self):
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


class Progress:
    """Call it with (done, total, note=""), then `close`.

    `label` begins the line, which is there at once; `unit` is what is counted.
    """

    def __init__(self, label, unit="samples", stream=None):
        self.label = label
        self.unit = unit
        self.line = Line(stream)
        self.started = time.monotonic()
        self.before = None  # what was done before this process started
        if self.line.live:
            self.line.write(f"{label} …")

    def __call__(self, done, total, note=""):
        """Show `done` of `total`.

        At most ten times a second on a terminal and every 30 seconds in a log. The first call says
        what was there before; rate and time left are those of what came since.
        """
        self.before = done if self.before is None else self.before
        rate = (done - self.before) / max(time.monotonic() - self.started, 1e-9)
        left = duration((total - done) / rate) if rate > 0 else "unknown"
        share = 100 * done / total if total else 100
        text = (f"{self.label}: {int(done):,} of {total:,} {self.unit} ({share:.0f} %), "
                f"{rate:,.1f} a second, {left} left")
        self.line.write(f"{text}{', ' if note else ''}{note}")

    def close(self):
        """Leave the line empty."""
        self.line.clear()


@contextmanager
def started(text):
    """In this block a terminal shows `text`: something is done, though there is nothing to count.

    Yields the `Line`.
    """
    line = Line()
    try:
        if line.live:
            line.write(f"{text} …")
        yield line
    finally:
        line.clear()


def duration(seconds):
    """Seconds as a person says them: 8 s, 3 min 20 s, 2 h 5 min."""
    seconds = int(round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
