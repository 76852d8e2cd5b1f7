"""`jsma verify`: exit status 0 right, 1 wrong, 2 could not check; the table and the JSON."""
import json

import pytest
from small import narrow_lenet

import scripts.verify
from nn import LeNet
from nn.verify.mistakes import MISTAKES
from nn.verify.report import Comparison, Finding, LayerRow, Report
from scripts.__main__ import main


def test_right_is_0_and_a_row_a_layer(capsys):
    assert main(["verify", "--against", "complex step", "--digits", "5"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("right: every layer agrees with complex step") == 1
    assert all(shown.count(f"\n{layer} ") == 1 for layer in LeNet.pretrained().layers)


def test_wrong_is_1_and_names_the_layer(capsys, monkeypatch):
    wrong = MISTAKES["conv: kernel flipped"].make(narrow_lenet())
    monkeypatch.setattr(scripts.verify, "load_network", lambda name, path: wrong)
    assert main(["verify", "--against", "complex step", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)[0]
    assert report["verdict"] == "wrong" and report["finding"]["layer"] == "conv2"


def test_what_is_not_finite_is_null_in_the_json(capsys, monkeypatch):
    """A wrong derivative may hold NaN and infinities, which are no JSON."""
    row = LayerRow("conv1", (1, 2, 2), 100.0, float("nan"), 0,
                   errors={"dense": Comparison(float("inf"), float("nan"), 0)})
    finding = Finding("conv1", "forward derivative", "dense", "output 0", float("nan"), 1.0, "")
    report = Report([row], finding, {}, [])
    monkeypatch.setattr(scripts.verify, "check_network", lambda *_, **__: report)
    assert main(["verify", "--json"]) == 1
    report, = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert report["rows"][0]["largest"] is report["rows"][0]["errors"]["dense"]["absolute"] is None
    assert report["finding"]["claimed"] is None and report["finding"]["expected"] == 1.0


@pytest.mark.parametrize("words",
                         [["--against", "oracle"], ["--digits", "10000"], ["--weights", "none.npz"],
                          ["--digits", "x"], ["--dtype", "float16"]])
def test_what_cannot_be_checked_is_2(words, capsys):
    assert main(["verify", *words]) == 2
    assert capsys.readouterr().err.startswith("jsma: error: ")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "colour"])
def test_the_other_networks_are_named_layer_by_layer(name, capsys):
    assert main(["verify", "--network", name]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"test {'picture' if name == 'colour' else 'digit'} 0: right: every "
                           "layer agrees with complex")
    assert all(f"\n{layer} " in said
               for layer in ("conv1", "block1.add", "block2.short", "block2.add", "pool", "fc"))


@pytest.mark.parametrize(("words", "said"), [
    (["verify", "--network", "colour", "--data", "."],
     "--data is for MNIST; the pictures of --network colour are drawn"),
    (["verify", "--network", "alexnet"], "argument --network: invalid choice: 'alexnet'"),
    (["train", "--network", "resnet", "--output-weights", "zero", "--out", "w.npz"],
     "--output-weights, --activation and --recipe paper are for the LeNet"),
])
def test_what_does_not_fit_the_network_is_said(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())
