"""The answers of other libraries in the precision of the question, and held against what a model
owes.

In: an array of another library, and the samples x (B, …) that were asked about. Out: the array in
x's precision, or a ValueError in one line. Read on in `models.torch`.
"""
import numpy as np


def precision_of(x):
    """float64 for float64, else float32."""
    dtype = np.asarray(x).dtype
    return dtype if dtype in (np.float32, np.float64) else np.dtype(np.float32)


def as_precise_as(x, array):
    """`array` in the precision of x."""
    return array.astype(precision_of(x), copy=False)


def checked_logits(who, logits, x):
    """The answer of `who` to x, in x's precision; ValueError where it is not (B, N) finite
    numbers."""
    if logits.ndim != 2 or len(logits) != len(x) or logits.dtype.kind != "f":
        raise ValueError(f"{who} must answer {len(x)} samples with floats of the shape "
                         f"({len(x)}, N); got {logits.dtype} {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError(f"{who} answers with NaN or infinite values")
    return as_precise_as(x, logits)
