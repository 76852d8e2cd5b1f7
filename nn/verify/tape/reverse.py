"""Back over the tape: what each operation hands on to its operands (vector-Jacobian products), and
the gradients of all arrays by reverse mode.

In: `Node`s and a cotangent. Out: {number of a node: its cotangent}. An operation's share can be
computed with other values of its operands than those it had; and the whole way back with shares
that were changed on purpose. Read on in `verify.tape.tape`.
"""
import numpy as np

PARTIALS = {  # (y, *operands) → the derivatives for each operand, times which the cotangent goes on
    "add": (lambda y, a, b: 1, lambda y, a, b: 1),
    "subtract": (lambda y, a, b: 1, lambda y, a, b: -1),
    "multiply": (lambda y, a, b: b, lambda y, a, b: a),
    "divide": (lambda y, a, b: 1 / b, lambda y, a, b: -a / b ** 2),
    "power": (lambda y, a, b: b * a ** (b - 1), lambda y, a, b: y * np.log(a)),
    "maximum": (lambda y, a, b: (a >= b) * 1.0, lambda y, a, b: (a < b) * 1.0),
    "minimum": (lambda y, a, b: (a <= b) * 1.0, lambda y, a, b: (a > b) * 1.0),
    "clip": (lambda y, a, b, c: ((a >= b) & (a <= c)) * 1.0,
             lambda y, a, b, c: (a < b) * 1.0, lambda y, a, b, c: (a > c) * 1.0),
    "hypot": (lambda y, a, b: a / y, lambda y, a, b: b / y),
    "arctan2": (lambda y, a, b: b / (a * a + b * b), lambda y, a, b: -a / (a * a + b * b)),
    "logaddexp": (lambda y, a, b: np.exp(a - y), lambda y, a, b: np.exp(b - y)),
    "negative": (lambda y, a: -1,),
    "square": (lambda y, a: 2 * a,),
    "sqrt": (lambda y, a: 0.5 / y,),
    "cbrt": (lambda y, a: 1 / (3 * y * y),),
    "reciprocal": (lambda y, a: -y * y,),
    "exp": (lambda y, a: y,),
    "exp2": (lambda y, a: y * np.log(2),),
    "expm1": (lambda y, a: y + 1,),
    "log": (lambda y, a: 1 / a,),
    "log2": (lambda y, a: 1 / (a * np.log(2)),),
    "log10": (lambda y, a: 1 / (a * np.log(10)),),
    "log1p": (lambda y, a: 1 / (1 + a),),
    "sin": (lambda y, a: np.cos(a),),
    "cos": (lambda y, a: -np.sin(a),),
    "tan": (lambda y, a: 1 + y * y,),
    "arcsin": (lambda y, a: 1 / np.sqrt(1 - a * a),),
    "arccos": (lambda y, a: -1 / np.sqrt(1 - a * a),),
    "arctan": (lambda y, a: 1 / (1 + a * a),),
    "sinh": (lambda y, a: np.cosh(a),),
    "cosh": (lambda y, a: np.sinh(a),),
    "tanh": (lambda y, a: 1 - y * y,),
    "absolute": (lambda y, a: np.sign(a),),
    "fabs": (lambda y, a: np.sign(a),),
    "sign": (lambda y, a: 0.0,),
    "expit": (lambda y, a: y * (1 - y),),
    "erf": (lambda y, a: 2 / np.sqrt(np.pi) * np.exp(-a * a),),
    "erfc": (lambda y, a: -2 / np.sqrt(np.pi) * np.exp(-a * a),),
    "log_expit": (lambda y, a: 1 / (1 + np.exp(a)),),
}


def _counted(x, axes):
    return np.prod([x.shape[axis] for axis in axes], dtype=float)


def _largest(x, y, axes):
    """1 at the first of the largest."""
    order = np.arange(x.size).reshape(x.shape)
    first = np.where(x == y, order, x.size).min(axis=axes, keepdims=True)
    return (order == first) * 1.0


REDUCED = {  # (the value with its axes, (x, y, axes) → the derivative for each entry)
    "sum": (lambda x, axes: x.sum(axes, keepdims=True), lambda x, y, axes: 1.0),
    "mean": (lambda x, axes: x.mean(axes, keepdims=True), lambda x, y, axes: 1 / _counted(x, axes)),
    "var": (lambda x, axes, ddof: x.var(axes, ddof=ddof, keepdims=True),
            lambda x, y, axes, ddof: 2 * (x - x.mean(axes, keepdims=True))
            / (_counted(x, axes) - ddof)),
    "std": (lambda x, axes, ddof: x.std(axes, ddof=ddof, keepdims=True),
            lambda x, y, axes, ddof: (x - x.mean(axes, keepdims=True))
            / ((_counted(x, axes) - ddof) * y)),
    "max": (lambda x, axes: x.max(axes, keepdims=True), _largest),
    "min": (lambda x, axes: x.min(axes, keepdims=True), _largest),
    "prod": (lambda x, axes: x.prod(axes, keepdims=True), lambda x, y, axes: y / x),
    "norm": (lambda x, axes: np.sqrt((x * x).sum(axes, keepdims=True)), lambda x, y, axes: x / y),
}


def summed_to(table, shape):
    """What was broadcast is summed back to `shape`."""
    table = np.asarray(table)
    if table.shape == shape:
        return table
    table = table.sum(axis=tuple(range(table.ndim - len(shape))))
    wide = tuple(axis for axis, n in enumerate(shape) if n == 1 and table.shape[axis] != 1)
    return np.broadcast_to(table.sum(axis=wide, keepdims=True), shape)


def partial(node, which, values=None):
    """The derivative of a unit-wise operation for one of its operands, entry by entry."""
    values = node.values if values is None else values
    if node.op == "where":
        return (node.params["mask"] != bool(which)) * 1.0
    return PARTIALS[node.op][which](node.value, *values)


def _elementwise(node, which, g, values):
    return summed_to(g * partial(node, which, values), node.operands[which].value.shape)


def with_axes(node, table):
    """`table`, of a reduction's shape, with its axes again, of length 1."""
    shape = node.operands[0].value.shape
    return np.reshape(table, [1 if axis in node.params["axes"] else n
                              for axis, n in enumerate(shape)])


def _reduce(node, which, g, values):
    about = dict(node.params)
    slope = REDUCED[node.op][1](values[0], with_axes(node, node.value), about.pop("axes"), **about)
    return np.broadcast_to(with_axes(node, g) * slope, values[0].shape)


def contract(terms, arrays, target, shape):
    """An einsum to the letters of `target`; those that no term has are broadcast."""
    known = "".join(letter for letter in target if any(letter in term for term in terms))
    large = max(np.size(each) for each in arrays) > 4096
    table = np.einsum(",".join(terms) + "->" + known, *arrays, optimize=large)
    if known != target:
        axes = tuple(axis for axis, letter in enumerate(target) if letter not in known)
        table = np.broadcast_to(np.expand_dims(table, axes), shape)
    return table


def _product(node, which, g, values):
    others = [k for k in range(len(values)) if k != which]
    terms = node.params["terms"]
    return contract([node.params["out"], *(terms[k] for k in others)],
                    [g, *(values[k] for k in others)], terms[which], values[which].shape)


def _moved(node, which, g, values):
    sizes = [each.value.size for each in node.operands]
    numbers = node.params["numbers"]
    total = np.bincount(np.ravel(numbers), np.ravel(g), 1 + sum(sizes))
    start = 1 + sum(sizes[:which])
    return total[start:start + sizes[which]].reshape(node.operands[which].value.shape)


def _cumsum(node, which, g, values):
    axis = node.params["axis"]
    if axis is None:
        return np.cumsum(g[::-1])[::-1].reshape(values[0].shape)
    return np.flip(np.cumsum(np.flip(g, axis), axis), axis)


def _turned(matrix):
    return np.swapaxes(matrix, -1, -2)


def _det(node, which, g, values):
    return np.asarray(g * node.value)[..., None, None] * _turned(np.linalg.inv(values[0]))


def _logdet(node, which, g, values):
    return np.asarray(g)[..., None, None] * _turned(np.linalg.inv(values[0]))


def _inv(node, which, g, values):
    return -_turned(node.value) @ g @ _turned(node.value)


def _solve(node, which, g, values):
    back = np.linalg.solve(_turned(values[0]), g)
    if which == 1:
        return back
    if np.ndim(g) == 1:
        return -np.outer(back, node.value)
    return -back @ _turned(node.value)


SHARES = {"elementwise": _elementwise, "reduce": _reduce, "product": _product, "moved": _moved,
          "cumsum": _cumsum, "det": _det, "logdet": _logdet, "inv": _inv, "solve": _solve}


def share(node, which, g, values=None):
    """What an operation hands on to one of its operands, by the values its operands had or by
    others."""
    return SHARES[node.kind](node, which, g, node.values if values is None else values)


class Way:
    """The operations between some arrays and a result, and the way back over them."""

    def __init__(self, output, leaves):
        """
        Args:
            output: the result's `Node`.
            leaves: {name: `Node`} of the arrays.
        """
        self.output, self.leaves = output, leaves
        before = {output.number: output}
        stack = [output]
        while stack:
            for node in stack.pop().operands:
                if node.number not in before:
                    before[node.number] = node
                    stack.append(node)
        self.all = [before[number] for number in sorted(before)]
        self._find()

    def _find(self, constant=()):
        """Which nodes depend on the arrays."""
        starts = {node.number for node in self.leaves.values()}
        self.moves = {node.number for node in self.all if node.number in starts}
        for node in self.all:
            if node.number not in constant and any(operand.number in self.moves
                                                   for operand in node.operands):
                self.moves.add(node.number)
        self.nodes = [node for node in self.all if node.number in self.moves]
        self.uses = [(node, which) for node in self.nodes
                     for which, operand in enumerate(node.operands)
                     if operand.number in self.moves]
        self._shares = {}  # right ones, by the cotangents' id
        self._which = {node.number: [which for other, which in self.uses if other is node]
                       for node in self.nodes}

    def cut(self, *constant):
        """Takes nodes out of the way: as if they were constants."""
        self._find({node.number for node in constant})

    def back(self, cotangents, stop=()):
        """All cotangents {number: array}, from those of some nodes; not further than `stop`."""
        total = dict(cotangents)
        for node in reversed(self.nodes):
            g = total.get(node.number)
            if g is None or node.number in stop:
                continue
            for which in self._which[node.number]:
                _add(total, node.operands[which].number, share(node, which, g))
        return total

    def changed(self, right, change):
        """What a change of some shares changes in the gradients.

        Args:
            right: {number: cotangent}, all of them.
            change: {(number of a node, which operand): g → share, or None for no share}; or
                {number of a node: g → [(other node, share)]}, in place of all its shares.

        Returns:
            {number of a node: what is added to its right cotangent}.
        """
        off, memory = {}, self._shares

        def was(node, which):
            """The right share."""
            key = node.number, which, id(right)
            if key not in memory:
                memory[key] = share(node, which, right[node.number])
            return memory[key]

        edited = {key[0] if isinstance(key, tuple) else key for key in change}
        for node in reversed(self.nodes):
            number = node.number
            delta = off.get(number)
            if delta is None and number not in edited:
                continue
            before = right.get(number)
            if before is None:
                continue
            now = before if delta is None else before + delta
            if number in change:
                for which in self._which[number]:
                    _add(off, node.operands[which].number, -was(node, which))
                for target, part in change[number](now):
                    _add(off, target.number, part)
                continue
            for which in self._which[number]:
                if (number, which) in change:
                    rule = change[number, which]
                    part = -was(node, which)
                    if rule is not None:
                        part = part + rule(now)
                    _add(off, node.operands[which].number, part)
                elif delta is not None:
                    _add(off, node.operands[which].number, share(node, which, delta))
        return off


def _add(total, number, part):
    total[number] = total[number] + part if number in total else part
