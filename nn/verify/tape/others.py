"""Another value in an operation's derivative: of another layer, of the step before or after, of
another gate.

In: a `Way`, a `Group` of uses. Out: `Mutation`s. Read on in `verify.tape.compounds`.
"""
from nn.verify.tape.reverse import share
from nn.verify.tape.uses import ADDING, Mutation

NEIGHBOURS = 40  # values of the same shape that may stand for another


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
                """The share by that value."""
                changed = node.values
                changed[other] = values[node.number]
                if node.operands[0] is node.operands[-1] and len(changed) == 2:
                    changed = [values[node.number]] * 2
                return lambda g: share(node, which, g, changed)
            yield group.edited(
                lambda word=word, operand=operand: f"another value, {word}, is used in place of "
                f"{operand} on the way back through {node}{_penalty(group)}", rule)


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
            lambda other=other: f"what comes back through {node} to {target} counts twice, and "
            f"what comes back through {other} is missing (a matrix treated as symmetric, not "
            "transposed?)",
            {(node.number, which): doubled, (other.number, k): None})


def _penalty(group):
    """Words for what an array of parameters is squared for."""
    node = group.node
    is_square = node.op in ("square", "power", "absolute") or (
        node.op == "multiply" and node.operands[0] is node.operands[1])
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
