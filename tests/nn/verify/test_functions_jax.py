"""`check_jax`: rules written by hand for jax, right and wrong, at ties too. What is wrong is known
from how it was made; `jax.test_util.check_grads` is asked too, where there are no kinks."""
import builtins
from functools import partial

import numpy as np
import pytest

import nn
from nn.verify.frameworks import MissingReferee, precise

jax = pytest.importorskip("jax", reason="jax is not installed (pip install 'jsma[referees]')")
jnp = jax.numpy

RNG = np.random.default_rng(0)
X, TABLE = RNG.normal(size=(4, 3)), {"w": RNG.normal(size=(3, 3)), "b": RNG.normal(size=3)}
TIED = np.array([[0., 1, -1, 0], [2, 2, -3, 0]])


def by_vjp(f, backward):
    """`f` with a backward step (inputs, dout) → gradients."""
    rule = jax.custom_vjp(f)
    rule.defvjp(lambda *inputs: (f(*inputs), inputs), backward)
    return rule


def by_jvp(f, slope):
    """`f` of one array, unit by unit, with its slope."""
    rule = jax.custom_jvp(f)
    rule.defjvp(lambda x, t: (f(*x), slope(*x) * t[0]))
    return rule


def linear(x, table):
    """x Wᵀ + b."""
    return x @ table["w"].T + table["b"]


def linear_backward(inputs, dout):
    """The right one."""
    x, table = inputs
    return dout @ table["w"], {"w": dout.T @ x, "b": dout.sum(0)}


def wrong_table(**change):
    """A linear layer with changed gradients of its table."""
    def backward(inputs, dout):
        dx, table = linear_backward(inputs, dout)
        return dx, {**table, **{name: each(table[name]) for name, each in change.items()}}
    return by_vjp(linear, backward)


def relu(x):
    return jnp.maximum(x, 0)


RIGHT = {
    "vjp of a dict": (by_vjp(linear, linear_backward), [X, TABLE]),
    "by name": (by_vjp(linear, linear_backward), {"table": TABLE, "x": X}),
    "jvp": (by_jvp(jnp.tanh, lambda x: 1 - jnp.tanh(x) ** 2), X),
    "jit": (jax.jit(by_jvp(jnp.sin, jnp.cos)), [X]),
    "relu at 0, 0": (by_jvp(relu, lambda x: x > 0), TIED),
    "relu at 0, 1": (by_jvp(relu, lambda x: x >= 0), TIED),
    "float32": (by_jvp(jnp.tanh, lambda x: 1 - jnp.tanh(x) ** 2), X.astype(np.float32)),
    "inside": (lambda x: by_jvp(jnp.sin, jnp.cos)(x).sum(0), X),
    "two outputs": (by_vjp(lambda x, n: (x ** 2, n * x.sum()), lambda inputs, douts: (
        2 * inputs[0] * douts[0] + inputs[1] * douts[1], None)), [X, 3])}


@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_are_right(name):
    f, inputs = RIGHT[name]
    report = nn.check_jax(f, inputs)
    assert report, report
    assert ("jax's own derivative" in report.missing) == (name == "inside")
    assert max(row.largest for row in report.rows) < 1e-9
    assert jnp.ones(1).dtype == jnp.float32  # 64 bits inside only


WRONG = {  # (f, inputs, what is wrong, a word of the cause)
    "sign": (wrong_table(w=jnp.negative), [X, TABLE], "table['w']", "sign"),
    "factor": (wrong_table(b=lambda db: db / 2), [X, TABLE], "table['b']", "factor 2 is missing"),
    "averaged": (wrong_table(b=lambda db: db / 4), [X, TABLE], "table['b']", "averaged"),
    "transposed": (wrong_table(w=jnp.transpose), [X, TABLE], "table['w']", "transposed"),
    "no gradient": (wrong_table(b=jnp.zeros_like), [X, TABLE], "table['b']", "zero"),
    "transposed weight": (by_vjp(linear, lambda inputs, dout: (
        dout @ inputs[1]["w"].T, linear_backward(inputs, dout)[1])), [X, TABLE], "x", ""),
    "not summed over the batch": (by_vjp(linear, lambda inputs, dout: (
        dout @ inputs[1]["w"], {"w": dout.T @ inputs[0], "b": dout[0]})), [X, TABLE], "table['b']",
        ""),
    "None": (by_vjp(lambda x, y: x * y, lambda inputs, dout: (inputs[1] * dout, None)),
             [X, X + 1], "y", "zero"),
    "f' forgotten": (by_jvp(jnp.tanh, jnp.ones_like), X, "x", "missing"),
    "f' of y": (by_jvp(jnp.tanh, lambda x: 1 - jnp.tanh(jnp.tanh(x)) ** 2), X, "x", "of y"),
    "mask forgotten, at ties": (by_jvp(relu, jnp.ones_like), TIED, "x", ""),
    "jit": (jax.jit(by_jvp(jnp.sin, lambda x: -jnp.cos(x))), [X], "x", "sign"),
    "inside": (lambda x: by_jvp(jnp.sin, lambda x: 2 * jnp.cos(x))(x).sum(0), X, "x", "factor 2")}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_named(name):
    f, inputs, what, cause = WRONG[name]
    report = nn.check_jax(f, inputs)
    assert report.verdict == "wrong"
    assert {finding.name for finding in report.findings} == {what}, report
    assert cause in report.cause, report


@pytest.mark.parametrize("cases", [RIGHT, WRONG], ids=["right", "wrong"])
def test_check_grads_says_the_same_where_it_can(cases):
    from jax.test_util import check_grads
    for name, (f, inputs, *_) in cases.items():
        if inputs is TIED or isinstance(inputs, dict) or name in ("float32", "two outputs"):
            continue
        inputs = inputs if isinstance(inputs, list) else [inputs]
        with precise(jax):
            try:
                check_grads(f, inputs, order=1, modes=["rev"], eps=1e-6)
                says = True
            except AssertionError:
                says = False
        assert says == (cases is RIGHT), name


def test_arguments_that_are_no_arrays_of_numbers_stay_as_they_are():
    """A function as a nondiff_argnums argument, a random key, integers."""
    applied = partial(jax.custom_vjp, nondiff_argnums=(0,))(lambda f, x: f(x))
    applied.defvjp(lambda f, x: (f(x), x), lambda f, x, dout: (dout * jnp.cos(x),))
    assert nn.check_jax(applied, [jnp.sin, X])
    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        report = nn.check_jax(lambda x, key: x * jax.random.bernoulli(key, 0.5, x.shape), [X, key])
        assert report and len(report.rows) == 1, report
    rows = by_vjp(lambda table, index: table[index], lambda inputs, dout: (
        jnp.zeros_like(inputs[0]).at[inputs[1]].set(dout), None))
    report = nn.check_jax(rows, [X, np.array([0, 2, 2])])
    assert report.finding.name == "table" and "index" in report.cause, report


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow)
                                       for seed in range(1, 3))])
def test_what_insists_on_float32_is_checked_in_float32(seed):
    def single(x):
        return jnp.tanh(x.astype(jnp.float32))
    x = np.random.default_rng(seed).normal(size=(2, 4)).astype(np.float32)
    right = by_vjp(single, lambda inputs, dout: (
        (dout * (1 - single(*inputs) ** 2)).astype(jnp.float32),))
    report = nn.check_jax(right, x)
    assert report and "float32" in report.notes[0], report
    wrong = by_vjp(single, lambda inputs, dout: (
        (dout * (1.1 - single(*inputs) ** 2)).astype(jnp.float32),))
    assert nn.check_jax(wrong, x).verdict == "wrong"


def test_random_values_are_not_judged():
    rng = np.random.default_rng(0)
    report = nn.check_jax(lambda x: x * rng.integers(2, 1000), X)
    assert report.verdict == "not judged" and "different values" in report.unjudged


@pytest.mark.parametrize(("f", "inputs", "error"), [
    (3, X, TypeError), (jnp.sin, [np.arange(3)], ValueError), (jnp.sign, [], ValueError),
    (lambda x: (x > 0).astype(int), X, ValueError)])
def test_what_cannot_be_checked_raises(f, inputs, error):
    with pytest.raises(error):
        nn.check_jax(f, inputs)


def test_without_jax_one_line_says_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "jax":
            raise ImportError("No module named 'jax'")
        return real(name, *args, **kwargs)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingReferee, match=r"jax cannot be imported.*jsma\[referees\]"):
        nn.check_jax(RIGHT["jvp"][0], X)
