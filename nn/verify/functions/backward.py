"""One step written by hand, `forward(x, w, b) -> out, cache` and `backward(dout, cache) -> dx, dw,
db`: is the backward step that of the forward one?

In: the pair, its inputs. Out: a `FunctionReport` of the gradients of Σ dout · out for a random
cotangent dout. Read on in `verify.functions.point`.
"""
import inspect

import numpy as np

from nn.verify.functions.gradients import gradients_checked
from nn.verify.functions.point import Point
from nn.verify.tape.units import slope_of_units


def check_backward(forward, backward, inputs, *, tolerance=None, seed=0):
    """Hold a backward step against the complex step and differences of its forward step.

    Args:
        forward: (*inputs) → out, or (out, cache), or (out1, out2, …, cache).
        backward: (dout, cache) → the gradients of the inputs: a tuple in the order of forward's
            arrays (those of integers may have None or no place), one array, or a dict by name.
            Where forward gives no cache it is called with (dout, *inputs).
        inputs: a list of forward's arguments, or a dict by name. Arrays of floating-point numbers
            are differentiated for, all others stay as they are.
        tolerance: the largest allowed error relative to the largest entry (default: 1e-7 of each
            entry, 1e-3 in float32, and what rounding can do).
        seed: of the cotangent and the random directions.

    Returns:
        A `FunctionReport`, true only if the gradients of all inputs are right.

    Raises:
        ValueError: there is no array to differentiate for, or backward gives another number of
            gradients.
    """
    point, claims, about = backward_at(forward, backward, inputs, seed)
    return gradients_checked(point, claims, tolerance, seed, **about)


def backward_at(forward, backward, inputs, seed=0):
    """The `Point` of Σ dout · out, {input: claimed gradient}, and what is known around them;
    arguments as of `check_backward`."""
    inputs = by_name(forward, inputs)
    arrays = {name: np.asarray(value) for name, value in inputs.items()
              if isinstance(value, np.ndarray) and value.dtype.kind == "f"}
    if not arrays:
        raise ValueError("inputs must hold arrays of floating-point numbers; there are none")

    def call(moved):
        """forward with other arrays."""
        return forward(*(moved[name] if name in moved else _copy(value)
                         for name, value in inputs.items()))

    outs, cache = _parts(call({name: array.copy() for name, array in arrays.items()}))
    rng = np.random.default_rng((seed, 1))  # not the stream that inputs may have come from
    cotangents = [rng.normal(size=np.shape(out)).astype(np.result_type(out, np.float32))
                  for out in outs]
    rest = cache or [_copy(value) for value in inputs.values()]
    claims = _claims(backward(*(each.copy() for each in cotangents), *rest), arrays, inputs)

    def total(moved):
        """Σ dout · out at other arrays."""
        outs, _ = _parts(call(moved))
        return sum((cotangent * out).sum() for cotangent, out in zip(cotangents, outs))

    point = Point(total, arrays)
    around = {"dout" if len(outs) == 1 else f"dout{number}": each
              for number, each in enumerate(cotangents, 1)}
    units = slope_of_units(lambda x: call({next(iter(arrays)): x}), next(iter(arrays.values())),
                           cotangents[0]) if len(outs) == 1 and len(arrays) == 1 else None
    return point, claims, {"around": around, "units": units,
                           "repeated": _repeated(inputs, arrays)}


def by_name(forward, inputs):
    """{name of forward's argument: value}, in order."""
    if isinstance(inputs, dict):
        return dict(inputs)
    inputs = [inputs] if hasattr(inputs, "shape") else list(inputs)
    try:
        names = list(inspect.signature(forward).parameters)
    except (TypeError, ValueError):
        names = []
    names += [f"input {number}" for number in range(len(names), len(inputs))]
    return dict(zip(names, inputs))


def _copy(value):
    return value.copy() if isinstance(value, (np.ndarray, dict)) else value


def _parts(value):
    """([outputs], [cache] or []) of what forward returned."""
    if isinstance(value, tuple) and len(value) > 1:
        return list(value[:-1]), [value[-1]]
    return [value[0] if isinstance(value, tuple) else value], []


def _claims(value, arrays, inputs):
    """{input: claimed gradient} of what backward returned."""
    if isinstance(value, dict):
        return {name: value[key] for name in arrays for key in (name, f"d{name}", f"d_{name}")
                if value.get(key) is not None}
    several = list(value) if isinstance(value, (tuple, list)) else [value]
    names = [name for name, each in inputs.items() if isinstance(each, np.ndarray)]
    if len(several) == len(arrays):
        names = list(arrays)
    elif len(several) != len(names):
        raise ValueError(f"backward must give {len(arrays)} gradients, of {', '.join(arrays)}; got "
                         f"{len(several)}")
    return {name: claim for name, claim in zip(names, several)
            if claim is not None and name in arrays}


def _repeated(inputs, arrays):
    """{array: which of its rows an array of integers among the inputs names more than once}."""
    rows = {}
    for value in inputs.values():
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.size:
            for name, array in arrays.items():
                if array.ndim and value.min() >= 0 and value.max() < len(array):
                    index = value.reshape(-1).astype(np.intp)
                    rows[name] = np.bincount(index, minlength=len(array)) > 1
    return rows
