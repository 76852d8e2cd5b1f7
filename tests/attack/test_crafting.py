"""Algorithms 1 and 2: against their plain versions (attack.textbook), and what must hold for every
sample."""
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from small import Small, functions_of, some_samples

from attack import REASONS, craft, saliency_map
from attack.textbook import algorithm_1, algorithm_2
from data import load_mnist
from nn import LeNet


@pytest.fixture(scope="module")
def network():
    return LeNet.pretrained()


@pytest.fixture(scope="module")
def digits():
    images, labels = load_mnist("test")
    return images[:14], labels[:14]


@pytest.mark.parametrize("theta", [1.0, 0.3, -1.0, -0.25])
def test_does_what_algorithm_2_says(theta):
    network, (images, targets) = Small(), some_samples(12)
    crafted = craft(network, images, targets, theta=theta, max_distortion=40)
    assert crafted.iterations.max() > 2
    for n, (image, target) in enumerate(zip(images, targets)):
        expected, pairs = algorithm_2(*functions_of(network), image.reshape(-1), target, theta, 40)
        assert [tuple(pair) for pair in crafted.pairs[n][:crafted.iterations[n]]] == pairs
        np.testing.assert_array_equal(crafted.adversarial[n].reshape(-1), expected)


@pytest.mark.parametrize("theta", [1.0, 0.3, -1.0, -0.25])
def test_does_what_algorithm_1_says(theta):
    network, (images, targets) = Small(), some_samples(12)
    crafted = craft(network, images, targets, theta=theta, max_distortion=40, rule="single")
    assert crafted.iterations.max() > 2
    for n, (image, target) in enumerate(zip(images, targets)):
        expected, features = algorithm_1(*functions_of(network), image.reshape(-1), target, theta,
                                         40)
        assert crafted.pairs[n][:crafted.iterations[n], 0].tolist() == features
        np.testing.assert_array_equal(crafted.adversarial[n].reshape(-1), expected)


@pytest.mark.parametrize("dtype", [pytest.param(np.float64, marks=pytest.mark.slow), np.float32])
def test_does_what_algorithm_2_says_on_real_digits(dtype, network, digits):
    """The shipped LeNet and its 784×784 pairs."""
    images, targets = digits[0][:2].astype(dtype), (digits[1][:2] + [1, 4]) % 10
    crafted = craft(network, images, targets)
    for n, (image, target) in enumerate(zip(images, targets)):
        expected, pairs = algorithm_2(*functions_of(network), image.reshape(-1), target)
        assert len(pairs) > 3
        assert [tuple(pair) for pair in crafted.pairs[n][:crafted.iterations[n]]] == pairs
        np.testing.assert_array_equal(crafted.adversarial[n].reshape(-1), expected)


def replay(image, pairs, theta):
    x = image.reshape(-1).copy()
    for feature in pairs[pairs >= 0]:
        x[feature] = np.clip(x[feature] + x.dtype.type(theta), 0, 1)
    return x.reshape(image.shape)


@pytest.mark.parametrize("options", [
    {}, {"theta": -1.0}, {"theta": 0.4}, {"theta": -0.1, "max_distortion": None}, {"theta": 3.0},
    {"saliency": "single"}, {"saliency": "single", "theta": -0.5}, {"of": "centred"},
    {"of": "probabilities"},
    {"derivative": "backward"}, {"max_distortion": None}, {"max_distortion": 100},
    {"domain": np.arange(36) % 3 > 0},
])
def test_what_holds_for_every_sample(options):
    network, (images, targets) = Small(1), some_samples(150, 1)
    before = images.copy()
    crafted = craft(network, images, targets, **{"max_distortion": 60, **options})
    np.testing.assert_array_equal(images, before)
    flat, original = crafted.adversarial.reshape(150, -1), images.reshape(150, -1)
    assert flat.min() >= 0 and flat.max() <= 1 and flat.dtype == images.dtype
    for n in range(150):
        recorded = np.unique(crafted.pairs[n][crafted.pairs[n] >= 0])
        assert set(np.flatnonzero(flat[n] != original[n])) <= set(recorded)
        again = replay(images[n], crafted.pairs[n], options.get("theta", 1.0))
        np.testing.assert_array_equal(again, crafted.adversarial[n])
        if "domain" in options:
            assert options["domain"][recorded].all()
    np.testing.assert_allclose(crafted.distortion, 100 * (flat != original).mean(axis=1))
    np.testing.assert_array_equal(crafted.predicted, network.predict(crafted.adversarial))
    np.testing.assert_array_equal(crafted.success, crafted.predicted == targets)
    np.testing.assert_array_equal(
        crafted.success, np.isin(crafted.reason, ["target_reached", "already_target"]))
    used = (crafted.pairs[:, :, 0] >= 0).sum(axis=1)
    np.testing.assert_array_equal(used, crafted.iterations)
    assert set(crafted.reason) <= set(REASONS) and (crafted.reason == "target_reached").any()


def test_a_sample_already_in_its_target_class_is_returned_untouched():
    network, (images, _) = Small(), some_samples(40)
    crafted = craft(network, images, network.predict(images))
    assert (crafted.reason == "already_target").all() and (crafted.iterations == 0).all()
    assert crafted.success.all()
    np.testing.assert_array_equal(crafted.adversarial, images)
    assert (crafted.pairs == -1).all() and (crafted.distortion == 0).all()


class Straight:
    """Logits W·x: every reason to stop can be built by hand."""

    def __init__(self, weight):
        self.weight = np.array(weight, float)

    def logits(self, x):
        return x.reshape(len(x), -1) @ self.weight.T

    def forward_derivative(self, x):
        return np.broadcast_to(self.weight, (len(x), *self.weight.shape))


@pytest.mark.parametrize(("weight", "image", "options", "reason", "iterations"), [
    ([[-1, -1, -1, -1], [1, 2, 3, 4]], [0, 0, 0, 0], {}, "target_reached", 1),
    ([[9, -1, 0, 0], [0, 1, 1, -9]], [1, 0, 0, 0], {}, "no_pair", 1),
    ([[9, -1, -1, -1], [-9, 1, 1, 1]], [1, 0, 0, 0], {"max_distortion": 50}, "max_iterations", 1),
    ([[9, 0, 0, 0], [0, 1, 1, 0]], [1, 0, 0, 0], {"domain": np.zeros(4, bool)}, "domain_empty", 0),
    ([[9, -1, -1, -1], [-9, 1, 1, 1]], [1, 0, 0, 0], {"domain": np.array([0, 1, 1, 0], bool)},
     "domain_empty", 1),
    ([[9, -1, -1, -1], [-9, 1, 1, 1]], [1, 0, 0, 0], {"domain": np.array([0, 1, 1, 1], bool)},
     "no_pair", 1),
    ([[9, 1, 1, 1], [0, 2, 2, 2]], [1, 0, 0, 0], {}, "no_pair", 0),
    ([[9, 0, 0, 0], [0, 1, 1, 0]], [1, 0, 0, 0], {"max_distortion": 20}, "max_iterations", 0),
])
def test_each_reason_to_stop(weight, image, options, reason, iterations):
    options = {"max_distortion": None, **options}
    too_small = reason == "max_iterations" and not iterations
    with pytest.warns(UserWarning, match="less than one pair") if too_small else nullcontext():
        crafted = craft(Straight(weight), np.array([image], float), 1, **options)
    assert (crafted.reason[0], crafted.iterations[0]) == (reason, iterations)
    if reason == "no_pair" and not iterations:
        np.testing.assert_array_equal(crafted.adversarial[0], image)


def test_a_feature_leaves_the_domain_exactly_when_it_is_0_or_1_after_its_change():
    """Two features do all the work: θ = 0.4 touches each three times (0 → 0.4 → 0.8 → 1), then they
    are out."""
    model = Straight([[50, -1, -1, 0], [0, 2, 2, 0]])
    crafted = craft(model, np.array([[1.0, 0, 0, 0]]), 1, theta=0.4, max_distortion=None)
    assert crafted.pairs[0, :3].tolist() == [[1, 2]] * 3
    assert not np.isin(crafted.pairs[0, 3:], [1, 2]).any()


def test_saturated_features_are_in_the_domain_at_the_start():
    """Algorithm 2: Γ holds all pixels; choosing one that is 1 already changes nothing, then it is
    out."""
    model = Straight([[9, -1, -1, -1], [0, 5, 1, 1]])
    crafted = craft(model, np.array([[1.0, 1.0, 0, 0]]), 1, max_distortion=None)
    assert 1 in crafted.pairs[0, 0] and crafted.distortion[0] < 100 * 2 * crafted.iterations[0] / 4


@pytest.mark.parametrize("upsilon", [14.5, 0.3, 14.285714285714286, 100.0])
def test_the_budget_is_the_papers(upsilon, digits):
    """max_iter = ⌊784·Υ / 200⌋: 56 for 14.5 % and for 14.29 % = 112 pixels, 1 for 0.3 %, 392 for
    all."""
    class Never:
        def logits(self, x):
            return np.tile([1.0, 0.0], (len(x), 1))

        def forward_derivative(self, x):
            return np.tile([[-1.0], [1.0]], (len(x), 1, 784))

    crafted = craft(Never(), digits[0][:2], 1, max_distortion=upsilon)
    expected = {14.5: 56, 0.3: 1, 14.285714285714286: 56, 100.0: 392}[upsilon]
    assert crafted.iterations.tolist() == [expected] * 2 and crafted.pairs.shape == (2, expected, 2)


def test_order_and_batch_size_do_not_matter(network, digits):
    images, labels = digits[0].astype(np.float64), digits[1]
    targets, order = (labels + 3) % 10, np.random.default_rng(0).permutation(14)
    first = craft(network, images, targets, derivative="backward", batch_size=7)
    assert len(np.unique(first.iterations)) > 5
    for rows, batch_size in ((np.arange(14), 64), (order, 32), ([0], 1)):
        again = craft(network, images[rows], targets[rows], derivative="backward",
                      batch_size=batch_size)
        np.testing.assert_array_equal(again.pairs, first.pairs[rows])
        np.testing.assert_array_equal(again.adversarial, first.adversarial[rows])
        assert (again.reason == first.reason[rows]).all()


@pytest.mark.parametrize("count", [1, *(pytest.param(count, marks=pytest.mark.slow)
                                        for count in (3, 200))])
def test_forward_and_backward_choose_the_same_pixels(count, network):
    images, labels = (part[:count] for part in load_mnist("validation"))
    targets = (labels + 1 + np.arange(count) % 9) % 10
    forward, backward = (craft(network, images.astype(np.float64), targets, derivative=derivative)
                         for derivative in ("forward", "backward"))
    np.testing.assert_array_equal(forward.pairs, backward.pairs)
    np.testing.assert_array_equal(forward.adversarial, backward.adversarial)
    assert (forward.reason == backward.reason).all() and forward.iterations.sum() > 5 * count


def test_finished_samples_leave_the_batch_at_once():
    """The number of derivatives asked for is the number of iterations done: nothing is computed for
    finished work."""
    asked, looked = [], []

    class Counting(Small):
        def forward_derivative(self, x, of="logits"):
            asked.append(len(x))
            return super().forward_derivative(x, of)

        def logits(self, x):
            looked.append(len(x))
            return super().logits(x)

    images, targets = some_samples(100, 3)
    crafted = craft(Counting(), images, targets, max_distortion=60, batch_size=8)
    assert sum(asked) == crafted.iterations.sum() + (crafted.reason == "no_pair").sum()
    ends_and_classes = 100 + 1
    assert sum(looked) == sum(asked) + ends_and_classes - (crafted.reason == "no_pair").sum()
    assert set(looked[1:-20]) == {8}


def test_trace_shows_every_step():
    network, (images, targets) = Small(2), some_samples(20, 4)
    crafted = craft(network, images, targets, trace=True)
    for n, steps in enumerate(crafted.trace):
        assert len(steps) == crafted.iterations[n] + (crafted.reason[n] == "no_pair")
        for number, step in enumerate(steps[:crafted.iterations[n]]):
            jacobian = network.forward_derivative(step.image[None])[0]
            np.testing.assert_allclose(step.alpha, jacobian[targets[n]], rtol=1e-12)
            np.testing.assert_allclose(step.beta, jacobian.sum(axis=0) - jacobian[targets[n]],
                                       rtol=1e-9, atol=1e-12)
            assert step.pair == tuple(crafted.pairs[n, number]) and step.score > 0
            before = replay(images[n], crafted.pairs[n][:number], 1.0)
            np.testing.assert_array_equal(step.image, before.reshape(-1))


def test_single_features_follow_equation_8():
    network, (images, targets) = Small(3), some_samples(20, 5)
    crafted = craft(network, images, targets, saliency="single", trace=True)
    for n, steps in enumerate(crafted.trace):
        for step in steps[:crafted.iterations[n]]:
            jacobian = network.forward_derivative(step.image[None])[0]
            scores = saliency_map(jacobian, targets[n], domain=step.domain)
            assert step.pair == (int(scores.argmax()), -1)


def test_probabilities_collapse_to_beta_is_minus_alpha():
    """Softmax makes Σ_j F_j = 1, so β = −α for every feature (PAPER §3); centring the logits does
    the same."""
    network, (images, targets) = Small(4), some_samples(10, 6)
    for of in ("probabilities", "centred"):
        for steps in craft(network, images, targets, of=of, trace=True).trace:
            for step in steps:
                np.testing.assert_allclose(step.beta, -step.alpha, atol=1e-12)


def test_float32_stays_float32_and_progress_counts_up(network, digits):
    seen = []
    crafted = craft(network, digits[0][:5], 3, derivative="backward",
                    progress=lambda *counts: seen.append(counts))
    assert crafted.adversarial.dtype == np.float32 and crafted.adversarial.shape == (5, 28, 28)
    assert seen[-1] == (5, 5) and [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("options", [{}, {"max_distortion": None}, {"goal": "misclassification"}])
def test_progress_counts_iterations_before_a_sample_is_done(options):
    """It moves from the first iteration on, never back, and ends whole."""
    network, (images, targets) = Small(4), some_samples(40, 6)
    if "goal" in options:
        targets = None
    seen = []
    crafted = craft(network, images, targets, batch_size=8,
                    progress=lambda *call: seen.append(call), **options)
    done, counts = np.array(seen).T
    assert done[0] > 0 and (np.diff(done) >= 0).all() and done[-1] == counts[-1]
    assert len(set(counts)) == 1 and counts[0] % len(crafted.success) == 0


def test_no_samples_give_empty_arrays(network):
    crafted = craft(network, np.zeros((0, 28, 28)), [])
    assert crafted.adversarial.shape == (0, 28, 28) and crafted.pairs.shape == (0, 56, 2)
    assert not len(crafted.success)


@pytest.mark.parametrize(("changed", "error", "words"), [
    ({"theta": 0}, ValueError, ["theta", "0"]), ({"theta": np.nan}, ValueError, ["theta", "nan"]),
    ({"theta": "1"}, ValueError, ["theta", "'1'"]),
    ({"max_distortion": 0}, ValueError, ["max_distortion", "(0, 100]"]),
    ({"max_distortion": 100.1}, ValueError, ["max_distortion", "100.1"]),
    ({"max_distortion": -3}, ValueError, ["max_distortion", "-3"]),
    ({"max_distortion": np.nan}, ValueError, ["max_distortion", "nan"]),
    ({"targets": 10}, ValueError, ["targets", "0 to 9", "10"]),
    ({"targets": -1}, ValueError, ["targets", "-1"]),
    ({"targets": [1, 2]}, ValueError, ["targets", "(2,)"]),
    ({"targets": 1.5}, ValueError, ["targets", "whole", "1.5"]),
    ({"images": np.full((3, 28, 28), 1.01)}, ValueError, ["images", "[0, 1]", "1.01"]),
    ({"images": np.full((3, 28, 28), 255, np.uint8)}, ValueError, ["images", "255"]),
    ({"images": np.full((3, 28, 28), -0.1)}, ValueError, ["images", "-0.1"]),
    ({"images": np.full((3, 28, 28), np.nan)}, ValueError, ["images", "NaN"]),
    ({"images": np.zeros((3, 27, 28))}, ValueError, ["images", "27, 28", "(B, 784)"]),
    ({"images": np.zeros(784)}, ValueError, ["images", "(784,)"]),
    ({"images": np.zeros((3, 784), complex)}, TypeError, ["images", "complex"]),
    ({"saliency": "triples"}, ValueError, ["saliency", "pairs, single", "'triples'"]),
    ({"derivative": "sideways"}, ValueError, ["derivative", "forward, backward"]),
    ({"of": "loss"}, ValueError, ["of", "logits, centred, probabilities"]),
    ({"domain": "all"}, ValueError, ["domain", "'all'"]),
    ({"domain": np.ones(5, bool)}, ValueError, ["domain", "(784,)", "(5,)"]),
    ({"batch_size": 0}, ValueError, ["batch_size", "0"]),
])
def test_bad_arguments_get_one_line_that_names_them(changed, error, words, network):
    arguments = {"images": np.zeros((3, 28, 28)), "targets": 1, **changed}
    images, targets = arguments.pop("images"), arguments.pop("targets")
    with pytest.raises(error) as raised:
        craft(network, images, targets, **arguments)
    message = str(raised.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_a_model_without_a_backward_derivative_says_so():
    with pytest.raises(TypeError, match="Straight has none"):
        craft(Straight([[1, 2], [2, 1]]), np.zeros((1, 2)), 1, derivative="backward")


def pairs_of(count, by_forward):
    """Test digits 1,000 to 1,011 to their nine other classes, the first `count` of 100, float64,
    against what the code of the commit 3470c9b wrote; `by_forward` of them again by the forward
    derivative."""
    pinned = np.load(Path(__file__).parent / "pairs_of_100.npy")[:count]
    images, labels = (part[1000:1012] for part in load_mnist("test"))
    samples = [(n, t) for n, label in enumerate(labels) for t in range(10) if t != label][:count]
    index, targets = np.array(samples).T
    crafted = craft(LeNet.pretrained(), images[index].astype(np.float64), targets,
                    derivative="backward")
    np.testing.assert_array_equal(crafted.pairs, pinned)
    few = crafted.iterations.argsort(kind="stable")[count // 5:count // 5 + by_forward]
    forward = craft(LeNet.pretrained(), images[index[few]].astype(np.float64), targets[few])
    np.testing.assert_array_equal(forward.pairs, pinned[few])


def test_the_pairs_of_20_crafts_are_those_before_all_work_on_speed():
    pairs_of(20, by_forward=1)


@pytest.mark.slow
def test_the_pairs_of_100_crafts_are_those_before_all_work_on_speed():
    pairs_of(100, by_forward=4)
