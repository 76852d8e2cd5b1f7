"""What every public function of the attack asks of images, θ, Υ and targets, in one place.

In: what the caller passed. Out: arrays ready for work, or a ValueError or TypeError in one line
that names the argument, its value and what is allowed. Read on in `arguments`.
"""
import warnings

import numpy as np

from attack.bounds import bounds_of

SLACK = 1e-6  # of the range: so far past a bound a value may lie by rounding
EXACT = 1 << 24  # whole numbers up to here are exact in float32


def as_array(values):
    """`values` as an array; a tensor of torch without its gradient, half precision as float32."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if values.is_floating_point() and values.element_size() < 4:
            values = values.float()
    return np.asarray(values)


def check_images(images, channels="separate", bounds=(0, 1)):
    """`images` as an array (n, …) of float32 or float64 within `bounds`, and these as `Bounds`.

    Args:
        images: real numbers, (n, …), or (n, C, …) where channels are tied. float32 and float64 keep
            their type; other numbers become float32, or float64 where float32 cannot hold them.
        channels: "separate" or "tied".
        bounds: (low, high), numbers or arrays that fit a sample.

    Raises:
        TypeError, ValueError: other numbers, another shape, or values outside the bounds by more
            than rounding; those that are outside by rounding are clipped, with a warning.
    """
    images = as_array(images)
    if images.dtype.kind not in "biuf":
        raise TypeError(f"images must hold real numbers; got {images.dtype}")
    if images.ndim < 2:
        raise ValueError(f"images must have the shape (n, …), one sample a row; got {images.shape}")
    if channels == "tied" and images.ndim < 3:
        raise ValueError("channels='tied' needs images of the shape (n, channels, …); "
                         f"got {images.shape}")
    if images.dtype not in (np.float32, np.float64):
        large = images.dtype.kind in "iu" and images.size and np.abs(images).max() > EXACT
        images = images.astype(np.float64 if large else np.float32)
    width = images.shape[1] if channels == "tied" else 1
    limits = bounds_of(bounds, images.shape[1:], images.dtype, width)
    return _within(images, limits, bounds), limits


def _within(images, limits, bounds):
    """`images`, if they lie within `limits`; clipped, where rounding alone takes them past."""
    where = f"[{bounds[0]}, {bounds[1]}]" if np.ndim(bounds[0]) == np.ndim(bounds[1]) == 0 else (
        "bounds")
    if np.isnan(images).any():
        raise ValueError(f"images must lie in {where}; got NaN")
    cells = images.reshape(len(images), *limits.low.shape)
    past = np.maximum(limits.low - cells, cells - limits.high)
    if not (past > 0).any():
        return images
    slack = SLACK * (limits.high.astype(float) - limits.low)
    if (past > slack).any():
        hint = "" if np.ndim(bounds[0]) or tuple(bounds) != (0, 1) else (
            "; where the data has other bounds, pass bounds=(low, high)")
        raise ValueError(f"images must lie in {where}; got values from {images.min():.9g} to "
                         f"{images.max():.9g}{hint}")
    warnings.warn(f"images: {np.count_nonzero(past > 0):,} values lie past their bounds by "
                  f"{past.max():.1g} at most, as by rounding; they are clipped", stacklevel=4)
    return np.clip(cells, limits.low, limits.high).reshape(images.shape)


def check_theta(theta):
    """ValueError unless θ is a finite number other than 0."""
    if not is_number(theta) or theta == 0:
        raise ValueError(f"theta must be a finite number other than 0; got {theta!r}")


def check_max_distortion(max_distortion):
    """ValueError unless Υ is a percentage above 0 or None."""
    if max_distortion is not None and not (is_number(max_distortion) and 0 < max_distortion <= 100):
        raise ValueError("max_distortion must lie in (0, 100] percent or be None; "
                         f"got {max_distortion!r}")


def check_targets(targets, count, classes, name="targets"):
    """`targets` as integers (count,), each a class.

    Args:
        targets: one class, (count,) classes, or one-hot rows (count, classes); whole numbers of any
            type.
        count: how many samples there are.
        classes: N.
        name: what the caller calls them.

    Raises:
        ValueError: anything else.
    """
    targets = as_array(targets)
    if targets.dtype.kind not in "iufb" or not (targets == np.round(targets)).all():
        raise ValueError(f"{name} must be whole numbers; got "
                         f"{targets.dtype if targets.dtype.kind not in 'f' else targets.flat[0]}")
    if targets.shape == (count, classes) and targets.ndim == 2:
        if not (((targets == 0) | (targets == 1)).all() and (targets.sum(axis=1) == 1).all()):
            raise ValueError(f"{name} of the shape {targets.shape} must be one-hot: a single 1 in "
                             "each row, else 0")
        targets = targets.argmax(axis=1)
    if targets.shape not in ((), (count,)):
        raise ValueError(f"{name} must be one class or {count} of them; "
                         f"got the shape {targets.shape}")
    wrong = targets[(targets < 0) | (targets >= classes)]
    if wrong.size:
        from_one = targets.ndim and targets.min() >= 1 and targets.max() == classes
        hint = f"; did you mean {name} - 1?" if from_one else ""
        raise ValueError(f"{name} must be classes from 0 to {classes - 1}; "
                         f"got {wrong.flat[0]:g}{hint}")
    return np.broadcast_to(targets, (count,)).astype(np.intp)


def is_number(value):
    """Is it a finite real number?"""
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(np.isfinite(value))
