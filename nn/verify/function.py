"""A bare function with a hand-written Jacobian: is it right? `check_jacobian` needs no network and no layers.

In: f, what is claimed to be its Jacobian, a point. Out: a `Report` as in `checking`. Referees: the complex step, where
f takes complex numbers, and central differences (SciPy's, with their own error estimate). Where the differences from the
left and from the right do not meet, f has a kink: such entries are counted and not judged by differences. Read on in `verify.frameworks`.
"""
import numpy as np
from scipy import differentiate

from nn.verify.diagnosis import moved, scaled
from nn.verify.network import STEP
from nn.verify.report import Comparison, Finding, Report, Row

TOLERANCE = {"complex step": 1e-9, "central differences": 1e-5}


def check_jacobian(f, jacobian, x, *, image=None, tolerance=None):
    """Hold a claimed Jacobian against the complex step and central differences at the point `x`.

    f: (M,) → (N,) (or a number); jacobian: (N, M), or a function of x that gives it; x: (M,), or any shape f takes,
    features in row-major order. image: (channels, height, width) if the features are pixels, to name them by row and
    column. tolerance: the largest allowed error relative to the largest entry (default 1e-9 for the complex step, 1e-5
    plus SciPy's error estimate for differences).

    Returns a `Report` with one row, whose `ties` counts entries (j, i) where f has a kink. f is asked in float64.
    ValueError where the claimed Jacobian has another shape than (N, M) or is not finite.
    """
    x = np.asarray(x, float)
    shape = x.shape

    def values(point):
        return np.asarray(f(point.reshape(shape))).reshape(-1)

    outputs = len(values(x.reshape(-1)))
    claimed = np.asarray(jacobian(x) if callable(jacobian) else jacobian)
    if claimed.size != outputs * x.size or claimed.dtype.kind not in "iuf":
        raise ValueError(f"jacobian must hold ({outputs}, {x.size}) real numbers; got {claimed.dtype} {claimed.shape}")
    claimed = claimed.reshape(outputs, x.size).astype(float)
    if not np.isfinite(claimed).all():
        raise ValueError("jacobian must be finite; it has NaN or infinite values")
    x = x.reshape(-1)
    kinks = _kinks(values, x)
    row = Row("f", (outputs, 1, 1), 100 * np.count_nonzero(claimed) / claimed.size, float(np.abs(claimed).max()),
              int(kinks.sum()), int(kinks.sum()), ["kinks"] if kinks.any() else [])
    finding, missing = None, {}
    for name, referee in (("complex step", _complex_step), ("central differences", _differences)):
        try:
            right, doubt = referee(values, x)
        except (TypeError, ValueError) as error:
            missing[name] = f"f does not take complex numbers ({error})" if name == "complex step" else str(error)
            continue
        size = np.abs(right).max()
        allowed = (TOLERANCE[name] if tolerance is None else tolerance) * (size or 1) + 10 * doubt
        off = np.abs(claimed - right)
        judged = np.where(kinks, 0, off) if name == "central differences" else off
        aside = int((kinks & (off > allowed)).sum()) if name == "central differences" else 0
        row.errors[name] = Comparison(float(judged.max()), float(judged.max() / (size or 1)), aside)
        if finding is None and (judged > allowed).any():
            finding = _finding(name, claimed, right, np.where(judged > allowed, judged, 0), image)
    return Report([row], finding, missing, [], bool(row.errors))


def _complex_step(values, x):
    columns = []
    for i in range(len(x)):
        point = x.astype(complex)
        point[i] += 1j * STEP
        found = values(point)
        if found.dtype.kind != "c":
            raise TypeError("it returns real ones")
        columns.append(found.imag / STEP)
    return np.stack(columns, axis=1), 0.0


def _differences(values, x):
    def many(points):
        """f at all points (M, …), as SciPy asks for them: (N, …)."""
        flat = points.reshape(len(x), -1)
        found = np.stack([values(point) for point in flat.T], axis=-1)
        return found.reshape(len(found), *points.shape[1:])

    found = differentiate.jacobian(many, x, maxiter=4)
    return found.df, np.nan_to_num(found.error, nan=0.0)


def _kinks(values, x):
    """(N, M): where the slopes from both sides stay apart as the step shrinks."""
    gaps, here, size = [], values(x), 0.0
    for step in (1e-4, 1e-5):
        gap = []
        for i in range(len(x)):
            move = np.zeros(len(x))
            move[i] = step
            right, left = (values(x + move) - here) / step, (here - values(x - move)) / step
            gap.append(np.abs(right - left))
            size = max(size, np.abs(right).max(), np.abs(left).max())
        gaps.append(np.stack(gap, axis=1))
    return (gaps[1] > 0.5 * gaps[0]) & (gaps[0] > 1e-3 * size)


def _finding(name, claimed, right, error, image):
    j, i = np.unravel_index(error.argmax(), error.shape)
    where = f"output {j}, "
    if image is None:
        where += f"feature {i}"
    else:
        _, row, column = np.unravel_index(i, image)
        where += f"pixel (row {row}, column {column})"
    cause = scaled(claimed, right) or (moved(claimed, right, image) if image else "")
    if not cause and claimed.shape[0] == claimed.shape[1] and np.allclose(claimed.T, right, rtol=1e-4):
        cause = "transposed"
    return Finding("f", "forward derivative", name, where, float(claimed[j, i]), float(right[j, i]), cause)
