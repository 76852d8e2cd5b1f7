"""The answer files of the human study, as its page writes them (`survey_page.HEADER`).

In: CSV files that people gave back, perhaps edited, damaged or mixed up. Out: an `Answer` a line,
or one line that says what is wrong with which line of which file.
"""
import re
from array import array
from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scripts.pages.survey_page import HEADER, PARTS
from scripts.terminal.text import visible

LONGEST_LINE = 400  # bytes, several times the longest answer
SAMPLES = 10_000  # more than there are on a page


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


class Form(NamedTuple):
    """What is expected in a column, in words and as a regular expression, and how it is read."""
    expected: str
    pattern: str
    read: type


FORMS = (  # of the columns
    Form("the id of a survey", "s[0-9a-f]{12}", str),
    Form("a whole number from 1 to 999999999", "[1-9][0-9]{0,8}", int),
    Form("a whole number from 1 to 9999", "[1-9][0-9]{0,3}", int),
    Form("a whole number below 1e9", "[0-9]{1,9}", int),
    Form(" or ".join(PARTS), "|".join(PARTS), str),
    Form("a digit from 0 to 9", "[0-9]", int),
    Form("a digit from 0 to 9 or nothing", "[0-9]?", int),
    Form("a number from -1 to 1 or nothing", r"(-?(0(\.[0-9]{1,9})?|1(\.0{1,9})?))?", float),
    Form("a number from 0 to 100", r"[0-9]{1,2}(\.[0-9]{1,9})?|100(\.0{1,9})?", float),
    Form("yes or no", "yes|no", "yes".__eq__),
    Form("a digit from 0 to 9 or nothing", "[0-9]?", int),
    Form("a number of seconds", r"[0-9]{1,9}(\.[0-9]{1,9})?", float),
)


def read_answers(files):
    """The answers in CSV files of one survey: a list of `Answer`.

    Raises ValueError for anything that the survey's page does not write, an answer given twice, or
    two surveys: one line with the file, the line's number, what was expected and what was there.
    OSError where a file is missing.
    """
    return list(each_answer(files))


def each_answer(files):
    """Yields what `read_answers` lists, and raises what it raises, twice given answers at the end.

    Of the answers before it keeps 16 bytes each, since a file may hold millions.
    """
    survey = None
    samples = {}  # of each sample: what it is, and where that stood first
    keys = array("q")  # of each answer: participant and sample
    lines = array("q")  # of each answer: the number of its line
    starts = []  # of each file: the number of its first answer
    for path in files:
        starts.append(len(keys))
        number = 1
        for number, place, line in _lines(Path(path)):
            answer = _answer(place, line)
            survey = survey or answer.survey
            if answer.survey != survey:
                _refuse(place, f"the survey {survey}, as in {visible(files[0])}", answer.survey)
            sample, first_place = samples.setdefault(answer.sample, (answer[3:9], place))
            if sample != answer[3:9]:
                _refuse(place, f"sample {answer.sample} as it is in {first_place}", _short(line))
            keys.append(answer.participant * SAMPLES + answer.sample)
            lines.append(number)
            yield answer
        if len(keys) == starts[-1]:
            _refuse(f"{visible(path)}: line {number}", "answers below the header", "none")
    _check_given_once(files, keys, lines, starts)


def _check_given_once(files, keys, lines, starts):
    """Refuse the first answer that is a second one.

    Args:
        files: the paths.
        keys: (n,), who answered what.
        lines: (n,), on which line of its file each answer stands.
        starts: of each file, the number of its first answer.
    """
    keys = np.frombuffer(keys, np.int64) if keys else np.zeros(0, int)
    order = np.argsort(keys, kind="stable")
    again = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    if not again.size:
        return
    at = again[order[again + 1].argmin()]
    first, second = (
        f"{visible(files[bisect_right(starts, answer) - 1])}: line {lines[answer]}"
        for answer in order[at:at + 2])
    participant, sample = divmod(int(keys[order[at]]), SAMPLES)
    _refuse(second, f"one answer of participant {participant} for sample {sample}",
            f"a second, the first is {first}")


def _lines(path):
    """Yields (number, file and line number as text, the line) of all below the header.

    Empty lines are left out.
    """
    numbered = _numbered(path)
    _, place, header = next(numbered, (1, f"{visible(path)}: line 1", None))
    if header != HEADER:
        what = "an empty file" if header is None else _short(header)
        _refuse(place, f"the header {HEADER!r}", what)
    yield from numbered


def _numbered(path):
    """As `_lines`, the header among them."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{visible(path)}: expected a file of answers, "
                         f"found a folder or device")
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
            place = f"{visible(path)}: line {number}"
            if len(line) > LONGEST_LINE:
                _refuse(place, f"{LONGEST_LINE} bytes at most",
                        f"more, beginning with {line[:20]!r}")
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
    for name, text, form in zip(Answer._fields, texts, FORMS):
        if not re.fullmatch(form.pattern, text):
            _refuse(place, f"{form.expected} in the column {name!r}", _short(text))
    answer = Answer(*(form.read(text) if text else None for text, form in zip(texts, FORMS)))
    for holds, expected in _rules(answer):
        if not holds:
            _refuse(place, expected, _short(line))
    return answer


def _rules(answer):
    """What must hold between the columns, as [(does it?, in words)]."""
    altered = answer.part != "unaltered"
    return [
        ([answer.target is not None, bool(answer.theta)] == 2 * [altered],
         "a target and a theta other than 0 for altered samples, and for no others"),
        (altered or answer.distortion == 0, "distortion 0 for an unaltered sample"),
        (answer.target != answer.label, "a target other than the label"),
        (answer.part != "distortion" or answer.theta == 1, "theta 1 in the distortion part"),
        (answer.is_digit == (answer.digit is not None),
         "a digit where is_digit is yes, and nowhere else"),
    ]


def _refuse(place, expected, what):
    raise ValueError(f"{place}: expected {expected}, found {what}")


def _short(text):
    return ascii(text if len(text) <= 60 else f"{text[:57]}...")
