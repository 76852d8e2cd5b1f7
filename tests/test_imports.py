"""The direction of imports: data and nn stand alone, attack knows no layer, only scripts draws; run-time packages."""
import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"data", "nn", "attack", "scripts", "tests"}
ALLOWED = {"data": {"data"}, "nn": {"nn"}, "attack": {"attack"}, "scripts": OURS - {"tests"}}
PACKAGES = {"data": {"numpy"}, "nn": {"numpy", "scipy"}, "attack": {"numpy", "scipy"},
            "scripts": {"numpy", "scipy", "matplotlib"}}
OPTIONAL = {"torch", "jax", "autograd", "art", "torchattacks"}  # extras: only inside a function, all works without them


def imported(path, everywhere=True):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module.split(".")[0]


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_one_way(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert len(files) > 2
    for path in files:
        names = set(imported(path)) - set(sys.stdlib_module_names) - OURS | set(imported(path)) & OURS
        assert names & OURS <= ALLOWED[room], path
        assert names - OURS - OPTIONAL <= PACKAGES[room], path
        assert not OPTIONAL & set(imported(path, everywhere=False)), path


@pytest.mark.parametrize("room", ["nn", "attack"])
def test_each_file_says_what_it_is_and_where_to_read_on(room):
    """The reading order is a path: from the file that no other names through every file of the room, each once."""
    texts = {".".join(path.relative_to(ROOT / room).with_suffix("").parts):
             ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in (ROOT / room).rglob("*.py")}
    onward = {}
    for name, text in texts.items():
        if not name.endswith("__init__"):
            assert "In" in text and ("Out:" in text or "out" in text), name
            (onward[name],) = re.findall(r"[Rr]ead\s+on\s+in\s+`([\w.]+)`", text)
    (here,) = set(onward) - set(onward.values())
    path = []
    while here in onward and here not in path:
        path.append(here)
        here = onward[here]
    assert sorted(path) == sorted(onward)
    assert (ROOT / here.replace(".", "/")).with_suffix(".py").exists()
