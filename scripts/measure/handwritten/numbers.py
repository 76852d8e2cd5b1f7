"""Code whose numbers are awkward: saturated, in 32 bits, of very different sizes, exactly zero.

In: nothing. Out: `CASES`, mostly right; a few mistakes that must be seen all the same.
"""
from functools import partial

import numpy as np

from scripts.measure.handwritten.case import family


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _saturated_softmax(rng, mistake=""):
    """Logits of several hundred, the loss by log-sum-exp."""
    y = np.array([0, 2, 1])

    def loss(z):
        """The loss and its gradients."""
        shifted = z - z.max(axis=1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        dz = np.exp(logs)
        dz[np.arange(3), y] -= 1
        if mistake != "not divided by the batch":
            dz = dz / 3
        return -logs[np.arange(3), y].mean(), dz
    z = np.array([[700.0, -20, 3], [1, -300, 250], [40, 0, -40]])
    return {"loss": loss, "parameters": z, "gradients": None}


def _saturated_sigmoid(rng, mistake=""):
    """The derivative by out (1 - out), which is rounded to 0 far out."""
    def backward(dout, out):
        """The gradient by the input."""
        if mistake == "f' without its second factor":
            return dout * out
        return dout * out * (1 - out)

    def forward(z):
        out = _sigmoid(z)
        return out, out
    return {"forward": forward, "backward": backward,
            "inputs": {"z": np.array([-40.0, -20, -1, 0.5, 15, 40])}}


def _saturated_tanh(rng):
    """The derivative to full accuracy, by exp(-2 |z|)."""
    def jacobian(z):
        small = np.exp(-2 * np.abs(z))
        return np.diag(4 * small / (1 + small) ** 2)
    return {"f": np.tanh, "jacobian": jacobian, "x": np.array([-25.0, -12, 0.3, 8, 19])}


def _softplus(rng):
    def forward(z):
        return np.logaddexp(0, z), z

    def backward(dout, z):
        return dout * np.where(z < 0, np.exp(np.minimum(z, 0)), 1) / (1 + np.exp(-np.abs(z)))
    return {"forward": forward, "backward": backward,
            "inputs": {"z": np.array([-800.0, -40, -1, 2, 50, 800])}}


def _net(rng, mistake="", dtype=np.float64, scale=1.0, rate=1.0):
    """Two layers of tanh and a mean of squares; their type and sizes are options."""
    X = (scale * rng.uniform(size=(6, 5))).astype(dtype)
    t = rng.normal(size=(6, 2)).astype(dtype)
    p = {"W1": 0.5 * rng.normal(size=(5, 4)), "b1": rng.normal(size=4),
         "W2": rate * rng.normal(size=(4, 2))}
    p = {name: array.astype(dtype) for name, array in p.items()}

    def loss(p):
        """The loss and its gradients."""
        hidden = np.tanh(X @ p["W1"] + p["b1"])
        error = (hidden @ p["W2"] - t) / len(X)
        dz = error @ p["W2"].T * (1 - hidden ** 2)
        grads = {"W1": X.T @ dz, "b1": dz.sum(axis=0), "W2": hidden.T @ error}
        if mistake == "without its half":
            grads["W2"] = 2 * grads["W2"]
        if mistake == "bias of the first sample":
            grads["b1"] = dz[0]
        if mistake == "sign":
            grads["W1"] = -grads["W1"]
        return 0.5 * len(X) * np.sum(error ** 2), grads
    return {"loss": loss, "parameters": p, "gradients": None}


def _single(rng, mistake=""):
    """An affine layer and a ReLU in 32 bits."""
    def forward(x, w, b):
        z = x @ w + b
        return np.maximum(z, 0), (x, w, z)

    def backward(dout, cache):
        """A gradient for each input."""
        x, w, z = cache
        dz = dout * (z > 0)
        db = dz.sum(axis=0)
        return dz @ w.T, x.T @ dz, dz.sum(axis=1) if mistake == "wrong axis" else db
    inputs = {"x": rng.normal(size=(5, 4)), "w": rng.normal(size=(4, 5)), "b": rng.normal(size=5)}
    return {"forward": forward, "backward": backward,
            "inputs": {name: array.astype(np.float32) for name, array in inputs.items()}}


def _useless_bias(rng):
    """A bias before batch norm changes nothing: its gradient is 0, up to rounding."""
    x = rng.normal(size=(8, 3))
    t = rng.normal(size=(8, 4))

    def loss(p):
        """The loss and its gradients."""
        z = x @ p["W"] + p["b"]
        centered = z - z.mean(axis=0)
        std = np.sqrt((centered ** 2).mean(axis=0) + 1e-5)
        normal = centered / std
        error = (normal - t) / 8
        dz = (error - error.mean(axis=0) - normal * (error * normal).mean(axis=0)) / std
        return 4 * (error ** 2).sum(), {"W": x.T @ dz, "b": dz.sum(axis=0)}
    return {"loss": loss, "parameters": {"W": rng.normal(size=(3, 4)), "b": rng.normal(size=4)},
            "gradients": None}


def _unused(rng):
    """A parameter that nothing depends on, beside one in use."""
    p = {"w": rng.normal(size=3), "frozen": rng.normal(size=(2, 2))}
    return {"loss": lambda p: (p["w"] ** 3).sum(), "parameters": p,
            "gradients": {"w": 3 * p["w"] ** 2, "frozen": np.zeros((2, 2))}}


def _sizes(rng, mistake=""):
    """Gradients of a million and of a millionth in one loss."""
    x = rng.normal(size=(5, 3))
    p = {"large": 1e-3 * rng.normal(size=3), "small": 1e3 * rng.normal(size=3)}

    def loss(p):
        return (np.exp(x @ (1e3 * p["large"])) * 1e3 + np.sin(x @ (1e-3 * p["small"]))).sum()

    grads = {"large": 1e6 * x.T @ np.exp(x @ (1e3 * p["large"])),
             "small": 1e-3 * x.T @ np.cos(x @ (1e-3 * p["small"]))}
    if mistake == "sign of the small one":
        grads["small"] = -grads["small"]
    return {"loss": loss, "parameters": p, "gradients": grads}


def _view(rng, mistake=""):
    """Parameters that are views of other arrays: transposed, and every second column."""
    whole = rng.normal(size=(6, 8))
    p = {"W": whole[:4].T, "V": whole[4:, ::2]}
    x = rng.normal(size=(3, 8))

    def loss():
        return ((x @ p["W"]) ** 2 @ p["V"].T).sum()

    z = x @ p["W"]
    grads = {"W": x.T @ (2 * z * p["V"].sum(axis=0)),
             "V": np.repeat((z ** 2).sum(axis=0)[None], 2, axis=0)}
    if mistake == "square without its 2":
        grads["W"] = grads["W"] / 2
    return {"loss": loss, "parameters": p, "gradients": grads}


def _seeded_dropout(rng):
    """A dropout that draws the same mask in every call, and running means that nobody reads."""
    x = rng.normal(size=(6, 4))
    state = {"mean": np.zeros(5)}

    def loss(p):
        """The loss and its gradients."""
        hidden = np.tanh(x @ p["W"])
        mask = (np.random.default_rng(5).uniform(size=hidden.shape) < 0.7) / 0.7
        state["mean"] = 0.9 * state["mean"] + 0.1 * np.real(hidden).mean(axis=0)
        out = hidden * mask @ p["v"]
        dhidden = np.outer(2 * out / 6, p["v"]) * mask
        grads = {"W": x.T @ (dhidden * (1 - hidden ** 2)), "v": (hidden * mask).T @ (2 * out / 6)}
        return (out ** 2).mean(), grads
    return {"loss": loss, "parameters": {"W": rng.normal(size=(4, 5)), "v": rng.normal(size=5)},
            "gradients": None}


CASES = (
    *family("saturated softmax", "gradients", _saturated_softmax, "logits of hundreds", {
        "not divided by the batch": ("parameters", "batch", "divided", "factor")}),
    *family("saturated sigmoid", "backward", _saturated_sigmoid, "out (1 - out)", {
        "f' without its second factor": ("z", "f'", "sigmoid")}),
    *family("saturated tanh", "jacobian", _saturated_tanh, "f' to full accuracy"),
    *family("softplus far out", "backward", _softplus, "np.logaddexp"),
    *family("net in 32 bits", "gradients", partial(_net, dtype=np.float32), "float32", {
        "without its half": ("W2", "twice", "factor"),
        "bias of the first sample": ("b1", "first sample", "batch", "sum")}),
    *family("layer in 32 bits", "backward", _single, "float32", {
        "wrong axis": ("b", "axis")}),
    *family("net of pixels in [0, 255]", "gradients", partial(_net, scale=255), "saturated"),
    *family("net of pixels in 32 bits", "gradients", partial(_net, dtype=np.float32, scale=30),
            "float32, saturated"),
    *family("net of tiny inputs", "gradients", partial(_net, scale=1e-30), "inputs of 1e-30"),
    *family("net of small weights", "gradients", partial(_net, rate=1e-6), "weights of 1e-6", {
        "sign": ("W1", "sign")}),
    *family("bias before batch norm", "gradients", _useless_bias, "0 but for rounding"),
    *family("parameter out of use", "gradients", _unused, "a gradient of exactly 0"),
    *family("gradients of all sizes", "gradients", _sizes, "1e6 beside 1e-3", {
        "sign of the small one": ("small", "sign")}),
    *family("views as parameters", "gradients", _view, "not contiguous, changed in place", {
        "square without its 2": ("W", "half", "½", "0.5", "factor")}),
    *family("dropout with a seed", "gradients", _seeded_dropout, "the same mask every time"),
)
