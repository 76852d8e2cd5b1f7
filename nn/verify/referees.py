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
    tables = {name: np.empty((*shape, len(x))) for name, shape in network.shapes.items()}

    def move(pixels):
        """Fills the columns of `pixels`, a slice, in all tables."""
        moved = np.tile(x, (pixels.stop - pixels.start, 1))
        np.fill_diagonal(moved[:, pixels], x[pixels] + 1j * STEP_SIZE)
        for name, _, value, _ in network.steps(network.as_input(moved)):
            columns = tables[name][..., pixels]  # (c, y, x, pixels)
            np.divide(value.imag.transpose(3, 1, 2, 0), STEP_SIZE, out=columns)

    network.in_threads(move, [slice(start, min(start + PIXELS, len(x)))
                              for start in range(0, len(x), PIXELS)])
    return {name: table.reshape(-1, len(x)) for name, table in tables.items()}


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
