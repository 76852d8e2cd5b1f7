"""A derivative written by hand for jax: `jax.custom_vjp`, `jax.custom_jvp`, or a function that uses
one. `check_jax` asks whether it is right.

In: the function, its inputs. Out: a `FunctionReport` that names the argument and, of a dict or
list, the leaf. Read on in `verify.frameworks`.
"""
from contextlib import nullcontext
from functools import partial

import numpy as np

from nn.verify.frameworks import needs, precise
from nn.verify.functions.backward import by_name
from nn.verify.programs.program import NoOwnDerivative, WrittenCode, check_written


def check_jax(f, inputs, *, tolerance=None, seed=0):
    """Hold a derivative that is written by hand for jax against differences, and against jax's own
    derivative of the undecorated function.

    Args:
        f: made by `jax.custom_vjp` or `jax.custom_jvp`, or a function that calls such a one.
        inputs: a list of its arguments, or a dict by name, or one array. Arguments may be dicts and
            lists of arrays; all arrays of real floating-point numbers are differentiated for.
        tolerance: the largest allowed error relative to the largest entry (default: 1e-7 of each
            entry, 1e-3 for code that takes float32 only, and what rounding can do).
        seed: of the cotangent and the random directions.

    Returns:
        A `FunctionReport`, true only if all gradients are right. At a kink every claim between the
        slopes of the two sides is right. 64 bits are allowed during the check only.

    Raises:
        MissingReferee: jax is not installed (an ImportError).
        ValueError: there is nothing to differentiate for, or no output of floating-point numbers.
    """
    with needs("jax"):
        import jax
    if not callable(f):
        raise TypeError(f"f must be a function; got {type(f).__name__}")
    return check_written(partial(_JaxCode, jax, f, inputs), tolerance, seed)


class _JaxCode(WrittenCode):
    """A function of jax, called with NumPy arrays."""
    program = "jax"

    def __init__(self, jax, f, inputs, double):
        """Arguments as of `check_jax`, and whether all is done in float64."""
        self.jax, self.f, self.double = jax, f, double
        self.notes = []
        self.by_keyword = isinstance(inputs, dict)
        arguments = by_name(f, inputs)
        fixed = getattr(f, "nondiff_argnums", ())
        self.inputs, self.trees = {}, {}
        with self._precision():
            for number, (name, value) in enumerate(arguments.items()):
                leaves, tree = jax.tree_util.tree_flatten_with_path(value)
                named = {name + jax.tree_util.keystr(path): part for path, part in leaves}
                self.trees[name] = tree, list(named)
                self.inputs.update(named if number in fixed else
                                   {leaf: self._array(part) for leaf, part in named.items()})
        self.wanted = [name for name, value in self.inputs.items()
                       if isinstance(value, np.ndarray) and value.dtype.kind == "f"]

    def _precision(self):
        """A block in which all is in float64, if it shall be."""
        return precise(self.jax) if self.double else nullcontext()

    def _array(self, value):
        """An array as NumPy's; another value as it is."""
        dtypes = self.jax.dtypes
        if not isinstance(value, (np.ndarray, self.jax.Array)) or dtypes.issubdtype(
                value.dtype, dtypes.extended):  # a random key
            return value
        if self.double and dtypes.issubdtype(value.dtype, np.floating):
            return np.array(value, np.float64)
        return np.array(self.jax.numpy.asarray(value))

    def forward(self, *values):
        """([outputs …], the values to differentiate for) at NumPy arrays."""
        arrays = dict(zip(self.inputs, values))
        wanted = [arrays[name] for name in self.wanted]
        with self._precision():
            return (*map(np.array, self._outputs(self.f, *map(self._leaf, self.wanted, wanted))),
                    wanted)

    def backward(self, *douts_and_cache):
        """The gradients by the rule that is written by hand."""
        *douts, wanted = douts_and_cache
        with self._precision():
            return self._gradients(self.f, wanted, douts)[1]

    def own(self, douts):
        """The gradients of the undecorated function."""
        undecorated = _undecorated(self.jax, self.f)
        with self._precision():
            outs, slopes = self._gradients(undecorated, [self.inputs[name] for name in self.wanted],
                                           douts)
        return outs, dict(zip(self.wanted, slopes))

    def _gradients(self, f, wanted, douts):
        """([output …], [gradient of Σ dout · out …]) of f as arrays."""
        leaves = map(self._leaf, self.wanted, wanted)
        outs, transposed = self.jax.vjp(partial(self._outputs, f), *leaves)
        douts = tuple(self.jax.numpy.asarray(dout, out.dtype) for dout, out in zip(douts, outs))
        return list(map(np.array, outs)), list(map(np.array, transposed(douts)))

    def _leaf(self, name, value):
        """An array as jax's, in its own precision if it is real."""
        dtype = None if np.iscomplexobj(value) else self.inputs[name].dtype
        return self.jax.numpy.asarray(value, dtype)

    def _outputs(self, f, *wanted):
        """The outputs of floating-point numbers of f, a tuple of arrays."""
        values = {**self.inputs, **dict(zip(self.wanted, wanted))}
        arguments = {name: self.jax.tree_util.tree_unflatten(tree, [values[leaf] for leaf in names])
                     for name, (tree, names) in self.trees.items()}
        result = f(**arguments) if self.by_keyword else f(*arguments.values())
        leaves = map(self.jax.numpy.asarray, self.jax.tree_util.tree_leaves(result))
        outs = tuple(out for out in leaves if self.jax.dtypes.issubdtype(out.dtype, np.inexact))
        if not outs:
            raise ValueError("f must return arrays of floating-point numbers")
        return outs


def _undecorated(jax, f):
    """The function whose derivative jax would take by itself."""
    decorated = jax.custom_vjp, jax.custom_jvp
    while not isinstance(f, decorated) and hasattr(f, "__wrapped__"):  # jax.jit
        f = f.__wrapped__
    if not isinstance(f, decorated):
        raise NoOwnDerivative("only of a custom_vjp or custom_jvp itself the undecorated function "
                              "is known")
    return f.fun
