"""Which reading of the paper gives its numbers? Every experiment that a reading can move, for each
of them.

A `PaperReading` is a network (the shipped one, or one by the recipe of the time after some epochs),
the outputs whose derivative is taken (`attack.model.OUTPUTS`, or "rounded": `RoundedSoftmax`), and
the rule of Γ (`attack.RULES`). In: a `Setup`. Out: an `Outcome`: a table of claims × readings,
which reading agrees with most claims, which claims none of them gives, and what the paper's own
numbers contradict. `reasons` tells of each claim that differs in a run which reading gives it.
"""
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attack.model import OUTPUTS
from nn import LeNet
from nn.models import LENETS
from scripts.paper import classes, defences, hardness, population, single
from scripts.paper.experiment import SAME_FOR_ONE, UPSILON, Setup
from scripts.paper.outcome import Claim, Outcome
from scripts.paper.readings.rounded import RoundedSoftmax
from scripts.paper.readings.tens import tens

RULES_OF_GAMMA = ("paper", "unsaturated", "once", "cleverhans")
EXPERIMENTS = {  # what a reading can move
    "fig1": single.fig01, "ten": tens, "fig10": single.fig10, "fig11": population.fig11,
    "decreasing": population.decreasing, "upsilon": population.upsilons,
    "theta": population.thetas, "fig12": classes.fig12, "fig13": classes.fig13,
    "path": single.path, "fig14": hardness.fig14, "fig15": hardness.fig15,
    "detection": defences.detection}
STORED = Path(__file__).parents[2] / "results"
TOLD_BY = {  # claims whose readings are an experiment of their own, and the claim that sums them up
    ("fig3", "F(1, 0.37) and F(1, 0.43)"): ("and", "a reading gives F(1, 0.37) and F(1, 0.43)")}
NOT_JUDGED = "–"
WHICH = "readings: "
SECONDS = 0.6  # of one core, for a digit and a reading


class PaperReading(NamedTuple):
    """How the paper is read: a name of `nn.models.LENETS`, the outputs, and a rule."""
    network: str
    of: str = "logits"
    rule: str = "paper"

    def __str__(self):
        words = [self.network, self.of, *([self.rule] if self.rule != "paper" else [])]
        return ", ".join(words)


def readings_of(network):
    """The readings that are tried with one network.

    Where the output layer started at 0 (all but the shipped one) β = −α, so that logits and centred
    logits choose alike and one of them is enough. The rules of Γ are tried on the shipped network
    and on the longest training by the recipe of the time.
    """
    outputs = OUTPUTS if network == "lenet" else ("logits", "probabilities")
    longest = max((name for name in LENETS if name.startswith("paper-0-")), default=None,
                  key=lambda name: int(name.rpartition("-")[2]))
    if network not in ("lenet", longest):
        return [PaperReading(network, of) for of in outputs]
    return [*(PaperReading(network, of, rule) for rule in RULES_OF_GAMMA for of in outputs),
            PaperReading(network, "rounded")]


def every_reading(called="lenet"):
    """All that are tried, those of the network `called` among them."""
    return [reading for name in dict.fromkeys([called, *LENETS]) for reading in readings_of(name)]


def readings(setup):
    """Every reading on the same test digits, drawn from all: the table, and what it says."""
    digits = setup.sized(1000)
    together = {}  # readings that share samples, one after the other
    for reading in every_reading(setup.called):
        shared = reading._replace(rule=SAME_FOR_ONE.get(reading.rule, reading.rule))
        together.setdefault(shared, []).append(reading)
    about = {"directory": setup.directory, "derivative": setup.derivative, "digits": digits,
             "runs": setup.runs, "torch": setup.torch}
    own = {setup.called: setup.network.network if setup.torch else setup.network}
    parts = setup.each(_claims_of, [
        (group, own.get(shared.network), about) for shared, group in together.items()])
    claims = {reading: of for part in parts for reading, of in part.items()}
    table = {reading: claims[reading] for reading in every_reading(setup.called)}
    return Outcome(_numbers(table, digits), list(_findings(table)), _arrays(table),
                   _as_table(table))


def _claims_of(group, network, about):
    """What each of several readings of one network gives, {reading: {(experiment, claim): Claim}}.

    Args:
        group: the readings.
        network: the network, or None for the shipped one of that name.
        about: what they share, by the names of `Setup`.
    """
    table = {}
    for reading in group:
        network = network or LeNet.pretrained(reading.network)
        of = "logits" if reading.of == "rounded" else reading.of
        with Setup(network, of=of, rule=reading.rule, sets=("test",),
                   called=reading.network, **about) as setup:
            if reading.of == "rounded":
                setup.network = RoundedSoftmax(setup.network)
                setup.called += ", rounded"
            table[reading] = {(key, row.claim): row for key, run in EXPERIMENTS.items()
                              for row in run(setup).rows}
    return table


def agreeing(claims):
    """How many of {…: Claim} agree."""
    return sum(claim.verdict == "agrees" for claim in claims.values())


def _ranked(table):
    """The readings, those that agree with most claims first."""
    return sorted(table, key=lambda reading: -agreeing(table[reading]))


def _judged(table):
    """The keys of the claims that at least one reading can be judged by, in the paper's order."""
    first = next(iter(table.values()))
    return [key for key in first
            if any(claims[key].verdict != NOT_JUDGED for claims in table.values() if key in claims)]


def _name(key, keys):
    """The claim of (experiment, claim), with the experiment where others claim the same."""
    alike = sum(claim == key[1] for _, claim in keys)
    return key[1] if alike < 2 else f"{key[0]}: {key[1]}"


def _numbers(table, digits):
    listed = [{**reading._asdict(), "agrees": agreeing(claims),
               "claims": [{"experiment": key[0], **claim._asdict()}
                          for key, claim in claims.items()]} for reading, claims in table.items()]
    return {"samples": 9 * digits, "readings": listed}


def _findings(table):
    """The `Claim`s of the section: they are about readings, so none agrees or differs itself."""
    judged, ranked = _judged(table), _ranked(table)
    yield Claim("the reading that agrees with most claims", "not said", str(ranked[0]), NOT_JUDGED,
                f"{agreeing(table[ranked[0]])} of {len(judged)} claims; then " + "; ".join(
                    f"{reading}: {agreeing(table[reading])}" for reading in ranked[1:4]))
    for key in judged:
        with_it = [reading for reading in ranked if table[reading][key].verdict == "agrees"]
        if not with_it:
            row = table[ranked[0]][key]
            yield Claim(f"no reading tried here gives it: {_name(key, judged)}", row.paper,
                        row.ours, NOT_JUDGED, f"ours by {ranked[0]}")
    yield contradiction()


def contradiction(tau=97.10, of_all=4.44, epsilon=4.02, upsilon=UPSILON, features=784):
    """Do the paper's three numbers of Fig. 11 fit together? The mean over all samples is that of
    the successes and of the failures, and no sample can change more than Υ allows."""
    failures = (of_all - tau / 100 * epsilon) / (1 - tau / 100)
    most = 100 * 2 * int(features * upsilon / 200) / features
    largest = tau / 100 * epsilon + (1 - tau / 100) * most
    return Claim("Fig. 11: τ, ε and the mean of all fit together", f"{tau:.2f} %, {epsilon:.2f} %, "
                 f"{of_all:.2f} %", f"failures of {failures:.1f} % would be needed", NOT_JUDGED,
                 f"Υ = {upsilon:g} % allows {most:.2f} %, a mean of all of {largest:.2f} % at most")


def _arrays(table):
    """What the heat map shows: the claims (rows), the readings (columns, the best first)."""
    judged, ranked = _judged(table), _ranked(table)
    of = {"agrees": 1, "differs": -1}
    rows = [[table[reading].get(key) for reading in ranked] for key in judged]
    return {"verdict": np.array([[of.get(claim.verdict, 0) if claim else 0 for claim in row]
                                 for row in rows]),
            "shown": np.array([[short(claim.ours) if claim else "" for claim in row]
                               for row in rows]),
            "claims": np.array([f"{_name(key, judged)} ({row[0].paper})"
                                for key, row in zip(judged, rows)]),
            "readings": np.array([str(reading) for reading in ranked])}


def short(ours):
    """A value without its interval and remarks."""
    return ours.partition(" [")[0].partition(" (")[0]


def _as_table(table):
    judged, ranked = _judged(table), _ranked(table)
    heads = ("claim", "paper", *map(str, ranked))
    rows = [(_name(key, judged), table[ranked[0]][key].paper,
             *(table[reading].get(key, "") for reading in ranked)) for key in judged]
    return heads, rows


def reasons(outcomes):
    """Say of each claim that differs which reading gives it, or that none does.

    Args:
        outcomes: {name: Outcome}; their rows are replaced. Where "readings" or "and" are not among
            them, the stored ones (`STORED`) are asked.
    """
    numbers = (outcomes["readings"].numbers if "readings" in outcomes else
               stored("readings")["numbers"])
    for name, outcome in outcomes.items():
        outcome.rows = [_with_reason(row, _said(name, row, numbers, outcomes))
                        if row.verdict == "differs" else row for row in outcome.rows]


def stored(name):
    """An experiment of the repository's own run of the readings, as its file has it."""
    content = json.loads((STORED / "readings.json").read_text(encoding="utf-8"))
    return content["experiments"][name]


def _said(name, row, numbers, outcomes):
    """What the readings say of a claim, or None where no reading can move it."""
    key = name, row.claim
    if key in TOLD_BY:
        experiment, claim = TOLD_BY[key]
        claims = (outcomes[experiment].rows if experiment in outcomes else
                  [Claim(**one) for one in stored(experiment)["claims"]])
        ours = next(one.ours for one in claims if one.claim == claim)
        return f"given by {ours} (--only {experiment})"
    best_first = sorted(numbers["readings"], key=lambda one: -one["agrees"])
    tried = {PaperReading(one["network"], one["of"], one["rule"]): claim
             for one in best_first for claim in one["claims"]
             if (claim["experiment"], claim["claim"]) == key}
    if not tried:
        return None
    agree = [f"{reading} ({short(claim['ours'])})" for reading, claim in tried.items()
             if claim["verdict"] == "agrees"]
    return (f"on {numbers['samples'] // 9:,} digits it agrees as {'; '.join(agree[:3])}"
            if agree else "none tried here gives it")


def _with_reason(row, said):
    """The row with what the readings say of it, in place of what was said before."""
    if said is None:
        return row
    own = row.why.partition(WHICH)[0].rstrip("; ")
    return row._replace(why="; ".join(filter(None, (own, f"{WHICH}{said}"))))
