"""Inputs outside [0, 1]: bounds of the data, integers, rounding, binary and one-hot features,
labels; by hand on linear models, and against the same attack in other units."""
import numpy as np
import pytest
from small import Small, some_samples

from attack import craft, craft_output, replay, saliency_map, truncate
from attack.pairs import best_pair
from data import load_mnist
from nn import Flatten, LeNet, Linear, Network, Sigmoid


class Straight:
    """Logits W·x + b."""

    def __init__(self, weight, bias=0.0):
        self.weight, self.bias = np.array(weight, float), bias

    def logits(self, x):
        return x.reshape(len(x), -1) @ self.weight.T + self.bias

    def forward_derivative(self, x):
        return np.broadcast_to(self.weight, (len(x), *self.weight.shape))


class InUnits:
    """A model of data in other units: x = low + span·u."""

    def __init__(self, model, low, span):
        self.model, self.low, self.span = model, low, span

    def logits(self, x):
        return self.model.logits((x - self.low) / self.span)

    def forward_derivative(self, x):
        return self.model.forward_derivative((x - self.low) / self.span) / self.span


# bounds

@pytest.mark.parametrize("rule", ["paper", "single", "art", "cleverhans", "torchattacks",
                                  "weighted", "taylor"])
@pytest.mark.parametrize(("low", "span"), [(-0.5, 4.0), (0.0, 256.0), (-2.0, 0.5)])
def test_the_same_attack_in_other_units(low, span, rule):
    """Powers of two: no rounding differs, so every choice is the same."""
    model, (images, targets) = Small(), some_samples(6)
    images = np.round(images * 256) / 256
    plain = craft(model, images, targets, rule=rule, theta=0.25, max_distortion=40)
    other = craft(InUnits(model, low, span), low + span * images, targets, rule=rule,
                  theta=0.25 * span, max_distortion=40, bounds=(low, low + span))
    np.testing.assert_array_equal(plain.pairs, other.pairs)
    np.testing.assert_array_equal(low + span * plain.adversarial, other.adversarial)
    assert (plain.reason == other.reason).all() and plain.iterations.sum() > 6


def test_normalised_digits_of_a_network_that_takes_them():
    """MNIST's mean and deviation, as everybody's preprocessing has them."""
    mean, deviation = 0.1307, 0.3081
    lenet, normalised = LeNet.pretrained(), LeNet.pretrained()
    normalised.parameters()["conv1.weight"][:] *= deviation  # conv1((x·s + m)) = (s·w)∗x + …
    normalised.parameters()["conv1.bias"][:] += mean * lenet.parameters()["conv1.weight"].sum(
        axis=(1, 2, 3))
    images = load_mnist("test")[0][:2].astype(float)
    z = (images - mean) / deviation
    bounds = ((0 - mean) / deviation, (1 - mean) / deviation)
    plain = craft(lenet, images, [3, 4], derivative="backward")
    other = craft(normalised, z, [3, 4], derivative="backward", theta=1 / deviation, bounds=bounds)
    assert plain.success.all() and other.success.all()
    np.testing.assert_array_equal(plain.pairs, other.pairs)
    np.testing.assert_allclose(other.adversarial * deviation + mean, plain.adversarial, atol=1e-12)
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]; got values from -0.4.* pass bounds="):
        craft(normalised, z, [3, 4])


@pytest.mark.parametrize(("theta", "near", "far"), [(1, 254, 253), (-1, 2, 3)])
def test_headroom_is_a_share_of_the_range(theta, near, far):
    """torchattacks' rule leaves alone what is nearer to its bound than a hundredth of the range."""
    image = np.array([[near, far, 128.0, 128.0]])
    sign = np.sign(theta)
    model = Straight(sign * np.array([[-9, -9, -1, -1], [9, 9, 1, 1]]), np.array([1e6, 0]))
    crafted = craft(model, image, 1, theta=256 * theta, rule="torchattacks", bounds=(0, 256),
                    max_distortion=50)
    assert crafted.pairs[0].tolist() == [[1, 2]]


def test_a_truncated_run_of_other_bounds():
    images, targets = some_samples(6)
    options = {"bounds": (-1, 2), "theta": 0.7}
    large, small = (craft(Small(), images, targets, max_distortion=upsilon, **options)
                    for upsilon in (60, 20))
    success, distortion = truncate(images, large.pairs, large.iterations, large.success, 20,
                                   **options)
    np.testing.assert_array_equal(success, small.success)
    np.testing.assert_allclose(distortion, small.distortion)


def test_bounds_of_each_feature_and_of_each_channel():
    low, high = np.array([0, -1, 5.0]), np.array([1, 3, 5.5])
    model = Straight([[-1, -1, -1], [1, 1, 1]], bias=np.array([100.0, 0]))
    crafted = craft(model, np.array([[0.5, 0, 5.0]]), 1, theta=0.75, max_distortion=None,
                    bounds=(low, high), saliency="single")
    np.testing.assert_array_equal(crafted.adversarial, [high])
    assert crafted.reason[0] in ("domain_empty", "no_pair")
    images = np.zeros((1, 2, 2, 2))
    wide = craft(Straight(np.stack([-np.ones(8), np.ones(8)]), bias=np.array([1e3, 0])), images, 1,
                 bounds=(0, np.array([1, 2]).reshape(2, 1, 1)), theta=9, max_distortion=None)
    assert (wide.adversarial[0, 0] == 1).all() and (wide.adversarial[0, 1] == 2).all()


def test_integers_stay_integers():
    images = np.array([[0, 250, 100, 7]], np.uint8)
    model = Straight([[-1, -1, -1, -1], [1, 1, 1, 1]], bias=np.array([9000.0, 0]))
    crafted = craft(model, images, 1, theta=10, max_distortion=None, bounds=(0, 255),
                    saliency="single")
    assert crafted.adversarial.dtype == np.uint8 and crafted.adversarial.tolist() == [[255] * 4]
    assert replay(images, crafted.pairs, 10, bounds=(0, 255)).dtype == np.uint8
    np.testing.assert_array_equal(replay(images, crafted.pairs, 10, bounds=(0, 255)), [[255] * 4])
    half = craft(model, images % 2, 1, theta=0.5, max_distortion=50)
    assert half.adversarial.dtype == np.float32


def test_integers_of_zero_and_one_are_floats_in_between():
    """θ = 0.5 was once rounded to 0 by `replay` and `craft_output`."""
    images, pairs = np.zeros((1, 4), int), np.array([[[0, 2]]])
    assert replay(images, pairs, 0.5).tolist() == [[0.5, 0, 0.5, 0]]
    network = Network([Flatten(), Linear(4, 2), Sigmoid()], (4,))
    reached = craft_output(network, images, np.array([[0.9, 0.1]]), 1e-3, theta=0.5)
    assert reached.adversarial.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_rounding_took_past_a_bound_is_clipped_and_said(dtype):
    images = np.array([[0.5, 1.0000001, -1e-8, 0.25]], dtype)
    with pytest.warns(UserWarning, match="2 values lie past their bounds by 1e-07 at most"):
        crafted = craft(Straight([[1, 1, 1, 1], [0, 0, 0, 0]]), images, 0, max_distortion=50)
    assert crafted.adversarial.tolist() == [[0.5, 1, 0, 0.25]]
    with pytest.raises(ValueError, match="to 1.00001"):
        craft(Straight([[1], [0]]), np.array([[1.00001]], dtype), 0)


@pytest.mark.parametrize(("bounds", "words"), [
    (1, "pair"), ((0, 1, 2), "pair"), ((1, 0), "low < high"), ((0, 0), "low < high"),
    ((0, np.inf), "finite"), ((np.nan, 1), "finite"), (("0", "1"), "finite"),
    ((0, np.ones(3)), "shape"), ((0, 0.25), r"\[0, 0.25\]"),
    ((np.zeros(4), np.full(4, 0.25)), "lie in bounds; got values from 0.5")])
def test_other_bounds_are_refused(bounds, words):
    with pytest.raises(ValueError, match=words) as error:
        craft(Small(), np.full((1, 4), 0.5), 1, bounds=bounds)
    assert "\n" not in str(error.value)


# every public function asks the same

NETWORK = Network([Flatten(), Linear(4, 2, rng=np.random.default_rng(0)), Sigmoid()], (4,))
FINE = np.full((1, 4), 0.5)
PAIRS = np.array([[[0, 1]]])


@pytest.mark.parametrize("function", [
    lambda images=FINE, theta=1.0, upsilon=60.0: craft(NETWORK, images, 1, theta=theta,
                                                       max_distortion=upsilon),
    lambda images=FINE, theta=1.0, upsilon=60.0: craft_output(
        NETWORK, images, np.array([[0.9, 0.1]]), 0.1, theta=theta, max_distortion=upsilon),
    lambda images=FINE, theta=1.0, upsilon=None: replay(images, PAIRS, theta)])
@pytest.mark.parametrize(("argument", "values"), [
    ("images", [np.full((1, 4), 9.0), np.full((1, 4), np.nan), np.array([["a"] * 4]), np.ones(4),
                np.full((1, 4), 1j)]),
    ("theta", [0, np.nan, np.inf, "1", None]), ("upsilon", [-5, 0, 101, np.nan, "1"])])
def test_all_functions_refuse_the_same(function, argument, values):
    if argument == "upsilon" and function().__class__ is np.ndarray:
        return  # replay has no Υ
    for value in values:
        with pytest.raises((TypeError, ValueError)) as error:
            function(**{argument: value})
        name = {"upsilon": "max_distortion"}.get(argument, argument)
        assert str(error.value).startswith(name) and "\n" not in str(error.value)


@pytest.mark.parametrize("theta", [0, np.nan, np.inf])
def test_theta_of_the_searches(theta):
    with pytest.raises(ValueError, match="theta must be a finite number"):
        best_pair(np.ones((1, 3)), -np.ones((1, 3)), theta=theta)
    with pytest.raises(ValueError, match="theta must be a finite number"):
        saliency_map(np.ones((2, 3)), 0, theta)


# every run ends

@pytest.mark.parametrize("rule", ["paper", "single", "art", "cleverhans", "torchattacks",
                                  "weighted", "taylor"])
@pytest.mark.parametrize("theta", [1.0, -1.0, 0.3, -0.3])
def test_without_a_limit_every_rule_ends(rule, theta):
    """Where no pair qualifies torchattacks' rule changes feature 0 again and again."""
    weight = [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]
    for image in (np.zeros(4), np.ones(4), np.full(4, 0.5)):
        crafted = craft(Straight(weight, np.array([9.0, 0, 0])), image[None], 1, theta=theta,
                        max_distortion=None, rule=rule)
        assert crafted.reason[0] in ("no_pair", "domain_empty") and crafted.iterations[0] < 50


@pytest.mark.parametrize("rule", ["art", "torchattacks"])
def test_a_step_below_the_last_digit_ends_too(rule):
    """In float32, 0.5 + 1e-9 is 0.5; Υ of art counts features, not iterations."""
    options = {"theta": 1e-9, "max_distortion": 90.0, "rule": rule}
    crafted = craft(Straight([[-1, -1, -1, -1], [1, 1, 1, 1]], np.array([9.0, 0])),
                    np.full((1, 4), 0.5, np.float32), 1, **options)
    assert crafted.reason[0] in ("no_pair", "max_iterations")


@pytest.mark.slow
def test_a_digit_that_torchattacks_rule_cannot_change():
    digit = load_mnist("test")[0][1:2]  # a 2
    crafted = craft(LeNet.pretrained(), digit, 0, theta=-1, max_distortion=None,
                    rule="torchattacks", derivative="backward")
    assert crafted.reason[0] in ("no_pair", "domain_empty", "target_reached")


# binary and one-hot features

def test_flips_go_both_ways_and_once():
    model = Straight([[-1, 2, -1, 0], [1, -2, 1, 0.5]], bias=np.array([0.5, 0]))
    crafted = craft(model, np.array([[0, 1, 0, 0]], bool), 1, step="flip", max_distortion=None)
    assert crafted.success[0] and crafted.adversarial.dtype == bool
    assert crafted.adversarial[0].tolist() == [True, False, False, False]  # −α·β = 3·3
    assert crafted.pairs[0, 0].tolist() == [0, 1]
    again = replay(np.array([[0, 1, 0, 0]]), crafted.pairs, step="flip")
    np.testing.assert_array_equal(again, crafted.adversarial)


@pytest.mark.parametrize("saliency", ["pairs", "single"])
@pytest.mark.parametrize("bounds", [(0, 1), (-1, 1), (2.0, 2.5)])
def test_each_flip_is_the_best_of_all(bounds, saliency):
    """On linear models what a flip does is exactly what it foretells: tried one by one."""
    rng = np.random.default_rng(3)
    low, high = bounds
    for _ in range(20):
        features, classes = 7, 3
        model = Straight(rng.normal(size=(classes, features)), rng.normal(size=classes))
        x = rng.choice([low, high], features)
        target = (model.logits(x[None]).argmax() + 1) % classes
        crafted = craft(model, x[None], target, step="flip", saliency=saliency, bounds=bounds,
                        max_distortion=None)
        gamma = np.ones(features, bool)
        for pair in crafted.pairs[0][:crafted.iterations[0]]:
            gains = {}
            for p in np.flatnonzero(gamma):
                for q in np.flatnonzero(gamma) if saliency == "pairs" else [-1]:
                    if q < 0 or p < q:
                        changed = x.copy()
                        for i in (p, q)[:1 + (q >= 0)]:
                            changed[i] = low + high - x[i]
                        rise = (model.logits(changed[None]) - model.logits(x[None]))[0]
                        alpha, beta = rise[target], rise.sum() - rise[target]
                        if alpha > 0 > beta:
                            gains[p, q] = -alpha * beta
            assert gains[tuple(pair)] == pytest.approx(max(gains.values()))
            for i in pair[pair >= 0]:
                x[i] = low + high - x[i]
                gamma[i] = False
        np.testing.assert_array_equal(crafted.adversarial[0], x)


def test_a_group_stays_one_hot_and_counts_as_one_feature():
    """Two groups of three and a binary feature: three features; tried one by one."""
    rng = np.random.default_rng(5)
    groups = np.array([4, 4, 4, -1, 9, 9, 9])
    for _ in range(30):
        model = Straight(rng.normal(size=(3, 7)), 2 * rng.normal(size=3))
        x = np.zeros(7)
        x[[rng.integers(3), 4 + rng.integers(3)]] = 1
        x[3] = rng.integers(2)
        target = (model.logits(x[None]).argmax() + 1) % 3
        crafted = craft(model, x[None], target, step="flip", saliency="single", groups=groups,
                        max_distortion=None)
        done = crafted.adversarial[0]
        assert done[:3].sum() == 1 and done[4:].sum() == 1 and set(done) <= {0, 1}
        moved = {groups[i] for i in np.flatnonzero(done != x)}
        assert crafted.distortion[0] == pytest.approx(100 * len(moved) / 3)
        assert crafted.iterations[0] == len(moved) <= 3
        if crafted.iterations[0]:
            gains = {}
            for i in np.flatnonzero(x == 0).tolist() + [3]:
                changed = x.copy()
                changed[groups == groups[i]] = 0
                changed[i] = 1 - x[i]
                rise = (model.logits(changed[None]) - model.logits(x[None]))[0]
                alpha, beta = rise[target], rise.sum() - rise[target]
                gains[i] = -alpha * beta if alpha >= 0 >= beta else -1
            assert gains[int(crafted.pairs[0, 0, 0])] == pytest.approx(max(gains.values()))
        again = replay(x[None], crafted.pairs, step="flip")
        np.testing.assert_array_equal(again[0], done)


@pytest.mark.parametrize(("options", "words"), [
    ({"step": "jump"}, "step must be one of add, flip"),
    ({"step": "flip", "theta": -1.0}, "takes no theta"),
    ({"step": "flip", "rule": "art"}, "rules paper, single, weighted"),
    ({"step": "flip", "groups": [0, 0, 1, 1]}, "groups needs"),
    ({"groups": [0, 0, 1, 1]}, "groups needs"),
    ({"step": "flip", "saliency": "single", "groups": [0, 0, 1]}, "groups must be 4"),
    ({"step": "flip", "saliency": "single", "groups": [0, 0, 1, 1]}, "one-hot: .* group 1")])
def test_flips_that_do_not_fit_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        craft(Straight(np.eye(2, 4)), np.array([[1, 0, 0, 0]]), 1, **options)
    with pytest.raises(ValueError, match="at one of their bounds; got 0.5"):
        craft(Straight(np.eye(2, 4)), np.array([[1, 0.5, 0, 0]]), 1, step="flip")


# targets and labels

@pytest.mark.parametrize("targets", [
    [1, 2], np.array([1.0, 2.0]), np.eye(4)[[1, 2]], np.eye(4, dtype=int)[[1, 2]],
    np.eye(4, dtype=np.float32)[[1, 2]], np.eye(4, dtype=bool)[[1, 2]]])
def test_targets_of_every_form(targets):
    images = some_samples(2)[0]
    crafted = craft(Small(), images, targets, max_distortion=10)
    assert crafted.target.tolist() == [1, 2]


@pytest.mark.parametrize(("targets", "words"), [
    ([1, 4], "did you mean targets - 1"), (np.ones((2, 4)), "one-hot"), ([0.5, 1], "whole"),
    (["1", "2"], "whole"), ([-1, 2], "0 to 3; got -1$"), ([1, 5], "got 5$"), ([0, 4], "got 4$")])
def test_other_targets_are_refused(targets, words):
    with pytest.raises(ValueError, match=words):
        craft(Small(), some_samples(2)[0], targets)


def test_who_was_never_attacked_is_counted_apart():
    """Of three samples one is misread, one is in its target class, one is attacked."""
    model = Straight([[1, 0], [0, 1]])
    images = np.array([[1, 0], [0, 0.5], [0.5, 0]])
    options = {"max_distortion": None, "theta": 1.0}
    crafted = craft(model, images, [1, 1, 1], labels=[1, 1, 0], **options)
    assert crafted.reason.tolist()[:2] == ["misread", "already_target"]
    assert crafted.counted.tolist() == [False, False, True]
    assert not crafted.success[:2].any() and (crafted.iterations[:2] == 0).all()
    np.testing.assert_array_equal(crafted.adversarial[:2], images[:2])
    free = craft(model, images, [1, 1, 1], **options)
    assert free.reason[0] != "misread" and free.success[1]
    for goal in ("misclassification", "confidence"):
        of_goal = craft(model, images, goal=goal, labels=[1, 1, 0], **options)
        assert of_goal.reason[0] == "misread" and not of_goal.success[0]
    with pytest.raises(ValueError, match="labels must be classes from 0 to 1; got 2; did you mean"):
        craft(model, images, [1, 1, 1], labels=[1, 2, 1])


@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16", "float16"])
def test_tensors_of_torch_are_arrays_without_their_gradient(kind):
    torch = pytest.importorskip("torch", reason="torch (extra: models) is not installed")
    images, targets = some_samples(2)
    tensor = torch.tensor(np.round(images, 1), dtype=getattr(torch, kind), requires_grad=True)
    array = tensor.detach().to(torch.float64 if kind == "float64" else torch.float32).numpy()
    network = Network([Flatten(), Linear(36, 4)], (6, 6))
    np.testing.assert_array_equal(network.logits(tensor), network.logits(array))
    crafted = craft(network, tensor, torch.tensor(targets))
    np.testing.assert_array_equal(crafted.adversarial, craft(network, array, targets).adversarial)
