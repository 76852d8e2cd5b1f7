"""Attention and the other parts of a transformer block with a backward by hand.

In: nothing. Out: `CASES`, right code and the mistakes that people ask about.
"""
import numpy as np

from scripts.measure.handwritten.case import family


def _softmax(scores):
    powers = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _attention(rng, mistake=""):
    def forward(q, k, v):
        weights = _softmax(q @ k.T / np.sqrt(q.shape[1]))
        return weights @ v, (q, k, v, weights)

    def backward(dout, cache):
        """A gradient for each input."""
        q, k, v, weights = cache
        dweights = dout @ v.T
        dscores = weights * (dweights - (dweights * weights).sum(axis=1, keepdims=True))
        root = np.sqrt(q.shape[1])
        dq, dk, dv = dscores @ k / root, dscores.T @ q / root, weights.T @ dout
        if mistake == "scale forgotten in q":
            dq = dscores @ k
        if mistake == "scale twice in k":
            dk = dk / root
        if mistake == "scores not transposed for k":
            dk = dscores @ q / root
        if mistake == "weights not transposed for v":
            dv = weights @ dout
        if mistake == "softmax's coupling forgotten in q":
            dq = weights * (1 - weights) * dweights @ k / root
        return dq, dk, dv
    inputs = {name: rng.normal(size=(4, 5)) for name in "qkv"}
    return {"forward": forward, "backward": backward, "inputs": inputs}


def _causal(rng, mistake=""):
    """Nothing is seen that comes later, by -1e9 in the scores; padding by a mask beside."""
    later = np.triu(np.ones((4, 4), dtype=bool), k=1)
    padding = np.array([1.0, 1.0, 1.0, 0.0])

    def forward(scores, v):
        weights = _softmax(np.where(later, -1e9, scores))
        return weights @ v * padding[:, None], (weights, v)

    def backward(dout, cache):
        """A gradient for each input."""
        weights, v = cache
        masked = dout if mistake == "padding forgotten for v" else dout * padding[:, None]
        dv = weights.T @ masked
        dweights = (dout * padding[:, None]) @ v.T
        dscores = weights * (dweights - (dweights * weights).sum(axis=1, keepdims=True))
        if mistake == "mask forgotten in the scores":
            free = np.full((4, 4), 0.25)
            dscores = dscores + later * free * (dweights - dweights.mean(axis=1, keepdims=True))
        return dscores, dv
    return {"forward": forward, "backward": backward,
            "inputs": {"scores": rng.normal(size=(4, 4)), "v": rng.normal(size=(4, 3))}}


def _heads(rng, mistake=""):
    """Two heads over three samples, every projection by its own matrix, a residual around."""
    x = rng.normal(size=(3, 4, 6))
    target = rng.normal(size=(3, 4, 6))

    def split(a):
        return a.reshape(3, 4, 2, 3).transpose(0, 2, 1, 3)

    def join(a):
        return a.transpose(0, 2, 1, 3).reshape(3, 4, 6)

    def loss(p):
        """The loss and its gradients."""
        q, k, v = (split(x @ p[name]) for name in ("Wq", "Wk", "Wv"))
        weights = _softmax(q @ k.transpose(0, 1, 3, 2) / np.sqrt(3) + p["position"])
        mixed = join(weights @ v)
        error = x + mixed @ p["Wo"] - target
        dmixed = split(error @ p["Wo"].T)
        dweights = dmixed @ v.transpose(0, 1, 3, 2)
        dscores = weights * (dweights - (dweights * weights).sum(axis=-1, keepdims=True))
        dq = join(dscores @ k) / np.sqrt(3)
        dk = join(dscores.transpose(0, 1, 3, 2) @ q) / np.sqrt(3)
        dv = join(weights.transpose(0, 1, 3, 2) @ dmixed)
        if mistake == "heads joined in the wrong order":
            dv = (weights.transpose(0, 1, 3, 2) @ dmixed).reshape(3, 4, 6)
        dposition = dscores.sum(axis=(0, 1))
        if mistake == "position of the first sample":
            dposition = dscores[0].sum(axis=0)
        if mistake == "position not summed over the batch":
            dposition = dscores.sum(axis=1)
        flat = x.reshape(12, 6)
        grads = {"Wq": flat.T @ dq.reshape(12, 6), "Wk": flat.T @ dk.reshape(12, 6),
                 "Wv": flat.T @ dv.reshape(12, 6),
                 "Wo": mixed.reshape(12, 6).T @ error.reshape(12, 6), "position": dposition}
        if mistake == "Wk's is Wq's":
            grads["Wk"] = grads["Wq"]
        return 0.5 * (error ** 2).sum(), grads
    parameters = {name: 0.4 * rng.normal(size=(6, 6)) for name in ("Wq", "Wk", "Wv", "Wo")}
    parameters["position"] = rng.normal(size=(4, 4))
    return {"loss": loss, "parameters": parameters, "gradients": None}


def _self_attention(rng, mistake=""):
    """x is query, key, value and residual at once: four paths come back to it."""
    def forward(x):
        weights = _softmax(x @ x.T)
        return x + weights @ x, (x, weights)

    def backward(dout, cache):
        """The gradient by the input."""
        x, weights = cache
        dweights = dout @ x.T
        dscores = weights * (dweights - (dweights * weights).sum(axis=1, keepdims=True))
        dx = dscores @ x + weights.T @ dout
        if mistake != "path of the keys forgotten":
            dx = dx + dscores.T @ x
        return dx if mistake == "residual forgotten" else dx + dout
    return {"forward": forward, "backward": backward,
            "inputs": {"x": 0.5 * rng.normal(size=(4, 3))}}


def _gelu(rng, mistake=""):
    """The feed-forward half of a block, GELU by its tanh form."""
    c = np.sqrt(2 / np.pi)

    def forward(x, w1, w2):
        """The output and the cache."""
        z = x @ w1
        t = np.tanh(c * (z + 0.044715 * z ** 3))
        return 0.5 * z * (1 + t) @ w2, (x, w1, w2, z, t)

    def backward(dout, cache):
        """A gradient for each input."""
        x, w1, w2, z, t = cache
        inner = c * (1 + 3 * 0.044715 * z ** 2)
        slope = 0.5 * (1 + t) + 0.5 * z * (1 - t ** 2) * inner
        if mistake == "only the first factor differentiated":
            slope = 0.5 * (1 + t)
        if mistake == "f' of ReLU":
            slope = (z > 0).astype(float)
        dz = dout @ w2.T
        dw2 = (0.5 * z * (1 + t)).T @ dout
        if mistake == "z where GELU of it belongs":
            dw2 = z.T @ dout
        return dz * (0.5 * (1 + t) + 0.5 * z * (1 - t ** 2) * inner) @ w1.T, \
            x.T @ (dz * slope), dw2
    inputs = {"x": rng.normal(size=(3, 4)), "w1": rng.normal(size=(4, 5)),
              "w2": rng.normal(size=(5, 2))}
    return {"forward": forward, "backward": backward, "inputs": inputs}


CASES = (
    *family("scaled dot-product attention", "backward", _attention, "one head", {
        "scale forgotten in q": ("q", "factor", "times", "scale"),
        "scale twice in k": ("k", "factor", "times", "scale", "twice"),
        "scores not transposed for k": ("k", "transpos"),
        "weights not transposed for v": ("v", "transpos"),
        "softmax's coupling forgotten in q": ("q", "coupling", "softmax", "diagonal")}),
    *family("causal attention", "backward", _causal, "a mask of -1e9 and padding", {
        "padding forgotten for v": ("v", "mask", "padding", "row", "sample"),
        "mask forgotten in the scores": ("scores", "mask", "zero")}),
    *family("attention of two heads", "gradients", _heads, "projections, relative positions", {
        "heads joined in the wrong order": ("Wv", "order", "head", "axis", "permut", "transpos"),
        "position of the first sample": ("position", "first sample", "batch", "sum"),
        "position not summed over the batch": ("position", "shape", "sum", "batch"),
        "Wk's is Wq's": ("Wk", "Wq's", "of Wq", "another")}),
    *family("self-attention with a residual", "backward", _self_attention, "fan-out of x", {
        "path of the keys forgotten": ("x", "path", "+=", "missing", "fan-out", "add"),
        "residual forgotten": ("x", "path", "+=", "missing", "residual", "add")}),
    *family("feed-forward with GELU", "backward", _gelu, "transformer block", {
        "only the first factor differentiated": ("w1", "f'", "product", "term", "derivative"),
        "f' of ReLU": ("w1", "f'", "ReLU", "derivative"),
        "z where GELU of it belongs": ("w2", "activation", "layer", "before", "GELU", "input")}),
)
