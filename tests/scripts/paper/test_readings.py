"""The readings of the paper: each is what its own run gives; draws of ten digits by counting; the
derivative in single precision by hand; what is said of a claim that differs."""
from types import SimpleNamespace

import numpy as np
import pytest
from small import Small, quick, some_samples

from nn import LeNet
from nn.models import LENETS
from scripts.paper import outcome
from scripts.paper.experiment import Setup
from scripts.paper.experiments import EXPERIMENTS
from scripts.paper.figures import FIGURES, png
from scripts.paper.outcome import Claim, Outcome
from scripts.paper.readings import table as module
from scripts.paper.readings.rounded import RoundedSoftmax
from scripts.paper.readings.table import (
    PaperReading,
    contradiction,
    readings,
    readings_of,
    reasons,
    stored,
)
from scripts.paper.readings.tens import PAPER, draws
from scripts.paper.report.page import page

QUICK = ("fig11", "decreasing", "fig13", "fig15")


@pytest.fixture(scope="module", params=[
    QUICK, pytest.param((*QUICK, "theta"), marks=pytest.mark.slow)], ids=["quick", "theta"])
def names(request):
    """Some of the experiments."""
    return request.param


@pytest.fixture(scope="module")
def few(names):
    """One digit, one network, these experiments."""
    chosen = {name: module.EXPERIMENTS[name] for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcome, "FEWEST", 1)  # it is not the verdicts that are tested here
        patch.setattr(outcome, "WIDEST", np.inf)
        patch.setattr(module, "EXPERIMENTS", chosen)
        patch.setattr(module, "LENETS", {"lenet": "tanh"})
        with Setup(quick(), derivative="backward", digits=1) as setup:
            yield readings(setup)


def test_every_reading_is_tried_and_named(few):
    listed = [PaperReading(one["network"], one["of"], one["rule"])
              for one in few.numbers["readings"]]
    assert len(listed) == len(set(listed)) == 13
    assert {reading.of for reading in listed} == {"logits", "centred", "probabilities", "rounded"}
    assert {reading.rule for reading in listed} == {"paper", "unsaturated", "once", "cleverhans"}
    assert str(listed[0]) == "lenet, logits" and few.numbers["samples"] == 9


@pytest.mark.parametrize("reading", [
    PaperReading("lenet"), PaperReading("lenet", "probabilities"),
    PaperReading("lenet", "logits", "once"), PaperReading("lenet", "centred", "cleverhans"),
    PaperReading("lenet", "rounded")], ids=str)
def test_a_reading_is_what_a_run_of_its_own_gives(few, names, reading):
    """What readings share (steps of 1, the sweep over Υ) changes none of them."""
    one, = (one for one in few.numbers["readings"]
            if (one["network"], one["of"], one["rule"]) == reading)
    rounded = reading.of == "rounded"
    with Setup(RoundedSoftmax(quick()) if rounded else quick(), derivative="backward", digits=1,
               of="logits" if rounded else reading.of, rule=reading.rule,
               sets=("test",)) as alone:
        for name in names:
            expected = module.EXPERIMENTS.get(name, EXPERIMENTS[name].run)(alone).rows
            claims = [claim for claim in one["claims"] if claim["experiment"] == name]
            for row, claim in zip(expected, claims, strict=True):
                assert row._asdict() == {key: claim[key] for key in row._asdict()}


def test_the_table_and_the_picture_hold_every_claim_that_is_judged(few):
    heads, rows = few.table
    verdict = few.arrays["verdict"]
    assert verdict.shape == few.arrays["shown"].shape == (len(rows), 13)
    assert heads[2:] == tuple(few.arrays["readings"]) and len(few.arrays["claims"]) == len(rows)
    for row, judged in zip(rows, verdict):
        assert [{"agrees": 1, "differs": -1}.get(claim.verdict, 0) for claim in row[2:]
                ] == judged.tolist() and judged.any()
    counts = (verdict == 1).sum(axis=0)
    assert (np.diff(counts) <= 0).all()  # the best one first
    agreed = {(one["network"], one["of"], one["rule"]): one["agrees"]
              for one in few.numbers["readings"]}
    assert sorted(agreed.values(), reverse=True) == counts.tolist()
    assert few.rows[0].ours == heads[2] and f"{counts[0]} of {len(rows)}" in few.rows[0].why
    for row, judged in zip(rows, verdict):
        said = any(one.claim == f"no reading tried here gives it: {row[0]}" for one in few.rows)
        assert said == (judged < 1).all()
    assert png(FIGURES["readings"](few.arrays)).startswith(b"\x89PNG")


def test_the_report_colours_each_cell_by_its_verdict(few):
    html = page({"readings": few}, {"size": "small"}, {}, EXPERIMENTS)
    _, rows = few.table
    cells = [claim for row in rows for claim in row[2:]]
    for word in ("agrees", "differs"):
        assert html.count(f"<td class='{word}' data-label='lenet") == sum(
            claim.verdict == word for claim in cells) > 0


def test_networks_whose_output_layer_started_at_zero_need_one_kind_of_logits():
    assert [reading.of for reading in readings_of("paper-9-20")] == ["logits", "probabilities"]
    longest = [name for name in LENETS if name.startswith("paper-0-")]
    for name in longest[:1]:
        network = LeNet.pretrained(name)
        assert np.abs(network.layers["fc2"].parameters["weight"].sum(axis=0)).max() < 1e-5


def test_the_paper_s_three_numbers_by_hand():
    row = contradiction()
    assert "18.5 %" in row.ours                          # (4.44 − 0.971·4.02) / 0.029
    assert "14.29 %" in row.why and "4.32 %" in row.why  # 112 of 784; 0.971·4.02 + 0.029·14.29
    fits = contradiction(of_all=0.971 * 4.02 + 0.029 * 10)
    assert "failures of 10.0 %" in fits.ours


def test_draws_of_ten_digits_by_counting(monkeypatch):
    """Two classes and three digits of each: every set that can be drawn, and no other."""
    rng = np.random.default_rng(0)
    index = np.arange(6)
    samples = SimpleNamespace(
        index=index, sources=index % 2, success=index != 2,
        distortion=np.round(10 * rng.random(6), 2) + index,
        reason=np.array(["target_reached"] * 5 + ["already_target"]))
    assert draws(samples, 2) is None  # too few digits to draw from
    monkeypatch.setattr("scripts.paper.readings.tens.LEAST", 2)
    every, numbers = draws(samples, 2)
    sets = {(a, b) for a in (0, 2, 4) for b in (1, 3)}  # digit 5 is misread
    expected = {}
    for chosen in sets:
        of_set = [samples.distortion[k] for k in chosen if samples.success[k]]
        expected[chosen] = (all(samples.success[k] for k in chosen), min(of_set), max(of_set),
                            np.mean(of_set))
    drawn = set(zip(every.tolist(), *(numbers[name].tolist() for name in PAPER)))
    assert drawn == set(expected.values())
    assert every.mean() == pytest.approx(2 / 3, abs=0.05)
    samples.reason[3] = "already_target"
    assert draws(samples, 2) is None  # only one digit of class 1 is read correctly


def test_the_rounded_derivative_by_hand():
    """Where no probability is near 1 it is the derivative of the probabilities; where one is, β is
    rounding."""
    network, (images, _) = Small(), some_samples(5, dtype=np.float32)
    rounded = RoundedSoftmax(network)
    exact = network.forward_derivative(images.astype(float), of="probabilities")
    one_hot = np.broadcast_to(np.eye(4), (5, 4, 4))
    for jacobian in (rounded.forward_derivative(images),
                     rounded.backward_derivative(images, one_hot)):
        assert jacobian.dtype == np.float32
        np.testing.assert_allclose(jacobian, exact, atol=1e-6)
    sure = Small()
    sure.layers["4"].parameters["bias"][:] = [9, 0, -30, 0]  # p_2 is below 1e-14
    exact, jacobian = (table[:, 2] + (table.sum(axis=1) - table[:, 2]) for table in (
        sure.forward_derivative(images.astype(float), of="probabilities"),
        RoundedSoftmax(sure).forward_derivative(images)))  # α + β, which is 0
    alpha = np.abs(RoundedSoftmax(sure).forward_derivative(images)[:, 2]).max()
    assert np.abs(exact).max() < alpha / 100 and np.abs(jacobian).max() > 100 * alpha


def row(verdict, claim="success rate τ", why="the paper's value lies above"):
    return Claim(claim, "97.10 %", "96 %", verdict, why)


@pytest.mark.parametrize(("verdicts", "said"), [
    (("differs", "differs"), "lies above; readings: none tried here gives it"),
    (("agrees", "differs"), "lies above; readings: on 3 digits it agrees as lenet, logits (96 %)"),
    (("agrees", "agrees"),
     "readings: on 3 digits it agrees as lenet, logits (96 %); lenet, centred, once (96 %)")])
def test_a_claim_that_differs_says_which_reading_gives_it(verdicts, said):
    listed = [{"network": "lenet", "of": of, "rule": rule, "agrees": 1, "claims": [
                  {"experiment": "fig11", **row(word)._asdict()}]}
              for (of, rule), word in zip((("logits", "paper"), ("centred", "once")), verdicts)]
    outcomes = {"fig11": Outcome({}, [row("differs"), row("agrees"), row("differs", "other")]),
                "readings": Outcome({"samples": 27, "readings": listed}, [])}
    reasons(outcomes)
    first, second, third = outcomes["fig11"].rows
    assert first.why.endswith(said)
    reasons(outcomes)
    assert outcomes["fig11"].rows[0] == first  # said once, however often a report is made
    assert second == row("agrees") and third == row("differs", "other")  # nothing was tried of it


def test_the_stored_readings_are_those_of_the_networks_that_are_shipped():
    listed = stored("readings")["numbers"]["readings"]
    assert {one["network"] for one in listed} == set(LENETS)
    claims = {(claim["experiment"], claim["claim"]) for claim in listed[0]["claims"]}
    outcomes = {"fig11": Outcome({}, [row("differs")])}
    assert ("fig11", "success rate τ") in claims
    reasons(outcomes)
    assert outcomes["fig11"].rows[0].why != row("differs").why


def test_the_pair_of_the_and_network_is_told_by_its_own_readings():
    """By those of the run, or else by the stored ones."""
    pair = Claim("F(1, 0.37) and F(1, 0.43)", "0.11 and 0.95", "0.000 and 0.000", "differs", "edge")
    outcomes = {"fig3": Outcome({}, [pair])}
    reasons(outcomes)
    ours, = (claim["ours"] for claim in stored("and")["claims"] if "0.37" in claim["claim"])
    assert outcomes["fig3"].rows[0].why == f"edge; readings: given by {ours} (--only and)"
    outcomes["and"] = Outcome({}, [Claim("a reading gives F(1, 0.37) and F(1, 0.43)", "",
                                         "2 of 13 readings", "agrees")])
    reasons(outcomes)
    assert outcomes["fig3"].rows[0].why.endswith("given by 2 of 13 readings (--only and)")
