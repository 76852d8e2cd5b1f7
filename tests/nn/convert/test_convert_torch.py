"""Networks from PyTorch and to it: the same values, names and weights, and what is refused, by
name."""
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from random_networks import random_graph
from reference import close

from data import load_mnist
from nn import (
    AndNetwork,
    AvgPool2d,
    Conv2d,
    Flatten,
    Layer,
    LeNet,
    Linear,
    MaxPool2d,
    Network,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
    load_weights,
)
from nn.convert.torch import from_torch, to_torch

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'jsma[referees]')")
tnn = torch.nn
ROOT = Path(__file__).parents[3]
DIGITS = load_mnist("test")[0][:4]
TIGHT = {torch.float64: 1e-12, torch.float32: 1e-6}


def lenet5(pool, activation):
    """The LeNet-5 of the tutorials, named as in a nested module."""
    return tnn.Sequential(OrderedDict(
        features=tnn.Sequential(tnn.Conv2d(1, 6, 5, padding=2), activation(), pool(2),
                                tnn.Conv2d(6, 16, 5), activation(), pool(2)),
        classifier=tnn.Sequential(tnn.Flatten(), tnn.Linear(400, 120), activation(), tnn.Dropout(),
                                  tnn.Linear(120, 84), activation(), tnn.Linear(84, 10)))).eval()


def run(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


class InOrder(tnn.Module):
    """Four layers; forward() is `function` (self, x)."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.pool, self.flatten = tnn.Conv2d(1, 2, 3), tnn.MaxPool2d(2), tnn.Flatten()
        self.fc = tnn.Linear(8, 3)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


# the same network

@pytest.mark.parametrize("dtype", TIGHT)
@pytest.mark.parametrize("activation", [tnn.ReLU, tnn.Sigmoid, tnn.Tanh])
@pytest.mark.parametrize("pool", [tnn.AvgPool2d, tnn.MaxPool2d])
def test_the_lenet5_of_the_tutorials(pool, activation, dtype):
    module = lenet5(pool, activation).to(dtype)
    network = from_torch(module, (28, 28))
    x = DIGITS.astype(str(dtype).removeprefix("torch."))
    assert network.logits(x).dtype == x.dtype
    close(network.logits(x), run(module, x[:, None]), TIGHT[dtype])
    close(run(to_torch(network), x[:, None]), run(module, x[:, None]), TIGHT[dtype])
    assert list(network.layers) == [
        "features.0", "features.1", "features.2", "features.3", "features.4", "features.5",
        "classifier.0", "classifier.1", "classifier.2", "classifier.3", "classifier.4",
        "classifier.5", "classifier.6"]
    state = module.state_dict()
    assert list(network.parameters()) == list(state)
    for name, array in network.parameters().items():
        assert array.dtype == x.dtype
        np.testing.assert_array_equal(array, state[name].numpy())
        assert not np.shares_memory(array, state[name].numpy())


def test_the_shipped_lenet_to_torch():
    network = LeNet.pretrained()
    module = to_torch(network)
    assert list(module.state_dict()) == list(network.parameters())
    x = DIGITS
    close(run(module[:-1], x[:, None]), network.logits(x), 1e-6)
    close(run(module, x[:, None]), network.probabilities(x), 1e-6)
    precise = x.astype(float)
    close(run(module.double(), precise[:, None]), network.probabilities(precise), 1e-12)
    assert not any(np.shares_memory(p.detach().numpy(), network.parameters()[name])
                   for name, p in to_torch(network).named_parameters())


@pytest.mark.parametrize("network", [
    LeNet(), AndNetwork(),
    Network([Linear(5, 4, bias=False), Tanh(), Linear(4, 3), Softmax()], (5,)),
    Network([Flatten(), Linear(6, 3), ReLU()], (2, 3)),
    Network({"a.0": Conv2d(2, 3, (3, 2), (1, 2), (2, 0), bias=False),
             "a.1.x": MaxPool2d((2, 1), 1), "a.1.y": Softmax(),
             "b": AvgPool2d(2, (1, 2)), "c": Flatten()}, (2, 7, 9)),
    Network([Conv2d(1, 2, 3), Softmax()], (5, 6)),
], ids=["lenet", "and", "flat", "rows", "nested", "positions"])
def test_there_and_back(network):
    back = from_torch(to_torch(network), network.input_shape)
    reprs = [{name: repr(layer) for name, layer in one.layers.items()} for one in (back, network)]
    assert reprs[0] == reprs[1]
    assert back.input_shape == network.input_shape
    for name, array in network.parameters().items():
        np.testing.assert_array_equal(back.parameters()[name], array)
    x = np.random.default_rng(0).normal(size=(3, network.features))
    np.testing.assert_array_equal(back.probabilities(x), network.probabilities(x))
    if isinstance(list(network.layers.values())[-1], (Softmax, Sigmoid)):
        is_flat = len(network.input_shape) == 1
        shaped = x.reshape(3, *((-1,) if is_flat else (1, *network.input_shape)[-3:]))
        expected = run(to_torch(network).double(), shaped).reshape(3, -1)
        close(network.probabilities(x), expected, 1e-12)


@pytest.mark.parametrize("conv", [
    tnn.Conv2d(2, 3, (3, 5), padding="same"), tnn.Conv2d(2, 3, 2, padding="valid"),
    tnn.Conv2d(2, 3, (2, 3), (3, 1), (0, 2), bias=False)])
def test_convolutions(conv):
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 7))
    network = from_torch(tnn.Sequential(conv), (2, 6, 7))
    close(network.logits(x), run(conv.double(), x).reshape(2, -1), 1e-12)


def test_one_layer_may_stand_twice():
    activation = tnn.ReLU(inplace=True)
    module = tnn.Sequential(activation, tnn.Linear(4, 4), activation, tnn.Identity(),
                            tnn.Linear(4, 2))
    network = from_torch(module, (4,))
    assert list(network.layers) == ["0", "1", "2", "4"]
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    close(network.logits(x), run(module, x.copy()), 1e-6)


def test_a_module_whose_layers_run_in_order():
    module = InOrder(lambda self, x: self.fc(self.flatten(self.pool(self.conv(x)))))
    module.conv.weight.data = module.conv.weight.data.to(memory_format=torch.channels_last)
    network = from_torch(module, (6, 6))
    assert list(network.layers) == ["conv", "pool", "flatten", "fc"]
    x = np.random.default_rng(0).normal(size=(3, 1, 6, 6)).astype(np.float32)
    close(network.logits(x), run(module, x), 1e-6)
    assert module.training and module.fc.weight.dtype == torch.float32


def test_nothing_is_drawn_or_changed():
    state = torch.get_rng_state()
    to_torch(from_torch(to_torch(LeNet()), (28, 28)))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_state_dict_loads_without_torch(tmp_path):
    path, module = tmp_path / "weights.npz", lenet5(tnn.AvgPool2d, tnn.Sigmoid)
    np.savez(path, **{k: v.numpy() for k, v in module.state_dict().items()})
    network = from_torch(lenet5(tnn.AvgPool2d, tnn.Sigmoid), (28, 28))
    x = DIGITS[:2]
    close(load_weights(path, network).logits(x), run(module, x[:, None]), 1e-6)
    torch_weights = to_torch(LeNet(seed=3)).state_dict()
    np.savez(path, **{k: v.numpy() for k, v in torch_weights.items()})
    code = ("import sys; sys.modules['torch'] = None; "
            "import nn, nn.convert.torch, nn.verify.frameworks; "
            f"print(nn.load_weights({str(path)!r}, nn.LeNet()).parameters()['fc2.bias'][0])")
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                             check=True)
    assert np.float32(process.stdout) == torch_weights["fc2.bias"][0].item()


# what is refused

SINGLE = {
    "padding mode": (tnn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
                     "padding_mode='reflect'"),
    "max dilation": (tnn.MaxPool2d(2, dilation=2), "dilation=2"),
    "max indices": (tnn.MaxPool2d(2, return_indices=True), "return_indices=True"),
    "softmax over rows": (tnn.Softmax(dim=2), "dim=2"),
    "softmax over columns": (tnn.Softmax(dim=-1), "dim=-1"),
    "softmax over nothing said": (tnn.Softmax(), "dim=None"),
    "flatten": (tnn.Flatten(2), "start_dim=2"),
    "flatten to": (tnn.Flatten(1, 2), "end_dim=2"),
    "dropout": (tnn.Dropout(), "call module.eval() first"),
    "batch norm": (tnn.BatchNorm2d(2), "call module.eval() first"),
    "batch statistics": (tnn.BatchNorm2d(2, track_running_stats=False).eval(),
                         "without running statistics"),
    "instance norm": (tnn.InstanceNorm2d(2), "InstanceNorm2d is none of the layers we know"),
    "layer norm of rows": (tnn.LayerNorm(8), "takes all units of a sample; its input has 2×8×8"),
    "subclass": (type("Mine", (tnn.Conv2d,), {})(2, 2, 3), "Mine is none of the layers we know"),
    "complex": (tnn.Conv2d(2, 2, 3, dtype=torch.complex64), "weight must be float32 or float64"),
    "kernel": (tnn.MaxPool2d((2,)), "kernel_size must be a whole number"),
    "nan": (tnn.Conv2d(2, 2, 3, bias=True).apply(lambda conv: conv.bias.data.fill_(torch.nan)),
            "bias has NaN"),
}


@pytest.mark.parametrize("case", SINGLE)
def test_refused_layers_are_named(case):
    layer, said = SINGLE[case]
    kind = TypeError if "none of" in said or "must be float" in said else ValueError
    with pytest.raises(kind) as caught:
        from_torch(tnn.Sequential(OrderedDict(first=tnn.Tanh(), part=tnn.Sequential(layer))),
                   (2, 8, 8))
    assert str(caught.value).startswith("layer 'part.0': ")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def read(module, pooled):
    """The rest of the way from what was pooled."""
    return module.fc(module.flatten(pooled))


def whole(module, x):
    return read(module, module.pool(module.conv(x)))


@pytest.mark.parametrize(("function", "said"), [
    (lambda self, x: whole(self, x).sum(dim=1), r"^layer 'sum': sum\(\) is none of"),
    (lambda self, x: whole(self, x).clamp(max=0.2), "clamp.. with such bounds is none of"),
    (lambda self, x: whole(self, x).cumsum(1), "cumsum.. is none of the layers"),
    (lambda self, x: read(self, self.pool(self.pool(self.conv(x)))),
     "layer 'fc': .* takes 8 features"),
    (lambda self, x: torch.cat([whole(self, x), torch.ones(len(x), 1)], 1),
     "layer 'cat': it takes something that is no"),
    (lambda self, x: whole(self, x) * x.mean(dim=(2, 3)),
     "layer 'mul': mul.. of two branches is none of the layers .*attack.TorchModel"),
    (lambda self, x: self.fc(torch.flatten(self.pool(self.conv(x)))),
     "layer 'flatten.*': Flatten with start_dim=0"),
    (lambda self, x: read(self, tnn.functional.dropout(self.pool(self.conv(x)))),
     "layer 'dropout': dropout.. is random with training=True; .*module.eval"),
    (lambda self, x: read(self, torch.cat([self.pool(self.conv(x))] * 2, dim=2)),
     "along axis 2 is not"),
    (lambda self, x: self.conv(x) + x.mean(dim=(2, 3), keepdim=True),
     "layer 'add': add.. takes branches of one shape"),
    (lambda self, x: read(self, self.pool(self.conv(x[:, :, 1:]))),
     "layer 'getitem': getitem.. is none of"),
    (lambda self, x: read(self, self.pool(self.conv(self.conv(x)))), "layer 'conv_1': .* takes 1 "),
    (lambda self, x: whole(self, x) if x.sum() > 0 else x, "cannot be followed layer"),
    (lambda self, x: whole(self, x) * x.sum().item(), "depends on the values .* .item."),
])
def test_what_forward_does_beside_its_layers(function, said):
    module = InOrder(function)
    with pytest.raises((TypeError, ValueError), match=said) as caught:
        from_torch(module, (6, 6))
    assert "\n" not in str(caught.value)


class Block(tnn.Module):
    """A residual block as in torchvision: one ReLU called twice, a sum in place."""

    def __init__(self, into, out, stride):
        super().__init__()
        self.conv1, self.bn1 = tnn.Conv2d(into, out, 3, stride, 1, bias=False), tnn.BatchNorm2d(out)
        self.conv2, self.bn2 = tnn.Conv2d(out, out, 3, 1, 1, bias=False), tnn.BatchNorm2d(out)
        self.relu = tnn.ReLU(inplace=True)
        self.downsample = tnn.Sequential(tnn.Conv2d(into, out, 1, stride, bias=False),
                                         tnn.BatchNorm2d(out))

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.downsample(x)
        return self.relu(out)


class Functional(tnn.Module):
    """What people write with functions, views and branches."""

    def __init__(self):
        super().__init__()
        self.block, self.conv = Block(2, 4, 2), tnn.Conv2d(2, 3, (2, 1), 2)
        self.fc, self.fc2 = tnn.Linear(84, 5), tnn.Linear(5, 3)

    def forward(self, x):
        f = tnn.functional
        joined = torch.cat([self.block(x), f.leaky_relu(f.avg_pool2d(self.conv(x), 1), 0.2)], 1)
        joined = f.max_pool2d(f.elu(torch.tanh(joined)), (1, 2), (1, 1))
        h = f.dropout(torch.sigmoid(joined).view(x.size(0), -1), training=False)
        return f.softmax(self.fc2(f.softplus(self.fc(h))), dim=1)


def random_statistics(module, seed=0):
    """Weights and statistics that are not those of the start."""
    rng = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            shift = 0.5 if name.endswith("var") else -0.5
            tensor.copy_(torch.rand(tensor.shape, generator=rng) + shift)
    return module.double().eval()


def test_functions_views_and_residual_blocks():
    module = random_statistics(Functional())
    network = from_torch(module, (2, 6, 9))
    x = np.random.default_rng(0).normal(size=(3, 2, 6, 9))
    close(network.probabilities(x), run(module, x), 1e-12)
    assert [name for name in network.layers if name.startswith("block.")] == [
        "block.conv1", "block.bn1", "block.relu", "block.conv2", "block.bn2", "block.downsample.0",
        "block.downsample.1", "block.relu_1"]
    jacobian = torch.func.vmap(torch.func.jacrev(lambda one: module(one[None])[0]))
    expected = jacobian(torch.from_numpy(x)).detach().numpy().reshape(3, 3, -1)
    close(network.forward_derivative(x, of="probabilities"), expected, 1e-12)
    names = {name for name in module.state_dict() if not name.endswith("tracked")}
    assert set(network.parameters()) == names


@pytest.mark.parametrize("seed", range(12))
def test_graphs_there_and_back(seed):
    network, x = random_graph(seed)
    try:
        module = to_torch(network)
    except ValueError as error:
        assert "flat" in str(error).lower()
        return
    again = from_torch(module, network.input_shape)
    close(again.probabilities(x), network.probabilities(x), 1e-12)
    close(again.forward_derivative(x), network.forward_derivative(x), 1e-12)


@pytest.mark.parametrize(("module", "shape", "kind", "said"), [
    (LeNet(), (28, 28), TypeError, "module must be a torch.nn.Module; got LeNet"),
    (tnn.Sequential(), (3,), ValueError, "at least one layer"),
    (tnn.Sequential(tnn.Linear(4, 2)), (3,), ValueError,
     "layer '0': .* takes 4 features; its input has 3"),
    (tnn.Sequential(tnn.Linear(4, 2)), (4, 1, 1), ValueError,
     "module does not run on .*5, 4, 1, 1"),
    (InOrder(lambda self, x: (whole(self, x), x)), (6, 6), TypeError, "got tuple"),
    (InOrder(None), (9, 9), ValueError,
     "module does not run on float64 input of shape .5, 1, 9, 9.: 'NoneType'"),
])
def test_refused_modules(module, shape, kind, said):
    with pytest.raises(kind, match=said) as caught:
        from_torch(module, shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("layers", "shape", "kind", "said"), [
    ({"fc": Linear(4, 2)}, (4, 1, 1), ValueError,
     "layer 'fc': torch needs a Flatten before Linear"),
    ({"flat": Flatten(), "pool": MaxPool2d(1)}, (2, 2), ValueError,
     "layer 'pool': in torch MaxPool2d takes images"),
    ({"conv": Conv2d(4, 2, 1)}, (4,), ValueError, "layer 'conv': in torch Conv2d takes images"),
    ({"mine": Layer()}, (4,), TypeError, "layer 'mine': Layer is none of the layers we know"),
    ({"a.0": Tanh(), "b": Tanh(), "a.1": Tanh()}, (4,), ValueError,
     r"nest in their own order; got a\.0, b, a\.1"),
    ({"a": Tanh(), "a.0": Sigmoid()}, (4,), ValueError, "nest in their own order"),
    ({"forward": Tanh()}, (4,), ValueError, "layer 'forward': torch does not take this name"),
    ({"a..b": Tanh()}, (4,), ValueError, "layer 'a..b': torch does not take this name"),
])
def test_networks_that_torch_cannot_have(layers, shape, kind, said):
    with pytest.raises(kind, match=said) as caught:
        to_torch(Network(layers, shape))
    assert "\n" not in str(caught.value)
