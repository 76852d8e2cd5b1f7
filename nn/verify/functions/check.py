"""One check from the point to the report: what `check_jacobian`, `check_gradients` and
`check_backward` have in common.

In: a `Point`, {name: claimed slopes (N, size)}, what is known around them. Out: a `FunctionReport`.
Read on in `verify.functions.report`.
"""
import numpy as np

from nn.verify.functions.causes import likely_cause
from nn.verify.functions.evidence import Evidence
from nn.verify.functions.judge import NOT_JUDGED
from nn.verify.functions.referee import DIFFERENCES, Referee
from nn.verify.functions.report import FunctionReport, WrongArray, row_of
from nn.verify.functions.search import FEW, Search
from nn.verify.tape.explain import Explanations

WHOLE = 4000   # entries of a wrong array that are all measured, by the complex step, for the cause
SOME = 400     # … by differences


def checked(point, claims, tolerance=None, seed=0, few=FEW, referee=None, **about):
    """Judge all claims at a point.

    Args:
        point: a `Point`.
        claims: {name: (N, size)} the claimed slopes of the outputs for the entries of each array.
        tolerance: the largest allowed error relative to the largest entry, in place of the default.
        seed: of the random directions.
        few: up to so many entries of an array are measured one by one.
        referee: a `Referee` of the point (default: the complex step and differences).
        about: what else the causes may look at: `around`, `repeated`, `units`, `image` (of
            `evidence.Evidence`), and `entry`, a function (name, output, index) → words.

    Returns:
        A `FunctionReport`.
    """
    referee = Referee(point) if referee is None else referee
    notes = [f"the function changes its argument {name}" for name in point.writes]
    if point.is_random:
        return FunctionReport([], [], {}, notes, "the function gives different values at the same "
                              "point (dropout, a random batch?): fix its seed")
    if not np.isfinite(point.value).any():
        return FunctionReport([], [], {}, notes, "the function is NaN or infinite at this point")
    if point.is_single:
        notes.append("computed in float32: errors up to 1e-3 of an entry pass")
    search = Search(point, referee, tolerance, seed, few)
    judged = [search.judge(name, claim) for name, claim in claims.items()]
    about = {**about, "explain": Explanations(point, claims, about.get("around"))}
    findings = []
    for each in judged:
        if each.worst is not None:
            if not referee.refused and each.claimed.size <= WHOLE or each.claimed.size <= SOME:
                search.look_at_all(each)
            findings.append(_wrong_array(point, each, claims, about))
    return FunctionReport([row_of(each) for each in judged], findings, referee.refused, notes,
                          _unjudged(judged), _disagreement(referee),
                          {each.name: _picture(each) for each in judged})


def _unjudged(judged):
    """Why nothing could be judged, or ""."""
    marks = np.concatenate([each.marks.reshape(-1) for each in judged] or [np.zeros(0)])
    looked_at = marks[marks >= 0]
    if not marks.size:
        return "there is nothing to check"
    if looked_at.size and (looked_at == NOT_JUDGED).all():
        return (f"no referee could tell about any of {marks.size:,} entries (NaN, a kink within "
                "the steps, or noise)")
    return ""


def _disagreement(referee):
    if not referee.disagreements:
        return ""
    direction, exact, by_steps = referee.disagreements[0]
    return (f"along a direction in {', '.join(direction)} the {referee.exact_one} gives "
            f"{exact:.10g}, {DIFFERENCES} {by_steps:.10g}, and each is sure of it")


def _wrong_array(point, judged, claims, about):
    """The `WrongArray` of a `JudgedArray` that has wrong entries."""
    output, column = judged.worst
    index = tuple(int(k) for k in np.unravel_index(column, judged.shape))
    entry = about.get("entry", _entry)(judged.name, output, index)
    return WrongArray(judged.name, entry, float(judged.claimed[output, column]),
                      float(judged.expected[output, column]), judged.referee_of_worst,
                      likely_cause(evidence(point, judged, claims, about)))


def _entry(name, output, index):
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def evidence(point, judged, claims, about):
    """The `Evidence` of a `JudgedArray`: tables of the array's shape, of a Jacobian (N, M)."""
    outputs = len(judged.claimed)
    shape = judged.shape if outputs == 1 else judged.claimed.shape

    def as_array(table):
        return table.reshape(shape)

    whole = np.isfinite(judged.expected).all()
    along = [(as_array(weights), float(slopes.value[0])) for weights, slopes in judged.along
             if outputs == 1 and np.isfinite(slopes.value[0])]
    others = {name: claim.reshape(point.arrays[name].shape) for name, claim in claims.items()
              if name != judged.name and len(claim) == 1}
    return Evidence(judged.name, as_array(judged.claimed),
                    as_array(judged.expected) if whole else None, along,
                    point.arrays[judged.name], others, about.get("around", {}),
                    about.get("repeated", {}).get(judged.name), about.get("units"),
                    about.get("image"), judged.where, about.get("explain"))


def _picture(judged):
    """Errors relative to what is allowed, as a table (rows, columns)."""
    if len(judged.claimed) > 1:
        return judged.excess
    shape = judged.shape or (1,)
    return judged.excess.reshape(-1, shape[-1])
