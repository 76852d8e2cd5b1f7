"""What finds a mistake in a person's own code: our checks beside `gradcheck`, the two `check_grads`
and SciPy's `check_grad`, on `handwritten`, in one run.

In: cases, right code and the same with one mistake. Out: a row a case, what each checker says of it
(`table`), as text. Ours is asked as a person would, with the code as it is; the others get the same
function and claim, flat and in float64.
"""
import time
import warnings
from typing import NamedTuple

import numpy as np
import scipy

import nn
from nn.verify.functions.backward import backward_at
from nn.verify.functions.gradients import gradients_at
from nn.verify.functions.jacobian import jacobian_at
from scripts.measure.checkers import CHECKERS
from scripts.measure.checks import Cell, aligned
from scripts.measure.claims import ClaimedDerivative

CHECKS = {"gradients": (nn.check_gradients, gradients_at),
          "backward": (nn.check_backward, backward_at),
          "jacobian": (nn.check_jacobian, jacobian_at)}
LARGEST = 400    # numbers that another library's checker moves one by one
ENOUGH = 1e-5    # SciPy gives the norm of the error: relative to the gradient's, up to this passes
OURS, PARAMETER, CAUSE = "ours", "parameter named", "cause named"
LEGEND = ("passes, false alarm, not judged: right code; caught, missed: wrong code; cannot tell: "
          "the right code is refused there too.")


class OwnCase(NamedTuple):
    """A piece of code, what each checker says of it, and how good our diagnosis is."""
    what: str
    right: bool
    cells: dict     # {checker: Cell}
    parameter: bool = False
    cause: bool = False
    words: str = ""


def table(cases, with_others=True, seed=0):
    """Every case put to every checker.

    Args:
        cases: of `handwritten`.
        with_others: ask the other libraries' checkers too.
        seed: of the data.

    Returns:
        A list of `OwnCase`.
    """
    others = {**CHECKERS, "scipy check_grad": scipy_check_grad} if with_others else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [_row(case, others, seed) for case in cases]


def text(rows):
    """The cases in which somebody errs, then sums and the median of a check's seconds."""
    names = list(rows[0].cells)
    lines = [["case", *names, CAUSE]]
    lines += [[row.what, *(row.cells[name].said for name in names),
               "" if row.right or row.cause else row.words or "–"]
              for row in rows if not _as_it_should(row)]
    lines += [[*line, ""] for line in _sums(rows, names)]
    return "\n".join([*aligned(lines), LEGEND])


def _as_it_should(row):
    if row.right:
        return row.cells[OURS].said == "passes"
    return row.cells[OURS].said == "caught" and row.parameter and row.cause


def _sums(rows, names):
    for what, answer, right in (("right code passed", "passes", True),
                                ("right code not judged", "not judged", True),
                                ("right code called wrong", "false alarm", True),
                                ("wrong code caught", "caught", False),
                                ("wrong code not judged", "not judged", False),
                                ("wrong code passed", "missed", False)):
        asked = [row for row in rows if row.right == right]
        counts = (sum(row.cells[name].said == answer for row in asked) for name in names)
        yield [what, *(f"{count} of {len(asked)}" for count in counts)]
    wrong = [row for row in rows if not row.right]
    for what, named in ((f"… and the {PARAMETER}", [row.parameter for row in wrong]),
                        (f"… and the {CAUSE}", [row.cause for row in wrong])):
        yield [what, f"{sum(named)} of {len(wrong)}", *[""] * (len(names) - 1)]
    for what, of in (("seconds a check, median", np.median), ("seconds, the longest", np.max)):
        asked = ([row.cells[name].seconds for row in rows if row.cells[name].seconds]
                 for name in names)
        yield [what, *(f"{of(seconds):.2g}" if seconds else "" for seconds in asked)]


def _row(case, others, seed):
    check, at = CHECKS[case.kind]
    start = time.perf_counter()
    try:
        report = check(**case.make(np.random.default_rng(seed)))
        verdict, findings = report.verdict, report.findings
    except ValueError:  # refused, as a Jacobian of another shape
        verdict, findings = "wrong", []
    cells = {OURS: Cell(_said(verdict, case.right), time.perf_counter() - start)}
    for name, checker in others.items():
        cells[name] = _theirs(checker, at, case, seed)
    about = _about(findings, case)
    return OwnCase(case.name, case.right, cells, about is not None,
                   any(word.lower() in (about or "").lower() for word in case.cause), about or "")


def _said(verdict, right):
    if verdict in ("not judged", "referees disagree"):
        return "not judged"
    if right:
        return "passes" if verdict == "right" else "false alarm"
    return "caught" if verdict == "wrong" else "missed"


def _about(findings, case):
    """The cause that is named for the wrong parameter; None where another one is accused."""
    names = {"x": ("the Jacobian", "x"), "parameters": ("x",)}.get(case.parameter,
                                                                   (case.parameter,))
    causes = [each.cause for each in findings if each.name.strip("[]") in names]
    return causes[0] if causes else None


def _theirs(checker, at, case, seed):
    """What another library's checker says, as a `Cell`."""
    start = time.perf_counter()
    claim = flat_claim(*at(**case.make(np.random.default_rng(seed)))[:2])
    if claim is None:
        return Cell("caught: its shape", 0.0)
    if claim.point.size > LARGEST:
        return Cell("too large", 0.0)
    accepted = _accepts(checker, claim)
    if isinstance(accepted, str):
        return Cell(accepted, 0.0)
    seconds = time.perf_counter() - start
    if case.right:
        return Cell("passes" if accepted else "false alarm", seconds)
    if accepted:
        return Cell("missed", seconds)
    twin = flat_claim(*at(**case.twin(np.random.default_rng(seed)))[:2])
    return Cell("caught" if _accepts(checker, twin) is True else "cannot tell", seconds)


def _accepts(checker, claim):
    """Whether a checker accepts; a word where it could not be asked."""
    try:
        return bool(checker(claim))
    except ImportError:
        return "not installed"
    except Exception:  # whatever the code or the library raises at a moved point
        return False


def flat_claim(point, claims):
    """A `Point` and its claims as a `ClaimedDerivative`; None where a claim has another shape."""
    sizes = {name: array.size for name, array in point.arrays.items()}
    ends = np.cumsum(list(sizes.values()))
    shapes = {name: array.shape for name, array in point.arrays.items()}
    rows = len(point.value)
    tables = [np.asarray(claims.get(name, np.zeros(shapes[name])), float) for name in sizes]
    if any(table.size != rows * size for table, size in zip(tables, sizes.values())):
        return None
    jacobian = np.concatenate([table.reshape(rows, -1) for table in tables], axis=1)

    def function(x):
        """The outputs at flat arrays."""
        parts = np.split(np.asarray(x, float), ends[:-1])
        arrays = {name: part.reshape(shapes[name]) for name, part in zip(sizes, parts)}
        return np.asarray(point.call(arrays), float).reshape(-1)

    start = np.concatenate([array.reshape(-1) for array in point.arrays.values()])
    return ClaimedDerivative(function, lambda x: jacobian, start)


def scipy_check_grad(claim):
    """Does `scipy.optimize.check_grad` find a small error, of a random sum of the outputs?"""
    weights = np.random.default_rng(0).normal(size=len(claim.jacobian(claim.point)))
    gradient = weights @ claim.jacobian(claim.point)
    error = scipy.optimize.check_grad(lambda x: float(weights @ claim.function(x)),
                                      lambda x: gradient, claim.point)
    return error <= ENOUGH * max(float(np.linalg.norm(gradient)), 1e-300)
