"""What finds a wrong derivative: our check beside those of torch, jax and autograd, in one run.

In: images, the first of which is the digit. Out: a row a case, right code and every one of
`nn.verify.mistakes`, and what each checker says of it (`table`), as text. Ours is asked at the
digit itself; the others (`checkers`), which refuse right code there, at the digit moved off its
ties.
"""
import statistics
import time
from typing import NamedTuple

import numpy as np

import nn
from nn import Conv2d, Flatten, LeNet, Linear, Network, ReLU
from nn.verify.mistakes import AT_TIES, FORWARD, GRADIENT, MISTAKES
from scripts.measure.checkers import CHECKERS
from scripts.measure.claims import claims, wrong_parameter

OURS = "ours"
NUDGE = 0.1
LEGEND = (
    "passes, false alarm: right code; caught, missed: wrong code; "
    "cannot tell: right code is refused there too.\n"
    "Ours is asked at the digit itself, the others, which refuse right code there, "
    "at the digit moved off its ties\n"
    "(except where the mistake shows at ties only).")


class Case(NamedTuple):
    """A network to be checked, right or wrong in one part of one layer.

    `network` is wrong in `part` of `layer` unless that is empty; ours is asked at `image`, the
    others at `moved`.
    """
    what: str
    network: Network
    image: np.ndarray
    moved: np.ndarray
    layer: str = ""
    part: str = FORWARD


class Cell(NamedTuple):
    """What a checker says of a case, and how long it took."""
    said: str
    seconds: float


class CheckedCase(NamedTuple):
    """A case and what each checker says of it, {checker: Cell}."""
    what: str
    layer: str
    cells: dict


def table(images):
    """Every case put to every checker; about four minutes on two cores.

    Args:
        images: (n, 28, 28) in [0, 1]; only the first is used.

    Returns:
        A list of `CheckedCase`. A cell says of right code "passes" or "false alarm", of wrong code
        "caught, layer named", "caught", "missed" or, where a checker refuses the right code at the
        same place just as well, "cannot tell"; "not judged" where ours gives no verdict; "not
        installed" where the checker's package is missing.
    """
    right = LeNet.pretrained()
    right.load({name: array.astype(np.float64) for name, array in right.parameters().items()})
    known = {}
    rows = []
    for case in _cases(right, np.asarray(images[0], np.float64)):
        cells = {OURS: _ours(case)}
        for name in CHECKERS:
            cells[name] = _theirs(name, case, right, known)
        rows.append(CheckedCase(case.what, case.layer, cells))
    return rows


def text(rows):
    """The rows as an aligned table with sums, the median of a check's seconds, and a legend."""
    return "\n".join([*aligned([*_lines(rows), *_sums(rows)]), LEGEND])


def aligned(lines):
    """Lists of words as lines of columns."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _lines(rows):
    yield ["case", "layer", *rows[0].cells]
    for row in rows:
        yield [row.what, row.layer, *(cell.said for cell in row.cells.values())]


def _sums(rows):
    columns = list(zip(*(row.cells.values() for row in rows)))
    for what, answer, wrong in (("right code passed", "passes", False),
                                ("wrong code caught", "caught", True),
                                ("… and the layer named", "caught, layer named", True)):
        asked = [number for number, row in enumerate(rows) if bool(row.layer) == wrong]
        counts = (sum(column[number].said.startswith(answer) for number in asked)
                  for column in columns)
        yield [what, "", *(f"{count} of {len(asked)}" for count in counts)]
    medians = (statistics.median(cell.seconds for cell in column) for column in columns)
    yield ["seconds a check, median", "", *(f"{median:.2g}" for median in medians)]


def _cases(right, digit):
    moved = digit + NUDGE * np.random.default_rng(0).uniform(size=digit.shape)
    black = np.zeros_like(digit)
    yield Case("right code: a real digit", right, digit, digit)
    yield Case("right code: the digit off its ties", right, moved, moved)
    yield Case("right code: a black image", right, black, black)
    yield Case("right code: ReLU at exactly 0, a real digit", _rectified(), digit, digit)
    for mistake in MISTAKES.values():
        yield Case(mistake.name, mistake.make(right), digit,
                   digit if mistake.name in AT_TIES else moved, mistake.layer, mistake.part)


def _rectified():
    """A network without a bias: wherever the image is black its rectifiers sit on 0."""
    return Network({"conv": Conv2d(1, 4, 5, bias=False), "relu": ReLU(), "flatten": Flatten(),
                    "fc": Linear(4 * 24 * 24, 10)}, (28, 28))


def _ours(case):
    start = time.perf_counter()
    report = nn.check_network(case.network, case.image[None])
    return Cell(_said_by_ours(report, case), time.perf_counter() - start)


def _said_by_ours(report, case):
    if report.verdict == "not judged":
        return "not judged"
    if not case.layer:
        return "passes" if report.verdict == "right" else "false alarm"
    if report.verdict == "right":
        return "missed"
    return "caught, layer named" if report.layer == case.layer else "caught"


def _theirs(name, case, right, known):
    """What another library's checker says of a case.

    Args:
        name: of the checker.
        case: a `Case`.
        right: the network without a mistake.
        known: whether right code is accepted, {what was asked: bool}; filled on the way.
    """
    of = "probabilities" if case.layer == list(case.network.layers)[-1] else "logits"
    parameter = None
    if case.part == GRADIENT:
        parameter = wrong_parameter(case.network, right, case.moved)
    start = time.perf_counter()
    try:
        accepted = CHECKERS[name](claims(case.network, case.moved, case.part, of, parameter))
    except ImportError:
        return Cell("not installed", 0.0)
    seconds = time.perf_counter() - start
    if not case.layer:
        return Cell("passes" if accepted else "false alarm", seconds)
    if accepted:
        return Cell("missed", seconds)
    asked = (name, of, parameter, case.moved.tobytes())
    if asked not in known:
        known[asked] = CHECKERS[name](claims(right, case.moved, case.part, of, parameter))
    return Cell("caught" if known[asked] else "cannot tell", seconds)
