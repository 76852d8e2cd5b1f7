"""The human study without a browser: what the page holds, answer files sound and damaged, numbers
by hand, figures.
"""
import base64
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small import quick

from attack import craft, replay, success_interval
from data import load_mnist
from nn import LeNet
from scripts.__main__ import main
from scripts.pages.survey_answers import Answer, read_answers
from scripts.pages.survey_page import HEADER, MOST, Onward, draw, page
from scripts.paper.human_study import human_study
from scripts.paper.survey_figures import FIGURES, PAPER

WORDS = ["survey", "make", "--count", "13", "--derivative", "backward"]
SMALL = [*WORDS[:2], "--count", "4", "--epsilon", "0,2", "--theta=-1,0.7", *WORDS[4:]]
ID = "s0123456789ab"
SAMPLES = {  # number: index, part, label, target, theta, distortion
    1: "10,unaltered,7,,,0.0000", 2: "11,distortion,3,5,1,14.2857",
    3: "12,distortion,4,0,1,14.4133", 4: "13,intensity,1,2,-1,3.0612",
    5: "14,intensity,9,4,0.7,7.0000", 6: "15,intensity,2,3,1,13.0102"}


def line(participant, sample, digit, seconds="1.5"):
    """One line of an answer file; digit None: no digit."""
    seen = "no," if digit is None else f"yes,{digit}"
    return f"{ID},{participant},{sample},{SAMPLES[sample]},{seen},{seconds}"


@pytest.fixture
def write(tmp_path):
    """A function that writes lines below the header into a file, and returns its path."""
    def write_lines(*lines, name="answers.csv"):
        (tmp_path / name).write_text("\n".join([HEADER, *lines, ""]))
        return tmp_path / name
    return write_lines


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page that `make` writes: its path, and [(pixels (28, 28), columns of the row)]."""
    path = tmp_path_factory.mktemp("survey") / "survey.html"
    assert main([*WORDS, "--out", str(path)]) == 0
    data = json.loads(re.search(r"id='survey'>(.*?)</script>", path.read_text(encoding="utf-8"))[1])
    return path, [(np.frombuffer(base64.b64decode(sample["pixels"]), np.uint8).reshape(28, 28),
                   sample["row"].split(",")) for sample in data["samples"]]


# The page

@pytest.fixture(scope="module")
def small_page(tmp_path_factory):
    """A page of four pictures, one of each kind, by the seed 0."""
    path = tmp_path_factory.mktemp("survey") / "survey.html"
    assert main([*SMALL, "--out", str(path)]) == 0
    return path


def test_the_page_is_made_of_the_seed(small_page, tmp_path, capsys):
    for name, seed in (("b", 0), ("c", 1)):
        assert main([*SMALL, "--seed", str(seed), "--out", str(tmp_path / name)]) == 0
    a, b, c = small_page.read_bytes(), *((tmp_path / name).read_bytes() for name in "bc")
    assert a == b != c
    assert len(set(re.findall("survey (s[0-9a-f]{12}),", capsys.readouterr().out))) == 2


@pytest.mark.slow
def test_the_page_holds_what_it_claims(made):
    """Every picture against the attack itself, every column against the digit it was made of."""
    network, (images, labels) = LeNet.pretrained(), load_mnist("test")
    onward = {int(row[0]): (int(row[1]), int(row[4])) for _, row in made[1]
              if row[2] == "distortion"}  # all six at once
    indices, targets = np.array(list(onward.values())).T
    onward = dict(zip(onward, craft(Onward(network), images[indices], targets, max_distortion=30,
                                    derivative="backward").pairs))
    parts = []
    for number, (pixels, row) in enumerate(made[1], 1):
        index, label = int(row[1]), int(row[3])
        image, original = images[index:index + 1], np.round(255 * images[index]).astype(np.uint8)
        parts.append((row[2], row[5]))
        assert int(row[0]) == number and label == labels[index]
        assert float(row[6]) == pytest.approx(100 * (pixels != original).mean(), abs=1e-4)
        if row[2] == "unaltered":
            assert row[4:] == ["", "", "0.0000"]
            continue
        target, theta = int(row[4]), float(row[5])
        assert target != label
        run = craft(network, image, target, theta=theta, max_distortion=14.5, derivative="backward")
        if row[2] == "intensity":
            np.testing.assert_array_equal(pixels,
                                          np.round(255 * run.adversarial[0]).astype(np.uint8))
        else:
            assert theta == 1
            further = onward[number][None]
            done = run.iterations[0]
            # the attack's way, and on
            np.testing.assert_array_equal(further[0, :done], run.pairs[0, :done])
            steps = [replay(image, further[:, :n])[0] for n in range(further.shape[1] + 1)]
            number, = [n for n, step in enumerate(steps)
                       if np.array_equal(np.round(255 * step), pixels)]
            share, = [percent for percent in (2, 5, 8, 12, 16, 20)
                      if percent - 0.3 < float(row[6]) <= percent]
            # the next pair would be too much
            assert 100 * (steps[number + 1] != image[0]).mean() > share
    thetas = [("intensity", theta) for theta in ("1", "0.7", "0.4", "-0.4", "-0.7", "-1")]
    assert sorted(parts) == sorted([("unaltered", ""), *[("distortion", "1")] * 6, *thetas])


def test_forward_and_backward_go_the_same_way():
    image, network = load_mnist("test")[0][:1].astype(np.float64), Onward(LeNet.pretrained())
    runs = [craft(network, image, 3, max_distortion=2, derivative=derivative)
            for derivative in ("forward", "backward")]
    np.testing.assert_array_equal(runs[0].pairs, runs[1].pairs)
    assert (runs[0].predicted, runs[0].iterations) == (10, 7)


def test_the_page_is_self_contained_and_does_not_tell(small_page):
    page = small_page.read_text(encoding="utf-8")
    assert len(page.encode()) < 100_000 and "Content-Security-Policy" in page
    assert not re.search(r"https?:|\bsrc=|@[A-Z]+@|import\b|fetch|XMLHttp", page)
    shown = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert not re.search("label(?!=)|target|theta|distort|adversarial|altered", shown)


def test_the_largest_page_has_less_than_3_megabytes():
    row = "9999,distortion,9,8,-0.777777,14.2857"
    assert len(page([(np.full((28, 28), 255, np.uint8), row)] * MOST)[1].encode()) < 3e6


@pytest.mark.parametrize(("words", "said"), [
    (["--count", "12"], ["--count", "13..2000", "12"]),
    (["--count", "2001"], ["--count", "2000", "2001"]),
    (["--count", "0"], ["--count", "below 1"]),
    (["--epsilon", "0.2"], ["--epsilon", "0.2", "0.2552"]),
    (["--epsilon", "nan"], ["--epsilon", "nan"]), (["--epsilon", "2,x"], ["--epsilon", "'x'"]),
    (["--epsilon", "101"], ["--epsilon", "101", "100"]),
    (["--theta", "1,0"], ["--theta", "0 is not", "0.01"]),
    (["--theta=-2"], ["--theta", "-2"]),
    (["--epsilon", "none", "--theta", "none"], ["--count", "there are 0"]),
    (["--seed", "-1"], ["--seed"]), (["--out", "nowhere/p.html"], ["--out", "nowhere"]),
    (["--out", "."], ["--out"]),
    (["--weights", "none.npz"], ["none.npz"]), (["--data", "nowhere"], ["nowhere"])])
def test_a_page_that_cannot_be_made_gets_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["survey", "make", "--out", "page.html", *words]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("jsma: error: ") and printed.count("\n") == 1
    assert all(word in printed for word in said)
    assert not list(tmp_path.iterdir())


def test_count_is_spread_over_what_is_shown():
    images, labels = (part[:40] for part in load_mnist("test"))
    rows = [row.split(",") for _, row in draw(quick(), images, labels, [0, 2, 2], [-1],
                                              40, 0, "backward")]
    assert sorted(int(row[0]) for row in rows) == list(range(40))
    assert Counter(row[1] for row in rows) == {"unaltered": 14, "distortion": 13, "intensity": 13}
    with pytest.raises(ValueError, match=r"--count .* 3\.\.40"):
        draw(None, images, labels, [0, 2], [-1.0], 41)


# Answer files

def test_columns_are_the_fields():
    assert HEADER == ",".join(Answer._fields)


def test_answers_are_read_as_they_are(write, tmp_path):
    write(line(5, 1, 7), line(5, 4, None, "12"))
    windows = tmp_path / "windows.csv"
    windows.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n{line(6, 4, 0)}\r\n\r\n".encode())
    assert read_answers([tmp_path / "answers.csv", windows]) == [
        Answer(ID, 5, 1, 10, "unaltered", 7, None, None, 0.0, True, 7, 1.5),
        Answer(ID, 5, 4, 13, "intensity", 1, 2, -1.0, 3.0612, False, None, 12.0),
        Answer(ID, 6, 4, 13, "intensity", 1, 2, -1.0, 3.0612, True, 0, 1.5)]


GOOD = line(5, 4, 1)


def changed(column, text):
    fields = GOOD.split(",")
    fields[HEADER.split(",").index(column)] = text
    return ",".join(fields)


@pytest.mark.parametrize(("bad", "said"), [
    (GOOD + ",1", ["12 columns", "13"]), (GOOD[:-4], ["12 columns", "11"]),
    ("x", ["12 columns", "1: 'x'"]),
    (HEADER, ["'survey'"]), (changed("survey", "12e45"), ["id of a survey", "'12e45'"]),
    (changed("survey", "sffffffffffff"), [f"the survey {ID}", "sffffffffffff"]),
    (changed("participant", "0"), ["'participant'", "from 1 to", "'0'"]),
    (changed("participant", "1e9"), ["'1e9'"]),
    (changed("sample", "-1"), ["'sample'", "'-1'"]),
    (changed("index", "1.0"), ["'index'", "'1.0'"]),
    (changed("part", "other"), ["unaltered or distortion or intensity", "'other'"]),
    (changed("label", "10"), ["'label'", "0 to 9", "'10'"]),
    (changed("label", ""), ["'label'", "''"]),
    (changed("target", "x"), ["'target'", "'x'"]),
    (changed("target", ""), ["a target and a theta"]),
    (changed("target", "1"), ["a target other than the label"]),
    (changed("theta", "nan"), ["'theta'", "'nan'"]),
    (changed("theta", "0.0"), ["a theta other than 0"]),
    (changed("theta", "1.5"), ["'theta'", "-1 to 1"]),
    (changed("distortion", "inf"), ["'distortion'", "'inf'"]),
    (changed("distortion", "100.1"), ["0 to 100"]),
    (changed("distortion", "3,1"), ["12 columns", "13"]),
    (changed("is_digit", "true"), ["yes or no", "'true'"]),
    (changed("is_digit", "no"), ["a digit where is_digit is yes"]),
    (changed("digit", ""), ["a digit where is_digit"]),
    (changed("digit", "10"), ["'digit'", "0 to 9", "'10'"]),
    (changed("digit", "\u0661"), ["'digit'", r"\u0661"]),
    (changed("seconds", "-1"), ["'seconds'", "'-1'"]),
    (changed("seconds", "NaN"), ["'seconds'", "'NaN'"]),
    (changed("seconds", "1" * 500), ["400 bytes at most"]),
    (changed("part", "unaltered"), ["target and a theta"]),
    (line(6, 1, 7).replace("0.0000", "3.0"), ["distortion 0 for an unaltered"]),
    (line(6, 2, 7).replace(",1,14", ",0.5,14"), ["theta 1 in the distortion part"]),
    (line(5, 1, None), ["one answer of participant 5 for sample 1", "second", "line 2"]),
    (line(6, 1, 7).replace(",10,", ",99,"), ["sample 1 as it is in", "line 2", "99"]),
    ("\0" * 20, ["12 columns", r"\x00"]), ("\x1b[31m,", ["12 columns", r"\x1b"])])
def test_a_damaged_line_is_named(bad, said, write, tmp_path, capsys):
    path = write(line(5, 1, 7), line(5, 2, 7), bad)
    assert main(["survey", "analyse", str(path), "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"jsma: error: {path}: line 4: expected "), printed
    assert ", found " in printed, printed
    assert printed.count("\n") == 1 and len(printed) < 400 and printed[:-1].isprintable()
    assert all(word in printed for word in said), printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("content", "said"), [
    (b"", ["line 1", "the header", "an empty file"]),
    (b"\n\n", ["line 1", "the header", "an empty file"]),
    (HEADER.encode(), ["line 1", "answers below the header", "none"]),
    (HEADER.replace(",", ";").encode(), ["line 1", "the header", "survey;participant"]),
    (b"name,age\nx,1\n", ["line 1", "the header", "'name,age'"]),
    (b"\x89PNG\r\n\x1a\n", ["line 1", "UTF-8", "PNG"]),
    (HEADER.encode("utf-16"), ["line 1", "UTF-8"]),
    (HEADER.encode() + b"\n\xff", ["line 2", "UTF-8"])])
def test_a_foreign_file_is_named(content, said, tmp_path):
    path = tmp_path / "foreign.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_answers([path])
    assert str(error.value).startswith(f"{path}: ")
    assert all(word in str(error.value) for word in said)


def test_a_line_of_a_gigabyte_is_not_read(tmp_path):
    with open(tmp_path / "long.csv", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ValueError, match="long.csv: line 1: expected 400 bytes at most"):
        read_answers([tmp_path / "long.csv"])


def test_files_that_do_not_belong_together(write, tmp_path, capsys):
    first = write(line(5, 1, 7))
    other = write(line(6, 1, 7).replace(ID, "sffffffffffff"), name="other.csv")
    with pytest.raises(ValueError,
                       match=f"other.csv: line 2: expected the survey {ID}, as in .*answers.csv"):
        read_answers([first, other])
    said = "answers.csv: line 2: expected one answer of participant 5 for sample 1"
    with pytest.raises(ValueError, match=said):
        read_answers([first, first])
    for path, said in ((tmp_path, "a folder"), (tmp_path / "none.csv", "No such file")):
        assert main(["survey", "analyse", str(path), "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err


def test_names_of_files_are_escaped(write, tmp_path, capsys):
    name = "\x1b[31m<b>\u202e.csv"
    path = write("x", name=name)
    assert main(["survey", "analyse", str(path), "--out", str(tmp_path / "out")]) == 2
    assert r"\x1b[31m<b>\u202e.csv: line 2" in capsys.readouterr().err
    write(line(5, 1, 7), name=name)
    assert main(["survey", "analyse", str(path), "--out", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["files"] == [f"{tmp_path}/" + r"\x1b[31m<b>\u202e.csv"]


# Numbers and figures

ANSWERS = [
    line(1, 1, 7), line(2, 1, 7), line(3, 1, 1), line(4, 1, None),  # 75 % a digit, 50 % right
    line(1, 2, 3), line(2, 2, 3), line(3, 2, 3),                    # 112 pixels: up to 14.29 %
    line(1, 3, None), line(2, 3, 4), line(3, 3, 4), line(4, 3, 0),  # 113 pixels: above
    line(1, 4, 1), line(2, 4, 2), line(1, 5, 9), line(2, 5, None), line(1, 6, None),
    line(2, 6, 2)]


def test_numbers_by_hand(write):
    study = human_study([write(*ANSWERS)])
    sixteen, seventeen = study["fig16"].numbers, study["fig17"].numbers
    assert (sixteen["answers"], sixteen["participants"]) == (11, 4)
    assert (seventeen["answers"], seventeen["participants"]) == (10, 4)
    for group, answers, people, digit, right in (
            (sixteen["unaltered"], 4, 4, 75, 50), (sixteen["up to 14.29 %"], 3, 3, 100, 100),
            (sixteen["above 14.29 %"], 4, 4, 75, 50), (seventeen["all"], 6, 2, 200 / 3, 50),
            (seventeen["thetas"][0], 2, 2, 100, 50), (seventeen["thetas"][1], 2, 2, 50, 50)):
        assert (group["answers"], group["participants"]) == (answers, people)
        assert (group["digit"][0], group["right"][0]) == pytest.approx((digit, right))
    assert [(bin["from"], bin["to"], bin["answers"]) for bin in sixteen["bins"]] == [
        (pytest.approx(300 / 28), pytest.approx(400 / 28), 3),
        (pytest.approx(400 / 28), pytest.approx(500 / 28), 4)]
    assert [group["theta"] for group in seventeen["thetas"]] == [-1, 0.7, 1]


def test_the_interval_takes_a_participant_for_one_draw(write):
    """Three people of one mind are three draws, however many answers they give.

    Wilson for 3 of 3 is [43.85, 100].
    """
    study = human_study([write(*(line(p, 2, 3) for p in (1, 2, 3)))])
    first = study["fig16"].numbers["up to 14.29 %"]
    assert first["digit"][1:] == pytest.approx([43.85, 100], abs=0.01)
    study = human_study([write(*(line(p, s, 0) for p in (1, 2, 3) for s in (4, 5, 6)))])
    seventeen = study["fig17"].numbers["all"]
    assert seventeen["digit"] == pytest.approx([100, 43.85, 100], abs=0.01)
    mixed = human_study([write(*ANSWERS)])["fig17"].numbers["all"]["digit"]
    expected = success_interval([True, True, False, True, False, True], [1, 1, 1, 2, 2, 2])
    assert mixed[1:] == pytest.approx(expected)


def test_rows_set_the_paper_beside_the_answers(write):
    rows = [row for outcome in human_study([write(*ANSWERS)]).values() for row in outcome.rows]
    assert len(rows) == 11
    said = {row.claim: row for row in rows}
    right = said["unaltered samples, the right digit"]
    assert (right.paper, right.verdict) == ("95.30 %", "–")  # of four people
    assert right.ours.startswith("50.00 % [15.00, 85.00]")
    assert right.why.startswith("too few: 4 of the 5 people that are needed; the paper's value ")
    assert right.why.endswith("; 4 answers of 4 people")
    assert said["θ = −1, the right digit"].paper == "90.50 %"
    alike = said["−0.7 ≤ θ ≤ +0.7: the right digit as often as unaltered"]
    assert alike.verdict == "–" and alike.why == (
        "too few: the intervals are too wide to tell; the intervals overlap; 2 answers of 2 people")


@pytest.mark.parametrize(("people", "answer", "verdict"), [
    (5, 1, "differs"), (4, 1, "–"), (20, 7, "agrees"), (5, 7, "–")])
def test_a_verdict_needs_people_and_a_narrow_interval(write, people, answer, verdict):
    """All name one digit: Wilson for 5 of 5 is [57, 100], for 20 of 20 [84, 100], of 0 [0, 43]."""
    study = human_study([write(*(line(p, 1, answer) for p in range(1, people + 1)))])
    row, = (row for row in study["fig16"].rows if row.claim == "unaltered samples, the right digit")
    assert row.verdict == verdict and row.why.startswith("too few") == (verdict == "–")


def test_one_person_alone_is_no_verdict(write):
    rows = [row for outcome in human_study([write(*(line(1, s, 0) for s in SAMPLES))]).values()
            for row in outcome.rows]
    assert {row.verdict for row in rows} == {"–"} and all(row.why.startswith("too few")
                                                            for row in rows)


def drawn(figure):
    """What a figure shows of answers: {series: points (n, 2)}; all else must be the paper's."""
    axis, = figure.axes
    points = {one.lines[0].get_gid(): one.lines[0].get_xydata() for one in axis.containers}
    others = [line for line in axis.lines
              if not any(line in one.lines[:1] + one.lines[1] for one in axis.containers)]
    assert all(other.get_gid() == "paper" or not len(other.get_xydata()) for other in others)
    return points


@pytest.mark.parametrize("lines", [ANSWERS, ANSWERS[:4], ANSWERS[11:], ANSWERS[:1]])
def test_figures_hold_the_answers_and_nothing_else(lines, write):
    for name, outcome in human_study([write(*lines)]).items():
        numbers = outcome.numbers
        groups = [numbers["unaltered"], *numbers["bins" if name == "fig16" else "thetas"]]
        groups = [group for group in groups if group["answers"]]
        points = drawn(FIGURES[name](outcome.arrays))
        assert sorted(points) == (["digit", "right"] if groups else [])
        for series, places in points.items():
            assert places[:, 1].tolist() == [group[series][0] for group in groups]


def test_without_answers_there_is_the_paper_only(tmp_path, capsys):
    assert main(["survey", "analyse", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "no answers: the paper's values only" in printed[-1]
    assert len(printed) == 12 and all("ours no answers, –" in text for text in printed[:-1])
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["fig16.png", "fig17.png", "results.json"]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["files"] == []
    assert results["fig16"]["answers"] == results["fig17"]["answers"] == 0
    for name, outcome in human_study([]).items():
        figure = FIGURES[name](outcome.arrays)
        assert drawn(figure) == {}
        assert figure.axes[0].get_title() == "no answers: the paper's values only"
        assert all(row.ours == "no answers" and row.verdict == "–" for row in outcome.rows)


def test_the_paper_s_values_are_drawn_as_they_are():
    for name, values in (("fig16", [71, 90, 95, 95.3, 97.4]), ("fig17", [90, 90.5, 95, 96])):
        lines = FIGURES[name](human_study([])[name].arrays).axes[0].lines
        assert sorted({float(y) for one in lines if one.get_linestyle() != ":"
                       for y in one.get_ydata()}) == values
    assert PAPER["unaltered"] == (97.4, 95.3)


def test_a_failed_run_leaves_the_results(write, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["survey", "analyse", str(write(*ANSWERS)), "--out", str(out)]) == 0
    said = "fig17: θ = +1, the right digit: paper 90.00 %, ours 50.00 % ["
    assert said in capsys.readouterr().out
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert main(["survey", "analyse", str(write("x")), "--out", str(out)]) == 2
    assert {path: path.read_bytes() for path in out.iterdir()} == before and len(before) == 3
    assert main(["survey", "analyse", "--out", str(Path(__file__))]) == 2
