"""Each rule beside a plain loop over one sample and all pairs, written from what the rule's library
or paper does; and beside the library itself where it is installed."""
from functools import cache

import numpy as np
import pytest
from small import Small, Sure, some_samples

from attack import RULES, craft, replay, textbook
from data import load_mnist
from nn import LeNet

OUTPUTS = ("logits", "centred", "probabilities")
PEERS = ("unsaturated", "once", "art", "cleverhans", "torchattacks", "single", "weighted", "taylor")


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


@cache
def answers(sample):
    """Logits (N,) and ∂logits/∂x (N, M) of `Small()` at one sample, given by its bytes: all rules
    begin at the same images."""
    x = np.frombuffer(sample)[None]
    return Small().logits(x)[0], Small().forward_derivative(x)[0]


def derivatives(x, of):
    """∂F_j/∂x_i (N, M) of `Small()` at one sample, by hand from that of the logits."""
    logits, jacobian = answers(x.tobytes())
    if of == "centred":
        return jacobian - jacobian.mean(axis=0)
    p = softmax(logits)
    return p[:, None] * (jacobian - p @ jacobian) if of == "probabilities" else jacobian


def best(alpha, beta, allowed, theta):
    """The pair of `allowed` features with the largest −α·β (attack.textbook), and this."""
    gamma = np.isin(np.arange(len(alpha)), allowed)
    pair = textbook.best_pair(np.stack([alpha, beta]), 0, gamma, theta)
    return pair, 0.0 if pair is None else textbook.pair_scores(alpha, beta, theta)[pair]


def plain(rule, image, target, theta, upsilon, of):
    """One sample of `Small()`, step by step; returns the changed image and the features chosen."""
    x, used, chosen, features = image.reshape(-1).copy(), set(), [], image.size
    near = {"torchattacks": 0.01}.get(rule, 0.0)
    gamma = set(range(features))
    if rule in ("unsaturated", "art", "cleverhans", "torchattacks"):
        gamma = {i for i in gamma if (x[i] < 1 - near if theta > 0 else x[i] > near)}
    while answers(x.tobytes())[0].argmax() != target:
        limit = {"torchattacks": np.ceil(features * upsilon / 200),
                 "single": np.floor(features * upsilon / 100)}.get(
            rule, np.floor(features * upsilon / 200))
        if (len(used) / features > upsilon / 100 if rule == "art" else len(chosen) >= limit):
            break
        if len(gamma) < (2 if rule == "cleverhans" else 1):
            break
        jacobian, p = derivatives(x, of), softmax(answers(x.tobytes())[0])
        alpha = jacobian[target].copy()
        others = [j for j in range(len(jacobian)) if j != target]
        beta = sum((p[j] if rule == "weighted" else 1) * jacobian[j] for j in others)
        if rule == "taylor":
            headroom = 1 - x if theta > 0 else x
            alpha, beta = alpha * headroom, beta * headroom
        allowed = sorted(gamma)
        if rule == "art":
            pair = tuple(sorted(sorted(allowed, key=lambda i: -np.sign(theta) * alpha[i])[:2]))
        elif rule == "single":
            scores = [(abs(alpha[i] * beta[i]) if alpha[i] * theta >= 0 >= beta[i] * theta else 0,
                       -i) for i in allowed]
            score, place = max(scores)
            pair = (-place,) if score > 0 else None
        else:
            pair, _ = best(alpha, beta, allowed, theta)
            if pair is None and rule == "torchattacks":
                pair = (0, 0)
        if pair is None:
            break
        for i in pair:
            x[i] = min(1.0, max(0.0, x[i] + theta))
            used.add(i)
        for i in pair:
            if rule in ("once", "cleverhans", "torchattacks") or x[i] in (0.0, 1.0):
                gamma.discard(i)
        chosen.append(tuple(int(i) for i in pair))
    return x.reshape(image.shape), chosen


@pytest.mark.parametrize("of", ["logits", *(  # by default test_random_crafting has the others
    pytest.param(of, marks=pytest.mark.slow) for of in OUTPUTS[1:])])
@pytest.mark.parametrize("theta", [1.0, 0.3, -1.0])
@pytest.mark.parametrize("rule", PEERS)
def test_does_what_its_description_says(rule, theta, of):
    network, (images, targets) = Small(), some_samples(6)
    crafted = craft(network, images, targets, theta=theta, max_distortion=40, rule=rule, of=of)
    assert crafted.iterations.max() > 1 or theta < 0
    for n, (image, target) in enumerate(zip(images, targets)):
        expected, chosen = plain(rule, image, target, theta, 40, of)
        pairs = [tuple(int(i) for i in pair if i >= 0)
                 for pair in crafted.pairs[n][:crafted.iterations[n]]]
        assert pairs == chosen
        np.testing.assert_array_equal(crafted.adversarial[n], expected)
    np.testing.assert_array_equal(replay(images, crafted.pairs, theta), crafted.adversarial)


@pytest.mark.parametrize("theta", [1.0, 0.4])
@pytest.mark.parametrize("of", ["logits", *(
    pytest.param(of, marks=pytest.mark.slow) for of in OUTPUTS[1:])])
def test_maximal_takes_the_best_of_all_classes_and_signs(theta, of):
    network, (images, _) = Small(), some_samples(10, seed=3)
    crafted = craft(network, images, goal="misclassification", theta=theta, max_distortion=40,
                    rule="maximal", of=of)
    for n, image in enumerate(images):
        x, gamma, chosen = image.reshape(-1).copy(), set(range(36)), []
        source = network.predict(x[None])[0]
        while network.predict(x[None])[0] == source and len(chosen) < 7 and gamma:
            jacobian, options = derivatives(x, of), []
            for sign in (1, -1):
                allowed = sorted(i for i in gamma if (x[i] < 1 if sign > 0 else x[i] > 0)
                                 and sign * (x[i] - image.reshape(-1)[i]) >= 0)
                for target in set(range(4)) - {source}:
                    beta = sum(jacobian[j] for j in range(4) if j != target)
                    pair, score = best(jacobian[target], beta, allowed, sign)
                    options.append((score, sign, pair))
            score, sign, pair = max(options, key=lambda option: option[0])
            if pair is None:
                break
            for i in pair:
                x[i] = min(1.0, max(0.0, x[i] + sign * theta))
                if x[i] in (0.0, 1.0):
                    gamma.discard(i)
            chosen.append(pair)
        assert [tuple(pair) for pair in crafted.pairs[n][:crafted.iterations[n]].tolist()] == chosen
        np.testing.assert_array_equal(crafted.adversarial[n].reshape(-1), x)
    assert crafted.success.sum() > 4 and np.array_equal(crafted.target, crafted.predicted)


def test_the_peers_start_without_what_cannot_move():
    """Whatever is at the bound is never chosen by art, cleverhans and torchattacks, and
    torchattacks leaves a hundredth."""
    network, (images, targets) = Small(), some_samples(30)
    images[images > 0.75] = 1.0
    images[:, 0, 1], images[:, 0, 2] = 0.995, 0.985
    for rule in ("art", "cleverhans", "torchattacks"):
        crafted = craft(network, images, targets, rule=rule, max_distortion=100)
        for image, pairs in zip(images.reshape(30, -1), crafted.pairs):
            # 0: torchattacks where nothing qualifies
            chosen = set(pairs[pairs >= 0].tolist()) - {0}
            assert all(image[i] < 1 for i in chosen)
            assert rule != "torchattacks" or 1 not in chosen
    assert any(2 in pairs for pairs in crafted.pairs)


@pytest.mark.parametrize(("options", "said"), [
    ({"rule": "foolbox"},
     "rule must be one of paper, unsaturated, once, art, cleverhans, torchattacks, single, "
     "weighted, taylor, maximal; got"),
    ({"rule": "art", "saliency": "single"}, "saliency='single' is rule='single'; got rule='art'"),
    ({"rule": "maximal"},
     "rule='maximal' takes no targets: goal must be one of confidence, misclassification; "
     "got 'source"),
    ({"margin": -1}, "margin must be a number of at least 0; got -1"),
    ({"margin": np.nan}, "margin must be a number"),
    ({"channels": "both"}, "channels must be one of separate, tied; got 'both'"),
])
def test_what_does_not_fit_is_refused(options, said):
    images, targets = some_samples(2)
    with pytest.raises(ValueError) as caught:
        craft(Small(), images, targets, **options)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_refused_with_the_goals():
    images, _ = some_samples(2)
    with pytest.raises(ValueError, match="trace keeps α and β of one target"):
        craft(Small(), images, goal="misclassification", rule="maximal", trace=True)
    with pytest.raises(ValueError, match="goal='confidence' has none; got 2"):
        craft(Small(), images, goal="confidence", margin=2)
    with pytest.raises(
            ValueError,
            match=r"channels='tied' needs images of the shape \(n, channels, …\); got \(2, 36\)"):
        craft(Small(), images.reshape(2, -1), 1, channels="tied")


def test_single_is_single():
    images, targets = some_samples(20)
    one, other = (craft(Small(), images, targets, **{key: "single"})
                  for key in ("rule", "saliency"))
    assert np.array_equal(one.pairs, other.pairs)
    assert np.array_equal(one.adversarial, other.adversarial)
    assert set(RULES) == {"paper", "unsaturated", "once", "art", "cleverhans", "torchattacks",
                          "single", "weighted", "taylor", "maximal"}


@pytest.mark.parametrize("theta", [1.0, -1.0])
def test_a_whole_step_takes_a_feature_out_of_gamma_at_once(theta):
    """So for θ = ±1 the rules "once" and "paper" are one."""
    images, targets = some_samples(20)
    once, paper = (craft(Small(), images, targets, theta=theta, rule=rule, max_distortion=40)
                   for rule in ("once", "paper"))
    assert np.array_equal(once.pairs, paper.pairs)


# margin

@pytest.mark.parametrize("goal", ["source/target", "misclassification"])
def test_margin_goes_on_until_the_class_leads(goal):
    network, (images, targets) = Small(), some_samples(60)
    words = {"goal": goal} if goal == "misclassification" else {"targets": targets}
    plain_run, far = (craft(network, images, **words, max_distortion=100, margin=margin)
                      for margin in (0.0, 0.7))
    for n in range(60):
        logits = np.sort(network.logits(far.adversarial[n:n + 1])[0])
        source = network.predict(images[n:n + 1])[0]
        if far.success[n]:
            if goal == "source/target":
                assert far.predicted[n] == targets[n]
            else:
                assert far.predicted[n] != source
            assert logits[-1] - logits[-2] >= 0.7 or goal == "misclassification"
            others = np.delete(network.logits(far.adversarial[n:n + 1])[0], source)
            if goal == "misclassification":
                assert others.max() - network.logits(far.adversarial[n:n + 1])[0, source] >= 0.7
    assert far.success.sum() > 20 and (far.iterations >= plain_run.iterations).mean() == 1
    assert (far.iterations > plain_run.iterations).any()


# tied channels

class Colour(Small):
    """Reads the mean of three channels with different weights, by hand."""

    weights = np.array([0.2, 0.5, 0.3])

    def logits(self, x):
        return super().logits(self._grey(x))

    def _grey(self, x):
        return np.tensordot(np.asarray(x).reshape(len(x), 3, 6, 6), self.weights, (1, 0))

    def forward_derivative(self, x, of="logits"):
        grey = super().forward_derivative(self._grey(x))
        return (grey[:, :, None] * self.weights[:, None]).reshape(len(x), 4, 108)


@pytest.mark.parametrize("theta", [1.0, -0.3])
def test_tied_channels_change_together(theta):
    """On grey pictures in three channels the pixels are those that the grey network chooses."""
    network, (grey, targets) = Small(), some_samples(30)
    colour = np.repeat(grey[:, None], 3, axis=1)
    expected = craft(network, grey, targets, theta=theta, max_distortion=40)
    tied = craft(Colour(), colour, targets, theta=theta, max_distortion=40, channels="tied")
    np.testing.assert_array_equal(tied.pairs, expected.pairs)
    np.testing.assert_allclose(tied.adversarial,
                               np.repeat(expected.adversarial[:, None], 3, axis=1), atol=1e-15)
    np.testing.assert_array_equal(tied.distortion, expected.distortion)
    np.testing.assert_array_equal(replay(colour, tied.pairs, theta, "tied"), tied.adversarial)


def test_a_tied_pixel_stays_until_all_its_channels_are_at_the_bound():
    network, rng = Colour(), np.random.default_rng(0)
    images = rng.random((40, 3, 6, 6)).round(1)
    crafted = craft(network, images, rng.integers(0, 4, 40), theta=0.3, max_distortion=60,
                    channels="tied")
    again = 0
    for image, pairs in zip(images.reshape(40, 3, 36), crafted.pairs):
        x = image.copy()
        for pixel in pairs[pairs >= 0]:
            assert (x[:, pixel] < 1).any()
            again += (x[:, pixel] == 1).any()
            x[:, pixel] = np.minimum(x[:, pixel] + 0.3, 1)
    assert again > 3
    changed = (crafted.adversarial != images).any(axis=1).sum(axis=(1, 2))
    np.testing.assert_allclose(crafted.distortion, 100 * changed / 36)
    assert crafted.iterations.max() <= 36 * 60 // 200


# the libraries themselves

@pytest.fixture(scope="module")
def digits():
    images, labels = load_mnist("test")
    index = np.repeat(np.arange(4), 9)
    targets = np.array([[t for t in range(10) if t != label] for label in labels[:4]]).reshape(-1)
    return images[index], targets


def identical(one, other):
    return float(np.mean((one == other).reshape(len(one), -1).all(axis=1)))


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["art", "torchattacks"])
def test_the_library_itself_finds_the_same_samples(peer, digits):
    """Our rule on our network and the library's own code on the same weights in torch: at most
    rounding apart."""
    from scripts.measure import peers

    pytest.importorskip(peer, reason=f"{peer} is not installed (pip install 'jsma[peers]')")
    network, (images, targets) = LeNet.pretrained(), digits
    ours = craft(network, images, targets, rule=peer, derivative="backward")
    theirs = {"art": lambda: peers.art(network, images, targets, 14.5, 32),
              "torchattacks": lambda: peers.torchattacks(network, images, targets, 14.5)}[peer]()()
    assert identical(ours.adversarial, np.asarray(theirs).reshape(images.shape)) >= 0.9


@pytest.mark.parametrize("rule", RULES)
def test_single_precision_chooses_as_double_does_where_a_network_is_sure(rule):
    """α and β of a probability of 1e-26: their products are 0 in single precision."""
    images = np.random.default_rng(1).random((6, 20)) * 0.5
    targets = None if rule == "maximal" else np.array([1, 2, 3, 1, 2, 3])
    goal = "misclassification" if rule == "maximal" else "source/target"
    options = {"goal": goal, "rule": rule, "max_distortion": 50, "trace": rule != "maximal"}
    single, double = (craft(Sure(60), images.astype(np.float32).astype(dtype), targets,
                            of="probabilities", **options) for dtype in (np.float32, np.float64))
    np.testing.assert_array_equal(single.pairs, double.pairs)
    assert (double.iterations > 1).all()
    for ours, theirs in zip((single.trace or [[]])[0], (double.trace or [[]])[0]):
        np.testing.assert_allclose(ours.alpha, theirs.alpha, rtol=1e-3)
        assert ours.score == pytest.approx(theirs.score, rel=1e-3, abs=1e-44)
