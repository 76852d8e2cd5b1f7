"""The client of Chromium itself, on small pages: what it does reaches the page, what the page does
is seen.
"""
import os
import subprocess
import sys
import time
from pathlib import Path

import browser as client
import pytest
from browser import Browser, chromium
from sessions import members

HEAD = ("<!doctype html><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'><title>t</title>")


@pytest.fixture(scope="module")
def browser():
    with Browser() as started:
        yield started


@pytest.fixture
def show(browser, tmp_path):
    """A function that opens a page with the given body."""
    def write_and_open(body, width=800, **options):
        (tmp_path / "page ü.html").write_text(HEAD + body, encoding="utf-8")
        browser.open(tmp_path / "page ü.html", width, **options)
        return browser
    return write_and_open


def test_a_quiet_page_is_quiet(show):
    page = show("<img alt='' src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>"
                "<script>console.log(1)</script>")
    assert page.console == [] and page.requests == []


def test_evaluate_gives_values_and_raises(show):
    page = show("<p id='p'>Hällo</p>")
    value = page.evaluate("({text: p.textContent, list: [1, null]})")
    assert value == {"text": "Hällo", "list": [1, None]}
    assert page.evaluate("new Promise(done => setTimeout(done, 20, 7))") == 7
    for wrong, said in (("nobody.there", "nobody is not defined"),
                        ("Promise.reject('no')", "^no$"), ("1 +", "Syntax")):
        with pytest.raises(RuntimeError, match=said):
            page.evaluate(wrong)


def test_a_click_is_a_user_s_click(show):
    page = show("""<div style='height: 5000px'></div>
        <button>go</button><button hidden id='no'>no</button><script>
        document.querySelector("button").onclick = event => {
            heard = [event.isTrusted, event.detail, event.button];
        }</script>""")
    page.click("button")
    assert page.evaluate("heard") == [True, 1, 0] and page.evaluate("scrollY > 4000")
    for missing in ("#no", "#nobody"):
        with pytest.raises(RuntimeError, match=f"no {missing} here"):
            page.click(missing)


def test_keys_reach_the_document(show):
    page = show("""<script>heard = [];
        onkeydown = event => heard.push([event.key, event.code, event.keyCode])</script>""")
    for name in (*client.KEYS, "7", "a"):
        page.key(name)
    assert page.evaluate("heard") == [
        ["ArrowLeft", "ArrowLeft", 37], ["ArrowUp", "ArrowUp", 38],
        ["ArrowRight", "ArrowRight", 39], ["ArrowDown", "ArrowDown", 40],
        ["Tab", "Tab", 9], ["Enter", "Enter", 13], [" ", "Space", 32],
        ["7", "Digit7", 55], ["a", "KeyA", 65]]


def test_keys_do_what_they_do_for_a_user(show):
    page = show("<input id='text'><input type='range' id='range' value='50'>"
                "<button onclick='clicks++'>b</button><script>clicks = 0</script>")
    for name in ("Tab", "a", "7", " ", "Tab", "ArrowRight", "ArrowUp", "ArrowLeft", "Tab", "Enter",
                 " "):
        page.key(name)
    assert page.evaluate("[text.value, range.value, clicks]") == ["a7 ", "51", 2]


def test_the_console_is_heard_and_forgotten_on_open(show):
    page = show("""<script>
        console.error("first", 2, {}); console.warn("second"); console.assert(false, "third");
        setTimeout(() => { throw Error("fourth") }); Promise.reject("fifth")</script>""")
    page.evaluate("new Promise(done => setTimeout(done, 50))")
    heard = page.console
    assert heard[:3] == ["first 2 Object", "second", "third"] and len(heard) == 5
    assert any("Error: fourth" in text for text in heard) and any("fifth" in text for text in heard)
    show("""<script>setInterval(() => {
        console.error(7); new Image().src = `${Math.random()}.png` }, 1)</script>""")
    page = show("<p>quiet</p>")
    assert page.console == [] and page.requests == []


def test_a_missing_image_is_a_request_and_an_error(show, tmp_path):
    page = show("<img alt='' src='missing.png'>")
    assert page.requests == [(tmp_path / "missing.png").as_uri()]
    assert page.console == ["Failed to load resource: net::ERR_FILE_NOT_FOUND"]


def test_a_download_is_there(show):
    page = show("""<a download='ü.csv'>get</a><script>const text = "digit,ü\\n".repeat(1e5);
        document.querySelector("a").href = URL.createObjectURL(new Blob([text]))</script>""")
    page.click("a")
    file = page.download("ü.csv")
    assert file.parent == page.downloads
    assert file.read_text(encoding="utf-8") == "digit,ü\n" * 100_000


@pytest.mark.parametrize(("width", "mobile"), [(400, False), (400, True), (1400, False)])
def test_the_width_is_honoured(show, tmp_path, width, mobile):
    page = show("<style>body { margin: 0 } p { height: 1700px }</style><p>tall", width, height=500,
                mobile=mobile)
    assert page.evaluate("[innerWidth, innerHeight]") == [width, 500]
    page.screenshot(tmp_path / "page.png")
    header = (tmp_path / "page.png").read_bytes()[:24]
    high = page.evaluate("document.documentElement.scrollHeight")
    assert header[:4] == b"\x89PNG" and int.from_bytes(header[20:]) == high > 1700
    assert width - 20 < int.from_bytes(header[16:20]) <= width  # a scroll bar may take the rest


def test_what_is_wrong_is_said_in_one_line(show, tmp_path, monkeypatch):
    page = show("<p>Hello</p>")
    with pytest.raises(FileNotFoundError, match="none.html"):
        page.open(tmp_path / "none.html", 800)
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    with pytest.raises(RuntimeError, match="^Runtime.evaluate: [^\n]* 0.2 s$"):
        page.evaluate("new Promise(() => setInterval(console.log, 1))")
    with pytest.raises(RuntimeError, match="^the download of no.txt: [^\n]* 0.2 s$"):
        page.download("no.txt")


def test_where_it_is_missing_the_reason_is_given(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.skip.Exception, match="Chromium is not installed"):
        chromium()


def test_what_does_not_start_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(client, "chromium", lambda: "false")
    with pytest.raises(RuntimeError, match="has ended"), Browser():
        pass
    assert not list(tmp_path.iterdir())


def test_where_it_crashes_that_is_said():
    with Browser() as browser:
        os.killpg(browser._process.pid, 9)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="^Runtime.evaluate: Chromium has ended$"):
                browser.evaluate("1")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to look for processes")
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", *(
    pytest.param(end, marks=pytest.mark.slow)
    for end in ("1 / 0", "os.killpg(browser._process.pid, 9)"))])
def test_nothing_is_left_behind(end, tmp_path):
    """Whether the test passes or fails, Chromium crashes or Python is killed."""
    chromium()
    code = f"""if True:
        import os, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        from browser import Browser
        with Browser() as browser:
            print(browser._process.pid, flush=True)
            {end}"""
    child = subprocess.run([sys.executable, "-c", code],
                           env={**os.environ, "TMPDIR": str(tmp_path)}, text=True,
                           capture_output=True, check=False, timeout=60)
    for _ in range(100):
        left = members(int(child.stdout))
        if not left and not list(tmp_path.iterdir()):
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {left} {list(tmp_path.iterdir())}")
