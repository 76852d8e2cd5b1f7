"""A function of named arrays at one point: how it is called with arrays that were moved, whatever
form a person's code has.

In: a function, and its parameters as a dict, a list, one array or an object's attributes. Out: a
`Point`, which gives the outputs, flat, at the point moved along a direction {name: array}. A
function without arguments reads the parameters where they are: they are moved there and put back.
Read on in `verify.functions.slopes`.
"""
import inspect
import warnings

import numpy as np

SINGLE = np.finfo(np.float32).eps
DOUBLE = np.finfo(np.float64).eps
CALLS = 4              # that must give the same value
ROUNDINGS = 8          # in one value, at least
LINES, POINTS = 3, 10  # where the noise is looked for
SAFETY = (4, 8)        # the noise seen is held to be this much too small; in float32


class Point:
    """A function at a point; `arrays` {name: float64 array} are what is differentiated for."""

    def __init__(self, call, arrays):
        """
        Args:
            call: {name: array} → what the function returns for these.
            arrays: {name: array} the point; where one is in float32 the claims may be too.
        """
        self.call = quietly(call)
        self.arrays = {name: np.array(array, np.float64) for name, array in arrays.items()}
        self.value = self.outputs({})
        self.is_random = not all(_same(self.value, self.outputs({})) for _ in range(CALLS))
        self.epsilon = DOUBLE  # of the arithmetic inside
        if not self.is_random:
            self.epsilon = max(self._epsilon(), *(float(np.finfo(np.asarray(array).dtype).eps)
                                                  for array in arrays.values()))
        self.noise = self._noise()
        mine = self.moved({}, 0.0)
        self.call(mine)
        self.writes = [name for name in arrays if not _same(mine[name], self.arrays[name])]

    @property
    def is_single(self):
        """Whether the arithmetic inside, or what is claimed, is in float32 or less."""
        return bool(self.epsilon > DOUBLE)

    def outputs(self, direction, t=0.0):
        """The function's outputs (N,) at the point + t · direction, real or complex as t is. An
        error there is raised."""
        return flat(self.call(self.moved(direction, t)))

    def near(self, direction, t):
        """The same at a real t; NaN where the function raises an error or changes its shape, as
        outside its domain."""
        try:
            outputs = self.outputs(direction, t)
        except Exception:  # whatever a person's code raises there
            return np.full(self.value.shape, np.nan)
        return outputs if outputs.shape == self.value.shape else np.full(self.value.shape, np.nan)

    def moved(self, direction, t):
        """The arrays at the point + t · direction; those that are not moved are copies too."""
        return {name: array + t * direction[name] if name in direction else
                array.astype(np.result_type(array, t)) for name, array in self.arrays.items()}

    def scale(self, direction):
        """By how much t may change: the size of the arrays that are moved, 1 where they are 0."""
        sizes = [np.abs(self.arrays[name][along != 0]).max(initial=0) / np.abs(along).max()
                 for name, along in direction.items() if along.any()]
        whole = [np.abs(self.arrays[name]).max(initial=0) / np.abs(along).max()
                 for name, along in direction.items() if along.any()]
        return max([size for size in sizes if size] or whole, default=0) or 1.0

    def _epsilon(self):
        """The rounding of the arithmetic inside: its type's, or float32's where the function does
        not see moves that float64 would."""
        if self.value.dtype in (np.float32, np.complex64, np.float16):
            return float(np.finfo(self.value.dtype).eps)
        rng = np.random.default_rng(0)
        direction = {name: array * rng.uniform(0.5, 1, array.shape)
                     for name, array in self.arrays.items()}
        large = np.abs(self.near(direction, 2.0 ** -18) - self.value) / 1024
        small = self.near(direction, 2.0 ** -28) - self.value
        with np.errstate(invalid="ignore"):
            blind = (large > 64 * DOUBLE * np.abs(self.value)) & (small == 0)
        return SINGLE if blind.any() else DOUBLE


    def _noise(self):
        """(N,) the rounding of one value: of the value itself, and as third differences of values
        at points a few roundings apart show it (Moré and Wild 2011)."""
        rng = np.random.default_rng(1)
        seen = np.zeros(self.value.shape)
        for _ in range(LINES):
            direction = {name: array * rng.uniform(-1, 1, array.shape)
                         for name, array in self.arrays.items()}
            values = [self.near(direction, 16 * k * self.epsilon) for k in range(POINTS)]
            with np.errstate(all="ignore"):
                third = np.diff(np.array(values, float), 3, axis=0)
                seen = np.fmax(seen, np.sqrt((third * third).mean(axis=0) / 20))
        least = np.finfo(np.float32 if self.is_single else np.float64).tiny
        seen = SAFETY[int(self.is_single)] * seen
        return ROUNDINGS * self.epsilon * np.abs(self.value) + seen + least


def quietly(call):
    """`call` without warnings of NumPy's and its own, but for numbers that lose their imaginary
    part: that is an error."""
    def quiet_call(arrays):
        """`call` of these arrays."""
        is_complex = any(array.dtype.kind == "c" for array in arrays.values())
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if is_complex:
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return call(arrays)
    return quiet_call


def flat(outputs):
    """What a function returned as (N,) numbers; ValueError for anything else."""
    if hasattr(outputs, "detach"):  # a torch tensor
        outputs = outputs.detach()
    outputs = np.asarray(outputs)
    if outputs.dtype.kind not in "fciub":
        raise ValueError(f"the function must return numbers; got {outputs.dtype} {outputs.shape}")
    return outputs.reshape(-1) if outputs.dtype.kind in "fc" else outputs.reshape(-1) * 1.0


def named(container):
    """{name: array} of what holds parameters: a dict, a list or tuple, one array, or an object
    (its attributes that are arrays of real numbers)."""
    if isinstance(container, dict):
        arrays = container
    elif isinstance(container, (list, tuple)):
        arrays = {f"[{number}]": array for number, array in enumerate(container)}
    elif isinstance(container, (np.ndarray, float, int)):
        arrays = {"x": container}
    elif hasattr(container, "__dict__"):
        arrays = {name: array for name, array in vars(container).items()
                  if isinstance(array, np.ndarray)}
    else:
        raise ValueError("parameters must be a dict, a list or an array, or an object with arrays "
                         f"as attributes; got {type(container).__name__}")
    arrays = {str(name): np.asarray(array) for name, array in arrays.items()
              if np.asarray(array).dtype.kind == "f"}
    if not arrays:
        raise ValueError("parameters must hold arrays of floating-point numbers; there are none")
    return arrays


def caller(function, container):
    """{name: array} → what `function` returns there, as a person's code wants to be called.

    Args:
        function: of one argument, a container like `container`, or of none.
        container: as of `named`.
    """
    if not _takes_nothing(function):
        return lambda arrays: function(_like(container, arrays))
    if isinstance(container, (np.ndarray, float, int, tuple)):
        return lambda arrays: _in_place(function, container, arrays, write=True)

    def replaced(arrays):
        return _in_place(function, container, arrays, write=False)

    def written(arrays):
        return _in_place(function, container, arrays, write=True)

    return replaced if _is_read(replaced, written, named(container)) else written


def _is_read(replaced, written, arrays):
    """Whether new arrays in the container are seen, where the same in the old ones are."""
    rng = np.random.default_rng(0)
    for array in arrays.values():
        if array.size:
            moved = {name: other.astype(float) for name, other in arrays.items()}
            name = next(name for name in arrays if arrays[name] is array)
            moved[name] = moved[name] + 0.1 * rng.normal(size=array.shape)
            if not _same(_first(replaced(moved)), _first(written(moved))):
                return False
    return True


def _first(value):
    return flat(value[0] if isinstance(value, tuple) else value)


def _takes_nothing(function):
    try:
        arguments = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return not any(argument.default is argument.empty and argument.kind in
                   (argument.POSITIONAL_ONLY, argument.POSITIONAL_OR_KEYWORD)
                   or argument.kind is argument.VAR_POSITIONAL for argument in arguments)


def _like(container, arrays):
    """`arrays` in a container of the same form; what is not differentiated stays as it is."""
    if isinstance(container, dict):
        return {name: arrays.get(str(name), value) for name, value in container.items()}
    if isinstance(container, (list, tuple)):
        return type(container)(arrays.get(f"[{number}]", value)
                               for number, value in enumerate(container))
    if isinstance(container, np.ndarray):
        return arrays["x"]
    if isinstance(container, (float, int)):
        return arrays["x"][()]
    twin = object.__new__(type(container))
    twin.__dict__.update(vars(container))
    twin.__dict__.update(arrays)
    return twin


def _in_place(function, container, arrays, write):
    """function() while the container holds `arrays`; afterwards it is as before.

    Args:
        function: without arguments.
        container: as of `named`.
        arrays: {name: array}.
        write: into the arrays that are there, not by putting others in their place.
    """
    slots = container if isinstance(container, (dict, list)) else getattr(container, "__dict__", {})
    old, keys = named(container), _keys(container)
    before = {name: array.copy() for name, array in old.items()}
    try:
        for name, array in arrays.items():
            if write:
                old[name][...] = array
            else:
                slots[keys[name]] = array
        return function()
    finally:
        for name, array in old.items():
            if write:
                array[...] = before[name]
            else:
                slots[keys[name]] = array


def _keys(container):
    """{name as of `named`: where the container holds that array}."""
    if isinstance(container, (list, tuple)):
        return {f"[{number}]": number for number in range(len(container))}
    return {str(key): key for key in (container if isinstance(container, dict) else
                                      getattr(container, "__dict__", ()))}


def _same(a, b):
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=True))
