"""Where a mistake can be made: in each use of a value by an operation on the tape, and in all uses
of one place in the code, as in a loop.

In: a `Way`. Out: `Group`s, and `Mutation`, a mistake with its words. Read on in
`verify.tape.forgotten`.
"""
from collections.abc import Callable
from typing import NamedTuple

CONSTANTS = {"mean": "mean", "var": "variance", "std": "standard deviation", "norm": "norm",
             "max": "maximum", "min": "minimum"}
ADDING = ("add", "subtract")
MANY = 6  # steps of a loop that are each looked at alone


class Mutation(NamedTuple):
    """What to change in `Way.changed`, and the words if that gives the claimed numbers."""
    words: Callable
    change: dict


class Group(NamedTuple):
    """Uses of values by operations, all of the same place in the code: (`Node`, which operand)."""
    uses: list

    @property
    def node(self):
        """The last of the operations."""
        return self.uses[-1][0]

    @property
    def operand(self):
        """What the last of them uses."""
        node, which = self.uses[-1]
        return node.operands[which]

    def edited(self, words, rule):
        """The `Mutation` of all uses by `rule(node, which)` → a function of the cotangent."""
        steps = (f", in each of {len(self.uses)} steps (in time) or places" if len(self.uses) > 1
                 else "")
        return Mutation(lambda: words() + steps, {(node.number, which): rule(node, which)
                                                  for node, which in self.uses})


def groups(way):
    """`Group`s of uses of one place of the code, by the whole stack of calls and by the innermost
    call; and those of one use in a loop alone. Those that go right into an array that is
    differentiated for come first."""
    leaves = {leaf.number for leaf in way.leaves.values()}
    wide, single, seen = [], [], set()
    for depth in (None, 1, 0):
        places = {}
        for node, which in way.uses:
            place = node.number if depth == 0 else tuple(
                (code, instruction) for code, _, instruction in node.place[:depth])
            places.setdefault((node.op, place, which), []).append((node, which))
        for uses in places.values() if depth != 0 else _ends(way, places):
            key = tuple((node.number, which) for node, which in uses)
            if key not in seen:
                seen.add(key)
                (wide if depth != 0 else single).append(Group(uses))

    def order(group):
        return group.operand.number not in leaves, -len(group.uses)

    return sorted(wide, key=order), sorted(single, key=order)


def _ends(way, places):
    """Of uses each alone, those that do not come in a loop, and a loop's first and last ones."""
    by_place = {}
    for uses in places.values():
        node, which = uses[0]
        key = node.op, which, tuple((code, at) for code, _, at in node.place)
        by_place.setdefault(key, []).append(uses)
    for several in by_place.values():
        yield from several if len(several) <= MANY else several[:2] + several[-2:]
