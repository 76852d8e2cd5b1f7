"""The pages of `jsma explain` in a real browser, by mouse and keys: what they show is what the
library computes.
"""
import re

import numpy as np
import pytest
from browser import Browser, chromium

from attack import best_pair, craft
from attack.model import output_weights
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
    return {entry: text("entry"), count: text("count"), seen: text("seen"), value: text("value"),
            totals: Object.fromEntries(totals),
            rows: all("#terms tr:not(.total)").map(row =>
                [...row.cells].map(cell => cell.textContent))};
})()"""
SCORES = """[...document.querySelectorAll("#scores tr")].map(row =>
    [...row.cells].map(cell => cell.textContent))"""
FOCUS = "(it => it.id || it.name || it.tagName)(document.activeElement)"
SILENT = """[...document.querySelectorAll("canvas")].filter(it =>
    !it.ariaLabel && !it.ariaHidden).map(it => it.id)"""
COMPUTED = """new Promise(done => {
    const look = () => {
        const text = document.querySelector("#identity").textContent;
        text.includes("single precision") ? done(text) : setTimeout(look, 50);
    };
    look();
})"""


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
    """Values and derivatives of every layer at the first test digit, by nn, in float64.

    The units of a layer stand in one row.
    """

    def __init__(self):
        self.network = LeNet.pretrained()
        self.image = load_mnist("test")[0][:1].astype(np.float64)
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


@pytest.fixture(params=[400, 1400])
def page(request, browser, files):
    browser.open(files / "lenet.html", request.param, mobile=request.param < 600)
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
    assert_shows(re.search(r"= (\S+);", shown["value"])[1], library.layers[name][1][unit])
    assert_shows(shown["seen"].rpartition("derivative: ")[2][:-1],
                 np.abs(library.layers[name][2][unit]).max())
    size = WINDOW.get(name)
    assert (f" {size} × {size} pixels" if size else "the whole image") in shown["seen"]
    return shown["entry"]


def test_one_unit_is_spelled_out_right(browser, files, library):
    browser.open(files / "lenet.html", 400, mobile=True)
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


@pytest.mark.slow
def test_the_slider_goes_through_the_trace(page, library):
    crafted = craft(library.network, library.image, TARGET, trace=True)
    page.evaluate("document.querySelector('#slider').focus()")
    steps = [*crafted.trace[0], None]
    for n, step in enumerate(steps):
        text = page.evaluate("document.querySelector('#step').textContent")
        assert text.startswith(f"{n} of {len(steps) - 1} iterations done")
        assert page.evaluate("document.querySelector('#why').checkVisibility()") == (step is None)
        scores = page.evaluate(SCORES)
        logits = step.logits if step else library.network.logits(crafted.adversarial)[0]
        for row, logit in zip(scores, logits):
            assert_shows(row[2], logit)
        assert scores[7][0].startswith("7\u00a0source")
        assert scores[TARGET][0].startswith(f"{TARGET}\u00a0target")
        assert "(largest)" in scores[logits.argmax()][0]
        if step:
            chosen = list(step.pair)
            assert " and ".join(str(divmod(i, 28)) for i in chosen) in text
            assert_shows(re.search(r"α = (\S+),", text)[1], step.alpha[chosen].sum(), 1e-6)
            assert_shows(re.search(r"β = (\S+),", text)[1], step.beta[chosen].sum(), 1e-6)
            assert_shows(re.search(r"−α·β = (\S+);", text)[1], step.score)
            said = page.evaluate("document.querySelector('#candidates').textContent")
            assert said.startswith(f"{step.domain.sum()} pixels are in Γ")
        page.key("ArrowRight")
    page.key("ArrowLeft")
    text = page.evaluate("document.querySelector('#step').textContent")
    assert text.startswith(f"{len(steps) - 2} of")
    assert_quiet(page)


@pytest.mark.slow
def test_probabilities_lie_on_the_diagonal(page, library):
    step = craft(library.network, library.image, TARGET, trace=True).trace[0][2]
    page.evaluate("document.querySelector('#slider').focus()")
    page.key("ArrowRight")
    page.key("ArrowRight")
    page.evaluate("document.querySelector('#outputs').scrollIntoView()")
    text = page.evaluate(COMPUTED)
    both, alone = ([number(part)[0] for part in re.findall(pattern, text)]
                   for pattern in (r"pixels is ([^,]+),", r"largest \|α\| is ([^;]+);"))
    image = step.image.reshape(1, 28, 28)
    for of, shown, most in (("logits", both[0], alone[0]), ("probabilities", both[1], alone[1])):
        jacobian = library.network.forward_derivative(image, of=of)[0]
        alpha, beta = jacobian[TARGET], np.delete(jacobian, TARGET, axis=0).sum(axis=0)
        assert most == pytest.approx(np.abs(alpha).max(), rel=0.01)
        if of == "logits":
            assert shown == pytest.approx(np.abs(alpha + beta).max(), rel=0.01)
            assert shown > 0.01 * most
        else:
            assert shown < 1e-15 < 1e-8 * most
            weights = output_weights(step.logits[None], TARGET, of)[0]
            alpha, beta = weights @ library.network.forward_derivative(image)[0]
        p, q, _ = (int(part[0]) for part in best_pair(alpha[None], beta[None], step.domain[None]))
        assert f"{divmod(p, 28)} and {divmod(q, 28)}" in text
    assert number(re.search(r"by (\S+) at most", text)[1])[0] < 1e-6
    assert_quiet(page)


@pytest.mark.slow
def test_the_tab_key_goes_through_the_page_in_its_order(page):
    order = []
    for _ in range(20):
        page.key("Tab")
        order.append(page.evaluate(FOCUS))
    wanted = ["layer", "maps", "channel", "row", "column", "map", "derivative", "pixel-row",
              "pixel-column", "slider"]
    assert [name for name in order if name in wanted][:len(wanted)] == wanted


@pytest.mark.slow
def test_pictures_are_described_and_redrawn_for_a_new_width(page, files):
    page.evaluate("document.querySelector('#outputs').scrollIntoView()")
    page.evaluate(COMPUTED)
    assert page.evaluate(SILENT) == []
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
    x = np.array([[0.5, 0.5]])
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
