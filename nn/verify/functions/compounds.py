"""What several operations make together, as people know it: a sigmoid, a softmax, a normalization.
What is its derivative taken for?

In: a `Way`. Out: `Mutation`s in which the way back from the compound's result to its argument is
another one. A compound is known by its numbers, however it is written. Read on in
`verify.functions.explain`.
"""
import numpy as np

from nn.verify.functions.mutations import MANY, Mutation, constants, series
from nn.verify.functions.reverse import share
from nn.verify.functions.units import SLOPES

NEAR = 14        # operations between argument and result, at most
KNOWN = {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh,
         "ReLU": lambda z: np.maximum(z, 0), "exp": np.exp}


def of_compounds(way):
    """Mistakes in the derivative of a compound."""
    pairs = list(_pairs(way))
    yield from _softmaxes(way, pairs)
    yield from _normalizations(pairs)
    yield from constants(way)
    units = sorted(_unitwise(way, pairs), key=lambda several: not _name(*several[0][:2]))
    for make in (_slopes, _once_more, _of_others):
        for several in units:
            yield from make(way, several)


def _pairs(way):
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


def _unitwise(way, pairs):
    """[[(argument, result, f')]]: those of one place in the code together, and each alone."""
    places = {}
    for z, y in pairs:
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
    units = list(places.values())
    return units + [[one] for several in units if 1 < len(several) <= MANY for one in several]


def _is_linear(way, argument, result):
    """Whether all operations between them are."""
    seen, stack = {argument.number}, [result]
    while stack:
        node = stack.pop()
        moving = [each for each in node.operands if each.number in way.moves]
        linear = node.kind == "moved" and node.op != "setitem" or node.op in ("add", "subtract", "negative", "sum", "mean")
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


def _slopes(way, several):
    """1, y, y (1 − y), …: another slope in place of f'; or it times a number."""
    z, y, right = several[0]
    if np.array_equal(z.value, y.value) or y.op == "absolute":
        return
    for word, slope in SLOPES.items():
        factor = slope(z.value, y.value)
        times = (factor / right).flat[np.abs(right).argmax()]
        if times and np.allclose(factor, times * right, rtol=1e-9, atol=1e-12):
            word = f"{times:.6g} times as large as it should be: a factor {1 / times:.6g} is missing"
            if times == 2:
                word = "twice as large as it should be: a factor ½ (half of it) is missing"
        yield from _jump(several, lambda word=word: f"the f' of {_named(z, y)} is wrong: the slope "
                         f"is {word}", lambda z, y, right, slope=slope: slope(z, y))


def _once_more(way, several):
    """f' twice, or the derivative by y that is taken for that by z."""
    z, y, _ = several[0]
    for node, change, words in (
            (y, lambda g, right: g * right * right, "is multiplied in twice"),
            (y, lambda g, right: g, "is left out")):
        yield Mutation(lambda words=words: f"the f' of {_named(z, y)} {words}",
                       {y.number: lambda g, z=z, right=right, change=change: [(z, change(g, right))]
                        for z, y, right in several})
    yield from _whole(way, several, lambda right: 1 / right,
                      f"not multiplied by the f' of {_named(z, y)}: the derivative is that by its "
                      "value")
    yield from _whole(way, several, lambda right: right,
                      f"the f' of {_named(z, y)} is multiplied in twice (once more)")


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


def _of_others(way, several):
    """The f' of a sigmoid or tanh, but of another value of the same shape."""
    z, y, _ = several[0]
    for word in ("sigmoid' = y (1 − y)", "tanh' = 1 − y²"):
        slope = SLOPES[word]
        if not _is_slope(slope, several[0]):
            continue
        for others in series(way, [y for _, y, _ in several]):
            change = {y.number: lambda g, z=z, factor=slope(other.value, other.value): [
                (z, g * factor)] for (z, y, _), other in zip(several, others)}
            yield Mutation(lambda word=word, other=others[-1]: f"the f' of {_named(z, y)} is taken "
                           f"of another value, {other}, in {word}", change)


def _is_slope(slope, unit):
    z, y, right = unit
    return np.allclose(slope(z.value, y.value), right, rtol=1e-9, atol=1e-12)


def _softmaxes(way, pairs):
    """Softmax: its coupling, its axis, the label's one."""
    done = set()
    for z, p in pairs:
        for axis in range(p.value.ndim):
            if p.number in done or p.value.shape[axis] < 2 or not np.allclose(
                    p.value, _softmax(z.value, axis), rtol=1e-9, atol=1e-14):
                continue
            done.add(p.number)
            y = p.value
            for words, back in (
                    ("only the diagonal of the softmax's derivative, p (1 − p): the coupling of its "
                     "entries is left out", lambda g: g * y * (1 - y)),
                    ("the softmax's sum is treated as constant: its coupling is left out",
                     lambda g: g * y),
                    ("the derivative of the softmax is left out", lambda g: g)):
                yield Mutation(lambda words=words: f"{words}, in {p}",
                               {p.number: lambda g, back=back: [(z, back(g))]})
            for other in range(y.ndim):
                if other != axis:
                    yield Mutation(
                        lambda other=other: f"summed over axis {other}, the wrong axis, in the "
                        f"softmax {p}", {p.number: lambda g, other=other: [
                            (z, y * (g - (g * y).sum(other, keepdims=True)))]})
            yield Mutation(
                lambda: f"the label's 1 (one-hot) is not subtracted from the softmax {p}: the path "
                "through its numerator is missing", {p.number: lambda g: [
                    (z, -y * (g * y).sum(axis, keepdims=True))]})
            yield from _whole(way, [(z, p, y * (1 - y))], lambda right: right,
                              f"the derivative p (1 − p) of the softmax {p} once more: f' twice")


def _softmax(z, axis):
    powers = np.exp(z - z.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _normalizations(pairs):
    """Centered and divided by the deviation: means over other axes, or divided by other counts."""
    for x, y in pairs:
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

    def back(first, second, times=1.0):
        def rule(g):
            """By the short form."""
            one = times * g.mean(first, keepdims=True)
            two = times * y.value * (g * y.value).mean(second, keepdims=True)
            return [(x, (g - one - two) / scale)]
        return rule

    for other in sorted(kinds - {axes, ()}):
        yield Mutation(lambda other=other: f"means over axis {', '.join(map(str, other))}, the wrong "
                       f"axis, in the normalization {y} over axis {', '.join(map(str, axes))}",
                       {y.number: back(other, other)})
    for n in sorted(set(y.value.shape) - {count, 1}):
        yield Mutation(lambda n=n: f"the sums of the normalization {y} are divided by {n}, not by "
                       f"their count {count}: no means", {y.number: back(axes, axes, count / n)})
