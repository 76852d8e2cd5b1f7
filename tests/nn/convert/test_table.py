"""The table of conversions: every kind of layer has a row, and what the row says is true in torch,
jax and autograd alike."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import close, with_random_weights

import nn
from nn import (
    ELU,
    GELU,
    AdaptiveAvgPool2d,
    Add,
    Affine,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GroupNorm,
    Hardtanh,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Merge,
    Network,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    Unflatten,
)
from nn.convert.table import TABLE, option_of, row_of
from nn.convert.torch import from_torch, to_torch
from nn.layers.base import Layer
from nn.verify.frameworks import FOREIGN

ROOT = Path(__file__).parents[3]
LAYERS = [Conv2d(2, 3, (3, 2), (1, 2), (1, 0), bias=False), Linear(24, 5), MaxPool2d((2, 1), 1),
          AvgPool2d((1, 2)), AdaptiveAvgPool2d(), Flatten(), Tanh(), Sigmoid(), ReLU(),
          LeakyReLU(0.3), ELU(1.7), SiLU(), GELU(), GELU("tanh"),
          PReLU(), PReLU(2), Hardtanh(-0.5, 0.25), ReLU6(), Softplus(0.6), Softmax(),
          BatchNorm2d(2, 0.1),
          BatchNorm1d(24, 0.1), Dropout(0.2), LayerNorm((2, 3, 4), 0.1), GroupNorm(2, 2, 0.1),
          Conv2d(2, 4, (2, 3), padding="same", dilation=(1, 2), groups=2, bias=False),
          MaxPool2d(3, 2, 1, ceil_mode=True), AdaptiveAvgPool2d((2, 3)),
          AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), Affine(0.5, -2),
          Affine([0.5, 2], 0.1), Affine(-1, np.linspace(-1, 1, 24).reshape(2, 3, 4)),
          Unflatten((4, 3, 2)), Add(), Concat()]
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch: it may be slow


def network(layer):
    """`layer` behind a tanh of the image or, where it takes a flat input, of the pixels in a
    row."""
    layers = {"flat": Flatten()} if isinstance(layer, (Linear, BatchNorm1d, Unflatten)) else {}
    inputs = {"one": ("tanh", "input")} if isinstance(layer, Merge) else None
    layers = {"tanh": Tanh(), **layers, "one": layer, "end": Flatten()}
    return with_random_weights(Network(layers, (2, 3, 4), inputs), np.random.default_rng(1))


def needs(package):
    reason = f"{package} is not installed (pip install 'jsma[referees]')"
    return pytest.importorskip(package, reason=reason)


def test_no_other_program_is_imported_before_it_is_asked_for():
    code = ("import sys, nn.convert.table, nn.convert.torch, nn.convert.torch_trace, "
            "nn.convert.sklearn, nn.verify.frameworks; "
            "print({'torch', 'jax', 'autograd', 'sklearn'} & set(sys.modules))")
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                             check=True)
    assert process.stdout.strip() == "set()"


def test_every_kind_of_layer_has_a_row():
    kinds = {kind for kind in vars(nn).values() if isinstance(kind, type)
             and issubclass(kind, Layer) and kind not in (Layer, Merge)}
    assert {type(layer) for layer in LAYERS} == kinds
    assert {row_of(layer).layer for layer in LAYERS} == set(TABLE) == kinds - {BatchNorm1d}
    assert row_of(Layer()) is None and row_of(type("Mine", (Tanh,), {})()) is TABLE[Tanh]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_there_and_back(layer):
    """Torch's module has the same options, and our layer made from it has them again."""
    needs("torch")
    ours = network(layer)
    again = from_torch(to_torch(ours), ours.input_shape)
    layer, other = list(ours.layers.values())[-2], list(again.layers.values())[-2]
    assert type(other) is type(layer) and repr(other) == repr(layer)
    for option in row_of(layer).options:
        assert option_of(other, option) == option_of(layer, option), option
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 4))
    close(again.logits(x), ours.logits(x), 1e-12)


@pytest.mark.parametrize("name", [  # jax compiles each layer anew
    "torch jacfwd", pytest.param("jax jacfwd", marks=pytest.mark.slow), "autograd"])
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_the_same_derivative(layer, name):
    needs(name.split()[0])
    ours, x = network(layer), np.random.default_rng(0).normal(size=(1, 2, 3, 4))
    (table,) = [*FOREIGN[name](ours, x[0]).values()][-1:]
    close(table, ours.forward_derivative(x)[0])
