"""Our own referees: ∂H_k/∂x of one sample without the layers' derivatives. The complex step (exact
to rounding) and central differences use the layers' values alone, the textbook none of their
arithmetic.

In: a network and one sample. Out: {layer name: ∂H_k/∂x (units, M)}, units and pixels in channel,
row, column order. The plain form of Eq. 4-6 is `nn.textbook`; other programs: `frameworks`. Read on
in `verify.parts`.
"""
import numpy as np

from nn import textbook

STEP_SIZE = 1e-30  # of the complex step: too small to round, for nothing is subtracted
PIXELS = 49        # so many of them are moved at a time
STEP = 1e-5        # of differences
ROUNDINGS = 32     # of a value in its last digit, where values are subtracted


def complex_step(network, x):
    """∂H_k/∂x of every layer: Im H_k(x + ih) / h with h = 1e-30."""
    tables = {name: np.empty((*shape, np.size(x))) for name, shape in network.shapes.items()}

    def move(batch):
        """Fills the columns of some pixels in all tables."""
        pixels, moved = batch
        for name, _, value, _ in network.steps(network.as_input(moved)):
            columns = tables[name][..., pixels]  # (c, y, x, pixels)
            np.divide(value.imag.transpose(3, 1, 2, 0), STEP_SIZE, out=columns)

    network.in_threads(move, moved_by_pixel(x))
    return {name: table.reshape(-1, np.size(x)) for name, table in tables.items()}


def moved_by_pixel(x):
    """Yields (some pixels as a slice, x (…, M) with one of these pixels moved in each row)."""
    x = np.asarray(x).reshape(-1).astype(np.complex128)
    for start in range(0, len(x), PIXELS):
        pixels = slice(start, min(start + PIXELS, len(x)))
        moved = np.tile(x, (pixels.stop - start, 1))
        np.fill_diagonal(moved[:, pixels], x[pixels] + 1j * STEP_SIZE)
        yield pixels, moved


def central_differences(network, x):
    """∂logits/∂x (N, M) of the layer that gives the logits, in float64."""
    return {name: table for name, (table, _) in differences_and_doubt(network, x).items()}


def differences_and_doubt(network, x):
    """{the layer that gives the logits: (∂logits/∂x (N, M), how far it can be off (N, M))}, {} if
    that is the input.

    The slopes to the left and to the right differ by as much as f bends or breaks between them.
    """
    if not network.logit_layers:
        return {}
    x = np.asarray(x, float).reshape(-1)
    here = network.logits(x[None])[0]
    left, right = (np.tile(x, (len(x), 1)) for _ in range(2))
    np.fill_diagonal(left, x - STEP)
    np.fill_diagonal(right, x + STEP)
    below, above = (np.diag(moved) - x for moved in (left, right))
    slopes = [(network.logits(moved) - here).T / by
              for moved, by in ((left, below), (right, above))]
    rounding = ROUNDINGS * np.finfo(float).eps * np.abs(here)[:, None] / STEP
    table = (slopes[0] * below - slopes[1] * above) / (below - above)
    return {network.logit_layers[-1]: (table, np.abs(slopes[0] - slopes[1]) + rounding)}


def dense(network, x):
    """∂H_k/∂x of every layer by `nn.textbook`: each W_k of Eq. 5 as a matrix."""
    return {name: jacobian for name, _, jacobian in textbook.trace(network, x)}


OWN = {"complex step": complex_step, "differences": central_differences, "dense": dense}
