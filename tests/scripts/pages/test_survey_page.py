"""The page of the human study in a browser: answers by keys and by mouse, and what was said is what
is counted.
"""
import json
import re
from base64 import b64decode

import numpy as np
import pytest
from browser import Browser, chromium

from scripts.__main__ import main
from scripts.pages.survey_answers import read_answers
from scripts.pages.survey_page import HEADER

slow = pytest.mark.slow
SIZES = {360: 640, 1300: 800}
# a page too wide for a telephone makes innerWidth grow
WIDE = "[document.documentElement.scrollWidth, innerWidth]"
BACK = "section:not([hidden]) nav button"
PIXELS = """(() => {  // read from a copy: Chromium warns of a canvas that is read often
    const copy = new OffscreenCanvas(28, 28).getContext("2d", {willReadFrequently: true});
    copy.drawImage(document.querySelector("#picture"), 0, 0);
    return [...copy.getImageData(0, 0, 28, 28).data];
})()"""


class Survey:
    """A page as people see it: `number` is the sample that the picture on the screen is of."""

    def __init__(self, browser, path):
        self.browser, self.path = browser, path
        data = json.loads(re.search(r"id='survey'>(.*?)</script>",
                                    path.read_text(encoding="utf-8"))[1])
        self.pictures = {b64decode(sample["pixels"]): number
                         for number, sample in enumerate(data["samples"], 1)}
        self.label = {number: int(sample["row"].split(",")[3])
                      for number, sample in enumerate(data["samples"], 1)}

    def open(self, width=1300, forget=True):
        self.browser.open(self.path, width, height=SIZES[width], mobile=width < 600)
        if forget:
            self.browser.evaluate("localStorage.clear()")
            self.open(width, forget=False)

    @property
    def number(self):
        colours = np.array(self.browser.evaluate(PIXELS), np.uint8).reshape(784, 4)
        assert (colours[:, 3] == 255).all() and (colours[:, :1] == colours[:, :3]).all()
        return self.pictures[colours[:, 0].tobytes()]

    @property
    def text(self):
        return self.browser.evaluate("document.body.innerText")

    def plan(self, number):
        """Every fourth is no digit, every third another digit than it is: None or 0 to 9."""
        return None if number % 4 == 0 else (self.label[number] + (number % 3 == 0)) % 10

    def press(self, digit):
        self.browser.key("n" if digit is None else str(digit))

    def click(self, digit):
        if digit is None:
            self.browser.click("#no")
        else:
            self.browser.click("#yes")
            self.browser.click(f"#which [data-digit='{digit}']")


def written(folder, *words):
    """A page that `make` writes into a folder."""
    chromium()
    assert main(["survey", "make", "--derivative", "backward", *words, "--out",
                 str(folder / "survey.html")]) == 0
    return folder / "survey.html"


@pytest.fixture(scope="module")
def browser():
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def survey(browser, tmp_path_factory):
    return Survey(browser, written(tmp_path_factory.mktemp("survey"), "--count", "13"))


def test_a_short_survey_by_keys(browser, tmp_path):
    """Two pictures, one answer each; nothing on the console, nothing asked of the network."""
    short = Survey(browser, written(tmp_path, "--count", "2", "--epsilon", "0,1", "--theta",
                                    "none"))
    short.open()
    browser.key("Enter")
    said = {}
    for place in (1, 2):
        assert f"{place} of 2" in short.text
        said[short.number] = short.label[short.number]
        short.press(said[short.number])
    browser.click("#finish")
    browser.click("#download")
    name = browser.evaluate("document.querySelector('#download').download")
    answers = read_answers([browser.download(name)])
    assert {answer.sample: answer.digit for answer in answers} == said
    assert browser.console == [] and browser.requests == []


@slow
@pytest.mark.parametrize(("width", "by"), [(360, "mouse"), (1300, "keys")])
def test_what_is_answered_is_what_is_counted(width, by, survey, browser, tmp_path):
    survey.open(width)
    mouse = by == "mouse"
    browser.click("#start") if mouse else browser.key("Enter")
    said = {}
    for place in range(1, 14):
        assert f"{place} of 13" in survey.text
        number = survey.number
        said[number] = survey.plan(number)
        (survey.click if mouse else survey.press)(said[number])
        assert browser.evaluate(WIDE) == [width, width]
    assert sorted(said) == list(range(1, 14)) and "All 13 pictures" in survey.text
    for _ in range(3):  # back by three, and another answer there
        browser.click(BACK) if mouse else browser.key("ArrowLeft")
    changed = survey.number
    said[changed] = None if said[changed] is not None else 5
    (survey.click if mouse else survey.press)(said[changed])
    for _ in range(2):
        browser.click("#next") if mouse else browser.key("ArrowRight")
    for key in [] if mouse else ["Tab", "Tab", "Enter", "Tab", "Enter"]:  # Back, Finish; Save
        browser.key(key)
    for button in ["#finish", "#download"] if mouse else []:
        browser.click(button)
    name = browser.evaluate("document.querySelector('#download').download")
    file = browser.download(name)
    text = browser.evaluate("document.querySelector('#csv').value")
    assert text == file.read_text(encoding="utf-8")
    answers = read_answers([file])
    assert {answer.sample: answer.digit for answer in answers} == said
    assert name == f"answers-{answers[0].survey}-{answers[0].participant}.csv"
    assert all(0 <= answer.seconds < 60 for answer in answers)
    assert browser.console == [] and browser.requests == []
    assert browser.evaluate(WIDE) == [width, width]
    counted(answers, said, survey, file, tmp_path)


def counted(answers, said, survey, file, folder):
    """`analyse` gives the numbers of the script's answers."""
    assert main(["survey", "analyse", str(file), "--out", str(folder)]) == 0
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    part = {answer.sample: answer.part for answer in answers}
    for figure, group, name in (("fig16", "unaltered", "unaltered"), ("fig17", "all", "intensity")):
        chosen = [number for number in said if part[number] == name]
        numbers = results[figure][group]
        assert numbers["answers"] == len(chosen) > 0
        digit = 100 * np.mean([said[n] is not None for n in chosen])
        right = 100 * np.mean([said[n] == survey.label[n] for n in chosen])
        assert numbers["digit"][0] == pytest.approx(digit)
        assert numbers["right"][0] == pytest.approx(right)
    bins = [group for group in results["fig16"]["bins"] for _ in range(group["answers"])]
    altered = [number for number in said if part[number] == "distortion"]
    assert len(bins) == len(altered) == 6
    digit = sum(100 * (said[n] is not None) for n in altered)
    assert sum(group["digit"][0] for group in bins) == pytest.approx(digit)


@slow
def test_answers_are_kept_until_one_starts_again(survey, browser):
    survey.open()
    browser.click("#start")
    for _ in range(3):
        survey.press(7)
    people, number = browser.evaluate("state.participant"), survey.number
    survey.open(forget=False)
    assert "Go on: 3 of 13 are answered" in survey.text
    browser.click("#start")
    assert survey.number == number and browser.evaluate("state.participant") == people
    browser.key("ArrowLeft")
    seven = "document.querySelector('[data-digit=\"7\"]')"
    assert browser.evaluate(f"{seven}.getAttribute('aria-pressed')") == "true"
    browser.evaluate("confirm = () => false")
    browser.click("#again")
    assert "3 of 13" in survey.text
    browser.evaluate("confirm = () => true")
    order = browser.evaluate("order")
    browser.click("#again")
    assert browser.evaluate("document.querySelector('#start').textContent") == "Start"
    assert browser.evaluate("state.participant") != people and browser.evaluate("order") != order
    assert sorted(order) == list(range(13))
    browser.click("#start")
    assert "1 of 13" in survey.text and browser.console == []


@slow
@pytest.mark.parametrize("memory", [
    "x", "{}", '{"participant": 5, "answers": [null]}',
    '{"participant": 5, "answers": 3}',
    json.dumps({"participant": 5, "answers": [None] * 13, "finished": True}),
    json.dumps({"participant": 0, "answers": [None] * 13, "finished": False}),
    json.dumps({"participant": 5, "answers": [{"digit": 10, "seconds": 1}] * 13})])
def test_a_damaged_memory_is_forgotten(memory, survey, browser):
    survey.open()
    browser.evaluate(f"localStorage.setItem(KEY, {json.dumps(memory)})")
    survey.open(forget=False)
    browser.click("#start")
    assert "1 of 13" in survey.text and browser.console == []


@slow
def test_it_works_without_storage(survey, browser):
    survey.open()
    browser.evaluate(
        "void Object.defineProperty(window, 'localStorage', {get() { throw Error('forbidden'); }})")
    browser.click("#start")
    for _ in range(13):
        survey.press(1)
    browser.click("#finish")
    assert browser.evaluate("document.querySelector('#csv').value").count(",yes,1,") == 13
    assert browser.console == []


@slow
def test_a_slip_answers_one_picture_not_two(survey, browser):
    survey.open()
    browser.click("#start")
    browser.evaluate(
        "document.querySelector('#no').dispatchEvent(new MouseEvent('click', {detail: 2}))")
    for options in ("repeat: true", "ctrlKey: true", "metaKey: true", "altKey: true"):
        browser.evaluate(
            f"document.dispatchEvent(new KeyboardEvent('keydown', {{key: '3', {options}}}))")
    browser.key("ArrowRight")  # there is no way on without an answer
    browser.key("x")
    assert "1 of 13" in survey.text
    browser.key("3")
    browser.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Backspace'}))")
    assert "1 of 13" in survey.text
    browser.key("ArrowLeft")
    assert "1 of 13" in survey.text
    browser.key("ArrowRight")
    assert "2 of 13" in survey.text


@slow
def test_the_time_of_all_looks_is_added(survey, browser):
    survey.open()
    browser.click("#start")
    for seconds in (5, 7):
        browser.evaluate(f"since -= {1000 * seconds}")
        survey.press(1)
        browser.key("ArrowLeft")
    browser.key("ArrowRight")
    assert browser.evaluate("state.answers[order[0]].seconds") == pytest.approx(12, abs=2)


@slow
def test_finished_answers_stay(survey, browser):
    """The CSV holds the true labels, so nothing can be changed once it is there."""
    survey.open()
    browser.click("#start")
    for _ in range(13):
        survey.press(None)
    browser.click("#finish")
    before = browser.evaluate("document.querySelector('#csv').value")
    for key in ("ArrowLeft", "5", "n"):
        browser.key(key)
    survey.open(forget=False)
    assert "Thank you" in survey.text
    assert browser.evaluate("document.querySelector('#csv').value") == before
    assert before.startswith(HEADER) and before.count(",no,,") == 13


@slow
@pytest.mark.parametrize("width", SIZES)
def test_everything_fits_and_has_a_name(width, survey, browser):
    survey.open(width)
    browser.click("#start")
    shown = "[...document.querySelectorAll('button')].filter(one => one.checkVisibility())"
    boxes = browser.evaluate(f"{shown}.map(one => [one.offsetWidth, one.offsetHeight])")
    assert len(boxes) == 14 and np.min(boxes) >= 44
    assert all(browser.evaluate(f"{shown}.map(one => one.innerText.trim())"))
    size, bottom = browser.evaluate("[picture.getBoundingClientRect().width, "
                                    "document.querySelector('nav').getBoundingClientRect().bottom]")
    assert size >= 252 and size % 28 == 0 and bottom <= SIZES[width]  # nothing to scroll for
    assert browser.evaluate("getComputedStyle(picture).imageRendering") == "pixelated"
    assert browser.evaluate("picture.getAttribute('aria-label')")
    browser.key("Tab")
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    outline = "parseFloat(getComputedStyle(document.activeElement).outlineWidth)"
    assert browser.evaluate(outline) >= 3
