"""Wrong layers written by hand, as a student hands them in: nothing here comes from the catalogue,
so that it isn't checked with itself. `check_network` names the layer, the part and the cause."""
import numpy as np
import pytest

from data import load_mnist
from nn import (
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Network,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
    check_network,
)

X = load_mnist("test")[0][:2, 6:20, 6:20].astype(np.float64)


def network():
    """A small network in which the layers of each kind are square: what is transposed still
    fits."""
    rng = np.random.default_rng(7)
    return Network({
        "conv1": Conv2d(1, 3, 3, rng=rng), "pool": MaxPool2d(2), "tanh": Tanh(),
        "conv2": Conv2d(3, 3, 3, rng=rng), "sigmoid": Sigmoid(), "flatten": Flatten(),
        "fc1": Linear(48, 6, rng=rng), "relu": ReLU(), "fc2": Linear(6, 6, rng=rng),
        "softmax": Softmax()}, (14, 14))


class ConvolutionNotCorrelation(Conv2d):
    """Turns the kernel round, as the word convolution says in mathematics."""

    def forward_derivative(self, jacobian, saved):
        out, into, height, width = self.parameters["weight"].shape
        turned = Conv2d(into, out, (height, width), bias=False)
        for dy in range(height):
            for dx in range(width):
                tap = self.parameters["weight"][:, :, height - 1 - dy, width - 1 - dx]
                turned.parameters["weight"][:, :, dy, dx] = tap
        return turned.forward_derivative(jacobian, saved)


class TapsReadBackwards(Conv2d):
    """∂/∂x[y + dy, x + dx] += W[dy, dx]ᵀ · ∂/∂z[y, x], with the taps in the wrong order."""

    def backward(self, grad_y, saved):
        weight = self.parameters["weight"]
        _, _, height, width = weight.shape
        *lead, rows, columns, _ = grad_y.shape
        grad_x = np.zeros((*lead, rows + height - 1, columns + width - 1, weight.shape[1]))
        for dy in range(height):
            for dx in range(width):
                tap = weight[:, :, height - 1 - dy, width - 1 - dx]
                grad_x[..., dy:dy + rows, dx:dx + columns, :] += grad_y @ tap
        return grad_x


class RowsForColumns(Conv2d):
    """∂/∂W[o, c, dy, dx] = Σ ∂/∂z[y, x] · x[y + dy, x + dx], with dy and dx mixed up."""

    def forward(self, x):
        y, saved = super().forward(x)
        return y, (saved, x)

    def forward_derivative(self, jacobian, saved):
        return super().forward_derivative(jacobian, saved[0])

    def backward(self, grad_y, saved):
        return super().backward(grad_y, saved[0])

    def gradients(self, grad_y, saved):
        weight = np.zeros_like(self.parameters["weight"], dtype=grad_y.dtype)
        _, rows, columns, _ = grad_y.shape
        for dy, dx in np.ndindex(weight.shape[2:]):
            seen = saved[1][:, dy:dy + rows, dx:dx + columns]
            weight[:, :, dx, dy] = np.einsum("byxo,byxc->oc", grad_y, seen)
        return {"weight": weight, "bias": grad_y.sum(axis=(0, 1, 2))}


class GradientToEveryMaximum(MaxPool2d):
    """grad · (x == max) window by window: of tied units each gets all of it."""

    def forward(self, x):
        y, saved = super().forward(x)
        return y, (saved, x, y)

    def forward_derivative(self, jacobian, saved):
        return super().forward_derivative(jacobian, saved[0])

    def backward(self, grad_y, saved):
        _, x, y = saved
        grad_x = np.zeros((*grad_y.shape[:-4], *x.shape))
        for row in range(y.shape[1]):
            for column in range(y.shape[2]):
                window = np.s_[..., 2 * row:2 * row + 2, 2 * column:2 * column + 2, :]
                largest = x[window] == y[:, row:row + 1, column:column + 1]
                grad_x[window] += grad_y[..., row:row + 1, column:column + 1, :] * largest
        return grad_x


class WindowsMean(MaxPool2d):
    """The derivative of the maximum, shared among the four as if it were a mean."""

    def forward_derivative(self, jacobian, saved):
        right = super().forward_derivative(jacobian, saved)
        return right.scaled(np.full((1, 1, 1, 1), 0.25))


class SlopeForgotten(Tanh):
    def forward_derivative(self, jacobian, saved):
        return jacobian


class SlopeOfTheValue(Tanh):
    """f' = 1 − y, where it should be 1 − y²."""

    def forward(self, x):
        y, slope = super().forward(x)
        return y, (slope, y)

    def forward_derivative(self, jacobian, saved):
        return super().forward_derivative(jacobian, saved[0])

    def backward(self, grad_y, saved):
        return grad_y * (1 - saved[1])


class SigmoidBackwardForgotten(Sigmoid):
    def backward(self, grad_y, saved):
        return grad_y


class SigmoidMinus(Sigmoid):
    """f' = φ(φ − 1)."""

    def forward_derivative(self, jacobian, saved):
        return jacobian.scaled(saved * -1)


class ProductFromTheOtherSide(Linear):
    """Wᵀ has the shape of W here, so that no error says that it was the wrong one."""

    def forward_derivative(self, jacobian, saved):
        out, into = self.parameters["weight"].shape
        other = Linear(into, out, bias=False)
        other.parameters["weight"] = self.parameters["weight"].T.copy()
        return other.forward_derivative(jacobian, saved)


class OuterProductTurned(Linear):
    """x ⊗ ∂/∂z in place of ∂/∂z ⊗ x."""

    def gradients(self, grad_y, saved):
        grad_z, x = grad_y.reshape(len(grad_y), -1), saved.reshape(len(saved), -1)
        return {"weight": x.T @ grad_z, "bias": grad_z.sum(axis=0)}


class BiasSummedTwice(Linear):
    def gradients(self, grad_y, saved):
        grad_z, x = grad_y.reshape(len(grad_y), -1), saved.reshape(len(saved), -1)
        return {"weight": grad_z.T @ x, "bias": 2 * grad_z.sum(axis=0)}


@pytest.mark.parametrize(("wrong", "layer", "part", "cause"), [
    (ConvolutionNotCorrelation, "conv2", "forward derivative", "the kernel is flipped"),
    (TapsReadBackwards, "conv1", "backward", "the kernel is flipped"),
    (RowsForColumns, "conv2", "gradient", "it is transposed (rows for columns)"),
    (GradientToEveryMaximum, "pool", "backward",
     "at ties every maximum counts, not the first alone"),
    (WindowsMean, "pool", "forward derivative", "scaled by 0.25"),
    (SlopeForgotten, "tanh", "forward derivative", "f' is missing"),
    (SlopeOfTheValue, "tanh", "backward", "f' is 1 − tanh, not 1 − tanh²"),
    (SigmoidBackwardForgotten, "sigmoid", "backward", "f' is missing"),
    (SigmoidMinus, "sigmoid", "forward derivative", "the sign is wrong"),
    (ProductFromTheOtherSide, "fc2", "forward derivative", "the weight is transposed"),
    (OuterProductTurned, "fc2", "gradient", "it is transposed"),
    (BiasSummedTwice, "fc1", "gradient", "scaled by 2"),
])
def test_layer_part_and_cause_are_named(wrong, layer, part, cause):
    wrong_network = network()
    assert check_network(wrong_network, X).verdict == "right"
    wrong_network.layers[layer].__class__ = wrong
    report = check_network(wrong_network, X)
    assert (report.verdict, report.layer, report.part) == ("wrong", layer, part)
    assert report.finding.cause == cause
