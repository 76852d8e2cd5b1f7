"""A client of headless Chromium, by the Chrome DevTools Protocol over a pipe; nothing but the standard library.

In: HTML files, and the clicks and keys of a user. Out: what the page evaluates, shows, downloads, says on its console
and asks of the network. No wait is longer than TIMEOUT; the processes and the temporary folder go, whatever happens.
"""
import base64
import json
import os
import select
import shutil
import signal
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

TIMEOUT = 30.0  # seconds
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--remote-debugging-pipe",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")
# Chromium reads from 3 and writes to 4. The shell waits, to tidy up where Python is killed and the pipe breaks.
START = 'dir=$1; shift; cd "$dir" && TMPDIR=. "$@" --user-data-dir=profile 3<&0 4>&1 </dev/null >/dev/null 2>&1; rm -rf "$dir"'
KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Enter": 13, " ": 32}
CENTRE = """(css => { const one = document.querySelector(css); if (!one?.checkVisibility()) throw Error(`no ${css} to see`);
    one.scrollIntoView({block: "center", inline: "center", behavior: "instant"}); const box = one.getBoundingClientRect();
    return {x: box.x + box.width / 2, y: box.y + box.height / 2}; })"""
LOUD = ("error", "warning", "assert")


def chromium():
    """The path of Chromium; where there is none, the test that asks is skipped."""
    import pytest
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    return next(found, None) or pytest.skip("Chromium is not installed (Debian: apt install chromium)")


class Browser(ExitStack):
    """`with Browser() as browser:` is one page of headless Chromium; `downloads` is the folder of what it downloads."""

    def __enter__(self):
        self._called, self._session, self._unread, self._heard = 0, {}, b"", defaultdict(list)
        with ExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True))
            self._process = stack.enter_context(Popen(["sh", "-c", START, "sh", folder, chromium(), *FLAGS], bufsize=0,
                                                      stdin=PIPE, stdout=PIPE, start_new_session=True))
            stack.callback(os.killpg, self._process.pid, signal.SIGKILL)
            self.downloads = Path(folder, "downloads")
            self._ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads), eventsEnabled=True)
            target = self._ask("Target.createTarget", url="about:blank")
            self._session = self._ask("Target.attachToTarget", flatten=True, **target)
            for method in ("Page.enable", "Runtime.enable", "Network.enable", "Log.enable"):
                self._ask(method)
            self.push(stack.pop_all())
        return self

    def open(self, path, width, height=900, mobile=False):
        """Load the file `path` in a window of that size and wait until it is there; console and requests start anew."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self._url, self._heard = Path(path).resolve().as_uri(), defaultdict(list)
        if error := self._ask("Page.navigate", url=self._url).get("errorText"):
            raise RuntimeError(f"{self._url}: {error}")
        self._until(lambda: self._heard["Page.loadEventFired"], f"loading {self._url}")

    def evaluate(self, expression):
        """The value of a JavaScript expression, a promise's once it is kept; RuntimeError with the page's exception."""
        reply = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in reply:
            raise RuntimeError(_thrown(reply))
        return reply["result"].get("value")

    def click(self, selector):
        """Click with the mouse on the centre of the first element that `selector` matches."""
        centre = self.evaluate(f"{CENTRE}({json.dumps(selector)})")
        for kind, button in (("mouseMoved", "none"), ("mousePressed", "left"), ("mouseReleased", "left")):
            self._ask("Input.dispatchMouseEvent", type=kind, button=button, clickCount=1, **centre)

    def key(self, name):
        """Press and release ArrowRight, ArrowLeft, ArrowUp, ArrowDown, Tab, Enter, ' ', a digit or a letter."""
        code = name.replace(" ", "Space") if name in KEYS else ("Digit" if name.isdigit() else "Key") + name.upper()
        number, text = KEYS.get(name) or ord(name.upper()), {"Enter": "\r"}.get(name, name if len(name) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=name, code=code, text=text, windowsVirtualKeyCode=number)

    def screenshot(self, path):
        """Write the whole page to the file `path` as PNG."""
        shot = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def download(self, name):
        """The path of the downloaded file `name`, once all of it is there (Chromium renames it last)."""
        return self._until(lambda: next(self.downloads.glob(name), None), f"the download of {name}")

    @property
    def console(self):
        """Errors, warnings and uncaught exceptions since `open`, as text."""
        self.evaluate("0")  # the reply comes after all that happened before
        calls = [event["args"] for event in self._heard["Runtime.consoleAPICalled"] if event["type"] in LOUD]
        entries = [event["entry"] for event in self._heard["Log.entryAdded"] if event["entry"]["level"] in LOUD]
        return [*(" ".join(str(part.get("value", part.get("description"))) for part in parts) for parts in calls),
                *map(_thrown, self._heard["Runtime.exceptionThrown"]), *(entry["text"] for entry in entries)]

    @property
    def requests(self):
        """The URLs asked for since `open`, without data: URLs and the page itself."""
        self.evaluate("0")
        urls = [event["request"]["url"] for event in self._heard["Network.requestWillBeSent"]]
        return [url for url in urls if url != self._url and not url.startswith("data:")]

    def _ask(self, method, **params):
        self._called += 1
        message = {"id": self._called, "method": method, "params": params, **self._session}
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        reply, = self._until(lambda: self._heard.pop(self._called, None), method)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def _until(self, condition, what):
        end = time.monotonic() + TIMEOUT
        while not (found := condition()):
            left = max(0, end - time.monotonic())
            ready = left and select.select([self._process.stdout], [], [], left)[0]
            if not (ready and (data := self._process.stdout.read(1 << 20))):
                raise RuntimeError(f"{what}: Chromium " + ("has ended" if ready else f"did not in {TIMEOUT:g} s"))
            *messages, self._unread = (self._unread + data).split(b"\0")
            for message in map(json.loads, messages):
                self._heard[message.get("id") or message["method"]].append(message.get("params", message))
        return found


def _thrown(event):
    details, exception = event["exceptionDetails"], event["exceptionDetails"].get("exception", {})
    return f"{details['text']} {exception.get('description', exception.get('value'))}"
