"""The picture of the tree: `python tests/rooms.py` prints rooms and files, and what imports what.

In: the source files, read with `ast`; nothing is imported. Out: for each folder its files with
their number of lines and the first words of their paragraph, the folders it imports from, and
whether any import points upward or in a circle (exit status 1), those inside functions included.
The functions are also what `test_imports.py` holds the tree against.
"""
import ast
import sys
import textwrap
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BELOW = {"scripts": {"attack", "nn", "data"}, "attack": set(), "nn": set(), "data": set()}
WORDS = 70  # characters of a file's paragraph that are shown


@cache
def files():
    """Every Python file of the rooms, as paths relative to the root, in order."""
    return sorted(path.relative_to(ROOT) for room in BELOW for path in (ROOT / room).rglob("*.py"))


def module(path):
    """The dotted name of a file, that of its folder for an `__init__.py`."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path):
    """The syntax tree of a file."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


@cache
def imported(path, everywhere=True):
    """Each imported name in full, ours or not: "numpy", "attack.goals.GOALS".

    everywhere: also inside functions. ValueError for a relative import.
    """
    names = []
    for node in ast.walk(tree(path)) if everywhere else tree(path).body:
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}:{node.lineno}: a relative import")
            names += (f"{node.module}.{alias.name}" for alias in node.names)
    return names


@cache
def imports(path):
    """The modules of the rooms that a file imports, inside functions too: a set of dotted names."""
    ours = {module(other) for other in files()}
    modules = set()
    for name in imported(path):
        modules.add(name if name in ours else name.rpartition(".")[0])
    return modules & ours


@cache
def circles():
    """The sets of modules that import each other in a circle, as sorted tuples of dotted names."""
    direct = {module(path): imports(path) for path in files()}
    below = {name: _all_below(name, direct) for name in direct}
    return sorted({tuple(sorted(other for other in below[name] if name in below[other]))
                   for name in direct if name in below[name]})


def _all_below(name, direct):
    """What a module imports, directly or through others."""
    modules = set()
    waiting = set(direct[name])
    while waiting:
        other = waiting.pop()
        modules.add(other)
        waiting |= direct[other] - modules
    return modules


def upward():
    """Imports from a room that does not lie below: (path, module) each."""
    return [(path, name) for path in files() for name in sorted(imports(path))
            if name.split(".")[0] not in BELOW[path.parts[0]] | {path.parts[0]}]


def folders():
    """{folder: its files}, rooms in the order of `BELOW`."""
    order = list(BELOW)
    contents = {}
    for path in sorted(files(), key=lambda path: (order.index(path.parts[0]), path.parent, path)):
        contents.setdefault(path.parent, []).append(path)
    return contents


def picture():
    """Yields the lines of the picture."""
    for folder, paths in folders().items():
        lines = [(ROOT / path).read_text(encoding="utf-8").count("\n") for path in paths]
        yield f"{folder}/  {len(paths)} files, {sum(lines)} lines"
        others = _other_folders(folder, paths)
        if others:
            yield f"  → {', '.join(others)}"
        for path, count in zip(paths, lines):
            yield f"    {path.name:19} {count:4}  {_first_words(path)}"
        yield ""


def _other_folders(folder, paths):
    """The other folders that these files import from."""
    packages = {module(path) for path in files() if path.name == "__init__.py"}
    names = {name if name in packages else name.rpartition(".")[0]
             for path in paths for name in imports(path)}
    return sorted(name.replace(".", "/") for name in names - {".".join(folder.parts)})


def _first_words(path):
    paragraph = (ast.get_docstring(tree(path)) or "").split("\n\n")[0]
    return textwrap.shorten(paragraph, WORDS, placeholder=" …")


def main():
    """Print the picture; returns 0 where every arrow points down and none in a circle."""
    print("\n".join(picture()))
    wrong = [f"{path} imports {name}, which does not lie below it" for path, name in upward()]
    wrong += [f"a circle: {', '.join(circle)}" for circle in circles()]
    print("\n".join(wrong) or
          "every import points down (scripts → attack, nn, data), none in a circle")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
