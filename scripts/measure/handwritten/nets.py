"""Whole networks with their own backpropagation: parameters in a dict, a list or as attributes.

In: nothing. Out: `CASES`, right code and the mistakes that people ask about.
"""
from functools import partial

import numpy as np

from scripts.measure.handwritten.case import family


def _loss_of_scores(scores, y):
    """Mean cross-entropy of labels, and its derivative by the scores."""
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    value = -np.log(p[rows, y]).mean()
    p[rows, y] -= 1
    return value, p / len(y)


class _CourseNet:
    """Two layers with a ReLU between, `loss(X, y)` as a course asks for it."""

    def __init__(self, rng, mistake, width):
        self.mistake = mistake
        self.reg = 0.1
        self.params = {"W1": rng.normal(size=(width, width)), "b1": rng.normal(size=width),
                       "W2": rng.normal(size=(width, width)), "b2": rng.normal(size=width)}

    def loss(self, X, y):
        """The loss and its gradients."""
        p, mistake, reg = self.params, self.mistake, self.reg
        hidden = np.maximum(0, X @ p["W1"] + p["b1"])
        value, dscores = _loss_of_scores(hidden @ p["W2"] + p["b2"], y)
        value += 0.5 * reg * ((p["W1"] ** 2).sum() + (p["W2"] ** 2).sum())
        dhidden = dscores @ p["W2"].T
        dhidden[hidden <= 0] = 0
        grads = {"W1": X.T @ dhidden + reg * p["W1"], "b1": dhidden.sum(axis=0),
                 "W2": hidden.T @ dscores + reg * p["W2"], "b2": dscores.sum(axis=0)}
        if mistake == "W2's is W1's":
            grads["W2"] = grads["W1"].copy()
        if mistake == "W1 and W2 swapped":
            grads["W1"], grads["W2"] = grads["W2"], grads["W1"]
        if mistake == "bias summed over the units":
            grads["b1"] = dhidden.sum(axis=1)
        if mistake == "bias averaged once more":
            grads["b2"] = dscores.mean(axis=0)
        if mistake == "W2 transposed":
            grads["W2"] = grads["W2"].T
        if mistake == "penalty twice as large":
            grads["W1"] += reg * p["W1"]
        if mistake == "penalty left out of the second layer":
            grads["W2"] -= reg * p["W2"]
        if mistake == "penalty of the other layer":
            grads["W1"] += reg * (p["W2"] - p["W1"])
        if mistake == "mask of the ReLU forgotten":
            grads["b1"] = (dscores @ p["W2"].T).sum(axis=0)
        if mistake == "bias gets the penalty":
            grads["b1"] += reg * p["b1"]
        return value, grads


def _course(rng, mistake="", width=6):
    model = _CourseNet(rng, mistake, width)
    X = rng.normal(size=(width, width))
    y = rng.integers(width, size=width)
    return {"loss": lambda: model.loss(X, y), "parameters": model.params, "gradients": None}


class _AttributeNet:
    """Sigmoids and squares, the weights as attributes, biases left out."""

    def __init__(self, rng):
        self.rate = 0.5
        self.W1 = rng.normal(size=(3, 4))
        self.W2 = rng.normal(size=(4, 2))

    def forward(self, X):
        hidden = 1 / (1 + np.exp(-(X @ self.W1)))
        return hidden, 1 / (1 + np.exp(-(hidden @ self.W2)))


def _attributes(rng, mistake=""):
    net = _AttributeNet(rng)
    X = rng.normal(size=(5, 3))
    target = rng.uniform(size=(5, 2))

    def loss():
        return 0.5 * ((net.forward(X)[1] - target) ** 2).sum()

    a, out = net.forward(X)
    delta = (out - target) * out * (1 - out)
    back = delta @ net.W2.T * a * (1 - a)
    dW1, dW2 = X.T @ back, a.T @ delta
    if mistake == "f' of what comes out of f":
        s = 1 / (1 + np.exp(-a))
        dW1 = X.T @ (delta @ net.W2.T * s * (1 - s))
    if mistake == "f' of the hidden layer forgotten":
        dW1 = X.T @ (delta @ net.W2.T)
    if mistake == "f' of the output forgotten":
        dW2 = a.T @ (out - target)
    if mistake == "sign of the error":
        dW2 = -dW2
    if mistake == "first sample only":
        dW1 = np.outer(X[0], back[0])
    return {"loss": loss, "parameters": net, "gradients": {"W1": dW1, "W2": dW2}}


def _tied(rng, mistake=""):
    """An autoencoder whose decoder is the encoder's transpose."""
    X = rng.normal(size=(6, 4))

    def loss(p):
        """The loss and its gradients."""
        hidden = np.tanh(X @ p["W"] + p["b"])
        error = (hidden @ p["W"].T + p["c"] - X) / len(X)
        back = error @ p["W"] * (1 - hidden ** 2)
        dW = X.T @ back
        if mistake == "sum of the two uses halved":
            dW = (dW + error.T @ hidden) / 2
        elif mistake != "decoder's use forgotten":
            dW = dW + error.T @ hidden
        if mistake == "encoder's use forgotten":
            dW = error.T @ hidden
        db = back[-1] if mistake == "bias of the last sample" else back.sum(axis=0)
        grads = {"W": dW, "b": db, "c": error.sum(axis=0)}
        return 0.5 * len(X) * (error ** 2).sum(), grads
    parameters = {"W": rng.normal(size=(4, 3)), "b": rng.normal(size=3), "c": rng.normal(size=4)}
    return {"loss": loss, "parameters": parameters, "gradients": None}


def _deep(rng, mistake=""):
    """Five layers of tanh, weights in a list; every second layer adds what came into it."""
    X = rng.normal(size=(4, 5))
    t = rng.normal(size=(4, 5))
    weights = [0.6 * rng.normal(size=(5, 5)) for _ in range(5)]

    def loss(weights):
        """The loss and its gradients."""
        values = [X]
        for k, W in enumerate(weights):
            values.append(np.tanh(values[-1] @ W) + (values[-1] if k % 2 else 0))
        error = values[-1] - t
        grads, back = [None] * 5, error / len(X)
        for k in reversed(range(5)):
            z = values[k] @ weights[k]
            dz = back * (1 - np.tanh(z) ** 2)
            grads[k] = values[k].T @ dz
            if mistake == "fourth layer by its own output" and k == 3:
                grads[k] = values[k + 1].T @ dz
            skip = k % 2 and not (mistake == "skip forgotten" and k == 1)
            back = dz @ weights[k].T + (back if skip else 0)
        return 0.5 * (error ** 2).sum() / len(X), grads
    return {"loss": loss, "parameters": weights, "gradients": None}


def _variational(rng, mistake=""):
    """A variational autoencoder's loss, its noise drawn before."""
    X = rng.normal(size=(5, 4))
    noise = rng.normal(size=(5, 2))

    def loss(p):
        """The loss and its gradients."""
        mean, log_var = X @ p["Wm"], X @ p["Wv"]
        std = np.exp(0.5 * log_var)
        code = mean + std * noise
        error = code @ p["Wd"] - X
        value = 0.5 * (error ** 2).sum() + 0.5 * (std ** 2 + mean ** 2 - 1 - log_var).sum()
        dcode = error @ p["Wd"].T
        dmean = dcode + mean
        dlog_var = 0.5 * dcode * noise * std + 0.5 * (std ** 2 - 1)
        if mistake == "half of the deviation forgotten":
            dlog_var = dcode * noise * std + 0.5 * (std ** 2 - 1)
        if mistake == "divergence left out":
            dmean = dcode
        return value, {"Wm": X.T @ dmean, "Wv": X.T @ dlog_var, "Wd": code.T @ error}
    parameters = {"Wm": rng.normal(size=(4, 2)), "Wv": 0.5 * rng.normal(size=(4, 2)),
                  "Wd": rng.normal(size=(2, 4))}
    return {"loss": loss, "parameters": parameters, "gradients": None}


def _large(rng, mistake="", width=1000):
    """A layer with a million weights; a row of its gradient may be that of its neighbour."""
    x = rng.normal(size=(8, width)) / np.sqrt(width)
    t = rng.normal(size=(8, width))
    p = {"W": rng.normal(size=(width, width)), "b": rng.normal(size=width)}

    def loss(p):
        return 0.5 * np.sum((np.tanh(x @ p["W"] + p["b"]) - t) ** 2) / 8

    out = np.tanh(x @ p["W"] + p["b"])
    dz = (out - t) * (1 - out ** 2) / 8
    dW = x.T @ dz
    if mistake == "one entry off":
        dW[np.unravel_index(np.abs(dW).argmax(), dW.shape)] *= 1.1
    if mistake == "a row of another unit":
        dW[417] = dW[418]
    if mistake == "not divided by the batch":
        dW = 8 * dW
    return {"loss": loss, "parameters": p, "gradients": {"W": dW, "b": dz.sum(axis=0)}}


CASES = (
    *family("two-layer net", "gradients", _course, "loss, grads = model.loss(X, y)", {
        "W2's is W1's": ("W2", "W1's", "of W1", "another"),
        "W1 and W2 swapped": ("W1", "swapped", "another", "W2's", "of W2"),
        "bias summed over the units": ("b1", "axis"),
        "bias averaged once more": ("b2", "batch", "divided", "twice", "averaged"),
        "W2 transposed": ("W2", "transpos"),
        "penalty twice as large": ("W1", "regulari", "penalty", "parameter itself"),
        "penalty left out of the second layer": ("W2", "regulari", "penalty", "parameter itself"),
        "penalty of the other layer": ("W1", "regulari", "penalty", "W2's", "of W2"),
        "mask of the ReLU forgotten": ("b1", "mask", "f'", "ReLU"),
        "bias gets the penalty": ("b1", "regulari", "penalty", "parameter itself")}),
    *family("two-layer net of 40 units", "gradients", partial(_course, width=40), "larger"),
    *family("weights as attributes", "gradients", _attributes, "sigmoids, squares, no biases", {
        "f' of what comes out of f": ("W1", "f'", "activation", "sigmoid"),
        "f' of the hidden layer forgotten": ("W1", "f'", "activation", "sigmoid"),
        "f' of the output forgotten": ("W2", "f'", "activation", "sigmoid"),
        "sign of the error": ("W2", "sign"),
        "first sample only": ("W1", "first sample", "one sample", "batch")}),
    *family("tied weights", "gradients", _tied, "autoencoder", {
        "decoder's use forgotten": ("W", "+=", "path", "missing", "add", "use"),
        "encoder's use forgotten": ("W", "+=", "path", "missing", "add", "use"),
        "sum of the two uses halved": ("W", "half", "½", "0.5", "twice"),
        "bias of the last sample": ("b", "sample", "batch", "sum")}),
    *family("five layers in a list", "gradients", _deep, "residual network", {
        "fourth layer by its own output": ("3", "layer", "input", "another", "output"),
        "skip forgotten": ("0", "+=", "path", "missing", "residual", "add")}),
    *family("variational autoencoder", "gradients", _variational, "noise drawn before", {
        "half of the deviation forgotten": ("Wv", "half", "½", "term", "factor"),
        "divergence left out": ("Wm", "term", "missing", "divergence", "regulari")}),
    *family("a million weights", "gradients", _large, "one layer of 1000 by 1000", {
        "one entry off": ("W", "one entry", "single entry", "only entry", "1 of "),
        "a row of another unit": ("W", "row", "another"),
        "not divided by the batch": ("W", "batch", "divided", "samples")}),
)
