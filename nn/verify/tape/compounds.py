"""What several operations make together, as people know it: a sigmoid, a softmax, a normalization.
What is its derivative taken for?

In: a `Way`. Out: `Mutation`s in which the way back from the compound's result to its argument is
another one. A compound is known by its numbers, however it is written. Read on in
`verify.tape.mutations`.
"""
import numpy as np

from nn.verify.tape.others import series
from nn.verify.tape.reverse import share
from nn.verify.tape.units import SLOPES
from nn.verify.tape.uses import MANY, Mutation

LINEAR = ("add", "subtract", "negative", "sum", "mean")
NEAR = 14        # operations between argument and result, at most
KNOWN = {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh,
         "ReLU": lambda z: np.maximum(z, 0), "exp": np.exp}


def pairs(way):
    """(argument, result): all that come back from the result come through the argument."""
    for result in way.nodes:
        if result.kind == "leaf" or result.value.size < 3:
            continue
        before, stack = {}, [(result, 0)]
        while stack:
            node, depth = stack.pop()
            for operand in node.operands:
                if operand.number in way.moves and operand.number not in before and depth < NEAR:
                    before[operand.number] = operand
                    stack.append((operand, depth + 1))
        for number in sorted(before):
            argument = before[number]
            if argument.value.shape == result.value.shape and _is_gate(way, argument, result):
                yield argument, result


def _is_gate(way, argument, result):
    """Whether no array is reached from the result but through the argument."""
    seen, stack = {argument.number}, [result]
    leaves = {leaf.number for leaf in way.leaves.values()}
    while stack:
        for operand in stack.pop().operands:
            if operand.number in way.moves and operand.number not in seen:
                if operand.number in leaves or operand.number < argument.number:
                    return False
                seen.add(operand.number)
                stack.append(operand)
    return True


def units(way, known):
    """What works unit by unit, those with a name first: [[(argument, result, f')]] with all of one
    place in the code together, and the same with each alone, for those of a loop."""
    places = {}
    for z, y in known:
        if _is_linear(way, z, y):
            continue
        slope = _through(way, z, y, np.ones(y.value.shape))
        ramp = np.linspace(1, 2, y.value.size).reshape(y.value.shape)
        other = _through(way, z, y, ramp) / ramp
        if np.allclose(slope, other, rtol=1e-9, atol=1e-12, equal_nan=True) and (
                np.ptp(slope) > 1e-9 * np.abs(slope).max()):
            key = tuple((node.op, tuple((code, at) for code, _, at in node.place))
                        for node in (z, y))
            places.setdefault(key, []).append((z, y, slope))
    order = {name: number for number, name in enumerate([*KNOWN, ""])}
    together = sorted(places.values(), key=lambda several: order[_name(*several[0][:2])])
    return together, [[one] for several in together if 1 < len(several) <= MANY for one in several]


def _is_linear(way, argument, result):
    """Whether all operations between them are."""
    seen, stack = {argument.number}, [result]
    while stack:
        node = stack.pop()
        moving = [each for each in node.operands if each.number in way.moves]
        linear = node.op in LINEAR or node.kind == "moved" and node.op != "setitem"
        if not linear and (node.op not in ("multiply", "divide", "matmul") or len(moving) > 1
                           or node.op == "divide" and moving[0] is node.operands[1]):
            return False
        stack += [each for each in moving if each.number not in seen]
        seen.update(each.number for each in moving)
    return True


def _through(way, argument, result, g):
    """The cotangent of the argument for that of the result."""
    return way.back({result.number: g}, stop={argument.number}).get(
        argument.number, np.zeros(argument.value.shape))


def _jump(several, words, slope):
    """The `Mutation` with `slope(z, y, f')` in place of f'."""
    change = {}
    for z, y, right in several:
        factor = slope(z.value, y.value, right)
        if np.array_equal(factor, right):
            return
        change[y.number] = lambda g, z=z, factor=factor: [(z, g * factor)]
    yield Mutation(words, change)


def _name(z, y):
    """What a unit-wise function is called, or ""."""
    for name, function in KNOWN.items():
        if np.allclose(function(z.value), y.value, rtol=1e-12, atol=1e-12):
            return name
    return ""


def _named(z, y):
    """What a unit-wise function is called, and its code."""
    return f"the {_name(z, y)} {y}" if _name(z, y) else str(y)


def unitwise(way, several):
    """1, y, y (1 − y), …: another slope in place of f'; or it times a number; or it twice."""
    z, y, right = several[0]
    for word, slope in SLOPES.items() if y.op != "absolute" else ():
        factor = slope(z.value, y.value)
        times = (factor / right).flat[np.abs(right).argmax()]
        if times == -1:
            continue
        if times and np.allclose(factor, times * right, rtol=1e-9, atol=1e-12):
            word = (f"{times:.6g} times as large as it should be: a factor {1 / times:.6g} is "
                    "missing")
            if times == 2:
                word = "twice as large as it should be: a factor ½ (half of it) is missing"

        def words(word=word, factor=factor):
            """Which slope it is, and where it is off most."""
            at = int(np.nanargmax(np.abs(factor - right)))
            return (f"the f' of {_named(z, y)} is wrong: the slope is {word}; at z = "
                    f"{z.value.flat[at]:.4g} it is {factor.flat[at]:.6g} and should be "
                    f"{right.flat[at]:.6g}")

        yield from _jump(several, words, lambda z, y, right, slope=slope: slope(z, y))
    yield from _once_more(way, several)


def _once_more(way, several):
    """f' twice, or the derivative by y that is taken for that by z."""
    z, y, _ = several[0]
    name = _named(z, y)
    yield from _jump(several, lambda: f"the f' of {name} is multiplied in twice",
                     lambda z, y, right: right * right)
    yield from _jump(several, lambda: f"the f' of {name} has the wrong sign",
                     lambda z, y, right: -right)
    yield from _whole(way, several, lambda right: 1 / right,
                      f"not multiplied by the f' of {name}: the derivative is that by its "
                      "value")
    yield from _whole(way, several, lambda right: right,
                      f"the f' of {name} is multiplied in twice (once more)")


def _whole(way, several, factor, words):
    """All that comes back to the argument, by whatever path, times a factor."""
    change = {}
    for z, _, right in several:
        for node, which in way.uses:
            if node.operands[which] is z:
                change[node.number, which] = _times(node, which, factor(right))
    yield Mutation(lambda: words, change)


def _times(node, which, factor):
    return lambda g: factor * share(node, which, g)


def of_others(way, several):
    """The f' of a sigmoid or tanh, but of another value of the same shape."""
    name = _named(*several[0][:2])
    for word in ("sigmoid' = y (1 − y)", "tanh' = 1 − y²"):
        slope = SLOPES[word]
        if not _is_slope(slope, several[0]):
            continue
        for others in series(way, [y for _, y, _ in several]):
            change = {y.number: lambda g, z=z, factor=slope(other.value, other.value): [
                (z, g * factor)] for (z, y, _), other in zip(several, others)}
            yield Mutation(lambda word=word, other=others[-1]: f"the f' of {name} is taken "
                           f"of another value, {other}, in {word}", change)


def _is_slope(slope, unit):
    z, y, right = unit
    return np.allclose(slope(z.value, y.value), right, rtol=1e-9, atol=1e-12)


def softmaxes(way, known):
    """Mistakes in the derivative of a softmax."""
    done = set()
    for z, p in known:
        for axis in range(p.value.ndim):
            if p.number not in done and p.value.shape[axis] > 1 and np.allclose(
                    p.value, _softmax(z.value, axis), rtol=1e-9, atol=1e-14):
                done.add(p.number)
                yield from _of_softmax(way, z, p, axis)


def _of_softmax(way, z, p, axis):
    """Its coupling, its axis, the label's one."""
    y = p.value

    def instead(words, back):
        return Mutation(lambda: f"{words}, in {p}", {p.number: lambda g: [(z, back(g))]})

    yield instead("only the diagonal of the softmax's derivative, p (1 − p): the coupling of its "
                  "entries is left out", lambda g: g * y * (1 - y))
    yield instead("the softmax's sum is treated as constant: its coupling is left out",
                  lambda g: g * y)
    yield instead("the derivative of the softmax is left out", lambda g: g)
    for other in range(y.ndim):
        if other != axis:
            yield instead(f"summed over axis {other}, the wrong axis, in the softmax",
                          lambda g, other=other: y * (g - (g * y).sum(other, keepdims=True)))
    yield instead("the label's 1 (one-hot) is not subtracted from the softmax: the path through "
                  "its numerator is missing", lambda g: -y * (g * y).sum(axis, keepdims=True))
    yield from _whole(way, [(z, p, y * (1 - y))], lambda right: right,
                      f"the derivative p (1 − p) of the softmax {p} once more: f' twice")


def _softmax(z, axis):
    powers = np.exp(z - z.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def normalizations(known):
    """Centered and divided by the deviation: means over other axes, or divided by other counts."""
    for x, y in known:
        ndim = y.value.ndim
        kinds = {(axis,) for axis in range(ndim)} | {
            tuple(each for each in range(ndim) if each != axis) for axis in range(ndim)}
        for axes in sorted(kinds - {()}):
            centered = x.value - x.value.mean(axes, keepdims=True)
            with np.errstate(all="ignore"):
                scale = centered / y.value
            mean = scale.mean(axes, keepdims=True)
            if not np.isfinite(scale).all() or not np.allclose(scale, mean, rtol=1e-9) \
                    or np.allclose(scale, 1):
                continue
            yield from _normalized(x, y, axes, mean, kinds)


def _normalized(x, y, axes, scale, kinds):
    count = np.prod([y.value.shape[axis] for axis in axes])

    def back(axes, times=1.0):
        """By the short form."""
        def rule(g):
            return [(x, (g - times * g.mean(axes, keepdims=True)
                         - times * y.value * (g * y.value).mean(axes, keepdims=True)) / scale)]
        return rule

    for other in sorted(kinds - {axes, ()}):
        yield Mutation(lambda other=other: f"means over axis {', '.join(map(str, other))}, the "
                       f"wrong axis, in the normalization {y} over axis "
                       f"{', '.join(map(str, axes))}", {y.number: back(other)})
    for n in sorted(set(y.value.shape) - {count, 1}):
        yield Mutation(lambda n=n: f"the sums of the normalization {y} are divided by {n}, not by "
                       f"their count {count}: no means", {y.number: back(axes, count / n)})
