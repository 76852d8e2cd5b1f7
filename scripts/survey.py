"""The human study (Section V-C): `jsma survey make --out survey.html` asks people what they see, `jsma survey analyse
answers-*.csv --out FOLDER` draws what their answers say (Fig. 16 and 17).

In: the network and digits (make), or the answer files that the page wrote (analyse). Out: one self-contained page, or
`fig16.png`, `fig17.png` and `results.json` with the paper's values beside ours. Only what the files hold is counted.
"""
import argparse
import re
from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data import load_mnist
from data.idx import replacing
from scripts.pages.survey_page import HEADER, PARTS, draw, page
from scripts.paper.survey_figures import FIGURES, over_distortion, over_intensity
from scripts.terminal.networks import load_network
from scripts.terminal.options import add_data, add_model, output_file, output_folder, whole
from scripts.terminal.progress import Progress
from scripts.terminal.text import as_json, visible

LINE = 400  # bytes, several times the longest answer
COLUMNS = [("participant", int), ("part", "U10"), ("theta", float), ("distortion", float), ("digit", bool),
           ("right", bool)]
FORMS = (  # of the columns: what is expected, its form and how it is read
    ("the id of a survey", "s[0-9a-f]{12}", str), ("a whole number from 1 to 999999999", "[1-9][0-9]{0,8}", int),
    ("a whole number from 1 to 9999", "[1-9][0-9]{0,3}", int), ("a whole number below 1e9", "[0-9]{1,9}", int),
    (" or ".join(PARTS), "|".join(PARTS), str), ("a digit from 0 to 9", "[0-9]", int),
    ("a digit from 0 to 9 or nothing", "[0-9]?", int),
    ("a number from -1 to 1 or nothing", r"(-?(0(\.[0-9]{1,9})?|1(\.0{1,9})?))?", float),
    ("a number from 0 to 100", r"[0-9]{1,2}(\.[0-9]{1,9})?|100(\.0{1,9})?", float),
    ("yes or no", "yes|no", "yes".__eq__), ("a digit from 0 to 9 or nothing", "[0-9]?", int),
    ("a number of seconds", r"[0-9]{1,9}(\.[0-9]{1,9})?", float))


class Answer(NamedTuple):
    """One line of an answer file; target, theta and digit are None where they are empty."""
    survey: str
    participant: int
    sample: int
    index: int
    part: str
    label: int
    target: int
    theta: float
    distortion: float  # percent
    is_digit: bool
    digit: int
    seconds: float


def arguments(parser):
    """Describe the words of `jsma survey`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="make|analyse")
    make = actions.add_parser("make", help="write the page that asks", description="Write the page that asks.")
    make.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page")
    make.add_argument("--count", type=whole(1), default=40, help="pictures on the page (default: 40)")
    make.add_argument("--seed", type=whole(0), default=0, help="which digits, targets and order (default: 0)")
    make.add_argument("--epsilon", default="0,2,5,8,12,16,20", metavar="PERCENT,…",
                      type=_numbers(lambda e: e == 0 or 200 / 784 <= e <= 100, "be 0 or lie in [0.2552, 100]"),
                      help="shares of pixels changed with θ = +1, 0 for unaltered digits (default: %(default)s; 'none' "
                           "for no such pictures)")
    make.add_argument("--theta", default="1,0.7,0.4,-0.4,-0.7,-1", metavar="THETA,…",
                      type=_numbers(lambda t: 0.01 <= abs(t) <= 1, "lie in [-1, -0.01] or [0.01, 1]"),
                      help="changes θ of a pixel, with Υ = 14.5 %% (default: %(default)s; 'none' for no such pictures; "
                           "--theta=-1,1 where the first is negative)")
    add_model(make)
    add_data(make)
    analyse = actions.add_parser("analyse", help="draw what the answers say", description="Draw what the answers say.")
    analyse.add_argument("files", nargs="*", type=Path, metavar="FILE.csv", help="answers, as the page saves them")
    analyse.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where figures and numbers go")


def run(args):
    """Write the page, or read the answers."""
    return _make(args) if args.action == "make" else _analyse(args)


def _make(args):
    output_file(args.out)
    images, labels = load_mnist("test", args.data)
    progress = Progress("survey", "pictures")
    samples = draw(load_network("lenet", args.weights), images, labels, args.epsilon, args.theta, args.count, args.seed,
                   args.derivative, progress)
    progress.close()
    survey, html = page(samples)
    with replacing(args.out) as file:
        file.write(html.encode())
    print(f"{args.out}: survey {survey}, {len(samples)} pictures, {len(html.encode()) / 1e3:.0f} KB; people open it in "
          f"a browser and give you the file that it saves, then: jsma survey analyse FILES --out FOLDER")


def _analyse(args):
    outcomes = human_study(args.files)
    folder = output_folder(args.out)
    from scripts.paper.figures import (
        save_png,  # matplotlib starts slowly: only where something is drawn
    )

    results = {"files": [visible(path) for path in args.files]}
    for name, outcome in outcomes.items():
        save_png(FIGURES[name](outcome.arrays), folder / f"{name}.png")
        results[name] = {**outcome.numbers, "claims": [row._asdict() for row in outcome.rows]}
        for row in outcome.rows:
            why = f" ({row.why})" if row.why else ""
            print(f"{name}: {row.claim}: paper {row.paper}, ours {row.ours}, {row.verdict}{why}")
    with replacing(folder / "results.json") as file:
        file.write(as_json(results).encode())
    none = "" if args.files else "; no answers: the paper's values only"
    print(f"fig16.png, fig17.png and results.json are in {folder}{none}")


def human_study(files):
    """What the answer files say: {"fig16": Outcome, "fig17": Outcome}; without files the paper's values only.

    "Right" is the share, of all answers, that name the digit's own class. The 95 % intervals treat a participant as
    one draw. Raises ValueError or OSError as `read_answers` does.
    """
    table = np.fromiter(((one.participant, one.part, np.nan if one.theta is None else one.theta, one.distortion,
                          one.is_digit, one.digit == one.label) for one in _answers(files)), COLUMNS)
    return {"fig16": over_distortion(table), "fig17": over_intensity(table)}


# Answer files

def read_answers(files):
    """The answers in CSV files of one survey: a list of `Answer`.

    Raises ValueError for anything that the survey's page does not write, an answer given twice, or two surveys: one
    line with the file, the line's number, what was expected and what was found. OSError where a file is missing.
    """
    return list(_answers(files))


def _answers(files):
    """Yields the answers one by one: of those before it keeps 16 bytes each, since a file may hold millions."""
    survey, shown, keys, lines, starts = None, {}, array("q"), array("q"), []
    for path in files:
        starts.append(len(keys))
        number = 1
        for number, place, line in _lines(Path(path)):
            answer = _answer(place, line)
            survey = survey or answer.survey
            if answer.survey != survey:
                _refuse(place, f"the survey {survey}, as in {visible(files[0])}", answer.survey)
            known, first = shown.setdefault(answer.sample, (answer[3:9], place))
            if known != answer[3:9]:
                _refuse(place, f"sample {answer.sample} as it is in {first}", _short(line))
            keys.append(answer.participant * 10_000 + answer.sample)
            lines.append(number)
            yield answer
        if len(keys) == starts[-1]:
            _refuse(f"{visible(path)}: line {number}", "answers below the header", "none")
    _check_given_once(files, np.frombuffer(keys, np.int64) if keys else np.zeros(0, int), lines, starts)


def _check_given_once(files, keys, lines, starts):
    """keys (n,): who answered what; lines (n,): where, in the file that holds the answers from starts on."""
    order = np.argsort(keys, kind="stable")
    again = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    if not again.size:
        return
    at = again[order[again + 1].argmin()]  # the second answer that comes first
    first, second = (f"{visible(files[np.searchsorted(starts, answer, side='right') - 1])}: line {lines[answer]}"
                     for answer in order[at:at + 2])
    participant, sample = divmod(int(keys[order[at]]), 10_000)
    _refuse(second, f"one answer of participant {participant} for sample {sample}", f"a second, the first is {first}")


def _lines(path):
    """Yields (number, file and line number as text, the line) of the lines below the header, without empty ones."""
    numbered = _numbered(path)
    _, place, header = next(numbered, (1, f"{visible(path)}: line 1", None))
    if header != HEADER:
        _refuse(place, f"the header {HEADER!r}", "an empty file" if header is None else _short(header))
    yield from numbered


def _numbered(path):
    if path.exists() and not path.is_file():
        raise ValueError(f"{visible(path)}: expected a file of answers, found a folder or device")
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LINE + 1), b""), 1):
            place = f"{visible(path)}: line {number}"
            if len(line) > LINE:
                _refuse(place, f"{LINE} bytes at most", f"more, beginning with {line[:20]!r}")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError:
                _refuse(place, "text in UTF-8", f"the bytes {line[:20]!r}")
            if text:
                yield number, place, text


def _answer(place, line):
    """The `Answer` of a line."""
    texts = line.split(",")
    if len(texts) != len(FORMS):
        _refuse(place, f"{len(FORMS)} columns", f"{len(texts)}: {_short(line)}")
    for name, text, (expected, form, _) in zip(Answer._fields, texts, FORMS):
        if not re.fullmatch(form, text):
            _refuse(place, f"{expected} in the column {name!r}", _short(text))
    answer = Answer(*(read(text) if text else None for text, (_, _, read) in zip(texts, FORMS)))
    altered = answer.part != "unaltered"
    for holds, expected in (
            ([answer.target is not None, bool(answer.theta)] == 2 * [altered],
             "a target and a theta other than 0 for altered samples, and for no others"),
            (altered or answer.distortion == 0, "distortion 0 for an unaltered sample"),
            (answer.target != answer.label, "a target other than the label"),
            (answer.part != "distortion" or answer.theta == 1, "theta 1 in the distortion part"),
            (answer.is_digit == (answer.digit is not None), "a digit where is_digit is yes, and nowhere else")):
        if not holds:
            _refuse(place, expected, _short(line))
    return answer


def _numbers(holds, allowed):
    """A reader of numbers with commas between them, or 'none', for argparse."""
    def read(text):
        """The numbers in `text`."""
        values = []
        for part in [] if text == "none" else text.split(","):
            try:
                values.append(float(part))
            except ValueError:
                raise argparse.ArgumentTypeError(f"{part!r} is not a number") from None
            if not holds(values[-1]):
                raise argparse.ArgumentTypeError(f"{part} is not allowed, each number must {allowed}")
        return values
    return read


def _refuse(place, expected, found):
    raise ValueError(f"{place}: expected {expected}, found {found}")


def _short(text):
    return ascii(text if len(text) <= 60 else f"{text[:57]}...")
