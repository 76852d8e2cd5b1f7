"""The recipes of `jsma train`, and networks that an experiment trains for itself.

In: a new network (the AND network, a surrogate, an autoencoder, a LeNet), samples, what it is to
say of them, a recipe. Out: the network, trained.
"""
from nn.training import SGD, cross_entropy, train_epoch

# "paper" is that of the LeNet in the Theano deep learning tutorials (2012 to 2016), which the paper
# most likely used: see `LeNet(init="tutorial")`; batches come in the file's order
RECIPES = {
    "momentum": {"lr": 0.05, "momentum": 0.9, "decay": 0.9, "batch": 128, "epochs": 10},
    "paper": {"lr": 0.1, "momentum": 0.0, "decay": 1.0, "batch": 500, "epochs": 200,
              "init": "tutorial", "shuffled": False},
    "plain": {"lr": 0.1, "momentum": 0.0, "decay": 1.0, "batch": 500, "epochs": 60},
    "residual": {"lr": 0.01, "momentum": 0.9, "decay": 0.85, "batch": 64, "epochs": 12},
}


def fitted(network, x, wanted, *, epochs, lr, batch, momentum=0.0, decay=1.0, seed=0,
           loss=cross_entropy):
    """Train `network` in place and return it.

    Args:
        network: a `nn.Network`.
        x: (n, …), the samples.
        wanted: (n,) classes, or whatever `loss` takes.
        epochs, batch, seed: how often all samples are seen, how many at once, and the order they
            come in.
        lr, momentum, decay: of the gradient descent; the learning rate of epoch k is lr·decay^k.
        loss: as in `nn.training.train_epoch`.
    """
    optimizer = SGD(network, lr, momentum)
    for epoch in range(epochs):
        optimizer.lr = lr * decay**epoch
        train_epoch(network, x, wanted, optimizer, batch, seed, epoch, loss=loss)
    return network
