"""PyTorch modules as people write them: constants, shapes, functions, wrappers, several answers,
each held against torch's own values and derivatives; and what is refused, in one line by name."""
import warnings

import numpy as np
import pytest
from reference import close

from nn.convert.torch import from_torch, to_torch

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'jsma[referees]')")
tnn, f = torch.nn, torch.nn.functional


class Forward(tnn.Module):
    """forward() is `function` (self, x); the parts are modules, parameters, tensors, numbers."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


class Normalize(tnn.Module):
    """As in front of torchvision's networks."""

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[None, :, None, None])
        self.register_buffer("std", torch.tensor(std)[None, :, None, None])

    def forward(self, x):
        return (x - self.mean) / self.std


class FlattenAll(tnn.Module):
    """What people wrote before torch had its own."""

    def forward(self, x):
        return x.view(x.size(0), -1)


FlattenAll.__name__ = "Flatten"


class LeNet5(tnn.Module):
    """That of PyTorch's first tutorial, with a loop over sizes and a flag."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = tnn.Conv2d(1, 3, 5), tnn.Conv2d(3, 4, 3)
        self.fc1, self.fc2 = tnn.Linear(16, 12), tnn.Linear(12, 5)

    def num_flat_features(self, x):
        number = 1
        for size in x.size()[1:]:
            number *= size
        return number

    def forward(self, x, features=False, scale=None):
        x = f.max_pool2d(f.relu(self.conv1(x)), (2, 2))
        x = f.max_pool2d(f.relu(self.conv2(x)), 2)
        x = x.view(-1, self.num_flat_features(x))
        if features:
            return x
        if scale is not None:
            x = x * scale
        x = f.dropout(f.relu(self.fc1(x)), training=self.training)
        return f.log_softmax(self.fc2(x), dim=1)


class BasicBlock(tnn.Module):
    """A residual block as in the ResNets for CIFAR-10."""

    def __init__(self, into, out, stride=1):
        super().__init__()
        self.conv1, self.bn1 = tnn.Conv2d(into, out, 3, stride, 1, bias=False), tnn.BatchNorm2d(out)
        self.conv2, self.bn2 = tnn.Conv2d(out, out, 3, 1, 1, bias=False), tnn.BatchNorm2d(out)
        self.shortcut = tnn.Sequential()
        if stride != 1 or into != out:
            self.shortcut = tnn.Sequential(tnn.Conv2d(into, out, 1, stride, bias=False),
                                           tnn.BatchNorm2d(out))

    def forward(self, x):
        out = self.bn2(self.conv2(f.relu(self.bn1(self.conv1(x)))))
        out += self.shortcut(x)
        return f.relu(out)


class SmallResNet(tnn.Module):
    """Such a network, with its own normalisation in front."""

    def __init__(self):
        super().__init__()
        self.mean, self.std = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
        self.layer1, self.layer2 = BasicBlock(3, 3), BasicBlock(3, 4, 2)
        self.linear = tnn.Linear(4, 5)

    def forward(self, x):
        mean = torch.tensor(self.mean, device=x.device).view(1, 3, 1, 1)
        std = torch.as_tensor(self.std).to(x)[None, :, None, None]
        out = self.layer2(self.layer1((x - mean) / std))
        out = f.avg_pool2d(out, out.shape[-1])
        return self.linear(out.view(out.size(0), -1))


class Dense(tnn.Module):
    """A dense block as in torchvision: a list of what was made so far."""

    def __init__(self):
        super().__init__()
        self.convs = tnn.ModuleList([tnn.Conv2d(2 + 2 * n, 2, 3, padding=1) for n in range(3)])

    def forward(self, x):
        features = [x]
        for conv in self.convs:
            features.append(f.relu(conv(torch.cat(features, 1))))
        return torch.cat(features, dim=1).mean([2, 3])


class Inception(tnn.Module):
    """Branches of different kernels side by side."""

    def __init__(self):
        super().__init__()
        self.branch1 = tnn.Conv2d(2, 2, 1)
        self.branch2 = tnn.Sequential(tnn.Conv2d(2, 1, 1), tnn.Conv2d(1, 2, 3, padding=1))

    def forward(self, x):
        outputs = [self.branch1(x), self.branch2(x), f.avg_pool2d(x, 1)]
        return torch.cat(outputs, 1)


class Perceptron(tnn.Module):
    """Any number of layers in a loop, with an activation that is handed over."""

    def __init__(self, *sizes, activation=torch.tanh):
        super().__init__()
        self.layers = tnn.ModuleList(map(tnn.Linear, sizes, sizes[1:]))
        self.activation = activation

    def forward(self, x):
        x = torch.flatten(x, start_dim=1)
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number < len(self.layers) - 1:
                x = self.activation(x)
        return x


def convolutions(*widths):
    """As VGG's makers of layers do it."""
    layers = []
    for into, out in zip(widths, widths[1:]):
        layers += [tnn.Conv2d(into, out, 3, padding=1), tnn.BatchNorm2d(out),
                   tnn.ReLU(inplace=True), tnn.MaxPool2d(2, 2)]
    return tnn.Sequential(*layers)


class Excitation(tnn.Module):
    """Squeeze and excite."""

    def __init__(self):
        super().__init__()
        self.fc = tnn.Sequential(tnn.Linear(2, 2), tnn.ReLU(), tnn.Linear(2, 2), tnn.Sigmoid())

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


def weights(*shape):
    return tnn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))))


def flat(function, **parts):
    """A module of three features."""
    return Forward(function, fc=tnn.Linear(3, 2), fc2=tnn.Linear(3, 2), **parts), (3,)


def maps(function, **parts):
    """A module of images 6×6 whose function takes four maps of 4×4."""
    parts = {"conv": tnn.Conv2d(1, 4, 3)} | parts
    return Forward(lambda self, x: function(self, self.conv(x)), **parts), (1, 6, 6)


def image(function, shape=(1, 6, 6), **parts):
    return Forward(function, **parts), shape


CONSTANTS = {  # case: (module, shape of a sample), the layers
    "normalize": ((tnn.Sequential(Normalize([0.4, 0.5], [0.2, 0.3]), tnn.Conv2d(2, 3, 3)),
                   (2, 5, 4)), "0 Affine, 1 Conv2d"),
    "in a block": ((tnn.Sequential(tnn.Sequential(Normalize([0.4], [0.2])), tnn.Conv2d(1, 3, 3)),
                    (1, 5, 4)), "0.0 Affine, 1 Conv2d"),
    "x / 255": (flat(lambda self, x: self.fc(x / 255)), "div Affine, fc Linear"),
    "x · 0.1": (flat(lambda self, x: self.fc(0.1 * x)), "mul Affine, fc Linear"),
    "x + c": (flat(lambda self, x: self.fc(x + self.c), c=1.5), "add Affine, fc Linear"),
    "c − x": (flat(lambda self, x: self.fc(1 - x)), "rsub Affine, fc Linear"),
    "−x": (flat(lambda self, x: -self.fc(x)), "fc Linear, neg Affine"),
    "a tensor of features": (flat(lambda self, x: self.fc(self.c - x), c=torch.rand(3)),
                             "sub Affine, fc Linear"),
    "a parameter": (flat(lambda self, x: self.fc(x) * self.c, c=weights(2)),
                    "fc Linear, mul Affine"),
    "a temperature": (flat(lambda self, x: self.fc(x) / self.c, c=weights(1)),
                      "fc Linear, div Affine"),
    "a tensor made there": (image(lambda self, x: x.sub(torch.tensor([1., 2.]).view(-1, 1, 1)),
                                  (2, 3, 4)), "sub Affine"),
    "of the image's kind": (image(lambda self, x: x * x.new_tensor([2., 3., 4., 5.]), (2, 3, 4)),
                            "mul Affine"),
    "a mean image": (image(lambda self, x: x - self.c, (2, 3, 4), c=weights(2, 3, 4)),
                     "sub Affine"),
    "as large as the batch": (image(lambda self, x: x + self.c.expand_as(x), (2, 3, 4),
                                    c=weights(1, 2, 1, 1)), "add Affine"),
    "a chain": (flat(lambda self, x: self.fc(((x - 0.5) / 0.5 + self.c) * 2), c=weights(3)),
                "mul Affine, fc Linear"),
    "in place": (flat(lambda self, x: self.fc(x.clone().sub_(0.1).div_(self.c)), c=weights(3)),
                 "div Affine, fc Linear"),
    "used twice": (flat(lambda self, x: (lambda y: self.fc(y + 1) + self.fc2(y))(x * 2)),
                   "mul Affine, add Affine, fc Linear, fc2 Linear, add_1 Add"),
    "nothing": (flat(lambda self, x: self.fc(x * 1 + 0)), "fc Linear"),
    "rsub with alpha": (flat(lambda self, x: self.fc(torch.rsub(x, 2, alpha=3))),
                        "rsub Affine, fc Linear"),
    "x − y": (flat(lambda self, x: self.fc(x) - self.fc2(x)),
              "fc Linear, fc2 Linear, sub Affine, sub_1 Add"),
    "x + α·y": (flat(lambda self, x: torch.add(self.fc(x), self.fc2(x), alpha=0.5)),
                "fc Linear, fc2 Linear, add Affine, add_1 Add"),
    "sum of a list": (flat(lambda self, x: sum([self.fc(x), self.fc2(x), self.fc(x)])),
                      "fc Linear, fc2 Linear, fc_1 Linear, add Add, add_1 Add"),
}
SHAPES = {
    "view": (image(lambda self, x: self.fc(x.view(-1, 36)), fc=tnn.Linear(36, 2)),
             "view Flatten, fc Linear"),
    "an own Flatten": ((tnn.Sequential(tnn.Conv2d(1, 2, 3), FlattenAll(), tnn.Linear(32, 3)),
                        (1, 6, 6)), "0 Conv2d, 1 Flatten, 2 Linear"),
    "reshape by len": (maps(lambda self, x: x.reshape(len(x), -1)), "conv Conv2d, reshape Flatten"),
    "view by shape": (maps(lambda self, x: x.view(x.shape[0], x.shape[1] * x.shape[2] * 4)),
                      "conv Conv2d, view Flatten"),
    "flatten to 3": (maps(lambda self, x: x.flatten(1, 3)), "conv Conv2d, flatten Flatten"),
    "flatten from −3": (maps(lambda self, x: torch.flatten(x, start_dim=-3)),
                        "conv Conv2d, flatten Flatten"),
    "torch's Flatten from −3": ((tnn.Sequential(tnn.Tanh(), tnn.Flatten(-3)), (2, 3, 4)),
                                "0 Tanh, 1 Flatten"),
    "in two steps": (maps(lambda self, x: x.view(len(x), 4, -1).flatten(1)),
                     "conv Conv2d, flatten Flatten"),
    "unsqueeze": (image(lambda self, x: self.conv(x.unsqueeze(1)), (6, 6),
                        conv=tnn.Conv2d(1, 2, 3)), "conv Conv2d"),
    "squeeze": (image(lambda self, x: self.fc(x.squeeze(1).flatten(1)), fc=tnn.Linear(36, 2)),
                "flatten Flatten, fc Linear"),
    "squeeze of positions": (maps(lambda self, x: f.avg_pool2d(x, x.size()[2:]).squeeze(-1)
                                  .squeeze(-1)), "conv Conv2d, avg_pool2d AvgPool2d, "
                             "squeeze Flatten"),
    "an index": (maps(lambda self, x: f.adaptive_avg_pool2d(x, (1, 1))[:, :, 0, 0]),
                 "conv Conv2d, adaptive_avg_pool2d AdaptiveAvgPool2d, getitem Flatten"),
    "a flat image, view": (image(lambda self, x: self.conv(x.view(-1, 1, 6, 6)), (36,),
                                 conv=tnn.Conv2d(1, 2, 3)), "conv Conv2d"),
    "a flat image, Unflatten": ((tnn.Sequential(tnn.Unflatten(1, (1, 6, 6)), tnn.Conv2d(1, 2, 3)),
                                 (36,)), "1 Conv2d"),
    "a flat image, scaled": (image(lambda self, x: self.conv((x / 255 - self.c).view(-1, 2, 3, 6)),
                                   (36,), conv=tnn.Conv2d(2, 2, 2), c=weights(36)),
                             "sub Affine, conv Conv2d"),
    "a flat image, rows first": (image(lambda self, x: self.conv(x.view(-1, 6, 6).unsqueeze(1)),
                                       (36,), conv=tnn.Conv2d(1, 2, 3)), "conv Conv2d"),
    "a decoder": (image(lambda self, x: self.conv(self.fc(x).view(-1, 2, 3, 4)), (5,),
                        fc=tnn.Linear(5, 24), conv=tnn.Conv2d(2, 2, 2)),
                  "fc Linear, view Unflatten, conv Conv2d"),
    "Unflatten": ((tnn.Sequential(tnn.Flatten(), tnn.Linear(12, 8), tnn.Unflatten(1, (2, 2, 2)),
                                  tnn.Conv2d(2, 3, 2)), (2, 3, 2)),
                  "0 Flatten, 1 Linear, 2 Unflatten, 3 Conv2d"),
    "positions of a row": (image(lambda self, x: self.conv(self.fc(x)[:, :, None, None]), (3,),
                                 fc=tnn.Linear(3, 4), conv=tnn.Conv2d(4, 2, 1)),
                           "fc Linear, getitem Unflatten, conv Conv2d"),
    "one logit": (image(lambda self, x: self.fc(x).squeeze(1), (3,), fc=tnn.Linear(3, 1)),
                  "fc Linear"),
    "a mean": (maps(lambda self, x: x.mean((2, 3))), "conv Conv2d, mean AdaptiveAvgPool2d, "
               "mean_1 Flatten"),
    "a mean that keeps": (maps(lambda self, x: x.mean(dim=(-2, -1), keepdim=True)),
                          "conv Conv2d, mean AdaptiveAvgPool2d"),
    "means of rows": (maps(lambda self, x: torch.mean(x, 3).mean(2)), "conv Conv2d, "
                      "mean AvgPool2d, mean_1 AdaptiveAvgPool2d, mean_2 Flatten"),
    "a mean of a view": (maps(lambda self, x: x.flatten(2).mean(-1)),
                         "conv Conv2d, mean AdaptiveAvgPool2d, mean_1 Flatten"),
    "grey to colour": (image(lambda self, x: self.conv(x.repeat(1, 3, 1, 1)),
                             conv=tnn.Conv2d(3, 2, 3)), "repeat Concat, conv Conv2d"),
    "expand": (image(lambda self, x: self.conv(x.expand(-1, 3, -1, -1)), conv=tnn.Conv2d(3, 2, 3)),
               "expand Concat, conv Conv2d"),
}
PROGRAMS = {
    "Linear alone": ((tnn.Linear(4, 2), (4,)), "linear Linear"),
    "by keyword": (flat(lambda self, x: self.fc(input=f.relu(input=x))), "relu ReLU, fc Linear"),
    "called input": (image(lambda self, x: self.input(x), (3,), input=tnn.Linear(3, 2)),
                     "input_1 Linear"),
    "twice": (flat(lambda self, x: self.same(torch.tanh(self.same(x))), same=tnn.Linear(3, 3)),
              "same Linear, tanh Tanh, same_1 Linear"),
    "of the shape": (flat(lambda self, x: self.fc(x) if x.dim() == 2 and x.shape[1] == 3 else x),
                     "fc Linear"),
    "what nobody needs": (flat(lambda self, x: (self.fc2(x).exp(), self.fc(x))[1]), "fc Linear"),
    "casts": (flat(lambda self, x: self.fc(x.to("cpu").contiguous().type_as(self.fc.weight))),
              "fc Linear"),
    "functions": (image(lambda self, x: f.linear(
        f.conv2d(x, self.w, self.b, stride=2, padding=1).flatten(1), self.v), w=weights(2, 1, 3, 3),
        b=weights(2), v=weights(3, 18)), "conv2d Conv2d, flatten Flatten, linear Linear"),
    "between bounds": (flat(lambda self, x: torch.clamp(self.fc(x), -0.3, 0.4)),
                       "fc Linear, clamp Hardtanh"),
    "newer layers": (maps(lambda self, x: f.gelu(f.silu(f.relu6(f.max_pool2d(x, 3, 2, 1))))),
                     "conv Conv2d, max_pool2d MaxPool2d, relu6 ReLU6, silu SiLU, gelu GELU"),
    "newer options": (maps(lambda self, x: f.avg_pool2d(f.conv2d(
        x, self.w, padding="same", dilation=2, groups=2), 3, 2, ceil_mode=True),
                           w=weights(4, 2, 3, 3)),
                      "conv Conv2d, conv2d Conv2d, avg_pool2d AvgPool2d"),
    "by hand": (image(lambda self, x: (x @ self.w + self.b).clamp(min=0).mm(self.v), (5,),
                      w=weights(5, 4), b=weights(4), v=weights(4, 2)),
                "matmul Linear, add Affine, clamp ReLU, mm Linear"),
}
FORUMS = {
    "ResNet": (SmallResNet(), (3, 8, 8)), "DenseNet": (Dense(), (2, 4, 5)),
    "Inception": (tnn.Sequential(Inception(), tnn.ReLU(), tnn.Flatten()), (2, 4, 4)),
    "VGG": (tnn.Sequential(convolutions(3, 4, 5), tnn.AdaptiveAvgPool2d((1, 1)), tnn.Flatten(),
                           tnn.Sequential(tnn.Dropout(0.5), tnn.Linear(5, 3))), (3, 8, 9)),
    "MLP": (Perceptron(12, 6, 5, 3), (1, 3, 4)),
    "Sigmoids": (Perceptron(4, 3, 2, activation=tnn.Sigmoid()), (4,)),
    "autoencoder": (tnn.Sequential(tnn.Flatten(), tnn.Linear(20, 3), tnn.ReLU(), tnn.Linear(3, 20),
                                   Forward(lambda self, x: x.view(-1, 1, 4, 5))), (1, 4, 5)),
}
TAKEN = CONSTANTS | SHAPES | PROGRAMS


def samples(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(3, *shape))


def answers(module, x):
    """Torch's own value (B, N) and Jacobian (B, N, M) in float64."""
    module = module.double()

    def one(sample):
        return module(sample[None]).reshape(-1)

    x = torch.from_numpy(x)
    jacobian = torch.stack([torch.func.jacrev(one)(sample) for sample in x]).detach()
    value = torch.stack([one(sample) for sample in x]).detach()
    return value.numpy(), jacobian.reshape(*value.shape, -1).numpy()


def agree(network, module, x):
    """Value and derivative of `network` at x, in every way, against the module's own."""
    value, jacobian = answers(module, x)
    flat = x.reshape(len(x), -1)
    close(network.logits(flat), value, 1e-12)
    close(network.forward_derivative(flat), jacobian, 1e-12)
    close(network.backward_derivative(flat), jacobian, 1e-12)


@pytest.mark.parametrize("case", TAKEN)
def test_what_people_write(case):
    (module, shape), layers = TAKEN[case]
    network = from_torch(module, shape)
    named = [f"{name} {type(layer).__name__}" for name, layer in network.layers.items()]
    assert ", ".join(named) == layers
    agree(network, module, samples(shape))


@pytest.mark.parametrize("case", FORUMS)
def test_whole_networks_as_on_forums(case):
    module, shape = FORUMS[case]
    for part in module.modules():
        if isinstance(part, tnn.BatchNorm2d):
            part.running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    network = from_torch(module.eval(), shape)
    names = {name for name, _ in module.named_parameters()}
    assert names <= set(network.parameters())
    agree(network, module, samples(shape))


def test_the_lenet_of_the_tutorial_ends_in_log_softmax():
    module = LeNet5().double().eval()
    network = from_torch(module, (16, 16))
    x = samples((1, 16, 16))
    value, jacobian = answers(module, x)
    close(network.probabilities(x), np.exp(value), 1e-12)
    close(network.forward_derivative(x, of="probabilities"), np.exp(value)[:, :, None] * jacobian,
          1e-11)
    assert list(network.layers)[-1] == "fc2" and network.layers["fc2"].parameters["bias"].size == 5
    for end in (tnn.LogSoftmax(dim=1), tnn.LogSoftmax(dim=-1),
                Forward(lambda self, x: x.log_softmax(1))):
        network = from_torch(tnn.Sequential(tnn.Linear(3, 2), end), (3,))
        assert list(network.layers) == ["0"]


def test_x_float_is_read_as_x():
    """The derivative through a cast is that of its values, in the precision that is asked for."""
    module = Forward(lambda self, x: self.fc(x.float() / 255), fc=tnn.Linear(3, 2))
    network = from_torch(module, (3,))
    x = samples((3,)).astype(np.float32)
    with torch.no_grad():
        close(network.logits(x), module(torch.from_numpy(x)).numpy(), 1e-6)


def test_one_of_several_answers():
    module = Forward(lambda self, x: (x.exp(), self.fc(x)), fc=tnn.Linear(3, 2))
    network = from_torch(module, (3,), output=1)
    x = samples((3,))
    agree(network, tnn.Sequential(module.fc), x)
    named = Forward(lambda self, x: {"features": 2 * x, "logits": self.fc(x)}, fc=module.fc)
    agree(from_torch(named, (3,), output="logits"), tnn.Sequential(module.fc), x)
    for wrong, output, said in (
            (module, None, "return a tensor; got tuple of 2; say which with output=0 … output=1"),
            (named, None, "got dict; say which with output='features' or output='logits'"),
            (module, 2, "output=2 is not in the tuple"), (named, 0, "output=0 is not in the dict"),
            (module, 0, "layer 'exp': exp.. is none of the layers")):
        with pytest.raises((TypeError, ValueError), match=said) as caught:
            from_torch(wrong, (3,), output)
        assert "\n" not in str(caught.value)


def compiled(module):
    """A wrapper as `torch.compile` makes it."""
    return Forward(None, _orig_mod=module)


@pytest.mark.parametrize("compiled", [
    compiled, pytest.param(torch.compile, marks=pytest.mark.slow)])
def test_wrappers_are_unwrapped(compiled):
    inner = tnn.Sequential(tnn.Linear(3, 4), tnn.ReLU(), tnn.Linear(4, 2))
    for module in (tnn.DataParallel(inner), compiled(inner), tnn.DataParallel(compiled(inner))):
        network = from_torch(module, (3,))
        assert list(network.layers) == ["0", "1", "2"]
        agree(network, inner, samples((3,)))
    module = tnn.Sequential(tnn.DataParallel(inner), tnn.Sigmoid())
    assert list(from_torch(module, (3,)).layers) == [
        "0.module.0", "0.module.1", "0.module.2", "1"]


@pytest.mark.slow
def test_what_is_compiled_inside_is_seen():
    inner = tnn.Sequential(tnn.Linear(3, 4), tnn.ReLU())
    module = tnn.Sequential(torch.compile(inner), tnn.Linear(4, 2))
    network = from_torch(module, (3,))
    assert list(network.layers) == ["0._orig_mod.0", "0._orig_mod.1", "1"]
    module = tnn.Sequential(inner, module[1])
    agree(network, module, samples((3,)))
    module.compile()
    assert list(from_torch(module, (3,)).layers) == ["0.0", "0.1", "1"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype):
    module = tnn.Sequential(tnn.Linear(3, 4), tnn.Tanh(), tnn.Linear(4, 2)).to(dtype)
    name = str(dtype).removeprefix("torch.")
    with pytest.warns(UserWarning, match=f"weights of {name} are widened to float32"):
        network = from_torch(module, (3,))
    assert {array.dtype for array in network.parameters().values()} == {np.dtype(np.float32)}
    assert module[0].weight.dtype == dtype
    agree(network, module, samples((3,)))


def test_weights_of_a_layer_called_twice_are_copies():
    module = Forward(lambda self, x: self.same(torch.tanh(self.same(x))), same=tnn.Linear(3, 3))
    parameters = from_torch(module, (3,)).parameters()
    np.testing.assert_array_equal(parameters["same.weight"], parameters["same_1.weight"])
    assert not np.shares_memory(parameters["same.weight"], parameters["same_1.weight"])


@pytest.mark.parametrize("case", ["normalize", "a mean image", "a chain", "x − y", "by hand",
                                  "a decoder", "positions of a row"])
def test_there_and_back(case):
    (module, shape), _ = TAKEN[case]
    network = from_torch(module.double(), shape)
    again = from_torch(to_torch(network), shape)
    x = samples(shape)
    close(again.logits(x), network.logits(x), 1e-12)
    close(again.forward_derivative(x), network.forward_derivative(x), 1e-12)
    if network.is_chain:
        state = to_torch(network).state_dict()
        assert list(state) == list(network.parameters())


def test_nothing_of_the_module_changes():
    """Not its weights, statistics, hooks, mode or attributes, and no random number is drawn."""
    def trained(self, x):
        return self.norm(f.dropout(self.fc(x), 0.5)) + torch.randn(1)

    module = Forward(trained, fc=tnn.Linear(3, 2), norm=tnn.BatchNorm1d(2)).double()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    attributes = {part: set(vars(part)) for part in module.modules()}
    generator = torch.get_rng_state()
    for mode in (True, False):
        module.train(mode)
        with pytest.raises(ValueError, match="layer 'dropout': dropout.. is random"):
            from_torch(module, (3,))
        assert module.training == mode
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    for part in module.modules():
        assert set(vars(part)) == attributes[part]
        assert not part._forward_hooks and not part._forward_pre_hooks
    assert torch.equal(torch.get_rng_state(), generator)


REFUSED = {
    "squeeze and excite": (tnn.Sequential(Excitation()), (2, 3, 4),
                           r"layer 'mul': mul\(\) of two branches is none of the layers we know "
                           r"\(see nn/convert/table.py\); attack.TorchModel attacks"),
    "a swish by hand": (tnn.Sequential(Forward(lambda self, x: x * torch.sigmoid(x))), (3,),
                        "layer '0_mul': mul.. of two branches"),
    "1 / x": (flat(lambda self, x: self.fc(1 / x))[0], (3,), "layer 'rdiv': rdiv.. by what"),
    "a power": (flat(lambda self, x: self.fc(x) ** 2)[0], (3,), "layer 'pow': pow.. is none of"),
    "an LSTM": (Forward(lambda self, x: self.rnn(x)[0][:, -1], rnn=tnn.LSTM(6, 4)), (6, 6),
                "layer 'rnn': LSTM is none of"),
    "attention": (Forward(lambda self, x: self.a(x, x, x)[0], a=tnn.MultiheadAttention(4, 2)), (4,),
                  "layer 'a': MultiheadAttention is none of"),
    "whole numbers": (Forward(lambda self, x: self.e(x.long()), e=tnn.Embedding(4, 2)), (4,),
                      "layer 'long': long.. is none of"),
    "axes moved": (image(lambda self, x: x.permute(0, 2, 3, 1))[0], (1, 6, 6),
                   "layer 'permute': permute.. is none of"),
    "another layout": (maps(lambda self, x: torch.relu(x.view(len(x), 2, 8, 4)))[0], (1, 6, 6),
                       r"layer 'view': no layer takes its shape \(B, 2, 8, 4\), which is \(4, 4"),
    "a pool of rows": (flat(lambda self, x: f.adaptive_avg_pool2d(x, 1))[0], (3,),
                       r"layer 'adaptive_avg_pool2d': torch makes the shape \(1, 1\), our layer"),
    "a product of columns": (image(lambda self, x: x @ self.c, c=weights(1, 4))[0], (1, 3, 1),
                             "layer 'matmul': Linear.1, 4. takes 1 features; its input has 1×3×1"),
    "one column's product": (image(lambda self, x: x @ self.c, c=weights(1, 4))[0], (1, 1, 1),
                             r"torch makes the shape \(5, 1, 1, 4\), our layer \(B, 4, 1, 1\)"),
    "written to": (flat(lambda self, x: (x.__setitem__(0, 1.0), self.fc(x))[1])[0], (3,),
                   "layer 'setitem': setitem.. is none of"),
    "a mean of channels": (maps(lambda self, x: x.mean(1))[0], (1, 6, 6),
                           "layer 'mean': mean.. is supported over height and width only"),
    "the batch mixed": (maps(lambda self, x: x.view(-1, 16))[0], (1, 6, 6),
                        r"layer 'view': view\(\) makes \(20, 16\) of \(5, 4, 4, 4\); "),
    "one batch only": (flat(lambda self, x: self.fc(x.view(20, 3)))[0], (3,),
                       r"module does not run on float64 input of shape \(5, 3\): shape '.20"),
    "the first batch only": (flat(lambda self, x: self.fc(x.view(5, 3)))[0], (3,),
                             r"does not run on float64 input of shape \(20, 3\): shape '.5, 3"),
    "chance": (flat(lambda self, x: self.fc(x) + torch.randn(2))[0], (3,), "disagree, by up to"),
    "chance a sample": (flat(lambda self, x: self.fc(x) + torch.randn(len(x), 2))[0], (3,),
                        "layer 'add': a constant that differs between samples"),
    "chance a module": (flat(lambda self, x: self.fc(x) * torch.rand(1))[0], (3,), "disagree, by"),
    "log_softmax inside": (tnn.Sequential(tnn.Linear(3, 3), tnn.LogSoftmax(1), tnn.Linear(3, 2)),
                           (3,), "layer '1': log_softmax is supported at the end only"),
    "log_softmax of rows": (tnn.Sequential(tnn.LogSoftmax(2)), (1, 3, 4),
                            "layer '0': log_softmax.. along axis 2 is not supported, only 1"),
    "dropout": (flat(lambda self, x: f.dropout(self.fc(x)))[0], (3,),
                "layer 'dropout': dropout.. is random with training=True; write "
                "training=self.training and call module.eval"),
    "a value": (flat(lambda self, x: self.fc(x / float(x.max())))[0], (3,),
                "module cannot be followed layer by layer: what forward.. does depends on the "
                "values of its input .float.; attack.TorchModel"),
    "two inputs": (type("Two", (tnn.Module,), {"forward": lambda self, x, mask: x})(), (3,),
                   "module must take one input; it also takes 'mask'"),
    "a script": (torch.jit.script(tnn.Sequential(tnn.Linear(3, 2))), (3,),
                 "module was made by torch.jit, which hides its layers"),
    "a script inside": (tnn.Sequential(tnn.Tanh(), torch.jit.script(tnn.Linear(3, 2))), (3,),
                        "layer '1' was made by torch.jit"),
    "a constant": (Forward(lambda self, x: torch.ones(len(x), 2)), (3,),
                   "module returns a tensor that does not depend on its input"),
    "a constant of NaN": (flat(lambda self, x: self.fc(x) * torch.nan)[0], (3,),
                          "layer 'mul': weight must be finite"),
    "a constant that widens": (image(lambda self, x: x - torch.rand(3, 1, 1))[0], (1, 6, 6),
                               r"layer 'sub': a constant of shape \(3, 1, 1\) does not fit values "
                               r"of shape \(B, 1, 6, 6\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_by_name(case):
    module, shape, said = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=said) as caught:
        from_torch(module, shape)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 220


def test_what_cannot_be_seen_is_refused_by_the_numbers():
    """A hook of the user's own that changes what a layer makes, or changes it behind its back."""
    module = tnn.Sequential(tnn.Linear(3, 2), tnn.Tanh())
    module[0].register_forward_hook(lambda layer, inputs, output: 2 * output)
    with pytest.raises(ValueError, match="disagree, by up to"):
        from_torch(module, (3,))

    def aliased(self, x):
        y = self.fc(x)
        y.view(-1).add_(1)
        return torch.tanh(y)

    with pytest.raises(ValueError, match="disagree, by up to"):
        from_torch(Forward(aliased, fc=tnn.Linear(3, 2)), (3,))


def test_no_warning_of_torch_is_lost_or_new():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_torch(tnn.Sequential(Normalize([0.4], [0.2]), tnn.Conv2d(1, 2, 3)), (1, 6, 6))
