"""One NumPy operation of a person's own function, as it was computed: its operands, its value, and
where in the code it stands.

In: values. Out: `Node`, and `Tape`, all of them in the order of computation. Read on in
`verify.tape.operations`.
"""
import linecache
import sys

import numpy as np

HERE = __name__.rpartition(".")[0]
LONGEST = 60  # letters of a line of code that are shown
LARGEST = 10_000_000  # numbers on a tape


class TooLong(RuntimeError):
    """More operations than anybody would look at."""


class Node:
    """A value and how it was made.

    `op` is the operation's name, "leaf" for an array that is differentiated for, "constant" for
    what came from elsewhere. `kind` says how it goes back (`reverse.SHARES`), `params` what that
    needs to know. `place` is the stack of calls it was made in, innermost first. `name` is what the
    code calls it, None until it is used.
    """

    def __init__(self, number, op, kind, operands, value, params, place, name):
        self.number, self.op, self.kind = number, op, kind
        self.operands, self.params, self.place, self.name = operands, params, place, name
        self.value = np.array(value)

    @property
    def values(self):
        """Of the operands."""
        return [operand.value for operand in self.operands]

    def __str__(self):
        """Its name, and the code that made it."""
        if self.op == "constant" and self.value.size == 1 and not self.name:
            return f"{self.value.item():.6g}"
        code = self.place and code_at(*self.place[0])
        if self.name and code and self.name in code.split(", "):  # a, b = …
            code = ""
        named = " = ".join(filter(None, (self.name, code)))
        shape = "×".join(map(str, self.value.shape))
        return f"`{named}`" if named else f"{self.op} ({shape})" if shape else self.op


class Tape:
    """The operations of one call."""

    def __init__(self):
        self.nodes = []
        self.size = 0
        self._constants = {}

    def add(self, op, kind, operands, value, **params):
        """A new `Node`."""
        return self._append(op, kind, operands, value, params, _place(), None)

    def leaf(self, name, value):
        """The `Node` of an array that is differentiated for."""
        return self._append("leaf", "leaf", [], value, {}, (), name)

    def operand(self, value):
        """The `Node` of an operand: that of a recorded array, or a constant's."""
        node = getattr(value, "node", None)
        if node is not None:
            if node.name is None:
                node.name = _variable(value)
            return node
        array, node = self._constants.get(id(value), (None, None))
        if array is None or not np.array_equal(node.value, np.asarray(value)):
            node = self._append("constant", "leaf", [], np.asarray(value), {}, (),
                                _variable(value) if np.size(value) > 1 else "")
            self._constants[id(value)] = value, node
        return node

    def _append(self, *about):
        node = Node(len(self.nodes), *about)
        self.nodes.append(node)
        self.size += node.value.size
        if self.size > LARGEST:
            raise TooLong
        return node


def _place():
    """((code, line, instruction), …) of the person's calls, innermost first."""
    return tuple((frame.f_code, frame.f_lineno, frame.f_lasti) for frame in _frames())


def _frames():
    frame = sys._getframe(1)
    while frame is not None:
        if is_of_numpy(frame) or frame.f_globals.get("__name__", "").startswith(HERE):
            if frame.f_code.co_name == "recorded_call":
                return
        else:
            yield frame
        frame = frame.f_back


def is_of_numpy(frame):
    """Whether a call's code is NumPy's or SciPy's own."""
    return frame.f_globals.get("__name__", "").split(".")[0] in ("numpy", "scipy")


def _variable(value):
    """What a person's code calls an array, in the outermost call that knows it; or ""."""
    for same in (value, getattr(value, "base", None)):
        for frame in reversed(list(_frames())):
            for name, other in frame.f_locals.items():
                if other is same and same is not None:
                    return name
    return ""


def code_at(code, line, instruction):
    """The expression that an instruction computes, or its line."""
    text = linecache.getline(code.co_filename, line)
    if hasattr(code, "co_positions"):  # from Python 3.11 on
        first, last, start, end = list(code.co_positions())[instruction // 2]
        if first == last and start is not None:
            text = linecache.getline(code.co_filename, first).encode()[start:end].decode()
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[:LONGEST - 1] + "…"
