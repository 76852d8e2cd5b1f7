"""A bare function with a hand-written Jacobian: is it right? `check_jacobian` needs no network and
no layers.

In: f, what is claimed to be its Jacobian, a point. Out: a `Report` as of a network. Referees: the
complex step, where f takes complex numbers, and central differences (SciPy's, with their own error
estimate). Where the differences from the left and from the right do not meet, f has a kink: such
entries are counted and not judged by differences. Read on in `verify.frameworks`.
"""
import numpy as np
import scipy

from nn.verify.catalogue import FORWARD
from nn.verify.diagnosis import moved, scaled
from nn.verify.referees import STEP_SIZE
from nn.verify.report import Comparison, Finding, LayerRow, Report

TOLERANCE = {"complex step": 1e-9, "central differences": 1e-5}


def check_jacobian(f, jacobian, x, *, image=None, tolerance=None):
    """Hold a claimed Jacobian against the complex step and central differences at the point `x`.

    Args:
        f: (M,) → (N,) (or a number); asked in float64.
        jacobian: (N, M), or a function of x that gives it.
        x: (M,), or any shape f takes, features in row-major order.
        image: (channels, height, width) if the features are pixels, to name them by row and column.
        tolerance: the largest allowed error relative to the largest entry (default 1e-9 for the
            complex step, 1e-5 plus SciPy's error estimate for differences).

    Returns:
        A `Report` with one row, whose `ties` counts entries (j, i) where f has a kink.

    Raises:
        ValueError: the claimed Jacobian has another shape than (N, M) or is not finite.
    """
    x = np.asarray(x, float)
    shape = x.shape

    def values(point):
        """f at a flat point, flat."""
        return np.asarray(f(point.reshape(shape))).reshape(-1)

    claimed = _claimed(jacobian, x, outputs=len(values(x.reshape(-1))))
    x = x.reshape(-1)
    kinks = _kinks(values, x)
    count = int(kinks.sum())
    row = LayerRow("f", (len(claimed), 1, 1), 100 * np.count_nonzero(claimed) / claimed.size,
                   float(np.abs(claimed).max()), count, count, ["kinks"] if count else [])
    finding, missing = None, {}
    for name, referee in REFEREES.items():
        try:
            right, doubt = referee(values, x)
        except (TypeError, ValueError) as error:
            reason = str(error)
            if name == "complex step":
                reason = f"f does not take complex numbers ({reason})"
            missing[name] = reason
            continue
        size = np.abs(right).max() or 1
        allowed = (TOLERANCE[name] if tolerance is None else tolerance) * size + 10 * doubt
        excused = kinks & (name == "central differences")
        errors = np.abs(claimed - right)
        judged = np.where(excused, 0, errors)
        row.errors[name] = Comparison(float(judged.max()), float(judged.max() / size),
                                      int((excused & (errors > allowed)).sum()))
        if finding is None and (judged > allowed).any():
            worst = np.where(judged > allowed, judged, 0).argmax()
            finding = _finding(name, claimed, right, np.unravel_index(worst, claimed.shape), image)
    return Report([row], finding, missing, [], bool(row.errors))


def _claimed(jacobian, x, outputs):
    """The claimed Jacobian (N, M) at x in float64; ValueError where it cannot be one."""
    claimed = np.asarray(jacobian(x) if callable(jacobian) else jacobian)
    if claimed.size != outputs * x.size or claimed.dtype.kind not in "iuf":
        raise ValueError(f"jacobian must hold ({outputs}, {x.size}) real numbers; "
                         f"got {claimed.dtype} {claimed.shape}")
    claimed = claimed.reshape(outputs, x.size).astype(float)
    if not np.isfinite(claimed).all():
        raise ValueError("jacobian must be finite; it has NaN or infinite values")
    return claimed


def _complex_step(values, x):
    """(∂f/∂x (N, M), the doubt in it): Im f(x + ih) / h, exact to rounding."""
    columns = []
    for i in range(len(x)):
        point = x.astype(complex)
        point[i] += 1j * STEP_SIZE
        value = values(point)
        if value.dtype.kind != "c":
            raise TypeError("it returns real ones")
        columns.append(value.imag / STEP_SIZE)
    return np.stack(columns, axis=1), 0.0


def _differences(values, x):
    """(∂f/∂x (N, M), the doubt in it (N, M)) by SciPy's central differences."""
    def many(points):
        """f at all points (M, …), as SciPy asks for them: (N, …)."""
        outputs = np.stack([values(point) for point in points.reshape(len(x), -1).T], axis=-1)
        return outputs.reshape(len(outputs), *points.shape[1:])

    result = scipy.differentiate.jacobian(many, x, maxiter=4)
    return result.df, np.nan_to_num(result.error, nan=0.0)


REFEREES = {"complex step": _complex_step, "central differences": _differences}


def _kinks(values, x):
    """(N, M): where the slopes from both sides stay apart as the step size shrinks."""
    here = values(x)
    gaps, size = [], 0.0
    for step_size in (1e-4, 1e-5):
        columns = []
        for move in step_size * np.eye(len(x)):
            right = (values(x + move) - here) / step_size
            left = (here - values(x - move)) / step_size
            columns.append(np.abs(right - left))
            size = max(size, np.abs(right).max(), np.abs(left).max())
        gaps.append(np.stack(columns, axis=1))
    return (gaps[1] > 0.5 * gaps[0]) & (gaps[0] > 1e-3 * size)


def _finding(name, claimed, right, entry, image):
    """The `Finding` at the worst entry (j, i)."""
    j, i = entry
    if image is None:
        where = f"output {j}, feature {i}"
    else:
        _, row, column = np.unravel_index(i, image)
        where = f"output {j}, pixel (row {row}, column {column})"
    cause = scaled(claimed, right) or (moved(claimed, right, image) if image else "")
    square = claimed.shape[0] == claimed.shape[1]
    if not cause and square and np.allclose(claimed.T, right, rtol=1e-4):
        cause = "transposed"
    return Finding("f", FORWARD, name, where, float(claimed[j, i]), float(right[j, i]), cause)
