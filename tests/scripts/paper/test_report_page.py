"""The page of `jsma reproduce`: what it says, and as a browser shows it, 400 (a telephone) and 1400
pixels wide and on paper."""
import html
import io
import re

import numpy as np
import pytest
from browser import Browser, chromium
from matplotlib.image import imsave

from scripts.__main__ import main
from scripts.paper.experiments import EXPERIMENTS
from scripts.paper.outcome import Claim, Outcome
from scripts.paper.report.page import MANY, WIDEST
from scripts.paper.report.page import page as page_of

slow = pytest.mark.slow
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


def picture(width, height=20):
    """A PNG."""
    file = io.BytesIO()
    imsave(file, np.ones((height, width, 3)), format="png")
    return file.getvalue()


def claims(*words):
    """A `Claim` for each verdict."""
    return [Claim(f"claim {k}", "1 %", "2 % [1, 3]", word.replace("too few", "–"),
                  "too few: 2 digits" if word == "too few" else "why")
            for k, word in enumerate(words)]


FIG11 = [Claim(name, paper, ours, word, why) for name, paper, ours, word, why in (
    ("success rate τ", "97.10 %", "96.00 % [95.00, 98.00]", "agrees", ""),
    ("mean distortion of all samples", "4.44 %", "9.00 % [8.00, 9.50]", "differs", ""),
    ("mean distortion ε of the successes", "4.02 %", "4.00 % [1.00, 7.00]", "–", "too few: 2"))]
MADE = {"fig1": Outcome({}, claims("agrees", "–")), "fig11": Outcome({}, FIG11),
        "fig12": Outcome({}, claims("too few"), no_picture="no picture: <too> few"),
        "fig13": Outcome({}, claims("agrees", "agrees", "differs", "too few", "–")),
        "time": Outcome({}, claims("–"), table=(["h"] * MANY, [["cell"] * MANY])),
        "readings": Outcome({}, claims("–"), table=(["h"] * (MANY + 1), [["c"] * (MANY + 1)]))}


@pytest.fixture(scope="module")
def made():
    """The page of a few outcomes that are made up."""
    return page_of(MADE, {"size": "small"}, {"fig1": picture(930), "fig13": picture(WIDEST),
                                             "readings": picture(WIDEST + 1)}, EXPERIMENTS)


def test_the_first_screen_is_a_picture_three_numbers_and_cards(made):
    first = made[made.index("<div class='first'>"):made.index("<h2 id=")]
    assert "<ul>" not in made and first.index("<img alt='Fig. 1") < first.index("<dl")
    numbers = re.findall(r"<dt>(.*?)</dt><dd><b>(.*?)</b> <span>(.*?)</span></dd><dd>paper: (.*?) "
                         r"<span.*?>(.*?)</span>", first)
    assert numbers == [
        ("success rate τ", "96.00 %", "[95.00, 98.00]", "97.10 %", "agrees"),
        ("mean distortion ε of the successes", "4.00 %", "[1.00, 7.00]", "4.02 %", "too few"),
        ("mean distortion of all samples", "9.00 %", "[8.00, 9.50]", "4.44 %", "differs")]
    assert re.search(r"4 agree</span>, <span class='differs'>2 differ</span>, <span>3 too", first)


def test_a_card_shows_picture_or_number_title_and_verdicts(made):
    cards = dict(re.findall(r"<a href='#(\w+)'>(<span class='face.*?)</a>", made))
    assert list(cards) == list(MADE) and all(f"<h2 id='{name}'" in made for name in MADE)
    for name, card in cards.items():
        assert f"<span class='title'>{EXPERIMENTS[name].title}</span>" in card
        assert ("<img" in card) == (name in ("fig1", "fig13", "readings"))
    said = {name: re.sub("<.*?>", "", card.partition("class='title'>")[2].partition("</span>")[2])
            for name, card in cards.items()}
    assert said["fig13"] == "2 agree, 1 differs, 1 too few" and said["time"] == "no verdict"
    assert "<b>96.00 %</b>" in cards["fig11"] and "'of'>success rate τ<" in cards["fig11"]
    assert "<b>2 %</b>" in cards["fig12"]


def test_without_fig1_and_fig11_the_first_screen_has_cards_only():
    html_of = page_of({"time": MADE["time"]}, {"size": "small"}, {}, EXPERIMENTS)
    assert "<dl" not in html_of and "<img" not in html_of and "gives: no verdict." in html_of


def test_a_figure_without_data_is_a_line_and_too_few_a_word(made):
    section = made[made.index("<h2 id='fig12'"):made.index("<h2 id='fig13'")]
    assert "<img" not in section and "no picture: &lt;too&gt; few</p>" in section
    assert ">too few</td>" in section and ">2 digits</td>" in section


def test_wide_tables_are_folded_up_and_wide_pictures_say_that_they_scroll(made):
    assert made.count("<details class='broad'>") == 1 == made.count("scroll it sideways")
    readings = made[made.index("<h2 id='readings'"):]
    assert "<details class='broad'>" in readings and "scroll it sideways" in readings


@slow
def test_the_page_is_quiet_and_asks_for_nothing(page):
    assert page.console == [] and page.requests == []


@slow
def test_the_first_screen_shows_a_picture_and_numbers(page, width):
    """Before anything is scrolled: all of Fig. 1, and beside it (or below) τ."""
    box = """(css => {
        const box = document.querySelector(css).getBoundingClientRect();
        return [box.left, box.right, box.top, box.bottom];
    })"""
    left, right, top, bottom = page.evaluate(f"{box}('.first img')")
    assert 0 <= left < right <= width and 0 <= top < bottom <= 900 and right - left > 350
    assert page.evaluate(f"{box}('.numbers div')")[3] <= 900
    assert page.evaluate("document.querySelectorAll('.cards a').length") > 20


@slow
def test_pictures_fit_or_say_that_they_scroll(page):
    assert page.evaluate("""Array.from(document.images, image => {
        const box = image.getBoundingClientRect(), around = image.closest(".scrolls");
        return box.right <= innerWidth || Boolean(around && around.querySelector(".hint"));
    })""") == [True] * page.evaluate("document.querySelectorAll('img').length")


@slow
def test_on_paper_everything_shows(made, tmp_path):
    """Nothing is folded up, nothing sticks out of the paper, no picture is cut off."""
    path = tmp_path / "made.html"
    path.write_text(made, encoding="utf-8")
    chromium()
    with Browser() as browser:
        browser.open(path, 718)  # A4, upright
        folded = """Array.from(document.querySelectorAll("details > *:last-child"), one =>
            one.checkVisibility({contentVisibilityAuto: true}) && one.offsetHeight > 0)"""
        assert browser.evaluate(folded) == [False, False]
        browser.media("print")
        assert browser.evaluate(folded) == [True, True]
        assert browser.evaluate("""Array.from(document.querySelectorAll("img, table, .wide"), one =>
            one.getBoundingClientRect().right <= innerWidth &&
            (!one.matches(".wide") || getComputedStyle(one).overflowX === "visible"))
            .every(Boolean)""")


@slow
def test_every_picture_is_there_and_described(page, report):
    images = page.evaluate("Array.from(document.images, image => [image.complete, "
                           "image.naturalWidth, image.alt])")
    assert len(images) == report.read_text(encoding="utf-8").count("<img ") > 4
    described = page.evaluate("""Array.from(document.images, image => Boolean(
        image.alt.trim() || image.closest("a").innerText.trim()))""")
    assert all(complete and width > 0 for complete, width, _ in images) and all(described)


@slow
def test_nothing_sticks_out_sideways(page, width):
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner == width  # a page that is too wide for a telephone makes innerWidth grow


@slow
def test_text_is_large_enough(texts):
    assert min((text["size"], text["tag"]) for text in texts) >= (12, "")


@slow
def test_text_stands_out_from_its_background(texts):
    assert contrast({"colour": "rgb(119, 119, 119)",
                     "ground": "rgb(255, 255, 255)"}) == pytest.approx(4.48, abs=0.01)
    assert min((contrast(text), text["tag"], text["colour"]) for text in texts) >= (4.5, "", "")


@slow
def test_every_heading_shows(page, report):
    written = re.findall(r"<h2[^>]*>(.*?)</h2>", report.read_text(encoding="utf-8"), re.DOTALL)
    shown = page.evaluate("""Array.from(document.querySelectorAll("h2")).filter(heading =>
        heading.checkVisibility({opacityProperty: true, visibilityProperty: true}) &&
        heading.getBoundingClientRect().right > 0).map(heading => heading.innerText)""")
    assert len(written) > 5 and shown == [html.unescape(text) for text in written]
