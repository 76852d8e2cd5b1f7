"""What the README shows runs as it stands, from the repository's root, and prints what it says it
prints.
"""
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.__main__ import main

ROOT = Path(__file__).parent.parent
# (kind, what it holds, the ```text block right behind it, or "")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```\n(?:\n```text\n(.*?)^```)?",
                    (ROOT / "README.md").read_text(encoding="utf-8"), re.S | re.M)


def in_a_process(block):
    """What the block prints, out and errors, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize(("block", "promised"), [
    pytest.param(text, shown, marks=[pytest.mark.slow] * ("processes(" in text))
    for kind, text, shown in BLOCKS if kind == "python"])
def test_python(block, promised, monkeypatch, capsys):
    for package in re.findall(r"^(?:import|from) (torch|jax|sklearn)", block, re.M):
        pytest.importorskip(package,
                            reason=f"{package} is not installed (pip install 'jsma[models]')")
    monkeypatch.chdir(ROOT)
    if "processes(" in block:  # that start by reading this file again
        out, errors = in_a_process(block)
    else:
        exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
        out, errors = capsys.readouterr()
    assert out and not errors
    assert promised in ("", out)
    for line in re.findall(r"print\(.*\) +# (wrong: .*)", block):
        assert line in out.splitlines()


@pytest.mark.parametrize(("block", "promised"), [  # tests/scripts/test_verify.py is a short one
    pytest.param(text, shown, marks=[pytest.mark.slow] * text.startswith("jsma verify"))
    for kind, text, shown in BLOCKS if not kind and text.startswith("jsma ")])
def test_commands(block, promised, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in block.splitlines():
        assert main(shlex.split(line)[1:]) == 0
    assert promised in ("", capsys.readouterr().out)


def test_the_lecture_has_six_steps_that_show_what_they_print():
    assert sum(bool(shown) for _, _, shown in BLOCKS) == 6


def test_the_numbers_of_the_full_run_are_those_that_were_kept():
    """Every claim of `scripts/results/full.json` that the README shows, word for word."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    results = (ROOT / "scripts" / "results" / "full.json").read_text(encoding="utf-8")
    experiments = json.loads(results)["experiments"]
    assert experiments["fig11"]["numbers"]["all"]["samples"] == 270_000
    for name in ("fig11", "decreasing", "upsilon", "fig12", "fig13", "fig14", "fig15", "detection",
                 "training"):
        for claim in experiments[name]["claims"]:
            line = f"| {claim['claim']} | {claim['paper']} | {claim['ours']} | {claim['verdict']} |"
            assert line in text
