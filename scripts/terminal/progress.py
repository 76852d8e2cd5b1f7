"""One line on the terminal: how far long work is, how fast it goes, how long it will take.

In: counts. Out: on a terminal a line that is written over, elsewhere (a log) a plain line now and
then, on stderr.
"""
import sys
import time


class Progress:
    """Call it with (done, total, note=""), then `close`.

    `label` begins the line, `unit` is what is counted.
    """

    def __init__(self, label, unit="samples", stream=None):
        self.label = label
        self.unit = unit
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self.started = time.monotonic()
        self.shown = self.started
        self.width = 0
        self.before = None  # what was done before this process started

    def __call__(self, done, total, note=""):
        """Show `done` of `total`.

        At most ten times a second on a terminal and every 30 seconds in a log. The first call says
        what was there before; rate and time left are those of what came since.
        """
        now = time.monotonic()
        self.before = done if self.before is None else self.before
        if now - self.shown < (0.1 if self.live else 30):
            return
        self.shown = now
        rate = (done - self.before) / max(now - self.started, 1e-9)
        left = duration((total - done) / rate) if rate else "unknown"
        share = 100 * done / total if total else 100
        text = (f"{self.label}: {int(done):,} of {total:,} {self.unit} ({share:.0f} %), "
                f"{rate:,.1f} a second, {left} left")
        self._write(f"{text}{', ' if note else ''}{note}")

    def close(self, text=None):
        """End the line, with `text` as a last word that stays."""
        if self.live and self.width:
            self.stream.write("\r" + " " * self.width + "\r")
        if text is not None:
            self.stream.write(text + "\n")
        self.width = 0
        self.stream.flush()

    def _write(self, text):
        self.stream.write("\r" + text.ljust(self.width) if self.live else text + "\n")
        self.width = len(text)
        self.stream.flush()


def duration(seconds):
    """Seconds as a person says them: 8 s, 3 min 20 s, 2 h 5 min."""
    seconds = int(round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
