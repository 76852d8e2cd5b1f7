"""Is this derivative right, and if not, in which layer does it first go wrong? `check_network`
holds every layer's ∂H_k/∂x, backward step and parameter gradients against referees that share no
arithmetic with them.

In: a network and real samples. Out: a `Report` (`verdict`). The referees: `referees`, and on
request the programs of `frameworks`. How each part is judged: `parts`. Where there is no
derivative: `ties`. The likely mistake: `diagnosis`. Read on in `verify.referees`.
"""
import numpy as np

from nn.verify.frameworks import FOREIGN, MissingReferee
from nn.verify.parts import at_sample, check_backward, check_forward, check_gradients
from nn.verify.referees import OWN
from nn.verify.report import Report

TOLERANCE = {"float64": 1e-9, "float32": 1e-3}


def nudged(x, seed=0):
    """x moved off its ties: every value changed by up to 0.01, inside [0, 1], by seeded noise.
    Shape and type stay."""
    x = np.asarray(x)
    noise = np.random.default_rng(seed).uniform(0, 0.01, x.shape)
    return np.where(x > 0.5, x - noise, x + noise).astype(x.dtype)


def check_network(network, x, *, against=("complex step", "dense"), tolerance=None, nudge=False,
                  seed=0):
    """Check all derivatives of `network` at real samples.

    Entries that hang on a tie are counted. Where a referee other than the complex step disagrees on
    them it is not asked about these: it breaks ties by another rule, or rounds otherwise and sees
    none.

    Args:
        x: (B, …) samples in a shape the network takes; forward derivatives and backward steps are
            checked at the first one, parameter gradients over all. float64 x is checked in float64,
            float32 x in float32 with tolerances that fit.
        against: "complex step", "dense", "differences", names of `nn.verify.frameworks.FOREIGN`.
        tolerance: the largest allowed error relative to the largest entry (default 1e-9; 1e-3 in
            float32).
        nudge: first move x off its ties.
        seed: of the noise and the cotangents.

    Returns:
        A `Report`; a referee that is not installed is listed in `missing`.

    Raises:
        ValueError: an unknown referee; samples that do not fit, or none.
    """
    unknown = set(against) - {*OWN, *FOREIGN}
    if unknown:
        known = ", ".join((*OWN, *FOREIGN))
        raise ValueError(f"against must name some of {known}; got {sorted(unknown)}")
    value = network.as_input(nudged(x, seed) if nudge else x)
    if not len(value):
        raise ValueError("x must hold at least one sample; got none")
    precision = value.dtype.name
    tolerance = TOLERANCE[precision] if tolerance is None else tolerance
    notes = []
    if precision != "float64":
        notes = [f"in {precision}: errors up to {tolerance:g} of the largest entry pass"]
    sample = np.moveaxis(value[:1], -1, 1).reshape(network.input_shape)
    expected, missing = _ask(network, sample, against)
    layers = list(at_sample(network, value[:1]))
    rows, finding = check_forward(network, layers, expected, tolerance)
    if expected:
        referee, tables = max(expected.items(), key=lambda item: len(item[1]))
        rng = np.random.default_rng(seed)
        finding = finding or check_backward(network, layers, (referee, tables), tolerance, rng)
        finding = finding or check_gradients(network, value, tolerance, rng)
    return Report(rows, finding, missing, notes, bool(expected))


def _ask(network, x, against):
    """What each referee says, {referee: {layer: ∂H_k/∂x}}, and why others could not be asked."""
    expected, missing = {}, {}
    for name in against:
        try:
            expected[name] = (OWN[name] if name in OWN else FOREIGN[name])(network, x)
        except (MissingReferee, TypeError) as error:
            missing[name] = str(error)
    return expected, missing
