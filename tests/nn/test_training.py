"""Training: the loss and its gradient, SGD with momentum by hand, the order of the samples, and
that it learns."""
import numpy as np
import pytest
from reference import STEP, close
from scipy.special import logsumexp

from nn import AndNetwork, Conv2d, Flatten, Linear, MaxPool2d, Network, Softmax, Tanh
from nn.training import SGD, accuracy, cross_entropy, train_epoch


def loss_by_hand(logits, labels):
    """−log(e^{z_label} / Σ_k e^{z_k}), averaged; complex logits allowed."""
    e = np.exp(logits)
    return np.mean([-np.log(row[label] / row.sum()) for row, label in zip(e, labels)])


def some_images(count=90, seed=0):
    """Three classes of 6×6 images, each with its own corner lit."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.normal(scale=0.3, size=(count, 6, 6))
    for image, label in zip(images, labels):
        image[3 * (label // 2):3 * (label // 2) + 3, 3 * (label % 2):3 * (label % 2) + 3] += 1
    return images.astype(np.float32), labels


def small(seed=0):
    rng = np.random.default_rng(seed)
    return Network({"conv": Conv2d(1, 4, 3, rng=rng), "pool": MaxPool2d(2), "tanh": Tanh(),
                    "flatten": Flatten(),
                    "fc": Linear(16, 3, rng=rng), "softmax": Softmax()}, (6, 6))


def train(network, images, labels, epochs, optimizer=None, batch_size=16, seed=1, lr=0.1):
    optimizer = optimizer or SGD(network, lr, 0.9)
    return [train_epoch(network, images, labels, optimizer, batch_size, seed, epoch)
            for epoch in epochs]


# the loss

@pytest.mark.parametrize(("batch", "classes"), [(1, 2), (5, 3), (7, 10)])
def test_loss_and_gradient(batch, classes):
    rng = np.random.default_rng(batch)
    logits, labels = rng.normal(scale=3, size=(batch, classes)), rng.integers(0, classes, batch)
    loss, grad = cross_entropy(logits, labels)
    assert isinstance(loss, float)
    assert loss == pytest.approx(loss_by_hand(logits, labels), rel=1e-12)
    losses = logsumexp(logits, axis=1) - logits[np.arange(batch), labels]
    assert loss == pytest.approx(losses.mean(), rel=1e-12)
    expected = np.zeros_like(grad)
    for place in np.ndindex(logits.shape):
        moved = logits.astype(complex)
        moved[place] += 1j * STEP
        expected[place] = loss_by_hand(moved, labels).imag / STEP
    close(grad, expected, 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_logits(dtype):
    logits = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0], [1e38, 1e38, -1e38]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss, grad = cross_entropy(logits[:2], np.array([0, 1]))
        assert loss == pytest.approx(1e4) and grad.dtype == dtype
        np.testing.assert_allclose(2 * grad, [[0, 0, 0], [1, -1, 0]], atol=1e-12)
        loss, grad = cross_entropy(logits[2:], np.array([1]))
        assert loss == pytest.approx(np.log(2), rel=1e-6)
        np.testing.assert_allclose(grad, [[0.5, -0.5, 0]], rtol=1e-6)


def test_the_gradient_keeps_the_precision_and_the_logits():
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    before = logits.copy()
    assert cross_entropy(logits, np.array([0, 1, 2, 2], np.uint8))[1].dtype == np.float32
    np.testing.assert_array_equal(logits, before)


# the step

@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_pytorchs(momentum):
    """PyTorch: b_1 = g_1, b_t = µ·b_{t−1} + g_t, p_t = p_{t−1} − γ·b_t, with momentum µ and rate
    γ."""
    network, rng, lr = AndNetwork(), np.random.default_rng(0), 0.3
    network.load({name: array.astype(np.float64) for name, array in network.parameters().items()})
    p = {name: array.copy() for name, array in network.parameters().items()}
    optimizer, b = SGD(network, lr, momentum), None
    for _ in range(5):
        g = {name: rng.normal(size=array.shape) for name, array in p.items()}
        b = dict(g) if b is None else {name: momentum * b[name] + g[name] for name in g}
        p = {name: p[name] - lr * b[name] for name in p}
        optimizer.step(g)
        for name, array in network.parameters().items():
            close(array, p[name], 1e-14)
            close(optimizer.velocity[name], b[name], 1e-14)


def test_sgd_by_hand():
    """W = 1, gradients 4, 0, −8, momentum ½, rate ¼: v = 4, 2, −7 and W = 0, −½, 1¼."""
    network = Network([Linear(1, 1, bias=False)], (1,))
    network.load({"0.weight": np.array([[1.0]], np.float32)})
    optimizer, weights = SGD(network, 0.25, momentum=0.5), []
    for gradient in (4, 0, -8):
        optimizer.step({"0.weight": np.array([[gradient]], np.float32)})
        weights.append(network.parameters()["0.weight"].item())
    assert weights == [0, -0.5, 1.25] and network.parameters()["0.weight"].dtype == np.float32


def test_one_step_goes_down_the_loss():
    """The change of the loss for a small rate is −lr·|gradient|²: gradients and step fit
    together."""
    network, (images, labels) = small(), some_images(8)
    network.load({name: array.astype(np.float64) for name, array in network.parameters().items()})
    images = images.astype(np.float64)
    logits, saved = network.forward(images)
    gradients = network.gradients(cross_entropy(logits, labels)[1], saved)
    before, lr = loss_by_hand(network.logits(images), labels), 1e-7
    SGD(network, lr).step(gradients)
    drop = before - loss_by_hand(network.logits(images), labels)
    assert drop == pytest.approx(lr * sum((g ** 2).sum() for g in gradients.values()), rel=1e-4)


# the epoch

class Watched(Network):
    """Remembers the samples of every batch; the first pixel of a sample is its number."""

    def forward(self, x):
        self.batches.append(np.asarray(x)[:, 0, 0].astype(int).tolist())
        return super().forward(x)


@pytest.mark.parametrize(("count", "batch_size"), [(20, 5), (23, 5), (4, 7), (1, 1)])
def test_an_epoch_visits_each_sample_once(count, batch_size):
    def visited(seed, epoch):
        network = Watched([Flatten(), Linear(4, 2)], (2, 2))
        network.batches = []
        images = np.zeros((count, 2, 2), np.float32)
        images[:, 0, 0] = np.arange(count)
        train_epoch(network, images, np.zeros(count, int), SGD(network, 0.0), batch_size, seed,
                    epoch)
        return network.batches

    batches = visited(0, 0)
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert sorted(sum(batches, [])) == list(range(count))
    assert batches == visited(0, 0)
    if count > 10:
        four = (visited(0, 0), visited(0, 1), visited(1, 0), visited(1, 1))
        orders = [sum(batches, []) for batches in four]
        assert all(one != other for n, one in enumerate(orders)
                   for other in [*orders[:n], list(range(count))])


def test_the_mean_loss_and_progress():
    """At rate 0 the loss of an epoch is the loss of the whole set, however it is cut into
    batches."""
    network, (images, labels) = small(), some_images(23)
    before, said = loss_by_hand(network.logits(images).astype(np.float64), labels), []
    loss = train_epoch(network, images, labels, SGD(network, 0.0), 5, 0, 0,
                       lambda *args: said.append(args))
    assert loss == pytest.approx(before, rel=1e-5)
    assert [args[:2] for args in said] == [(5, 23), (10, 23), (15, 23), (20, 23), (23, 23)]
    assert said[-1][2] == pytest.approx(loss)


def test_stopping_in_between_changes_nothing():
    """Four epochs in one go = two, everything written down (weights and velocity), and two more
    with new objects."""
    images, labels = some_images()
    network = small()
    losses = train(network, images, labels, range(4))
    first = small()
    optimizer = SGD(first, 0.1, 0.9)
    early = train(first, images, labels, range(2), optimizer)
    second = small(seed=9).load({name: array.copy() for name, array in first.parameters().items()})
    resumed = SGD(second, 0.1, 0.9)
    resumed.velocity = {name: array.copy() for name, array in optimizer.velocity.items()}
    assert early + train(second, images, labels, range(2, 4), resumed) == losses
    assert len(set(losses)) == 4
    for name, array in network.parameters().items():
        np.testing.assert_array_equal(second.parameters()[name], array)
        assert (array != first.parameters()[name]).any()


def test_training_is_repeatable_from_its_seed():
    images, labels = some_images()
    first, again, other = small(), small(), small()
    one, two, three = (train(network, images, labels, range(2), seed=seed)
                       for network, seed in ((first, 1), (again, 1), (other, 2)))
    assert one == two != three
    for name, array in first.parameters().items():
        np.testing.assert_array_equal(array, again.parameters()[name])


def test_it_learns_what_can_be_learned():
    images, labels = some_images(300)
    network = small()
    assert accuracy(network, images, labels) < 70
    losses = train(network, images, labels, range(15))
    assert losses[-1] < 0.05 < losses[0]
    assert accuracy(network, images, labels) == 100
    assert accuracy(network, *some_images(300, seed=5)) > 98


def test_accuracy_in_percent():
    network = Network([Linear(3, 3)], (3,)).load({"0.weight": np.eye(3), "0.bias": np.zeros(3)})
    assert accuracy(network, np.eye(3)[[0, 1, 2, 1]], np.array([0, 1, 2, 0])) == 75


def test_the_files_order():
    """Not shuffled, an epoch is the batches one behind the other, whatever the seed."""
    images, labels = some_images(50)
    networks = [small(), small()]
    train_epoch(networks[0], images, labels, SGD(networks[0], 0.1), 16, 1, 0, shuffled=False)
    optimizer = SGD(networks[1], 0.1)
    for start in range(0, 50, 16):
        part = slice(start, start + 16)
        train_epoch(networks[1], images[part], labels[part], optimizer, 16, 9, 3, shuffled=False)
    for name, array in networks[0].parameters().items():
        np.testing.assert_array_equal(array, networks[1].parameters()[name])
