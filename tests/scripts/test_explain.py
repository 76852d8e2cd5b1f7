"""`jsma explain`: the page holds the network, digits and what it opens with, and it needs no other
file; every mistake gets one line.
"""
import base64
import configparser
import json
import re
import webbrowser
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imsave

from data import load_mnist
from nn import AndNetwork, LeNet, save_weights
from scripts.__main__ import main
from scripts.pages.explain_page import FILES

ROOT = Path(__file__).parent.parent.parent


def values(page):
    """The JSON that a page holds."""
    return json.loads(re.search(r"<script type='application/json' id='data'>(.*)</script>",
                                page.read_text("utf-8"))[1])


def numbers(text, dtype="<f4"):
    return np.frombuffer(base64.b64decode(text), dtype)


@pytest.fixture(scope="module")
def digits():
    return load_mnist("test")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("explain") / "page.html"
    assert main(["explain", "--out", str(path)]) == 0
    return path


def test_the_page_is_one_small_file_that_needs_no_other(page):
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 3e6 and text.count("<script") == 2
    assert not re.search(r"https?:|src=|url\(|@import|@[A-Z]+@|\bimport\(", text)
    assert re.findall(r"<link[^>]*>", text) == ["<link rel='icon' href='data:,'>"]
    for name in FILES:
        if not name.endswith(".html"):
            assert (ROOT / "scripts" / "pages" / name).read_text(encoding="utf-8") in text


def test_the_page_holds_the_network(page):
    data, network = values(page), LeNet.pretrained()
    assert [(layer["name"], layer["kind"], tuple(layer["shape"])) for layer in data["layers"]] == [
        (name, type(layer).__name__, network.shapes[name])
        for name, layer in network.layers.items()]
    assert set(data["weights"]) == set(network.parameters())
    for name, array in network.parameters().items():
        np.testing.assert_array_equal(numbers(data["weights"][name]), array.ravel())


def test_the_page_holds_ten_digits_of_each_class(page, digits):
    images, labels = digits
    shipped = values(page)["digits"]
    assert [one["label"] for one in shipped] == 10 * [*range(10)]
    assert len({one["number"] for one in shipped}) == 100
    for one in shipped:
        assert labels[one["number"]] == one["label"]
        pixels = numbers(one["image"], np.uint8).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(pixels, images[one["number"]].ravel())


def test_a_page_opens_with_a_seven_on_its_way_to_an_eight(page, digits):
    start = values(page)["start"]
    np.testing.assert_array_equal(numbers(start.pop("image")), digits[0][0].ravel())
    assert start == {"name": "test digit 0, a 7", "target": 8, "theta": 1.0, "upsilon": 14.5,
                     "of": "logits"}


@pytest.mark.parametrize(("words", "start"), [
    (["--digit", "61"], {"target": 3}),  # an 8
    (["--digit", "61", "--target", "8"], {"target": 8, "name": "test digit 61, an 8"}),
    (["--theta=-0.5", "--max-distortion", "none"], {"theta": -0.5, "upsilon": None}),
    (["--of", "probabilities", "--max-distortion", "3"], {"of": "probabilities", "upsilon": 3.0}),
])
def test_what_a_page_opens_with_can_be_chosen(words, start, tmp_path):
    assert main(["explain", *words, "--out", str(tmp_path / "p.html")]) == 0
    opened = values(tmp_path / "p.html")["start"]
    assert {name: opened[name] for name in start} == start


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_network_of_any_activation(activation, recorded, tmp_path):
    network = LeNet(seed=3, activation=activation)
    save_weights(tmp_path / "own.npz", network)
    words = [] if activation == "tanh" or recorded else ["--activation", activation]
    if recorded:  # as jsma train does
        (tmp_path / "own.json").write_text(json.dumps({"settings": {"activation": activation}}))
    assert main(["explain", "--weights", str(tmp_path / "own.npz"), *words, "--out",
                 str(tmp_path / "p.html")]) == 0
    data = values(tmp_path / "p.html")
    assert [layer["name"] for layer in data["layers"]] == list(network.layers)
    kind = {"tanh": "Tanh", "relu": "ReLU", "sigmoid": "Sigmoid"}[activation]
    assert [layer["kind"] for layer in data["layers"]].count(kind) == 3
    np.testing.assert_array_equal(numbers(data["weights"]["fc1.bias"]),
                                  network.parameters()["fc1.bias"].astype(np.float32))


@pytest.mark.parametrize("there_is_one", [True, False])
def test_open_asks_for_the_browser(there_is_one, tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or there_is_one)
    path = tmp_path / "a page.html"
    assert main(["explain", "--and", "--out", str(path)]) == 0 and opened == []
    assert "open it in a browser" in capsys.readouterr().out
    assert main(["explain", "--and", "--open", "--out", str(path)]) == 0
    assert opened == [path.as_uri()]
    assert ("no browser here" in capsys.readouterr().out) == (not there_is_one)


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
    (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF"), ["JPEG", "cut short"]),
    (lambda path: imsave(path, np.ones((30, 28)), format="png"), ["no ink"]),
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
    (["--target", "3"], "--out"),
    (["--out", "p.html", "--target", "10"], "0 to 9"),
    (["--out", "p.html", "--target", "3", "--digit", "10000"],
     "--digit must lie in 0..9999; got 10000"),
    (["--out", "p.html", "--theta", "0"], "theta"),
    (["--out", "p.html", "--theta", "0.01", "--max-distortion", "none"], "--theta of 0.1"),
    (["--out", "p.html", "--max-distortion=-1"], "max_distortion"),
    (["--out", "p.html", "--activation", "relu"], "--weights"),
    (["--out", "no/p.html", "--and"], "no/p.html"),
    (["--out", ".", "--and"], "--out"),
    (["--out", "p.html", "--and", "--digit", "1"], "not allowed"),
    (["--out", "p.html", "--and", "--target", "1"], "--target would be ignored with --and"),
    (["--out", "p.html", "--and", "--theta", "1", "--max-distortion", "none"],
     "--theta and --max-distortion would be ignored with --and"),
    (["--out", "p.html", "--and", "--of", "logits"], "--of would"),
    (["--out", "p.html", "--and", "--weights", "w.npz", "--activation", "relu", "--data", "d"],
     "--weights and --activation and --data"),
    (["--out", "p.html", "--and", "--no-invert"], "--no-invert would be ignored without --image"),
    (["--out", "p.html", "--digit", "1", "--invert"], "--invert would be ignored without --image"),
    (["--out", "p.html", "--target", "3", "--image", "none.png"], "none.png: No such file"),
])
def test_a_mistake_gets_one_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", *words]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and said in printed and not list(tmp_path.iterdir()), printed


def test_names_from_outside_are_no_html(tmp_path, digits):
    path = tmp_path / "<b>@WHY@&'\" \udcff.npy"
    np.save(path, digits[0][0])
    assert main(["explain", "--image", str(path), "--out", str(tmp_path / "p.html")]) == 0
    assert "<b>@WHY" not in (tmp_path / "p.html").read_text(encoding="utf-8")
    assert values(tmp_path / "p.html")["start"]["name"] == "<b>@WHY@&'\" \ufffd.npy"


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
