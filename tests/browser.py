"""A client of headless Chromium, by the Chrome DevTools Protocol over a pipe; nothing but the
standard library.

In: HTML files, and the clicks and keys of a user. Out: what the page evaluates, shows, downloads,
says on its console and asks of the network. No wait is longer than TIMEOUT; the processes and the
temporary folder go, whatever happens.
"""
import json
import os
import select
import shutil
import time
from base64 import b64decode
from collections import defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

TIMEOUT = 30.0  # seconds
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--remote-debugging-pipe", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--user-data-dir=profile")
# $0, the folder: should Python be killed
START = 'TMPDIR=. "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1; rm -rf "$0"'
KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Enter": 13,
        " ": 32}
CENTRE = """(css => {
    const it = document.querySelector(css);
    if (!it?.checkVisibility()) throw Error(`no ${css} here`);
    it.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
    const box = it.getBoundingClientRect();
    return {x: box.x + box.width / 2, y: box.y + box.height / 2};
})"""
LOUD = ("error", "warning", "assert")


def chromium():
    """The path of Chromium; where there is none, the test that asks is skipped."""
    import pytest
    paths = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    return (next(paths, None)
            or pytest.skip("Chromium is not installed (Debian: apt install chromium)"))


class Browser(ExitStack):
    """`with Browser() as browser:` is one page of headless Chromium.

    `downloads` is the folder of what it downloads.
    """

    def __enter__(self):
        self._called, self._session, self._unread, self._heard = 0, {}, b"", defaultdict(list)
        with ExitStack() as stack:
            folder = stack.enter_context(
                TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True))
            self._process = stack.enter_context(
                Popen(["sh", "-c", START, folder, chromium(), *FLAGS], cwd=folder, bufsize=0,
                      stdin=PIPE, stdout=PIPE, start_new_session=True))
            # SIGKILL, to the shell and to all of Chromium
            stack.callback(os.killpg, self._process.pid, 9)
            self.downloads = files = Path(folder, "downloads")
            self._ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(files),
                      eventsEnabled=True)
            self._session = self._ask("Target.attachToTarget", flatten=True,
                                      **self._ask("Target.createTarget", url=""))
            for method in ("Page.enable", "Runtime.enable", "Network.enable", "Log.enable"):
                self._ask(method)
            self.push(stack.pop_all())
        return self

    def open(self, path, width, height=900, mobile=False):
        """Load the file `path` in a window of that size and wait until it is there.

        Console and requests start anew.
        """
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=mobile)
        url = Path(path).resolve(strict=True).as_uri()
        for self._url in ("about:blank", url):  # the last page falls silent first
            self._heard.clear()
            self._ask("Page.navigate", url=self._url)
            self._until(lambda: self._heard["Page.loadEventFired"], f"loading {self._url}")

    def evaluate(self, expression):
        """The value of a JavaScript expression, a promise's once it is kept.

        RuntimeError with the page's exception.
        """
        reply = self._ask("Runtime.evaluate", expression=expression, returnByValue=True,
                          awaitPromise=True)
        if "exceptionDetails" in reply:
            raise RuntimeError(_text(reply["exceptionDetails"]["exception"]))
        return reply["result"].get("value")

    def click(self, selector):
        """Click with the mouse on the centre of the first element that `selector` matches."""
        centre = self.evaluate(f"{CENTRE}({json.dumps(selector)})")
        for kind, button in (("mouseMoved", "none"), ("mousePressed", "left"),
                             ("mouseReleased", "left")):
            self._ask("Input.dispatchMouseEvent", type=kind, button=button, clickCount=1, **centre)

    def key(self, name):
        """Press and release an arrow key (ArrowLeft, …), Tab, Enter, ' ', a digit or a letter."""
        code = (name.replace(" ", "Space") if name in KEYS
                else ("Digit" if name.isdigit() else "Key") + name.upper())
        number = KEYS.get(name) or ord(name.upper())
        text = {"Enter": "\r"}.get(name, name if len(name) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=name, code=code, text=text,
                      windowsVirtualKeyCode=number)

    def media(self, name):
        """Show the page as on "screen" or in "print"."""
        self._ask("Emulation.setEmulatedMedia", media=name)
        self.evaluate("new Promise(after => requestAnimationFrame("
                      "() => requestAnimationFrame(() => after(true))))")  # what is drawn anew

    def screenshot(self, path):
        """Write the whole page to the file `path` as PNG."""
        picture = self._ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        Path(path).write_bytes(b64decode(picture))

    def download(self, name):
        """The path of the file `name`, downloaded since `open`, once all of it is there."""
        def path():
            events = self._heard["Browser.downloadProgress"]
            paths = (Path(event.get("filePath", "")) for event in events)
            return next((path for path in paths if path.name == name), None)

        return self._until(path, f"the download of {name}")

    @property
    def console(self):
        """Errors, warnings and uncaught exceptions since `open`, as text."""
        self.evaluate("0")  # the reply comes after all that happened before
        calls = [event["args"] for event in self._heard["Runtime.consoleAPICalled"]
                 if event["type"] in LOUD]
        thrown = [event["exceptionDetails"].get("exception", {})
                  for event in self._heard["Runtime.exceptionThrown"]]
        logged = [event["entry"] for event in self._heard["Log.entryAdded"]
                  if event["entry"]["level"] in LOUD]
        return [*(" ".join(map(_text, call)) for call in calls), *map(_text, [*thrown, *logged])]

    @property
    def requests(self):
        """The URLs asked for since `open`, without data:, blob: and the page itself."""
        self.evaluate("0")
        urls = [event["request"]["url"] for event in self._heard["Network.requestWillBeSent"]]
        return [url for url in urls if url != self._url and not url.startswith(("data:", "blob:"))]

    def _ask(self, method, **params):
        self._called += 1
        message = {"id": self._called, "method": method, "params": params, **self._session}
        with suppress(BrokenPipeError):  # Chromium has ended: _until finds out and says so
            self._process.stdin.write(json.dumps(message).encode() + b"\0")
        reply, = self._until(lambda: self._heard.pop(self._called, None), method)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def _until(self, condition, what):
        end = time.monotonic() + TIMEOUT
        while not (answer := condition()):
            ready = ((left := end - time.monotonic()) > 0
                     and select.select([self._process.stdout], [], [], left)[0])
            if not (ready and (data := self._process.stdout.read(1 << 20))):
                raise RuntimeError(f"{what}: Chromium "
                                   + ("has ended" if ready else f"did not in {TIMEOUT:g} s"))
            *messages, self._unread = (self._unread + data).split(b"\0")
            for message in map(json.loads, messages):
                heard = self._heard[message.get("id") or message["method"]]
                heard.append(message.get("params", message))
        return answer


def _text(value):
    return str(value.get("value", value.get("description", value.get("text"))))
