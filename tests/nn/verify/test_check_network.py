"""`check_network`: right code is right on real digits with all their ties, wrong code is wrong in
the layer at fault."""
import json
import re
from functools import lru_cache
from unittest.mock import patch

import numpy as np
import pytest

from data import load_mnist
from nn import Conv2d, Flatten, Layer, LeNet, Linear, MaxPool2d, Network, ReLU, Tanh, check_network
from nn.threads import set_num_threads
from nn.verify import referees
from nn.verify.mistakes import MISTAKES
from nn.verify.report import Comparison, LayerRow, Report

CAUSES = {
    "conv: kernel flipped": "the kernel is flipped",
    "conv: kernel transposed": "the kernel is transposed (rows for columns)",
    "conv: window off by one": "shifted by a pixel (one column)",
    "max pool: window off by one": "shifted by 2 columns",
    "max pool: divided by the area": "scaled by 0.25",
    "max pool: last of tied maxima wins": "at ties the last maximum wins, not the first",
    "tanh: f' missing": "f' is missing",
    "tanh: f' = 1 − tanh": "f' is 1 − tanh, not 1 − tanh²",
    "tanh: wrong sign": "the sign is wrong",
    "flatten: order row, column, channel": "",
    "linear: weight transposed": "the weight is transposed",
    "softmax: no coupling": "",
    "conv, backward: kernel the wrong way round": "the kernel is flipped",
    "conv, backward: channels not transposed": "input and output channels are transposed",
    "max pool, backward: every tied maximum": "at ties every maximum counts, not the first alone",
    "max pool, backward: off by one": "shifted by a pixel (one column)",
    "tanh, backward: f' missing": "f' is missing",
    "flatten, backward: order row, column, channel": "",
    "linear, backward: weight transposed": "the weight is transposed",
    "softmax, backward: no coupling": "",
    "conv, gradient: bias forgotten": "zero everywhere",
    "conv, gradient: bias averaged, not summed": "scaled by 0.015625",
    "conv, gradient: kernel flipped": "it is flipped",
    "linear, gradient: weight transposed": "it is transposed",
    "linear, gradient: bias times 2": "scaled by 2",
}


@pytest.fixture(scope="module")
def digits():
    return load_mnist("test")[0][:3].astype(np.float64)


def test_the_shipped_network_is_right_to_rounding(digits):
    report = check_network(LeNet.pretrained(), digits)
    assert report.verdict == "right" and report.layer is None and report.finding is None
    assert [row.layer for row in report.rows] == list(LeNet.pretrained().layers)
    assert max(error.relative for row in report.rows for error in row.errors.values()) < 1e-12
    assert report.rows[1].ties > 1000  # the background of a digit


@lru_cache
def complex_steps():
    """The referee's answer for the LeNet at the first digit: it asks for values only, which no
    mistake changes."""
    return referees.complex_step(LeNet.pretrained(), load_mnist("test")[0][0].astype(np.float64))


@lru_cache
def checked(name):
    """The report on the LeNet with a mistake, at three real digits."""
    x, wrong = load_mnist("test")[0][:3].astype(np.float64), MISTAKES[name].make(LeNet.pretrained())
    assert np.array_equal(wrong.probabilities(x), LeNet.pretrained().probabilities(x))
    with patch.dict(referees.OWN, {"complex step": lambda network, x: complex_steps()}):
        return check_network(wrong, x, against=["complex step"])


# by default one of each part; test_mistakes and test_handwritten_mistakes try the others elsewhere
BY_DEFAULT = ("conv: kernel flipped", "max pool, backward: off by one",
              "conv, gradient: bias forgotten")


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] * (name not in BY_DEFAULT)) for name in MISTAKES])
def test_every_seeded_mistake_is_caught_and_named_on_a_real_digit(name):
    mistake, report = MISTAKES[name], checked(name)
    assert (report.verdict, report.layer, report.part) == ("wrong", mistake.layer, mistake.part)
    assert report.finding.claimed != report.finding.expected
    assert report.finding.cause == CAUSES[name]
    assert str(report).startswith(f"wrong: the {mistake.part} of layer {mistake.layer!r}")


def test_float32_is_checked_with_tolerances_that_fit_and_says_so(digits):
    report = check_network(LeNet.pretrained(), digits[:1].astype(np.float32),
                           against=["complex step"])
    errors = [row.errors["complex step"].relative for row in report.rows]
    assert report.verdict == "right" and "float32" in report.notes[0] and 1e-9 < max(errors) < 1e-5


@pytest.mark.slow
def test_a_mistake_in_float32_is_seen(digits):
    wrong = MISTAKES["conv: kernel flipped"].make(LeNet.pretrained())
    report = check_network(wrong, digits[:1].astype(np.float32), against=["complex step"])
    assert report.layer == "conv2"


def test_ties_are_counted_and_not_taken_for_mistakes():
    reason = "autograd (extra: referees) shares a tie's derivative among all maxima"
    pytest.importorskip("autograd", reason=reason)
    rng = np.random.default_rng(0)
    network = Network([Conv2d(1, 2, 3, rng=rng), MaxPool2d(2), ReLU(), Flatten(),
                       Linear(8, 3, rng=rng)], (6, 6))
    flat = np.zeros((1, 6, 6))
    flat[0, 4, 4] = 1
    report = check_network(network, flat, against=["complex step", "autograd"])
    assert report.verdict == "right" and report.rows[1].ties > 0
    moved = check_network(network, flat, against=["complex step", "autograd"], nudge=True)
    assert moved.verdict == "right" and moved.rows[1].ties == 0
    assert moved.rows[-1].errors["autograd"].relative < 1e-10


@pytest.mark.slow
def test_central_differences_judge_what_hangs_on_no_tie(digits):
    report = check_network(LeNet.pretrained(), digits[:1],
                           against=["complex step", "differences"])
    row = report.rows[-2]
    assert report.verdict == "right" and row.errors["differences"].relative < 1e-6
    assert row.errors["differences"].not_judged == row.undecided > 0
    assert row.errors["complex step"].not_judged == 0
    assert row.because == ["pool1"]
    assert f"{row.undecided:,} of these in fc2, which differences" in str(report)
    wrong = MISTAKES["conv: kernel flipped"].make(LeNet.pretrained())
    assert check_network(wrong, digits[:1], against=["differences"]).verdict == "wrong"


@pytest.mark.slow
@pytest.mark.parametrize("shade", [0.0, 1.0])
def test_an_even_image_is_no_mistake(shade):
    """All windows are tied; the dense referee rounds otherwise and sees other winners."""
    image = np.full((1, 28, 28), shade)
    report = check_network(LeNet.pretrained(), image, against=["complex step", "dense"])
    assert report.verdict == "right" and report.rows[4].ties > 700


def test_the_entries_that_hang_on_a_tie_are_these():
    """One tied window of four pixels: a weight of 0 leads nowhere, so the unit behind it hangs on
    nothing."""
    x = np.arange(1.0, 17).reshape(1, 4, 4)
    x[0, :2, 2:] = 9
    network = Network([MaxPool2d(2), Flatten(), Linear(4, 2)], (4, 4))
    weight = np.array([[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    network.load({"2.weight": weight, "2.bias": np.zeros(2)})
    rows = check_network(network, x).rows
    assert [row.ties for row in rows] == [1, 0, 0] and [row.undecided for row in rows] == [4, 4, 4]
    assert all(row.because == ["0"] for row in rows)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] * (name not in BY_DEFAULT)) for name in MISTAKES
    if MISTAKES[name].part == "backward"])
def test_a_wrong_backward_step_is_shown_at_a_unit_and_a_pixel(name, digits):
    """The numbers of the worst entry are those of the network asked for that unit and pixel."""
    wrong, right = MISTAKES[name].make(LeNet.pretrained()), LeNet.pretrained()
    layer = MISTAKES[name].layer
    if layer not in ("fc2", "softmax"):  # cut behind the layer at fault, its units are the outputs
        names = list(wrong.layers)[:list(wrong.layers).index(layer) + 1]
        wrong, right = (Network({key: net.layers[key] for key in names} | {"end": Flatten()},
                                (28, 28)) for net in (wrong, right))
    of = "probabilities" if layer == "softmax" else "logits"
    finding = checked(name).finding
    pixel = re.search(r"pixel \(row (\d+), column (\d+)\)", finding.entry)
    row, column = map(int, pixel.groups())
    place = re.search(r"output (\d+)(?: at row (\d+), column (\d+))?", finding.entry)
    c, y, x = (int(number or 0) for number in place.groups())
    unit = np.ravel_multi_index((c, y, x), wrong.shapes[finding.layer])
    for network, number in ((wrong, finding.claimed), (right, finding.expected)):
        cotangent = np.eye(1, network.classes, unit)
        got = network.backward_derivative(digits[:1], cotangent, of=of)[0, 0]
        assert got.reshape(28, 28)[row, column] == pytest.approx(number, rel=1e-6, abs=1e-12)


def test_a_layer_of_ones_own_is_judged_by_those_who_can(digits):
    """Softplus is unknown to the dense referee and to torch: they say so, the complex step
    judges."""
    class Softplus(Layer):
        def forward(self, x):
            return np.log1p(np.exp(x)), 1 / (1 + np.exp(-x))

        def forward_derivative(self, jacobian, saved):
            return jacobian.scaled(saved)

        def backward(self, grad_y, saved):
            return grad_y * saved

    class Wrong(Softplus):
        def forward_derivative(self, jacobian, saved):
            return jacobian.scaled(-saved)

    layers = [Conv2d(1, 2, 5), MaxPool2d(2), Softplus(), Flatten(), Linear(288, 3)]
    report = check_network(Network(layers, (28, 28)), digits)
    assert report.verdict == "right" and "Softplus" in report.missing["dense"]
    assert report.rows[-1].undecided > 0
    layers[2] = Wrong()
    report = check_network(Network(layers, (28, 28)), digits)
    assert (report.layer, report.finding.cause) == ("2", "the sign is wrong")


def test_relu_at_zero_is_counted():
    network = Network([ReLU(), Linear(3, 2)], (3,))
    assert check_network(network, np.array([[0.0, 1.0, -1.0]])).rows[0].ties == 1


def test_a_missing_referee_is_listed_and_alone_leaves_it_unchecked(digits, monkeypatch):
    import nn.verify.network

    def absent(network, x):
        raise nn.verify.network.MissingReferee("jax is not installed")

    monkeypatch.setitem(nn.verify.network.FOREIGN, "jax jacfwd", absent)
    network = Network([Flatten(), Linear(784, 2)], (28, 28))
    both = check_network(network, digits, against=["jax jacfwd", "dense"])
    assert both.verdict == "right" and "jax jacfwd" in both.missing
    assert "missing: jax jacfwd" in str(both)
    alone = check_network(network, digits, against=["jax jacfwd"])
    assert alone.verdict == "not judged" and str(alone).startswith("not judged")


def test_an_unknown_referee_is_named(digits):
    with pytest.raises(ValueError, match="oracle"):
        check_network(LeNet(), digits, against=["oracle"])


def test_the_report_is_plain_json():
    report = json.loads(json.dumps(checked("conv: kernel flipped").to_dict()))
    assert report["verdict"] == "wrong" and report["finding"]["layer"] == "conv2"


def test_the_words_of_a_report():
    """Who judged what is said, and many referees are shown four side by side."""
    good = Comparison(1e-16, 2e-16, 0)
    many = {f"referee {n}": good for n in range(6)}
    rows = [LayerRow("fc1", (3, 1, 1), 50.0, 1.5, 0, errors=many),
            LayerRow("fc2", (2, 1, 1), 100.0, 2.5, 0, errors=many)]
    rows[1].errors = {**many, "logits only": Comparison(1e-3, 2e-3, 7)}
    rows[1].undecided, rows[1].because = 7, ["pool", "relu"]
    lines = str(Report(rows, None, {"jax": "not there"}, ["a note"])).splitlines()
    assert lines[0] == ("right: every layer agrees with " + ", ".join(many)
                        + "; fc2 agrees with logits only")
    assert [line.split()[0] for line in lines].count("fc1") == 2
    assert max(map(len, lines[1:])) <= 125
    assert lines[-4].startswith("no derivative: 7 entries of fc2 hang on ties (pool, relu)")
    assert lines[-3:] == [
        "set aside: 7 of these in fc2, which logits only may take by another rule",
        "missing: jax: not there", "a note"]


class OneEntry(Linear):
    """Right but for one entry of its forward derivative."""

    entry, number = 0, 0.0

    def forward_derivative(self, jacobian, saved):
        right = super().forward_derivative(jacobian, saved)
        values = right.values.copy()
        values.reshape(-1, len(self.parameters["weight"]))[:, self.entry][self.entry] = self.number
        return right.with_values(values)


@pytest.mark.parametrize("number", [np.nan, np.inf, -7.0])
@pytest.mark.parametrize("entry", [0, 60, -1])
@pytest.mark.parametrize("referee", ["complex step", "dense"])
def test_one_wrong_entry_of_a_large_table_is_enough(entry, number, referee, digits):
    """Whatever it is and wherever it stands: tables are compared block by block."""
    network = Network({"flatten": Flatten(), "fc": Linear(784, 120)}, (28, 28))
    assert check_network(network, digits, against=[referee]).verdict == "right"
    network.layers["fc"].__class__ = OneEntry
    network.layers["fc"].entry, network.layers["fc"].number = entry, number
    report = check_network(network, digits, against=[referee])
    assert (report.verdict, report.layer, report.part) == ("wrong", "fc", "forward derivative")
    row, column = divmod(entry % 784, 28)
    assert report.finding.entry == f"output {entry % 120}, pixel (row {row}, column {column})"
    assert report.finding.claimed == pytest.approx(number, nan_ok=True)


@pytest.mark.parametrize("name", ["max pool: divided by the area", pytest.param(
    "tanh, backward: f' missing", marks=pytest.mark.slow)])
def test_the_report_does_not_depend_on_the_number_of_threads(name, digits):
    network = MISTAKES[name].make(Network({
        "conv": Conv2d(1, 8, 5), "pool": MaxPool2d(3), "tanh": Tanh(), "flatten": Flatten(),
        "fc": Linear(512, 3)}, (28, 28)))
    reports = []
    for number in (1, 3):
        set_num_threads(number)
        try:
            assert network.num_threads == number
            reports.append(check_network(network, digits[:1]))
        finally:
            set_num_threads(None)
    assert reports[0].to_dict() == reports[1].to_dict() and reports[0].verdict == "wrong"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_error_of_single_precision_in_a_gradient_is_seen(dtype, digits):
    """Parameters in float32, checked in float64: rounded to float32, a gradient is wrong."""
    class Rounded(Linear):
        def gradients(self, grad_y, saved):
            return {key: array.astype(dtype).astype(float)
                    for key, array in super().gradients(grad_y, saved).items()}

    network = Network({"flatten": Flatten(), "fc": Linear(784, 12)}, (28, 28))
    network.layers["fc"].__class__ = Rounded
    report = check_network(network, digits)
    assert report.part == (None if dtype == np.float64 else "gradient")
