"""The adversary's four goals (Fig. 2), weakest first: when has a sample reached one, and which of
its ways is the cheapest?

In: logits, the class a sample was read as at the start, the class it is driven to. Out: which
samples are done. Two of the goals name no target: then every other class is tried and the cheapest
success counts. Read on in `checks`.
"""
from dataclasses import fields

import numpy as np

from attack.model import as_pair, probabilities_of

GOALS = ("confidence", "misclassification", "targeted", "source/target")
UNTARGETED = GOALS[:2]


def reached(goal, logits, sources, targets, confidence, activation="softmax"):
    """Which samples have reached the goal, (B,) booleans.

    Args:
        goal: "source/target" and "targeted" (which starts from any image, an empty one for
            instance): the target is read; "misclassification": another class than the source;
            "confidence": the source has less than `confidence`.
        logits: (B, N); a single logit z is the pair (0, z).
        sources, targets: (B,) classes.
        confidence: a probability.
        activation: what makes probabilities of the logits, "softmax" or "sigmoid".
    """
    if goal == "confidence":
        probabilities = probabilities_of(logits, activation)
        return probabilities[np.arange(len(logits)), sources] < confidence
    predicted = as_pair(logits).argmax(axis=1)
    return predicted != sources if goal == "misclassification" else predicted == targets


def lead(goal, logits, sources, targets):
    """By how much the logit of the class that is to be read leads the largest other one, (B,).

    Args:
        goal: for "misclassification" any class but the source is to be read, else the target.
        logits: (B, N); a single logit z is the pair (0, z).
        sources, targets: (B,) classes.
    """
    rows = np.arange(len(logits))
    logits = as_pair(logits)
    others = np.array(logits)
    own = sources if goal == "misclassification" else targets
    others[rows, own] = -np.inf
    ahead = others.max(axis=1) - logits[rows, own]
    return ahead if goal == "misclassification" else -ahead


def every_other(sources, classes):
    """Each sample with every class but its own: (index, targets), both (n·(classes − 1),)."""
    others = np.tile(np.arange(classes), (len(sources), 1))
    others = others[others != np.asarray(sources)[:, None]].reshape(len(sources), classes - 1)
    return np.repeat(np.arange(len(sources)), classes - 1), others.reshape(-1)


def cheapest(crafted, count):
    """Of all targets that were tried for each of `count` originals, the success with the fewest
    changes.

    crafted: a `Crafted` of count·(N − 1) samples, as `every_other` orders them. Returns one of
    `count` samples; where none succeeded it is the first that was tried, and `reached` says how
    many of the targets did.
    """
    tries = len(crafted.success) // count if count else 0
    cost = np.where(crafted.success, crafted.distortion, np.inf).reshape(count, tries)
    rows = np.arange(count) * tries + (cost.argmin(axis=1) if tries else 0)
    columns = {field.name: getattr(crafted, field.name) for field in fields(crafted)}
    trace = columns.pop("trace")
    columns = {name: array[rows] for name, array in columns.items()}
    columns["reached"] = crafted.success.reshape(count, tries).sum(axis=1)
    return type(crafted)(**columns, trace=None if trace is None else [trace[row] for row in rows])
