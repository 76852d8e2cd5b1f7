"""`jsma bench`: its goals, its arithmetic, what it prints; nothing here asserts how long a thing
takes."""
import json
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

import scripts.bench
from scripts.__main__ import BLAS_THREADS, main
from scripts.measure import benchmarks, beside, peers, table, timing, waits
from scripts.measure.beside import Work
from scripts.measure.rows import LOADS, ROWS, Number, Row
from scripts.measure.timing import Reading, Trial
from scripts.terminal.options import cores

# What a person waits for: the row, its unit, the goal quiet and busy
GOALS = """
reproduce | s | ≤ 60   | ≤ 180
reproduce | s | ≤ 5    | ≤ 15
tests     | s | ≤ 100  | ≤ 300
explain   | s | ≤ 2    | ≤ 5
forward   | % | ≥ 45   | ≥ 20
forward   | × | ≥ 30   |
one       | × | ≤ 1.5  |
ways      | × | ≤ 8    |
crafting  | × | ≥ 12   | ≥ 6
crafting  | × | ≥ 70   | ≥ 35
check     | s | ≤ 1.5  |
training  | × | ≤ 0.8  |
"""


def test_each_goal_has_its_line():
    lines = []
    for name, row in ROWS.items():
        if row.loads == LOADS:
            lines += [[name, number.unit, *(f"{number.sign} {number.goal(load):g}"
                                            if number.goal(load) else "" for load in LOADS)]
                      for number in row.numbers if number.quiet is not None]
    goals = [[" ".join(cell.split()) for cell in line.split("|")]
             for line in GOALS.strip().splitlines()]
    assert lines == goals
    assert len({number.what for row in ROWS.values() for number in row.numbers}) > 20


@pytest.mark.parametrize(("sign", "value", "met"), [
    ("≤", 2, True), ("≤", 2.01, False), ("≥", 2, True), ("≥", 1.99, False)])
def test_a_goal_is_met_or_missed(sign, value, met):
    number = Number("what", "s", sign, quiet=2)
    assert number.met("quiet", value) is met and number.met("busy", value) is None


# timings

def test_actions_are_timed_in_turn_after_a_round_that_does_not_count(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    calls = []
    times = timing.alternating([lambda: calls.append("a"), lambda: calls.append("b")], 4)
    assert "".join(calls) == "ab" * 5 and times == [[1] * 4] * 2


def test_times_share_and_ratios(monkeypatch):
    """Two rounds: ours 2 and 4 s for 4 samples, a peer 6 and 8 s for 2."""
    monkeypatch.setattr(beside, "alternating", lambda actions, repeat: [[2, 4], [6, 8]])

    def other():
        return Work(2, None, "in pairs")

    def absent():
        raise ImportError("No module named 'nothing'")

    ours = Work(4, None)
    time, share, missing, ratio = beside.beside(Trial(2, True, 1.0), "ms", ours, [absent, other],
                                                mflop=100)
    assert time == Reading([500, 1000])
    assert share.values == pytest.approx([20, 10])  # 0.1 s at 1 GFLOP/s, of 0.5 and 1 s
    assert missing == Reading([], "not installed: No module named 'nothing'")
    assert ratio == Reading([6, 4], "in pairs")
    assert beside.beside(Trial(2, False, 1.0), "ms", ours, [other]) == [time]


def test_the_fastest_way_is_the_one_for_a_sample(monkeypatch):
    monkeypatch.setattr(beside, "alternating", lambda actions, repeat: [[1], [4], [3]])
    works = [Work(1, None, "one"), Work(8, None, "eight"), Work(4, None, "four")]
    assert beside.fastest(works).what == "eight"


def test_the_product_speed_is_that_of_a_product_on_each_core_at_once(monkeypatch):
    """The products wait for each other: if they did not run at once, the barrier would break."""
    together = threading.Barrier(3, timeout=10)
    monkeypatch.setattr(timing, "cores", lambda: 3)
    monkeypatch.setattr(timing, "_blas", lambda: {"threads": 1})
    monkeypatch.setattr(timing, "_once", lambda action: (action(), 0.5)[1])
    monkeypatch.setattr(np, "matmul", lambda *_: together.wait())
    assert timing.product_speed(size=1000, rounds=2) == pytest.approx(2e-9 * 3 * 1e9 / 0.5)
    together = threading.Barrier(1)
    monkeypatch.setattr(timing, "_blas", lambda: {"threads": 3})
    assert timing.product_speed(size=1000, rounds=2) == pytest.approx(2e-9 * 1e9 / 0.5)


def test_torch_has_all_cores():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(cores() + 1)
        assert peers._torch().get_num_threads() == cores()
    finally:
        torch.set_num_threads(before)


# rows

@pytest.fixture
def small(monkeypatch):
    """Few samples; peers, crafting and checks that do nothing.

    The names and sizes with which peers were asked.
    """
    asked = []

    def craft(network, images, targets, **options):
        """All samples stay in work."""
        return SimpleNamespace(iterations=np.full(len(images), benchmarks.ITERATIONS))

    def peer(name):
        def make(network, images, *rest):
            asked.append((name, len(images)))
            return lambda: None
        return make

    for name in ("jacfwd", "jacrev", "epoch", "art", "torchattacks"):
        monkeypatch.setattr(peers, name, peer(name))
    monkeypatch.setattr(benchmarks, "craft", craft)
    monkeypatch.setattr(benchmarks, "check_network", lambda network, x: network.logits(x))
    for name, value in {"DIGITS": 12, "FEW": 1, "ACTIVE": 4, "TRAINING": 128}.items():
        monkeypatch.setattr(benchmarks, name, value)
    return asked


@pytest.mark.parametrize(("name", "others"), [
    ("forward", 1), ("one", 0), ("ways", 0), ("crafting", 2), ("check", 0), ("training", 1),
    ("logits", 0), ("backward", 1), ("step-backward", 0), ("step-forward", 0), ("pairs", 1),
    ("pairs-random", 1), ("pairs-large", 0)])
def test_a_row_gives_its_numbers(name, others, small):
    """Without other libraries the last ones are left out."""
    row = ROWS[name]
    readings = row.measure(Trial(1, True, 1.0))
    assert len(readings) == len(row.numbers)
    assert all(len(reading.values) == 1 and reading.values[0] > 0 for reading in readings)
    small.clear()
    assert len(row.measure(Trial(1, False, 1.0))) == len(row.numbers) - others
    assert not small


def test_the_other_libraries_get_the_same_samples(small):
    benchmarks.crafting(Trial(1, True, 1.0))
    assert small == [("art", 90), ("art", 90), ("art", 108), ("torchattacks", 9)]
    small.clear()
    benchmarks.forward(Trial(1, True, 1.0))
    benchmarks.training(Trial(1, True, 1.0))
    assert small == [("jacfwd", 1), ("jacfwd", 16), ("jacfwd", 64), ("epoch", 128)]


def test_ratios_of_a_row_by_hand(monkeypatch):
    """Clocks that stand still: seconds are given; one sample, crafting and training."""
    def given(*seconds):
        return lambda actions, repeat: [[value] for value in seconds]

    monkeypatch.setattr(benchmarks, "alternating", given(0.003, 0.016))
    assert [reading.values for reading in benchmarks.one_sample(Trial(1, True, 1.0))] == [
        [3], [pytest.approx(3)]]  # ms; 1 ms each of sixteen
    monkeypatch.setattr(benchmarks, "alternating", given(1.8, 0.3))
    assert [reading.values[0] for reading in benchmarks.both_ways(Trial(1, True, 1.0))] == (
        pytest.approx([10, 6]))   # 180 samples
    monkeypatch.setattr(beside, "alternating", given(2, 4))
    monkeypatch.setattr(peers, "epoch", lambda *_: None)
    time, _, ratio = benchmarks.training(Trial(1, True, 1.0))
    assert time.values[0] == pytest.approx(2 * 50_000 / 5120) and ratio.values == [0.5]


# commands

WRITES = """
import pathlib, sys
print("Something, but no figure", flush=True)
out = pathlib.Path(sys.argv[-1])
out.mkdir()
(out / "NAME").touch()
print("Fig. 1", flush=True)
print("Fig. 2", flush=True)
"""


@pytest.mark.parametrize(("name", "allowed"), [("fig1.png", [[1], [2]]), ("fig1.npz", [[]])])
def test_the_first_figure_is_there_when_its_line_is(name, allowed, monkeypatch):
    """The clock counts the lines that have come; the first may come when the figure is there."""
    monkeypatch.setattr(waits, "JSMA", (sys.executable, "-c", WRITES.replace("NAME", name)))
    seen = []
    running = waits._running

    @contextmanager
    def noted(words):
        with running(words) as lines:
            yield (seen.append(line) or line for line in lines)

    monkeypatch.setattr(waits, "_running", noted)
    monkeypatch.setattr(waits.time, "perf_counter", lambda: len(seen))
    whole, first = waits.reproduce(None)
    assert whole.values == [3] and first.values in allowed
    assert bool(first.note) is not bool(first.values)


def test_a_command_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(waits, "JSMA", (sys.executable, "-c", "import sys; print('a'); "
                                        "print('b\\nthe end', file=sys.stderr); sys.exit(3)"))
    for measure in (waits.reproduce, waits.explain, waits.beginning):
        with pytest.raises(ChildProcessError, match="^exit status 3 the end$"):
            measure(Trial(1, False, 1.0))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_command_ends_where_we_are_ended(error):
    with pytest.raises(error), waits._running([sys.executable, "-c", "print(1, flush=True)\n"
                                               "import time; time.sleep(600)"]) as lines:
        next(lines)
        raise error
    assert lines.closed


def test_the_default_tests_run_only_in_a_checkout(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(waits, "_run", lambda words, env: calls.append(words))
    monkeypatch.setattr(waits, "ROOT", tmp_path)
    (reading,) = waits.default_tests(None)
    assert not calls and not reading.values and "checkout" in reading.note
    (tmp_path / "tests").mkdir()
    (tmp_path / "setup.cfg").touch()
    (reading,) = waits.default_tests(None)
    assert len(calls) == 1 and "pytest" in calls[0] and len(reading.values) == 1


@pytest.mark.parametrize(("values", "stay"), [
    (["1"] * len(BLAS_THREADS), 0), (["1", "2"], 2), (["1"], 1), ([], 0)])
def test_the_tests_get_the_users_own_blas_threads(values, stay, monkeypatch):
    for name in BLAS_THREADS:
        monkeypatch.delenv(name, raising=False)
    for name, value in zip(BLAS_THREADS, values):
        monkeypatch.setenv(name, value)
    assert len(waits._environment().keys() & set(BLAS_THREADS)) == stay


# the table

@pytest.fixture
def quiet_only(monkeypatch):
    """No loops: what the block for them was asked for instead."""
    asked = []

    @contextmanager
    def busy(count):
        asked.append(count)
        shares = []
        yield shares
        shares.append(0.5)

    monkeypatch.setattr(table, "busy", busy)
    monkeypatch.setattr(table, "product_speed", lambda: 7.0)
    monkeypatch.setattr(scripts.bench, "machine", lambda packages: {"cores": 2})
    return asked


def fail(trial):
    raise ChildProcessError("exit status 1 the last words")


def rows(trials):
    """A row with peers, one that fails, one that is measured quiet only."""
    def measure(trial):
        """Twice as slow when it is called for the second time."""
        trials.append(trial)
        ours = [Reading([1.0 * len(trials), 2.0 * len(trials), 90.0])]
        return [*ours, Reading([3], "batch 16"), Reading([], "not installed: no such thing")][
            :3 if trial.peers else 1]

    return {"first": Row(measure, (Number("first", "s", "≤", 2, 3), Number("  peer", "×", "≥", 4),
                                   Number("  other", "×", "≥", 4)), minutes=True),
            "second": Row(fail, (Number("second", "s"),)),
            "step": Row(lambda trial: [Reading([1234.5])], (Number("step", "µs"),), ("quiet",))}


def test_what_the_command_prints_and_writes(quiet_only, monkeypatch, capsys, tmp_path):
    trials = []
    monkeypatch.setattr(scripts.bench, "ROWS", rows(trials))
    path = tmp_path / "bench.json"
    assert main(["bench", "--repeat", "4", "--json", str(path)]) == 1  # a row failed
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert printed[2:] == [
        "what quiet goal busy goal", "first 2 s ≤ 2 s ✓ 4 s ≤ 3 s ✗",
        "peer 3 × ≥ 4 × ✗ – batch 16", "other – ≥ 4 × – not installed: no such thing",
        "second – – failed: exit status 1 the last words", "step 1234 µs –",
        f"busy: each of the {cores()} loops had 50 to 50 % of a core"]
    assert trials == [Trial(4, True, 7.0), Trial(4, False, 7.0)]  # busy peers have no goal
    assert quiet_only == [cores()] * 2
    entries = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [(entry["row"], entry["what"], entry["load"]) for entry in entries] == [
        ("first", "first", "quiet"), ("first", "  peer", "quiet"), ("first", "  other", "quiet"),
        ("first", "first", "busy"), ("second", "second", "quiet"), ("second", "second", "busy"),
        ("step", "step", "quiet")]
    assert entries[3] == {"row": "first", "what": "first", "unit": "s", "load": "busy",
                          "median": 4, "timings": [2, 4, 90], "goal": 3, "met": False,
                          "note": "", "loops": 0.5}
    assert entries[4]["missing"].startswith("failed") and entries[4]["failed"]
    assert not entries[2]["failed"]


@pytest.mark.parametrize(("words", "names", "loads"), [
    (["--quick", "--only-nothing"], None, None),
    (["--only", "step", "--only", "second"], {"second", "step"}, {"quiet", "busy"}),
    (["--only", "step", "--load", "busy"], {"step"}, {"busy"}),
    (["--quick", "--load", "quiet"], {"second", "step"}, {"quiet"})])
def test_which_rows_are_measured(words, names, loads, quiet_only, monkeypatch, tmp_path):
    monkeypatch.setattr(scripts.bench, "ROWS", rows([]))
    path = tmp_path / "bench.json"
    status = main(["bench", *words, "--json", str(path)])
    if names is None:
        assert status == 2 and not path.exists()
        return
    entries = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert {entry["row"] for entry in entries} == names
    assert {entry["load"] for entry in entries} == loads


def test_busy_peers_are_measured_where_that_is_asked_for(quiet_only, monkeypatch):
    trials = []
    monkeypatch.setattr(scripts.bench, "ROWS", rows(trials))
    assert main(["bench", "--only", "first", "--load", "busy"]) == 0
    assert main(["bench", "--only", "first", "--load", "busy", "--no-peers"]) == 0
    assert [trial.peers for trial in trials] == [True, False]


@pytest.mark.parametrize(("words", "said"), [
    (["--only", "nothing"], ["--only", "'nothing'", "reproduce", "training"]),
    (["--only", "tests", "--quick"], ["--quick", "--only"]), (["--load", "noisy"], ["'noisy'"]),
    (["--quick", "--scale"], ["--quick", "--scale"]), (["--repeat", "0"], ["--repeat"])])
def test_a_wrong_word_gets_one_line(words, said, capsys):
    assert main(["bench", *words]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("jsma: error: ") and printed.count("\n") == 1
    assert all(word in printed for word in said), printed


@pytest.mark.slow
def test_rows_of_the_command_are_measured(capsys, tmp_path):
    """The quickest one as it is, with the real loops."""
    path = tmp_path / "bench.json"
    assert main(["bench", "--only", "one", "--repeat", "1", "--json", str(path)]) == 0
    entries = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert {entry["what"] for entry in entries} == {n.what for n in ROWS["one"].numbers}
    assert all(entry["median"] > 0 and len(entry["timings"]) == 1 for entry in entries)
    assert all(entry["loops"] > 0 for entry in entries if entry["load"] == "busy")
    assert "loops had" in capsys.readouterr().out
