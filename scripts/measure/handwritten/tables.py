"""Embeddings, gathers, broadcasts and products of matrices: where indices and shapes go astray.

In: nothing. Out: `CASES`, right code and the mistakes that people ask about.
"""
import numpy as np

from scripts.measure.handwritten.case import family


def _embedding(rng, mistake=""):
    def forward(words, table):
        return table[words], (words, table.shape)

    def backward(dout, cache):
        """A gradient for each input."""
        words, shape = cache
        dtable = np.zeros(shape)
        if mistake == "+= of repeated indices":
            dtable[words] += dout
        else:
            np.add.at(dtable, words, dout)
        if mistake == "divided by how often a word comes":
            dtable /= np.maximum(np.bincount(words.ravel(), minlength=len(table)), 1)[:, None]
        return None, dtable
    table = rng.normal(size=(6, 3))
    return {"forward": forward, "backward": backward,
            "inputs": {"words": np.array([[1, 4, 1, 2], [5, 4, 1, 0]]), "table": table}}


def _padding_word(rng, mistake=""):
    """A classifier of averaged words; word 0 is padding and stays out of everything."""
    words = np.array([[3, 1, 4, 0], [2, 1, 0, 0], [5, 5, 1, 2]])
    labels = np.array([1.0, 0.0, 1.0])
    present = (words > 0).astype(float)
    lengths = present.sum(axis=1)

    def loss(p):
        """The loss and its gradients."""
        mean = (p["table"][words] * present[:, :, None]).sum(axis=1) / lengths[:, None]
        z = mean @ p["w"]
        value = np.mean(np.log(1 + np.exp(-z)) + (1 - labels) * z)
        dz = (1 / (1 + np.exp(-z)) - labels) / len(labels)
        dmean = dz[:, None] * p["w"] / lengths[:, None]
        if mistake == "mean of the words not divided":
            dmean = dz[:, None] * p["w"]
        weights = np.ones_like(present) if mistake == "padding gets a gradient" else present
        dtable = np.zeros_like(p["table"])
        np.add.at(dtable, words, weights[:, :, None] * dmean[:, None, :])
        return value, {"table": dtable, "w": mean.T @ dz}
    parameters = {"table": rng.normal(size=(6, 3)), "w": rng.normal(size=3)}
    return {"loss": loss, "parameters": parameters, "gradients": None}


def _recommender(rng, mistake=""):
    """Matrix factorization: ratings of (user, item) with a penalty on what is rated."""
    users = np.array([0, 0, 1, 2, 2, 3])
    items = np.array([1, 2, 2, 0, 1, 3])
    ratings = rng.uniform(1, 5, size=6)
    p = {"P": rng.normal(size=(4, 3)), "Q": rng.normal(size=(4, 3))}

    def loss(p):
        error = (p["P"][users] * p["Q"][items]).sum(axis=1) - ratings
        return 0.5 * (error ** 2).sum() + 0.5 * 0.3 * ((p["P"] ** 2).sum() + (p["Q"] ** 2).sum())

    error = (p["P"][users] * p["Q"][items]).sum(axis=1) - ratings
    dP = 0.3 * p["P"]
    dQ = 0.3 * p["Q"]
    np.add.at(dP, users, error[:, None] * p["Q"][items])
    if mistake == "one rating an item":
        dQ[items] = error[:, None] * p["P"][users] + 0.3 * p["Q"][items]
    else:
        np.add.at(dQ, items, error[:, None] * p["P"][users])
    if mistake == "penalty left out for the users":
        dP = dP - 0.3 * p["P"]
    if mistake == "items' gradient for the users":
        dP = dQ
    return {"loss": loss, "parameters": p, "gradients": {"P": dP, "Q": dQ}}


def _scale_and_shift(rng, mistake=""):
    """A scale a row and a shift a column, by broadcasting."""
    def forward(x, scale, shift):
        return scale * x + shift, (x, scale)

    def backward(dout, cache):
        """A gradient for each input."""
        x, scale = cache
        dscale = (dout * x).sum(axis=1, keepdims=True)
        dshift = dout.sum(axis=0)
        if mistake == "scale not summed back":
            dscale = dout * x
        if mistake == "shift summed over the other axis":
            dshift = dout.sum(axis=1)
        if mistake == "scale multiplied by the sums":
            dscale = dout.sum(axis=1, keepdims=True) * x.sum(axis=1, keepdims=True)
        return dout * scale, dscale, dshift
    inputs = {"x": rng.normal(size=(4, 4)), "scale": rng.normal(size=(4, 1)),
              "shift": rng.normal(size=4)}
    return {"forward": forward, "backward": backward, "inputs": inputs}


def _bilinear(rng, mistake=""):
    def forward(a, W, b):
        return np.einsum("ni,ij,nj->n", a, W, b), (a, W, b)

    def backward(dout, cache):
        """A gradient for each input."""
        a, W, b = cache
        da = np.einsum("n,ij,nj->ni", dout, W, b)
        dW = np.einsum("n,ni,nj->ij", dout, a, b)
        db = np.einsum("n,ni,ij->nj", dout, a, W)
        if mistake == "W transposed":
            dW = dW.T
        if mistake == "a by W, not by its transpose":
            da = dout[:, None] * (b @ W)
        return da, dW, db
    inputs = {"a": rng.normal(size=(5, 3)), "W": rng.normal(size=(3, 3)),
              "b": rng.normal(size=(5, 3))}
    return {"forward": forward, "backward": backward, "inputs": inputs}


def _joined(rng, mistake=""):
    """Two branches side by side; the last of them goes on twice (a skip)."""
    def forward(left, right):
        return np.concatenate([np.tanh(left), right ** 2, right], axis=1), (left, right)

    def backward(dout, cache):
        """A gradient for each input."""
        left, right = cache
        dleft, dsquare, dskip = np.split(dout, 3, axis=1)
        if mistake == "split in the wrong order":
            dleft = dsquare
        dright = dsquare * 2 * right
        if mistake != "skip forgotten":
            dright = dright + dskip
        return dleft * (1 - np.tanh(left) ** 2), dright
    return {"forward": forward, "backward": backward,
            "inputs": {"left": rng.normal(size=(3, 2)), "right": rng.normal(size=(3, 2))}}


def _distances(rng, mistake=""):
    """A layer of radial basis functions: exp(-gamma |x - c|²)."""
    def forward(x, centers, gamma):
        """The output and the cache."""
        squares = ((x[:, None, :] - centers) ** 2).sum(axis=2)
        out = np.exp(-gamma * squares)
        return out, (x, centers, gamma, squares, out)

    def backward(dout, cache):
        """A gradient for each input."""
        x, centers, gamma, squares, out = cache
        common = (dout * out)[:, :, None] * (x[:, None, :] - centers) * 2 * gamma[:, None]
        dx, dcenters = -common.sum(axis=1), common.sum(axis=0)
        if mistake == "sign of the centers":
            dcenters = -dcenters
        if mistake == "square without its 2":
            dx = dx / 2
        return dx, dcenters, -(dout * out * squares).sum(axis=0)
    inputs = {"x": rng.normal(size=(5, 2)), "centers": rng.normal(size=(3, 2)),
              "gamma": rng.uniform(0.3, 1, 3)}
    return {"forward": forward, "backward": backward, "inputs": inputs}


CASES = (
    *family("embedding", "backward", _embedding, "words come more than once", {
        "+= of repeated indices": ("table", "+=", "overwrit", "repeat", "add", "once"),
        "divided by how often a word comes": ("table", "row", "divided", "factor", "repeat")}),
    *family("words with padding", "gradients", _padding_word, "mean of word vectors", {
        "mean of the words not divided": ("table", "divided", "mean", "factor"),
        "padding gets a gradient": ("table", "padding", "mask", "zero", "row")}),
    *family("matrix factorization", "gradients", _recommender, "recommender with a penalty", {
        "one rating an item": ("Q", "+=", "overwrit", "repeat", "add"),
        "penalty left out for the users": ("P", "regulari", "penalty", "parameter itself"),
        "items' gradient for the users": ("P", "another", "Q's", "of Q")}),
    *family("scale and shift", "backward", _scale_and_shift, "broadcasting", {
        "scale not summed back": ("scale", "shape", "sum", "broadcast"),
        "shift summed over the other axis": ("shift", "axis"),
        "scale multiplied by the sums": ("scale", "sum", "product")}),
    *family("bilinear form", "backward", _bilinear, "einsum", {
        "W transposed": ("W", "transpos"),
        "a by W, not by its transpose": ("a", "transpos")}),
    *family("two branches joined", "backward", _joined, "concatenate and a skip", {
        "split in the wrong order": ("left", "order", "another", "split", "swapped"),
        "skip forgotten": ("right", "path", "+=", "missing", "skip", "add")}),
    *family("radial basis functions", "backward", _distances, "distances to centers", {
        "sign of the centers": ("centers", "sign"),
        "square without its 2": ("x", "half", "½", "0.5", "factor")}),
)
