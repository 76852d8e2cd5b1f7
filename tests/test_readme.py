"""What the README shows runs as it stands, from the repository's root, and prints what it says it prints."""
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.__main__ import main

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S | re.M)


@pytest.mark.parametrize("block", [text for kind, text in BLOCKS if kind == "python"])
def test_python(block):
    shown = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout and not shown.stderr
    for promised in re.findall(r"print\(.*\) +# (wrong: .*)", block):
        assert promised in shown.stdout.splitlines()


@pytest.mark.parametrize("block", [text for kind, text in BLOCKS if not kind and text.startswith("jsma ")])
def test_commands(block):
    for line in block.splitlines():
        assert main(shlex.split(line)[1:]) == 0
