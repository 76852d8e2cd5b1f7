"""Networks that an experiment trains for itself: the AND network, surrogates, an autoencoder, a LeNet to be defended.

In: a new network, samples, what it is to say of them, a recipe as in `scripts.train.RECIPES`. Out: the network, trained.
"""
from nn.training import SGD, cross_entropy, train_epoch
from scripts.terminal.progress import Progress


def fitted(network, x, wanted, name, *, epochs, lr, batch, momentum=0.0, decay=1.0, seed=0,
           loss=cross_entropy):
    """Train `network` in place, with a progress line, and return it.

    Args:
        network: a `nn.Network`.
        x: (n, …), the samples.
        wanted: (n,) classes, or whatever `loss` takes.
        name: what the progress line calls it.
        epochs, batch, seed: how often all samples are seen, how many at once, and the order they come in.
        lr, momentum, decay: of the gradient descent; the learning rate of epoch k is lr·decay^k.
        loss: as in `nn.training.train_epoch`.
    """
    optimizer = SGD(network, lr, momentum)
    progress = Progress(name, "samples")
    for epoch in range(epochs):
        def show(done, total, _, before=epoch):
            """Samples of all epochs."""
            progress(before * total + done, epochs * total)

        optimizer.lr = lr * decay**epoch
        train_epoch(network, x, wanted, optimizer, batch, seed, epoch, loss=loss, progress=show)
    progress.close()
    return network
