"""`check_backward`: steps written by hand, `forward` and `backward`, in the forms of a course."""
import numpy as np
import pytest

from nn import check_backward

RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=(5, 4)), RNG.normal(size=(4, 4)), RNG.normal(size=4)
INPUTS = {"x": X, "w": W, "b": B}


def affine(x, w, b):
    return x @ w + b, (x, w, b)


def affine_back(dout, cache):
    x, w, b = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


@pytest.mark.parametrize("inputs", [INPUTS, [X, W, B], (X, W, B)])
def test_a_right_pair(inputs):
    report = check_backward(affine, affine_back, inputs)
    assert report and [row.name for row in report.rows] == ["x", "w", "b"]


def test_forms_of_what_is_returned():
    assert check_backward(affine, lambda dout, cache: dict(zip("xwb", affine_back(dout, cache))),
                          INPUTS)
    assert check_backward(affine, lambda dout, cache: {
        f"d{name}": each for name, each in zip("xwb", affine_back(dout, cache))}, INPUTS)
    assert check_backward(lambda x: np.sin(x), lambda dout, x: dout * np.cos(x), X)
    assert check_backward(lambda x: (np.sin(x), x), lambda dout, x: dout * np.cos(x), {"x": X})


def test_several_outputs_and_other_arguments():
    def step(x, c, scale=2.0):
        return np.tanh(x + c), scale * c * x, (x, c, scale)

    def back(dh, dc, cache):
        x, c, scale = cache
        dz = dh * (1 - np.tanh(x + c) ** 2)
        return dz + scale * c * dc, dz + scale * x * dc

    inputs = {"x": X, "c": W[:1] + X, "scale": 3.0}
    assert check_backward(step, back, inputs)
    assert check_backward(step, lambda dh, dc, cache: back(dh, 0 * dc, cache), inputs).findings


def test_an_index_has_no_gradient():
    table, index = RNG.normal(size=(6, 3)), np.array([1, 4, 4, 0])

    def back(dout, cache):
        right = np.zeros_like(table)
        np.add.at(right, cache, dout)
        return right

    def assigned(dout, cache):
        wrong = np.zeros_like(table)
        wrong[cache] = dout
        return None, wrong

    def look_up(index, table):
        return table[index], index

    assert check_backward(look_up, back, {"index": index, "table": table})
    report = check_backward(look_up, assigned, {"index": index, "table": table})
    assert report.finding.name == "table" and "`=` where `+=` is needed" in report.cause


@pytest.mark.parametrize(("wrong", "name", "words"), [
    (lambda d, x, w, b: (d @ w, x.T @ d, d.sum(axis=0)), "x", ""),
    (lambda d, x, w, b: (d @ w.T, d.T @ x, d.sum(axis=0)), "w", "transposed"),
    (lambda d, x, w, b: (d @ w.T, x.T @ d, d[0]), "b", "first sample only"),
    (lambda d, x, w, b: (d @ w.T, x.T @ d, d[-1]), "b", "last sample only"),
    (lambda d, x, w, b: (d @ w.T, x.T @ d, d), "b", "summed back"),
    (lambda d, x, w, b: (d @ w.T, x.T @ d, d.mean(axis=0)), "b", "divided by 5 once too often"),
    (lambda d, x, w, b: (d @ w.T, x.T @ d / 5, d.sum(axis=0)), "w", "divided by 5 once too often"),
    (lambda d, x, w, b: (-d @ w.T, x.T @ d, d.sum(axis=0)), "x", "the sign is wrong"),
    (lambda d, x, w, b: (d @ w.T * [[1], [0], [0], [0], [0]], x.T @ d, d.sum(axis=0)), "x",
     "only the first along axis 0 is right"),
])
def test_the_input_and_the_cause_are_named(wrong, name, words):
    report = check_backward(affine, lambda dout, cache: wrong(dout, *cache), INPUTS)
    assert [each.name for each in report.findings] == [name]
    assert words in report.cause


def test_what_flows_past_a_layer():
    def forward(x, w):
        return np.tanh(x @ w) + x, (x, w)

    def back(dout, cache, past=1):
        x, w = cache
        dz = dout * (1 - np.tanh(x @ w) ** 2)
        return dz @ w.T + past * dout, x.T @ dz

    assert check_backward(forward, back, {"x": X, "w": W})
    report = check_backward(forward, lambda dout, cache: back(dout, cache, 0), {"x": X, "w": W})
    assert report.cause == ("dout is missing in it: a path that was not added (`=` where `+=` is "
                            "needed)")


@pytest.mark.parametrize(("forward", "slope", "words"), [
    (np.tanh, lambda z, y: np.ones_like(z), "1: f' is missing"),
    (np.tanh, lambda z, y: 1 - y, "1 − y, not 1 − y²"),
    (np.tanh, lambda z, y: 1 - z ** 2, "1 − z² (z in place of y)"),
    (np.tanh, lambda z, y: y * (1 - y), "sigmoid' = y (1 − y)"),
    (np.tanh, lambda z, y: 1 - np.tanh(y) ** 2, "tanh' of y: y in place of z"),
    (lambda z: 1 / (1 + np.exp(-z)), lambda z, y: 1 - y ** 2, "tanh' = 1 − y²"),
    (lambda z: 1 / (1 + np.exp(-z)), lambda z, y: z * (1 - z), "z (1 − z) (z in place of y)"),
    (lambda z: np.maximum(z, 0), lambda z, y: y, "y, the value itself"),
])
def test_which_slope_a_unit_has_in_its_place(forward, slope, words):
    def back(dout, cache):
        z, y = cache
        return dout * slope(z, y)

    report = check_backward(lambda z: (forward(z), (z, forward(z))), back, {"z": X})
    assert report.verdict == "wrong" and f"the slope is {words}" in report.cause
    assert "and should be" in report.cause


@pytest.mark.parametrize("tied", [np.zeros((3, 4)), np.full((3, 4), 2.0)])
def test_ties_are_not_mistakes(tied):
    def relu_and_pool(x):
        h = np.maximum(x, 0)
        return h.reshape(3, 2, 2).max(axis=2), (x, h)

    def back(dout, cache):
        x, h = cache
        windows = h.reshape(3, 2, 2)
        first = windows.argmax(axis=2)[..., None] == np.arange(2)
        return (dout[..., None] * first).reshape(3, 4) * (x > 0)

    report = check_backward(relu_and_pool, back, {"x": tied})
    assert report.verdict != "wrong"


def test_arguments_stay_as_they_are():
    inputs = {name: array.copy() for name, array in INPUTS.items()}

    def careless(dout, cache):
        grads = affine_back(dout, cache)
        for array in cache:
            array *= 0
        return grads

    assert check_backward(affine, careless, inputs)
    assert all((inputs[name] == INPUTS[name]).all() for name in inputs)


@pytest.mark.parametrize(("arguments", "words"), [
    ((affine, affine_back, {"x": np.ones((2, 2), int)}), "floating-point numbers; there are none"),
    ((affine, lambda dout, cache: (1, 2), INPUTS), "must give 3 gradients, of x, w, b; got 2"),
])
def test_bad_input_gets_one_line(arguments, words):
    with pytest.raises(ValueError) as error:
        check_backward(*arguments)
    assert words in str(error.value)
