"""The same work by other libraries, for `jsma bench`: torch, ART and torchattacks.

In: a network, images, targets. Out: callables to be timed: torch's derivatives and training, the
attacks of the other two, and the search over the whole table of pairs. A library is imported when
it is asked for, and ImportError says which one is missing. Each peer gets the network from the same
weights and its own defaults but for θ and Υ, and torch a thread on every core: its default, where
`jsma` had not asked all libraries for one.
"""
import numpy as np

from attack.textbook import pair_scores
from scripts.paper.on_torch import logits_module
from scripts.terminal.options import cores


def jacfwd(network, images):
    """∂logits/∂x of images (B, 28, 28) by `torch.func.jacfwd` under `vmap`."""
    return _jacobian(network, images, "jacfwd")


def jacrev(network, images):
    """∂logits/∂x of images (B, 28, 28) by `torch.func.jacrev` under `vmap`."""
    return _jacobian(network, images, "jacrev")


def epoch(network, images, labels, batch):
    """An epoch of torch's SGD with momentum over images (n, 28, 28), on the CPU."""
    torch = _torch()
    model = logits_module(network)
    x = torch.from_numpy(images[:, None])
    y = torch.from_numpy(labels)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loss = torch.nn.CrossEntropyLoss()

    def run():
        """One pass in an order drawn anew."""
        order = torch.randperm(len(x))
        for start in range(0, len(x), batch):
            chosen = order[start:start + batch]
            optimizer.zero_grad()
            loss(model(x[chosen]), y[chosen]).backward()
            optimizer.step()
    return run


def art(network, images, targets, upsilon, batch):
    """ART's `SaliencyMapMethod` with θ = 1, γ = Υ.

    Args:
        network: a `nn.Network`.
        images, targets: (n, 28, 28) and (n,) classes.
        upsilon: Υ in percent.
        batch: how many samples it works on at once.
    """
    torch = _torch()
    from art.attacks.evasion import SaliencyMapMethod
    from art.estimators.classification import PyTorchClassifier
    classifier = PyTorchClassifier(logits_module(network), torch.nn.CrossEntropyLoss(),
                                   (1, 28, 28), 10, device_type="cpu", clip_values=(0, 1))
    attack = SaliencyMapMethod(classifier, theta=1.0, gamma=upsilon / 100, batch_size=batch,
                               verbose=False)
    wanted = np.eye(10, dtype=np.float32)[targets]
    return lambda: attack.generate(images[:, None], y=wanted)


def torchattacks(network, images, targets, upsilon):
    """torchattacks' `JSMA` with θ = 1, γ = Υ; arguments as for `art`."""
    torch = _torch()
    import torchattacks as library
    attack = library.JSMA(logits_module(network), theta=1.0, gamma=upsilon / 100)
    attack.set_device(torch.device("cpu"))
    attack.set_mode_targeted_by_label(quiet=True)
    x = torch.from_numpy(images[:, None])
    y = torch.from_numpy(targets)
    return lambda: attack(x, y)


def dense_search(alpha, beta):
    """Eq. 10 for each row of α, β (B, M) over the whole M×M table: where the best score stands."""
    def run():
        """The first of the largest scores, as the textbook has them."""
        return [pair_scores(*row).argmax() for row in zip(alpha, beta)]
    return run


def _torch():
    """The library torch, computing on all cores."""
    import torch
    torch.set_num_threads(cores())
    return torch


def _jacobian(network, images, name):
    torch = _torch()
    model = logits_module(network).requires_grad_(False)
    derivative = torch.func.vmap(getattr(torch.func, name)(lambda image: model(image[None])[0]))
    x = torch.from_numpy(np.ascontiguousarray(images[:, None]))
    return lambda: derivative(x)
