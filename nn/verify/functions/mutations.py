"""One mistake at a time, in one operation on the tape: the f' left out, an operand not transposed, a
path not added. Each comes with its words.

In: a `Way`. Out: `Mutation`s, the plainest first. A mistake is made in one operation, and in all
of the same place in a loop. Read on in `verify.functions.compounds`.
"""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nn.verify.functions.reverse import contract, partial, share, summed_to, with_axes

CONSTANTS = {"mean": "mean", "var": "variance", "std": "standard deviation", "norm": "norm",
             "max": "maximum", "min": "minimum"}
ADDING = ("add", "subtract")
NEIGHBOURS = 40  # values of the same shape that may stand for another
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
    """All `Group`s: uses of one place of the code, by the whole stack of calls, by the innermost
    call, and each alone; those that go right into an array that is differentiated for first."""
    found, seen = [], set()
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
                found.append(Group(uses))
    leaves = {leaf.number for leaf in way.leaves.values()}
    return sorted(found, key=lambda group: (group.operand.number not in leaves, -len(group.uses)))


def _ends(way, places):
    """Of uses each alone, those that do not come in a loop, and a loop's first and last ones."""
    by_place = {}
    for uses in places.values():
        node, which = uses[0]
        key = node.op, which, tuple((code, at) for code, _, at in node.place)
        by_place.setdefault(key, []).append(uses)
    for several in by_place.values():
        yield from several if len(several) <= MANY else several[:2] + several[-2:]


def of_edges(way):
    """Mistakes in what one operation hands on to one operand."""
    all_groups = groups(way)
    for make in (slopes, powers, transposed, summed, left_out, moves, overwritten, kept_only,
                 factors, replaced, everywhere, exchanged):
        for group in all_groups:
            yield from make(way, group)


def slopes(way, group):
    """The derivative of a unit-wise operation is 1; or a mask is not there."""
    node, operand = group.node, group.operand
    if node.kind != "elementwise" or node.op in (*ADDING, "negative"):
        return

    def plain(node, which):
        shape = node.operands[which].value.shape
        return lambda g: summed_to(g, shape)

    def words():
        """What was left out."""
        if node.op in ("multiply", "divide"):
            other = node.operands[1 - group.uses[-1][1]]
            values = np.unique(other.value)
            if other.value.size > 1 and values.size <= 2 and 0 in values:
                return f"the mask {other} is forgotten on the way back through {node}"
            if node.op == "divide":
                return (f"not divided by {other} on the way back through {node}: this factor is "
                        "missing")
            return f"the factor {other} is missing on the way back through {node}"
        if node.op in ("maximum", "minimum", "where", "clip"):
            return (f"the mask of {node} is forgotten: where {operand} is not the one that is "
                    "chosen its f' is 0")
        return f"the f' of {node.op} is left out (1 in its place) on the way back through {node}"

    yield group.edited(words, plain)


def _factor_gone(group):
    """u · v differentiated as if it were v."""
    node, which = group.uses[-1]
    if node.op == "multiply" and node.operands[0] is not node.operands[1]:
        def rest(g):
            return summed_to(g, node.operands[which].value.shape)
        yield Mutation(
            lambda: f"the product rule: {node} is differentiated (f') like {node.operands[which]} "
            "alone, without its other factor", {(node.number, which): rest,
                                                (node.number, 1 - which): None})


def powers(way, group):
    """A power's exponent is wrong; the denominator of a quotient is not squared."""
    node, operand = group.node, group.operand
    which = group.uses[-1][1]

    def by(slope):
        return lambda node, which: lambda g: summed_to(
            g * slope(*node.values), node.operands[which].value.shape)

    if node.op in ("power", "square") and which == 0:
        n = node.values[1] if node.op == "power" else 2
        for slope, words in (
                (lambda a, n=n: a ** (n - 1), f"the exponent {n} does not come in front as a "
                 "factor"),
                (lambda a, n=n: n * a ** n, f"the exponent {n} is not lowered by one (a power, and "
                 "with it a factor, too much)")):
            yield group.edited(lambda words=words: f"{words}, in the f' of {node}",
                               by(lambda *values, slope=slope: slope(values[0])))
    if node.op == "divide" and which == 1:
        yield group.edited(lambda: f"the denominator is not squared in the quotient rule of {node} "
                           "(its power is wrong)", by(lambda a, b: -a / b))
        yield group.edited(lambda: f"the sign of the quotient rule's second term, in {node}",
                           by(lambda a, b: a / b ** 2))
    if node.op in ("absolute", "fabs"):
        yield group.edited(lambda: f"the f' of {node} is the value itself, where sign({operand}) "
                           "belongs: an L1 penalty like an L2 one", by(lambda a: a))
    if node.op == "norm":
        yield group.edited(lambda: f"not divided by the norm {node}: its derivative has length 1",
                           lambda node, which: lambda g: with_axes(node, g) * node.values[0])
    yield from _factor_gone(group)
    if node.op in ("sqrt", "square"):
        words = "½ of the root" if node.op == "sqrt" else "2 of the square"
        factor = 2 if node.op == "sqrt" else 0.5
        yield group.edited(lambda: f"the factor {words} is left out in {node}",
                           lambda node, which: lambda g: factor * share(node, which, g))


def transposed(way, group):
    """Operands or cotangents of a product that are not transposed, or flipped."""
    node, which = group.uses[-1]
    if node.kind != "product":
        return
    if node.operands[which].value.ndim == 2 and len(set(node.operands[which].value.shape)) == 1:
        yield group.edited(lambda: f"transposed: what {node} gives back to {group.operand}",
                           lambda node, which: lambda g: share(node, which, g).T)
    for other, operand in enumerate(node.operands):
        square = operand.value.ndim >= 2 and operand.value.shape[-1] == operand.value.shape[-2]
        if other != which and square:
            yield group.edited(
                lambda other=other: f"{node.operands[other]} is not transposed on the way back "
                f"through {node} (or once too often)",
                _with(other, lambda node, value: np.swapaxes(value, -1, -2)))
        if other != which and operand.value.ndim > 2:
            yield group.edited(
                lambda other=other: f"{node.operands[other]} is flipped on the way back through "
                f"{node}", _with(other, lambda node, value: value[..., ::-1, ::-1]))
    if node.value.ndim >= 2 and node.value.shape[-1] == node.value.shape[-2]:
        yield group.edited(
            lambda: f"the derivative of {node} is not transposed on the way back to "
            f"{group.operand} (or once too often)",
            lambda node, which: lambda g: share(node, which, np.swapaxes(g, -1, -2)))


def _with(other, change):
    """A rule with another value of one operand."""
    def rule(node, which):
        values = node.values
        values[other] = change(node, values[other])
        return lambda g: share(node, which, g, values)
    return rule


def summed(way, group):
    """Over the samples, or what was broadcast: one of them only, a mean, another axis, products of
    sums."""
    node, which = group.uses[-1]
    operand = group.operand
    if node.kind == "product":
        yield from _one_of_a_product(group)
    if node.kind == "reduce":
        count = node.operands[0].value.size / max(node.value.size, 1)
        yield from _counted_otherwise(group, count)
    if node.kind != "elementwise" or node.value.shape == operand.value.shape:
        return
    yield from _broadcast(group)


def _one_of_a_product(group):
    node, which = group.uses[-1]
    terms, target = node.params["terms"], node.params["terms"][which]
    letters = dict.fromkeys(node.params["out"] + "".join(terms))
    for axis, letter in enumerate(letters):
        if letter in target or letter not in node.params["out"]:
            continue
        for at, which_one in ((0, "first"), (-1, "last")):
            def rule(node, which, letter=letter, at=at):
                terms = node.params["terms"]
                others = [k for k in range(len(terms)) if k != which]
                names = [node.params["out"], *(terms[k] for k in others)]

                def one(g):
                    """The share of one sample."""
                    arrays = [g, *(node.operands[k].value for k in others)]
                    return contract(
                        [name.replace(letter, "") for name in names],
                        [np.take(each, at, name.index(letter)) if letter in name else each
                         for name, each in zip(names, arrays)],
                        terms[which], node.operands[which].value.shape)
                return one
            yield group.edited(lambda which_one=which_one: f"of the {which_one} sample only: "
                               f"{group.node} is not summed back over the batch for "
                               f"{group.operand}", rule)


def _broadcast(group):
    """What was broadcast must be summed back over these axes."""
    node, which = group.uses[-1]
    shape, wide = group.operand.value.shape, node.value.shape
    full = (1,) * (len(wide) - len(shape)) + shape
    axes = [axis for axis, n in enumerate(full) if n == 1 and wide[axis] > 1]

    def by(combine):
        def rule(node, which):
            shape = node.operands[which].value.shape
            return lambda g: np.reshape(combine(np.broadcast_to(
                g * partial(node, which), node.value.shape)), shape)
        return rule

    for axis in axes:
        for at, word in ((0, "first"), (-1, "last")):
            rest = tuple(each for each in axes if each != axis)
            which_one = (f"of the {word} sample only" if axis == 0 else
                         f"only the {word} entry along axis {axis} counts")
            batch = " (the batch?)" if axis == 0 else ""
            yield group.edited(
                lambda which_one=which_one, batch=batch, axis=axis: f"{which_one}: what comes back "
                f"through {node} is not summed over axis {axis}{batch} for {group.operand}",
                by(lambda table, axis=axis, at=at, rest=rest: np.take(
                    table, [at], axis).sum(axis=rest, keepdims=True)))
    yield from _counted_otherwise(group, np.prod([wide[axis] for axis in axes]))
    for axis in range(len(wide)):
        if axes and axis not in axes and len(axes) == 1 and wide[axis] == wide[axes[0]]:
            yield group.edited(
                lambda axis=axis: f"summed over axis {axis}, the wrong axis, for {group.operand} "
                f"in {node}", by(lambda table, axis=axis: table.sum(axis=axis)))
    if node.op == "multiply" and axes:
        def product_of_sums(node, which):
            shape, other = node.operands[which].value.shape, node.operands[1 - which].value
            return lambda g: summed_to(g, shape) * summed_to(
                np.broadcast_to(other, node.value.shape), shape)
        yield group.edited(lambda: f"a product of sums where the sum of the products belongs, for "
                           f"{group.operand} in {node}", product_of_sums)


def _counted_otherwise(group, count):
    """A mean in place of a sum, or the reverse."""
    node, count = group.node, int(round(float(count)))
    if count < 2:
        return
    if node.op in ("mean", "var", "std"):
        yield group.edited(lambda: f"the gradient of the {CONSTANTS[node.op]} is not divided by "
                           f"{count} (the batch?), in {node}",
                           lambda node, which: lambda g: count * share(node, which, g))
    yield group.edited(lambda: f"divided by {count}: a mean in place of the sum, on the way back "
                       f"through {node} to {group.operand}",
                       lambda node, which: lambda g: share(node, which, g) / count)


def constants(way):
    """A mean, a variance, a norm, a maximum that is treated as constant."""
    for group in sorted(groups(way), key=lambda group: group.node.op in ("mean", "max", "min")):
        node, operand = group.node, group.operand
        name = CONSTANTS.get(node.op)
        if node.op == "sqrt":
            inner = operand.operands[0] if operand.op in ADDING else operand
            name = CONSTANTS.get(inner.op) and "variance or norm"
        if name:
            yield group.edited(
                lambda name=name, node=node: f"the {name} {node} is treated as constant: its term "
                "in the derivative is missing", lambda node, which: None)


def left_out(way, group):
    """A share that is not handed on: a path, a term, or what was treated as constant."""
    node, operand = group.node, group.operand

    if node.op == "setitem" and group.uses[-1][1] == 0:
        return  # the rest of a buffer

    def words():
        """Which."""
        term = f"the term that comes back through {node} to {operand} is missing"
        if len(group.uses) > 1:
            return ("a path back through the loop is not carried on (`+=` is needed where paths "
                    f"meet): {term}")
        if node.op in ADDING and node.value.size == 1:
            return f"a term is left out: {term}"
        return f"a path is not added (`=` where `+=` is needed): {term}"

    yield group.edited(words, lambda node, which: None)


def factors(way, group):
    """A term that is counted half, twice, or with the wrong sign."""
    node = group.node
    for factor, words in ((-1, "the sign is wrong"), (2, "twice as large: a factor ½ is left out"),
                          (0.5, "half as large: a factor 2 is left out")):
        yield group.edited(
            lambda words=words: f"{words} in the term that comes back through {node} to "
            f"{group.operand}",
            lambda node, which, factor=factor: lambda g: factor * share(node, which, g))
    lengths = {n for each in (node.value, *node.values) for n in each.shape if n > 2}
    for n in sorted(lengths):
        for factor, words in ((n, f"not divided by {n}"), (1 / n, f"divided by {n} once too often")):
            yield group.edited(
                lambda words=words: f"{words} (an average?) in the term that comes back through "
                f"{node} to {group.operand}",
                lambda node, which, factor=factor: lambda g: factor * share(node, which, g))


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
            lambda: f"overwritten: what comes back through {group.node} to {target} is written over "
            "what the other paths give (`=` where `+=` is needed)",
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


def everywhere(way, group):
    """Another value in place of one wherever it is used, as q for the sum of q in sin and cos."""
    target = group.operand
    uses = [(node, which) for node, which in way.uses if node.operands[which] is target
            and node.kind == "elementwise" and len(node.operands) == 1]
    if len(uses) < 2 or uses[0] != group.uses[0]:
        return
    for (other,) in series(way, [target]):
        yield Mutation(
            lambda other=other: f"another value, {_related(other, target)}, is used in place of "
            f"{target} in all that is made of it",
            {(node.number, which): lambda g, node=node, which=which, other=other: share(
                node, which, g, [other.value]) for node, which in uses})


def exchanged(way, group):
    """Of two paths to one value, one counts twice and the other not at all."""
    if len(group.uses) > 1:
        return
    (node, which), target = group.uses[0], group.operand
    others = [(each, k) for each, k in way.uses
              if each.operands[k] is target and (each, k) != (node, which)]
    for other, k in others[:4]:
        def doubled(g, node=node, which=which):
            return 2 * share(node, which, g)
        yield Mutation(
            lambda other=other: f"what comes back through {node} to {target} counts twice, and what "
            f"comes back through {other} is missing (a matrix treated as symmetric, not "
            "transposed?)",
            {(node.number, which): doubled, (other.number, k): None})


def replaced(way, group):
    """Another value of the same shape in an operation's derivative: of another layer, of the step
    before or after."""
    node, which = group.uses[-1]
    if node.kind not in ("product", "elementwise") or node.op in (*ADDING, "negative"):
        return
    for other, operand in enumerate(node.operands):
        if operand.value.size < 2 or other == which and node.kind == "product":
            continue
        for word, values in _substitutes(way, group, other):
            def rule(node, which, other=other, values=values):
                changed = node.values
                changed[other] = values[node.number]
                if node.operands[0] is node.operands[-1] and len(changed) == 2:
                    changed = [values[node.number]] * 2
                return lambda g: share(node, which, g, changed)
            yield group.edited(
                lambda word=word, operand=operand: f"another value, {word}, is used in place of "
                f"{operand} on the way back through {node}{_penalty(group)}", rule)


def _penalty(group):
    """Words for what an array of parameters is squared for."""
    is_square = group.node.op in ("square", "power", "absolute") or group.node.op == "multiply" and (
        group.node.operands[0] is group.node.operands[1])
    return " (of a regulariser?)" if is_square and group.operand.op == "leaf" else ""


def _related(candidate, operand):
    """The candidate, and what it is to the operand."""
    for one, other, words in ((operand, candidate, "what comes before it (its input)"),
                              (candidate, operand, "what comes after it (its output)")):
        stack, depth = [one], 0
        while stack and depth < 30:
            depth += 1
            for each in stack.pop(0).operands:
                if each is other:
                    return f"{candidate}, {words}"
                stack.append(each)
    return str(candidate)


def _substitutes(way, group, other):
    """(word, {number of a node: value}) of what may stand in an operand's place."""
    nodes = [node for node, _ in group.uses]
    operands = [node.operands[other] for node in nodes]
    shape = operands[0].value.shape
    if any(each.value.shape != shape for each in operands):
        return
    if len(nodes) > 1:
        for shift, word in ((1, "that of the step after"), (-1, "that of the step before")):
            values = [operands[min(max(k + shift, 0), len(nodes) - 1)].value
                      for k in range(len(nodes))]
            yield word, {node.number: value for node, value in zip(nodes, values)}
    for candidates in series(way, operands):
        yield _related(candidates[-1], operands[-1]), {node.number: each.value
                                                       for node, each in zip(nodes, candidates)}


def series(way, places):
    """What may stand in the place of some nodes of one shape, step by step: each time nodes of one
    place in the code, as many; of one node, what is near."""
    shape = places[0].value.shape
    known = {each.number: each for node in way.nodes for each in (*node.operands, node)
             if each.value.shape == shape}
    if len(places) == 1:
        near = sorted(known, key=lambda number: abs(number - places[0].number))[1:1 + NEIGHBOURS]
        yield from ([known[number]] for number in sorted(near))
        return
    several = {}
    for number in sorted(known):
        node = known[number]
        key = (node.op, tuple((code, instruction) for code, _, instruction in node.place))
        several.setdefault(key, []).append(node)
    for nodes in several.values():
        if len(nodes) == len(places) and nodes[-1] is not places[-1]:
            yield nodes
