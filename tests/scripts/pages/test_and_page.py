"""The page of the AND network in a real browser: its own pair, its axes, its drawn network and the
arrow of the attack are those of the library's network.
"""
import re

import numpy as np
import pytest
from browser import Browser

from nn import AndNetwork
from scripts.__main__ import main

RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
PLACE = """(id => {
    const {px, py} = places[id], box = document.getElementById(id).getBoundingClientRect();
    return [px(0), px(1), py(0), py(1), box.width, box.height, box.x, box.y];
})"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser() as started:
        started.path = tmp_path_factory.mktemp("and") / "and.html"
        assert main(["explain", "--and", "--out", str(started.path)]) == 0
        yield started


@pytest.fixture(params=[(400, "light"), (1400, "dark"), *(
    pytest.param(one, marks=pytest.mark.slow) for one in ((400, "dark"), (1400, "light")))])
def page(request, browser):
    width, scheme = request.param
    browser._ask("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(browser.path, width, mobile=width < 600)
    yield browser
    assert browser.console == [] and browser.requests == []
    wide, inner = browser.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner
    browser._ask("Emulation.setEmulatedMedia", features=[])


def told(page, selector):
    return page.evaluate(f"document.querySelector({selector!r}).textContent")


def value(text):
    """A number as the page shows it."""
    head, _, power = text.replace("−", "-").partition("·10")
    return float(head) * 10.0 ** int(power.translate(RAISED) or 0)


def point(page):
    return page.evaluate("[+x1.value, +x2.value]")


def output(*x):
    return AndNetwork.pretrained().probabilities(np.array([x], float))[0, 0]


def test_it_opens_with_a_pair_of_this_network(page):
    """One step of 0.06, as the paper's, takes F from well below ½ to well above."""
    low, high = ([float(part) for part in told(page, f"#own-{side}").strip("()").split(", ")]
                 for side in ("low", "high"))
    assert low[0] == high[0] == 1 and high[1] - low[1] == pytest.approx(0.06)
    assert output(*low) < 0.11 and output(*high) > 0.9
    assert point(page) == low
    for side, x in (("low", low), ("high", high)):
        page.click(f"#own-{side}")
        assert point(page) == x
        for shown in (told(page, f"#{side}-is"), told(page, "#F")):
            assert value(shown) == pytest.approx(output(*x), rel=0.05)
    text = told(page, "main")
    assert text.index("0.06") < text.index("The paper’s network gives 0.11")
    for side, x in (("low", (1, 0.37)), ("high", (1, 0.43))):
        assert told(page, f"#{side}") == f"({x[0]}, {x[1]})"
        page.click(f"#{side}")
        assert point(page) == list(x)
        assert value(told(page, f"#{side}-here")) == pytest.approx(output(*x), rel=0.05)


def test_three_pictures_of_one_size_with_room_for_the_marker(page):
    places = [page.evaluate(f"{PLACE}('{name}')") for name in ("surface", "slope1", "slope2")]
    for other in places[1:]:
        assert other[:6] == pytest.approx(places[0][:6], abs=0.5)
    left, right, bottom, top, width, height = places[0][:6]
    assert right - left == pytest.approx(bottom - top, abs=3) and right - left > 200
    assert min(left, width - right, height - bottom, top) >= 10  # the marker's radius is 9.5


def test_the_pointer_chooses_what_the_axes_say(page):
    for name, x in (("surface", (0.25, 0.75)), ("slope1", (1, 1)), ("slope2", (0, 0.4))):
        page.evaluate(f"document.getElementById('{name}').scrollIntoView({{block: 'center'}})")
        left, right, bottom, top, _, _, box_x, box_y = page.evaluate(f"{PLACE}('{name}')")
        at = {"x": box_x + left + x[0] * (right - left),
              "y": box_y + bottom + x[1] * (top - bottom)}
        for kind in ("mousePressed", "mouseReleased"):
            page._ask("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)
        assert point(page) == pytest.approx(x, abs=0.004)
        assert value(told(page, "#F")) == pytest.approx(output(*point(page)), rel=1e-4)


def test_the_network_is_drawn_with_its_numbers(page):
    numbers = {name: array.ravel() for name, array in AndNetwork.pretrained().parameters().items()}
    for kind, names in (("text.above, #network text.below", ("hidden.weight", "output.weight")),
                        ("text:not([class])", ("hidden.bias", "output.bias"))):
        shown = page.evaluate(f"""[...document.querySelectorAll("#network {kind}")].map(it =>
            it.textContent)""")
        shown = [value(text.removeprefix("b = ")) for text in shown if re.search(r"\d$", text)]
        wanted = np.concatenate([numbers[name] for name in names])
        assert sorted(shown) == pytest.approx(sorted(wanted), rel=0.005)
    lines = page.evaluate("""[...document.querySelectorAll("#network line")].map(it =>
        [+it.getAttribute("x1"), +it.getAttribute("y1"), +it.getAttribute("x2"),
         +it.getAttribute("y2"), it.getAttribute("class")])""")
    columns = sorted({line[0] for line in lines})
    rows = sorted({line[1] for line in lines})
    hidden = numbers["hidden.weight"].reshape(2, 2)
    for x1, y1, _, y2, kind in lines:
        source = rows.index(y1)
        weight = (hidden[rows.index(y2), source] if x1 == columns[0]
                  else numbers["output.weight"][source])
        assert kind == ("above" if weight > 0 else "below")
    assert len(lines) == 6
    page.evaluate("move([0.3, 0.9])")
    shown = page.evaluate("""[...document.querySelectorAll("#network .value")].map(it =>
        it.textContent)""")
    network = AndNetwork.pretrained()
    hidden = {name: out for name, out, _ in network.trace(np.array([[0.3, 0.9]]))}
    layers = [array.ravel() for array in hidden.values() if array.size == 2]
    for text, true in zip(shown, [0.3, 0.9, *layers[-1], output(0.3, 0.9)], strict=True):
        assert value(text) == pytest.approx(true, rel=0.25 if true < 0.001 else 0.005)


def test_no_number_of_the_drawing_lies_on_another(page):
    boxes = page.evaluate("""[...document.querySelectorAll("#network text")].map(it => {
        const {x, y, width, height} = it.getBBox();
        return [x, y, x + width, y + height];
    })""")
    wide, high = page.evaluate("(it => [it.width, it.height])($('#network').viewBox.baseVal)")
    for k, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and top >= 0 and right <= wide and bottom <= high
        for other in boxes[:k]:
            across = min(right, other[2]) - max(left, other[0])
            down = min(bottom, other[3]) - max(top, other[1])
            assert across <= 0 or down <= 4  # the lines' own spacing


def test_the_arrow_leads_across_the_edge_and_stays_in_the_square(browser):
    browser.open(browser.path, 1000)
    for x in ((1, 0.48), (1, 0.54), (0, 0), (0.3, 0.9), (1, 1), (0.5, 0.7)):
        browser.evaluate(f"move({list(x)})")
        way = np.array(browser.evaluate(f"direction(network({list(x)}))"))
        assert np.hypot(*way) == pytest.approx(1)
        gradient = AndNetwork.pretrained().forward_derivative(
            np.array([x], float), of="probabilities")[0, 0]
        sign = 1 if output(*x) < 0.5 else -1
        assert sign * way @ gradient > 0
        end = np.array(x) + browser.evaluate(f"room({way.tolist()})") * way
        assert ((0 <= end) & (end <= 1)).all() and sign * (output(*end) - output(*x)) > 0
        if after := re.search(r"there after ([\d.]+)\.", told(browser, "#said")):
            across = np.array(x) + (float(after[1]) + 0.002) * way
            assert (output(*across) > 0.5) == (sign > 0)
        else:
            assert "the square ends" in told(browser, "#said")
