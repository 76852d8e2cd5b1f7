"""Is this derivative right, and if not, in which layer does it first go wrong? `check_network`
holds every layer's ∂H_k/∂x, backward step and parameter gradients against referees that share no
arithmetic with them.

In: a network and real samples. Out: a `Report` (`verdict`). The referees: `referees`, and on
request the programs of `frameworks`. How each part is judged: `parts`. Where there is no
derivative: `ties`. The likely mistake: `diagnosis`. Read on in `verify.referees`.
"""
import numpy as np

from nn.layers.base import Merge
from nn.verify.backward_part import check_backward_steps
from nn.verify.forward_part import Answered, Checked, check_forward
from nn.verify.frameworks import FOREIGN
from nn.verify.gradient_part import check_gradients
from nn.verify.judging import Standard
from nn.verify.locally import takes_complex_numbers
from nn.verify.referees import OWN, differences_and_doubt
from nn.verify.report import Report
from nn.verify.rounding import smallest

TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


def nudged(x, seed=0):
    """x moved off its ties: every value changed by up to 0.01, inside [0, 1], by seeded noise.
    Shape and type stay."""
    x = np.asarray(x)
    noise = np.random.default_rng(seed).uniform(0, 0.01, x.shape)
    return np.where(x > 0.5, x - noise, x + noise).astype(x.dtype)


def check_network(network, x, *, against=("complex step", "dense"), tolerance=None, nudge=False,
                  seed=0):
    """Check all derivatives of `network` at real samples.

    An entry may be off by `tolerance` of itself and by what rounding can do. Entries that hang on a
    tie are counted. Where a referee other than the complex step disagrees on them it is not asked
    about these: it breaks ties by another rule, or rounds otherwise and sees none. What no referee
    judged is counted too, and the verdict is then "not judged" where nothing is wrong; it is
    "referees disagree" where some of them agree with the network and others do not.

    Args:
        x: (B, …) samples in a shape the network takes; forward derivatives and backward steps are
            checked at the first one, parameter gradients over all. float64 x is checked in float64,
            float32 x in float32 with tolerances that fit.
        against: "complex step", "dense", "differences", names of `nn.verify.frameworks.FOREIGN`.
        tolerance: by default 1e-9, 1e-4 in float32; one that is given is relative to the largest
            entry too.
        nudge: first move x off its ties.
        seed: of the noise and the cotangents.

    Returns:
        A `Report`; a referee that is not installed, or that refuses the network, is listed in
        `missing` with its reason.

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
    standard = _standard(value.dtype, tolerance)
    notes = []
    if value.dtype != np.float64:
        notes = [f"in {value.dtype}: errors up to {standard.relative:g} of an entry pass, and what "
                 "rounding can do"]
    sample = np.moveaxis(value[:1], -1, 1).reshape(network.input_shape)
    answers, missing = _ask(network, sample, value[:1], against, notes)
    checked = Checked(network, value[:1], answers, standard)
    forward = check_forward(checked)
    finding, open_questions = forward.finding, _unjudged(forward.rows, network.features)
    if answers and finding is None:
        rng = np.random.default_rng(seed)
        finding, pixels = check_backward_steps(checked, forward, rng)
        if pixels:
            open_questions.append(f"the backward step of {', '.join(list(pixels)[:3])}"
                                  f"{' and others' if len(pixels) > 3 else ''} at up to "
                                  f"{max(pixels.values()):,} of {network.features:,} pixels")
        if finding is None:
            finding, refused = check_gradients(network, value, standard, rng)
            open_questions += [f"the gradients of {name} ({why})" for name, why in refused.items()]
    return Report(forward.rows, finding, missing, notes, bool(answers), forward.dispute,
                  open_questions, forward.errors)


def _standard(dtype, tolerance):
    """How near is near enough: by default relative to each entry, otherwise to the largest too."""
    tiny = 1e6 * smallest(dtype)
    if tolerance is None:
        return Standard(TOLERANCE[dtype.name], 0.0, tiny)
    return Standard(tolerance, tolerance, tiny)


def _unjudged(rows, features):
    """The entries that no referee judged, in words: how many, of the last such layer."""
    last = next((row for row in reversed(rows) if row.unjudged), None)
    if last is None:
        return []
    entries = int(np.prod(last.shape)) * features
    return [f"{last.unjudged:,} of {entries:,} entries of {last.layer}"]


def _ask(network, x, value, against, notes):
    """What each referee says, {referee: `Answered`}, and why others could not be asked."""
    answers, missing = {}, {}

    def ask(name):
        """One of them; whatever it raises is the reason why it could not be asked."""
        try:
            with np.errstate(all="ignore"):
                answer = _answer(network, name, x)
            if not answer.tables:
                raise ValueError("it judges the logits alone, and no layer leads to them")
            if name == "complex step":
                _check_domain(network, value)
            answers[name] = answer
        except Exception as error:
            missing[name] = " ".join(str(error).split()) or type(error).__name__

    try:
        _check_repeatable(network, value)
    except ValueError as error:
        return answers, dict.fromkeys(against, str(error))
    for name in against:
        ask(name)
    if not answers and "complex step" in missing and "differences" not in against:
        ask("differences")
        if answers:
            notes.append("differences were asked in place of the complex step")
    return answers, missing


def _answer(network, name, x):
    if name == "differences":
        both = differences_and_doubt(network, x)
        return Answered({layer: table for layer, (table, _) in both.items()},
                        {layer: doubt for layer, (_, doubt) in both.items()})
    return Answered((OWN[name] if name in OWN else FOREIGN[name])(network, x), {})


def _check_repeatable(network, value):
    """ValueError names a layer that gives other values each time."""
    for name, x, here, _ in network.steps(value):
        layer = network.layers[name]
        if not np.array_equal(layer.forward(x)[0], here, equal_nan=True):
            raise ValueError(f"layer {name!r}: {type(layer).__name__} gives other values each time "
                             "it is asked")


def _check_domain(network, value):
    """ValueError names the layer for which the complex step does not hold."""
    for name, x, _, _ in network.steps(value):
        layer = network.layers[name]
        if not isinstance(layer, Merge) and not takes_complex_numbers(layer, x):
            raise ValueError(f"layer {name!r}: {type(layer).__name__} is not analytic: complex "
                             "numbers give another derivative than differences")
