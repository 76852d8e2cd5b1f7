"""The experiments' numbers by hand, by brute force, by separate runs; words; the full scale."""
import json
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import stats
from small import quick

import scripts.paper.experiment
from attack import adversarial_distance, class_matrix, craft, hardness
from data import load_mnist
from nn import AndNetwork, LeNet
from scripts.__main__ import main
from scripts.paper import single, toy
from scripts.paper.classes import harder, largest_target, no_table
from scripts.paper.experiment import UPSILON, UPSILONS, Setup
from scripts.paper.experiments import EXPERIMENTS
from scripts.paper.hardness import hardness_table
from scripts.paper.intervals import rank_correlation, with_interval
from scripts.paper.outcome import (
    ALWAYS,
    CELL,
    FEWEST,
    WIDEST,
    Claim,
    Outcome,
    always,
    counted,
    measured,
    similar,
)
from scripts.paper.report.results import BY, SETTINGS, earlier, write_results
from scripts.paper.work import Workers, result


@pytest.fixture(scope="module")
def setup():
    with Setup(quick(), derivative="backward", digits=2) as setup:
        yield setup


@pytest.fixture(scope="module")
def shipped():
    with Setup(LeNet.pretrained(), derivative="backward", digits=2) as setup:
        yield setup


def test_samples_hold_every_class_in_turn_and_are_drawn_from_all():
    images, labels = Setup(None).load("test", 1000)
    assert labels[:23].tolist() == [*range(10), *range(10), 0, 1, 2]
    every, classes = load_mnist("test")
    places = {image.tobytes(): place for place, image in enumerate(every)}
    drawn = [places[image.tobytes()] for image in images]
    assert len(set(drawn)) == 1000 and (classes[drawn] == labels).all()
    assert stats.kstest(drawn, "uniform", (0, len(every))).pvalue > 0.01
    setup = Setup(None, digits=7)
    np.testing.assert_array_equal(images[:23], setup.load("test", 23)[0])
    assert [setup.number("test", place) for place in range(23)] == drawn[:23]
    full = Setup(None, scale="full", folder=".")
    np.testing.assert_array_equal(full.load("test", 23)[0], images[:23])
    np.testing.assert_array_equal(full.load("test", 10_000)[0], every)  # the paper's set


@pytest.mark.parametrize("figure", [single.fig01, single.fig10])
def test_a_figure_of_no_success_says_so(figure, shipped, monkeypatch):
    def failing(*args, **options):
        crafted = craft(shipped.network, *args, **{**options, "max_distortion": 0.3})
        crafted.success[:] = False
        return crafted
    monkeypatch.setattr(shipped, "craft", failing)
    outcome = figure(shipped)
    assert outcome.numbers["successes"] == 0
    assert outcome.rows[1].ours == "no sample succeeded"


def test_fig14_is_nine_runs(setup):
    """One run at Υ = 38.3 %, truncated, against one run for each Υ, with Eq. 12 written out."""
    samples = setup.samples("test", 1, max_distortion=max(UPSILONS))
    images = samples.images[samples.index]
    runs = [craft(setup.network, images, samples.targets, derivative="backward",
                  max_distortion=upsilon)
            for upsilon in UPSILONS]
    assert len({run.success.sum() for run in runs}) >= 4  # each Υ adds to the curve
    table = hardness_table(samples)
    for s, t in zip(samples.sources, samples.targets):
        chosen = (samples.sources == s) & (samples.targets == t)
        area = 0.0
        before = None
        for run in runs:
            tau = run.success[chosen].mean()
            epsilon = run.distortion[chosen][run.success[chosen]].mean() if tau else 0.0
            area += 0 if before is None else (tau - before[0]) * (epsilon + before[1]) / 2
            before = tau, epsilon
        assert table[s, t] == pytest.approx(100 * area / 100)
    assert np.isnan(table).sum() == 100 - 9


@pytest.mark.parametrize("upsilon", [1.3, 5.1, UPSILON])
def test_a_part_of_the_samples_is_a_run_of_its_own(setup, upsilon):
    """The first digits, and a smaller Υ: what is crafted once is what a run would have given."""
    swept = setup.samples("test", 2, max_distortion=max(UPSILONS))
    for digits in (1, 2):
        part = swept.part(digits=digits).part(upsilon=upsilon)
        run = craft(setup.network, part.images[part.index], part.targets, derivative="backward",
                    max_distortion=upsilon)
        assert len(part) == 9 * digits and len(part.images) == digits
        for name in ("success", "iterations", "distortion", "reason"):
            np.testing.assert_array_equal(getattr(part, name), getattr(run, name), name)
        adversarial = np.concatenate([images for _, images in part.adversarial()])
        np.testing.assert_array_equal(adversarial, run.adversarial)
        rows = np.concatenate([np.arange(len(part))[rows] for rows, *_ in part.shards()])
        np.testing.assert_array_equal(rows, np.arange(len(part)))
    assert len(swept) == 18 and swept.budget is None


def test_small_and_full_scale_have_the_same_test_samples(setup, tmp_path):
    """Truncated from the sweep over Υ, or crafted for themselves."""
    small = setup.test_samples()
    alone = setup.samples("test", 2)
    for name in ("success", "iterations", "distortion", "reason", "index", "targets"):
        np.testing.assert_array_equal(getattr(small, name), getattr(alone, name), name)


def test_what_several_ask_for_is_made_once(setup):
    made = []

    def make():
        time.sleep(0.02)
        made.append(1)
        return len(made)

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: setup._made_once("asked for", make), range(20)))
    assert results == [1] * 20 and len(made) == 1


def test_workers_give_what_one_process_gives():
    """Results come by name, in any order; what fails is raised here; who dies is one line."""
    with Workers(2) as workers:
        both = dict(workers.all({"a": lambda: result(workers.later(divmod, 7, 2)),
                                 "b": lambda: 5}, lambda: None))
        assert both == {"a": (3, 1), "b": 5}
        with pytest.raises(ZeroDivisionError):
            dict(workers.all({"c": lambda: result(workers.later(divmod, 1, 0))}, lambda: None))
        with pytest.raises(ChildProcessError, match="a process ended before its work"):
            result(workers.later(os._exit, 1))
    with Workers(1) as workers:
        assert workers.later(divmod, 7, 2).result() == (3, 1)
        assert list(workers.all({"a": lambda: 1, "b": lambda: 2}, None)) == [("a", 1), ("b", 2)]


def test_an_experiment_that_fails_ends_all(tmp_path, capsys, monkeypatch):
    """In one line, without waiting for what the others have asked for."""
    def broken(setup):
        raise OSError("no such luck")

    monkeypatch.setitem(EXPERIMENTS, "fig3", EXPERIMENTS["fig3"]._replace(run=broken))
    assert main(["reproduce", "--only", "fig3", "--only", "decreasing", "--only", "fig11",
                 "--digits", "200", "--jobs", "2", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "jsma: error: no such luck\n"
    assert not list(tmp_path.glob(".*")) and not multiprocessing.active_children()


def test_hardness_by_hand():
    """τ 0, ½, 1 at ε –, 2, 4: a triangle of ½·2/2 and a trapezoid of ½·(2 + 4)/2."""
    assert hardness(np.array([0.0, 0.5, 1.0]),
                    np.array([np.nan, 2.0, 4.0])) == pytest.approx(0.5 + 1.5)


def test_adversarial_distance_by_brute_force(shipped):
    images = load_mnist("test")[0][:2].astype(np.float64)
    distances = adversarial_distance(shipped.network, images, derivative="backward")
    for image, row in zip(images, distances):
        jacobian = shipped.network.forward_derivative(image[None])[0]
        for t in (0, 7):
            alpha = jacobian[t]
            beta = jacobian.sum(axis=0) - alpha
            of_pairs = alpha[:, None] + alpha, beta[:, None] + beta  # (784, 784) each
            good = np.triu((of_pairs[0] > 0) & (of_pairs[1] < 0), 1).sum()
            expected = 1 - good / (784 * 783 / 2)
            # 30 pairs: sums within rounding of 0
            assert row[t] == pytest.approx(expected, abs=1e-4)


def test_the_share_of_leaving_by_hand():
    """A network that reads the number of lit pixels: 0 up to two, 1 up to four, then 2."""
    class Counting:
        def predict(self, x):
            return np.digitize(x.reshape(len(x), -1).sum(axis=1), [2.5, 4.5])

    pairs = np.array([[[0, 1], [2, 3], [4, 5]], [[0, 1], [-1, -1], [-1, -1]], [[-1, -1]] * 3])
    share = single.share_of_leaving(Counting(), np.zeros((3, 6)), pairs, np.zeros(3, int))
    # two iterations end or begin as 0; the one; none
    np.testing.assert_allclose(share, [2 / 3, 1, 0])


def test_the_and_network_that_is_shipped():
    outcome = toy.fig03(Setup(None))
    network = AndNetwork.pretrained()
    low, high = outcome.numbers["from_0.11_to_0.95"]
    edge = network.probabilities(np.array([[1, low], [1, high]]))[:, 0]
    np.testing.assert_allclose(edge, [0.11, 0.95], atol=1e-9)
    step_size = 1e-6
    points = np.array([[1.0, 0.5 - step_size], [1.0, 0.5 + step_size]])
    difference = np.diff(network.probabilities(points)[:, 0])[0] / (2 * step_size)
    assert outcome.arrays["slope"][100, 50] == pytest.approx(difference, rel=1e-4)
    answers = network.probabilities(np.array([[0.3, 0.7], [0.8, 0.6], [0, 0], [1, 1]]))[:, 0]
    assert np.round(answers).tolist() == [0, 1, 0, 1]


@pytest.mark.slow
def test_the_and_network_is_what_training_gives():
    shipped, fresh = AndNetwork.pretrained().parameters(), toy.trained().parameters()
    for name, array in shipped.items():
        np.testing.assert_allclose(fresh[name], array, rtol=1e-6)


def test_rank_correlation_and_its_interval():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(10, 10))
    b = a + rng.normal(size=(10, 10))
    a[np.eye(10, dtype=bool)] = np.nan
    rho, (low, high) = rank_correlation(a, b)
    off = ~np.eye(10, dtype=bool)
    assert rho == pytest.approx(stats.spearmanr(a[off], b[off]).statistic) and low < rho < high
    assert np.isnan(rank_correlation(np.ones((10, 10)), b)[0])
    assert np.isnan(rank_correlation(a, np.full((10, 10), np.nan))[0])
    covered = 0
    # of 90 independent cells: without any relation it holds 0 in 95 of 100 draws
    for _ in range(300):
        low, high = rank_correlation(rng.normal(size=(9, 10)), rng.normal(size=(9, 10)))[1]
        covered += low <= 0 <= high
    assert 0.9 <= covered / 300 <= 0.99


@pytest.mark.parametrize(("noise", "cells", "expected"), [
    (0.1, 90, "agrees"), (5.0, 90, "differs"), (0.1, 30, "–"), (1.2, 60, "–")])
def test_tables_are_similar_beyond_their_interval(noise, cells, expected):
    """A weak relation is none: not every correlation above 0 is a likeness."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(9, 10))
    a.reshape(-1)[cells:] = np.nan
    b = a + noise * rng.normal(size=a.shape)
    assert similar("claim", a, b, CELL).verdict == expected
    few = similar("claim", a, b, CELL - 1)
    assert few.verdict == "–" and few.why.startswith("too few: ")


def test_verdicts_follow_the_interval():
    assert measured("τ", 97.1, 96.9, (96.0, 98.0), 50).verdict == "agrees"
    assert measured("τ", 97.1, 95.0, (94.0, 96.0), 50)[3:] == (
        "differs", "the paper's value lies above our 95 % interval")
    assert measured("τ", 97.1, float("nan"), (float("nan"),) * 2, 50).verdict == "–"
    assert with_interval(float("nan"), (1, 2)) == "–"
    assert with_interval(1.0, (0.5, 2.0), " %", ".1f") == "1.0 % [0.5, 2.0]"


@pytest.mark.parametrize(("interval", "expected"), [
    ((96.0, 97.096), "agrees"), ((96.0, 97.094), "differs"),
    ((97.104, 98.0), "agrees"), ((97.106, 98.0), "differs")])
def test_a_printed_number_stands_for_what_rounds_to_it(interval, expected):
    """97.10 % is anything from 97.095 to 97.105 %."""
    assert measured("τ", 97.1, np.mean(interval), interval, 50).verdict == expected


def test_a_report_says_all_that_computed_it(tmp_path):
    about = dict.fromkeys(SETTINGS, "")
    outcomes = {"fig7": Outcome({}, [])}
    for by in ("NumPy", "torch on cuda", "NumPy"):
        here = {**about, BY: by}
        earlier(tmp_path, here)
        write_results(tmp_path, outcomes, here, {"fig7": "Fig. 7"})
    written = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert written["about"][BY] == "NumPy, torch on cuda"


@pytest.mark.parametrize(("paper", "interval", "draws", "expected"), [
    (97.4, (34.0, 100.0), 2, "–"), (97.4, (34.0, 100.0), 500, "–"),
    (97.4, (97.0, 98.0), FEWEST - 1, "–"), (97.4, (97.0, 98.0), FEWEST, "agrees"),
    (4.0, (3.0, 3.0 + 4.0 * WIDEST), 9, "agrees"), (4.0, (3.0, 3.1 + 4.0 * WIDEST), 9, "–"),
    (97.4, (0.0, 90.0), FEWEST, "differs"), (97.4, (0.0, 90.0), FEWEST - 1, "–")])
def test_a_verdict_needs_enough_samples(paper, interval, draws, expected):
    """Few draws are none; a wide interval holds every value, but what it leaves out differs."""
    row = measured("claim", paper, np.mean(interval), interval, draws)
    assert row.verdict == expected
    assert row.why.startswith("too few: ") == (expected == "–") and "[" in row.ours


def test_what_is_not_judged_is_not_too_few():
    open_one = Claim("claim", "more", "less", "–", "the intervals overlap")
    assert counted(open_one, 1) == open_one
    assert counted(open_one._replace(verdict="agrees"), 1, "people").why == (
        "too few: 1 of the 5 people that are needed; the intervals overlap")


def test_always_needs_more_samples_than_never_failing():
    """One exception refutes it, in however few samples; to agree, the interval must be high."""
    for happens, low, expected in (([True] * 8, ALWAYS, "–"), ([True] * 8, ALWAYS + 1, "agrees"),
                                   ([True, False], 1.0, "differs"), ([], float("nan"), "–")):
        row = always("claim", np.array(happens, bool), (low, 100.0), "why")
        assert row.verdict == expected, happens


@pytest.mark.parametrize(("digits", "ahead", "expected"), [
    (40, 1, "agrees"), (40, 7, "differs"), (40, None, "–"), (FEWEST - 1, 1, "–")])
def test_the_largest_is_so_in_nearly_every_draw(digits, ahead, expected):
    rng = np.random.default_rng(0)
    index, targets = np.repeat(np.arange(digits), 10), np.tile(np.arange(10), digits)
    values = rng.normal(5, 1, len(index)) + 4 * (targets == ahead)
    row = largest_target("claim", values, index, targets, "{:.1f}")
    assert row.verdict == expected
    assert row.ours == f"{np.bincount(targets, values).argmax()}"
    values[targets == 3] = np.nan
    assert largest_target("claim", values, index, targets, "{:.1f}").ours == "–"


def test_a_table_needs_several_samples_a_pair():
    sources, targets = np.divmod(np.delete(np.arange(100), np.arange(0, 100, 11)), 10)
    assert no_table(np.tile(sources, CELL), np.tile(targets, CELL)) == ""
    assert no_table(sources, targets).startswith("no picture: some pair of classes has 1 of")
    assert "no picture" in no_table(np.tile(sources, CELL)[1:], np.tile(targets, CELL)[1:])


@pytest.mark.parametrize(("hard", "easy", "expected"), [
    (0.5, 1.0, "agrees"), (1.0, 0.5, "differs"), (0.9, 0.9, "–")])
def test_two_groups_of_classes_are_compared_by_their_intervals(hard, easy, expected):
    class Made:
        sources = np.repeat(np.arange(10), 200)
        index = np.arange(2000)
        probability = np.where(np.isin(sources, (0, 2, 8)), hard, easy)
        success = np.random.default_rng(0).random(2000) < probability
    matrix = class_matrix(Made.success, Made.sources, Made.sources)
    row = harder("claim", Made, Made.sources, (0, 2, 8), (1, 7, 9), np.diag(matrix))
    assert row.verdict == expected


@pytest.mark.slow
def test_the_full_scale_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    """The paper's sizes cut to 10 digits and shards of 18; stopped in the middle, it goes on."""
    monkeypatch.setattr(Setup, "sized", lambda self, paper, small=None: 10)
    monkeypatch.setitem(scripts.paper.experiment.SHARD, "full", 18)
    words = ["reproduce", "--scale", "full", "--derivative", "backward", "--only", "fig14",
             "--only", "fig13"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    original = scripts.paper.experiment.craft_run
    calls = []

    def stopped(*args, progress, **options):
        def stop(done, total):
            calls.append(done)
            progress(done, total)
            if done > 30:
                raise KeyboardInterrupt
        return original(*args, progress=stop, **options)

    monkeypatch.setattr(scripts.paper.experiment, "craft_run", stopped)
    assert main([*words, "--out", str(tmp_path / "part")]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "part" / "results.json").exists()
    monkeypatch.setattr(scripts.paper.experiment, "craft_run", original)
    assert main([*words, "--out", str(tmp_path / "part")]) == 0
    assert "36 of 90 samples are there; going on" in capsys.readouterr().err
    whole, part = (json.loads((tmp_path / name / "results.json").read_text())["experiments"]
                   for name in ("whole", "part"))
    assert whole == part and whole["fig14"]["numbers"]["samples"] == 90
    assert main([*words, "--out", str(tmp_path / "part"), "--weights", "nowhere.npz"]) == 2


@pytest.mark.slow
def test_jobs_change_nothing(tmp_path):
    words = ["reproduce", "--derivative", "backward", "--digits", "6", "--only", "decreasing"]
    for jobs in ("1", "2"):
        assert main([*words, "--jobs", jobs, "--out", str(tmp_path / jobs)]) == 0
    one, two = (json.loads((tmp_path / jobs / "results.json").read_text())["experiments"]
                for jobs in ("1", "2"))
    assert one == two


@pytest.mark.slow
def test_both_derivatives_choose_alike_and_a_difference_would_be_seen(shipped):
    outcome = single.identical(shipped)
    assert outcome.numbers == {"samples": 9, "same": 9, "again_with": "forward"}
    samples = shipped.test_samples()
    samples.targets = (samples.targets + 1) % 10  # crafted again to other targets
    try:
        assert single.identical(shipped).numbers["same"] < 5
    finally:
        samples.targets = (samples.targets - 1) % 10
