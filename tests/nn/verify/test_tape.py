"""The tape that words a cause: its gradients against differences, and mistakes in small functions,
each written by hand as people write them, that it must call by their name."""
import numpy as np
import pytest
from scipy import special

import nn
from nn.verify.tape import tape

RNG = np.random.default_rng(19)
SQUARE, TALL, ROW = RNG.normal(size=(3, 3)), RNG.normal(size=(4, 3)), RNG.normal(size=3)
CUBE, POSITIVE = RNG.normal(size=(2, 3, 4)), RNG.uniform(0.5, 2, size=(4, 3))


def differences(function, x, h=1e-6):
    """The gradient of Σ cos(1, 2, …) · function, by differences in the middle."""
    def total(x):
        value = np.asarray(function(x))
        return float((np.cos(np.arange(value.size)).reshape(value.shape) * value).sum())

    gradient = np.empty(x.shape)
    for index in np.ndindex(*x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        gradient[index] = (total(x + step) - total(x - step)) / (2 * h)
    return gradient


def by_tape(function, x):
    """The same by the tape."""
    way = tape.record(lambda arrays: function(arrays["x"]), {"x": x})
    weights = np.cos(np.arange(way.output.value.size)).reshape(way.output.value.shape)
    return way.back({way.output.number: weights}).get(way.leaves["x"].number, np.zeros(x.shape))


def filled(x):
    """A buffer, a slice of it written, another multiplied in place."""
    out = np.zeros((4, 5))
    out[:, 1:4] = x
    out[1] = x[0].sum() * 2
    out[:, 2] *= x[:, 0]
    out[out < 0] *= 0.1
    return out


def in_place(x):
    """All four, one after the other, and a copy that is not written into."""
    y = x.copy()
    y += x
    y *= x
    y -= 1
    y /= 2 + x * x
    return y + x


def rounds(x):
    """A state that goes through a loop."""
    h, states = np.zeros(3), []
    for row in x:
        h = np.tanh(row + 0.5 * h)
        states.append(h)
    return np.array(states)


def kept_in_a_list(x):
    """Rows of numbers, as nested lists."""
    a, b, c = x
    return np.array([[a * b, c], [np.sin(c), a / b]])


UNARY = [np.exp, np.expm1, np.tanh, np.sin, np.cos, np.tan, np.sinh, np.cosh, np.square, np.abs,
         np.sign, np.negative, np.arctan, special.expit, special.erf, special.erfc, np.exp2,
         special.log_expit]
OF_POSITIVE = [np.log, np.log1p, np.log2, np.log10, np.sqrt, np.reciprocal, np.cbrt,
               lambda x: x ** 3, lambda x: x ** -0.5, lambda x: 2.0 ** x, lambda x: x ** x,
               lambda x: np.arcsin(x / 3), lambda x: np.arccos(x / 3)]
BINARY = [lambda x: x + ROW, lambda x: ROW - x, lambda x: x * ROW, lambda x: ROW / (2 + x * x),
          lambda x: np.maximum(x, 0.1), lambda x: np.minimum(0.2, x), lambda x: np.hypot(x, ROW),
          lambda x: np.arctan2(x, ROW), lambda x: np.logaddexp(x, ROW), lambda x: x - x[:1] * x,
          lambda x: np.where(x > 0, x * x, ROW), lambda x: np.clip(x, -0.5, 0.5),
          lambda x: x.clip(0), lambda x: np.heaviside(x, 0) * x]
PRODUCTS = [lambda x: x @ SQUARE, lambda x: TALL.T @ x, lambda x: x @ ROW, lambda x: x.T @ x,
            lambda x: x[0] @ SQUARE, lambda x: x[0] @ x[1], lambda x: np.dot(x, ROW),
            lambda x: x.dot(SQUARE), lambda x: np.outer(x[0], x[:, 1]),
            lambda x: np.inner(x[0], ROW), lambda x: np.convolve(x[0], ROW[:2]),
            lambda x: np.convolve(x[:, 0], x[:, 1], "same"),
            lambda x: np.convolve(ROW[:2], x[:, 0], "valid"), lambda x: special.softmax(x, axis=1),
            lambda x: special.logsumexp(x, axis=1),
            lambda x: np.einsum("ij,jk,ik->i", x, SQUARE, x), lambda x: np.einsum("ij->j", x),
            lambda x: np.einsum("ij,ij", x, TALL), lambda x: np.tensordot(x, CUBE, (1, 1)),
            lambda x: np.tensordot(CUBE, x, ([1, 2], [1, 0])), lambda x: x @ CUBE,
            lambda x: CUBE @ x, lambda x: x[:, None] @ SQUARE, lambda x: np.vdot(x[0], x[1])]
REDUCTIONS = [np.sum, np.mean, np.var, np.std, np.max, np.prod, np.linalg.norm,
              lambda x: x.sum(axis=0), lambda x: x.mean(axis=1, keepdims=True),
              lambda x: x.var(axis=0, ddof=1), lambda x: x.std(axis=1), lambda x: x.min(axis=-1),
              lambda x: np.amax(x, axis=0), lambda x: np.prod(x, axis=1), np.cumsum,
              lambda x: np.cumsum(x, axis=1), lambda x: np.linalg.norm(x, axis=1),
              lambda x: np.add.reduce(x), lambda x: x.sum(), lambda x: np.trace(x[:3])]
MOVES = [lambda x: x.reshape(2, 6), lambda x: x.reshape((-1,)), np.ravel, lambda x: x.flatten(),
         lambda x: x.T, lambda x: np.transpose(x, (1, 0)), lambda x: x.swapaxes(0, 1),
         lambda x: np.moveaxis(x, 0, 1), lambda x: np.expand_dims(x, 1),
         lambda x: x[:, None].squeeze(),
         lambda x: np.concatenate([x, x * 2, np.ones((1, 3))]), lambda x: np.hstack([x, x ** 2]),
         lambda x: np.vstack((x, x)), lambda x: np.stack([x, -x], axis=1),
         lambda x: np.concatenate([x[0], [1.0], x[1]]), lambda x: np.split(x, 2)[1],
         lambda x: np.hsplit(x, 3)[0], lambda x: np.array_split(x, 3)[1], lambda x: x[1:, ::2],
         lambda x: x[[0, 0, 2]], lambda x: x[x > 0], lambda x: x[np.arange(4), [0, 2, 1, 1]],
         lambda x: np.broadcast_to(x, (2, 4, 3)), lambda x: np.pad(x, ((1, 0), (2, 1))),
         lambda x: np.repeat(x, 2, axis=0), lambda x: np.tile(x, 2), lambda x: np.flip(x, 1),
         lambda x: np.roll(x, 1, axis=0), lambda x: np.take(x, [1, 1], axis=0), np.sort,
         lambda x: np.triu(x), lambda x: np.diag(x[:3]), lambda x: np.column_stack([x, x[:, 0]]),
         lambda x: x.astype(np.float64), filled, in_place, rounds]
MATRICES = [np.linalg.det, np.linalg.inv, lambda x: np.linalg.slogdet(x)[1],
            lambda x: np.linalg.solve(x, ROW), lambda x: np.linalg.solve(x, TALL.T),
            lambda x: np.linalg.solve(SQUARE, x)]


@pytest.mark.parametrize("function", UNARY + BINARY + PRODUCTS + REDUCTIONS + MOVES)
def test_each_operation_goes_back_as_differences_say(function):
    np.testing.assert_allclose(by_tape(function, TALL), differences(function, TALL), atol=2e-8)


@pytest.mark.parametrize("function", OF_POSITIVE)
def test_operations_on_positive_numbers(function):
    np.testing.assert_allclose(by_tape(function, POSITIVE), differences(function, POSITIVE),
                               atol=2e-8)


@pytest.mark.parametrize("function", MATRICES)
def test_operations_on_matrices(function):
    np.testing.assert_allclose(by_tape(function, SQUARE), differences(function, SQUARE), atol=1e-6)


def test_numbers_unpacked_and_kept_in_lists():
    np.testing.assert_allclose(by_tape(kept_in_a_list, ROW), differences(kept_in_a_list, ROW),
                               atol=2e-8)


def test_a_result_by_float_is_still_known():
    way = tape.record(lambda arrays: float((arrays["x"] ** 2).sum()), {"x": ROW})
    np.testing.assert_allclose(way.back({way.output.number: 1.0})[way.leaves["x"].number], 2 * ROW)


def test_recording_leaves_numpy_and_what_the_function_keeps_as_they_were():
    before = np.zeros, np.array, np.ones, np.empty, np.full, np.asarray
    kept = {}

    def fails(arrays):
        kept["x"] = arrays["x"] * 2
        if isinstance(arrays["x"], tape.Traced):
            raise RuntimeError("not with such arrays")
        return kept["x"].sum()

    assert tape.record(fails, {"x": ROW}) is None
    assert before == (np.zeros, np.array, np.ones, np.empty, np.full, np.asarray)
    assert type(kept["x"]) is np.ndarray


def test_a_function_of_very_many_operations_is_not_followed():
    def counts(arrays):
        total = 0.0
        for _ in range(25_000):
            total = total + arrays["x"][0]
        return total
    assert tape.record(counts, {"x": ROW}) is None


def softplus(z):
    return np.log1p(np.exp(z))


def three_layers(mistake=""):
    """Softplus, tanh and a linear layer; half a sum of squares."""
    rng = np.random.default_rng(1)
    X, t = rng.normal(size=(7, 4)), rng.normal(size=(7, 2))
    p = {"A": rng.normal(size=(4, 5)), "a": rng.normal(size=5), "B": rng.normal(size=(5, 5)),
         "b": rng.normal(size=5), "C": rng.normal(size=(5, 2))}

    def loss(p):
        z1 = X @ p["A"] + p["a"]
        h1 = softplus(z1)
        h2 = np.tanh(h1 @ p["B"] + p["b"])
        off = h2 @ p["C"] - t
        d2 = off @ p["C"].T * (1 - h2 ** 2)
        if mistake == "tanh'":
            d2 = off @ p["C"].T
        back = p["B"] if mistake == "not transposed" else p["B"].T
        d1 = d2 @ back / (1 + np.exp(-z1))
        if mistake == "softplus'":
            d1 = d2 @ back
        grads = {"A": X.T @ d1, "a": d1.sum(axis=0), "B": h1.T @ d2, "b": d2.sum(axis=0),
                 "C": h2.T @ off}
        if mistake == "before softplus":
            grads["B"] = z1.T @ d2
        if mistake == "last sample":
            grads["a"] = d1[-1]
        if mistake == "wrong axis":
            grads["b"] = d2[:5].sum(axis=1)
        return 0.5 * (off ** 2).sum(), grads
    return nn.check_gradients(loss, p)


@pytest.mark.parametrize("mistake, name, words", [
    ("tanh'", "A", ("f'", "tanh", "1:")), ("tanh'", "b", ("f'", "tanh", "1:")),
    ("softplus'", "A", ("f'", "1:")), ("softplus'", "a", ("f'", "1:")),
    ("not transposed", "A", ("B", "not transposed")), ("before softplus", "B", ("z1", "in place")),
    ("last sample", "a", ("last sample",))])
def test_a_net_of_three_layers(mistake, name, words):
    causes = {finding.name: finding.cause for finding in three_layers(mistake).findings}
    for word in words:
        assert word in causes[name], causes


def test_right_gradients_have_no_cause():
    assert three_layers()


def lstm_step(mistake=""):
    """One step, W by blocks of gates; the new state comes out, and the cell."""
    rng = np.random.default_rng(2)

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def forward(x, h, c, Wx, Wh):
        a = x @ Wx + h @ Wh
        keep, write, show = sigmoid(a[:, :4]), sigmoid(a[:, 4:8]), sigmoid(a[:, 8:12])
        new = np.tanh(a[:, 12:])
        cell = keep * c + write * new
        out = show * np.tanh(cell)
        return np.hstack([out, cell]), (x, h, c, Wx, Wh, keep, write, show, new, cell)

    def backward(dboth, cache):
        x, h, c, Wx, Wh, keep, write, show, new, cell = cache
        dout, dcell = dboth[:, :4], dboth[:, 4:]
        dcell = dcell + dout * show * (1 - np.tanh(cell) ** 2)
        if mistake == "cell left out":
            dcell = dout * show * (1 - np.tanh(cell) ** 2)
        other = write if mistake == "other gate" else keep
        slope = 1 - (cell if mistake == "tanh' of the cell" else new) ** 2
        da = np.hstack([dcell * c * keep * (1 - keep), dcell * new * write * (1 - write),
                        dout * np.tanh(cell) * show * (1 - show), dcell * write * slope])
        return da @ Wx.T, da @ Wh.T, dcell * other, x.T @ da, h.T @ da

    inputs = [rng.normal(size=(3, 2)), rng.normal(size=(3, 4)), rng.normal(size=(3, 4)),
              0.5 * rng.normal(size=(2, 16)), 0.5 * rng.normal(size=(4, 16))]
    return nn.check_backward(forward, backward, inputs)


@pytest.mark.parametrize("mistake, name, words", [
    ("cell left out", "c", ("path is not added", "cell")),
    ("cell left out", "Wx", ("path is not added", "cell")),
    ("other gate", "c", ("write", "in place of", "keep")),
    ("tanh' of the cell", "Wh", ("f'", "cell", "another value"))])
def test_a_step_of_an_lstm(mistake, name, words):
    causes = {finding.name: finding.cause for finding in lstm_step(mistake).findings}
    for word in words:
        assert word in causes[name], causes


def batch_norm(mistake=""):
    """By x.var(), with the short backward."""
    rng = np.random.default_rng(3)

    def forward(x, gain):
        std = np.sqrt(x.var(axis=0) + 1e-3)
        y = (x - x.mean(axis=0)) / std
        return y * gain, (y, std, gain)

    def backward(dout, cache):
        y, std, gain = cache
        dy = dout * gain
        dx = (dy - dy.mean(axis=0) - y * (dy * y).mean(axis=0)) / std
        if mistake == "variance":
            dx = (dy - dy.mean(axis=0)) / std
        if mistake == "mean":
            dx = (dy - y * (dy * y).mean(axis=0)) / std
        if mistake == "axis":
            dx = (dy - dy.mean(axis=1, keepdims=True)
                  - y * (dy * y).mean(axis=1, keepdims=True)) / std
        return dx, (dout * y)[0] if mistake == "one sample" else (dout * y).sum(axis=0)
    return nn.check_backward(forward, backward, [rng.normal(size=(6, 4)), rng.normal(size=4) + 2])


@pytest.mark.parametrize("mistake, words", [
    ("variance", ("variance", "constant")), ("mean", ("mean", "constant")),
    ("axis", ("wrong axis",)), ("one sample", ("first sample",))])
def test_batch_norm(mistake, words):
    cause = batch_norm(mistake).cause
    for word in words:
        assert word in cause


def cross_entropy(mistake=""):
    """Log-sum-exp written out, averaged."""
    rng = np.random.default_rng(4)
    X, labels = rng.normal(size=(8, 3)), rng.integers(5, size=8)

    def loss(W):
        s = X @ W
        p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
        value = -np.log(p[np.arange(8), labels]).mean()
        ds = p.copy()
        if mistake != "label":
            ds[np.arange(8), labels] -= 1
        if mistake == "twice":
            ds = ds * p * (1 - p)
        if mistake == "first":
            return value, X[:1].T @ ds[:1] / 8
        return value, X.T @ ds / 8
    return nn.check_gradients(loss, rng.normal(size=(3, 5)))


@pytest.mark.parametrize("mistake, words", [
    ("label", ("label", "softmax")), ("twice", ("softmax", "once more")),
    ("first", ("first sample",))])
def test_cross_entropy(mistake, words):
    cause = cross_entropy(mistake).cause
    for word in words:
        assert word in cause


def attention(mistake=""):
    """Weights by row, one head."""
    rng = np.random.default_rng(5)

    def forward(q, k, v):
        e = np.exp(q @ k.T)
        a = e / e.sum(axis=1, keepdims=True)
        return a @ v, (q, k, v, a)

    def backward(dout, cache):
        q, k, v, a = cache
        da = dout @ v.T
        ds = a * (da - (da * a).sum(axis=1, keepdims=True))
        if mistake == "coupling":
            ds = a * (1 - a) * da
        if mistake == "sum constant":
            ds = a * da
        return ds @ k, (ds if mistake == "k" else ds.T) @ q, (a if mistake == "v" else a.T) @ dout
    return nn.check_backward(forward, backward, [rng.normal(size=(4, 3)) for _ in range(3)])


@pytest.mark.parametrize("mistake, name, words", [
    ("coupling", "q", ("softmax", "coupling")), ("coupling", "k", ("softmax", "coupling")),
    ("sum constant", "k", ("softmax", "constant")), ("k", "k", ("not transposed",)),
    ("v", "v", ("a", "not transposed"))])
def test_attention(mistake, name, words):
    causes = {finding.name: finding.cause for finding in attention(mistake).findings}
    for word in words:
        assert word in causes[name], causes


def sequence(mistake=""):
    """Backpropagation through time: all states in one buffer, the loss on their sum."""
    rng = np.random.default_rng(6)
    x, w = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    U = 0.6 * rng.normal(size=(3, 3))

    def loss(p):
        h = np.zeros((7, 3))
        for t in range(6):
            h[t + 1] = np.tanh(x[t] + h[t] @ p["U"])
        dU, carried = np.zeros((3, 3)), np.zeros(3)
        for t in reversed(range(6)):
            da = (w[t] + carried) * (1 - h[t + 1] ** 2)
            if mistake == "f'":
                da = w[t] + carried
            state = h[t + 1] if mistake == "state after" else h[t]
            dU = dU + state[:, None] * da
            if mistake == "last step only" and t == 5:
                return (w * h[1:]).sum(), {"U": dU}
            carried = da @ p["U"].T
            if mistake == "nothing carried":
                carried = np.zeros(3)
        return (w * h[1:]).sum(), {"U": dU}
    return nn.check_gradients(loss, {"U": U})


@pytest.mark.parametrize("mistake, words", [
    ("f'", ("f'", "tanh")), ("state after", ("in place of", "step")),
    ("nothing carried", ("path", "not carried on")), ("last step only", ("last", "not their sum"))])
def test_a_loop_over_time(mistake, words):
    cause = sequence(mistake).cause
    for word in words:
        assert word in cause


def windows(mistake=""):
    """Sums of squares of overlapping windows, by a loop."""
    x, w = np.random.default_rng(7).normal(size=(2, 9))

    def loss(x):
        return sum(w[k] * (x[k:k + 3] ** 2).sum() for k in range(7))

    gradient = np.zeros(9)
    for k in range(7):
        if mistake == "=":
            gradient[k:k + 3] = 2 * w[k] * x[k:k + 3]
        else:
            gradient[k:k + 3] += 2 * w[k] * x[k:k + 3]
    return nn.check_gradients(loss, x, gradient)


def test_windows_that_overlap():
    assert windows()
    assert "overlap" in windows("=").cause


def test_float32_is_explained_too():
    rng = np.random.default_rng(8)
    W, x = rng.normal(size=(4, 5)).astype(np.float32), rng.normal(size=(6, 4)).astype(np.float32)
    h = np.tanh(x @ W)
    report = nn.check_gradients(lambda W: 0.5 * (np.tanh(x @ W) ** 2).sum(), W, x.T @ h)
    assert "f'" in report.cause and "tanh" in report.cause


def test_a_row_of_a_jacobian():
    """Only one output's row is wrong: the mistake is in what leads to it."""
    def f(x):
        return np.array([np.sin(x[0] * x[1]), np.exp(x[2]) * x[0]])

    def jacobian(x):
        return np.array([[x[1], x[0], 0], [np.exp(x[2]), 0, np.exp(x[2]) * x[0]]])
    report = nn.check_jacobian(f, jacobian, np.array([0.4, 0.7, -0.2]))
    assert "sin" in report.cause and "f'" in report.cause


def test_code_that_cannot_be_followed_has_no_word_of_the_tape():
    """Its numbers leave NumPy; a mistake is found all the same, and no operation is blamed."""
    def loss(x):
        return sum(float(number) ** 3 for number in x.tolist())
    x = np.array([0.3, -1.2, 0.8, 0.9])
    report = nn.check_gradients(loss, x, 3 * x ** 2 + np.array([0.1, -0.4, 0.2, 0.7]))
    assert report.verdict == "wrong" and not report.cause


def test_a_wrong_tape_says_nothing():
    """What is lost on the way (here by tolist) makes the tape's own gradient wrong."""
    def loss(x):
        return (np.tanh(x) ** 2).sum() + np.sum(np.exp(x.tolist()))
    x = np.array([0.3, -1.2, 0.8])
    report = nn.check_gradients(loss, x, 2 * np.tanh(x) + np.exp(x))
    assert report.verdict == "wrong" and "tanh" not in report.cause


def test_numbers_that_no_mistake_explains_have_no_cause():
    rng = np.random.default_rng(9)
    W, x = rng.normal(size=(4, 5)), rng.normal(size=(6, 4))
    noise = rng.normal(size=(4, 5))
    report = nn.check_gradients(lambda W: (np.tanh(x @ W) ** 2).sum(), W, noise)
    assert report.verdict == "wrong" and not report.cause


def growth(mistake=""):
    """Residuals of logistic growth, K / (1 + c exp(−r t))."""
    t = np.linspace(0, 4, 7)

    def f(p):
        K, c, r = p
        return K / (1 + c * np.exp(-r * t))

    def jacobian(p):
        K, c, r = p
        e = np.exp(-r * t)
        square = (1 + c * e) ** (1 if mistake == "not squared" else 2)
        times = 1 if mistake == "inner" else t
        return np.stack([1 / (1 + c * e), -K * e / (1 + c * e) ** 2, K * c * times * e / square], 1)
    return nn.check_jacobian(f, jacobian, np.array([3.0, 1.4, 0.8]))


@pytest.mark.parametrize("mistake, words", [
    ("not squared", ("denominator", "not squared")), ("inner", ("factor", "`t`"))])
def test_a_column_of_a_jacobian(mistake, words):
    """Only one column is wrong, though the operation is on the way to all."""
    assert growth()
    cause = growth(mistake).cause
    for word in words:
        assert word in cause


def masked(mistake=""):
    """A fixed mask, a leaky slope, and sums that are divided by what was kept."""
    rng = np.random.default_rng(10)
    X, kept = rng.normal(size=(6, 4)), (rng.uniform(size=(6, 3)) < 0.7) * 1.0
    rows = kept.sum(axis=1) + 1

    def loss(W):
        z = X @ W
        h = np.where(z > 0, z, 0.1 * z) * kept
        return ((h ** 2).sum(axis=1) / rows).sum()

    def gradient(W):
        z = X @ W
        h = np.where(z > 0, z, 0.1 * z) * kept
        dh = 2 * h / (1 if mistake == "not divided" else rows[:, None])
        dh = dh * kept
        return X.T @ (dh * (1 if mistake == "slope" else np.where(z > 0, 1, 0.1)))
    return nn.check_gradients(loss, rng.normal(size=(4, 3)), gradient)


@pytest.mark.parametrize("mistake, words", [
    ("slope", ("f'",)), ("not divided", ("not divided by `rows`",))])
def test_masks_and_divisors(mistake, words):
    assert masked()
    cause = masked(mistake).cause
    for word in words:
        assert word in cause


def test_a_mask_that_is_forgotten():
    rng = np.random.default_rng(11)
    kept = (rng.uniform(size=(5, 4)) < 0.6) * 1.0

    def forward(x, scale):
        return x * kept * scale

    def backward(dout, x, scale):
        return dout * scale, (dout * x * kept).sum(axis=0)
    report = nn.check_backward(forward, backward, [rng.normal(size=(5, 4)), rng.normal(size=4)])
    assert "mask" in report.cause and "kept" in report.cause


def test_the_upstream_gradient_is_ignored():
    def forward(x):
        return (x ** 3).sum()

    def backward(dout, x):
        return 3 * x ** 2
    report = nn.check_backward(forward, backward, [np.array([0.3, -1.2, 0.8])])
    assert "upstream gradient dout is ignored" in report.cause


def test_code_without_its_source_is_named_by_the_operation():
    """As typed at a prompt: there is no file to read the line from."""
    names = {"np": np}
    exec("def forward(x): return np.tanh(x[:2]) * x[2]", names)

    def backward(dout, x):
        h = np.tanh(x[:2])
        return np.concatenate([dout * x[2], [(dout * h).sum()]])
    report = nn.check_backward(names["forward"], backward, [np.array([0.3, -1.2, 0.8])])
    assert "f'" in report.cause and "tanh" in report.cause and "``" not in report.cause


def test_a_way_back_that_fails_costs_the_word_not_the_report(monkeypatch):
    def fails(*args):
        raise np.linalg.LinAlgError("singular")
    x = np.array([0.3, -1.2, 0.8])
    assert "f'" in nn.check_gradients(lambda x: np.tanh(x).sum() ** 2, x, 2 * np.ones(3) * np.tanh(
        x).sum()).cause
    monkeypatch.setattr("nn.verify.tape.reverse.SHARES", {"elementwise": fails,
                                                               "reduce": fails})
    report = nn.check_gradients(lambda x: np.tanh(x).sum() ** 2, x, np.ones(3))
    assert report.verdict == "wrong" and "f'" not in report.cause
