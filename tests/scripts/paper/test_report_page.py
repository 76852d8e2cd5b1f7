"""The page of `jsma reproduce` as a browser shows it, 400 (a telephone) and 1400 pixels wide."""
import html
import re

import pytest
from browser import Browser, chromium

from scripts.__main__ import main

pytestmark = pytest.mark.slow
TEXTS = """(() => {
    const seen = {opacityProperty: true, visibilityProperty: true}, texts = [];
    const background = element => getComputedStyle(element).backgroundColor;
    const filled = element => element && background(element) !== "rgba(0, 0, 0, 0)";
    for (const element of document.body.querySelectorAll("*")) {
        if (!element.checkVisibility(seen) || element.getBoundingClientRect().right <= 0) continue;
        let ground = element;
        while (ground && !filled(ground)) ground = ground.parentElement;
        const own = [...element.childNodes].some(
            node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        for (const part of ["", "::before", "::after"]) {
            const {content, fontSize, color} = getComputedStyle(element, part || null);
            if (part ? !["none", "normal"].includes(content) : own)
                texts.push({tag: element.tagName + part, size: parseFloat(fontSize), colour: color,
                            ground: ground ? background(ground) : "rgb(255, 255, 255)"});
        }
    }
    return texts;
})()"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    chromium()
    folder = tmp_path_factory.mktemp("report")
    assert main(["reproduce", "--out", str(folder), "--digits", "2"]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module", params=[400, 1400])
def width(request):
    return request.param


@pytest.fixture(scope="module")
def page(width, report):
    with Browser() as browser:
        browser.open(report, width, mobile=width < 600)
        yield browser


@pytest.fixture(scope="module")
def texts(page):
    """Tag, font size, colour and background of all that shows text, ::before and ::after too."""
    texts = page.evaluate(TEXTS)
    assert len(texts) > 100
    return texts


def luminance(colour):
    """The relative luminance of WCAG 2 of an opaque colour, as getComputedStyle writes it."""
    assert colour.startswith("rgb("), colour
    parts = [int(value) / 255 for value in re.findall(r"\d+", colour)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
                        for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(text):
    """The contrast ratio of WCAG 2, 1 to 21, of a text with its background."""
    low, high = sorted((luminance(text["colour"]), luminance(text["ground"])))
    return (high + 0.05) / (low + 0.05)


def test_the_page_is_quiet_and_asks_for_nothing(page):
    assert page.console == [] and page.requests == []


def test_every_picture_is_there_and_described(page, report):
    images = page.evaluate("Array.from(document.images, image => [image.complete, "
                           "image.naturalWidth, image.alt])")
    assert len(images) == report.read_text(encoding="utf-8").count("<img ") > 4
    for complete, width, alt in images:
        assert complete and width > 0 and alt.strip()


def test_nothing_sticks_out_sideways(page, width):
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner == width  # a page that is too wide for a telephone makes innerWidth grow


def test_text_is_large_enough(texts):
    assert min((text["size"], text["tag"]) for text in texts) >= (12, "")


def test_text_stands_out_from_its_background(texts):
    assert contrast({"colour": "rgb(119, 119, 119)",
                     "ground": "rgb(255, 255, 255)"}) == pytest.approx(4.48, abs=0.01)
    assert min((contrast(text), text["tag"], text["colour"]) for text in texts) >= (4.5, "", "")


def test_every_heading_shows(page, report):
    written = re.findall(r"<h2[^>]*>(.*?)</h2>", report.read_text(encoding="utf-8"), re.DOTALL)
    shown = page.evaluate("""Array.from(document.querySelectorAll("h2")).filter(heading =>
        heading.checkVisibility({opacityProperty: true, visibilityProperty: true}) &&
        heading.getBoundingClientRect().right > 0).map(heading => heading.innerText)""")
    assert len(written) > 5 and shown == [html.unescape(text) for text in written]
