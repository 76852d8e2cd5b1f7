"""The network's work done by torch, on a device of its choice: `--torch cuda` where there is a GPU.

In: a `nn.Network` and a device, "cpu" or "cuda". Out: a model with the same weights whose values
and transposed chain are torch's (`OnTorch`), and an epoch of training (`torch_epoch`). The forward
derivative stays the network's own. Numbers are float32 without shortcuts, so that both differ by
rounding alone.
"""
from collections import OrderedDict

import numpy as np

from attack import TorchModel
from nn import Softmax, to_torch
from nn.training import batches

BATCH = 300  # samples in work at once: a GPU takes as long for 30


class OnTorch:
    """A network whose values and transposed chain torch computes; `attack.craft_run` takes it for
    the network itself, so that a run can go on without torch.

    Args:
        network: a `nn.Network` that ends with a softmax.
        device: a name that torch knows.
    """
    def __init__(self, network, device):
        self.network = network
        self.device = device
        self.classes = network.classes
        self.layers = network.layers
        self.inputs = network.inputs
        self.output_activation = network.output_activation
        self._model = None

    def __getstate__(self):
        """Without the module: each process puts its own on the device."""
        return {**self.__dict__, "_model": None}

    def parameters(self):
        """Those of the network."""
        return self.network.parameters()

    def logits(self, x):
        """(n, …) → (n, N)."""
        x = self._images(x)
        parts = [self._on_device.logits(x[start:start + BATCH])
                 for start in range(0, len(x), BATCH)]
        return np.concatenate([np.zeros((0, self.classes), x.dtype), *parts])

    def predict(self, x):
        """(n, …) → (n,) classes."""
        return self.logits(x).argmax(axis=1)

    def probabilities(self, x):
        """(n, …) → (n, N)."""
        return self.layers[list(self.layers)[-1]].forward(self.logits(x)[:, None, None])[0][:, 0, 0]

    def forward_derivative(self, x, of="logits"):
        """(B, …) → (B, N, M), by the network itself (Eq. 3 to 6)."""
        return self.network.forward_derivative(x, of)

    def vjp(self, x):
        """(B, …) → ((B, N) logits, pull), pull(v (B, K, N)) → (B, K, M)."""
        return self._on_device.vjp(self._images(x))

    def backward_derivative(self, x, cotangents):
        """(B, …), v (B, K, N) → (B, K, M)."""
        return self.vjp(x)[1](cotangents)

    @property
    def _on_device(self):
        if self._model is None:
            self._model = TorchModel(logits_module(self.network).to(ready(self.device)))
        return self._model

    def _images(self, x):
        return np.asarray(x).reshape(len(x), *self.network.input_shape)


def ready(device):
    """The torch device of that name, on which float32 is float32. ValueError where there is no
    torch or no such device."""
    try:
        import torch
    except ImportError as error:
        raise ValueError(f"torch cannot be imported ({error}): pip install 'jsma[referees]'"
                         ) from None
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True  # the same bytes again
    try:
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"torch has no device {device!r} here: {error}".splitlines()[0]) from None


def logits_module(network):
    """The torch module that gives the logits of a `nn.Network`, a chain; layers by their names."""
    import torch
    layers = list(to_torch(network).named_children())
    count = len(layers) - isinstance(list(network.layers.values())[-1], Softmax)
    return torch.nn.Sequential(OrderedDict(layers[:count])).eval()


def torch_epoch(network, images, labels, optimizer, batch_size, seed, epoch, progress=None,
                shuffled=True, *, device):
    """As `nn.training.train_epoch`, by torch on `device`: weights and velocities go there and come
    back.

    Args:
        network, images, labels, optimizer, batch_size, seed, epoch, shuffled: as there.
        progress: called once, at the end.
        device: a name that torch knows.

    Returns:
        The mean loss.
    """
    import torch
    device = ready(device)
    module = logits_module(network).to(device)
    parameters = dict(module.named_parameters())
    velocity = {name: torch.as_tensor(array, device=device)
                for name, array in optimizer.velocity.items()}
    x = torch.as_tensor(np.reshape(images, (len(images), *network.input_shape)), device=device)
    y = torch.as_tensor(labels, device=device).long()
    total = torch.zeros((), device=device)
    for chosen in batches(len(images), batch_size, seed, epoch, shuffled):
        chosen = torch.as_tensor(chosen, device=device)
        loss = torch.nn.functional.cross_entropy(module(x[chosen]), y[chosen])
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for (name, parameter), gradient in zip(parameters.items(), gradients):
                velocity[name].mul_(optimizer.momentum).add_(gradient)
                parameter.sub_(optimizer.lr * velocity[name])
            total += loss * len(chosen)
    network.load({**network.parameters(), **_arrays(parameters)})
    optimizer.velocity = _arrays(velocity)
    mean = float(total) / max(len(images), 1)
    if progress is not None:
        progress(len(images), len(images), mean)
    return mean


def _arrays(tensors):
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
