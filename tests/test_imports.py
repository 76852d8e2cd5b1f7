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
    files = sorted((ROOT / room).glob("*.py"))
    assert len(files) > 2
    for path in files:
        names = set(imported(path)) - set(sys.stdlib_module_names) - OURS | set(imported(path)) & OURS
        assert names & OURS <= ALLOWED[room], path
        assert names - OURS - OPTIONAL <= PACKAGES[room], path
        assert not OPTIONAL & set(imported(path, everywhere=False)), path


@pytest.mark.parametrize("room", ["nn", "attack"])
def test_each_file_says_what_it_is_and_where_to_read_on(room):
    """The reading order: every file is named by another, or is where its room begins, and every name is a file."""
    texts = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
             for path in (ROOT / room).glob("*.py")}
    named = set(re.findall(r"`(\w+)`", texts["__init__"]))
    for name, text in texts.items():
        if name == "__init__":
            continue
        assert "In" in text and ("Out:" in text or "out" in text), name
        onward = re.findall(r"[Rr]ead\s+on\s+in\s+`([\w.]+)`", text)
        assert onward, name
        for place in onward:
            assert (ROOT / (place.replace(".", "/") if "." in place else f"{room}/{place}")).with_suffix(".py").exists()
            named.add(place)
    assert set(texts) - {"__init__"} <= named | {"layer", "functions", "interop"}
