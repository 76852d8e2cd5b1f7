"""The first look at a model, before anything is crafted from it.

In: a model and the images it is to be attacked with. Out: how many classes it has and what makes
probabilities of its logits; a warning in one line where its answers look like something else than
logits. Read on in `saliency`.
"""
import warnings
from typing import NamedTuple

import numpy as np

from attack.model import ModelError, activation_of, as_pair

FEW = 4        # samples of a first look; 1 is enough of a network that says all of itself
SLACK = 1e-5   # what rounding may add to a sum of probabilities


class FirstLook(NamedTuple):
    """What the first answers say."""
    classes: int     # N, at least 2
    activation: str  # one of `attack.model.ACTIVATIONS`


def first_look(model, images, of="logits"):
    """The `FirstLook` at a model, from its answers to a few `images` (n, …); `of` as in `craft`.

    ValueError where the images do not fit the model, or it cannot be attacked at all.
    """
    ours = hasattr(model, "output_activation") and not hasattr(model, "first_use")
    few = images[:1 if ours else FEW]
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            logits = np.asarray(model.logits(few))
    except ModelError:
        raise
    except ValueError as error:
        line = " ".join(str(error).split())
        raise ValueError(f"images do not fit the model: {line}") from None
    if logits.ndim != 2 or len(logits) != len(few):
        raise ModelError(f"model must answer {len(few)} samples with logits of the shape "
                         f"({len(few)}, N); got {logits.shape}")
    outputs = logits.shape[1]
    plain = np.isin(logits, (0, 1)).all()  # as of a toy
    enough = outputs > 1 or len(logits) > 1
    if look_like_probabilities(logits) and enough and not plain:
        layer = "softmax" if outputs > 1 else "sigmoid"
        _warn(f"the model's outputs look like probabilities, but the attack takes logits: leave "
              f"off the {layer}, or wrap the model with outputs='probabilities' (TorchModel, "
              "JaxModel)")
    elif outputs == 1 and of == "logits":
        _warn("the model has one output z, the pair of logits (0, z): with of='logits' α or β is 0 "
              "for every feature and Eq. 8-10 choose none; of='centred' counts both classes")
    return FirstLook(as_pair(logits).shape[1], activation_of(model, outputs))


def look_like_probabilities(answers, slack=SLACK):
    """Do all rows (B, N) lie in [0, 1] and sum to 1, give or take `slack`? A single column needs no
    sum."""
    inside = ((answers >= 0) & (answers <= 1 + slack)).all()
    return bool(inside and (answers.shape[1] == 1
                            or (np.abs(answers.sum(axis=1) - 1) <= slack).all()))


def _warn(message):
    warnings.warn(message, stacklevel=5)  # whoever called `craft`
