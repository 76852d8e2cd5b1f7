"""Networks whose forward derivative is propagated by hand (Eq. 3 to 6 of Papernot et al. 2016).

Begin with `textbook`: Eq. 4 to 6 as the paper writes them. Then the fast version of the same:
`network` with its `inputs`, `threads`, `outputs` and `graph`; `layers`, each with its Eq. 5;
`models`, `training` and `weights` with `matching` and `formats`. `verify` asks whether a derivative
is right, `convert` takes networks from elsewhere. Each file says where to read on.
"""
from nn.convert.sklearn import from_sklearn
from nn.convert.torch import from_torch, to_torch
from nn.layers.activation import ELU, GELU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from nn.layers.affine import Affine
from nn.layers.base import Layer, Merge
from nn.layers.convolution import Conv2d
from nn.layers.jacobian import Jacobian
from nn.layers.linear import Flatten, Linear
from nn.layers.merge import Add, Concat
from nn.layers.normalization import BatchNorm1d, BatchNorm2d, Dropout
from nn.layers.piecewise import Hardtanh, LeakyReLU, PReLU, ReLU, ReLU6
from nn.layers.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from nn.layers.sample_norm import GroupNorm, LayerNorm
from nn.layers.unflatten import Unflatten
from nn.models import AndNetwork, LeNet, ResNet
from nn.network import Network
from nn.threads import get_num_threads, set_num_threads
from nn.verify.functions.backward import check_backward
from nn.verify.functions.gradients import check_gradients
from nn.verify.functions.jacobian import check_jacobian
from nn.verify.functions.report import FunctionReport
from nn.verify.network import Report, check_network
from nn.verify.programs.of_jax import check_jax
from nn.verify.programs.of_torch import check_torch
from nn.weights import WeightsError, load_weights, save_weights

__all__ = [
    "AdaptiveAvgPool2d", "Add", "Affine", "AndNetwork", "AvgPool2d", "BatchNorm1d", "BatchNorm2d",
    "Concat", "Conv2d", "Dropout", "ELU", "Flatten", "FunctionReport", "GELU", "GroupNorm",
    "Hardtanh", "Jacobian", "Layer", "LayerNorm", "LeNet", "LeakyReLU", "Linear", "MaxPool2d",
    "Merge", "Network", "PReLU", "ReLU", "ReLU6", "Report", "ResNet", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Tanh", "Unflatten", "WeightsError", "check_backward", "check_gradients",
    "check_jacobian", "check_jax", "check_network", "check_torch", "from_sklearn", "from_torch",
    "get_num_threads", "load_weights", "save_weights", "set_num_threads", "to_torch",
]
