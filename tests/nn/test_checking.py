"""`check_network`: right code is right on real digits with all their ties, wrong code is wrong in the layer at fault."""
import json

import numpy as np
import pytest

from data import load_mnist
from nn import Conv2d, Flatten, LeNet, Linear, MaxPool2d, Network, ReLU, check_network
from scripts.mistakes import MISTAKES

CAUSES = {"conv: kernel flipped": "the kernel is flipped", "tanh: wrong sign": "the sign is wrong",
          "conv: kernel transposed": "the kernel is transposed (rows for columns)",
          "conv: window off by one": "shifted by a pixel (one column)", "tanh: f' missing": "f' is missing",
          "max pool: last of tied maxima wins": "at ties another unit wins than the first maximum",
          "max pool: divided by the area": "scaled by 0.25", "linear: weight transposed": "the weight is transposed",
          "conv, gradient: bias forgotten": "zero everywhere", "linear, gradient: bias times 2": "scaled by 2"}


@pytest.fixture(scope="module")
def digits():
    return load_mnist("test")[0][:3].astype(np.float64)


def test_the_shipped_network_is_right_to_rounding(digits):
    report = check_network(LeNet.pretrained(), digits)
    assert report.verdict == "right" and report.layer is None and report.finding is None
    assert [row.layer for row in report.rows] == list(LeNet.pretrained().layers)
    assert max(max(row.errors.values()) for row in report.rows) < 1e-12
    assert report.rows[1].ties > 1000  # the background of a digit


@pytest.mark.parametrize("name", MISTAKES)
def test_every_seeded_mistake_is_caught_and_named_on_a_real_digit(name, digits):
    mistake = MISTAKES[name]
    report = check_network(mistake.make(LeNet.pretrained()), digits, against=["complex step"])
    assert (report.verdict, report.layer, report.part) == ("wrong", mistake.layer, mistake.part)
    assert report.finding.claimed != report.finding.expected
    assert report.finding.cause == CAUSES.get(name, report.finding.cause)
    assert str(report).startswith(f"wrong: the {mistake.part} of layer {mistake.layer!r}")


def test_float32_is_checked_with_tolerances_that_fit_and_says_so(digits):
    report = check_network(LeNet.pretrained(), digits.astype(np.float32), against=["complex step"])
    errors = [row.errors["complex step"] for row in report.rows]
    assert report.verdict == "right" and "float32" in report.notes[0] and 1e-9 < max(errors) < 1e-5
    wrong = MISTAKES["conv: kernel flipped"].make(LeNet.pretrained())
    assert check_network(wrong, digits.astype(np.float32), against=["complex step"]).layer == "conv2"


def test_ties_are_counted_and_not_taken_for_mistakes():
    pytest.importorskip("autograd", reason="autograd (extra: referees) shares a tie's derivative among all maxima")
    rng = np.random.default_rng(0)
    network = Network([Conv2d(1, 2, 3, rng=rng), MaxPool2d(2), ReLU(), Flatten(), Linear(8, 3, rng=rng)], (6, 6))
    flat = np.zeros((1, 6, 6))
    flat[0, 4, 4] = 1
    report = check_network(network, flat, against=["complex step", "autograd"])
    assert report.verdict == "right" and report.rows[1].ties > 0
    moved = check_network(network, flat, against=["complex step", "autograd"], nudge=True)
    assert moved.verdict == "right" and moved.rows[1].ties == 0 and moved.rows[-1].errors["autograd"] < 1e-10


def test_central_differences_judge_what_hangs_on_no_tie(digits):
    report = check_network(LeNet.pretrained(), digits, against=["complex step", "differences"])
    assert report.verdict == "right" and report.rows[-2].errors["differences"] < 1e-6
    wrong = MISTAKES["conv: kernel flipped"].make(LeNet.pretrained())
    assert check_network(wrong, digits, against=["differences"]).verdict == "wrong"


@pytest.mark.parametrize("shade", [0.0, 1.0])
def test_an_even_image_is_no_mistake(shade):
    """All windows are tied; the dense referee rounds otherwise and sees other winners."""
    report = check_network(LeNet.pretrained(), np.full((1, 28, 28), shade), against=["complex step", "dense"])
    assert report.verdict == "right" and report.rows[4].ties > 700


def test_relu_at_zero_is_counted():
    network = Network([ReLU(), Linear(3, 2)], (3,))
    assert check_network(network, np.array([[0.0, 1.0, -1.0]])).rows[0].ties == 1


def test_a_missing_referee_is_listed_and_alone_leaves_it_unchecked(digits, monkeypatch):
    import nn.checking

    def absent(network, x):
        raise nn.checking.MissingReferee("jax is not installed")

    monkeypatch.setitem(nn.checking.FOREIGN, "jax jacfwd", absent)
    network = Network([Flatten(), Linear(784, 2)], (28, 28))
    both = check_network(network, digits, against=["jax jacfwd", "dense"])
    assert both.verdict == "right" and "jax jacfwd" in both.missing and "missing: jax jacfwd" in str(both)
    alone = check_network(network, digits, against=["jax jacfwd"])
    assert alone.verdict == "unchecked" and str(alone).startswith("not checked")


def test_an_unknown_referee_is_named(digits):
    with pytest.raises(ValueError, match="oracle"):
        check_network(LeNet(), digits, against=["oracle"])


def test_the_report_is_plain_json(digits):
    wrong = MISTAKES["tanh: wrong sign"].make(LeNet.pretrained())
    found = json.loads(json.dumps(check_network(wrong, digits, against=["complex step"]).to_dict()))
    assert found["verdict"] == "wrong" and found["finding"]["layer"] == "tanh3"
