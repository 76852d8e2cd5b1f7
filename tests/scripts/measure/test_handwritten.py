"""The corpus of handwritten derivatives: right ones are right, wrong ones in the named place only.

The referee is written here and knows nothing of `nn.verify`: for an entry it takes the slopes to
both directions, at two steps. Where they go on disagreeing there is a kink, and a claim may be
anything between them; elsewhere it has to be their mean, up to the rounding of the differences.
"""
import inspect
from typing import NamedTuple

import numpy as np
import pytest

from scripts.measure.handwritten import CASES, RIGHT, WRONG

STEP = 1e-6
NAMES = [case.name for case in CASES]
AT_KINKS = {"kink", "tie"}  # said by `about`
NO_JUMP = {"Huber at its corner"}  # a kink of the derivative, not of the function
SEVERAL_KINKS = "black image without a bias"  # in one entry: 0 of each, whatever the slopes say
SHORT = {"f'", "+=", "½", "¼", "L1"}  # words of a diagnosis all the same
# Mistakes that make more gradients wrong than that of the named parameter.
SEVERAL = {"RNN over time: nothing carried back in time": {"Wx", "Wh", "b"},
           "two-layer net: W1 and W2 swapped": {"W1", "W2"}}


class Problem(NamedTuple):
    """A case in one form: named arrays, what is claimed by name, and a function of the arrays."""
    values: dict
    claims: dict
    function: object


def problem(make, seed=0):
    rng = np.random.default_rng(seed)
    made = make(rng)
    form = {"loss": of_gradients, "forward": of_backward, "f": of_jacobian}
    return next(form[key] for key in form if key in made)(made, rng)


def named(container):
    if isinstance(container, np.ndarray):
        return {"parameters": container}
    if isinstance(container, (list, tuple)):
        return {str(number): array for number, array in enumerate(container)}
    items = container if isinstance(container, dict) else vars(container)
    return {name: array for name, array in items.items() if isinstance(array, np.ndarray)}


def like(container, values):
    if isinstance(container, np.ndarray):
        return values["parameters"]
    return list(values.values()) if isinstance(container, list) else dict(values)


def of_gradients(made, rng):
    loss, parameters, gradients = made["loss"], made["parameters"], made["gradients"]
    arrays = named(parameters)
    takes_arrays = bool(inspect.signature(loss).parameters)

    def value(values):
        if takes_arrays:
            return loss(like(parameters, values))
        before = {name: array.copy() for name, array in arrays.items()}
        for name, array in arrays.items():
            array[...] = values[name]
        try:
            return loss()
        finally:
            for name, array in arrays.items():
                array[...] = before[name]

    if gradients is None:
        gradients = (loss(parameters) if takes_arrays else loss())[1]
    return Problem(copies(arrays), named(gradients), lambda values: first(value(values)))


def of_backward(made, rng):
    inputs = made["inputs"]
    floats = {name: value for name, value in inputs.items()
              if isinstance(value, np.ndarray) and value.dtype.kind == "f"}
    came_out = made["forward"](*inputs.values())
    out = np.asarray(first(came_out))
    dout = rng.uniform(0.5, 1.5, out.shape) * rng.choice([-1, 1], out.shape)
    if isinstance(came_out, tuple):
        gradients = made["backward"](dout, came_out[1])
    else:
        gradients = made["backward"](dout, *inputs.values())
    if not isinstance(gradients, dict):
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        claims = dict(zip(floats, [array for array in gradients if array is not None]))
    else:
        claims = gradients
    return Problem(copies(floats), claims, lambda values: np.sum(
        first(made["forward"](*{**inputs, **values}.values())) * dout))


def of_jacobian(made, rng):
    x = made["x"]
    claim = made["jacobian"]
    claim = np.asarray(claim(x) if callable(claim) else claim)
    return Problem({"x": x.copy()}, {"x": claim}, lambda values: np.asarray(made["f"](values["x"])))


def first(value):
    return value[0] if isinstance(value, tuple) else value


def copies(arrays):
    return {name: array.astype(np.float64) for name, array in arrays.items()}


class Slopes(NamedTuple):
    """Bounds of what may be claimed for an entry, how sure they are, and whether it is a kink."""
    low: np.ndarray
    high: np.ndarray
    allowed: np.ndarray
    kink: np.ndarray


def slopes(asked, name, index, scale):
    """What the referee says of the entry `index` of the array called `name`."""
    array = asked.values[name]
    step = STEP * max(1, np.abs(array).max())
    here = asked.function(asked.values)
    where = array[index]

    def moved(by):
        array[index] = where + by
        value = asked.function(asked.values)
        array[index] = where
        return (value - here) / by

    right, left, right_near, left_near = map(moved, (step, -step, step / 4, -step / 4))
    rounding = 2e-15 * (np.abs(here).max() + 1e-300) / step * 20
    gap = np.abs(right - left)
    kink = (gap > 1e-4 * scale + rounding) & (np.abs(right_near - left_near) > 0.6 * gap)
    mean = (right + left) / 2
    return Slopes(np.where(kink, np.minimum(right, left), mean),
                  np.where(kink, np.maximum(right, left), mean),
                  1e-5 * scale + rounding, kink)


def entries(shape, count, rng):
    """Up to `count` entries of an array."""
    size = int(np.prod(shape))
    chosen = np.arange(size) if size <= count else rng.choice(size, count, replace=False)
    return [np.unravel_index(number, shape) for number in chosen]


def accepted(asked, name, indices, tolerance=1.0):
    """Whether the referee accepts the claims for these entries, and whether one was at a kink."""
    claim = np.asarray(asked.claims[name], np.float64)
    scale = np.abs(claim).max()
    agree, kinks = True, False
    for index in indices:
        judged = slopes(asked, name, index, scale)
        said = claim[(..., *index)]
        allowed = tolerance * judged.allowed
        agree &= bool(np.all((said >= judged.low - allowed) & (said <= judged.high + allowed)))
        kinks |= bool(np.any(judged.kink))
    return agree, kinks


def looseness(asked):
    """Claims of 32 bits are held to less."""
    return 50 if any(array.dtype == np.float32 for array in asked.claims.values()) else 1


def hold_right(case, seed=0, count=12):
    asked = problem(case.make, seed)
    assert list(asked.claims) and set(asked.claims) == set(asked.values), case.name
    kinks = False
    rng = np.random.default_rng(seed + 100)
    for name, array in asked.values.items():
        assert np.isfinite(asked.claims[name]).all(), (case.name, name)
        assert np.shape(asked.claims[name])[-array.ndim or None:] == array.shape, (case.name, name)
        agree, kink = accepted(asked, name, entries(array.shape, count, rng),
                               looseness(asked))
        assert agree, (case.name, name, seed)
        kinks |= kink
    return kinks


def hold_wrong(case, seed=0, count=4):
    asked, twin = problem(case.make, seed), problem(case.twin, seed)
    np.testing.assert_array_equal(asked.function(asked.values), twin.function(twin.values))
    assert set(asked.claims) == set(asked.values) == set(twin.claims), case.name
    wrong = {name for name in asked.claims if differs(asked.claims[name], twin.claims[name])}
    assert wrong == SEVERAL.get(case.name, {case.parameter}), (case.name, seed, wrong)
    assert case.parameter in wrong
    for name in wrong:
        claim, right, array = asked.claims[name], twin.claims[name], asked.values[name]
        if np.shape(claim) != np.shape(right):
            continue  # refused by its shape
        apart = np.abs(claim - right).reshape(-1, array.size).max(axis=0)
        worst = np.argpartition(-apart, min(count, array.size - 1))[:count]
        indices = [np.unravel_index(number, array.shape) for number in worst]
        assert accepted(twin, name, indices, looseness(twin))[0], (case.name, name, seed)
        assert not accepted(asked, name, indices, looseness(asked))[0], (case.name, name, seed)


def differs(claim, right):
    """False where two claims are the same to the bit, True where they are clearly not."""
    if np.shape(claim) != np.shape(right):
        return True
    apart = np.abs(np.asarray(claim, np.float64) - right)
    if not apart.any():
        return False
    assert apart.max() >= 0.01 * np.abs(right)[apart == apart.max()].max()
    assert apart.max() >= 0.005 * np.abs(right).max()
    return True


def test_there_are_enough_of_both():
    assert len(RIGHT) >= 40 and len(WRONG) >= 50 and len(RIGHT) + len(WRONG) == len(CASES)
    assert len(set(NAMES)) == len(NAMES)
    assert {case.kind for case in CASES} == {"gradients", "backward", "jacobian"}
    for case in CASES:
        assert case.right == (not case.parameter) == (not case.cause), case.name
        assert case.about and all(case.cause) and isinstance(case.cause, tuple)


def test_the_words_of_a_cause_are_words():
    """A number or a letter alone would occur in any report."""
    for case in WRONG:
        assert all(len(word) > 2 or word in SHORT for word in case.cause), case.name


@pytest.mark.parametrize("case", [case for case in RIGHT if case.name != SEVERAL_KINKS],
                         ids=lambda case: case.name)
def test_right_code_is_right(case):
    assert hold_right(case) == (case.about in AT_KINKS and case.name not in NO_JUMP)


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_wrong_code_is_wrong_in_the_named_gradient_only(case):
    hold_wrong(case)


def test_several_kinks_in_one_entry():
    """Each ReLU at 0 counts as 0, so nothing comes back; all slopes are sums of some of W's."""
    case = next(case for case in RIGHT if case.name == SEVERAL_KINKS)
    asked = problem(case.make)
    assert set(asked.claims) == set(asked.values)
    assert not any(claim.any() for claim in asked.claims.values())
    judged = [slopes(asked, "x", index, 1) for index in entries((2, 5), 10, None)]
    assert any(one.kink and (one.low > 0.1 or one.high < -0.1) for one in judged)
    assert accepted(asked, "W1", entries((5, 4), 20, None)) == (True, False)


def test_a_generator_makes_the_same_code_again():
    for case in CASES:
        if "million" in case.name:
            continue
        one, other = problem(case.make), problem(case.make)
        for name in one.values:
            np.testing.assert_array_equal(one.values[name], other.values[name])
            np.testing.assert_array_equal(one.claims[name], other.claims[name])


def test_asking_changes_nothing():
    """No loss, forward or backward step writes into what it gets."""
    for case in RIGHT:
        asked = problem(case.make)
        made = case.make(np.random.default_rng(0))
        fresh = named(made.get("parameters", made.get("inputs", made)))
        assert all((asked.values[name] == fresh[name]).all() for name in asked.values), case.name
        before = {name: array.copy() for name, array in asked.values.items()}
        values = [asked.function(asked.values) for _ in range(2)]
        np.testing.assert_array_equal(*values)
        assert all((asked.values[name] == before[name]).all() for name in before), case.name


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
def test_other_data(seed):
    """More entries, of other numbers; where the data are not random they are the same again."""
    for case in CASES:
        if case.name == SEVERAL_KINKS:
            continue
        if case.right:
            hold_right(case, seed, 60)
        else:
            hold_wrong(case, seed, 8)


def torch_layers(torch):
    """What torch calls the layers of these names, as functions of tensors and other arguments."""
    f = torch.nn.functional

    def lstm(x, prev_h, prev_c, W, b):
        weights = torch.cat([W[:, :2], W[:, 2:4], W[:, 6:], W[:, 4:6]], 1).T  # torch: i, f, g, o
        biases = torch.cat([b[:2], b[2:4], b[6:], b[4:6]])
        return torch.stack(torch.lstm_cell(x, (prev_h, prev_c), weights[:, :3], weights[:, 3:],
                                           biases, torch.zeros_like(biases)))

    return {
        "cross-entropy of labels": lambda scores, labels: f.cross_entropy(
            scores, torch.from_numpy(labels)),
        "batch norm": lambda x, gamma, beta, eps: f.batch_norm(
            x, None, None, gamma, beta, training=True, eps=eps),
        "spatial batch norm": lambda x, gamma, beta: f.batch_norm(
            x, None, None, gamma, beta, training=True, eps=1e-3),
        "layer norm": lambda x, gain, shift, eps: f.layer_norm(x, (4,), gain, shift, eps),
        "convolution": lambda x, w, b, stride, pad: f.conv2d(x, w, b, stride, pad),
        "max-pool": f.max_pool2d,
        "max-pool of overlapping windows": f.max_pool2d,
        "average pool": lambda x: f.avg_pool2d(x, 2),
        "scaled dot-product attention": f.scaled_dot_product_attention,
        "feed-forward with GELU": lambda x, w1, w2: f.gelu(x @ w1, approximate="tanh") @ w2,
        "LSTM step": lstm,
        "embedding": lambda words, table: f.embedding(torch.from_numpy(words), table),
        "unit vectors": lambda x: f.normalize(x, dim=1),
    }


@pytest.mark.slow
def test_layers_are_what_torch_calls_by_that_name():
    """Values and gradients: a right derivative of another function would be of no use."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    rights = {case.name: case for case in RIGHT}
    for name, layer in torch_layers(torch).items():
        made = rights[name].make(np.random.default_rng(0))
        inputs = made["inputs"]
        tensors = {key: torch.tensor(value, requires_grad=True) for key, value in inputs.items()
                   if isinstance(value, np.ndarray) and value.dtype.kind == "f"}
        out = layer(*{**inputs, **tensors}.values())
        ours = first(made["forward"](*inputs.values()))
        np.testing.assert_allclose(ours, out.detach().numpy(), rtol=1e-10, atol=1e-12)
        asked = problem(rights[name].make)
        rng = np.random.default_rng(0)
        rights[name].make(rng)  # the same numbers before the cotangent as in `problem`
        shape = np.shape(ours)
        dout = rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)
        out.backward(torch.as_tensor(dout))
        for key, tensor in tensors.items():
            np.testing.assert_allclose(asked.claims[key], tensor.grad.numpy(), rtol=1e-9,
                                       atol=1e-12, err_msg=f"{name}: {key}")
