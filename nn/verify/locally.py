"""One layer by itself, from its values alone: does it work unit by unit, and what is its derivative
there? Does the complex step hold for it?

In: a layer and its input (1, y, x, c). Out: yes or no; f' of each unit; its own Jacobian. A
function of real numbers only, such as |x|, may take complex numbers and give another derivative:
the complex step knows nothing of it, and differences show it. Read on in `verify.rounding`.
"""
import numpy as np

from nn.verify.referees import STEP_SIZE

LARGEST = 2 ** 21  # entries of a layer's own Jacobian that are asked for
NEAR = 1e-6        # how far differences step, relative to values above 1


def works_unit_by_unit(layer, x):
    """Whether each unit of the output depends on that unit of the input alone."""
    value = layer.forward(x)[0]
    if value.shape != x.shape:
        return False
    rng = np.random.default_rng(0)
    for _ in range(3):
        moved = rng.random(x.shape) < 0.5
        other = layer.forward(np.where(moved, x + 0.1 + 0.1 * np.abs(x), x).astype(x.dtype))[0]
        if not np.array_equal(other[~moved], value[~moved], equal_nan=True):
            return False
    return True


def slopes(layer, x):
    """f'(x) of a layer that works unit by unit."""
    return _along(layer, x, np.ones_like(x, float))


def local_jacobian(layer, x):
    """The layer's own derivative (units', units) at x, units in channel, row, column order; None
    if it is too large."""
    directions = _unit_directions(layer, x)
    if directions is None:
        return None
    columns = _along(layer, np.broadcast_to(x, directions.shape), directions)
    return np.moveaxis(columns, -1, 1).reshape(x.size, -1).T


def _unit_directions(layer, x):
    """(units, y, x, c): one unit of the input after the other; None if they are too many."""
    if x.size * layer.forward(x)[0].size > LARGEST:
        return None
    return np.moveaxis(np.eye(x.size).reshape(x.size, x.shape[3], *x.shape[1:3]), 1, -1)


def kinks(layer, x):
    """Where the layer has a kink right at x: which unit of the output (units',) where it works unit
    by unit, else of which unit of the input too, (units', units); None if that is too large."""
    x = np.asarray(x, float)
    if works_unit_by_unit(layer, x):
        return _bends(layer, x, np.ones_like(x)).transpose(0, 3, 1, 2).reshape(-1)
    directions = _unit_directions(layer, x)
    if directions is None:
        return None
    bends = _bends(layer, np.broadcast_to(x, directions.shape), directions)
    return np.moveaxis(bends, -1, 1).reshape(x.size, -1).T


def _bends(layer, x, direction):
    """Whether the slopes to the left and to the right differ, however short the step."""
    near = NEAR * np.maximum(1e-3, np.abs(x).max(initial=0))
    here, right, left = (layer.forward(x + move * direction)[0] for move in (0, near, -near))
    rounding = 1e3 * np.finfo(float).eps * np.abs(here).max(initial=0)
    size = np.abs(right - here) + np.abs(here - left)
    return np.abs(right - 2 * here + left) > 0.01 * size + rounding


def takes_complex_numbers(layer, x):
    """Whether the complex step holds: it gives what differences give, where these know."""
    if type(layer).forward.__module__.startswith("nn.layers."):
        return True
    direction = np.random.default_rng(0).uniform(0.5, 1, np.shape(x))
    x = np.asarray(x, float)
    try:
        step = layer.forward(x + 1j * STEP_SIZE * direction)[0].imag / STEP_SIZE
    except Exception:  # whatever a layer of the user's own raises
        return False
    middle, doubt = _differences(layer, x, direction)
    return not (np.abs(step - middle) > doubt + 1e-3 * np.abs(middle)).any()


def _along(layer, x, direction):
    """The layer's derivative along `direction`: the complex step, or differences where that does
    not hold."""
    x = np.asarray(x, float)
    if takes_complex_numbers(layer, x[:1]):
        return layer.forward(x + 1j * STEP_SIZE * direction)[0].imag / STEP_SIZE
    return _differences(layer, x, direction)[0]


def _differences(layer, x, direction):
    """(the central difference along `direction`, how far it can be off: by as much as the slopes to
    the left and to the right differ, and by rounding)."""
    near = NEAR * np.maximum(1, np.abs(x).max(initial=0))
    here, right, left = (layer.forward(x + move * direction)[0] for move in (0, near, -near))
    rounding = 1e3 * np.finfo(float).eps * np.abs(here).max(initial=0) / near
    return (right - left) / (2 * near), np.abs(right - 2 * here + left) / near + rounding
