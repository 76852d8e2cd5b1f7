"""Code for another program (torch, jax) put to the check of a forward and a backward step.

In: `WrittenCode`, which calls the code with NumPy arrays. Out: a `FunctionReport`. What is
hand-written is held against differences and, where the forward step is made of parts that the
program differentiates, against the program's own derivative. Read on in
`verify.programs.of_torch`.
"""
from abc import ABC, abstractmethod

import numpy as np

from nn.verify.functions.backward import backward_at
from nn.verify.functions.gradients import gradients_checked, of_another_shape
from nn.verify.functions.report import FunctionReport
from nn.verify.programs.own import OwnReferee

SAME = 1e4    # roundings between the values of the code and of its undecorated forward step


class NoOwnDerivative(Exception):
    """The program cannot differentiate the forward step by itself; the message says why."""


class WrongShape(Exception):
    """The program refuses a gradient for its shape: (name, shape)."""


class WrittenCode(ABC):
    """A function whose derivative is written by hand, as `check_backward` takes it.

    `program` is its name, `inputs` {name: array or other value} all that `forward` takes, in order;
    `notes` is what a reader should know.
    """
    program: str
    inputs: dict
    notes: list

    @abstractmethod
    def forward(self, *values):
        """(output, …, cache) at NumPy arrays in place of `inputs`."""

    @abstractmethod
    def backward(self, *douts_and_cache):
        """[the hand-written gradient or None, of each array of floating-point numbers]."""

    @abstractmethod
    def own(self, douts):
        """([output, …], {name: gradient}) by the program, without what is hand-written; raises
        `NoOwnDerivative`."""


def check_written(new, tolerance, seed):
    """Check code in float64, or in its own precision where it refuses that.

    Args:
        new: (double) → `WrittenCode`, its arrays in float64 if `double`.
        tolerance: as of `check_backward`.
        seed: as of `check_backward`.

    Returns:
        A `FunctionReport`.
    """
    try:
        code = new(True)
        at = _at(code, seed)
    except Exception:  # whatever a person's code raises
        code = new(False)
        at = _at(code, seed)
    if isinstance(at, FunctionReport):
        return at
    point, claims, about = at
    referee, why = None, ""
    if not point.is_random:
        referee, why = _own(code, point, list(about["around"].values()))
    report = gradients_checked(point, claims, tolerance, seed, referee=referee, **about)
    report.notes.extend(code.notes)
    if why:
        report.missing.setdefault(f"{code.program}'s own derivative", why)
    return report


def _at(code, seed):
    """What `backward_at` gives, or the report of a gradient whose shape the program refuses."""
    try:
        return backward_at(code.forward, code.backward, code.inputs, seed)
    except WrongShape as error:
        name, shape = error.args
        wrong = of_another_shape(name, np.zeros(shape), np.asarray(code.inputs[name]))
        return FunctionReport([], [wrong], {}, [f"{code.program} accepts no gradients of that "
                                                "shape; the others were not checked"])


def _own(code, point, douts):
    """(the program's own derivative as a referee, ""), or (None, why there is none)."""
    try:
        outs, slopes = code.own(douts)
    except Exception as error:  # whatever a person's code raises there
        return None, (str(error).splitlines() or [type(error).__name__])[0]
    value = sum((dout * out).sum() for dout, out in zip(douts, outs))
    size = sum(np.abs(dout * out).sum() for dout, out in zip(douts, outs))
    if not abs(value - point.value[0]) <= SAME * point.epsilon * size:
        return None, "without what is hand-written the function gives other values"
    slopes = {name: slope.reshape(1, -1).astype(float) for name, slope in slopes.items()}
    return OwnReferee(point, f"{code.program}'s own derivative", slopes), ""
