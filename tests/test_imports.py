"""The rooms of the house: imports point one way and in no circle, run-time packages are few, and
the paragraphs at the head of the files lead through each room.

What stands where is read by `rooms.py`, which also prints it (`python tests/rooms.py`).
"""
import ast
import re
import subprocess
import sys
from functools import cache

import pytest
import rooms

PACKAGES = {"data": {"numpy"}, "nn": {"numpy", "scipy"}, "attack": {"numpy", "scipy"},
            "scripts": {"numpy", "scipy", "matplotlib"}}
# extras: only inside a function, all works without them
OPTIONAL = {"torch", "jax", "autograd", "art", "torchattacks", "threadpoolctl"}


def packages(path, everywhere=True):
    """The top-level names that a file imports and that are neither ours nor Python's own."""
    names = {name.split(".")[0] for name in rooms.imported(path, everywhere)}
    return names - set(sys.stdlib_module_names) | names & {"tests", *rooms.BELOW}


@pytest.mark.parametrize("room", rooms.BELOW)
def test_imports_point_one_way(room):
    files = [path for path in rooms.files() if path.parts[0] == room]
    assert len(files) > 2
    for path in files:
        names = packages(path)
        assert names & {"tests", *rooms.BELOW} <= rooms.BELOW[room] | {room}, path
        assert names - set(rooms.BELOW) - OPTIONAL <= PACKAGES[room], path
        assert not OPTIONAL & packages(path, everywhere=False), path


def test_no_import_points_upward_or_in_a_circle():
    """Imports inside functions count."""
    assert rooms.upward() == []
    assert rooms.circles() == []


def test_a_circle_and_an_arrow_upward_would_be_seen(tmp_path, monkeypatch):
    """What makes the test above worth something: three files in a circle, one that looks up."""
    for name, text in {"nn/a.py": "import nn.b\n", "nn/b.py": "def f():\n    from nn import c\n",
                       "nn/c.py": "from nn.a import x\n", "data/d.py": "from scripts.e import y\n",
                       "scripts/e.py": "import nn.a\n", "attack/f.py": ""}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text, encoding="utf-8")
    for function in (rooms.files, rooms.tree, rooms.imported, rooms.imports, rooms.circles):
        monkeypatch.setattr(rooms, function.__name__, cache(function.__wrapped__))
    monkeypatch.setattr(rooms, "ROOT", tmp_path)
    assert rooms.circles() == [("nn.a", "nn.b", "nn.c")]
    assert [(str(path), name) for path, name in rooms.upward()] == [("data/d.py", "scripts.e")]
    assert rooms.main() == 1


def test_the_picture_shows_every_file(capsys):
    assert rooms.main() == 0
    shown = capsys.readouterr().out
    assert all(shown.count(f"\n    {path.name} ") >= 1 for path in rooms.files())
    assert "none in a circle" in shown


@pytest.mark.parametrize("room", ["nn", "attack"])
def test_each_file_says_what_it_is_and_where_to_read_on(room):
    """The reading order is a path from the textbook through every file of the room, each once."""
    onward = {}
    for path in rooms.files():
        if path.parts[0] == room and path.name != "__init__.py":
            name = ".".join(path.relative_to(room).with_suffix("").parts)
            text = ast.get_docstring(rooms.tree(path))
            assert "In" in text and ("Out:" in text or "out" in text), name
            (onward[name],) = re.findall(r"[Rr]ead\s+on\s+in\s+`([\w.]+)`", text)
    path = []
    here = "textbook"
    while here in onward and here not in path:
        path.append(here)
        here = onward[here]
    assert sorted(path) == sorted(onward)
    assert (rooms.ROOT / here.replace(".", "/")).with_suffix(".py").exists()


@pytest.mark.parametrize("room", ["nn", "attack"])
def test_each_room_names_its_files(room):
    """The paragraph of a folder's `__init__.py` says in which order to read, or what is in it."""
    for path in rooms.files():
        if path.parts[0] == room and path.name != "__init__.py":
            text = ast.get_docstring(rooms.tree(path.parent / "__init__.py"))
            assert f"`{path.stem}`" in text, path


def test_imports_load_only_what_every_start_needs():
    """SciPy's parts and matplotlib start slowly: each is loaded by what uses it, when it does."""
    code = ("import pkgutil, sys, attack, data, nn, scripts\n"
            "names = [name for _, name, _ in pkgutil.iter_modules(scripts.__path__)]\n"
            "for name in names: __import__(f'scripts.{name}')\n"
            "slow = ['scipy.special', 'scipy.stats', 'scipy.sparse', 'scipy.optimize']\n"
            "print(len(names), [name for name in [*slow, 'matplotlib'] if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], cwd=rooms.ROOT, capture_output=True,
                          text=True)
    number, loaded = done.stdout.split(maxsplit=1)
    assert int(number) > 8 and loaded == "[]\n", done.stderr
