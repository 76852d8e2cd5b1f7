"""The screenshots of the README: `python tests/screenshots.py FOLDER [REPORT.html]`, with Chromium.

In: the page of `jsma explain`, and a report where one is named. Out: `page.png`, its attack on the
7, and `report.png`, the report's first screen, in FOLDER.
"""
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from browser import Browser
from PIL import Image  # matplotlib needs it too

from scripts.__main__ import main

WIDTH, REPORT_HEIGHT = 1200, 900
ALONE = """(() => {
    const section = document.querySelector("#attack");
    for (const other of document.querySelectorAll("body > *, main > *"))
        if (!other.contains(section) && !section.contains(other)) other.style.display = "none";
    section.style.paddingBottom = "1rem";
    scrollTo(0, 0);
})()"""
DONE = """new Promise(done => {
    const wait = () => document.querySelector("#run").textContent === "Stop"
        ? setTimeout(wait, 200) : done();
    setTimeout(wait, 500);
})"""
HALFWAY = """(() => {
    const slider = document.querySelector("#slider");
    slider.value = Math.floor(slider.max / 2);
    slider.dispatchEvent(new Event("input", {bubbles: true}));
    slider.blur();
})()"""


def save(browser, path, height=None):
    """The page as PNG of 128 colours, its upper `height` pixels or all of it."""
    browser.screenshot(path)
    picture = Image.open(path).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(height or picture.height, picture.height)))
    picture.quantize(128, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def attack_section(browser, folder):
    """The live page in the middle of its attack on the 7, all else hidden."""
    with TemporaryDirectory() as temporary:
        page = Path(temporary, "page.html")
        main(["explain", "--digit", "0", "--target", "8", "--out", str(page)])
        browser.open(page, WIDTH)
        browser.click("#run")
        browser.evaluate(DONE)
        browser.evaluate(HALFWAY)
        browser.evaluate("new Promise(after => setTimeout(after, 1000))")
        browser.evaluate(ALONE)
        save(browser, folder / "page.png")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with Browser() as browser:
        attack_section(browser, folder)
        for report in sys.argv[2:]:
            browser.open(report, WIDTH)
            save(browser, folder / "report.png", REPORT_HEIGHT)
