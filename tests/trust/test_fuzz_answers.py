"""Answer files of the human study: read as `csv` reads them, or refused in one line; and what
people's files cost.

Every kind of damaged line has its message in tests/scripts/test_survey.py; here come random files
and long ones.
"""
import csv
import io

import numpy as np
import pytest
from fuzz import NAMES, NUMBERS, damaged, judged, rounds, some

from scripts.pages.survey_answers import read_answers
from scripts.pages.survey_page import HEADER
from scripts.paper.human_study import human_study

COLUMNS = HEADER.split(",")


def a_file(rng, most=8):
    """The rows (lists of text) of a sound file of one survey."""
    survey, rows, answered = "s0123456789ab", [], set()
    samples = {n: a_sample(rng) for n in range(1, 5)}
    for _ in range(int(rng.integers(1, most))):
        participant, sample = int(rng.integers(1, 4)), int(rng.integers(1, 5))
        if (participant, sample) not in answered:
            answered.add((participant, sample))
            seen = ["no", ""] if rng.random() < 0.3 else ["yes", str(rng.integers(0, 10))]
            rows.append([survey, str(participant), str(sample), *samples[sample], *seen,
                         f"{rng.exponential():.2f}"])
    return rows


def a_sample(rng):
    part = some(rng, ("unaltered", "distortion", "intensity"))
    label = int(rng.integers(0, 10))
    if part == "unaltered":
        return [str(rng.integers(0, 10_000)), part, str(label), "", "", "0.0000"]
    theta = "1" if part == "distortion" else some(rng, ("-1", "0.7", "-0.4", "0.123456789"))
    return [str(rng.integers(0, 10_000)), part, str(label), str((label + 1) % 10), theta,
            f"{rng.random() * 100:.4f}"]


def text_of(rng, rows):
    newline = some(rng, ("\n", "\r\n", "\n\n"))
    start = some(rng, ("", "\ufeff"))
    lines = newline.join([HEADER, *map(",".join, rows)])
    return (start + lines + some(rng, ("", newline))).encode()


@rounds("answer files")
def test_answers_are_read_as_they_stand_or_refused(how_many, tmp_path):
    rng, path = np.random.default_rng(8), tmp_path / "answers.csv"
    for number in range(how_many):
        rows, kind = a_file(rng), number % 4
        if kind == 1:
            at, column = int(rng.integers(len(rows))), int(rng.integers(12))
            rows[at][column] = some(rng, NAMES + NUMBERS).encode("utf-8", "replace").decode()
        content = damaged(rng, text_of(rng, rows)) if kind == 2 else text_of(rng, rows)
        path.write_bytes(content)
        answers = judged("answer files", lambda: read_answers([path]), size=len(content),
                         refusals=ValueError, named=path)
        assert answers is not None or kind in (1, 2), content
        if answers is not None:
            lines = io.StringIO(content.decode("utf-8-sig"), newline="")
            there = [row for row in csv.reader(lines) if row][1:]
            assert len(answers) == len(there)
            for answer, row in zip(answers, there):
                expected = [answer.survey, answer.participant, answer.sample, answer.index,
                            answer.part, answer.label]
                assert [str(value) for value in expected] == row[:6]
                numbers = (answer.target, answer.theta, answer.distortion, answer.digit,
                           answer.seconds)
                for value, text in zip(numbers, (*row[6:9], *row[10:])):
                    assert (value is None) == (text == "")
                    assert value is None or value == float(text)
                assert answer.is_digit == (row[9] == "yes")
                assert np.isfinite([answer.distortion, answer.seconds]).all()


@rounds("answer files")
def test_a_study_of_any_sound_file_has_finite_numbers(how_many, tmp_path):
    rng, path = np.random.default_rng(9), tmp_path / "answers.csv"
    for _ in range(how_many // 50):
        content = text_of(rng, a_file(rng))
        path.write_bytes(content)
        outcomes = judged("studies of answers", lambda: human_study([path]), size=len(content),
                          refusals=ValueError)
        for outcome in outcomes.values():
            assert len(outcome.rows) >= 5
            assert all(row.verdict in ("agrees", "differs", "–") for row in outcome.rows)


@pytest.mark.slow
def test_a_long_file_takes_three_times_its_size_at_most(tmp_path, people=60):
    """60 people, 120,000 answers; and the second answer of the last one is still found."""
    samples = [",".join(a_sample(np.random.default_rng(n))) for n in range(2000)]
    path = tmp_path / "answers.csv"
    with open(path, "w") as file:
        file.write(HEADER + "\n")
        for participant in range(1, people + 1):
            file.writelines(f"s0123456789ab,{participant},{n},{sample},yes,3,1.5\n"
                            for n, sample in enumerate(samples, 1))
    study = judged("long answer files", lambda: human_study([path]), size=path.stat().st_size,
                   refusals=ValueError, seconds=600)
    assert study["fig16"].numbers["participants"] == people
    with open(path, "a") as file:
        file.write(f"s0123456789ab,{people},2000,{samples[-1]},no,,2\n")
    named = (f"line {2000 * people + 2}: expected one answer of participant {people} for sample "
             f"2000, found a second, the first is {path}: line {2000 * people + 1}")
    assert judged("long answer files", lambda: human_study([path]), size=path.stat().st_size,
                  refusals=ValueError, seconds=600, named=named) is None
