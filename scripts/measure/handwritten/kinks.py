"""Right code at the very place where a function has a kink, a tie or a jump of its derivative.

In: nothing. Out: `CASES`: each claims a slope between those to the left and to the right; and a few
mistakes that lie beside a kink and have nothing to do with it. Only where several kinks meet in
one entry (a black image) may the usual claim, 0 of each, lie outside of both slopes.
"""
import numpy as np

from scripts.measure.handwritten.case import family


def _relu(rng, mistake=""):
    def forward(x):
        return np.maximum(0, x), x

    def backward(dout, x):
        """The gradient by the input."""
        dx = dout * (x > 0)
        if mistake == "mask forgotten":
            dx = dout.copy()
        return dx
    x = rng.normal(size=(3, 4))
    x[0, 1] = x[2, 3] = 0
    return {"forward": forward, "backward": backward, "inputs": {"x": x}}


def _dead_image(rng):
    """A black image through a layer without a bias: every hidden value is exactly 0."""
    W2 = rng.normal(size=(4, 3))

    def forward(x, W1):
        hidden = np.maximum(x @ W1, 0)
        return hidden @ W2, (x, W1, hidden)

    def backward(dout, cache):
        """A gradient for each input."""
        x, W1, hidden = cache
        dhidden = (dout @ W2.T) * (hidden > 0)
        return dhidden @ W1.T, x.T @ dhidden
    return {"forward": forward, "backward": backward,
            "inputs": {"x": np.zeros((2, 5)), "W1": rng.normal(size=(5, 4))}}


def _max_pool_ties(rng, mistake=""):
    """Equal maxima in a window: the first of them gets all."""
    def forward(x):
        windows = x.reshape(len(x), -1, 3)
        return windows.max(axis=2), windows

    def backward(dout, windows):
        """The gradient by the input."""
        dx = np.zeros_like(windows)
        chosen = windows.argmax(axis=2)
        if mistake == "places of another window":
            chosen = np.roll(chosen, 1, axis=1)
        np.put_along_axis(dx, chosen[:, :, None], dout[:, :, None], axis=2)
        return dx.reshape(len(dout), -1)
    x = np.array([[1.0, 2, 2, 0, 5, 3, 4, 4, 4], [7, 1, 0, 2, 2, 9, 0, 0, 0]])
    return {"forward": forward, "backward": backward, "inputs": {"x": x}}


def _shared_maximum(rng):
    """Equal maxima share what comes, as some libraries do it."""
    x = np.array([0.5, 2.0, 1.0, 2.0])
    largest = x == x.max()
    return {"loss": lambda x: 3 * x.max(), "parameters": x, "gradients": 3 * largest / 2}


def _hinge_at_margin(rng, mistake=""):
    x = np.array([[1.0, 0.0], [0.5, 1.0], [-1.0, 2.0]])
    y = np.array([1.0, -1.0, 1.0])
    w = np.array([1.0, 0.5])  # the first sample lies exactly on the margin

    def loss(w):
        return np.maximum(0, 1 - y * (x @ w)).mean()

    inside = y * (x @ w) < 1
    dw = -(x * (y * inside)[:, None]).sum(axis=0) / 3
    if mistake == "sign":
        dw = -dw
    return {"loss": loss, "parameters": w, "gradients": dw}


def _absolute(rng):
    w = np.array([0.0, -1.5, 2.0, 0.0])
    return {"loss": lambda w: 0.3 * np.abs(w).sum() + (w ** 2).sum(), "parameters": w,
            "gradients": 0.3 * np.sign(w) + 2 * w}


def _clipped(rng):
    def forward(x, low, high):
        return np.clip(x, low, high), (x, low, high)

    def backward(dout, cache):
        x, low, high = cache
        return dout * ((x >= low) & (x <= high))
    return {"forward": forward, "backward": backward,
            "inputs": {"x": np.array([-2.0, -1, 0.3, 1, 1.5]), "low": -1.0, "high": 1.0}}


def _median(rng):
    x = np.array([4.0, 1.0, 2.0, 2.0, 9.0])
    gradient = np.zeros(5)
    gradient[np.argsort(x, kind="stable")[2]] = 1
    return {"loss": lambda x: np.median(x), "parameters": x, "gradients": gradient}


def _weighted_order(rng):
    """A sum of sorted numbers, each with the weight of its rank (OWA, L-estimators)."""
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    x = np.array([3.0, 1.0, 3.0, 2.0])
    gradient = np.empty(4)
    gradient[np.argsort(x, kind="stable")] = weights
    return {"loss": lambda x: weights @ np.sort(x), "parameters": x, "gradients": gradient}


def _leaky(rng, mistake=""):
    """Inputs very close to 0 on either half, and one at it."""
    x = np.array([-3e-5, 2e-6, 0.0, -1.2, 0.7])

    def jacobian(x):
        """A row for each output."""
        slopes = np.where(x > 0, 1, 0.01)
        if mistake == "slope of the other half":
            slopes[3] = 1
        return np.diag(slopes)
    return {"f": lambda x: np.where(x > 0, x, 0.01 * x), "jacobian": jacobian, "x": x}


def _largest_of_two(rng):
    """max(x0, x1) with a gap of 2e-5, and the norm of a vector of zeros."""
    x = np.array([0.50002, 0.5, 0.0, 0.0])

    def f(x):
        return np.array([max(x[0], x[1]), np.sqrt(x[2] ** 2 + x[3] ** 2)])
    return {"f": f, "jacobian": np.array([[1.0, 0, 0, 0], [0, 0, 0, 0]]), "x": x}


def _huber(rng, mistake=""):
    """Errors exactly at the corner, where the derivative has a kink but no jump."""
    error = np.array([1.0, -1.0, 0.2, 3.0])

    def loss(e):
        small = np.abs(e) <= 1
        return np.where(small, 0.5 * e ** 2, np.abs(e) - 0.5).sum()
    gradient = np.clip(error, -1, 1)
    if mistake == "not clipped":
        gradient = error
    return {"loss": loss, "parameters": error, "gradients": gradient}


CASES = (
    *family("ReLU at exactly 0", "backward", _relu, "kink", {
        "mask forgotten": ("x", "mask", "f'", "ReLU")}),
    *family("black image without a bias", "backward", _dead_image, "several kinks at once"),
    *family("max-pool of equal maxima", "backward", _max_pool_ties, "tie", {
        "places of another window": ("x", "place", "position", "maxim", "index")}),
    *family("equal maxima share", "gradients", _shared_maximum, "tie"),
    *family("hinge at the margin", "gradients", _hinge_at_margin, "kink", {
        "sign": ("parameters", "sign")}),
    *family("np.abs at 0", "gradients", _absolute, "kink"),
    *family("clip at its edges", "backward", _clipped, "kink"),
    *family("median of equal numbers", "gradients", _median, "tie"),
    *family("sorted with equal numbers", "gradients", _weighted_order, "tie"),
    *family("leaky ReLU beside 0", "jacobian", _leaky, "kink", {
        "slope of the other half": ("x", "f'", "slope", "one entry", "1 of ")}),
    *family("maximum of two near numbers", "jacobian", _largest_of_two, "kink"),
    *family("Huber at its corner", "gradients", _huber, "kink", {
        "not clipped": ("parameters", "clip", "f'", "one entry", "1 of ")}),
)
