"""`jsma textbook`: prints what the paper's formulas give, and notices other fast code."""
import re
from types import SimpleNamespace

import numpy as np
import pytest

import scripts.textbook
from attack import craft
from data import load_mnist
from nn import LeNet, textbook
from nn.verify.mistakes import MISTAKES
from scripts.__main__ import main


@pytest.fixture(scope="module")
def digit():
    """Test digit 4, a 4, which two pairs of pixels turn into a 9; in float64."""
    return load_mnist("test")[0][4].astype(np.float64)


@pytest.fixture(scope="module")
def traces():
    """{bytes of a sample: its trace}, for all tests: they ask for the same few."""
    return {}


@pytest.fixture(autouse=True)
def trace_once(traces, monkeypatch):
    """The textbook, asked once for each sample."""
    def trace(network, x):
        """`nn.textbook.trace`."""
        if x.tobytes() not in traces:
            traces[x.tobytes()] = textbook.trace(network, x)
        return traces[x.tobytes()]

    monkeypatch.setattr(scripts.textbook, "textbook", SimpleNamespace(trace=trace))


def pairs_printed(text):
    """[(p1, p2), …] as numbers of pixels, from the lines with rows and columns."""
    lines = re.findall(r"row +(\d+), column +(\d+) +and +row +(\d+), column +(\d+)", text)
    return [(28 * y1 + x1, 28 * y2 + x2) for y1, x1, y2, x2 in (map(int, line) for line in lines)]


def test_prints_every_layer_and_every_pair_and_agrees_with_the_fast_code(capsys, digit):
    assert main(["textbook", "--digit", "4", "--target", "9"]) == 0
    shown = capsys.readouterr().out
    assert all(shown.count(f"\n{layer} ") == 1 for layer in LeNet.pretrained().layers)
    assert "The fast code gives the same;" in shown
    assert "The fast code chose the same pairs." in shown
    crafted = craft(LeNet.pretrained(), digit[None], 9)
    assert pairs_printed(shown) == [tuple(pair) for pair in crafted.pairs[0, :2].tolist()]
    assert "read as 4 at first, as 9 after 2 iterations (0.51 % of the pixels)" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_unit_of_the_first_convolution_sees_25_pixels_and_one_of_the_second_196(capsys):
    """14 × 14 = 196: five units of pool1 in a row see 6 pixels each, two further on each."""
    assert main(["textbook", "--digit", "4", "--target", "4"]) == 0
    shown = capsys.readouterr().out
    pixels = {line.split()[0]: int(line.split()[4]) for line in shown.splitlines()
              if re.match(r"(conv|pool|fc)\d ", line)}
    assert pixels["conv1"] == 25 and pixels["pool1"] <= 36 and pixels["conv2"] <= 14 * 14
    assert pixels["pool2"] <= 16 * 16 and pixels["fc1"] <= 784
    assert not pairs_printed(shown) and "read as 4 at first, as 4 after 0 iterations" in shown


def test_a_wrong_fast_derivative_is_1(capsys, monkeypatch):
    wrong = MISTAKES["conv: kernel flipped"].make(LeNet.pretrained())
    monkeypatch.setattr(scripts.textbook, "load_network", lambda name, path: wrong)
    assert main(["textbook", "--digit", "4", "--target", "4"]) == 1
    assert "The fast code gives OTHER NUMBERS;" in capsys.readouterr().out


def test_other_pairs_of_the_fast_code_are_1(capsys, monkeypatch):
    monkeypatch.setattr(scripts.textbook, "craft", lambda *sample, **_: craft(
        *sample, theta=-1.0, max_distortion=1))  # three iterations
    assert main(["textbook", "--digit", "4", "--target", "9"]) == 1
    assert "The fast code chose OTHER PAIRS: [[" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "said"), [
    (["--digit", "10000"], "--digit must lie in 0..9999; got 10000"),
    (["--target", "10"], "argument --target: 10 is above 9"),
    (["--weights", "none.npz"], "none.npz")])
def test_what_cannot_be_done_is_one_line(words, said, capsys):
    assert main(["textbook", *words]) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1
