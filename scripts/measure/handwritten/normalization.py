"""Normalizations and dropout with a backward by hand.

In: nothing. Out: `CASES`, right code and the mistakes that people ask about.
"""
import numpy as np

from scripts.measure.handwritten.case import family


def _batch_norm(rng, mistake=""):
    def forward(x, gamma, beta, eps):
        """The output and the cache."""
        centered = x - x.mean(axis=0)
        std = np.sqrt((centered ** 2).mean(axis=0) + eps)
        normal = centered / std
        return gamma * normal + beta, (normal, centered, std, gamma)

    def backward(dout, cache):
        """A gradient for each input."""
        normal, centered, std, gamma = cache
        n = len(dout)
        dnormal = dout if mistake == "gamma left out" else dout * gamma
        dvar = -0.5 * (dnormal * centered).sum(axis=0) / std ** 3
        if mistake == "root of the variance without its half":
            dvar = 2 * dvar
        if mistake == "variance treated as constant":
            dvar = 0
        dcentered = dnormal / std + 2 / n * centered * dvar
        dmean = -dcentered.sum(axis=0)
        if mistake == "mean treated as constant":
            dmean = 0
        if mistake == "mean's gradient not divided by the batch":
            dmean = n * dmean
        dx = dcentered + dmean / n
        dgamma = (dout * normal).sum(axis=0)
        dbeta = dout.sum(axis=0)
        if mistake == "beta summed over the features":
            dbeta = dout.sum(axis=1)
        if mistake == "gamma's is beta's":
            dgamma = dbeta
        if mistake == "gamma not summed":
            dgamma = dout * normal
        return dx, dgamma, dbeta
    inputs = {"x": 3 * rng.normal(size=(5, 5)) + 1, "gamma": rng.uniform(1.5, 2.5, 5),
              "beta": rng.normal(size=5), "eps": 1e-5}
    return {"forward": forward, "backward": backward, "inputs": inputs}


def _running(rng):
    """Batch norm as it is used after training: mean and variance are constants there."""
    state = {"mean": rng.normal(size=4), "var": rng.uniform(1, 2, 4)}

    def forward(x, gamma, beta, state):
        normal = (x - state["mean"]) / np.sqrt(state["var"] + 1e-5)
        return gamma * normal + beta, (normal, gamma, state)

    def backward(dout, cache):
        """A gradient for each input."""
        normal, gamma, state = cache
        return (dout * gamma / np.sqrt(state["var"] + 1e-5), (dout * normal).sum(axis=0),
                dout.sum(axis=0))
    inputs = {"x": rng.normal(size=(3, 4)), "gamma": rng.normal(size=4),
              "beta": rng.normal(size=4), "state": state}
    return {"forward": forward, "backward": backward, "inputs": inputs}


def _spatial(rng, mistake=""):
    """Batch norm of images, each channel over samples and places, by its known short form."""
    def forward(x, gamma, beta):
        """The output and the cache."""
        mean = x.mean(axis=(0, 2, 3), keepdims=True)
        std = np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + 1e-3)
        normal = (x - mean) / std
        return gamma[None, :, None, None] * normal + beta[None, :, None, None], (normal, std, gamma)

    def backward(dout, cache):
        """A gradient for each input."""
        normal, std, gamma = cache
        axes = (0, 2, 3)
        count = dout.size // dout.shape[1]
        dbeta = dout.sum(axis=axes)
        dgamma = (dout * normal).sum(axis=axes)
        if mistake == "beta summed over the places of one sample":
            dbeta = dout[0].sum(axis=(1, 2))
        if mistake == "count of the samples only":
            count = len(dout)
        dnormal = dout * gamma[None, :, None, None]
        dx = dnormal - (dnormal.sum(axis=axes, keepdims=True)
                        + normal * (dnormal * normal).sum(axis=axes, keepdims=True)) / count
        return dx / std, dgamma, dbeta
    inputs = {"x": rng.normal(size=(3, 2, 2, 3)), "gamma": rng.normal(size=2) + 2,
              "beta": rng.normal(size=2)}
    return {"forward": forward, "backward": backward, "inputs": inputs}


def _layer_norm(rng, mistake=""):
    def forward(x, gain, shift, eps):
        """The output and the cache."""
        centered = x - x.mean(axis=-1, keepdims=True)
        var = (centered ** 2).mean(axis=-1, keepdims=True)
        normal = centered / np.sqrt(var + eps)
        return gain * normal + shift, (normal, var, gain, eps)

    def backward(dout, cache):
        """A gradient for each input."""
        normal, var, gain, eps = cache
        axis = 0 if mistake == "means over the batch" else -1
        std = np.sqrt(var) + eps if mistake == "eps beside the root" else np.sqrt(var + eps)
        dnormal = dout * gain
        dx = (dnormal - dnormal.mean(axis=axis, keepdims=True)
              - normal * (dnormal * normal).mean(axis=axis, keepdims=True)) / std
        dgain = (dout * normal).sum(axis=0)
        if mistake == "gain averaged over the batch":
            dgain = (dout * normal).mean(axis=0)
        return dx, dgain, dout.sum(axis=0)
    inputs = {"x": rng.normal(size=(4, 4)), "gain": rng.uniform(1, 2, 4),
              "shift": rng.normal(size=4), "eps": 0.05}
    return {"forward": forward, "backward": backward, "inputs": inputs}


def _unit_vectors(rng, mistake=""):
    def forward(x):
        norm = np.linalg.norm(x, axis=1, keepdims=True)
        return x / norm, (x / norm, norm)

    def backward(dout, cache):
        """The gradient by the input."""
        unit, norm = cache
        if mistake == "norm treated as constant":
            return dout / norm
        return (dout - unit * (dout * unit).sum(axis=1, keepdims=True)) / norm
    return {"forward": forward, "backward": backward, "inputs": {"x": rng.normal(size=(3, 4))}}


def _root_mean_square(rng, mistake=""):
    def forward(x, weight):
        scale = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6)
        return x * scale * weight, (x, scale, weight)

    def backward(dout, cache):
        """A gradient for each input."""
        x, scale, weight = cache
        dy = dout * weight
        power = 2 if mistake == "scale squared where its cube belongs" else 3
        dx = dy * scale - x * scale ** power * (dy * x).mean(axis=-1, keepdims=True)
        return dx, (dout * x * scale).sum(axis=0)
    return {"forward": forward, "backward": backward,
            "inputs": {"x": 2 * rng.normal(size=(3, 5)), "weight": rng.normal(size=5)}}


def _dropout(rng, mistake=""):
    mask = rng.uniform(size=(4, 6)) < 0.6
    mask[0, :2] = True, False

    def forward(x):
        return x * mask / 0.6

    def backward(dout, x):
        """The gradient by the input."""
        if mistake == "mask forgotten":
            return dout / 0.6
        if mistake == "scale forgotten":
            return dout * mask
        return dout * mask / 0.6
    return {"forward": forward, "backward": backward, "inputs": {"x": rng.normal(size=(4, 6))}}


CASES = (
    *family("batch norm", "backward", _batch_norm, "step by step through the graph", {
        "gamma left out": ("x", "gamma", "factor", "column"),
        "root of the variance without its half": ("x", "variance", "term", "factor"),
        "variance treated as constant": ("x", "variance", "term", "constant"),
        "mean treated as constant": ("x", "mean", "constant", "term"),
        "mean's gradient not divided by the batch": ("x", "mean", "batch"),
        "beta summed over the features": ("beta", "axis"),
        "gamma's is beta's": ("gamma", "another", "beta's", "of beta"),
        "gamma not summed": ("gamma", "shape", "sum", "batch")}),
    *family("batch norm at test time", "backward", _running, "running averages, a dict beside"),
    *family("spatial batch norm", "backward", _spatial, "batch norm of images", {
        "beta summed over the places of one sample": ("beta", "first sample", "batch", "sum"),
        "count of the samples only": ("x", "mean", "divided", "count", "term")}),
    *family("layer norm", "backward", _layer_norm, "transformer block", {
        "means over the batch": ("x", "axis", "batch"),
        "eps beside the root": ("x", "factor", "row", "eps", "scaled"),
        "gain averaged over the batch": ("gain", "batch", "factor", "divided", "¼", "averaged")}),
    *family("unit vectors", "backward", _unit_vectors, "cosine similarity", {
        "norm treated as constant": ("x", "norm", "constant", "term")}),
    *family("root mean square norm", "backward", _root_mean_square, "RMSNorm", {
        "scale squared where its cube belongs": ("x", "scale", "power", "term", "factor")}),
    *family("dropout of a fixed mask", "backward", _dropout, "inverted dropout", {
        "mask forgotten": ("x", "mask", "zero"),
        "scale forgotten": ("x", "factor", "times", "scaled")}),
)
