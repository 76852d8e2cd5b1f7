"""The commands as a person runs them: what they write and say, one line for every mistake."""
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sessions import started
from small import quick

import attack
import scripts.paper.experiment
from data import load_mnist, read_idx, write_idx
from nn import LeNet, load_weights
from scripts.__main__ import BLAS_THREADS, COMMANDS, main, one_blas_thread
from scripts.paper import single
from scripts.paper.experiment import Setup
from scripts.paper.experiments import EXPERIMENTS
from scripts.paper.figures import FIGURES
from scripts.paper.outcome import Outcome
from scripts.terminal.networks import load_network

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def small_mnist(tmp_path_factory):
    """The first digits of MNIST as a set of its own: 150 + 100 for training, 100 for the test."""
    folder = tmp_path_factory.mktemp("mnist")
    for split, part, count in (("train", "train", 250), ("test", "t10k", 100)):
        images, labels = load_mnist(split)
        write_idx(folder / f"{part}-images-idx3-ubyte",
                  np.round(255 * images[:count]).astype(np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels[:count].astype(np.uint8))
    return folder


def test_help_starts_at_once_and_lists_every_command():
    code = ("import sys; from scripts.__main__ import main\n"
            "try: main(['--help'])\nexcept SystemExit: pass\n"
            "packages = {name.split('.')[0] for name in sys.modules}\n"
            "print(sorted(packages & {'numpy', 'scipy', 'matplotlib'}))")
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                           check=True).stdout
    assert all(name in shown for name in COMMANDS) and shown.endswith("[]\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0 and len(capsys.readouterr().out) > 200


@pytest.mark.parametrize(("words", "said"), [
    (["--nothing"], ["COMMAND"]), (["fly"], ["fly", "choose from train"]),
    (["craft"], ["--out"]), (["reprodoce"], ["reprodoce", "did you mean reproduce?"]),
    (["craft", "--out", "o", "--tehta", "1"], ["--tehta", "did you mean --theta?"]),
    (["craft", "--out", "o", "--goal", "targetted"], ["did you mean targeted?"]),
    (["data"], ["jsma data check"]), (["data", "chek"], ["did you mean check?"]),
    (["craft", "--out", "o", "--target", "11"], ["targets", "0 to 9", "11"]),
    (["craft", "--out", "o", "--target", "nine"], ["--target", "'nine'"]),
    (["craft", "--out", "o", "--theta", "0"], ["theta", "0"]),
    (["craft", "--out", "o", "--max-distortion", "101"], ["max_distortion", "101"]),
    (["craft", "--out", "o", "--max-distortion", "lots"], ["--max-distortion", "'lots'"]),
    (["craft", "--out", "o", "--index", "3,10000"], ["--index", "9999", "10000"]),
    (["craft", "--out", "o", "--index", "3,x"], ["--index", "'x'"]),
    (["craft", "--out", "o", "--count", "0"], ["--count", "below 1"]),
    (["craft", "--out", "o", "--data", "nowhere"], ["nowhere", "no such folder"]),
    (["craft", "--out", "o", "--weights", "none.npz"], ["none.npz"]),
    (["train", "--out", "weights.pt"], ["--out", ".npz"]),
    (["train", "--out", "w.npz", "--resume"], ["nothing to resume", "w.json"]),
    (["train", "--out", "w.npz", "--holdout", "60000"], ["--holdout", "60000"]),
    (["reproduce", "--only", "fig99"], ["--only", "fig99", "did you mean fig9?"]),
    (["reproduce", "--weights", str(ROOT / "setup.cfg"), "--out", "o"],
     ["setup.cfg", "not a readable .npz"]),
    (["reproduce", "--out", str(ROOT / "setup.cfg")], ["--out", "setup.cfg", "file"]),
    (["data", "check", "nowhere"], ["nowhere"]),
    (["reproduce", "--out", "o", "--jobs", "100000"], ["--jobs", "100000", "above"]),
    (["reproduce", "--out", "o", "--answers", "none.csv"], ["none.csv"]),
    (["craft", "--out", "o", "--theta", "1e-9", "--max-distortion", "none"],
     ["theta", "0.001", "1e-09"]),
    (["explain", "--out", "p.html", "--target", "3", "--theta", "0.01", "--max-distortion",
      "none"], ["--theta", "0.1"]),
    (["craft", "--out", "o", "--weights", "a\nb\x1b[31m\udcff.npz"],
     [r"a\nb\x1b[31m\udcff.npz: No such file"]),
])
def test_a_mistake_gets_one_line_and_status_2(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("jsma: error: ") and printed.count("\n") == 1, printed
    assert all(word in printed for word in said), printed
    assert not list(tmp_path.rglob("*.npz"))


def test_a_reader_that_goes_away_gets_no_error():
    shell = f"{sys.executable} -m scripts data check | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", shell], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.stderr == "" and done.returncode in (0, 141)


def test_craft_writes_images_lines_and_a_picture(tmp_path, capsys):
    assert main(["craft", "--index", "0,7", "--target", "all", "--derivative", "backward", "--out",
                 str(tmp_path)]) == 0
    originals, labels = load_mnist("test")
    crafted = np.load(tmp_path / "crafted.npz")
    lines = list(csv.DictReader((tmp_path / "crafted.csv").read_text().splitlines()))
    assert len(lines) == 18 and [int(line["index"]) for line in lines] == [0] * 9 + [7] * 9
    assert {int(line["target"]) for line in lines[:9]} == set(range(10)) - {labels[0]}
    network = LeNet.pretrained()
    predicted = network.predict(crafted["adversarial"])
    assert [int(line["predicted"]) for line in lines] == predicted.tolist()
    assert [line["success"] == "1" for line in lines] == (predicted == crafted["target"]).tolist()
    assert f"{(predicted == crafted['target']).sum()} of 18 samples" in capsys.readouterr().out
    images = read_idx(tmp_path / "adversarial-images-idx3-ubyte")
    np.testing.assert_array_equal(images, np.round(255 * crafted["adversarial"]).astype(np.uint8))
    np.testing.assert_array_equal(crafted["original"], originals[[0] * 9 + [7] * 9])
    changed = (crafted["adversarial"] != crafted["original"]).reshape(18, -1).mean(axis=1)
    np.testing.assert_allclose([float(line["distortion_percent"]) for line in lines],
                               100 * changed, atol=1e-4)
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_craft_counts_apart_who_was_never_attacked(tmp_path, capsys):
    """Test digit 340, a 5, is read as a 3; digit 0 is a 7."""
    assert main(["craft", "--index", "340,0,1", "--target", "7", "--derivative", "backward",
                 "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "of 1 samples reach" in printed and "nan" not in printed
    table = [line for line in printed.splitlines() if line.endswith("samples")]
    assert [line.split()[-2] for line in table] == ["1", "0", "1"]  # all, successful, failed
    assert "not counted there: 1 that the network misreads from the start" in printed
    assert "not counted there: 1 that are in their target class from the start" in printed
    lines = list(csv.DictReader((tmp_path / "crafted.csv").read_text().splitlines()))
    assert [line["reason"] for line in lines[:2]] == ["misread", "already_target"]
    assert [line["success"] for line in lines[:2]] == ["0", "0"]
    assert main(["craft", "--index", "0", "--target", "7", "--out", str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out.startswith("no sample was attacked; files in ")


@pytest.mark.parametrize("goal", ["misclassification", "confidence"])
def test_craft_without_a_target(goal, tmp_path, capsys):
    words = ["craft", "--goal", goal, "--confidence", "0.3", "--count", "2", "--derivative",
             "backward", "--out", str(tmp_path)]
    assert main(words) == 0 and "2 of 2 samples reach their goal" in capsys.readouterr().out
    arrays, network = np.load(tmp_path / "crafted.npz"), LeNet.pretrained()
    sources = network.predict(arrays["original"])
    if goal == "confidence":
        assert (network.probabilities(arrays["adversarial"])[[0, 1], sources] < 0.3).all()
    else:
        assert (network.predict(arrays["adversarial"]) != sources).all()
    assert (arrays["target"] != sources).all()
    assert main([*words, "--target", "3"]) == 2 and "takes no targets" in capsys.readouterr().err


def test_craft_says_when_8_bits_lose_the_attack(tmp_path, capsys):
    """Two digits at the border of another class: steps of 0.001 take both across it."""
    network, all_lost = LeNet.pretrained(), []
    for index, target in ((9517, 4), (2921, 8)):
        out = tmp_path / str(index)
        assert main(["craft", "--index", str(index), "--target", str(target), "--theta", "0.001",
                     "--max-distortion", "50", "--derivative", "backward", "--out", str(out)]) == 0
        crafted = np.load(out / "crafted.npz")
        rounded = read_idx(out / "adversarial-images-idx3-ubyte") / np.float32(255)
        lost = (crafted["success"] & (network.predict(rounded) != target)).sum()
        assert ("once rounded" in capsys.readouterr().out) == bool(lost)
        all_lost.append(lost)
    assert all_lost == [1, 0]


def test_train_is_repeatable_and_resumes(small_mnist, tmp_path, capsys):
    words = ["train", "--data", str(small_mnist), "--holdout", "100", "--seed", "3"]
    for name, epochs in (("a", 3), ("b", 3), ("c", 2)):
        assert main([*words, "--epochs", str(epochs), "--out", str(tmp_path / f"{name}.npz")]) == 0
    assert main([*words, "--epochs", "3", "--out", str(tmp_path / "c.npz"), "--resume"]) == 0
    weights = [(tmp_path / f"{name}.npz").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] == weights[2]
    records = [json.loads((tmp_path / f"{name}.json").read_text()) for name in "abc"]
    assert records[0] == records[1] == records[2] and len(records[0]["epochs"]) == 3
    losses = [epoch["loss"] for epoch in records[0]["epochs"]]
    assert losses[2] < losses[1] < losses[0]
    images, labels = load_mnist("test", small_mnist)
    error = 100 * np.mean(load_weights(tmp_path / "a.npz", LeNet()).predict(images) != labels)
    assert records[0]["epochs"][-1]["test_error"] == pytest.approx(error)
    assert "epoch 3: loss" in capsys.readouterr().out


def test_train_does_not_overwrite_or_mix_runs(small_mnist, tmp_path, capsys):
    words = ["train", "--data", str(small_mnist), "--holdout", "100", "--epochs", "1", "--out",
             str(tmp_path / "w.npz")]
    assert main(words) == 0
    before = (tmp_path / "w.npz").read_bytes()
    assert main(words) == 2 and "--resume" in capsys.readouterr().err
    assert main([*words, "--resume", "--seed", "1"]) == 2
    assert "seed = 0, not 1" in capsys.readouterr().err
    (tmp_path / "w.json").write_text("{")
    assert main([*words, "--resume"]) == 2 and "w.json" in capsys.readouterr().err
    assert (tmp_path / "w.npz").read_bytes() == before


def test_train_on_all_digits_has_no_validation(small_mnist, tmp_path):
    assert main(["train", "--data", str(small_mnist), "--holdout", "0", "--epochs", "1",
                 "--recipe", "paper", "--checkpoints", "1,20", "--out",
                 str(tmp_path / "w.npz")]) == 0
    for kind in ("npz", "json"):
        assert (tmp_path / f"w-1.{kind}").read_bytes() == (tmp_path / f"w.{kind}").read_bytes()
    assert not (tmp_path / "w-20.npz").exists()
    record = json.loads((tmp_path / "w.json").read_text())
    settings = record["settings"]
    assert settings["init"] == "tutorial" and settings["shuffled"] is False
    assert set(record["epochs"][0]) == {"loss", "test_error"} and record["settings"]["batch"] == 500
    weights = load_weights(tmp_path / "w.npz", LeNet()).parameters()["fc2.weight"]
    assert np.abs(weights).max() > 0 and np.abs(weights.sum(axis=0)).max() < 1e-5


@pytest.mark.parametrize("activation", [
    "relu", pytest.param("sigmoid", marks=pytest.mark.slow)])
def test_the_record_beside_the_weights_says_the_activation(activation, small_mnist, tmp_path,
                                                           capsys):
    weights = tmp_path / "w.npz"
    assert main(["train", "--data", str(small_mnist), "--holdout", "100", "--epochs", "1",
                 "--activation", activation, "--out", str(weights)]) == 0
    images = load_mnist("test")[0][:3]
    logits = load_weights(weights, LeNet(activation=activation)).logits(images)
    np.testing.assert_array_equal(load_network("lenet", weights).logits(images), logits)
    for record in ("{", "[]", '{"settings": {"activation": "cosine"}}', None):
        (tmp_path / "w.json").unlink()
        if record:
            (tmp_path / "w.json").write_text(record)
        tanh = load_network("lenet", weights)
        np.testing.assert_array_equal(tanh.logits(images),
                                      load_weights(weights, LeNet()).logits(images))
        (tmp_path / "w.json").touch()
    assert np.abs(tanh.logits(images) - logits).max() > 1e-3


def test_interrupted_training_says_how_to_go_on(small_mnist, tmp_path, capsys):
    words = [sys.executable, "-m", "scripts", "train", "--data", str(small_mnist), "--holdout",
             "100", "--epochs", "10000", "--out", str(tmp_path / "w.npz")]
    process = started(words, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout.readline().startswith("epoch 1:")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in errors and "Traceback" not in errors
    finished = len(json.loads((tmp_path / "w.json").read_text())["epochs"])
    assert finished >= 1
    assert main([*words[3:-4], "--epochs", str(finished + 1), *words[-2:], "--resume"]) == 0
    assert "going on after epoch" in capsys.readouterr().out


LONG = ("fig2", "training", "identical", "time")
USUAL = [name for name, one in EXPERIMENTS.items() if not one.large]
SIZES = {"few": ["fig1", "fig7", "fig11", "fig12"], "all": [],
         "all but the long": [name for name in USUAL if name not in LONG]}


@pytest.fixture(scope="module", params=[
    pytest.param(size, marks=[pytest.mark.slow] * (size != "few")) for size in SIZES])
def report(request, tmp_path_factory):
    """The report on two digits of each set: every experiment, those that do not take long, or a
    few."""
    folder = tmp_path_factory.mktemp("report")
    names = SIZES[request.param]
    words = [word for name in names for word in ("--only", name)]
    words += ["--jobs", "1"] * (request.param != "all")  # nothing is started for a short report
    assert main(["reproduce", "--out", str(folder), "--digits", "2", "--derivative", "backward",
                 *words]) == 0
    results = json.loads((folder / "results.json").read_text())
    assert list(results["experiments"]) == (names or USUAL)
    return folder


def test_reproduce_writes_one_self_contained_page(report):
    page = (report / "report.html").read_text(encoding="utf-8")
    experiments = json.loads((report / "results.json").read_text())["experiments"]
    drawn = {name for name in set(experiments) & set(FIGURES)
             if not experiments[name]["no_picture"]}
    assert not set(LONG) & set(FIGURES) and {"fig1", "fig7"} <= drawn
    assert "fig12" not in drawn  # two digits are too few for a table of classes
    assert {path.stem for path in report.glob("*.png")} == drawn
    images = 1 + 2 * len(drawn)  # Fig. 1 on the first screen; a card and a section each
    assert page.count("<img") == images == page.count("src='data:image/png;base64,")
    assert len(page) < 2_500_000
    assert "http:" not in page and "https:" not in page and "<script" not in page
    assert all(f"{value}" in page for value in ("97.10 %", "4.02 %", "4.44 %", "13.78"))


def test_the_report_shows_digits_misread_as_every_other_digit(report):
    arrays = np.load(report / "fig1.npz")
    predicted = LeNet.pretrained().predict(arrays["images"].reshape(100, 28, 28)).reshape(10, 10)
    np.testing.assert_array_equal(predicted, np.tile(np.arange(10), (10, 1)))
    images, labels = load_mnist("test")
    for digit in range(10):  # the diagonal holds real test digits
        assert (images[labels == digit] == arrays["images"][digit, digit]).all(axis=(1, 2)).any()


def test_results_are_the_numbers_of_the_page(report):
    results = json.loads((report / "results.json").read_text(encoding="utf-8"))
    page = (report / "report.html").read_text(encoding="utf-8")
    experiments = results["experiments"]
    assert "small, 2 digits" in page
    everything = experiments["fig11"]["numbers"]["all"]
    assert everything["samples"] == 3 * 2 * 9 == sum(everything["reasons"].values())
    low, high = everything["tau_interval"]
    assert low <= everything["tau"] <= high
    assert f"{everything['tau']:.2f} % [{low:.2f}, {high:.2f}]" in page
    for experiment in experiments.values():
        assert experiment["claims"]
        for claim in experiment["claims"]:
            assert claim["verdict"] in ("agrees", "differs", "–")


def test_a_command_runs_with_one_blas_thread():
    """Set before NumPy is there; what the library says of itself, where it tells."""
    code = ("import os, sys; from scripts.__main__ import main\n"
            "status = main(['data', 'check'])\n"
            "from scripts.measure.timing import machine\n"
            "print(status, machine([])['threads'], os.environ['OPENBLAS_NUM_THREADS'])")
    environment = {name: value for name, value in os.environ.items() if name not in BLAS_THREADS}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True,
                          capture_output=True)
    assert done.stdout.split()[-3:] in (["0", "1", "1"], ["0", "unknown", "1"]), done.stderr


@pytest.mark.parametrize("name", BLAS_THREADS)
def test_a_users_own_number_of_blas_threads_stays(name, monkeypatch):
    for other in BLAS_THREADS:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "2")
    one_blas_thread()
    assert [os.environ.get(other) for other in BLAS_THREADS] == [
        "2" if other == name else None for other in BLAS_THREADS]


@pytest.mark.parametrize(("words", "shown", "many"), [
    ([], "forward", "backward"), (["--derivative", "forward"], "forward", "forward"),
    (["--derivative", "backward"], "backward", "backward")])
def test_which_derivative_reproduce_takes(words, shown, many, tmp_path, monkeypatch):
    """Fig. 1, 7 and 9 by the forward derivative, as the paper; populations by the backward one."""
    asked = {}
    outcome = Outcome({}, [])

    def noted(name):
        """An experiment that notes what it would craft with."""
        def run(setup):
            """What the setup says."""
            asked[name] = setup.shown, setup.derivative
            return outcome
        return EXPERIMENTS[name]._replace(run=run)

    monkeypatch.setitem(EXPERIMENTS, "fig11", noted("fig11"))
    assert main(["reproduce", "--out", str(tmp_path), "--only", "fig11", *words]) == 0
    assert asked == {"fig11": (shown, many)}


@pytest.mark.parametrize(("shown", "derivatives"), [
    ("forward", ["forward", "backward", "forward"]), (None, ["backward"] * 3)])
def test_fig1_and_fig9_are_crafted_with_the_derivative_that_is_shown(shown, derivatives,
                                                                     monkeypatch):
    asked = []

    def craft(*args, derivative, **options):
        """`attack.craft`, at once."""
        asked.append(derivative)
        options.update(derivative="backward", max_distortion=3)
        return attack.craft(*args, **options)

    monkeypatch.setattr(scripts.paper.experiment, "craft", craft)
    with Setup(quick(), derivative="backward", shown=shown) as setup:
        monkeypatch.setattr(Setup, "one_of_each", setup.load("test", 10)[0])  # read right or not
        for run in (single.fig01, single.fig10, single.fig09):
            run(setup)
    assert asked == derivatives


def test_only_one_experiment(tmp_path):
    assert main(["reproduce", "--out", str(tmp_path), "--only", "fig7"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fig7.npz", "fig7.png", "report.html", "results.json"]


def test_a_picture_that_is_no_longer_drawn_goes(tmp_path):
    for name in ("fig12.png", "fig11.png"):
        (tmp_path / name).write_bytes(b"of an earlier run, or one's own")
    assert main(["reproduce", "--out", str(tmp_path), "--only", "fig12", "--only", "fig11",
                 "--digits", "2", "--jobs", "1"]) == 0
    assert [path.name for path in tmp_path.glob("*.png")] == ["fig11.png"]
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    line = results["experiments"]["fig12"]["no_picture"]
    assert line and line in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_only_adds_to_the_report_that_is_there(tmp_path, capsys):
    """In the order of the paper, with tables and pictures; of other settings it is refused."""
    words = ["reproduce", "--out", str(tmp_path), "--digits", "2", "--jobs", "1"]
    for name in ("fig12", "fig11", "fig7", "fig12"):
        assert main([*words, "--only", name]) == 0
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(results["experiments"]) == ["fig7", "fig11", "fig12"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<h2 id=") == 3 and page.count("<img") == 2 and "validation" in page
    assert main([*words[:-3], "3", "--jobs", "1", "--only", "fig7"]) == 2
    assert "other settings (size" in capsys.readouterr().err
    (tmp_path / "results.json").write_text('{"made by": "jsma reproduce"}')
    assert main([*words, "--only", "fig7"]) == 2
    assert "not the results" in capsys.readouterr().err
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


@pytest.mark.parametrize(("words", "theirs"), [
    (["explain", "--and", "--out", "page.html"], "page.html"),
    *(pytest.param(words.split(), theirs, marks=pytest.mark.slow) for words, theirs in (
        ("craft --index 0 --target 8 --out .", "grid.png"),
        ("train --digits 100 --epochs 1 --out w.npz", "w.npz"),
        ("train --digits 100 --epochs 1 --out w.npz", "w.json"),
        ("reproduce --only fig7 --out .", "report.html"),
        ("survey make --count 1 --theta none --epsilon 0 --out s.html", "s.html"),
        ("survey analyse --out .", "fig16.png")))])
def test_what_a_command_did_not_make_it_does_not_replace(words, theirs, tmp_path, monkeypatch,
                                                         capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / theirs).write_text("mine")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert theirs in said and "--overwrite" in said and (tmp_path / theirs).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [theirs]
    assert main([*words, "--overwrite"]) == 0
    assert (tmp_path / theirs).read_bytes() != b"mine"
    if words[0] != "train":  # which goes on, or is told to
        assert main(words) == 0  # now it is its own


@pytest.mark.parametrize("words", [
    ["craft"], ["reproduce"], ["survey", "analyse"], ["explain"], ["survey", "make"],
    ["bench", "--json"], ["train"]])
def test_where_nothing_can_be_written_is_told_before_the_work(words, tmp_path, monkeypatch, capsys):
    """Root may write everywhere, so the question itself is answered here."""
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    start = time.monotonic()
    option = [] if words[-1] == "--json" else ["--out"]
    name = {"explain": "p.html", "make": "p.html", "train": "w.npz", "--json": "b.json"}
    assert main([*words, *option, str(tmp_path / name.get(words[-1], "sub/folder"))]) == 2
    said = capsys.readouterr().err
    assert "cannot be written" in said and str(tmp_path) in said and time.monotonic() - start < 5
    assert not list(tmp_path.iterdir())


def test_jsma_alone_says_what_to_do_first(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    for word in ("reproduce", "explain", "verify", "craft"):
        assert any(line.strip().startswith(f"jsma {word} ") for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
@pytest.mark.parametrize("columns", [80, 140])
def test_help_fits_the_terminal_and_has_no_marks_of_code(command, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    shown = capsys.readouterr().out
    assert "`" not in shown
    wide = [line for line in shown.splitlines() if len(line) > columns]
    assert not [line for line in wide if " " in line.strip()]  # one long word cannot be broken


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out.startswith("jsma ")


def test_names_from_outside_are_escaped(tmp_path):
    weights = tmp_path / "<b>&'\".npz"
    weights.write_bytes((ROOT / "nn" / "pretrained" / "lenet.npz").read_bytes())
    out = tmp_path / "out"
    assert main(["reproduce", "--out", str(out), "--only", "fig7", "--weights",
                 str(weights)]) == 0
    assert "<b>" not in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_bench_prints_medians(capsys, tmp_path):
    assert main(["bench", "--quick", "--load", "quiet", "--no-peers", "--repeat", "1", "--json",
                 str(tmp_path / "bench.json")]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert len(rows) >= 9 and all(row["what"] in printed and row["median"] > 0 for row in rows)
    assert "kernel" in printed and "GFLOP/s" in printed


@pytest.mark.slow
def test_bench_scale_shows_growth_in_constant_memory(tmp_path):
    assert main(["bench", "--scale", "--repeat", "1", "--json", str(tmp_path / "scale.json")]) == 0
    rows = json.loads((tmp_path / "scale.json").read_text())["rows"]
    assert {row["by"] for row in rows} == {"M", "N", "batch", "samples"}
    few, _, many = (row["memory"] for row in rows if row["by"] == "samples")
    assert many < 1.5 * few
    assert max(row["memory"] for row in rows if "pair search" in row["what"]) < 50
