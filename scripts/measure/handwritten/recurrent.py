"""Recurrent cells and sequences: RNN, LSTM and GRU with backpropagation through time by hand.

In: nothing. Out: `CASES`, right code and the mistakes that people ask about.
"""
import numpy as np

from scripts.measure.handwritten.case import family


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _rnn_step(rng, mistake=""):
    def forward(x, prev_h, Wx, Wh, b):
        next_h = np.tanh(x @ Wx + prev_h @ Wh + b)
        return next_h, (x, prev_h, Wx, Wh, next_h)

    def backward(dnext_h, cache):
        """A gradient for each input."""
        x, prev_h, Wx, Wh, next_h = cache
        da = dnext_h * (1 - next_h ** 2)
        dWh = prev_h.T @ da
        dprev_h = da @ Wh.T
        db = da.sum(axis=0)
        if mistake == "Wh transposed":
            dWh = da.T @ prev_h
        if mistake == "state by Wh, not its transpose":
            dprev_h = da @ Wh
        if mistake == "bias summed over the units":
            db = da.sum(axis=1)
        if mistake == "bias before tanh'":
            db = dnext_h.sum(axis=0)
        return da @ Wx.T, dprev_h, x.T @ da, dWh, db
    inputs = {"x": rng.normal(size=(4, 3)), "prev_h": rng.normal(size=(4, 4)),
              "Wx": 0.5 * rng.normal(size=(3, 4)), "Wh": 0.5 * rng.normal(size=(4, 4)),
              "b": rng.normal(size=4)}
    return {"forward": forward, "backward": backward, "inputs": inputs}


def _rnn(rng, mistake=""):
    """A sequence whose every state is compared with a target."""
    x = rng.normal(size=(5, 2))
    target = rng.normal(size=(5, 3))

    def loss(p):
        """The loss and its gradients."""
        states = [np.zeros(3)]
        for step in x:
            states.append(np.tanh(step @ p["Wx"] + states[-1] @ p["Wh"] + p["b"]))
        states = np.array(states)
        errors = states[1:] - target
        grads = {name: np.zeros_like(array) for name, array in p.items()}
        carried = np.zeros(3)
        for t in reversed(range(5)):
            da = (errors[t] + carried) * (1 - states[t + 1] ** 2)
            grads["Wx"] += np.outer(x[t], da)
            if mistake == "= in the loop over time":
                grads["Wh"] = np.outer(states[t], da)
            elif mistake == "state after the step":
                grads["Wh"] += np.outer(states[t + 1], da)
            else:
                grads["Wh"] += np.outer(states[t], da)
            if not (mistake == "bias of the first step forgotten" and t == 0):
                grads["b"] += da
            if mistake != "nothing carried back in time":
                carried = p["Wh"] @ da
        return 0.5 * (errors ** 2).sum(), grads
    parameters = {"Wx": rng.normal(size=(2, 3)), "Wh": 0.7 * rng.normal(size=(3, 3)),
                  "b": rng.normal(size=3)}
    return {"loss": loss, "parameters": parameters, "gradients": None}


def _lstm_step(rng, mistake=""):
    """One step; the new state and the new cell stand one behind the other in what comes out."""
    def forward(x, prev_h, prev_c, W, b):
        """The output and the cache."""
        joined = np.concatenate([x, prev_h], axis=1)
        i, f, o, g = np.split(joined @ W + b, 4, axis=1)
        i, f, o, g = _sigmoid(i), _sigmoid(f), _sigmoid(o), np.tanh(g)
        next_c = f * prev_c + i * g
        cache = (joined, prev_c, W, i, f, o, g, next_c)
        return np.stack([o * np.tanh(next_c), next_c]), cache

    def backward(dout, cache):
        """A gradient for each input."""
        joined, prev_c, W, i, f, o, g, next_c = cache
        dnext_h, dnext_c = dout
        dc = dnext_c + dnext_h * o * (1 - np.tanh(next_c) ** 2)
        dprev_c = dc * f
        if mistake == "what comes for the cell left out":
            dprev_c = (dc - dnext_c) * f
        if mistake == "tanh' of the cell forgotten":
            dprev_c = (dnext_c + dnext_h * o) * f
        if mistake == "input gate for the forget gate":
            dprev_c = dc * i
        da = np.concatenate([dc * g * i * (1 - i), dc * prev_c * f * (1 - f),
                             dnext_h * np.tanh(next_c) * o * (1 - o), dc * i * (1 - g ** 2)],
                            axis=1)
        djoined = da @ W.T
        return djoined[:, :3], djoined[:, 3:], dprev_c, joined.T @ da, da.sum(axis=0)
    inputs = {"x": rng.normal(size=(2, 3)), "prev_h": rng.normal(size=(2, 2)),
              "prev_c": rng.normal(size=(2, 2)), "W": rng.normal(size=(5, 8)),
              "b": rng.normal(size=8)}
    return {"forward": forward, "backward": backward, "inputs": inputs}


def _lstm_gates(rng, mistake=""):
    """A step with a matrix for each gate: [x, h, 1] is the input of all of them."""
    joined = np.concatenate([rng.normal(size=(3, 5)), np.ones((3, 1))], axis=1)
    prev_c = rng.normal(size=(3, 4))
    target = rng.normal(size=(3, 4))

    def loss(p):
        """The loss and its gradients."""
        i, f, o = (_sigmoid(joined @ p[name]) for name in ("Wi", "Wf", "Wo"))
        g = np.tanh(joined @ p["Wg"])
        c = f * prev_c + i * g
        h = o * np.tanh(c)
        dh = (h - target) / len(h)
        dc = dh * o * (1 - np.tanh(c) ** 2)
        di = dc * g * i * (1 - i)
        df = dc * prev_c * f * (1 - f)
        do = dh * np.tanh(c) * o * (1 - o)
        dg = dc * i * (1 - g ** 2)
        if mistake == "forget gate by the new cell":
            df = dc * c * f * (1 - f)
        if mistake == "output gate with the input gate's f'":
            do = dh * np.tanh(c) * i * (1 - i)
        if mistake == "candidate like a gate":
            dg = dc * i * g * (1 - g)
        if mistake == "input gate's is the output gate's":
            di = do
        grads = {"Wi": joined.T @ di, "Wf": joined.T @ df, "Wo": joined.T @ do,
                 "Wg": joined.T @ dg}
        return 0.5 * ((h - target) ** 2).sum() / len(h), grads
    parameters = {name: 0.7 * rng.normal(size=(6, 4)) for name in ("Wi", "Wf", "Wo", "Wg")}
    return {"loss": loss, "parameters": parameters, "gradients": None}


def _lstm_sequence(rng, mistake=""):
    """Four steps, the loss on the last state only."""
    x = rng.normal(size=(4, 3))
    target = rng.normal(size=2)

    def loss(p):
        """The loss and its gradients."""
        h, c, caches = np.zeros(2), np.zeros(2), []
        for step in x:
            joined = np.concatenate([step, h, [1.0]])
            i, f, o, g = (joined @ p["W"]).reshape(4, 2)
            i, f, o, g = _sigmoid(i), _sigmoid(f), _sigmoid(o), np.tanh(g)
            caches.append((joined, c, i, f, o, g))
            c = f * c + i * g
            h = o * np.tanh(c)
        dW, dh, dc, new = np.zeros_like(p["W"]), h - target, np.zeros(2), c
        for joined, c, i, f, o, g in reversed(caches):
            through = dh * o * (1 - np.tanh(new) ** 2)
            dc = through if mistake == "cell gradient not added" else dc + through
            da = np.concatenate([dc * g * i * (1 - i), dc * c * f * (1 - f),
                                 dh * np.tanh(new) * o * (1 - o), dc * i * (1 - g ** 2)])
            dW += np.outer(joined, da)
            dh = (p["W"] @ da)[3:5]
            if mistake != "forget gate left out on the way back":
                dc = dc * f
            new = c
        return 0.5 * ((h - target) ** 2).sum(), {"W": dW}
    return {"loss": loss, "parameters": {"W": rng.normal(size=(6, 8))}, "gradients": None}


def _gru_step(rng, mistake=""):
    def forward(x, h, Wz, Wr, Wn):
        """The output and the cache."""
        joined = np.concatenate([x, h], axis=1)
        z, r = _sigmoid(joined @ Wz), _sigmoid(joined @ Wr)
        reset = np.concatenate([x, r * h], axis=1)
        n = np.tanh(reset @ Wn)
        return (1 - z) * n + z * h, (joined, reset, h, z, r, n, Wz, Wr, Wn)

    def backward(dout, cache):
        """A gradient for each input."""
        joined, reset, h, z, r, n, Wz, Wr, Wn = cache
        width = joined.shape[1] - h.shape[1]
        dn = dout * (1 - z) * (1 - n ** 2)
        dz = dout * (h - n) * z * (1 - z)
        dreset = dn @ Wn.T
        dr = dreset[:, width:] * h * r * (1 - r)
        djoined = dz @ Wz.T + dr @ Wr.T
        dx = djoined[:, :width] + dreset[:, :width]
        dh = djoined[:, width:] + dreset[:, width:] * r + dout * z
        dWz = joined.T @ dz
        if mistake == "path through the reset gate forgotten":
            dh = djoined[:, width:] + dout * z
        if mistake == "path around the cell forgotten":
            dh = dh - dout * z
        if mistake == "update gate's sign":
            dWz = -dWz
        return dx, dh, dWz, joined.T @ dr, reset.T @ dn
    inputs = {"x": rng.normal(size=(3, 2)), "h": rng.normal(size=(3, 3)),
              **{name: rng.normal(size=(5, 3)) for name in ("Wz", "Wr", "Wn")}}
    return {"forward": forward, "backward": backward, "inputs": inputs}


CASES = (
    *family("RNN step", "backward", _rnn_step, "rnn_step_backward", {
        "Wh transposed": ("Wh", "transpos"),
        "state by Wh, not its transpose": ("prev_h", "transpos"),
        "bias summed over the units": ("b", "axis"),
        "bias before tanh'": ("b", "f'", "tanh", "derivative")}),
    *family("RNN over time", "gradients", _rnn, "backpropagation through time", {
        "= in the loop over time": ("Wh", "+=", "overwrit", "add", "step"),
        "state after the step": ("Wh", "state", "step", "layer", "another"),
        "bias of the first step forgotten": ("b", "step", "term", "missing", "sum", "only"),
        "nothing carried back in time": ("Wh", "carried", "path", "time", "missing", "+=")}),
    *family("LSTM step", "backward", _lstm_step, "state and cell come out together", {
        "what comes for the cell left out": ("prev_c", "cell", "path", "missing", "+=", "left out"),
        "tanh' of the cell forgotten": ("prev_c", "f'", "tanh"),
        "input gate for the forget gate": ("prev_c", "gate", "another", "swapped")}),
    *family("LSTM with a matrix a gate", "gradients", _lstm_gates, "Wf, Wi, Wo, Wg", {
        "forget gate by the new cell": ("Wf", "cell", "another", "column"),
        "output gate with the input gate's f'": ("Wo", "f'", "gate", "another"),
        "candidate like a gate": ("Wg", "f'", "sigmoid", "tanh", "activation"),
        "input gate's is the output gate's": ("Wi", "Wo's", "of Wo", "another")}),
    *family("LSTM over time", "gradients", _lstm_sequence, "loss on the last state", {
        "cell gradient not added": ("W", "+=", "cell", "add", "path"),
        "forget gate left out on the way back": ("W", "gate", "path", "cell", "time")}),
    *family("GRU step", "backward", _gru_step, "reset gate before the matrix", {
        "path through the reset gate forgotten": ("h", "path", "missing", "+=", "reset"),
        "path around the cell forgotten": ("h", "path", "missing", "+=", "residual", "add"),
        "update gate's sign": ("Wz", "sign")}),
)
