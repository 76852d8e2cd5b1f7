"""Convolution and pooling with loops over places, and their backward.

In: nothing. Out: `CASES`, right code and the mistakes that people ask about.
"""
from functools import partial

import numpy as np

from scripts.measure.handwritten.case import family


def _windows(shape, size, stride):
    """Yields (i, j, rows, columns): each place of the output, and where its window lies."""
    for i in range((shape[2] - size) // stride + 1):
        for j in range((shape[3] - size) // stride + 1):
            yield (i, j, slice(i * stride, i * stride + size),
                   slice(j * stride, j * stride + size))


def _places(length, size, stride):
    return (length - size) // stride + 1


def _convolution(rng, mistake="", stride=2, pad=1):
    def padded(x, pad):
        return np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))

    def forward(x, w, b, stride, pad):
        """The output and the cache."""
        big = padded(x, pad)
        size = w.shape[2]
        out = np.zeros((len(x), len(w), _places(big.shape[2], size, stride),
                        _places(big.shape[3], size, stride)))
        for i, j, rows, columns in _windows(big.shape, size, stride):
            out[:, :, i, j] = np.tensordot(big[:, :, rows, columns], w, ([1, 2, 3],) * 2) + b
        return out, (x, w, stride, pad)

    def backward(dout, cache):
        """A gradient for each input."""
        x, w, stride, pad = cache
        big = padded(x, pad)
        dbig = np.zeros_like(big)
        dw = np.zeros_like(w)
        size = w.shape[2]
        kernel = w[:, :, ::-1, ::-1] if mistake == "kernel flipped" else w
        for i, j, rows, columns in _windows(big.shape, size, stride):
            dplace = dout[:, :, i, j]
            dwindow = np.tensordot(dplace, kernel, (1, 0))
            if mistake == "stride ignored":
                dbig[:, :, i:i + size, j:j + size] += dwindow
            elif mistake == "= where windows overlap":
                dbig[:, :, rows, columns] = dwindow
            else:
                dbig[:, :, rows, columns] += dwindow
            if mistake == "weights of the last place only":
                dw = np.zeros_like(w)
            samples = slice(1 if mistake == "weights of the first sample only" else None)
            dw += np.tensordot(dplace[samples], big[samples, :, rows, columns], (0, 0))
        db = dout.sum(axis=(0, 2, 3))
        if mistake == "bias not summed over the places":
            db = dout[:, :, 0, 0].sum(axis=0)
        if mistake == "bias averaged":
            db = dout.mean(axis=(0, 2, 3))
        start = 0 if mistake == "padding cut at the far end only" else pad
        dx = dbig[:, :, start:start + x.shape[2], start:start + x.shape[3]]
        return dx, dw, db
    inputs = {"x": rng.normal(size=(2, 2, 5, 5)), "w": rng.normal(size=(3, 2, 3, 3)),
              "b": rng.normal(size=3), "stride": stride, "pad": pad}
    return {"forward": forward, "backward": backward, "inputs": inputs}


def _max_pool(rng, mistake="", size=2):
    def forward(x, size, stride):
        """The output and the cache."""
        out = np.empty((*x.shape[:2], _places(x.shape[2], size, stride),
                        _places(x.shape[3], size, stride)))
        for i, j, rows, columns in _windows(x.shape, size, stride):
            out[:, :, i, j] = x[:, :, rows, columns].max(axis=(2, 3))
        return out, (x, size, stride)

    def backward(dout, cache):
        """The gradient by the input."""
        x, size, stride = cache
        dx = np.zeros_like(x)
        for i, j, rows, columns in _windows(x.shape, size, stride):
            if mistake == "stride of 1":
                rows, columns = slice(i, i + size), slice(j, j + size)
            window = x[:, :, rows, columns]
            largest = window == window.max(axis=(2, 3), keepdims=True)
            if mistake == "sent to the smallest":
                largest = window == window.min(axis=(2, 3), keepdims=True)
            if mistake == "sent to the whole window":
                largest = np.ones_like(window)
            if mistake == "= where windows overlap":
                dx[:, :, rows, columns] = largest * dout[:, :, i, j][:, :, None, None]
            else:
                dx[:, :, rows, columns] += largest * dout[:, :, i, j][:, :, None, None]
        return dx
    edge = 5 if size == 3 else 4
    x = rng.normal(size=(2, 1, edge, edge))
    x[:, :, 2, 2] += 9  # the largest of several windows where they overlap
    return {"forward": forward, "backward": backward, "inputs": {"x": x, "size": size, "stride": 2}}


def _average_pool(rng, mistake=""):
    def forward(x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))

    def backward(dout, x):
        dx = dout.repeat(2, axis=2).repeat(2, axis=3)
        return dx if mistake == "not divided by the window" else dx / 4
    return {"forward": forward, "backward": backward,
            "inputs": {"x": rng.normal(size=(2, 2, 4, 6))}}


def _signal(rng, mistake=""):
    """One signal and one filter by np.convolve, which flips the filter."""
    x = rng.normal(size=8)
    target = rng.normal(size=6)

    def loss(taps):
        return 0.5 * np.sum((np.convolve(x, taps, mode="valid") - target) ** 2)

    taps = rng.normal(size=3)
    error = np.convolve(x, taps, mode="valid") - target
    dtaps = np.correlate(x, error, mode="valid")[::-1]
    if mistake == "flip forgotten":
        dtaps = dtaps[::-1]
    return {"loss": loss, "parameters": taps, "gradients": dtaps}


def _columns(rng):
    """Convolution as one matrix product over all windows (im2col)."""
    rows = np.arange(3)[:, None, None, None] + np.arange(2)[None, None, :, None]
    columns = np.arange(3)[None, :, None, None] + np.arange(2)[None, None, None, :]

    def forward(x, w):
        patches = x[:, rows, columns].reshape(-1, 4)
        return patches @ w, (patches, w, x.shape)

    def backward(dout, cache):
        """The gradient by the input."""
        patches, w, shape = cache
        dx = np.zeros(shape)
        dpatches = (dout @ w.T).reshape(len(dx), 3, 3, 2, 2)
        np.add.at(dx, (slice(None), rows, columns), dpatches)
        return {"w": patches.T @ dout, "x": dx}
    return {"forward": forward, "backward": backward,
            "inputs": {"x": rng.normal(size=(2, 4, 4)), "w": rng.normal(size=(4, 3))}}


CASES = (
    *family("convolution", "backward", _convolution, "stride 2, padding 1, loops over places", {
        "kernel flipped": ("x", "flip", "revers", "rotated"),
        "stride ignored": ("x", "stride", "place", "zero"),
        "= where windows overlap": ("x", "+=", "overwrit", "overlap", "add"),
        "weights of the last place only": ("w", "+=", "overwrit", "add", "last"),
        "weights of the first sample only": ("w", "first sample", "batch", "sum"),
        "bias not summed over the places": ("b", "sum", "axis", "place"),
        "bias averaged": ("b", "factor", "divided", "averaged", "scaled"),
        "padding cut at the far end only": ("x", "pad", "shift", "moved", "place", "roll")}),
    *family("convolution without padding", "backward", partial(_convolution, stride=1, pad=0),
            "stride 1, no padding"),
    *family("max-pool", "backward", _max_pool, "windows of 2x2, stride 2", {
        "sent to the smallest": ("x", "place", "position", "maxim", "largest", "index"),
        "sent to the whole window": ("x", "mask", "zero", "maxim", "place"),
        "stride of 1": ("x", "stride", "place", "position", "zero")}),
    *family("max-pool of overlapping windows", "backward", partial(_max_pool, size=3),
            "windows of 3x3, stride 2", {
        "= where windows overlap": ("x", "+=", "overwrit", "overlap", "add")}),
    *family("average pool", "backward", _average_pool, "by reshape and repeat", {
        "not divided by the window": ("x", "factor", "divided", "times", "scaled")}),
    *family("filter of a signal", "gradients", _signal, "np.convolve and a least-squares loss", {
        "flip forgotten": ("parameters", "flip", "revers")}),
    *family("convolution by columns", "backward", _columns, "im2col; gradients by name"),
)
