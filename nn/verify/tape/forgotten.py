"""What is left out of a derivative: an f', a factor, a mask, a power, a path, what was treated as
constant; or its sign is wrong.

In: a `Way`, a `Group` of uses. Out: `Mutation`s. Read on in `verify.tape.sums`.
"""
import numpy as np

from nn.verify.tape.reverse import share, summed_to, with_axes
from nn.verify.tape.uses import ADDING, CONSTANTS, Mutation, groups


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


def constants(way):
    """A mean, a variance, a norm, a maximum that is treated as constant."""
    for group in sorted(groups(way)[0], key=lambda group: group.node.op in ("mean", "max", "min")):
        node, operand = group.node, group.operand
        name = CONSTANTS.get(node.op)
        if node.op == "sqrt":
            inner = operand.operands[0] if operand.op in ADDING else operand
            name = "variance or norm" if inner.op in ("mean", "sum", "var") else ""
        elif node.op in ("mean", "max", "min") and sum(
                each.operands[which] is operand for each, which in way.uses) < 2:
            name = ""  # nothing but the mean depends on it
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
        for factor, words in ((n, f"not divided by {n}"),
                              (1 / n, f"divided by {n} once too often")):
            yield group.edited(
                lambda words=words: f"{words} (an average?) in the term that comes back through "
                f"{node} to {group.operand}",
                lambda node, which, factor=factor: lambda g: factor * share(node, which, g))
