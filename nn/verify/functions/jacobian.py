"""A bare function with a hand-written Jacobian or gradient: is it right? `check_jacobian` needs no
network and no layers; f and jac are those of SciPy's `minimize`, `least_squares`, `root`.

In: f, what is claimed to be its Jacobian, a point. Out: a `FunctionReport`. Read on in
`verify.functions.gradients`.
"""
import numpy as np

from nn.verify.functions.check import checked
from nn.verify.functions.point import Point

COLUMNS = 1000  # features that are always measured one by one


def check_jacobian(f, jacobian, x, *, image=None, tolerance=None, seed=0):
    """Hold a claimed Jacobian against the complex step and differences at the point `x`.

    Args:
        f: (M,) → (N,) (or a number); asked in float64.
        jacobian: (N, M), or a function of x that gives it; (M,) for a number.
        x: (M,), or any shape f takes, features in row-major order.
        image: (channels, height, width) if the features are pixels, to name them by row and column.
        tolerance: the largest allowed error relative to the largest entry (default: 1e-7 of each
            entry, 1e-3 in float32, and what rounding can do).
        seed: of the random directions.

    Returns:
        A `FunctionReport`, true only if every entry is right.

    Raises:
        ValueError: the claimed Jacobian has another shape than (N, M) or is not finite.
    """
    point, claims = jacobian_at(f, jacobian, x)
    shape = point.arrays["x"].shape

    def entry(_, output, index):
        """An entry of the Jacobian in words."""
        if image is None:
            return f"output {output}, feature {', '.join(map(str, index)) or 0}"
        _, row, column = np.unravel_index(np.ravel_multi_index(index, shape), image)
        return f"output {output}, pixel (row {row}, column {column})"

    report = checked(point, claims, tolerance, seed, COLUMNS, entry=entry, image=image)
    for row in report.rows + report.findings:
        row.name = "the Jacobian"
    return report


def jacobian_at(f, jacobian, x):
    """The `Point` of f at x, and {"x": (N, M) claimed}; arguments as of `check_jacobian`."""
    x = np.asarray(x, float)
    point = Point(lambda arrays: f(arrays["x"]), {"x": x})
    return point, {"x": _claimed(jacobian, x, len(point.value))}


def _claimed(jacobian, x, outputs):
    """The claimed Jacobian (N, M) at x in float64; ValueError where it cannot be one."""
    claimed = np.asarray(jacobian(x.copy()) if callable(jacobian) else jacobian)
    of_a_number = outputs == 1 and claimed.shape in (x.shape, (x.size,))
    fits = of_a_number or claimed.ndim > 1 and len(claimed) == outputs or x.size == 1
    if claimed.size != outputs * x.size or not fits or claimed.dtype.kind not in "iuf":
        turned = " (transposed?)" if claimed.shape == (x.size, outputs) else ""
        raise ValueError(f"jacobian must hold ({outputs}, {x.size}) real numbers; "
                         f"got {claimed.dtype} {claimed.shape}{turned}")
    claimed = claimed.reshape(outputs, x.size).astype(float)
    if not np.isfinite(claimed).all():
        raise ValueError("jacobian must be finite; it has NaN or infinite values")
    return claimed


