"""`check_gradients`: losses as people write them, in every form of parameters, with the mistakes of
hand-written gradients."""
import numpy as np
import pytest

from nn import check_gradients

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 3))
PENALTY = 0.1


def start():
    rng = np.random.default_rng(1)
    return {"W": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}


def loss_of(W, b):
    """Mean over the batch of ½ Σ (tanh(xW + b) − t)², and a penalty."""
    y = np.tanh(X @ W + b)
    loss = 0.5 * ((y - T) ** 2).sum() / len(X) + PENALTY * (W ** 2).sum()
    dz = (y - T) * (1 - y * y) / len(X)
    return loss, {"W": X.T @ dz + 2 * PENALTY * W, "b": dz.sum(axis=0)}


class Model:
    """Parameters as attributes, and one that is none."""

    def __init__(self):
        self.W, self.b = start().values()
        self.history = np.zeros(3)

    def loss(self):
        return loss_of(self.W, self.b)


class Gradients:
    pass


def test_a_dict_by_argument():
    parameters = start()
    assert check_gradients(lambda p: loss_of(**p), parameters)
    assert check_gradients(lambda p: loss_of(**p)[0], parameters, loss_of(**parameters)[1])
    assert check_gradients(lambda p: loss_of(**p)[0], parameters, lambda p: loss_of(**p)[1])


@pytest.mark.parametrize("prefix", ["d", "d_", "grad_"])
def test_names_of_gradients(prefix):
    parameters = start()
    gradients = {prefix + name: array for name, array in loss_of(**parameters)[1].items()}
    assert check_gradients(lambda p: loss_of(**p)[0], parameters, gradients)


def test_a_dict_that_is_read_in_place_is_as_before():
    parameters = start()
    before = {name: array.copy() for name, array in parameters.items()}
    arrays = dict(parameters)
    assert check_gradients(lambda: loss_of(**parameters), parameters)
    assert all(parameters[name] is arrays[name] for name in arrays)
    assert all((parameters[name] == before[name]).all() for name in arrays)


def test_views_that_are_read_elsewhere_are_moved_where_they_are():
    whole = np.random.default_rng(1).normal(size=15)
    views = {"W": whole[:12].reshape(4, 3), "b": whole[12:]}
    gradients = loss_of(**views)[1]

    def loss():
        return loss_of(whole[:12].reshape(4, 3), whole[12:])[0]

    before = whole.copy()
    assert check_gradients(loss, views, gradients)
    assert check_gradients(loss, views, {**gradients, "b": 2 * gradients["b"]}).finding.name == "b"
    assert (whole == before).all()


def test_attributes_of_an_object():
    model = Model()
    gradients = Gradients()
    gradients.dW, gradients.db = model.loss()[1].values()
    assert check_gradients(model.loss, model)
    assert check_gradients(model.loss, model, gradients)
    assert check_gradients(lambda other: other.loss(), model)
    gradients.dW = gradients.dW.copy()
    gradients.dW[2, 1] *= 1.01
    assert check_gradients(model.loss, model, gradients).finding.entry == "W[2, 1]"
    assert (model.W == start()["W"]).all()


def test_lists_tuples_and_one_array():
    W, b = start().values()
    gradients = list(loss_of(W, b)[1].values())
    assert check_gradients(lambda p: loss_of(*p)[0], [W, b], gradients)
    assert check_gradients(lambda p: loss_of(*p)[0], (W, b), tuple(gradients))
    assert check_gradients(lambda W: loss_of(W, b)[0], W, gradients[0])
    report = check_gradients(lambda p: loss_of(*p)[0], [W, b], [gradients[0], -gradients[1]])
    assert report.finding.name == "[1]" and report.cause == "the sign is wrong"


def mistaken(name, change):
    parameters = start()
    gradients = loss_of(**parameters)[1]
    gradients[name] = change(gradients[name], parameters[name], gradients)
    return check_gradients(lambda p: loss_of(**p)[0], parameters, gradients)


@pytest.mark.parametrize(("name", "change", "words"), [
    ("W", lambda g, w, _: -g, "the sign is wrong"),
    ("W", lambda g, w, _: 6 * g, "not divided by 6"),
    ("b", lambda g, w, _: g / 6, "divided by 6 once too often"),
    ("b", lambda g, w, _: 2 * g, "a factor 2 too much"),
    ("b", lambda g, w, _: g / 2, "a factor 2 is missing"),
    ("b", lambda g, w, _: 0 * g, "zero everywhere"),
    ("W", lambda g, w, _: g - 2 * PENALTY * w, "0.2 · W is missing: the regulariser"),
    ("W", lambda g, w, _: g - PENALTY * w, "0.1 · W is missing: the regulariser"),
    ("W", lambda g, w, _: g + PENALTY * w, "0.1 · W is too much: the regulariser"),
    ("W", lambda g, w, _: 6 * (g - 2 * PENALTY * w) + 2 * PENALTY * w,
     "not divided by 6 (averaged over a batch of 6?), but for the regulariser"),
    ("W", lambda g, w, _: g * [1, 1, -1], "only column 2 is wrong: the sign is wrong"),
    ("W", lambda g, w, _: g * np.eye(4)[:, :1], "only the first along axis 0 is right"),
    ("W", lambda g, w, _: g * np.nan, "12 claimed entries are NaN or infinite"),
    ("W", lambda g, w, _: g + 1, "off by the same number everywhere (1)"),
    ("W", lambda g, w, _: g[::-1], "the order along axis 0 is reversed"),
    ("W", lambda g, w, _: g.T, "its shape is (3, 4), not (4, 3): transposed"),
    ("b", lambda g, w, _: np.tile(g / 6, (6, 1)), "its shape is (6, 3), not (3,): what was "
     "broadcast must be summed back"),
    ("b", lambda g, w, _: g.sum(), "its shape is (), not (3,): summed over an axis too many"),
    ("b", lambda g, w, _: g.astype(object), "it holds object, not real numbers"),
])
def test_the_parameter_and_the_cause_are_named(name, change, words):
    report = mistaken(name, change)
    assert report.verdict == "wrong" and len(report.findings) == 1
    assert report.finding.name == name and report.cause.startswith(words) or words in report.cause
    assert str(report).startswith(f"wrong: {name}: ") and len(str(report).splitlines()) <= 20


def test_two_that_are_exchanged():
    rng = np.random.default_rng(3)
    A, B = rng.normal(size=(2, 3, 3))
    report = check_gradients(lambda p: float((np.sin(p["A"]) * np.cos(p["B"])).sum()),
                             {"A": A, "B": B}, {"A": -np.sin(A) * np.sin(B),
                                                "B": np.cos(A) * np.cos(B)})
    assert [each.name for each in report.findings] == ["A", "B"]
    assert report.cause.startswith("exchanged with the gradient of B")


def test_a_square_one_transposed():
    weight = np.random.default_rng(3).normal(size=(4, 4))
    gradient = np.cos(weight) * np.arange(16).reshape(4, 4)
    assert check_gradients(lambda w: float((np.sin(w) * np.arange(16).reshape(4, 4)).sum()),
                           weight, gradient.T).cause == "transposed"


def test_a_gradient_that_is_not_claimed_is_a_mistake():
    report = check_gradients(lambda p: loss_of(**p)[0], start(), {"W": loss_of(**start())[1]["W"]})
    assert report.finding.name == "b" and report.cause.startswith("no gradient is claimed")


@pytest.mark.parametrize("units", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_numbers_are_checked_along_directions(units):
    rng = np.random.default_rng(5)
    W, v = rng.normal(size=(units, units)) / units ** 0.5, rng.normal(size=units)

    def loss(W):
        y = np.tanh(W @ v)
        return 0.5 * (y @ y), np.outer(y * (1 - y * y), v)

    assert check_gradients(loss, W)
    gradient = loss(W)[1]
    gradient[123, 45] *= 1.01
    report = check_gradients(lambda W: loss(W)[0], W, gradient)
    assert report.finding.entry == "x[123, 45]" and report.cause == "one entry alone is wrong"
    gradient = loss(W)[1]
    gradient[:, 45] = gradient[:, 46]
    report = check_gradients(lambda W: loss(W)[0], W, gradient)
    assert "only column 45 is wrong" in report.cause


def test_float32_gets_tolerances_that_fit():
    parameters = {name: array.astype(np.float32) for name, array in start().items()}
    claims = {name: array.astype(np.float32) for name, array in loss_of(**parameters)[1].items()}
    report = check_gradients(lambda p: loss_of(**p)[0], parameters, claims)
    assert report and "float32" in str(report)
    claims["W"] *= np.float32(1.01)
    assert check_gradients(lambda p: loss_of(**p)[0], parameters, claims).verdict == "wrong"


def test_dropout_is_told_so():
    rng = np.random.default_rng(0)

    def loss(w):
        return float((w * (rng.random(w.shape) < 0.5)).sum())

    report = check_gradients(loss, np.ones(9), np.ones(9))
    assert report.verdict == "not judged" and "fix its seed" in str(report)


@pytest.mark.parametrize(("arguments", "words"), [
    ((lambda p: 1.0, {}, {}), "there are none"),
    ((lambda p: 1.0, {"a": np.ones(2, int)}, {}), "there are none"),
    ((lambda p: 1.0, "abc", None), "parameters must be"),
    ((lambda p: np.ones(3), {"a": np.ones(2)}, {"a": np.ones(2)}), "one number; got shape (3,)"),
    ((lambda p: 1.0, {"a": np.ones(2)}, None), "gradients must be claimed"),
    ((lambda p: 1.0, {"a": np.ones(2)}, {"b": np.ones(2)}), "gradients must name some of a"),
    ((lambda p: 1.0, [np.ones(2)], [np.ones(2)] * 2), "gradients must be 1"),
    ((lambda p: "much", {"a": np.ones(2)}, {"a": np.ones(2)}), "must return numbers"),
])
def test_bad_input_gets_one_line(arguments, words):
    with pytest.raises(ValueError) as error:
        check_gradients(*arguments)
    assert words in str(error.value) and "\n" not in str(error.value)
