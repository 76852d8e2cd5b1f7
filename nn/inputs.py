"""What goes into a network: samples, their shape, parameters; checked before a layer sees them.

In: shapes and arrays from outside. Out: (channels, height, width), samples as the layers take them,
channels last and some at a time; one line that says what is wrong with anything else. Read on in
`threads`.
"""
import numpy as np

from nn.threads import in_threads

TYPES = (np.float32, np.float64, np.complex64, np.complex128)  # computed in their own precision


def image_shape(shape):
    """(M,), (height, width) or (channels, height, width) → (channels, height, width)."""
    if len(shape) not in (1, 2, 3) or min(shape) < 1:
        raise ValueError("input_shape must be (M,), (height, width) or (channels, height, width); "
                         f"got {shape}")
    return {1: (*shape, 1, 1), 2: (1, *shape), 3: shape}[len(shape)]


def as_array(values):
    """`values` as an array; a tensor of torch without its gradient, half precision as float32."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if values.is_floating_point() and values.element_size() < 4:
            values = values.float()
    return np.asarray(values)


def as_samples(x, input_shape):
    """x (B, …), samples of `input_shape`, flat or images → (B, height, width, channels) of `TYPES`.

    Raises:
        TypeError: x does not hold numbers.
        ValueError: another shape, NaN or infinity.
    """
    x = as_array(x)
    if x.dtype.kind not in "biufc":
        raise TypeError(f"x must hold numbers; got {x.dtype}")
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    if x.dtype not in TYPES:
        x = x.astype(np.float32)
    image = image_shape(input_shape)
    shapes = {(int(np.prod(image)),), input_shape, image}
    if image[0] == 1 and len(input_shape) > 1:
        shapes.add(image[1:])
    if x.ndim < 2 or x.shape[1:] not in shapes:
        allowed = [str(("B", *shape)).replace("'", "") for shape in sorted(shapes, key=len)]
        raise ValueError(f"x must have the shape {' or '.join(allowed)}; got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("x must be finite; it has NaN or infinite values")
    return np.moveaxis(x.reshape(len(x), *image), 1, -1)


def check_parameters(parameters, own):
    """ValueError unless `parameters` has the names and shapes of `own` {"layer.weight": array} and
    finite floating-point numbers."""
    if set(parameters) != set(own):
        missing = sorted(set(own) - set(parameters))
        unknown = sorted(set(parameters) - set(own))
        raise ValueError(f"parameters must be exactly {', '.join(own)}; "
                         f"missing {missing}, unknown {unknown}")
    for name, array in parameters.items():
        if np.shape(array) != own[name].shape:
            raise ValueError(
                f"{name} must have the shape {own[name].shape}; got {np.shape(array)}")
        dtype = np.asarray(array).dtype
        if dtype.kind not in "fc" or not np.isfinite(array).all():
            raise ValueError(f"{name} must hold finite floating-point numbers; got {dtype}")


def in_batches(function, x, size, shape, threads=1):
    """function(slice) for batches of at most `size` samples, in one array (len(x), *shape).

    The batches are of like size, and `threads` of them are computed at once.
    """
    number = -(-len(x) // size)
    number = min(-(-number // threads) * threads, len(x))
    if number == 1:
        return function(slice(None))
    out = np.empty((len(x), *shape), x.dtype)
    edges = np.arange(number + 1) * len(x) // max(number, 1)

    def fill(rows):
        out[rows] = function(rows)

    in_threads(fill, map(slice, edges, edges[1:]), threads)
    return out
