"""The gradients of a loss, as a course on neural networks asks for them: are they right?
`check_gradients` takes a scalar function of named arrays and what is claimed to be its gradients.

In: a loss, its parameters as a dict, a list, one array or an object's attributes, the gradients.
Out: a `FunctionReport` that names the parameter, the entry and the likely cause. Read on in
`verify.functions.backward`.
"""
import numpy as np

from nn.verify.functions.check import checked
from nn.verify.functions.point import Point, caller, named
from nn.verify.functions.report import WrongArray

PREFIXES = ("", "d", "d_", "grad_", "g")  # of a gradient's name: W1, dW1, grad_W1, …


def check_gradients(loss, parameters, gradients=None, *, tolerance=None, seed=0):
    """Hold claimed gradients of a loss against the complex step and differences.

    Three lines: `report = nn.check_gradients(lambda: model.loss(X, y), model.params)`;
    `print(report)`; in a test, `assert report, report`.

    Args:
        loss: a function that returns a number, or (number, gradients). Without arguments it reads
            `parameters` where they are (they are moved there and put back); else it takes a
            container like `parameters`.
        parameters: a dict {name: array}, a list of arrays, one array, or an object, whose
            attributes that are arrays of floating-point numbers are meant.
        gradients: the same of the claimed gradients, named as the parameters or with a d or grad_
            before; or a function that gives them, called as `loss` is; None: those that `loss`
            returns.
        tolerance: the largest allowed error relative to the largest entry (default: 1e-7 of each
            entry, 1e-3 in float32, and what rounding can do).
        seed: of the random directions.

    Returns:
        A `FunctionReport`, true only if every gradient is right. Arrays of many entries are checked
        along random directions, and where one is wrong halved down to the entry.

    Raises:
        ValueError: no parameters, no gradients, or `loss` does not return one number.
    """
    return gradients_checked(*gradients_at(loss, parameters, gradients), tolerance, seed)


def gradients_at(loss, parameters, gradients=None):
    """The `Point` of a loss, and {name: claimed gradient}; arguments as of `check_gradients`."""
    arrays = {name: array for name, array in named(parameters).items() if array.size}
    call = caller(loss, parameters)
    if gradients is None:
        gradients = _second(call({name: array.copy() for name, array in arrays.items()}))
    elif callable(gradients):
        gradients = caller(gradients, parameters)(arrays)
    claims = _by_name(gradients, arrays)
    if not isinstance(parameters, (dict, list, tuple, np.ndarray)):
        arrays = {name: array for name, array in arrays.items() if name in claims}
    return Point(lambda moved: _scalar(call(moved)), arrays), claims


def gradients_checked(point, claims, tolerance, seed, **about):
    """Judge claimed gradients at a point of one output.

    Args:
        point: a `Point`.
        claims: {name: array}; a missing one and one of another shape are findings too.
        tolerance: as of `check_gradients`.
        seed: of the random directions.
        about: as of `check.checked`.
    """
    wrong, fitting = [], {}
    for name, array in point.arrays.items():
        claim = np.asarray(claims[name]) if name in claims else np.zeros(array.shape)
        if claim.shape == array.shape and claim.dtype.kind in "fiub":
            fitting[name] = claim.reshape(1, -1).astype(float)
        else:
            wrong.append(of_another_shape(name, claim, array))
        if claim.dtype in (np.float32, np.float16):
            point.epsilon = max(point.epsilon, float(np.finfo(claim.dtype).eps))
    report = checked(point, fitting, tolerance, seed, **about)
    for finding in report.findings:
        if finding.name not in claims:
            finding.cause = "no gradient is claimed, and the function depends on it"
    report.findings = [*wrong, *report.findings]
    return report


def of_another_shape(name, claim, array):
    """The `WrongArray` of a gradient that has not its parameter's shape."""
    cause = f"its shape is {claim.shape}, not {array.shape}"
    if claim.dtype.kind not in "fiub":
        cause = f"it holds {claim.dtype}, not real numbers"
    elif claim.shape == array.shape[::-1]:
        cause += ": transposed"
    elif claim.ndim > array.ndim or claim.size > array.size:
        cause += ": what was broadcast must be summed back (over the batch?)"
    elif claim.size < array.size:
        cause += ": summed over an axis too many"
    return WrongArray(name, name, float("nan"), float("nan"), "its shape", cause)


def _second(value):
    if isinstance(value, tuple) and len(value) >= 2:
        return value[1] if len(value) == 2 else value[1:]
    raise ValueError("gradients must be claimed: pass them, or let loss return (loss, gradients)")


def _scalar(value):
    """The loss of what a loss function returned; ValueError unless it is one number."""
    value = value[0] if isinstance(value, tuple) and value else value
    if np.size(value) != 1:
        raise ValueError(f"loss must return one number; got shape {np.shape(value)}")
    return value


def _by_name(gradients, arrays):
    """{name of the parameter: claimed gradient}."""
    if isinstance(gradients, dict) or hasattr(gradients, "__dict__"):
        slots = gradients if isinstance(gradients, dict) else vars(gradients)
        slots = {str(name): value for name, value in slots.items()}
        claims = {}
        for name in arrays:
            known = [prefix + name for prefix in PREFIXES if slots.get(prefix + name) is not None]
            if known:
                claims[name] = slots[known[0]]
    elif isinstance(gradients, (list, tuple)):
        if len(gradients) != len(arrays):
            raise ValueError(f"gradients must be {len(arrays)}, one for each of "
                             f"{', '.join(arrays)}; got {len(gradients)}")
        claims = dict(zip(arrays, gradients))
    elif len(arrays) == 1:
        claims = dict.fromkeys(arrays, gradients)
    else:
        claims = {}
    if not claims:
        raise ValueError(f"gradients must name some of {', '.join(arrays)}; got "
                         f"{type(gradients).__name__}")
    return claims
