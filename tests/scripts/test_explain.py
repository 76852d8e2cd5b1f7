"""`jsma explain`: what the page holds is the trace, and it holds all it needs; every mistake gets
one line.
"""
import base64
import configparser
import json
import re
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imsave

from attack import best_pair, craft, replay
from data import load_mnist
from nn import AndNetwork, LeNet
from scripts.__main__ import main
from scripts.pages import explain_page
from scripts.pages.explain_page import Story, candidates, strongest_path
from scripts.pages.explain_page import page as page_of
from scripts.paper.figures import png, step_image, step_plane

ROOT = Path(__file__).parent.parent.parent


def values(page):
    """The JSON that a page holds."""
    return json.loads(re.search(r"<script type='application/json' id='data'>(.*)</script>",
                                page.read_text("utf-8"))[1])


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


@pytest.fixture(scope="module")
def digits():
    return load_mnist("test")


@pytest.fixture(scope="module")
def crafted(digits):
    """The first test digit, driven to class 2, in float64."""
    return craft(LeNet.pretrained(), digits[0][:1].astype(np.float64), 2, trace=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("explain") / "page.html"
    assert main(["explain", "--digit", "0", "--target", "2", "--out", str(path)]) == 0
    return path


def test_the_page_is_one_small_file_that_needs_no_other(page):
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 3e6 and text.count("<script") == 2
    assert not re.search(r"https?:|src=|url\(|@import|@[A-Z]+@|\bimport\(", text)
    assert re.findall(r"<link[^>]*>", text) == ["<link rel='icon' href='data:,'>"]


def test_the_page_holds_the_trace(page, digits, crafted):
    data, trace = values(page), crafted.trace[0]
    count = int(crafted.iterations[0])
    assert (data["source"], data["target"], data["theta"]) == (7, 2, 1)
    assert len(data["steps"]) == count + 1
    assert data["pairs"] == crafted.pairs[0, :count].tolist()
    np.testing.assert_array_equal(floats(data["image"]), digits[0][0].ravel())
    for name, array in LeNet.pretrained().parameters().items():
        np.testing.assert_array_equal(floats(data["weights"][name]), array.ravel())
    for number, (step, frame) in enumerate(zip(trace, data["steps"])):
        assert frame["iteration"] == number and frame["pair"] == list(step.pair)
        assert frame["score"] == step.score
        assert frame["logits"] == step.logits.tolist()
        assert (frame["survivors"], frame["front"]) == candidates(step)
        np.testing.assert_array_equal(floats(frame["alpha"]), step.alpha.astype(np.float32))
        np.testing.assert_array_equal(floats(frame["beta"]), step.beta.astype(np.float32))
    end, network = data["steps"][-1], LeNet.pretrained()
    jacobian = network.forward_derivative(crafted.adversarial)[0]
    assert end["pair"] is None and end["iteration"] == count and np.argmax(end["logits"]) == 2
    np.testing.assert_allclose(floats(end["alpha"]), jacobian[2], rtol=1e-6)
    np.testing.assert_allclose(floats(end["beta"]), jacobian.sum(axis=0) - jacobian[2], rtol=1e-6,
                               atol=1e-7)
    changed = replay(digits[0][:1].astype(np.float64), np.array(data["pairs"])[None])
    np.testing.assert_array_equal(changed, crafted.adversarial)


def test_a_long_trace_is_thinned_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(explain_page, "LIMIT", 2_420_000)
    assert main(["explain", "--digit", "18", "--target", "2", "--out",
                 str(tmp_path / "p.html")]) == 0
    text, data = (tmp_path / "p.html").read_text(encoding="utf-8"), values(tmp_path / "p.html")
    every = int(re.search(r"only one iteration in (\d+)", text)[1])
    iterations = [step["iteration"] for step in data["steps"]]
    assert len(text.encode()) <= 2_420_000 and every > 1
    assert iterations == [*range(0, len(data["pairs"]), every), len(data["pairs"])]


@pytest.mark.parametrize(("words", "said"), [
    (["--target", "7"], "read the image as 7, the target, from the start"),
    (["--target", "1", "--max-distortion", "1"],
     "Υ = 1 % of 784 pixels, two in each iteration, are 3 iterations"),
    (["--target", "2", "--theta=-1", "--max-distortion", "1"], "(Eq. 9)"),
    (["--target", "2"], "now reads the image as 2, the target"),
])
def test_the_page_says_why_it_stopped_and_which_equation(words, said, page, tmp_path):
    if words != ["--target", "2"]:  # of which there is a page
        page = tmp_path / "p.html"
        assert main(["explain", *words, "--out", str(page)]) == 0
    assert said in page.read_text(encoding="utf-8")


def test_where_no_pair_qualifies_the_last_step_is_the_end(digits, tmp_path):
    network, image = LeNet.pretrained(), digits[0][0].astype(np.float64)
    corners = np.isin(np.arange(784), [0, 27])  # seen by no unit that matters enough for both signs
    crafted = craft(network, image[None], 2, domain=corners, trace=True)
    assert crafted.reason[0] == "no_pair" and len(crafted.trace[0]) == 1
    (tmp_path / "p.html").write_text(page_of(Story("a 7", network, image, crafted, 2, 1.0, 14.5)),
                                     encoding="utf-8")
    assert [step["pair"] for step in values(tmp_path / "p.html")["steps"]] == [None]
    assert "no pair of Γ has both signs" in (tmp_path / "p.html").read_text(encoding="utf-8")


def save(path, array):
    with path.open("wb") as file:  # of any name
        np.save(file, array)


@pytest.mark.parametrize(("make", "said"), [
    (lambda path: save(path, np.zeros((27, 28))), ["28×28", "(27, 28)"]),
    (lambda path: save(path, np.zeros((0, 28, 28))), ["28×28", "(0, 28, 28)"]),
    (lambda path: save(path, np.full((28, 28), 1.5)), ["[0, 1]", "1.5"]),
    (lambda path: save(path, np.full((28, 28), np.nan)), ["[0, 1]", "nan"]),
    (lambda path: save(path, np.full((28, 28), "a")), ["numbers", "<U1"]),
    (lambda path: save(path, np.full((28, 28), None)), ["NumPy", "pickle"]),
    (lambda path: np.savez(path), ["NumPy", "no array"]),
    (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), ["NumPy"]),
    (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{"), ["NumPy"]),
    (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n and no more"), ["PNG"]),
    (lambda path: path.write_bytes(b"<html>"), ["expected the bytes 00 00", "HTML"]),
    (lambda path: path.write_bytes(b""), ["empty"]),
    (lambda path: imsave(path, np.zeros((30, 28)), format="png"), ["28×28", "(30, 28)"]),
    (lambda path: path.mkdir(), ["directory"]),
])
def test_a_wrong_image_gets_one_line(make, said, tmp_path, capsys):
    path = tmp_path / "wrong.npz"
    make(path)
    assert main(["explain", "--image", str(path), "--target", "3", "--out",
                 str(tmp_path / "p.html")]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("jsma: error: ") and printed.count("\n") == 1, printed
    assert "wrong.npz" in printed, printed
    assert all(word in printed for word in said) and not (tmp_path / "p.html").exists(), printed


@pytest.mark.parametrize(("words", "said"), [
    (["--target", "3"], "--out"), (["--out", "p.html"], "--target"),
    (["--out", "p.html", "--target", "10"], "0 to 9"),
    (["--out", "p.html", "--target", "3", "--digit", "10000"],
     "--digit must lie in 0..9999; got 10000"),
    (["--out", "p.html", "--target", "3", "--theta", "0"], "theta"),
    (["--out", "no/p.html", "--and"], "no/p.html"),
    (["--out", ".", "--and"], "--out"),
    (["--out", "p.html", "--and", "--digit", "1"], "not allowed"),
    (["--out", "p.html", "--target", "3", "--image", "none.png"], "none.png: No such file"),
])
def test_a_mistake_gets_one_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", *words]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and said in printed and not list(tmp_path.iterdir()), printed


def test_names_from_outside_are_escaped(tmp_path, digits):
    path = tmp_path / "<b>@WHY@&'\" \udcff.npy"
    np.save(path, digits[0][0])
    assert main(["explain", "--image", str(path), "--target", "7", "--out",
                 str(tmp_path / "p.html")]) == 0
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "<b>" not in text and text.count("&lt;b&gt;@WHY@&amp;&#x27;&quot; \ufffd.npy") == 2


def test_the_and_page_holds_the_shipped_weights(tmp_path):
    assert main(["explain", "--and", "--out", str(tmp_path / "and.html")]) == 0
    text = (tmp_path / "and.html").read_text(encoding="utf-8")
    assert len(text) < 50_000 and not re.search(r"https?:|src=|@[A-Z]+@", text)
    parameters = AndNetwork.pretrained().parameters()
    assert values(tmp_path / "and.html") == {name: array.tolist()
                                             for name, array in parameters.items()}


def test_what_a_page_is_made_of_is_installed_with_it():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    patterns = [part.strip() for part in config["options.package_data"]["scripts"].split(",")]
    folder = ROOT / "scripts" / "pages"
    parts = [f"pages/{path.name}" for path in folder.iterdir()
             if path.is_file() and path.suffix != ".py"]
    assert len(parts) >= 6
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in parts)


@pytest.mark.parametrize("theta", [1, -1])
def test_candidates_hold_the_chosen_pair(crafted, theta):
    rng = np.random.default_rng(3)
    step = crafted.trace[0][0]
    for levels in (2, 3, 1000):
        alpha, beta = rng.integers(-levels, levels + 1, (2, 60)) / levels
        domain = rng.random(60) < 0.8
        p, q, _ = (part[0] for part in best_pair(alpha[None], beta[None], domain[None], theta))
        survivors, front = candidates(step._replace(alpha=alpha, beta=beta, domain=domain), theta)
        assert {p, q} <= set(survivors) & set(front) and domain[survivors].all()
        assert domain[front].all()
        x, y = theta * alpha, -theta * beta
        for feature in np.flatnonzero(domain):
            above = [other for other in np.flatnonzero(domain)
                     if other != feature and x[other] >= x[feature] and y[other] >= y[feature]
                     and (x[other], y[other], -other) > (x[feature], y[feature], -feature)]
            assert (len(above) <= 1) == (feature in front)


def test_the_strongest_path_takes_the_largest_term(digits, crafted):
    network = LeNet.pretrained()
    image = digits[0][0].astype(np.float64)
    pixel = int(crafted.pairs[0, 0, 0])
    path = strongest_path(network, image, 2, pixel)
    layers = {name: (value[0].ravel(), jacobian.dense(1).reshape(value.size, -1)[:, pixel])
             for name, value, jacobian in network.trace(image[None]) if not name.startswith("conv")}
    weights = network.parameters()
    terms = weights["fc2.weight"][path["fc2"]] * layers["tanh3"][1]
    assert path["tanh3"] == path["fc1"] == np.abs(terms).argmax()
    terms = weights["fc1.weight"][path["fc1"]] * layers["flatten"][1]
    assert path["flatten"] == path["tanh2"] == np.abs(terms).argmax()
    channel, row, column = np.unravel_index(path["conv1"], (20, 24, 24))
    pooled = np.ravel_multi_index((channel, row // 2, column // 2), (20, 12, 12))
    assert pooled == path["pool1"] == path["tanh1"]
    assert path["softmax"] == 2 and list(path) == list(network.layers)[::-1]


def test_figures_of_one_step(crafted):
    step = crafted.trace[0][3]
    for figure in (step_image(step), step_plane(step), step_plane(step, theta=-1.0),
                   step_image(step._replace(pair=(5, -1))),
                   step_plane(step._replace(pair=(-1, -1)))):
        assert png(figure).startswith(b"\x89PNG")
    axis = step_plane(step).axes[0]
    curve = axis.lines[4].get_xydata()
    np.testing.assert_allclose(4 * curve.prod(axis=1), step.score)
    squares = step_image(step).axes[0].collections[0].get_offsets()
    assert sorted(28 * row + column for column, row in squares) == sorted(step.pair)
