"""Our own referees: ∂H_k/∂x of one sample without the layers' derivatives. The complex step (exact
to rounding) and central differences use the layers' values alone, the textbook none of their
arithmetic.

In: a network and one sample. Out: {layer name: ∂H_k/∂x (units, M)}, units and pixels in channel,
row, column order. The plain form of Eq. 4-6 is `nn.textbook`; other programs: `frameworks`. Read on
in `verify.parts`.
"""
import numpy as np
import scipy

from nn import textbook

STEP_SIZE = 1e-30  # of the complex step: too small to round, for nothing is subtracted
PIXELS = 49        # so many of them are moved at a time


def complex_step(network, x):
    """∂H_k/∂x of every layer: Im H_k(x + ih) / h with h = 1e-30."""
    x = np.asarray(x).reshape(-1).astype(np.complex128)
    columns = {name: [] for name in network.layers}
    for start in range(0, len(x), PIXELS):
        pixels = np.arange(start, min(start + PIXELS, len(x)))
        moved = np.repeat(x[None], len(pixels), axis=0)
        moved[np.arange(len(pixels)), pixels] += 1j * STEP_SIZE
        for name, _, value, _ in network.steps(network.as_input(moved)):
            units = value.transpose(0, 3, 1, 2).reshape(len(pixels), -1)  # (pixels, units)
            columns[name].append(units.imag / STEP_SIZE)
    return {name: np.concatenate(parts).T for name, parts in columns.items()}


def central_differences(network, x):
    """∂logits/∂x (N, M) of the layer that gives the logits, by SciPy in float64."""
    def logits(points):
        """x (M, …) → (N, …), as SciPy asks for them."""
        samples = np.moveaxis(points, 0, -1).reshape(-1, len(points))
        return np.moveaxis(network.logits(samples).reshape(*points.shape[1:], -1), -1, 0)

    x = np.asarray(x, float).reshape(-1)
    result = scipy.differentiate.jacobian(logits, x, initial_step=1e-5, order=2, maxiter=1)
    return dict.fromkeys(network.logit_layers[-1:], result.df)


def dense(network, x):
    """∂H_k/∂x of every layer by `nn.textbook`: each W_k of Eq. 5 as a matrix."""
    return {name: jacobian for name, _, jacobian in textbook.trace(network, x)}


OWN = {"complex step": complex_step, "differences": central_differences, "dense": dense}
