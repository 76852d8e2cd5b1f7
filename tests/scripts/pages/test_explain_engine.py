"""The engine of the explain page in a real browser: what it computes of a network and an attack is
what `Network.trace` and `attack.craft` compute in float64, on the other chain.
"""
import json
from typing import NamedTuple

import numpy as np
import pytest
from browser import Browser, chromium

from attack import craft
from attack.saliency import score_features
from data import load_mnist
from nn import LeNet, save_weights
from scripts.__main__ import main

ACTIVATIONS = ("tanh", "relu", "sigmoid")
CLOSE = 1e-9  # relative: scores nearer than this may be ordered by rounding
FEW = 5  # near ties that rounding decided; here there are none
ENGINE = """(() => {
    const data = JSON.parse(document.querySelector("#data").textContent);
    globalThis.tested = {data, net: new Net(data), plain: (key, value) =>
        ArrayBuffer.isView(value) ? Array.from(value) : value};
})()"""


class Case(NamedTuple):
    """One attack."""
    image: np.ndarray  # (28, 28)
    target: int
    theta: float = 1.0
    upsilon: float | None = 14.5
    of: str = "logits"


def answer(browser, expression):
    """The value of an expression of JavaScript, its typed arrays as lists."""
    return json.loads(browser.evaluate(f"JSON.stringify({expression}, tested.plain)"))


def promised(browser, expression):
    """The same, of a promise."""
    return json.loads(browser.evaluate(
        f"({expression}).then(value => JSON.stringify(value, tested.plain))"))


def as_js(image):
    return json.dumps(np.ravel(image).tolist())


def options(case):
    return json.dumps({"target": case.target, "theta": case.theta, "upsilon": case.upsilon,
                       "of": case.of})


@pytest.fixture(scope="module")
def networks():
    """{name: a network with the weights that its page has}: the shipped one, those of the other
    activations, and one whose first kernels are flat, 4×4: where an image is black, the pixels of
    each 2×2 square tie, up to rounding."""
    made = {"tanh": LeNet.pretrained(), "relu": LeNet(1, activation="relu"),
            "sigmoid": LeNet(2, init="tutorial", activation="sigmoid"),
            "flat": LeNet.pretrained()}
    kernels = made["flat"].layers["conv1"].parameters["weight"]
    flat = np.round(kernels.mean(axis=(2, 3), keepdims=True) * 4096) / 4096
    kernels[:] = np.pad(np.broadcast_to(flat, (20, 1, 4, 4)), [(0, 0), (0, 0), (0, 1), (0, 1)])
    rng = np.random.default_rng(0)
    made["sigmoid"].layers["fc2"].parameters["weight"][:] = rng.normal(0, 0.3, (10, 500))
    for network in made.values():
        network.load({name: array.astype(np.float32)
                      for name, array in network.parameters().items()})
    return made


@pytest.fixture(scope="module")
def browser():
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def open_page(browser, networks, tmp_path_factory):
    """A function that opens the page of one of `networks` and makes its engine."""
    chromium()
    folder = tmp_path_factory.mktemp("engine")

    def show(name):
        path = folder / f"{name}.html"
        if not path.exists():
            save_weights(folder / "weights.npz", networks[name])
            words = ["--activation", name] if name in ACTIVATIONS else []
            assert main(["explain", "--weights", str(folder / "weights.npz"), *words,
                         "--out", str(path)]) == 0
        browser.open(path, 800)
        browser.evaluate(ENGINE)
        return browser
    return show


@pytest.fixture(scope="module")
def digits():
    images, labels = load_mnist("test")
    return images.astype(np.float64), labels


# Attacks


def played(browser, case):
    """All states of one attack, as the page's engine has them."""
    return answer(browser, f"""(() => {{
        const attack = new Attack(tested.net, {as_js(case.image)}, {options(case)});
        while (attack.advance());
        return attack.states;
    }})()""")


def assert_close(shown, true, scale=None):
    np.testing.assert_allclose(shown, true, rtol=0, atol=CLOSE / 100 * (
        np.abs(true).max() if scale is None else scale) + 1e-300)


def follow(network, case, states):
    """Hold the states of an attack against `craft`; returns how many near ties there were.

    At a near tie of scores the order of a sum's terms decides. Then the page's pair must be as good
    as the best one, and `craft` goes on from the image that this pair leads to.
    """
    upsilon, first, near = case.upsilon, 0, 0
    while first is not None:
        image, gamma = (np.array(states[first][name], float) for name in ("image", "gamma"))
        crafted = craft(network, image.reshape(1, 28, 28), case.target, theta=case.theta,
                        max_distortion=upsilon, of=case.of, domain=gamma == 1, trace=True)
        first, start = leaves(crafted, case, states, first), first
        if first is not None:
            near += 1
            if upsilon is not None:  # what is left, so that rounding down changes nothing
                upsilon = (crafted.pairs.shape[1] - (first - start) + 0.5) * 200 / 784
    assert_end(network, case, states, crafted, start)
    return near


def leaves(crafted, case, states, start):
    """Hold the states from number `start` on against a trace; returns the number of the state
    behind a near tie of which the page chose the other pair, or None."""
    for number, step in enumerate(crafted.trace[0], start):
        state = states[number]
        np.testing.assert_array_equal(state["image"], step.image)
        np.testing.assert_array_equal(np.array(state["gamma"]) == 1, step.domain)
        assert state["read"] == step.logits.argmax() and state["iteration"] == number
        assert_close(state["logits"], step.logits)
        assert_close(state["alpha"], step.alpha)
        assert_close(state["beta"], step.beta, np.abs(step.alpha).max())
        assert_close(state["score"], step.score)
        pair = tuple(state["pair"] or (-1, -1))
        if pair != step.pair:
            p, q = pair
            assert p < q and step.domain[[p, q]].all()
            score = -(step.alpha[p] + step.alpha[q]) * (step.beta[p] + step.beta[q])
            assert (step.alpha[p] + step.alpha[q]) * case.theta > 0
            assert score >= step.score * (1 - CLOSE)
            return number + 1
    return None


def assert_end(network, case, states, crafted, start):
    """The last state, of which a trace knows nothing unless no pair qualified."""
    end, reason = states[-1], str(crafted.reason[0])
    if start and reason == "already_target":  # `craft` went on from an image of the page
        reason = "target_reached"
    assert end["reason"] == reason and end["pair"] is None
    assert [state["reason"] for state in states[:-1]] == [None] * (len(states) - 1)
    assert len(states) == start + int(crafted.iterations[0]) + 1
    np.testing.assert_array_equal(end["image"], crafted.adversarial.ravel())
    changed = np.flatnonzero(crafted.adversarial.ravel() != case.image.ravel())
    assert end["changed"] == changed.tolist()
    assert_close(end["logits"], network.logits(crafted.adversarial)[0])
    assert_close(end["probabilities"], network.probabilities(crafted.adversarial)[0])
    jacobian = network.forward_derivative(crafted.adversarial, of=case.of)[0]
    assert_close(end["alpha"], jacobian[case.target], np.abs(jacobian).max())
    assert_close(end["beta"], np.delete(jacobian, case.target, axis=0).sum(axis=0),
                 np.abs(jacobian).max())


def drawn(rng):
    """A stroke as a pad draws it: a round pen along a line that turns; black elsewhere."""
    rows, columns = np.indices((28, 28))
    image, place, way = np.zeros((28, 28)), rng.uniform(9, 19, 2), rng.uniform(0, 6.3)
    for _ in range(60):
        distance = np.hypot(rows - place[0], columns - place[1])
        image = np.maximum(image, np.clip(1.9 - distance, 0, 1))
        way += rng.normal(0, 0.35)
        place = np.clip(place + 0.5 * np.array([np.sin(way), np.cos(way)]), 4, 23)
    return image


def quick_cases(digits):
    """The default ones: what may end an attack, both signs of θ, both outputs."""
    images = digits[0]
    yield Case(images[0], 8)
    yield Case(drawn(np.random.default_rng(5)), 3, theta=-0.4, upsilon=2)
    yield Case(images[2], 6, theta=0.7, upsilon=1, of="probabilities")
    yield Case(images[1], 2)  # is read so from the start


def many_cases(digits):
    """Attacks on the shipped network."""
    images, labels = digits
    rng = np.random.default_rng(6)
    for n, theta in enumerate([1, 1, 1, -1, -1, 0.5, -0.5, 0.25, 2, -0.3]):
        for of in ("logits", "probabilities"):
            target = int((labels[n] + rng.integers(1, 10)) % 10)
            yield Case(images[n], target, theta, of=of)
            yield Case(drawn(rng), int(rng.integers(10)), theta, (14.5, 5, 30)[n % 3], of)
    for upsilon in (0.2, 0.3, 1, 100, None):  # 0.2 % is no pair
        yield Case(images[18], 2, upsilon=upsilon)
        yield Case(images[7], 0, -1.0, upsilon)
    for value in (0, 1, 0.5):  # all pixels alike, θ that cannot move them too
        for theta in (1, -1):
            yield Case(np.full((28, 28), float(value)), 4, theta)
    yield Case(rng.random((28, 28)), 5, 0.6, None)
    yield Case(np.round(rng.random((28, 28))), 5, -0.6, None, "probabilities")


def assert_all(network, cases, browser):
    """Returns the reasons of all attacks, and how many near ties there were."""
    reasons, near = [], 0
    for case in cases:
        states = played(browser, case)
        near += follow(network, case, states)
        reasons.append(states[-1]["reason"])
    assert browser.console == [] and browser.requests == []
    return reasons, near


def test_a_few_attacks_are_those_of_craft(open_page, networks, digits):
    reasons, near = assert_all(networks["tanh"], quick_cases(digits), open_page("tanh"))
    assert reasons == ["target_reached", "max_iterations", "max_iterations", "already_target"]
    assert near == 0


class Stubborn:
    """A model that never changes its mind; every pixel lifts class 1 and lowers class 0."""

    def logits(self, x):
        return np.tile([1.0, 0.0], (len(x), 1))

    def forward_derivative(self, x):
        return np.tile(np.array([-1.0, 0.5])[:, None], (len(x), 1, 784))


def test_an_attack_that_uses_all_of_gamma_up_says_so(open_page):
    browser = open_page("tanh")
    states = answer(browser, """(() => {
        const logits = Float64Array.of(1, 0), run = () => ({logits, probabilities: logits});
        const pull = (_, v) => new Float64Array(784).fill(0.5 * v[1] - v[0]);
        const net = {run, pull, logits: "logits", output: "softmax"};
        const attack = new Attack(net, new Float64Array(784),
                                  {target: 1, theta: 1, upsilon: null, of: "logits"});
        while (attack.advance());
        return attack.states.map(({pair, reason}) => ({pair, reason}));
    })()""")
    crafted = craft(Stubborn(), np.zeros((1, 28, 28)), 1, max_distortion=None)
    assert states[-1]["reason"] == crafted.reason[0] == "domain_empty"
    assert [state["pair"] for state in states[:-1]] == crafted.pairs[0].tolist()
    assert len(states) == 784 / 2 + 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:max_distortion")  # 0.2 %
def test_many_attacks_are_those_of_craft(open_page, networks, digits):
    cases = [*many_cases(digits)]
    reasons, near = assert_all(networks["tanh"], cases, open_page("tanh"))
    assert len(reasons) >= 50 and near <= FEW


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "sigmoid", "flat"])
def test_attacks_on_other_networks(name, open_page, networks, digits):
    rng = np.random.default_rng(8)
    cases = [Case(image, int(rng.integers(10)), theta, upsilon, of)
             for theta, upsilon in ((1, 14.5), (-1, 4), (0.5, 4))
             for of in ("logits", "probabilities")
             for image in (digits[0][rng.integers(1000)], drawn(rng))]
    if name == "flat":  # no sum of its first layer is rounded: the winners of pooling are certain
        cases = [case._replace(image=np.round(2 * case.image) / 2) for case in cases]
    reasons, near = assert_all(networks[name], cases, open_page(name))
    assert len({*reasons}) > 1 and near <= FEW


# One pair and one pixel


def rounded_sums(rng, features):
    """α and β with many ties, some with none, and Γ."""
    levels = int(rng.choice([1, 2, 3, 1000]))
    alpha, beta = rng.integers(-levels, levels + 1, (2, features)) / levels
    return alpha, beta, rng.random(features) < rng.choice([0.05, 0.7, 1])


def best_of_table(alpha, beta, gamma, theta):
    """(pair, score) of Eq. 10, from the table of all pairs; of equals the first."""
    x, y = (np.where(gamma, np.sign(theta) * sums, -np.inf) for sums in (alpha, -beta))
    sum_x, sum_y = x[:, None] + x, y[:, None] + y
    with np.errstate(invalid="ignore"):
        scores = np.where((sum_x > 0) & (sum_y > 0), sum_x * sum_y, -1)
    scores[np.tril_indices(len(x))] = -1
    place = scores.argmax()
    p, q = divmod(int(place), len(x))
    return ([p, q], scores[p, q]) if scores[p, q] >= 0 else (None, 0)


def test_the_pair_and_the_map_are_exact_with_ties(open_page):
    page = open_page("tanh")
    rng = np.random.default_rng(4)
    cases = [(*rounded_sums(rng, int(rng.choice([2, 9, 60, 200]))), theta)
             for theta in (1, -0.5) for _ in range(100)]
    asked = json.dumps([[part.astype(float).tolist() for part in parts] + [theta]
                        for *parts, theta in cases])
    shown = answer(page, f"""{asked}.map(([a, b, gamma, theta]) => {{
        const sums = {{alpha: Float64Array.from(a), beta: Float64Array.from(b)}};
        return [bestPair(sums, gamma, theta), saliency(sums, gamma, theta)];
    }})""")
    qualified = 0
    for (alpha, beta, gamma, theta), (best, scores) in zip(cases, shown):
        pair, score = best_of_table(alpha, beta, gamma, theta)
        assert (best["pair"], best["score"]) == (pair, score)
        assert {*(pair or ())} <= {*best["survivors"]} and gamma[best["survivors"]].all()
        assert best["survivors"] == sorted(best["survivors"])
        qualified += pair is not None
        map_of_one = score_features(alpha[None], beta[None], theta)[0]
        np.testing.assert_array_equal(scores, np.where(gamma, map_of_one, 0))
    assert 50 < qualified < len(cases)


# Layers


class Traced(NamedTuple):
    """Of one layer at one image, by `Network.trace`: H (units,) and ∂H/∂x (units, 784)."""
    value: np.ndarray
    derivative: np.ndarray


def traced(network, image):
    """{layer: `Traced`}, the image as layer x first."""
    layers = {"x": Traced(image.ravel(), np.eye(784))}
    for name, value, jacobian in network.trace(image[None]):
        layers[name] = Traced(value.ravel(), jacobian.dense(1).reshape(value.size, 784))
    return layers


def weights_into(network, name, values, unit):
    """W_p of Eq. 5 of all units of the layer before, with the slope f'_p in it."""
    names = ["x", *network.layers]
    before = names[names.index(name) - 1]
    shapes = {"x": (1, 28, 28), **network.shapes}
    as_input = np.moveaxis(values[before].value.reshape(1, *shapes[before]), 1, -1)
    saved = network.layers[name].forward(as_input)[1]
    one_hot = np.zeros(values[name].value.size)
    one_hot[unit] = 1
    back = network.layers[name].backward(
        np.moveaxis(one_hot.reshape(1, *shapes[name]), 1, -1), saved)
    return before, np.moveaxis(back, -1, 1).ravel()


def assert_layer(page, network, name, values, rng, count):
    """Values, windows, derivatives and entries of `count` units of one layer."""
    value, derivative = values[name]
    np.testing.assert_allclose(answer(page, f"tested.layers.{name}.value"), value, rtol=1e-11,
                               atol=1e-14)
    for unit in rng.choice(len(value), count, replace=False).tolist():
        seen = answer(page, f"tested.layers.{name}.derivative({unit})")
        row = np.zeros((28, 28))
        window = [slice(seen[side], seen[side] + seen["size"]) for side in ("top", "left")]
        row[window[0], window[1]] = np.reshape(seen["values"], (seen["size"], seen["size"]))
        scale = np.abs(derivative[unit]).max()
        assert_close(row.ravel(), derivative[unit], scale)
        inside = np.flatnonzero(derivative[unit])
        for pixel in (*rng.choice(inside, min(2, len(inside))).tolist(), int(rng.integers(784))):
            entry, one = answer(page, f"[tested.layers.{name}.entry({unit}, {pixel}), "
                                      f"tested.layers.{name}.at({unit}, {pixel})]")
            before, weights = weights_into(network, name, values, unit)
            terms = entry["terms"]
            units = [term["unit"] for term in terms]
            assert len({*units}) == len(units) and not np.delete(weights, units).any()
            own = np.array([[term["weight"] * entry["slope"], term["derivative"], term["product"]]
                            for term in terms])
            inner = values[before].derivative[units, pixel]
            assert_close(own[:, 0], weights[units], np.abs(weights).max())
            assert_close(own[:, 1], inner, max(np.abs(inner).max(), np.abs(one)))
            np.testing.assert_array_equal(
                own[:, 2], [term["weight"] * term["derivative"] for term in terms])
            assert entry["sum"] == pytest.approx(own[:, 2].sum(), rel=1e-9, abs=1e-15)
            assert_close(entry["result"], derivative[unit, pixel], scale)
            assert_close(one, derivative[unit, pixel], scale)


@pytest.mark.parametrize(("activation", "count"), [
    ("tanh", 2), *(pytest.param(one, 10, marks=pytest.mark.slow) for one in ACTIVATIONS)])
def test_layers_are_those_of_trace(activation, count, open_page, networks, digits):
    page, network = open_page(activation), networks[activation]
    rng = np.random.default_rng(count)
    image = digits[0][int(rng.integers(1000))]
    page.evaluate(f"tested.layers = tested.net.layers(tested.net.run({as_js(image)})), 0")
    values = traced(network, image)
    assert answer(page, "Object.keys(tested.layers)") == [*network.layers]
    for name in network.layers:
        assert_layer(page, network, name, values, rng, count)


@pytest.mark.parametrize("pixel", [
    14 * 28 + 14, pytest.param(8 * 28 + 20, marks=pytest.mark.slow)])
def test_the_strongest_path_takes_the_largest_term(pixel, open_page, networks, digits):
    page, network, image = open_page("tanh"), networks["tanh"], digits[0][0]
    values = traced(network, image)
    path = answer(page, f"strongestPath(tested.net.layers(tested.net.run({as_js(image)})), 2, "
                        f"{pixel})")
    assert [*path] == [*network.layers][::-1] and path["softmax"] == 2
    for name, unit in path.items():
        before, weights = weights_into(network, name, values, unit)
        terms = np.abs(weights * values[before].derivative[:, pixel])
        assert before == "x" or terms[path[before]] >= terms.max() * (1 - CLOSE) > 0


# The worker


NO_WORKER = {
    "refused": "globalThis.Worker = class { constructor() { throw new Error('no'); } }",
    "fails": """globalThis.Worker = class {
        postMessage() { setTimeout(() => this.onerror(new Event('error'))); } }""",
}


@pytest.mark.parametrize("how", ["worker", *(pytest.param(how, marks=pytest.mark.slow)
                                             for how in NO_WORKER)])
def test_the_worker_answers_as_the_page_does(how, open_page, digits):
    page, image = open_page("tanh"), digits[0][0]
    case = Case(image, 8)
    page.evaluate(f"{NO_WORKER.get(how, '0')}; tested.engine = new Engine(tested.data), 0")
    states = promised(page, f"""new Promise(done => {{
        const states = [];
        tested.engine.attack({as_js(image)}, {options(case)}, state => {{
            states.push({{...state, again: state.run.logits}});
            if (state.reason) done(states);
        }});
    }})""")
    assert page.evaluate("tested.engine.worker !== null") == (how == "worker")
    assert [state.pop("again") for state in states] == [state["logits"] for state in states]
    assert states == played(page, case)
    read = promised(page, f"tested.engine.read({as_js(image)})")
    assert read == {name: states[0][name] for name in ("logits", "probabilities")}
    assert page.console == [] and page.requests == []


def test_what_is_cancelled_falls_silent_and_the_newest_image_is_read(open_page, digits):
    page, images = open_page("tanh"), digits[0]
    page.evaluate("tested.engine = new Engine(tested.data), 0")
    heard = promised(page, f"""new Promise(done => {{
        const heard = [], {{engine}} = tested;
        const first = engine.attack({as_js(images[0])}, {options(Case(images[0], 8))}, state => {{
            heard.push(state.iteration);
            if (state.iteration === 1) {{
                first.cancel();
                setTimeout(() => done(heard), 300);
            }}
        }});
    }})""")
    assert heard == [0, 1]
    page.evaluate("tested.pad = new Float64Array(784), 0")  # on which drawing goes on
    reads = promised(page, f"""Promise.all({json.dumps([image.tolist() for image in images[:5]])}
        .map(image => {{ tested.pad.set(image.flat()); return tested.engine.read(tested.pad); }}))
    """)
    newest = answer(page, f"tested.net.run({as_js(images[4])}).logits")
    assert [read["logits"] for read in reads] == [newest] * 5
    assert page.console == []
