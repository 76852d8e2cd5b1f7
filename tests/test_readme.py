"""What the READMEs show runs as it stands, from the repository's root, and prints what it says it
prints: `#>` begins a line of output. Their links lead somewhere.
"""
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nn.models import LENETS
from scripts.__main__ import main
from scripts.results.chosen_pixels import picture

ROOT = Path(__file__).parent.parent
NAMES = ("README.md", "nn/README.md", "attack/README.md", "scripts/results/README.md",
         "tests/trust/README.md")
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
BLOCKS = [(name, kind, text) for name in NAMES
          for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", TEXTS[name], re.S | re.M)]
LECTURE = re.search(r"^## A lecture.*?(?=^## )", TEXTS["README.md"], re.S | re.M).group()


def promised(block):
    """The output that a block shows, "" where it shows none."""
    return "".join(f"{line}\n" for line in re.findall(r"^#> (.*)", block, re.M))


def in_a_process(block):
    """What the block prints, out and errors, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("block", [
    pytest.param(text, id=f"{name}-{number}", marks=[pytest.mark.slow] * ("processes(" in text))
    for number, (name, kind, text) in enumerate(BLOCKS)
    if kind == "python" and text not in LECTURE])
def test_python(block, monkeypatch, capsys):
    for package in re.findall(r"^(?:import|from) (torch|jax|sklearn)", block, re.M):
        pytest.importorskip(package,
                            reason=f"{package} is not installed (pip install 'jsma[models]')")
    monkeypatch.chdir(ROOT)
    names = {"__name__": "__main__"}
    if "processes(" in block:  # that start by reading this file again
        out, errors = in_a_process(block)
    else:
        exec(compile(block, "README.md", "exec"), names)
        out, errors = capsys.readouterr()
    tests = [one for name, one in names.items() if name.startswith("test_")]
    assert (out or tests) and not errors
    for test in tests:
        test()
    assert promised(block) in ("", out)
    for line in re.findall(r"print\(.*\) +# (wrong: .*)", block):
        assert line in out.splitlines()


@pytest.mark.parametrize("block", [  # tests/scripts/test_verify.py is a short one
    pytest.param(text, marks=[pytest.mark.slow] * text.startswith("jsma verify"))
    for _, kind, text in BLOCKS if not kind and text.startswith("jsma ")])
def test_commands(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^(jsma .*)", block, re.M):
        assert main(shlex.split(line)[1:]) == 0
    assert promised(block) in ("", capsys.readouterr().out)


def test_the_lecture_runs_in_one_session_and_shows_what_it_prints(monkeypatch, capsys):
    """The sixth step is a command: `test_commands`."""
    monkeypatch.chdir(ROOT)
    assert re.findall(r"^\*(\d)\. ", LECTURE, re.M) == list("123456")
    blocks = [text for name, kind, text in BLOCKS if kind == "python" and text in LECTURE]
    assert len(blocks) == 5
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
        out, errors = capsys.readouterr()
        assert out == promised(block) != "" and not errors


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_and_headings(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if target.startswith("https://"):
            continue
        file, _, heading = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.is_file(), target
        if heading:
            headings = re.findall(r"^#+ (.*)", path.read_text(encoding="utf-8"), re.M)
            assert heading in [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-")
                               for one in headings], target


def test_the_page_is_short_and_its_pictures_are_small():
    assert len(TEXTS["README.md"].splitlines()) <= 240
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", TEXTS["README.md"])
    assert len(pictures) == 3
    for name in pictures:
        assert (ROOT / name).stat().st_size <= 100_000


def test_the_first_picture_shows_what_its_words_say():
    before, _, _, after = (axis.get_title() for axis in picture().axes[:4])
    assert (before, after) == ("read as 7", "28 pixels later: read as 8")
    assert re.search(r"the 7 with 28 pixels changed,\s.*reads as an 8", TEXTS["README.md"])


def results(name):
    """The experiments of a file in scripts/results."""
    text = (ROOT / "scripts" / "results" / name).read_text(encoding="utf-8")
    return json.loads(text)["experiments"]


def test_the_numbers_of_the_full_run_are_those_of_its_file():
    """Every claim of `scripts/results/full.json` that its README shows, word for word."""
    text = TEXTS["scripts/results/README.md"]
    experiments = results("full.json")
    assert experiments["fig11"]["numbers"]["all"]["samples"] == 270_000
    for name in ("fig11", "decreasing", "upsilon", "fig12", "fig13", "fig14", "fig15", "detection",
                 "training"):
        for claim in experiments[name]["claims"]:
            line = f"| {claim['claim']} | {claim['paper']} | {claim['ours']} | {claim['verdict']} |"
            assert line in text


@pytest.mark.parametrize(("file", "pages"), [
    ("full.json", 2), ("shipped-logits.json", 2), ("shipped-probabilities.json", 1)])
def test_fig_11_by_several_readings_is_that_of_their_files(file, pages):
    """At the paper's size: on the page of the numbers, and two of them on the main page."""
    experiment = results(file)["fig11"]
    assert experiment["numbers"]["all"]["samples"] == 270_000
    shown = [f"{claim['ours']} {claim['verdict']} |" for claim in experiment["claims"]]
    for page in ("scripts/results/README.md", "README.md")[:pages]:
        assert all(one in TEXTS[page] for one in shown)


def test_the_numbers_of_the_readings_are_those_of_its_file():
    """Values and counts of `scripts/results/readings.json` that the pages show."""
    listed = results("readings.json")["readings"]["numbers"]["readings"]
    readings = {(one["network"], one["of"], one["rule"]): one for one in listed}
    page, table = TEXTS["README.md"], TEXTS["scripts/results/README.md"]
    assert f"Of {len(listed)} readings" in page and f"tries {len(listed)} readings" in table
    columns = [("lenet", "logits", "paper"), ("lenet", "probabilities", "paper"),
               ("lenet", "rounded", "paper"), ("paper-0-200", "logits", "paper"),
               ("paper-0-200", "probabilities", "paper"),
               ("paper-0-200", "probabilities", "unsaturated"), ("paper-0-200", "rounded", "paper"),
               ("paper-2-200", "probabilities", "paper"), ("relu-0-200", "probabilities", "paper")]
    counts = " | ".join(str(readings[column]["agrees"]) for column in columns)
    assert f"| claims that agree, of 28 | | {counts} |" in table
    for number in range(len(readings[columns[0]]["claims"])):
        claims = [readings[column]["claims"][number] for column in columns]
        values = [re.match(r"(?:by )?([^ ]+)", claim["ours"])[1] for claim in claims]
        rows = [line for line in table.splitlines()
                if line.startswith(f"| {claims[0]['claim']}") and line.count("|") == 12]
        if claims[0]["experiment"] in ("fig11", "decreasing", "upsilon", "theta", "fig14"):
            assert any(all(value in line for value in values) for line in rows)
    for one in listed:  # what the main page says of all of them
        verdicts = {(claim["experiment"], claim["claim"]): claim["verdict"]
                    for claim in one["claims"]}
        assert {word for (name, _), word in verdicts.items()
                if name in ("fig12", "fig13") and word != "–"} == {"agrees"}
        assert verdicts["upsilon", "Υ beyond 14.5 % brings no significant gain"] != "agrees"


def test_what_the_page_says_of_the_networks_of_the_time():
    """The table over epochs and starts, cell by cell."""
    listed = results("readings.json")["readings"]["numbers"]["readings"]
    readings = {(one["network"], one["of"]): one for one in listed if one["rule"] == "paper"}
    rows = {line.split(" | ")[0][2:]: line.strip("| ").split(" | ")
            for line in TEXTS["scripts/results/README.md"].splitlines()}
    shown = [("probabilities", "fig11", "success rate τ"),
             ("probabilities", "fig11", "mean distortion ε of the successes"),
             ("probabilities", "fig11", "mean distortion of all samples"),
             ("probabilities", "decreasing", "success rate τ with θ = −1"),
             ("probabilities", "decreasing", "mean distortion ε with θ = −1"),
             ("logits", "fig11", "success rate τ"),
             ("logits", "fig11", "mean distortion ε of the successes"),
             ("logits", "decreasing", "success rate τ with θ = −1")]
    for name in LENETS:
        cells = rows[name][2:-1]
        for (of, experiment, what), cell in zip(shown, cells, strict=True):
            claim, = (claim for claim in readings[name, of]["claims"]
                      if (claim["experiment"], claim["claim"]) == (experiment, what))
            value = claim["ours"].split(" [")[0]
            assert cell == (f"**{value}**" if claim["verdict"] == "agrees" else value)
