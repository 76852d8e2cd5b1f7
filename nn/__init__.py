"""Networks whose forward derivative is propagated by hand, layer by layer (Eq. 3 to 6 of Papernot et al. 2016).

Reading order: `layer` (what a layer is), `jacobian` (∂H_k/∂x and its window), `conv`, `pool`, `activation`, `linear`
(Eq. 5 in each), `network` (Eq. 3 and 6), `lenet`; then `training` and `weights`.
"""
from nn.activation import ReLU, Sigmoid, Softmax, Tanh
from nn.checking import Report, check_network
from nn.conv import Conv2d
from nn.functions import check_jacobian
from nn.interop import from_torch, to_torch
from nn.jacobian import Jacobian
from nn.layer import Layer
from nn.lenet import AndNetwork, LeNet
from nn.linear import Flatten, Linear
from nn.network import Network
from nn.pool import AvgPool2d, MaxPool2d
from nn.weights import WeightsError, load_weights, save_weights

__all__ = ["AndNetwork", "AvgPool2d", "Conv2d", "Flatten", "Jacobian", "Layer", "LeNet", "Linear", "MaxPool2d",
           "Network", "ReLU", "Report", "Sigmoid", "Softmax", "Tanh", "WeightsError", "check_jacobian",
           "check_network", "from_torch", "load_weights", "save_weights", "to_torch"]
