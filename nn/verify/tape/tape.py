"""A tape: a person's own function is recorded as it runs, as a list of NumPy operations.

In: a function of named arrays. Out: `Way`, the operations between the arrays and the result, or
None where they cannot be followed. The arrays go in as `Traced`, which behave as arrays do and
write down what is done with them. It is for the words of a cause only: no verdict depends on it.
Read on in `verify.tape.uses`.
"""
import sys
from contextlib import contextmanager

import numpy as np

from nn.verify.tape.node import Tape, TooLong, is_of_numpy
from nn.verify.tape.operations import moved, of_function, of_ufunc, plain, written
from nn.verify.tape.reverse import Way

LONGEST = 20_000  # operations


class Traced(np.ndarray):
    """An array that writes down what is done with it; `node` is what it holds now."""
    node = None
    tape = None

    def __array_finalize__(self, source):
        self.node, self.tape = None, None

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        tape = _tape(*inputs, *(out or ()))
        nodes = _attempt(of_ufunc, tape, ufunc, method, inputs, options)
        if out is None:
            return traced(tape, nodes) if nodes is not NotImplemented else (
                getattr(ufunc, method)(*plain(inputs), **options))
        getattr(ufunc, method)(*plain(inputs), out=plain(out), **options)
        if hasattr(out[0], "node"):
            out[0].node = None if nodes is NotImplemented else nodes
            out[0].tape = tape
        return out[0]

    def __array_function__(self, function, types, args, options):
        tape = _tape(*args, *options.values())
        nodes = _attempt(of_function, tape, function, args, options)
        if nodes is NotImplemented or options.get("out") is not None:
            return function(*plain(args), **{key: plain(each) for key, each in options.items()})
        return traced(tape, nodes)

    def __getitem__(self, key):
        piece = self.view(np.ndarray)[plain(key)]
        if self.node is None:
            return piece
        node = moved(self.tape, lambda array: array[plain(key)], (self,), {}, "getitem")
        node.params["key"] = plain(key)
        return _as_traced(piece, node, self.tape)

    def __setitem__(self, key, value):
        if self.node is not None:
            self.node = written(self.tape, self, key, value)
        self.view(np.ndarray)[plain(key)] = plain(value)

    def __iter__(self):
        return (self[number] for number in range(len(self)))

    def reshape(self, *shape, **options):
        """As of an array."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **options)

    def transpose(self, *axes):
        """As of an array."""
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    T = property(np.transpose)
    real = property(np.real)

    def copy(self, order="C"):
        """As of an array."""
        return np.copy(self)

    def astype(self, dtype, *args, **options):
        """As of an array; integers and booleans are not followed."""
        if np.dtype(dtype).kind == "f":
            return np.copy(self)
        return self.view(np.ndarray).astype(dtype, *args, **options)


def _method(function):
    def method(self, *args, **options):
        """As of an array."""
        return function(self, *args, **options)
    return method


for _name in ("sum", "mean", "var", "std", "max", "min", "prod", "ravel", "swapaxes", "squeeze",
              "repeat", "take", "diagonal", "clip", "dot", "cumsum", "trace", "conj", "argmax",
              "argmin", "argsort", "flatten"):
    setattr(Traced, _name, _method(np.ravel if _name == "flatten" else getattr(np, _name)))


def traced(tape, nodes):
    """`Traced` of a node, or of each of several."""
    if isinstance(nodes, (list, tuple)):
        return [traced(tape, node) for node in nodes]
    return _as_traced(nodes.value.copy(), nodes, tape)


def _as_traced(value, node, tape):
    array = np.asarray(value).view(Traced)
    array.node, array.tape = node, tape
    return array


def _tape(*values):
    """The tape of what is recorded among `values`."""
    for value in values:
        if isinstance(value, (list, tuple)):
            tape = _tape(*value)
            if tape is not None:
                return tape
        elif getattr(value, "node", None) is not None:
            return value.tape
    return None


def _attempt(recorded, tape, *args):
    """The nodes of a call, or NotImplemented."""
    if tape is None:
        return NotImplemented
    if len(tape.nodes) > LONGEST:
        raise TooLong
    try:
        return recorded(tape, *args)
    except (TypeError, ValueError, IndexError, KeyError, np.linalg.LinAlgError):
        return NotImplemented


@contextmanager
def _buffers(tape):
    """While a function is recorded, np.zeros and its like give arrays that write down what is
    written into them, and np.array of recorded arrays stacks them; then all is as before."""
    old = {name: getattr(np, name) for name in (
        "zeros", "empty", "ones", "full", "zeros_like", "empty_like", "ones_like", "full_like",
        "array", "asarray")}

    def buffer(make):
        """A function that makes buffers, for one that makes arrays."""
        def made(*args, **options):
            """As NumPy does."""
            array = make(*args, **options)
            mine = array.dtype.kind == "f" and not is_of_numpy(sys._getframe(1))
            return traced(tape, tape.operand(array)) if mine else array
        return made

    def stacked(make):
        """np.array of what is recorded too."""
        def made(value, *args, **options):
            """As NumPy does."""
            if _tape(value) is None:
                return make(plain(value), *args, **options)
            return _stack(value)
        return made

    try:
        for name, make in old.items():
            setattr(np, name, (stacked if name in ("array", "asarray") else buffer)(make))
        yield
    finally:
        for name, make in old.items():
            setattr(np, name, make)


def _stack(value):
    if isinstance(value, (list, tuple)):
        return np.stack([_stack(each) for each in value])
    return np.copy(value) if isinstance(value, np.ndarray) else value


def record(call, arrays):
    """`Way` from the arrays to what `call` gives for them; None where it cannot be followed.

    Args:
        call: {name: array} → numbers.
        arrays: {name: array}.
    """
    tape = Tape()
    leaves = {name: tape.leaf(name, array) for name, array in arrays.items()}
    try:
        with np.errstate(all="ignore"), _buffers(tape):
            result = recorded_call(call, {name: traced(tape, node)
                                          for name, node in leaves.items()})
            if isinstance(result, (list, tuple)):
                result = _stack(result)
    except Exception:  # whatever a person's code does with an array that is not quite one
        return None
    finally:
        _called_again(call, arrays)
    node = getattr(result, "node", None)
    node = _equal(tape, result) if node is None else node
    return None if node is None else Way(node, leaves)


def _called_again(call, arrays):
    """What the function keeps of its last call is made of arrays again."""
    try:
        with np.errstate(all="ignore"):
            call({name: array.copy() for name, array in arrays.items()})
    except Exception:  # as the first time
        return


def recorded_call(call, arrays):
    """The end of the stack of calls that `node` writes down."""
    return call(arrays)


def _equal(tape, result):
    """The last operation whose value a result without a tape has, as after float()."""
    for node in reversed(tape.nodes):
        if node.op != "constant" and node.value.size == np.size(result) and np.array_equal(
                np.ravel(node.value), np.ravel(result)):
            return node
    return None
