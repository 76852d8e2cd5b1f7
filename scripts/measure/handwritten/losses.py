"""Losses and averages as students write them: softmax, hinge, squares, penalties, masked means.

In: nothing. Out: `CASES`, right code and the mistakes that people ask about.
"""
import numpy as np

from scripts.measure.handwritten.case import family


def _softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _classifier(rng, mistake=""):
    x = rng.normal(size=(6, 4))
    y = rng.integers(4, size=6)
    reg = 0.3
    n = len(x)

    def loss(parameters):
        """The loss and its gradients."""
        W = parameters["W"]
        p = _softmax(x @ W)
        value = -np.log(p[np.arange(n), y]).sum() / n + reg * (W * W).sum()
        dscores = p.copy()
        dscores[np.arange(n), y] -= 1
        if mistake == "label not subtracted":
            dscores = p.copy()
        if mistake != "not divided by the batch":
            dscores = dscores / n
        if mistake == "divided by the batch twice":
            dscores = dscores / n
        dW = x.T @ dscores
        if mistake == "transposed":
            dW = dscores.T @ x
        if mistake == "first sample only":
            dW = x[:1].T @ dscores[:1]
        if mistake == "sign":
            dW = -dW
        penalty = 2 * reg * W
        if mistake == "penalty without its 2":
            penalty = reg * W
        if mistake == "penalty divided by the batch":
            penalty = penalty / n
        if mistake != "penalty left out":
            dW = dW + penalty
        return value, {"W": dW}
    return {"loss": loss, "parameters": {"W": rng.normal(size=(4, 4))}, "gradients": None}


def _cross_entropy(rng, mistake=""):
    def forward(scores, labels):
        """The output and the cache."""
        p = _softmax(scores)
        loss = -np.mean(np.log(p[np.arange(len(labels)), labels]))
        return loss, (p, labels)

    def backward(dout, cache):
        """A gradient for each input."""
        p, labels = cache
        dscores = p.copy()
        dscores[np.arange(len(labels)), labels] -= 1
        dscores /= len(labels)
        if mistake == "averaged over the classes":
            dscores *= len(labels) / p.shape[1]
        if mistake == "derivative of the softmax once more":
            dscores *= p * (1 - p)
        if mistake == "upstream gradient ignored":
            return dscores, None
        return dout * dscores, None
    return {"forward": forward, "backward": backward,
            "inputs": {"scores": rng.normal(size=(5, 3)), "labels": rng.integers(3, size=5)}}


def _softmax_layer(rng, mistake=""):
    def forward(z):
        p = _softmax(z)
        return p, p

    def backward(dout, p):
        """The gradient by the input."""
        if mistake == "only the diagonal":
            return dout * p * (1 - p)
        axis = 0 if mistake == "summed over the batch" else 1
        return p * (dout - (dout * p).sum(axis=axis, keepdims=True))
    return {"forward": forward, "backward": backward, "inputs": {"z": rng.normal(size=(4, 4))}}


def _hinge(rng, mistake=""):
    x = rng.normal(size=(5, 4))
    y = rng.integers(3, size=5)
    n = len(x)

    def loss(W):
        """The loss and its gradients."""
        scores = x @ W
        margins = np.maximum(0, scores - scores[np.arange(n), y][:, None] + 1)
        margins[np.arange(n), y] = 0
        counted = (margins > 0).astype(float)
        if mistake == "mask of the margins forgotten":
            counted = np.ones_like(margins)
        counted[np.arange(n), y] = 0
        often = counted.sum(axis=1)
        counted[np.arange(n), y] = -1 if mistake == "right class counted once" else -often
        dW = x.T @ counted
        if mistake != "not divided by the batch":
            dW /= n
        return margins.sum() / n, dW
    return {"loss": loss, "parameters": rng.normal(size=(4, 3)), "gradients": None}


def _squares(rng, mistake=""):
    x = rng.normal(size=(8, 3))
    t = rng.normal(size=(8, 2))
    parameters = {"W": rng.normal(size=(3, 2)), "b": rng.normal(size=2)}

    def loss(parameters):
        return np.mean((x @ parameters["W"] + parameters["b"] - t) ** 2)

    error = x @ parameters["W"] + parameters["b"] - t
    dW = 2 * x.T @ error / error.size
    db = 2 * error.sum(axis=0) / error.size
    if mistake == "without its 2":
        dW = dW / 2
    if mistake == "averaged over the samples only":
        dW = 2 * x.T @ error / len(x)
    if mistake == "target minus output":
        db = -db
    if mistake == "bias of the first sample":
        db = 2 * error[0] / error.size
    return {"loss": loss, "parameters": parameters, "gradients": {"W": dW, "b": db}}


def _logistic(rng, mistake=""):
    x = rng.normal(size=(7, 3))
    y = rng.integers(2, size=7)
    w = rng.normal(size=3)

    def loss(w):
        p = 1 / (1 + np.exp(-(x @ w)))
        return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()

    p = 1 / (1 + np.exp(-(x @ w)))
    delta = p - y
    if mistake == "sigmoid differentiated once more":
        delta = delta * p * (1 - p)
    return {"loss": loss, "parameters": w, "gradients": x.T @ delta / len(y)}


def _masked_mean(rng, mistake=""):
    keep = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]])

    def forward(x, target):
        return (keep * (x - target) ** 2).sum() / keep.sum()

    def backward(dout, x, target):
        """A gradient for each input."""
        dx = 2 * keep * (x - target) / keep.sum()
        dtarget = -dx
        if mistake == "mask forgotten":
            dx = 2 * (x - target) / keep.sum()
        if mistake == "divided by the padding too":
            dx = 2 * keep * (x - target) / keep.size
        return dout * dx, dout * dtarget
    return {"forward": forward, "backward": backward,
            "inputs": {"x": rng.normal(size=(3, 4)), "target": rng.normal(size=(3, 4))}}


def _penalties(rng, mistake=""):
    a = rng.normal(size=(9, 4))
    t = rng.normal(size=9)
    w = rng.normal(size=4)

    def loss(w):
        return 0.5 * ((a @ w - t) ** 2).sum() + 0.7 * np.abs(w).sum() + 0.2 * (w ** 2).sum()

    dw = a.T @ (a @ w - t) + 0.7 * np.sign(w) + 0.4 * w
    if mistake == "L1 like L2":
        dw = a.T @ (a @ w - t) + 0.7 * w + 0.4 * w
    return {"loss": loss, "parameters": w, "gradients": dw}


def _distillation(rng, mistake=""):
    teacher = _softmax(rng.normal(size=(4, 3)))
    temperature = 3.0

    def forward(scores):
        p = _softmax(scores / temperature)
        return -(teacher * np.log(p)).sum(axis=1).mean(), p

    def backward(dout, p):
        dscores = (p - teacher) / len(p)
        return dout * (dscores if mistake == "temperature forgotten" else dscores / temperature)
    return {"forward": forward, "backward": backward, "inputs": {"scores": rng.normal(size=(4, 3))}}


CASES = (
    *family("softmax classifier", "gradients", _classifier, "loss(W) of a first assignment", {
        "not divided by the batch": ("W", "batch", "divided", "samples"),
        "divided by the batch twice": ("W", "twice", "batch"),
        "transposed": ("W", "transpos"),
        "first sample only": ("W", "first sample", "one sample", "only"),
        "label not subtracted": ("W", "label", "one-hot", "class"),
        "sign": ("W", "sign"),
        "penalty left out": ("W", "regulari", "penalty", "weight itself", "parameter itself"),
        "penalty without its 2": ("W", "regulari", "penalty", "weight itself", "parameter itself"),
        "penalty divided by the batch": ("W", "regulari", "penalty", "parameter itself")}),
    *family("cross-entropy of labels", "backward", _cross_entropy, "softmax_loss(x, y)", {
        "averaged over the classes": ("scores", "factor", "times", "scaled", "axis", "divided"),
        "derivative of the softmax once more": ("scores", "softmax", "twice", "once more", "f'"),
        "upstream gradient ignored": ("scores", "upstream", "dout", "ignored", "factor")}),
    *family("softmax layer", "backward", _softmax_layer, "a softmax with a backward of its own", {
        "only the diagonal": ("z", "diagonal", "coupling", "softmax"),
        "summed over the batch": ("z", "axis", "batch")}),
    *family("hinge loss", "gradients", _hinge, "multiclass SVM, gradient by a mask", {
        "mask of the margins forgotten": ("parameters", "mask", "forgot", "f'"),
        "right class counted once": ("parameters", "class", "count", "column"),
        "not divided by the batch": ("parameters", "batch", "divided", "samples")}),
    *family("mean squared error", "gradients", _squares, "linear regression with a bias", {
        "without its 2": ("W", "half", "½", "0.5", "factor"),
        "averaged over the samples only": ("W", "twice", "factor", "times", "divided"),
        "target minus output": ("b", "sign"),
        "bias of the first sample": ("b", "first sample", "batch", "sum")}),
    *family("logistic regression", "gradients", _logistic, "a gradient for scipy's minimize", {
        "sigmoid differentiated once more": ("parameters", "f'", "sigmoid", "twice")}),
    *family("masked mean", "backward", _masked_mean, "sequences padded to one length", {
        "mask forgotten": ("x", "mask", "zero"),
        "divided by the padding too": ("x", "factor", "half", "½", "0.5", "divided")}),
    *family("L1 and L2 penalties", "gradients", _penalties, "elastic net", {
        "L1 like L2": ("parameters", "regulari", "penalty", "L1", "sign(", "parameter itself")}),
    *family("distillation", "backward", _distillation, "a student learns from soft labels", {
        "temperature forgotten": ("scores", "factor", "times", "scaled", "temperature")}),
)
