"""The pages of `jsma explain` in a real browser, by mouse and keys: what they show is what the
library computes.
"""
import re

import numpy as np
import pytest
from browser import Browser, chromium

from attack import craft
from data import load_mnist
from nn import AndNetwork, LeNet
from scripts.__main__ import main

TARGET = 2
LAYERS = list(LeNet().layers)
WINDOW = {"conv1": 5, "pool1": 6, "tanh1": 6, "conv2": 14, "pool2": 16, "tanh2": 16, "flatten": 16}
RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
ENTRY = """(() => {
    const text = id => document.getElementById(id).textContent;
    const all = css => [...document.querySelectorAll(css)];
    const totals = all("#terms .total td").map(cell => [cell.id, cell.textContent]);
    return {entry: text("entry"), count: text("count"), seen: text("sees"), value: text("value"),
            totals: Object.fromEntries(totals),
            rows: all("#terms tr:not(.total)").map(row =>
                [...row.cells].map(cell => cell.textContent))};
})()"""
SCORES = """[...document.querySelectorAll("#scores tr")].map(row =>
    [...row.cells].map(cell => cell.textContent))"""
FOCUS = "(it => it.id || it.name || it.tagName)(document.activeElement)"
SILENT = """[...document.querySelectorAll("canvas")].filter(it =>
    !it.ariaLabel && !it.ariaHidden).map(it => it.id)"""


def number(text):
    """(the number that is shown, half a unit of its last digit)."""
    head, _, power = text.replace("−", "-").partition("·10")
    scale = 10.0 ** int(power.translate(RAISED) or 0)
    decimals = (len(head.partition(".")[2]) if "." in head
                else 0 if power or head not in ("0", "1", "-1") else 12)
    return float(head) * scale, 0.5000001 * scale * 10.0 ** -decimals


def assert_shows(text, true, slack=0.0):
    shown, half = number(text)
    assert abs(shown - true) <= half + slack + 1e-9 * abs(true), (text, true)


class Library:
    """Values and derivatives of every layer at an image (the first test digit), by nn, in float64.

    The units of a layer stand in one row.
    """

    def __init__(self, image=None):
        self.network = LeNet.pretrained()
        self.image = load_mnist("test")[0][:1].astype(np.float64) if image is None else image
        self.layers = {"x": (np.array([1, 28, 28]), self.image.ravel(), np.eye(784))}
        for name, value, jacobian in self.network.trace(self.image):
            self.layers[name] = (np.array(value.shape[1:]), value.ravel(),
                                 jacobian.dense(1).reshape(value.size, 784))

    def unit(self, label):
        """"conv2[7, 3, 4]", "fc1[12]" or "x(3, 4)" as (layer, number of the unit)."""
        name, *place = re.findall(r"\w+", label)
        shape = self.layers[name][0]
        shape = shape[-len(place):] if len(place) > 1 else shape[:1]
        return name, int(np.ravel_multi_index([*map(int, place)], shape))

    def weights(self, name, unit):
        """W_p of Eq. 5: the weights of all units of the layer before in this one, and f'."""
        layer = self.network.layers[name]
        before = LAYERS[LAYERS.index(name) - 1] if name != "conv1" else "x"
        shape, value, _ = self.layers[before]
        saved = layer.forward(np.moveaxis(value.reshape(1, *shape), 1, -1))[1]
        chosen = np.zeros(self.layers[name][1].size)
        chosen[unit] = 1
        back = layer.backward(np.moveaxis(chosen.reshape(1, *self.layers[name][0]), 1, -1), saved)
        back = np.moveaxis(back, -1, 1).ravel()
        slope = 1 - self.layers[name][1][unit] ** 2 if name.startswith("tanh") else 1
        return before, back / slope, slope


@pytest.fixture(scope="module")
def library():
    return Library()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    chromium()
    folder = tmp_path_factory.mktemp("explain")
    assert main(["explain", "--target", str(TARGET), "--out", str(folder / "lenet.html")]) == 0
    assert main(["explain", "--and", "--out", str(folder / "and.html")]) == 0
    return folder


@pytest.fixture(scope="module")
def browser():
    with Browser() as started:
        yield started


@pytest.fixture(params=[400, pytest.param(1400, marks=pytest.mark.slow)])
def page(request, browser, files):
    browser.open(files / "lenet.html", request.param, mobile=request.param < 600)
    settled(browser)
    return browser


def assert_quiet(page):
    assert page.console == [] and page.requests == []
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner


def assert_entry_is_right(page, library, layer):
    """The entry that the page spells out now, its terms, window and value against the library."""
    shown = page.evaluate(ENTRY)
    (name, unit), (_, pixel) = map(library.unit, shown["entry"].replace("∂", "").split(" / "))
    assert name == layer
    before, weights, slope = library.weights(name, unit)
    derivative, result = library.layers[before][2][:, pixel], library.layers[name][2][unit, pixel]
    for label, weight, inner, product in shown["rows"]:
        source, q = library.unit(re.match(r"\w+[\[(][\d, ]+[\])]", label)[0])
        assert source == before
        for text, true in ((weight, weights[q]), (inner, derivative[q]),
                           (product, weights[q] * derivative[q])):
            assert_shows(text, true, 1e-15)
    totals, terms = shown["totals"], weights * derivative
    assert_shows(totals["result"], result, 1e-15)
    count = {"pool1": 4, "pool2": 4, "conv1": 25, "conv2": 500, "fc1": 800, "fc2": 500,
             "softmax": 10}.get(name, 1)
    assert shown["count"].startswith(f"{count} terms" if count > 1 else "One term")
    if count > 1:
        assert f" {np.count_nonzero(terms)} of them" in shown["count"]
        assert_shows(totals["sum"], terms.sum(), 1e-15)
    if name.startswith("tanh"):
        assert_shows(totals["slope"], slope)
    if "rest" in totals:
        products = [number(row[3])[0] for row in shown["rows"]]
        largest = np.sort(np.abs(terms))[::-1]
        np.testing.assert_allclose(np.abs(products), largest[:len(products)], rtol=1e-4)
        assert_shows(totals["rest"], terms.sum() - sum(products), 1e-4 * np.abs(products).sum())
    assert_shows(re.search(r"= (\S+)$", shown["value"])[1], library.layers[name][1][unit])
    assert_shows(shown["seen"].rpartition("derivative: ")[2][:-1],
                 np.abs(library.layers[name][2][unit]).max())
    size = WINDOW.get(name)
    assert (f" {size} × {size} pixels" if size else "the whole image") in shown["seen"]
    return shown["entry"]


def test_one_unit_is_spelled_out_right(browser, files, library):
    browser.open(files / "lenet.html", 400, mobile=True)
    settled(browser)
    browser.click("#layer-conv2")
    browser.click("#maps")
    assert_entry_is_right(browser, library, "conv2")
    assert_quiet(browser)


@pytest.mark.slow
def test_every_layer_by_mouse_and_keys(page, library):
    for name in LAYERS:
        page.click(f"#layer-{name}")
        entries = [assert_entry_is_right(page, library, name)]
        page.click("#maps")
        entries.append(assert_entry_is_right(page, library, name))
        for key in ("ArrowRight", "ArrowUp"):
            page.key(key)
        entries.append(assert_entry_is_right(page, library, name))
        assert len({entry.split(" /")[0] for entry in entries}) > 1
        page.click("#derivative")
        entry = assert_entry_is_right(page, library, name)
        row, column = divmod(library.unit(entry.split("∂")[-1])[1], 28)
        for key in ("ArrowLeft", "ArrowDown"):
            page.key(key)
        entry = assert_entry_is_right(page, library, name)
        assert entry.endswith(f" / ∂x({row + 1}, {column - 1})")
        assert {row, column} <= {13, 14}
        if name in WINDOW and name != "flatten":
            page.click("#map")
            assert_entry_is_right(page, library, name)
    assert_quiet(page)


@pytest.mark.slow
def test_the_numbers_can_be_typed_and_the_names_go_back(page, library):
    page.click("#layer-conv2")
    for field, value in (("channel", 49), ("row", 7), ("column", 99), ("pixel-row", 20),
                         ("pixel-column", 21)):
        page.evaluate(f"document.getElementById('{field}').value = {value}")
        page.evaluate(f"document.getElementById('{field}').dispatchEvent(new Event('change'))")
    assert assert_entry_is_right(page, library, "conv2") == "∂conv2[49, 7, 7] / ∂x(20, 21)"
    page.click("#layer-softmax")
    for name in LAYERS[-2::-1]:
        page.click("#terms button")
        assert_entry_is_right(page, library, name)
    assert "x(20, 21)" in page.evaluate(ENTRY)["entry"]


@pytest.mark.slow
def test_the_start_is_a_way_from_the_first_pixel_to_the_target(page, library):
    page.click("#layer-softmax")
    for name in LAYERS[-2::-1]:
        followed = page.evaluate("document.querySelector('#terms button').textContent")
        page.click(f"#layer-{name}")
        if not name.startswith("conv"):  # the first button of a pool need not be the winner's
            assert page.evaluate(ENTRY)["entry"].startswith(f"∂{followed} ")
        assert_entry_is_right(page, library, name)


def told(page, selector):
    """The text of an element."""
    return page.evaluate(f"document.querySelector({selector!r}).textContent")


def choose(page, selector, value):
    """Set a field as a person does who leaves it."""
    page.evaluate(f"""(it => {{ it.value = {value!r}; it.dispatchEvent(new Event("change"));
        it.dispatchEvent(new Event("input")); }})(document.querySelector({selector!r}))""")


def wait(page, condition):
    """Until an expression of the page is true; AssertionError after ten seconds."""
    assert page.evaluate(f"""new Promise(done => {{
        const end = Date.now() + 10000;
        const look = () => {condition} ? done(true) : Date.now() > end ? done(false) :
            setTimeout(look, 20);
        look();
    }})"""), condition


def settled(page):
    """Until the attack has ended and what was asked for is drawn."""
    wait(page, "ended() !== null")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def drag(page, points):
    """Draw on the pad with the mouse, from point to point of its 28×28 pixels."""
    page.evaluate("document.querySelector('#pad').scrollIntoView({block: 'center'})")
    box = page.evaluate("(({x, y, width}) => [x, y, width])"
                        "(document.querySelector('#pad').getBoundingClientRect())")
    for n, (column, row) in enumerate(points):
        at = {"x": box[0] + (column + 0.5) * box[2] / 28, "y": box[1] + (row + 0.5) * box[2] / 28}
        kind = "mousePressed" if n == 0 else "mouseMoved"
        page._ask("Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1,
                  **at)
    page._ask("Input.dispatchMouseEvent", type="mouseReleased", button="left", clickCount=1, **at)


def image_of(page):
    """(28, 28), where the attack starts."""
    return np.array(page.evaluate("Array.from(page.image)")).reshape(28, 28)


SEVEN = [(6, 5), (20, 5), (12, 24)]


def assert_reading_is_right(page, network, image):
    wait(page, "document.querySelector('#reading tr')")
    logits = network.logits(image[None])[0]
    wait(page, f"document.querySelector('#read').textContent.includes({str(logits.argmax())!r})")
    rows = page.evaluate(SCORES.replace("#scores", "#reading"))
    for row, logit, share in zip(rows, logits, network.probabilities(image[None])[0]):
        assert_shows(row[2], logit, 1e-9)
        if share > 0.001:
            assert row[3] == f"{100 * share:.1f} %"


def test_what_is_drawn_is_centred_and_read(page, library):
    """By mouse: a large 7 in a corner; centred it is one of MNIST's size."""
    before = image_of(page)
    drag(page, SEVEN)
    image = image_of(page)
    assert (image != before).any() and image.max() > 0.9
    rows, columns = np.nonzero(image > 0.1)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20, 21)
    middle = [float((image.sum(axis=1 - k) @ np.arange(28)) / image.sum()) for k in (0, 1)]
    np.testing.assert_allclose(middle, 14, atol=0.35)  # as MNIST's own digits, to a third
    assert_reading_is_right(page, library.network, image)
    page.click("#centre")
    raw = image_of(page)
    assert abs(raw - np.array(page.evaluate("Array.from(pad.ink)")).reshape(28, 28)).max() < 0.003
    assert_reading_is_right(page, library.network, raw)
    page.click("[value=eraser]")
    drag(page, SEVEN)
    assert image_of(page).sum() < 0.3 * raw.sum()
    page.click("#clear")
    assert not image_of(page).any()
    assert_quiet(page)


def test_the_keyboard_draws_too(browser, files, library):
    browser.open(files / "lenet.html", 400, mobile=True)
    browser.click("#clear")
    browser.evaluate("document.querySelector('#pad').focus()")
    for key in [" "] + ["ArrowDown", " "] * 6:
        browser.key(key)
    ink = np.array(browser.evaluate("Array.from(pad.ink)")).reshape(28, 28)
    assert set(np.nonzero(ink.sum(axis=1) > 0.5)[0]) >= set(range(14, 21))
    assert np.nonzero(ink.sum(axis=0))[0].tolist() == [13, 14, 15]
    assert_reading_is_right(browser, library.network, image_of(browser))
    assert_quiet(browser)


def test_an_attack_by_clicks_is_that_of_craft(page, library):
    """Another digit, target and θ; slider, step and back; scores, α, β and why it ended."""
    page.click("#digits button:nth-of-type(4)")
    choose(page, "#target", "5")
    choose(page, "#theta", "0.7")
    settled(page)
    image = image_of(page)
    crafted = craft(library.network, image[None], 5, theta=0.7, trace=True)
    steps = [*crafted.trace[0], None]
    assert page.evaluate("page.states.length") == len(steps) > 3
    for n in (0, 1, 2, len(steps) - 1):
        choose(page, "#slider", str(n))
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        assert_step_is_right(page, library, crafted, steps[n], n, len(steps) - 1)
    page.click("#back")
    page.click("#back")
    page.click("#next")
    wait(page, f"page.at === {len(steps) - 2}")
    changed = page.evaluate("page.states.at(-1).changed")
    assert changed == np.flatnonzero(crafted.adversarial[0] != image).tolist()
    assert f"{len(changed)} pixels changed" in told(page, "#hook")
    assert_quiet(page)


def assert_step_is_right(page, library, crafted, step, n, last):
    text = told(page, "#step")
    assert text.startswith(f"{n} iteration{'' if n == 1 else 's'} done")
    assert told(page, "#count-of") == f"{n} of {last}"
    assert page.evaluate("document.querySelector('#why').checkVisibility()") == (step is None)
    scores = page.evaluate(SCORES)
    logits = step.logits if step else library.network.logits(crafted.adversarial)[0]
    for row, logit in zip(scores, logits):
        assert_shows(row[2], logit, 1e-9)
    assert "(largest)" in scores[logits.argmax()][0] and scores[5][0].startswith("5 target")
    if step is None:
        assert "target" in told(page, "#why")
        return
    chosen = list(step.pair)
    assert " and ".join(str(divmod(i, 28)) for i in chosen) in text
    assert_shows(re.search(r"α = (\S+),", text)[1], step.alpha[chosen].sum(), 1e-9)
    assert_shows(re.search(r"β = (\S+),", text)[1], step.beta[chosen].sum(), 1e-9)
    assert_shows(re.search(r"−α·β = (\S+);", text)[1], step.score, 1e-9)
    assert f"{step.domain.sum()} pixels are in Γ" in told(page, "#plane-said")


@pytest.mark.slow
def test_run_plays_and_stops_at_the_end(page):
    settled(page)
    page.click("#run")
    wait(page, "page.at > 1")
    assert told(page, "#run") == "Stop"
    wait(page, "page.at === page.states.length - 1 && !running")
    assert "the target" in told(page, "#why") and page.evaluate("$('#run').disabled")


@pytest.mark.slow
def test_probabilities_are_said_to_lie_on_the_diagonal(page, library):
    choose(page, "#of", "probabilities")
    settled(page)
    crafted = craft(library.network, library.image, TARGET, of="probabilities")
    assert page.evaluate("page.states.map(state => state.pair).filter(pair => pair)") == \
        crafted.pairs[0, :crafted.iterations[0]].tolist()
    alpha, beta = (np.array(page.evaluate(f"Array.from(shown().{name})"))
                   for name in ("alpha", "beta"))
    assert np.abs(alpha + beta).max() <= 1e-9 * np.abs(alpha).max()
    assert "on the diagonal" in told(page, "#plane-said")


def test_entries_are_right_at_a_later_iteration_too(browser, files):
    browser.open(files / "lenet.html", 1400)
    settled(browser)
    choose(browser, "#slider", "5")
    wait(browser, "page.at === 5")
    browser.evaluate("document.querySelector('#grow').scrollIntoView()")
    wait(browser, "pictured === shown()")
    later = Library(np.array(browser.evaluate("Array.from(shown().image)")).reshape(1, 28, 28))
    for name in ("fc2", "conv2", "tanh1"):
        browser.click(f"#layer-{name}")
        assert_entry_is_right(browser, later, name)


def test_a_pixel_outside_the_window_cannot_be_seen(browser, files):
    browser.open(files / "lenet.html", 400, mobile=True)
    settled(browser)
    browser.click("#layer-conv1")
    for field, value in (("channel", 0), ("row", 0), ("column", 0), ("pixel-row", 20)):
        choose(browser, f"#{field}", str(value))
    assert told(browser, "#blind").startswith("conv1[0, 0, 0] cannot see pixel (20, ")
    assert not browser.evaluate("document.querySelector('#spelled').checkVisibility()")


@pytest.mark.slow
def test_play_walks_the_strongest_path(page):
    page.evaluate("document.querySelector('#grow').scrollIntoView()")
    page.click("#play")
    seen = set()
    for _ in range(200):
        seen.add(re.sub(r":.*", "", told(page, "#play-said")))
        if told(page, "#play") != "Stop":
            break
        page.evaluate("new Promise(done => setTimeout(done, 150))")
    assert seen >= set(LAYERS)
    assert "28 × 28" in told(page, "#play-said")


def test_what_if_holds_the_forecast_against_the_network(browser, files, library):
    browser.open(files / "lenet.html", 400, mobile=True)
    settled(browser)
    for field, place in (("pixel-row", 18), ("pixel-column", 12)):
        choose(browser, f"#{field}", str(place))
    for value in (0, 64, 255):
        choose(browser, "#what-value", str(value))
        change = value / 255 - library.image[0, 18, 12]
        other = library.image.copy()
        other[0, 18, 12] = value / 255
        foretold = change * library.network.forward_derivative(library.image)[0, :, 18 * 28 + 12]
        real = (library.network.logits(other) - library.network.logits(library.image))[0]
        rows = browser.evaluate(SCORES.replace("#scores", "#what-rows"))
        for row, one, two in zip(rows, foretold, real, strict=True):
            for text, true in zip(row[1:], (one, two, two - one)):
                assert_shows(text, true, 1e-9)
        drawn, chosen, labels = browser.evaluate("""[
            $("#what-curve").ariaLabel, $("#what-class").value,
            [...document.querySelectorAll("#what-rows td")].map(
                cell => getComputedStyle(cell, "::before").content)]""")
        assert drawn.startswith(f"Logit {chosen} ")
        assert set(labels) == {"none"}  # on a narrow screen too these columns are no W · ∂H/∂x
        said = told(browser, "#what-said")
        assert ("Nothing is changed" in said) == (change == 0)
        off = np.abs(real - foretold).max() / max(np.abs(foretold).max(), 1e-300)
        assert change == 0 or ("within a tenth" in said) == (off < 0.1)


def test_the_address_brings_the_state_back(browser, files, tmp_path):
    """A drawing, target, settings and iteration, in a page that is loaded anew."""
    browser.open(files / "lenet.html", 400, mobile=True)
    drag(browser, SEVEN)
    choose(browser, "#target", "3")
    choose(browser, "#direction", "-1")
    choose(browser, "#upsilon", "3")
    settled(browser)
    choose(browser, "#slider", "2")
    wait(browser, "location.hash.includes('k=2')")
    state = "[page.target, page.theta, page.upsilon, page.of, page.at, Array.from(page.image)]"
    before, address = browser.evaluate(state), browser.evaluate("location.href")
    browser._ask("Page.navigate", url="about:blank")
    browser._ask("Page.navigate", url=address)
    wait(browser, "typeof ended === 'function'")
    wait(browser, "page.at === 2")
    assert browser.evaluate(state) == before
    for wrong in ("#t=11&o=1", "#t=3&o=x", "#i=zzz", "#t=2&o=1&i=%%%&u=-5&k=-1"):
        browser.evaluate(f"(() => {{ location.hash = {wrong!r}; }})()")
    settled(browser)
    assert_quiet(browser)


def test_the_picture_is_saved(browser, files):
    from matplotlib.image import imread

    browser.open(files / "lenet.html", 400, mobile=True)
    settled(browser)
    choose(browser, "#slider", "3")
    browser.click("#save")
    picture = imread(browser.download("digit.png"))[5::10, 5::10, :3]
    coloured = np.abs(picture - picture.mean(axis=2, keepdims=True)).max(axis=2) > 0.02
    assert np.flatnonzero(coloured).tolist() == browser.evaluate("page.states[3].changed")
    grey = picture.mean(axis=2)[~coloured]
    np.testing.assert_allclose(grey, 1 - image_of(browser)[~coloured], atol=0.003)


def test_a_picture_of_ones_own_is_turned_scaled_and_read(browser, files, library, tmp_path):
    """A dark 7 on light paper, 60×90 pixels."""
    from matplotlib.image import imsave

    picture = np.full((90, 60), 0.95)
    picture[10:16, 10:50] = 0.1
    for row in range(16, 80):
        column = 46 - (row - 16) // 3
        picture[row, column - 4:column + 3] = 0.1
    imsave(tmp_path / "seven.png", picture, cmap="gray", vmin=0, vmax=1)
    browser.open(files / "lenet.html", 400, mobile=True)
    field = browser._ask("Runtime.evaluate", expression="document.querySelector('#file')")
    browser._ask("DOM.setFileInputFiles", files=[str(tmp_path / "seven.png")],
                 objectId=field["result"]["objectId"])
    wait(browser, "document.querySelector('#pad-said').textContent.includes('turned')")
    assert "60 × 90 pixels" in told(browser, "#pad-said")
    image = image_of(browser)
    assert image.max() > 0.7 and image[0].max() < 0.1
    assert_reading_is_right(browser, library.network, image)
    assert library.network.predict(image[None])[0] == 7
    assert_quiet(browser)


def test_the_lesson_can_be_walked_and_left(page):
    page._ask("Emulation.setEmulatedMedia",  # nothing glides away from under a click
              features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    page.click("#lesson-open")
    titles = []
    settings = "[page.of, page.theta]"
    own = page.evaluate(settings)
    for n in range(8):
        if n == 5:
            assert page.evaluate(settings) == ["probabilities", 1]
            page.click("#lesson-before")
            assert page.evaluate(settings) == own
            page.click("#lesson-next")
        if n == 6:
            assert page.evaluate(settings) == ["logits", 0.3]
            page.click("#lesson-close")  # what a step has set does not stay
            assert page.evaluate(settings) == own
            settled(page)
            page.click("#lesson-open")
        titles.append(told(page, "#lesson-title"))
        assert page.evaluate("$('#lesson-next').disabled") and told(page, "#lesson-answer") == ""
        right = page.evaluate(f"LESSON[{n}].right")
        page.click(f"#lesson-choices label:nth-of-type({right + 1}) input")
        assert told(page, "#lesson-answer").startswith("Yes.")
        if n == 2:
            page.click("#lesson-before")
            assert told(page, "#lesson-answer").startswith("Yes.")  # answered stays answered
            page.click("#lesson-next")
        page.click("#lesson-next")
    assert len(set(titles)) == 8
    assert not page.evaluate("$('#lesson').checkVisibility()")
    settled(page)  # the last step's settings have gone, so the attack begins anew
    page.click("#lesson-open")
    page.key("Tab")
    page.click("#lesson-close")
    assert not page.evaluate("$('#lesson').checkVisibility()")
    assert page.evaluate("document.activeElement.id") == "lesson-open"
    settled(page)
    page._ask("Emulation.setEmulatedMedia", features=[])
    assert_quiet(page)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 400, 800, 1400, 1600])
def test_it_fits_every_width_and_is_quiet(browser, files, width, scheme):
    browser._ask("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(files / "lenet.html", width, mobile=width < 600)
    settled(browser)
    for part in ("#grow", "#what-if", "#share"):
        browser.evaluate(f"document.querySelector({part!r}).scrollIntoView()")
        browser.evaluate("new Promise(done => setTimeout(done, 100))")
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert browser.evaluate(SILENT) == []
    assert_quiet(browser)
    browser._ask("Emulation.setEmulatedMedia", features=[])


@pytest.mark.slow
def test_the_tab_key_goes_through_the_page_in_its_order(page):
    settled(page)
    order = []
    for _ in range(70):
        page.key("Tab")
        order.append(page.evaluate(FOCUS))
    wanted = ["lesson-open", "pad", "tool", "clear", "another", "file", "centre", "target",
              "direction", "theta", "upsilon", "of", "next", "run", "slider", "curve", "play",
              "layer", "maps", "channel", "row", "column", "map", "derivative", "pixel-row",
              "pixel-column", "what-image", "what-value", "what-class", "link", "save"]
    assert [name for name in dict.fromkeys(order) if name in wanted] == wanted


@pytest.mark.slow
def test_pictures_are_redrawn_for_a_new_width(page):
    page.evaluate("document.querySelector('#grow').scrollIntoView()")
    settled(page)
    page.evaluate(
        "new Promise(done => { document.body.style.maxWidth = '330px'; setTimeout(done, 300); })")
    size = """(it => [it.width, it.height, it.clientWidth, it.clientHeight])(
        document.querySelector('#derivative'))"""
    assert len(set(page.evaluate(size))) == 1 and page.evaluate(size)[0] < 330
    assert_quiet(page)


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1400])
def test_the_and_page_is_right_wherever_the_point_is(browser, files, width):
    network = AndNetwork.pretrained()
    browser.open(files / "and.html", width, mobile=width < 600)
    browser.click("#surface")
    x = np.array([browser.evaluate("[+x1.value, +x2.value]")])
    assert np.abs(x - 0.5).max() < 0.1
    for key, step in ((None, (0, 0)), ("ArrowRight", (0.01, 0)), ("ArrowDown", (0, -0.01)),
                      ("ArrowUp", (0, 0.01)), ("ArrowLeft", (-0.01, 0))):
        if key:
            browser.key(key)
        x = x + step
        shown = browser.evaluate(
            "['F', 'd1', 'd2'].map(id => document.getElementById(id).textContent)")
        assert browser.evaluate("[+x1.value, +x2.value]") == pytest.approx(x[0].tolist())
        gradient = network.forward_derivative(x, of="probabilities")[0, 0]
        for text, true in zip(shown, [network.probabilities(x)[0, 0], *gradient]):
            assert_shows(text, true, 1e-15)
    browser.click("#high")
    assert browser.evaluate("[x1.value, x2.value]") == ["1", "0.43"]
    assert "∇F" in browser.evaluate("document.querySelector('#said').textContent")
    assert_quiet(browser)
