"""What goes out: strict JSON of any results, pages on which no name from outside is more than text.

One hostile name for each page is in tests/scripts; here come all that a file may have, seen by an
HTML parser.
"""
import json
from collections import Counter
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pytest
from fuzz import NAMES, anything, judged, rounds, some

from data import load_mnist
from nn import LeNet
from scripts.pages.explain_page import Start, page
from scripts.paper.experiments import EXPERIMENTS
from scripts.paper.outcome import Claim, Outcome
from scripts.paper.report import page as report
from scripts.terminal.text import as_json, one_line, visible


def plain(value):
    """What JSON can say of `value`: None instead of NaN and infinities."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, dict):
        return {plain(key): plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list) else value


def strict(text):
    """JSON without the NaN and Infinity that Python adds to it."""
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")
    return json.loads(text, parse_constant=refuse)


@rounds("values written as JSON")
def test_results_are_strict_json(how_many):
    rng = np.random.default_rng(11)
    for _ in range(how_many):
        value = {"results": anything(rng)}
        text = judged("values written as JSON", partial(as_json, value), size=1000, refusals=())
        text.encode()  # can be written
        assert strict(text) == plain(value) and text.endswith("\n")


@pytest.mark.parametrize("name", NAMES)
def test_an_error_is_one_printable_line(name):
    for error in (ValueError(f"a\n{name}"), OSError(2, "No such file", f"{name}\n{name}"),
                  MemoryError(), TypeError(name), ValueError(name * 100_000)):
        line = one_line(error)
        assert line and line.isprintable() and len(line) <= 2010
    assert visible(name).isprintable() and (visible(name) == name or not name.isprintable())


class Shape(HTMLParser):
    """The tags of a page with the names of their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.values = [], [], Counter()
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        """Noted in order."""
        self.tags.append((tag, *(name for name, _ in attributes)))
        self.values.update(value for _, value in attributes)

    def handle_data(self, data):
        """All text, that of scripts too."""
        self.text.append(data)


def a_name(rng):
    parts = (*NAMES, "x", "'", '"', "<", "&lt;", "-->", "<!--", "\0")
    return "".join(some(rng, parts) for _ in range(int(rng.integers(1, 6))))


@rounds("names on the report")
def test_the_report_shows_names_as_text(how_many):
    rng = np.random.default_rng(12)
    outcome = Outcome({}, [Claim("claim", "1", "2", "agrees", "why")])

    def shaped(name):
        about = {"network": visible(name), "digits": visible(name), "size": "small"}
        rows = [row._replace(why=visible(name), claim=visible(name)) for row in outcome.rows]
        shown = Outcome({}, rows, table=(("name",), [(visible(name),)]))
        return Shape(report.page({"fig1": shown}, about, {}, EXPERIMENTS))

    harmless = shaped("harmless")
    for _ in range(how_many):
        name = a_name(rng)
        shape = judged("names on the report", partial(shaped, name), size=10_000, refusals=())
        assert shape.tags == harmless.tags and shape.values == harmless.values
        assert "".join(shape.text).count(visible(name)) >= 5


@rounds("names on the explain page")
def test_the_explain_page_shows_names_as_text(how_many):
    rng = np.random.default_rng(13)
    network, digits = LeNet.pretrained(), load_mnist("test")
    start = Start(digits[0][0], "harmless", 8, 1.0, 14.5, "logits")
    harmless = Shape(page(network, digits, start))
    assert "".join(harmless.text).count("harmless") == 1
    for _ in range(how_many):
        name = a_name(rng).encode("utf-8", "replace").decode()
        named = partial(page, network, digits, start._replace(name=name))
        html = judged("names on the explain page", named, size=1 << 26, refusals=())
        shape = Shape(html)
        assert shape.tags == harmless.tags and shape.values == harmless.values
        written = json.dumps(name)[1:-1].replace("<", "\\u003c")
        assert shape.text == [text.replace("harmless", written) for text in harmless.text]
