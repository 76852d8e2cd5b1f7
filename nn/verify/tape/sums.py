"""Products and sums on the way back: an operand is not transposed, one sample counts in place of
the sum over all, the sum goes over another axis.

In: a `Way`, a `Group` of uses. Out: `Mutation`s. Read on in `verify.tape.places`.
"""
import numpy as np

from nn.verify.tape.reverse import contract, partial, share, summed_to
from nn.verify.tape.uses import CONSTANTS, Mutation


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
    first, second = node.operands[0], node.operands[-1]
    if first.value.ndim == second.value.ndim == 2 and first.value.shape == second.value.shape and (
            len(set(first.value.shape)) == 1 and which == 1 and len(node.operands) == 2):
        yield Mutation(lambda: f"neither {first} nor {second} is transposed on the way back "
                       f"through {node} (or once too often)", {
                           (node.number, k): _with(1 - k, lambda node, value: value.T)(node, k)
                           for k in (0, 1)})
    if node.value.ndim >= 2 and node.value.shape[-1] == node.value.shape[-2]:
        yield group.edited(
            lambda: f"the derivative of {node} is not transposed on the way back to "
            f"{group.operand} (or once too often)",
            lambda node, which: lambda g: share(node, which, np.swapaxes(g, -1, -2)))


def _with(other, change):
    """A rule with another value of one operand."""
    def rule(node, which):
        """The share by that value."""
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
    for letter in letters:
        if letter in target or letter not in node.params["out"]:
            continue
        for at, which_one in ((0, "first"), (-1, "last")):
            def rule(node, which, letter=letter, at=at):
                """The share of one sample."""
                terms = node.params["terms"]
                others = [k for k in range(len(terms)) if k != which]
                names = [node.params["out"], *(terms[k] for k in others)]

                def one(g):
                    """By its entries."""
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
        """With another sum back."""
        def rule(node, which):
            """The share so summed."""
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
            """The share by them."""
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
