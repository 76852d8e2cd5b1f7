"""Entries that come back to the wrong place, or over one another: `=` where `+=` is needed, windows
of another stride, parts in another order.

In: a `Way`, a `Group` of uses. Out: `Mutation`s. Read on in `verify.tape.others`.
"""
import numpy as np

from nn.verify.tape.reverse import share, with_axes
from nn.verify.tape.uses import CONSTANTS, Mutation


def moves(way, group):
    """What only moves entries, moved back otherwise."""
    node, which = group.uses[-1]
    shape = group.operand.value.shape
    if node.op in ("transpose", "swapaxes", "moveaxis") and node.value.ndim > 1:
        yield group.edited(lambda: f"the axes of {node} are not put back in order: reshaped where "
                           "they should be transposed",
                           lambda node, which: lambda g: np.reshape(
                               g, node.operands[which].value.shape))
    if node.op == "cumsum":
        yield group.edited(lambda: f"the later terms of the sum {node} are missing",
                           lambda node, which: lambda g: np.reshape(
                               g, node.operands[which].value.shape))
    if node.op == "pad":
        def cut(node, which):
            return lambda g: g[tuple(slice(0, n) for n in node.operands[which].value.shape)]
        yield group.edited(lambda: f"the padding of {node} is cut at the far end only: moved by "
                           "the pad's width", cut)
    if node.op in ("max", "min"):
        other = "min" if node.op == "max" else "max"

        def wrong_place(node, which):
            """The share of the other extreme."""
            x = node.values[0]
            extreme = getattr(x, other)(axis=node.params["axes"], keepdims=True)
            return lambda g: with_axes(node, g) * (x == extreme)
        yield group.edited(lambda: f"sent to the place of the {CONSTANTS[other]}, not of the "
                           f"{CONSTANTS[node.op]}, in {node}", wrong_place)
        yield group.edited(lambda: f"sent to the whole window, not to the place of the "
                           f"{CONSTANTS[node.op]}, in {node}",
                           lambda node, which: lambda g: np.broadcast_to(
                               with_axes(node, g), node.values[which].shape))
    if node.kind == "moved" and len(node.operands) > 1:
        for other, operand in enumerate(node.operands):
            if other != which and operand.value.shape == shape:
                yield group.edited(
                    lambda operand=operand: f"swapped: {group.operand} gets what belongs to "
                    f"{operand}, in another order than {node}",
                    lambda node, which, other=other: lambda g: share(node, other, g))


def kept_only(way, group):
    """Only one of several paths to a value counts."""
    if len(group.uses) < 2 or len({id(node.operands[which]) for node, which in group.uses}) > 1:
        return
    for at, word in ((0, "first"), (-1, "last")):
        node, which = group.uses[at]
        yield Mutation(
            lambda word=word: f"only the {word} of {len(group.uses)} places or steps counts, not "
            f"their sum (`=` where `+=` is needed): {group.node} for {group.operand}",
            {(other.number, k): None for other, k in group.uses if (other, k) != (node, which)})


def overwritten(way, group):
    """Where entries are taken more than once, `=` in place of `+=`; and windows elsewhere."""
    nodes = [node for node, _ in group.uses]
    operand = group.operand
    if nodes[0].op not in ("getitem", "take") or any(
            node.operands[0] is not operand for node in nodes):
        return
    size = operand.value.size

    def assigned(numbers):
        """Rules by which what comes later in the loop is written over what came before; `numbers`
        of an operation are where it writes."""
        owner = np.zeros(size + 1, int)
        for order, node in enumerate(nodes, 1):
            owner[np.ravel(numbers[node.number])] = order

        def rule(node, which):
            """The share of one of them."""
            order = 1 + [each.number for each in nodes].index(node.number)

            def write(g):
                """Into zeros."""
                table = np.zeros(size + 1)
                table[np.ravel(numbers[node.number])] = np.ravel(g)
                return np.where(owner == order, table, 0)[1:].reshape(operand.value.shape)
            return write
        return rule

    own = {node.number: node.params["numbers"] for node in nodes}
    where = "windows overlap" if len(nodes) > 1 else f"entries of {operand} come more than once"

    def words():
        """Where."""
        return (f"overwritten where {where}: `=` where `+=` is needed (np.add.at), in {nodes[0]}")

    yield group.edited(words, assigned(own))
    if len(nodes) > 1:
        nodes.reverse()
        yield group.edited(words, assigned(own))
    yield from _over_others(way, group)
    yield from _elsewhere(group, operand)


def _over_others(way, group):
    """What comes back through these uses is written over that of all others of the same value."""
    target, mine = group.operand, {node.number for node, _ in group.uses}
    written = np.isin(1 + np.arange(target.value.size), np.concatenate(
        [np.ravel(node.params["numbers"]) for node, _ in group.uses])).reshape(target.value.shape)
    others = [(node, which) for node, which in way.uses
              if node.operands[which] is target and node.number not in mine]
    if others:
        yield Mutation(
            lambda: f"overwritten: what comes back through {group.node} to {target} is written "
            "over what the other paths give (`=` where `+=` is needed)",
            {(node.number, which): lambda g, node=node, which=which: np.where(
                written, 0, share(node, which, g)) for node, which in others})


def _elsewhere(group, operand):
    """Windows of a stride, read back as if the stride were 1."""
    keys = [node.params.get("key") for node, _ in group.uses]
    if len(keys) < 2 or not all(isinstance(key, tuple) for key in keys):
        return
    starts = np.array([[each.start or 0 for each in key if isinstance(each, slice)]
                       for key in keys], int)
    stride = np.gcd.reduce(starts.ravel())
    if stride < 2:
        return

    def rule(node, which):
        """The share at the other places."""
        key = tuple(slice(each.start // stride, each.start // stride + each.stop - each.start)
                    if isinstance(each, slice) and each.start else each
                    for each in node.params["key"])

        def add(g):
            """Into zeros."""
            table = np.zeros(operand.value.shape)
            if table[key].shape == np.shape(g):
                table[key] += g
            return table
        return add

    yield group.edited(lambda: f"sent to the places of a stride of 1, where {group.node} has a "
                       f"stride of {stride}", rule)
