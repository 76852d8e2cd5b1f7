"""The verdicts of `check_network` beside "right" and "wrong": what nobody judged, referees that
refuse, give no number or differ from each other; the text that `assert report, report` prints."""
from unittest.mock import patch

import numpy as np
import pytest

from data import load_mnist
from nn import (
    Conv2d,
    Flatten,
    LeNet,
    Linear,
    MaxPool2d,
    Network,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
    check_network,
)
from nn.verify import frameworks, referees
from nn.verify.mistakes import MISTAKES

X = np.random.default_rng(3).normal(size=(2, 6))


def network(kind=Tanh, depth=1):
    rng = np.random.default_rng(1)
    layers = {}
    for n in range(depth):
        layers |= {f"fc{n}": Linear(6, 6, rng=rng), f"act{n}": kind()}
    return Network({**layers, "last": Linear(6, 3, rng=rng)}, (6,))


class Wrong(Tanh):
    """All derivatives are off by 1 %."""

    def forward_derivative(self, jacobian, saved):
        return jacobian.scaled(1.01 * saved)


def spoiled(name, change):
    """The referee with its tables changed by `change`(table of the layer "last")."""
    original = referees.OWN[name]

    def ask(network, x):
        tables = original(network, x)
        tables["last"] = change(tables["last"].copy())
        return tables

    return patch.dict(referees.OWN, {name: ask})


def with_holes(number):
    """Two entries of the table are `number`."""
    def change(table):
        table[1, 2:4] = number
        return table

    return change


# ties

@pytest.mark.parametrize(("referee", "dtype"), [
    pytest.param("autograd", np.float64, marks=pytest.mark.slow), ("autograd", np.float32),
    *(pytest.param("differences", dtype, marks=pytest.mark.slow)
      for dtype in (np.float64, np.float32))])
def test_the_shipped_network_is_not_accused_at_its_ties(referee, dtype):
    """Neither forward nor backward; what hangs on ties is not judged, and the text says so."""
    if referee == "autograd":
        pytest.importorskip("autograd", reason="autograd (extra: referees) is not installed")
    digit = load_mnist("test")[0][:1].astype(dtype)
    report = check_network(LeNet.pretrained(), digit, against=[referee])
    assert report.verdict == "not judged" and report.finding is None, str(report)
    row = report.rows[-2]
    assert row.unjudged == row.undecided > 0
    assert str(report).startswith(f"not judged: {row.unjudged:,} of 7,840 entries of fc2; the "
                                  "backward step of fc2 at up to ")
    moved = check_network(LeNet.pretrained(), digit, against=[referee], nudge=True)
    assert moved.verdict == "right", str(moved)


@pytest.mark.parametrize("name", [
    "conv, backward: kernel the wrong way round", *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("tanh, backward: f' missing", "conv: kernel flipped"))])
def test_a_mistake_off_the_ties_is_seen_by_those_who_set_ties_aside(name):
    digit = load_mnist("test")[0][:1].astype(np.float64)
    report = check_network(MISTAKES[name].make(LeNet.pretrained()), digit, against=["differences"])
    assert report.verdict == "wrong" and report.part == MISTAKES[name].part


@pytest.mark.parametrize("distance", [0, 1e-12, 1e-9, 3e-6])
def test_a_kink_within_the_steps_of_differences_is_not_judged(distance):
    network = Network([ReLU(), Linear(3, 2)], (3,))
    x = np.array([[distance, 1.0, -1.0]])
    report = check_network(network, x, against=["differences"])
    assert report.verdict == "not judged" and report.rows[-1].unjudged == 2, str(report)
    assert check_network(network, x).verdict == "right"


# referees that refuse

@pytest.mark.parametrize("error", [ValueError, TypeError, StopIteration, RuntimeError, KeyError,
                                   ZeroDivisionError, AssertionError, NotImplementedError])
def test_one_referees_refusal_is_listed_with_its_reason(error):
    def refuse(network, x):
        raise error("not this\none")

    with patch.dict(referees.OWN, {"dense": refuse}):
        report = check_network(network(), X)
        assert report.verdict == "right" and "not this" in report.missing["dense"]
        assert "\n" not in report.missing["dense"]
        wrong = network()
        wrong.layers["act0"].__class__ = Wrong
        assert check_network(wrong, X).layer == "act0"
        alone = check_network(network(), X, against=["dense"])
    assert alone.verdict == "not judged" and "missing: dense: " in str(alone)


def test_a_referee_without_a_word_has_a_reason_too():
    def refuse(network, x):
        raise StopIteration

    with patch.dict(referees.OWN, {"dense": refuse}):
        assert check_network(network(), X).missing == {"dense": "StopIteration"}


def test_only_an_output_activation_leaves_nothing_to_differences():
    for kind in (Sigmoid, Softmax):
        report = check_network(Network([kind()], (3,)), X[:, :3], against=["differences", "dense"])
        assert report.verdict == "right" and "logits alone" in report.missing["differences"]


@pytest.mark.parametrize("name", frameworks.FOREIGN)
def test_a_network_that_another_program_does_not_take(name):
    """torch asks for a Flatten before a Linear, others do not."""
    pytest.importorskip(name.split()[0], reason="an extra: referees")
    layers = {"conv": Conv2d(1, 4, 3), "tanh": Tanh(), "fc": Linear(4, 2)}
    report = check_network(Network(layers, (3, 3)), np.random.default_rng(0).random((2, 3, 3)),
                           against=["complex step", name])
    assert report.verdict == "right", str(report)
    assert set(report.missing) == ({name} if "torch" in name else set())


# no number

@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_neither_agrees_nor_accuses(number):
    with spoiled("dense", with_holes(number)):
        both = check_network(network(), X)
        alone = check_network(network(), X, against=["dense"])
        wrong = network()
        wrong.layers["last"].__class__ = type("Off", (Linear,), {
            "forward_derivative": lambda self, jacobian, saved: Linear.forward_derivative(
                self, jacobian, saved).scaled(np.full((1, 1, 1, 3), 1.01))})
        accused = check_network(wrong, X, against=["dense"])
    assert both.verdict == "right" and both.rows[-1].errors["dense"].not_judged == 2, str(both)
    assert alone.verdict == "not judged" and alone.rows[-1].unjudged == 2
    assert str(alone).startswith("not judged: 2 of 18 entries of last; the backward step of last "
                                 "at up to 2 of 6 pixels\n")
    assert accused.verdict == "wrong" and np.isfinite(accused.finding.expected)


def test_nothing_but_nan_is_no_agreement():
    with spoiled("dense", lambda table: table * np.nan):
        report = check_network(network(), X, against=["dense"])
    assert report.verdict == "not judged" and "18 of 18 entries of last" in str(report)


@pytest.mark.parametrize("kind", [Softplus, Tanh, Sigmoid, Softmax])
@pytest.mark.parametrize("size", [1.0, 1e3, 1e6])
def test_every_referee_of_ours_has_a_number_at_any_size(kind, size):
    report = check_network(network(kind), size * X)
    assert report.verdict == "right", str(report)
    assert all(not error.not_judged for row in report.rows for error in row.errors.values())


# referees that differ

def test_referees_that_differ_from_each_other():
    def off(table):
        table[1, 2] *= 1.01
        return table

    with spoiled("dense", off):
        report = check_network(network(), X)
        assert report.verdict == "referees disagree" and not report
        assert report.dispute.layer == "last" and report.dispute.entry == "output 1, feature 2"
        assert report.dispute.says["complex step"] == pytest.approx(report.dispute.claimed)
        assert report.dispute.says["dense"] == pytest.approx(1.01 * report.dispute.claimed)
        assert str(report).startswith(
            "referees disagree: about layer 'last'\n  output 1, feature 2")
        alone = check_network(network(), X, against=["dense"])
        assert alone.verdict == "wrong"
        wrong = network()
        wrong.layers["act0"].__class__ = Wrong
        assert check_network(wrong, X).verdict == "wrong"


# how near is near enough

@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_one_percent_of_a_small_entry_is_wrong(dtype):
    """Held against itself, not against the largest of its table, here 10¹² times as large."""
    class Off(Linear):
        def forward_derivative(self, jacobian, saved):
            result = super().forward_derivative(jacobian, saved)
            values = result.values.copy()
            values[..., 1] *= 1.01
            return result.with_values(values)

    layers = Network({"fc": Linear(6, 3)}, (6,))
    layers.load({"fc.weight": np.array([[1.0], [1e-12], [1.0]]) * np.arange(1, 7),
                 "fc.bias": np.zeros(3)})
    assert check_network(layers, X.astype(dtype)).verdict == "right"
    layers.layers["fc"].__class__ = Off
    report = check_network(layers, X.astype(dtype))
    assert report.verdict == "wrong" and report.finding.entry.startswith("output 1, ")


@pytest.mark.parametrize("entry", [0, 17, 2500, 4799])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_one_percent_of_one_entry_of_a_gradient_is_wrong(entry, dtype):
    """Of 4800, and the entry is named."""
    class Off(Linear):
        def gradients(self, grad_y, saved):
            gradients = super().gradients(grad_y, saved)
            gradients["weight"].reshape(-1)[entry] *= 1.01
            return gradients

    x = np.random.default_rng(0).normal(size=(2, 80))
    layers = Network({"fc": Linear(80, 60)}, (80,))
    assert check_network(layers, x.astype(dtype)).verdict == "right"
    layers.layers["fc"].__class__ = Off
    report = check_network(layers, x.astype(dtype))
    assert (report.verdict, report.part) == ("wrong", "gradient")
    assert report.finding.entry == f"weight{[entry // 80, entry % 80]}"
    assert report.finding.claimed == pytest.approx(1.01 * report.finding.expected, rel=1e-4)


def test_a_tolerance_of_ones_own_is_relative_to_the_largest_entry():
    wrong = network()
    wrong.layers["act0"].__class__ = Wrong
    assert check_network(wrong, X, tolerance=0.02).verdict == "right"
    assert check_network(wrong, X, tolerance=0.001).verdict == "wrong"


# the text

@pytest.mark.parametrize("against", [("complex step", "dense"),
                                     ("complex step", "dense", "differences")])
@pytest.mark.parametrize(("depth", "at"), [(1, 0), (20, 0), (20, 11), (20, 19)])
def test_the_text_of_a_mistake_is_at_most_twenty_lines(depth, at, against):
    wrong = network(depth=depth)
    wrong.layers[f"act{at}"].__class__ = Wrong
    report = check_network(wrong, X, against=against)
    lines = str(report).splitlines()
    assert len(lines) <= 20 and max(map(len, lines)) < 125
    assert lines[0] == f"wrong: the forward derivative of layer 'act{at}': scaled by 1.01"
    assert lines[1].startswith("  worst entry: output ") and lines[2].startswith("  there z = ")
    assert any(line.startswith(f"act{at} ") for line in lines)
    shown = sum(line.split()[0] in wrong.layers for line in lines)
    assert shown == len(wrong.layers) or any(
        line == f"({len(wrong.layers) - shown} more layers: see rows)" for line in lines)
    with pytest.raises(AssertionError) as error:
        report.raise_if_wrong()
    assert str(error.value) == str(report)


def test_right_networks_show_all_their_layers():
    text = str(check_network(network(depth=20), X))
    assert all(f"\nact{n} " in text for n in range(20))


def test_where_the_errors_sit():
    """Relative to what is allowed: above 1 where it is wrong, and only there."""
    class Off(Linear):
        def forward_derivative(self, jacobian, saved):
            result = super().forward_derivative(jacobian, saved)
            values = result.values.copy()
            values[2, 0, 0, 0, 0, 0, 1] += 1e-3
            return result.with_values(values)

    wrong = Network([Conv2d(1, 2, 2), MaxPool2d(2), Flatten(), Off(8, 3)], (6, 6))
    report = check_network(wrong, np.random.default_rng(0).random((2, 6, 6)))
    (name, errors), = report.errors_by_entry().items()
    assert name == "layer '3', forward derivative" and errors.shape == (3, 36)
    assert np.argwhere(errors > 1).tolist() == [[1, 12]]
    assert "<svg" in report._repr_html_() and check_network(network(), X).errors_by_entry() == {}
