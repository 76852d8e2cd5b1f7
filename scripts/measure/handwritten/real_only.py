"""Code that takes real numbers only, or only some of them: `math`, norms, buffers, logarithms.

In: nothing. Out: `CASES`, mostly right code on which a complex step or a large step goes wrong;
a few mistakes that must be seen all the same.
"""
import math

import numpy as np

from scripts.measure.handwritten.case import family


def _power(rng):
    def loss(x):
        return (np.abs(x) ** 2).sum()
    x = rng.normal(size=5)
    return {"loss": loss, "parameters": x, "gradients": 2 * x}


def _spectrum(rng, mistake=""):
    """The power of a signal's Fourier coefficients, by a conjugate."""
    def f(x):
        c = np.fft.rfft(x)
        return np.real(c * np.conj(c))

    def jacobian(x):
        """A row for each output."""
        c = np.fft.rfft(x)
        n = np.arange(len(x))
        angles = 2 * np.pi * np.outer(np.arange(len(c)), n) / len(x)
        if mistake == "sine's sign":
            return 2 * (c.real[:, None] * np.cos(angles) + c.imag[:, None] * np.sin(angles))
        return 2 * (c.real[:, None] * np.cos(angles) - c.imag[:, None] * np.sin(angles))
    return {"f": f, "jacobian": jacobian, "x": rng.normal(size=6)}


def _standardized(rng, mistake=""):
    def forward(x):
        std = x.std(axis=0)
        return (x - x.mean(axis=0)) / std, std

    def backward(dout, x):
        """The gradient by the input."""
        std = x.std(axis=0)
        y = (x - x.mean(axis=0)) / std
        if mistake == "deviation treated as constant":
            return (dout - dout.mean(axis=0)) / std
        return (dout - dout.mean(axis=0) - y * (dout * y).mean(axis=0)) / std
    return {"forward": lambda x: forward(x)[0], "backward": backward,
            "inputs": {"x": rng.normal(size=(6, 3))}}


def _circle(rng, mistake=""):
    """Distances of points from a circle: middle and radius are fitted."""
    points = rng.normal(size=(7, 2)) + [3, 1]

    def residuals(p):
        return np.linalg.norm(points - p[:2], axis=1) - p[2]

    def jacobian(p):
        """A row for each output."""
        away = points - p[:2]
        unit = away / np.linalg.norm(away, axis=1, keepdims=True)
        if mistake == "not of unit length":
            unit = away
        return np.column_stack([-unit, -np.ones(7)])
    return {"f": residuals, "jacobian": jacobian, "x": np.array([0.2, -0.5, 2.0])}


def _scalars(rng, mistake=""):
    """Option price by math.erf: one number at a time, as floats."""
    def price(p):
        """Of a call at 100, a year ahead, without interest."""
        spot, sigma = float(p[0]), float(p[1])
        d = (math.log(spot / 100) + 0.5 * sigma ** 2) / sigma
        return np.array([spot * normal(d) - 100 * normal(d - sigma)])

    def normal(d):
        return 0.5 * (1 + math.erf(d / math.sqrt(2)))

    def jacobian(p):
        """A row for each output."""
        d = (math.log(p[0] / 100) + 0.5 * p[1] ** 2) / p[1]
        density = math.exp(-0.5 * d ** 2) / math.sqrt(2 * math.pi)
        vega = p[0] * density
        if mistake == "density without its 2 pi":
            vega = p[0] * math.exp(-0.5 * d ** 2)
        return np.array([[normal(d), vega]])
    return {"f": price, "jacobian": jacobian, "x": np.array([105.0, 0.3])}


def _near_the_edge(rng, mistake=""):
    """Logarithm and root just inside their domain; outside, math raises or NumPy says NaN."""
    def f(x):
        with np.errstate(invalid="ignore"):
            return np.array([math.log(x[0]), np.sqrt(np.float64(x[1])), np.arcsin(x[2])])

    def jacobian(x):
        """A row for each output."""
        slopes = [1 / x[0], 0.5 / math.sqrt(x[1]), 1 / math.sqrt(1 - x[2] ** 2)]
        if mistake == "99 for the logarithm":
            slopes[0] = 99
        if mistake == "root without its half":
            slopes[1] = 1 / math.sqrt(x[1])
        return np.diag(slopes)
    return {"f": f, "jacobian": jacobian, "x": np.array([0.1, 0.002, 0.98])}


def _entropy(rng, mistake=""):
    """Probabilities and their logarithms: NaN as soon as one of them is negative."""
    def loss(p):
        with np.errstate(invalid="ignore", divide="ignore"):
            return -(p * np.log(p)).sum()
    p = np.array([0.9, 0.0899, 0.01, 1e-4])
    gradient = -np.log(p) - 1
    if mistake == "p log p like log p":
        gradient = -1 / p
    return {"loss": loss, "parameters": p, "gradients": gradient}


def _only_where_defined(rng):
    """A part of what comes out is NaN, whatever the input: its derivative is nothing to claim."""
    x = np.array([0.4, 0.8, 1.3])

    def loss(x):
        """The loss alone."""
        with np.errstate(invalid="ignore"):
            roots = np.sqrt(x - np.array([0.0, 1.0, 0.5]))
        return np.nansum(roots)
    return {"loss": loss, "parameters": x,
            "gradients": np.array([0.5 / np.sqrt(0.4), 0, 0.5 / np.sqrt(0.8)])}


def _buffer(rng, mistake=""):
    """Results are written into an array of floats, and what is negative is set to 0 there."""
    def forward(x, w):
        """The output and the cache."""
        out = np.empty((len(x), w.shape[1]))
        out[:] = x @ w
        out[out < 0] *= 0.1
        return out, (x, w, out)

    def backward(dout, cache):
        """A gradient for each input."""
        x, w, out = cache
        slope = np.where(out < 0, 0.1, 1.0)
        if mistake == "slope of a plain ReLU":
            return (dout * slope) @ w.T, x.T @ (dout * (out > 0))
        return (dout * slope) @ w.T, x.T @ (dout * slope)
    return {"forward": forward, "backward": backward,
            "inputs": {"x": rng.normal(size=(4, 3)), "w": rng.normal(size=(3, 4))}}


def _refusing(rng, mistake=""):
    """Code that looks at the type of what it gets."""
    a = rng.normal(size=(6, 3))

    def loss(p):
        """The loss alone."""
        if any(array.dtype != np.float64 for array in p.values()):
            raise TypeError("arrays of float64, please")
        z = a @ p["w"] + p["b"]
        return float(np.log1p(np.exp(-z)).sum())
    p = {"w": rng.normal(size=3), "b": np.array([0.4])}
    slope = -1 / (1 + np.exp(a @ p["w"] + p["b"]))
    if mistake == "bias not summed":
        return {"loss": loss, "parameters": p, "gradients": {"w": a.T @ slope, "b": slope[:1]}}
    return {"loss": loss, "parameters": p,
            "gradients": {"w": a.T @ slope, "b": slope.sum(keepdims=True)}}


def _interpolated(rng):
    """A table of values, read between its knots by np.interp."""
    knots = np.linspace(-2, 2, 5)
    values = rng.normal(size=5)

    def loss(x):
        return np.interp(x, knots, values).sum()
    x = np.array([-1.7, -0.4, 0.3, 1.6])
    return {"loss": loss, "parameters": x, "gradients": np.diff(values)[[0, 1, 2, 3]]}


def _geometry(rng):
    """Angles by arctan2 and lengths by hypot, which refuse complex numbers."""
    def f(p):
        return np.array([np.hypot(p[0], p[1]), np.arctan2(p[1], p[0])])

    def jacobian(p):
        square = p @ p
        return np.array([p / np.sqrt(square), [-p[1] / square, p[0] / square]])
    return {"f": f, "jacobian": jacobian, "x": np.array([-0.3, 0.9])}


def _loops(rng, mistake=""):
    """Plain Python over lists: lengths of the links of a chain, and what they weigh."""
    def energy(q):
        q = [[float(number) for number in point] for point in q]
        return sum(math.dist(q[k], q[k + 1]) ** 3 for k in range(len(q) - 1))

    q = rng.normal(size=(4, 2))
    gradient = np.zeros_like(q)
    for k in range(3):
        away = q[k + 1] - q[k]
        pull = 3 * math.hypot(*away) * away
        gradient[k + 1] += pull
        if mistake != "reaction forgotten":
            gradient[k] -= pull
    return {"loss": energy, "parameters": q, "gradients": gradient}


CASES = (
    *family("np.abs squared", "gradients", _power, "power of a signal"),
    *family("power spectrum", "jacobian", _spectrum, "a conjugate inside", {
        "sine's sign": ("x", "sign", "revers")}),
    *family("standardized columns", "backward", _standardized, "x.std()", {
        "deviation treated as constant": ("x", "deviation", "variance", "constant", "term")}),
    *family("circle through points", "jacobian", _circle, "np.linalg.norm in least_squares", {
        "not of unit length": ("x", "row", "length", "norm", "factor")}),
    *family("option price", "jacobian", _scalars, "math.erf, float()", {
        "density without its 2 pi": ("x", "factor", "column", "times", "one entry")}),
    *family("edge of the domain", "jacobian", _near_the_edge, "log, sqrt, arcsin", {
        "99 for the logarithm": ("x", "one entry", "single entry", "only entry", "1 of "),
        "root without its half": ("x", "twice", "factor", "one entry", "1 of ")}),
    *family("entropy", "gradients", _entropy, "p log p of small p", {
        "p log p like log p": ("parameters", "logarithm", "f'", "1/x")}),
    *family("nansum", "gradients", _only_where_defined, "missing values"),
    *family("buffer of floats", "backward", _buffer, "writes into np.empty", {
        "slope of a plain ReLU": ("w", "f'", "ReLU", "slope")}),
    *family("float64 or nothing", "gradients", _refusing, "raises TypeError", {
        "bias not summed": ("b", "first sample", "batch", "sum")}),
    *family("table between knots", "gradients", _interpolated, "np.interp"),
    *family("polar coordinates", "jacobian", _geometry, "hypot and arctan2"),
    *family("chain of links", "gradients", _loops, "Python loops, math.dist", {
        "reaction forgotten": ("parameters", "+=", "path", "missing", "add", "term")}),
)
