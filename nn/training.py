"""Training: softmax cross-entropy and stochastic gradient descent with momentum.

In: a network, images and labels. Out: the network's parameters, changed in place, and the mean loss
of an epoch. The order of the samples is drawn from (seed, epoch), so that training that was stopped
after an epoch goes on exactly as it would have. Read on in `weights`.
"""
import numpy as np
import scipy

from nn.layers.normalization import BatchNorm2d

PART = 32  # samples


def cross_entropy(logits, labels):
    """The mean of −log softmax(logits)[label]: logits (B, N), labels (B,) → (loss, ∂loss/∂logits).

    A single logit z is that of class 1 against class 0: its sigmoid is the softmax of (0, z).
    """
    if logits.shape[1] == 1:
        both = np.concatenate([np.zeros_like(logits), logits], axis=1)  # (B, 2)
        loss, grad = cross_entropy(both, labels)
        return loss, grad[:, 1:]
    log_p = scipy.special.log_softmax(logits, axis=1)
    rows = np.arange(len(logits))
    grad = np.exp(log_p)
    grad[rows, labels] -= 1
    return -float(log_p[rows, labels].mean()), grad / len(logits)


def pixel_cross_entropy(logits, wanted):
    """Binary cross-entropy of sigmoid(logits) against `wanted` in [0, 1], both (B, N), summed over
    the outputs, mean over the batch → (loss, ∂loss/∂logits)."""
    grad = scipy.special.expit(logits) - wanted
    losses = np.logaddexp(0, logits) - wanted * logits
    return float(losses.sum() / len(logits)), grad / len(logits)


class SGD:
    """PyTorch's `SGD(lr, momentum)`: v ← momentum·v + ∂loss/∂W; W ← W − lr·v.

    `velocity` maps the network's parameter names to v; it is all the state there is.
    """

    def __init__(self, network, lr, momentum=0.0):
        self.network = network
        self.lr = lr
        self.momentum = momentum
        self.velocity = {f"{name}.{key}": np.zeros_like(array)
                         for name, layer in network.layers.items()
                         for key, array in layer.parameters.items() if key not in layer.fixed}

    def step(self, gradients):
        """Change the network's parameters in place by {name: gradient}."""
        parameters = self.network.parameters()
        for name, velocity in self.velocity.items():
            array = parameters[name]
            velocity *= self.momentum
            velocity += gradients[name]
            array -= array.dtype.type(self.lr) * velocity


def train_epoch(network, images, labels, optimizer, batch_size, seed, epoch, progress=None,
                loss=cross_entropy, shuffled=True):
    """One pass over the samples, in an order drawn from (seed, epoch).

    Args:
        network: the `Network` to train.
        images: (n, …), in a shape the network takes.
        labels: (n,), or what `loss` holds the logits against.
        optimizer: an `SGD` of this network.
        batch_size: samples a step; a last batch of fewer counts too.
        seed, epoch: whole numbers.
        progress: called with (samples done, n, mean loss so far) after each step.
        loss: (logits (B, N), labels (B,)) → (loss, ∂loss/∂logits).
        shuffled: False takes the samples in the order in which they come.

    Returns:
        The mean loss of the samples, each as the network was when its batch came.
    """
    total = 0.0
    done = 0
    for chosen in batches(len(images), batch_size, seed, epoch, shuffled):
        value, gradients = loss_and_gradients(network, images[chosen], labels[chosen], loss)
        optimizer.step(gradients)
        total += value * len(chosen)
        done += len(chosen)
        if progress is not None:
            progress(done, len(images), total / done)
    return total / max(len(images), 1)


def batches(count, batch_size, seed, epoch, shuffled=True):
    """Which of `count` samples each step of an epoch sees, arrays of numbers; arguments as
    above."""
    order = np.arange(count)
    if shuffled:
        order = np.random.default_rng([seed, epoch]).permutation(count)
    return [order[start:start + batch_size] for start in range(0, count, batch_size)]


def loss_and_gradients(network, images, labels, loss=cross_entropy):
    """The loss of one batch and {"layer.weight": ∂loss/∂parameter, …}; arguments as above.

    The batch is computed in parts of `PART` samples, several at a time. The parts are the same on
    every machine, and so is the order in which their gradients are summed.
    """
    parts = [slice(start, start + PART) for start in range(0, len(images), PART)]
    passes = network.in_threads(lambda rows: network.forward(images[rows]), parts)
    value, grad = loss(np.concatenate([logits for logits, _ in passes]), labels)
    gradients = network.in_threads(
        lambda part: network.gradients(grad[part[0]], part[1][1]), zip(parts, passes))
    return value, {name: sum(part[name] for part in gradients) for name in gradients[0]}


def calibrate(network, images):
    """Set the statistics of every batch normalisation to the mean and variance of what reaches it
    from `images` (n, …), in the order of the layers. Training then leaves them as they are. Returns
    the network."""
    value = network.as_input(images)
    for name, layer in network.layers.items():
        if isinstance(layer, BatchNorm2d):
            x = next(x for layer_name, x, _, _ in network.steps(value) if layer_name == name)
            for key, statistic in (("running_mean", x.mean), ("running_var", x.var)):
                dtype = layer.parameters[key].dtype
                layer.parameters[key] = statistic(axis=(0, 1, 2)).astype(dtype)
    return network


def accuracy(network, images, labels):
    """The share of `images` (n, …) whose predicted class is their label, in percent."""
    return 100 * float(np.mean(network.predict(images) == labels))
