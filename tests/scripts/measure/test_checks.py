"""What each checker finds: words for checkers with known answers, and the real ones on LeNet."""
import json
from types import SimpleNamespace

import numpy as np
import pytest

import nn
import scripts.bench
from data import load_mnist
from nn import LeNet, Linear, Network, Tanh
from nn.verify.mistakes import BACKWARD, FORWARD, GRADIENT, MISTAKES
from scripts.__main__ import main
from scripts.measure import checks, own_code
from scripts.measure.checkers import CHECKERS
from scripts.measure.claims import claims
from scripts.measure.handwritten import RIGHT, WRONG

DIGIT = load_mnist("test")[0][0].astype(np.float64)
MOVED = DIGIT + checks.NUDGE * np.random.default_rng(0).uniform(size=DIGIT.shape)
COARSE = "jax check_grads"  # its step of 1e-4 runs into ties nearby


@pytest.fixture(scope="module")
def lenet():
    network = LeNet.pretrained()
    return network.load({name: array.astype(np.float64)
                         for name, array in network.parameters().items()})


@pytest.fixture(params=CHECKERS)
def name(request):
    package = request.param.split()[0]
    pytest.importorskip(package,
                        reason=f"{package} is not installed (pip install 'jsma[referees]')")
    return request.param


def missing(claim):
    raise ImportError("no such package")


# the words

def table(monkeypatch, verdict, layer, **checkers):
    report = SimpleNamespace(verdict=verdict, layer=layer, part=None)
    monkeypatch.setattr(nn, "check_network", lambda network, x: report, raising=False)
    monkeypatch.setattr(checks, "CHECKERS", checkers)
    return checks.table(DIGIT[None].astype(np.float32))


def test_the_words_for_each_answer(monkeypatch):
    rows = table(monkeypatch, "wrong", "conv2", always=lambda claim: True,
                 never=lambda claim: False, missing=missing)
    names = [row.what for row in rows]
    assert names[-len(MISTAKES):] == list(MISTAKES) and len(rows) > len(MISTAKES) + 2
    for row in rows:
        said = {name: cell.said for name, cell in row.cells.items()}
        assert said.pop("missing") == "not installed"
        named = {"": "false alarm", "conv2": "caught, layer named"}.get(row.layer, "caught")
        if row.layer:
            assert said == {"ours": named, "always": "missed", "never": "cannot tell"}
        else:
            assert said == {"ours": named, "always": "passes", "never": "false alarm"}


@pytest.mark.parametrize(("verdict", "right", "wrong"),
                         [("right", "passes", "missed"), ("not judged",) * 3])
def test_our_other_verdicts(monkeypatch, verdict, right, wrong):
    for row in table(monkeypatch, verdict, None):
        assert row.cells["ours"].said == (wrong if row.layer else right)


def test_caught_means_that_right_code_passes_at_the_same_place(monkeypatch, lenet):
    """A checker that knows the right forward derivative and refuses every other claim."""
    known = {point.tobytes(): lenet.forward_derivative(point[None])[0] for point in (DIGIT, MOVED)}

    def knowing(claim):
        expected = known.get(claim.point.tobytes())
        return expected is not None and np.allclose(claim.jacobian(claim.point), expected,
                                                    atol=1e-9)

    rows = {row.what: row.cells["knowing"].said
            for row in table(monkeypatch, "right", None, knowing=knowing)}
    for mistake in MISTAKES.values():
        of_logits = mistake.layer != "softmax" and mistake.part != GRADIENT
        assert rows[mistake.name] == ("caught" if of_logits else "cannot tell"), mistake.name


def test_as_text(monkeypatch):
    rows = table(monkeypatch, "wrong", "conv1", always=lambda claim: True, missing=missing)
    shown = checks.text(rows)
    assert shown.endswith(checks.LEGEND)
    head, *lines = shown.removesuffix(checks.LEGEND).splitlines()
    assert len(lines) == len(rows) + 4 and "seconds" in lines[-1]
    for column, words, sums in (("always", {"passes", "missed"}, ["4 of 4", "0 of 25", "0 of 25"]),
                                ("missing", {"not installed"}, ["0 of 4", "0 of 25", "0 of 25"]),
                                ("ours", {"false alarm", "caught", "caught, layer named"},
                                 ["0 of 4", "25 of 25",
                                  f"{sum(row.layer == 'conv1' for row in rows)} of 25"])):
        at = head.index(column)
        cells = [line[at:].split("  ")[0].strip() for line in lines]
        assert set(cells[:-4]) == words and cells[-4:-1] == sums


def test_the_command_writes_the_table_as_json_too(monkeypatch, tmp_path, capsys):
    rows = table(monkeypatch, "wrong", "conv1", always=lambda claim: True)
    monkeypatch.setattr(checks, "table", lambda images: rows)
    own = own_code.table([RIGHT[0], WRONG[0]], with_others=False)
    monkeypatch.setattr(own_code, "table", lambda cases: own)
    monkeypatch.setattr(scripts.bench, "machine", lambda packages: {"cores": 2})
    assert main(["bench", "--checks", "--json", str(tmp_path / "checks.json")]) == 0
    printed = capsys.readouterr().out
    assert checks.text(rows) in printed and own_code.text(own) in printed
    written = json.loads((tmp_path / "checks.json").read_text(encoding="utf-8"))
    assert written["machine"] == {"cores": 2} and len(written["rows"]) == len(rows) + len(own)
    assert [row["right"] for row in written["rows"][len(rows):]] == [True, False]
    for row, content in zip(rows, written["rows"]):
        cells = {name: {"said": cell.said, "seconds": cell.seconds}
                 for name, cell in row.cells.items()}
        assert content == {"what": row.what, "layer": row.layer, "cells": cells}
    assert main(["bench", "--checks", "--json", str(tmp_path / "no" / "checks.json")]) == 2


# the claims

@pytest.mark.parametrize(("part", "of", "parameter"), [
    (FORWARD, "logits", None), (BACKWARD, "logits", None), (FORWARD, "probabilities", None),
    (GRADIENT, "logits", "conv1.bias"), (GRADIENT, "logits", "fc2.bias")])
def test_what_the_right_network_claims_is_true(lenet, part, of, parameter):
    claim = claims(lenet, MOVED, part, of, parameter)
    before = {name: array.copy() for name, array in lenet.parameters().items()}
    direction = np.random.default_rng(1).normal(size=claim.point.shape)
    up, down = (claim.function(claim.point + step_size * direction)
                for step_size in (1e-7, -1e-7))
    expected = claim.jacobian(claim.point) @ direction
    np.testing.assert_allclose((up - down) / 2e-7, expected, rtol=1e-5,
                               atol=1e-5 * np.abs(expected).max())
    assert all((array == before[name]).all() for name, array in lenet.parameters().items())


def test_the_wrong_parameter_is_found(lenet):
    parameters = {mistake.name: checks.wrong_parameter(mistake.make(lenet), lenet, DIGIT)
                  for mistake in MISTAKES.values() if mistake.part == GRADIENT}
    assert all(parameters[name].startswith(MISTAKES[name].layer) for name in parameters)
    assert parameters["conv, gradient: bias forgotten"] == "conv1.bias"
    assert len(set(parameters.values())) == 5
    assert checks.wrong_parameter(lenet, lenet, DIGIT) is None


# the others

def test_a_smooth_network(name):
    """Where nothing is tied all of them do their work."""
    network = Network({"fc1": Linear(5, 4), "tanh": Tanh(), "fc2": Linear(4, 4)}, (5,))
    x = np.random.default_rng(0).normal(size=5)
    assert CHECKERS[name](claims(network, x))
    for mistake in ("tanh: f' missing", "linear: weight transposed"):
        assert not CHECKERS[name](claims(MISTAKES[mistake].make(network), x))


def test_their_random_directions_leave_numpy_alone(name, lenet):
    np.random.seed(7)
    first = np.random.rand()
    np.random.seed(7)
    CHECKERS[name](claims(Network([Linear(3, 2)], (3,)), np.ones(3)))
    assert np.random.rand() == first


def slow_where_it_is(name):
    return pytest.param(name, marks=pytest.mark.slow) if name.startswith(("torch", "jax")) else name


@pytest.mark.parametrize("name", [slow_where_it_is(name) for name in CHECKERS], indirect=True)
def test_on_lenet(name, lenet):
    """Right code: refused on a digit with ties, accepted off them, where mistakes are caught."""
    check = CHECKERS[name]
    assert not check(claims(lenet, DIGIT))
    assert check(claims(lenet, MOVED)) == (name != COARSE)
    for mistake in ("conv: kernel flipped", "tanh, backward: f' missing"):
        assert not check(claims(MISTAKES[mistake].make(lenet), MOVED, MISTAKES[mistake].part))
    wrong = MISTAKES["conv, gradient: bias forgotten"].make(lenet)
    assert check(claims(lenet, MOVED, GRADIENT, parameter="conv1.bias"))
    assert not check(claims(wrong, MOVED, GRADIENT, parameter="conv1.bias"))


@pytest.mark.slow
def test_ours_names_every_layer_and_passes_right_code(monkeypatch):
    monkeypatch.setattr(checks, "CHECKERS", {})
    for row in checks.table(DIGIT[None]):
        expected = "caught, layer named" if row.layer else "passes"
        assert row.cells["ours"].said == expected, row.what
