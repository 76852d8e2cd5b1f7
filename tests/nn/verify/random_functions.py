"""Random functions with Jacobians by the chain rule, written out here: what `check_jacobian` may
never call wrong. Layers of random kinds, inputs of any size, float64 and float32, code that refuses
complex numbers, functions that are NaN nearby.
"""
import numpy as np

SIZES = (1.0, 30.0, 255.0, 1e-30)


def _relu(z):
    return np.maximum(z, 0), lambda: np.diag((z > 0) * 1.0)


def _leaky(z):
    return np.where(z > 0, z, 0.1 * z), lambda: np.diag(np.where(z > 0, 1.0, 0.1))


def _tanh(z):
    y = np.tanh(z)
    return y, lambda: np.diag(1 - y * y)


def _sigmoid(z):
    with np.errstate(over="ignore"):
        y = 1 / (1 + np.exp(-z))
    return y, lambda: np.diag(y * (1 - y))


def _softmax(z):
    e = np.exp(z - z.max())
    p = e / e.sum()
    return p, lambda: np.diag(p) - np.outer(p, p)


def _abs(z):
    return np.sqrt(z * z), lambda: np.diag(np.sign(z))


def _modulus(z):
    return np.abs(z), lambda: np.diag(np.sign(z))


def _norm(z):
    length = np.linalg.norm(z)
    return np.append(z, length), lambda: np.vstack([np.eye(len(z)), z / (length or 1)])


def _largest(z):
    return np.append(z, max(z)), lambda: np.vstack(
        [np.eye(len(z)), np.eye(len(z))[int(np.argmax(z))]])


def _deviation(z):
    deviation = z.std()
    return np.append(z, deviation), lambda: np.vstack(
        [np.eye(len(z)), (z - z.mean()) / (len(z) * (deviation or 1))])


def _square(z):
    return z * z, lambda: np.diag(2 * z)


def _sine(z):
    return np.sin(z), lambda: np.diag(np.cos(z))


UNITS = (_relu, _leaky, _tanh, _sigmoid, _softmax, _abs, _modulus, _norm, _largest, _deviation,
         _square, _sine)


def random_function(rng):
    """(f, its Jacobian (N, M) at x in f's own precision, x, whether it is in float32)."""
    single = rng.random() < 0.25
    dtype = np.float32 if single else np.float64
    features = int(rng.integers(1, 13))
    x = rng.random(features) * SIZES[rng.integers(len(SIZES))]
    layers, units = [], features
    for _ in range(rng.integers(1, 4)):
        out = int(rng.integers(2, 9))
        weight = rng.normal(size=(out, units)) / np.sqrt(units)
        bias = rng.normal(size=out) * (rng.random() < 0.5)
        unit = UNITS[rng.integers(len(UNITS))]
        layers.append((weight.astype(dtype), bias.astype(dtype), unit))
        units = len(unit(np.zeros(out))[0])
    refuses_complex = rng.random() < 0.3

    def f(x):
        """The composition, in the precision of its weights."""
        if refuses_complex and np.iscomplexobj(x):
            raise TypeError("real numbers only")
        h = x.astype(dtype) if single and not np.iscomplexobj(x) else x
        with np.errstate(all="ignore"):
            for weight, bias, unit in layers:
                h = unit(weight @ h + bias)[0]
        return h

    h, jacobian = x.astype(dtype), np.eye(features, dtype=dtype)
    for weight, bias, unit in layers:
        h, slope = unit(weight @ h + bias)
        jacobian = slope().astype(dtype) @ (weight @ jacobian)
    return f, jacobian, x, single


def undefined_nearby(f, x, rng):
    """f, but NaN where the first feature is larger than x's by more than a little."""
    edge = x[0] + abs(x[0] or 1) * 10.0 ** rng.uniform(-6, -1)

    def g(moved):
        """NaN beyond the edge."""
        y = f(moved)
        return y * np.nan if moved[0].real > edge else y
    return g
