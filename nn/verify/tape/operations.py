"""How a call of NumPy becomes operations on the tape.

In: a `Tape`, a ufunc or a function with its arguments. Out: what comes out, as `Node`s, or
`NotImplemented` where it is not known (its result is then a constant to the tape). What only moves
entries (reshape, getitem, concatenate, pad, …) is done once more with the numbers of the entries,
and so all of it goes back in one way. Read on in `verify.tape.reverse`.
"""
from string import ascii_letters

import numpy as np

from nn.verify.tape.reverse import PARTIALS, REDUCED

NOTHING = np._NoValue
SAME = {np.asarray, np.array, np.copy, np.real, np.ascontiguousarray, np.asanyarray, np.conj,
        np.conjugate, np.real_if_close, np.nan_to_num, np.positive}
MOVES = (np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.squeeze,
         np.expand_dims, np.broadcast_to, np.flip, np.fliplr, np.flipud, np.roll, np.rot90,
         np.repeat, np.tile, np.take, np.concatenate, np.stack, np.hstack, np.vstack,
         np.column_stack, np.dstack, np.diagonal, np.diag, np.triu, np.tril, np.pad, np.split,
         np.hsplit, np.vsplit, np.array_split, np.atleast_1d, np.atleast_2d, np.take_along_axis,
         np.delete, np.block)
REDUCTIONS = {np.sum: "sum", np.mean: "mean", np.var: "var", np.std: "std", np.max: "max",
              np.amax: "max", np.min: "min", np.amin: "min", np.prod: "prod"}
REDUCING = {"add": "sum", "maximum": "max", "minimum": "min", "multiply": "prod"}


def plain(value):
    """`value` without anything recorded."""
    if isinstance(value, (tuple, list)):
        return type(value)(plain(each) for each in value)
    return value.view(np.ndarray) if hasattr(value, "node") else value


def of_ufunc(tape, ufunc, method, inputs, options):
    """The `Node` of a ufunc's call or reduction."""
    name = ufunc.__name__
    options = {key: value for key, value in options.items() if key not in ("dtype", "casting")}
    if method == "reduce" and name in REDUCING:
        return reduction(tape, REDUCING[name], inputs[0], **{"axis": 0, **options})
    if method == "outer" and name == "multiply":
        return _outer(tape, *inputs)
    if method != "__call__" or options:
        return NotImplemented
    if ufunc in SAME:
        return tape.operand(inputs[0])
    if name == "matmul":
        return matmul(tape, *inputs)
    if name not in PARTIALS:
        return NotImplemented
    value = ufunc(*plain(inputs))
    return tape.add(name, "elementwise", [tape.operand(each) for each in inputs], value)


def of_function(tape, function, args, options):
    """The `Node`, or a list of them, of a function's call."""
    if function in SAME:
        return tape.operand(args[0])
    if function in REDUCTIONS:
        return reduction(tape, REDUCTIONS[function], *args, **options)
    if function in MOVES:
        return moved(tape, function, args, options)
    if function in OTHERS:
        return OTHERS[function](tape, *args, **options)
    return NotImplemented


def reduction(tape, name, array, axis=None, *more, keepdims=False, ddof=0, **options):
    """A sum, mean, … over axes; `more` are NumPy's dtype, out, ddof, keepdims by place."""
    options = {key: value for key, value in options.items()
               if key not in ("dtype", "out") and value is not NOTHING and value is not None}
    if options or any(each is not None for each in more):
        return NotImplemented
    if np.ndim(array) == 0:
        return tape.operand(array) if name in ("sum", "mean", "max", "min") else NotImplemented
    keepdims = keepdims is not NOTHING and bool(keepdims)
    node, extra = tape.operand(array), {"ddof": ddof} if name in ("var", "std") else {}
    axes = tuple(range(node.value.ndim)) if axis is None else tuple(
        int(each) % node.value.ndim for each in np.atleast_1d(axis))
    whole = REDUCED[name][0](node.value, axes, **extra)
    value = whole if keepdims else whole.reshape(
        [n for k, n in enumerate(node.value.shape) if k not in axes])
    return tape.add(name, "reduce", [node], value, axes=axes, **extra)


def _norm(tape, x, ord=None, axis=None, keepdims=False):
    if ord not in (None, "fro") and not (ord == 2 and (axis is not None or np.ndim(x) == 1)):
        return NotImplemented
    return reduction(tape, "norm", x, axis, keepdims=keepdims)


def _clip(tape, a, a_min=None, a_max=None, **options):
    low = options.get("min", a_min)
    high = options.get("max", a_max)
    low = -np.inf if low is None or low is NOTHING else low
    high = np.inf if high is None or high is NOTHING else high
    operands = [tape.operand(each) for each in (a, low, high)]
    return tape.add("clip", "elementwise", operands, np.clip(*plain((a, low, high))))


def _where(tape, condition, x=None, y=None):
    if x is None:
        return NotImplemented
    operands = [tape.operand(each) for each in (x, y)]
    return tape.add("where", "elementwise", operands, np.where(*plain((condition, x, y))),
                    mask=np.asarray(plain(condition), bool))


def _has_recorded(value):
    return any(hasattr(each, "node") or isinstance(each, (list, tuple)) and _has_recorded(each)
               for each in value)


def moved(tape, function, args, options, op=None):
    """What only moves entries: the same call with the numbers of the entries, from 1 on; 0 is what
    comes from nowhere, as the zeros of a pad."""
    operands = []

    def number(value, inside=False):
        """Numbers in place of an array, in the nest of arguments."""
        if isinstance(value, (list, tuple)):
            return type(value)(number(each, inside or _has_recorded(value)) for each in value)
        if hasattr(value, "node") or inside and isinstance(value, (np.ndarray, float, np.floating)):
            operands.append(tape.operand(value))
            start = 1 + sum(each.value.size for each in operands[:-1])
            return np.arange(start, start + np.size(value)).reshape(np.shape(value))
        return value

    numbers = function(*(number(each) for each in args),
                       **{key: number(value) for key, value in options.items()
                          if key != "constant_values"})
    values = function(*plain(args), **{key: plain(value) for key, value in options.items()})
    if isinstance(values, (list, tuple)):
        return [tape.add(op or function.__name__, "moved", operands, value, numbers=each)
                for value, each in zip(values, numbers)]
    return tape.add(op or function.__name__, "moved", operands, values, numbers=numbers)


def written(tape, array, key, value):
    """array[key] = value: the array afterwards."""
    old, new = tape.operand(array), tape.operand(value)
    numbers = 1 + np.arange(old.value.size).reshape(old.value.shape)
    numbers[plain(key)] = (1 + old.value.size
                           + np.arange(new.value.size).reshape(new.value.shape))
    result = old.value.copy()
    result[plain(key)] = new.value
    return tape.add("setitem", "moved", [old, new], result, numbers=numbers, key=plain(key))


def _sort(tape, a, axis=-1, **options):
    order = np.argsort(plain(a), axis=axis, kind="stable")
    return moved(tape, np.take_along_axis, (a, order, axis), {}, "sort")


def product(tape, op, terms, out, arrays):
    """A sum of products by the letters of an einsum."""
    operands = [tape.operand(each) for each in arrays]
    value = np.einsum(",".join(terms) + "->" + out, *(each.value for each in operands),
                      optimize=True)
    return tape.add(op, "product", operands, value, terms=tuple(terms), out=out)


def matmul(tape, a, b):
    """a @ b; an axis of length 1 that is broadcast gets a letter of its own."""
    first, second = list(np.shape(a)), list(np.shape(b))
    letters = iter(ascii_letters)
    k = next(letters)
    left = [next(letters)] if len(first) > 1 else []
    right = [next(letters)] if len(second) > 1 else []
    batch, more, out = [], [], []
    lengths = max(len(first), len(second)) - 2
    for axis in range(-lengths - 2, -2):
        letter = next(letters)
        out.append(letter)
        for shape, where in ((first, batch), (second, more)):
            if -axis <= len(shape):
                wide = shape[axis] != 1 or max(first[axis:axis + 1] + second[axis:axis + 1]) == 1
                where.append(letter if wide else next(letters))
    terms = ["".join(batch + left + [k]), "".join(more + [k] + right)]
    return product(tape, "matmul", terms, "".join(out + left + right), (a, b))


def _dot(tape, a, b, out=None):
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return tape.add("multiply", "elementwise", [tape.operand(a), tape.operand(b)],
                        plain(a) * plain(b))
    if np.ndim(a) <= 2 and np.ndim(b) <= 2:
        return matmul(tape, a, b)
    return _tensordot(tape, a, b, ([np.ndim(a) - 1], [np.ndim(b) - 2]))


def _tensordot(tape, a, b, axes=2):
    if np.ndim(axes) == 0:
        axes = (range(np.ndim(a) - axes, np.ndim(a)), range(axes))
    ours, theirs = (np.atleast_1d(list(each) if np.ndim(each) else each) for each in axes)
    first = list(ascii_letters[:np.ndim(a)])
    second = list(ascii_letters[26:26 + np.ndim(b)])
    for one, other in zip(ours, theirs):
        second[other] = first[one]
    out = [letter for letter in first + second if (letter in first) != (letter in second)]
    return product(tape, "tensordot", ["".join(first), "".join(second)], "".join(out), (a, b))


def _outer(tape, a, b, out=None):
    if np.ndim(a) != 1 or np.ndim(b) != 1:
        return NotImplemented
    return product(tape, "outer", ["a", "b"], "ab", (a, b))


def _einsum(tape, subscripts, *arrays, **options):
    if not isinstance(subscripts, str) or "." in subscripts:
        return NotImplemented
    terms, arrow, out = subscripts.replace(" ", "").partition("->")
    if not arrow:
        out = "".join(sorted(each for each in set(terms) - {","} if terms.count(each) == 1))
    terms = terms.split(",")
    if any(len(set(term)) < len(term) for term in terms):
        return NotImplemented
    return product(tape, "einsum", terms, out, arrays)


def _convolve(tape, a, v, mode="full"):
    """As the product of all windows with the flipped filter."""
    if np.size(v) > np.size(a):
        a, v = v, a
    wide = {"full": (len(v) - 1,) * 2, "valid": (0, 0),
            "same": ((len(v) - 1) // 2 + (len(v) - 1) % 2, (len(v) - 1) // 2)}[mode]
    if not hasattr(a, "node"):
        a = _Only(tape.operand(a))
    if not hasattr(v, "node"):
        v = _Only(tape.operand(v))
    windows = moved(tape, lambda a: np.lib.stride_tricks.sliding_window_view(
        np.pad(a, wide), len(plain(v))), (a,), {}, "windows")
    flipped = moved(tape, np.flip, (v,), {}, "flip")
    return matmul(tape, _Only(windows), _Only(flipped))


def _cumsum(tape, a, axis=None, **options):
    return tape.add("cumsum", "cumsum", [tape.operand(a)], np.cumsum(plain(a), axis), axis=axis)


def _of_matrix(op, function):
    def recorded(tape, *args):
        """One of np.linalg."""
        return tape.add(op, op, [tape.operand(each) for each in args], function(*plain(args)))
    return recorded


def _slogdet(tape, a):
    sign, logarithm = np.linalg.slogdet(plain(a))
    return [tape.operand(sign), tape.add("logdet", "logdet", [tape.operand(a)], logarithm)]


def _trace(tape, a):
    return reduction(tape, "sum", _Only(moved(tape, np.diagonal, (a,), {})))


class _Only:
    """A node in place of an array."""

    def __init__(self, node):
        self.node, self.ndim, self.shape = node, node.value.ndim, node.value.shape
        self.size = node.value.size

    def __len__(self):
        return len(self.node.value)

    def view(self, kind):
        """The values."""
        return self.node.value


OTHERS = {np.linalg.norm: _norm, np.clip: _clip, np.where: _where, np.sort: _sort, np.dot: _dot,
          np.tensordot: _tensordot, np.outer: _outer, np.inner: lambda tape, a, b: _dot(tape, a, b)
          if np.ndim(a) == np.ndim(b) == 1 else NotImplemented, np.einsum: _einsum,
          np.cumsum: _cumsum, np.convolve: _convolve,
          np.linalg.det: _of_matrix("det", np.linalg.det),
          np.linalg.inv: _of_matrix("inv", np.linalg.inv), np.trace: _trace,
          np.linalg.solve: _of_matrix("solve", np.linalg.solve), np.linalg.slogdet: _slogdet,
          np.vdot: lambda tape, a, b: _dot(tape, a, b)
          if np.ndim(a) == np.ndim(b) == 1 else NotImplemented}
