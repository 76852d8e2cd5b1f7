"""What a person's own file holds to be checked: `jsma verify FILE.py:NAME`.

In: FILE.py:NAME and perhaps a file of inputs. The file is executed; what it prints goes to stderr.
Out: the report of the check that fits what NAME is, or one line that says why there is none, with
the line number in the file where its own code raised an error.
"""
import importlib.util
import inspect
import re
import sys
import traceback
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np

from data import load_mnist
from nn import (
    Network,
    check_backward,
    check_gradients,
    check_jacobian,
    check_jax,
    check_network,
    check_torch,
)
from nn.verify.answer import CheckReport

MODULE = "checked_file"  # the name by which the file is a module
SAMPLES = 4              # of a network's input, where none are given
CHECKS = {"loss": check_gradients, "forward": check_backward, "f": check_jacobian}
TAKES = ("a Network, torch's or jax's code with a derivative written by hand, or a function "
         "without arguments that returns a report or a check's arguments as a dict")


def own_report(where, inputs=None, **options):
    """The report on what `where` names.

    Args:
        where: "FILE.py:NAME".
        inputs: a file of arrays (.npz), the inputs of a network, of torch's or jax's code.
        options: of `check_network`, and `dtype`.

    Returns:
        A `Report` or `FunctionReport`.

    Raises:
        ValueError, OSError: there is no such file or name, its code raises an error, or it is
            nothing that can be checked.
    """
    path, _, name = where.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise ValueError(f"what is checked must be FILE.py:NAME; got {where}")
    arrays = _arrays(inputs)
    with _executed(Path(path)) as module:
        if not hasattr(module, name):
            raise ValueError(f"{path} has no {name}")
        return _report(getattr(module, name), where, arrays, options)


def _report(value, where, arrays, options):
    """The check that fits `value`."""
    if isinstance(value, CheckReport):
        return value
    if isinstance(value, Network):
        return check_network(*_at(value, arrays, options.pop("dtype", "float64")), **options)
    if isinstance(value, dict):
        return _by_arguments(value, where)
    program = _program(value)
    if program and arrays is None:
        raise ValueError(f"{where} needs inputs: --at FILE.npz, its arrays named as the arguments")
    if program:
        in_order = all(re.fullmatch(r"arr_\d+", name) for name in arrays)  # np.savez without names
        return program(value, list(arrays.values()) if in_order else arrays)
    if not callable(value) or not _takes_nothing(value):
        raise ValueError(f"{where} must be {TAKES}; got {_kind(value)}")
    try:
        CheckReport.refused = None
        result = value()
    except AssertionError:  # assert report; report.raise_if_wrong()
        if CheckReport.refused is None:
            raise
        result = CheckReport.refused
    if callable(result) and not isinstance(result, Network) and not _program(result):
        raise ValueError(f"{where} must be {TAKES}; it returns {_kind(result)}")
    return _report(result, f"what {where} returns", arrays, options)


def _by_arguments(arguments, where):
    """The check whose arguments these are."""
    fitting = [check for key, check in CHECKS.items() if key in arguments]
    if len(fitting) != 1:
        raise ValueError(f"{where} must hold one of {', '.join(CHECKS)}; got "
                         f"{', '.join(map(str, arguments)) or 'an empty dict'}")
    return fitting[0](**arguments)


def _program(value):
    """`check_torch` or `check_jax`, if the value is torch's or jax's; else None."""
    function = getattr(value, "__self__", value)  # of its apply
    if "torch.Module" in _kinds(type(value)) or "torch.Function" in _kinds(function):
        return check_torch
    return check_jax if _kinds(type(value)) & {"jax.custom_vjp", "jax.custom_jvp"} else None


def _kinds(kind):
    """{"package.name"} of a class and those that it is made from."""
    return {f"{each.__module__.partition('.')[0]}.{each.__name__}"
            for each in getattr(kind, "__mro__", ())}


def _takes_nothing(function):
    """Whether it can be called without arguments."""
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _kind(value):
    """What a value is, in words."""
    if callable(value):
        return "a class" if isinstance(value, type) else "a function of arguments"
    return type(value).__name__


def _at(network, arrays, dtype):
    """The network and samples for it in `dtype`: from the file, digits, or random ones."""
    network.load({name: array.astype(dtype) for name, array in network.parameters().items()})
    if arrays is not None:
        if len(arrays) != 1:
            raise ValueError("a network is checked at one array of samples; the file holds "
                             f"{', '.join(arrays)}")
        return network, next(iter(arrays.values())).astype(dtype)
    shape = network.input_shape
    if shape in ((28, 28), (1, 28, 28)):
        return network, load_mnist("test")[0][:SAMPLES].reshape(-1, *shape).astype(dtype)
    return network, np.random.default_rng(0).uniform(size=(SAMPLES, *shape)).astype(dtype)


def _arrays(path):
    """{name: array} of a file, None for none."""
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except OSError:
        raise
    except Exception as error:  # of zipfile, zlib, NumPy
        raise ValueError(f"{path} is no file of arrays (.npz)") from error


@contextmanager
def _executed(path):
    """The module that a file is, in this block; its folder comes first where it imports from."""
    text = path.read_bytes()  # says what is wrong with a missing one
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(MODULE, path))
    module.__file__ = str(path)
    before = sys.path[:]
    sys.path.insert(0, str(path.absolute().parent))
    sys.modules[MODULE] = module
    try:
        with redirect_stdout(sys.stderr):
            exec(compile(text, str(path), "exec"), vars(module))
            yield module
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
                 if frame.filename == str(path)]
        if isinstance(error, SyntaxError) and error.filename == str(path) and error.lineno:
            lines.append(error.lineno)
        if not lines and isinstance(error, (ValueError, TypeError, OSError, MemoryError)):
            raise
        line = f" line {lines[-1]}" if lines else ""
        raise ValueError(f"{path}{line}: {type(error).__name__}: {error}") from error
    finally:
        sys.path[:] = before
        sys.modules.pop(MODULE, None)
