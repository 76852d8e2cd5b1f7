"""What a crafting run leaves, and what can be made of it again without the model.

In: images and the pairs that were changed, iteration by iteration. Out: the adversarial samples
(`replay`), or what a run at a smaller Υ would have given (`truncate`). Read on in `variants`.
"""
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from attack.checks import as_array, check_images, check_theta
from attack.variants import RULES

REASONS = ("target_reached", "already_target", "max_iterations", "domain_empty", "no_pair",
           "misread")


class Step(NamedTuple):
    """One iteration of one sample, before the change: what the attack saw, and what it chose."""
    image: np.ndarray    # (M,) the sample as it was
    logits: np.ndarray   # (N,)
    alpha: np.ndarray    # (M,) ∂F_t/∂x_i
    beta: np.ndarray     # (M,) Σ_{j≠t} ∂F_j/∂x_i
    domain: np.ndarray   # (M,) boolean, Γ
    pair: tuple          # (p, q); q = −1 for single features; (−1, −1) where none qualified
    score: float         # Eq. 8, 9 or 10


@dataclass
class Crafted:
    """The outcome for n samples, in the order of the images."""
    adversarial: np.ndarray  # (n, …) as the images
    success: np.ndarray      # (n,) boolean: the goal is reached at the end (without labels: or was
    #                          from the start)
    predicted: np.ndarray    # (n,) the class predicted at the end
    iterations: np.ndarray   # (n,) iterations done
    distortion: np.ndarray   # (n,) percent of features whose value changed
    pairs: np.ndarray        # (n, max_iter, 2) features changed in each iteration, −1 where unused
    reason: np.ndarray       # (n,) one of REASONS
    target: np.ndarray       # (n,) the class the sample was driven to
    reached: np.ndarray      # (n,) how many of the targets that were tried succeeded
    trace: list | None = field(default=None)  # with trace=True: a list of `Step` for each sample

    @property
    def counted(self):
        """(n,) boolean: the samples that a success rate is about; neither misread nor in their
        target class from the start."""
        return ~np.isin(self.reason, ("already_target", "misread"))


def replay(images, pairs, theta=1.0, channels="separate", bounds=(0, 1), step="add"):
    """The adversarial samples of a crafting run, from what it chose.

    Not for rule="maximal", which goes both ways: the pairs do not say which.

    Args:
        images: (n, …), as they were.
        pairs: (n, iterations, 2), the features of each iteration, −1 where unused.
        theta: θ of the run.
        channels: "separate" or "tied", as in the run.
        bounds: (low, high) of the run.
        step: "add" or "flip", as in the run.

    Returns:
        (n, …), integers where `craft` gives them.

    Raises:
        TypeError, ValueError: as `craft`.
    """
    check_theta(theta)
    current, limits = check_images(images, channels, bounds)
    current = np.array(current)
    cells = as_cells(current, len(limits.low))
    for feature in np.moveaxis(pairs, 0, -1).reshape(2 * pairs.shape[1], len(current)):
        rows = np.flatnonzero(feature >= 0)
        here = limits.at(feature[rows])
        value = cells[rows, :, feature[rows]]
        cells[rows, :, feature[rows]] = (here.moved(value, theta) if step == "add" else
                                         here.other(value))
    return as_given(current, images, theta, limits)


def truncate(images, pairs, iterations, success, max_distortion, theta=1.0, bounds=(0, 1)):
    """What a run by the paper's rule at a larger Υ would have been at a smaller one.

    A sample takes the same way whatever its budget is, so the first ⌊M·Υ/200⌋ pairs are all there
    is to know.

    Args:
        images: (n, …), as they were.
        pairs, iterations, success: of the run, see `Crafted`.
        max_distortion: the smaller Υ, in percent.
        theta: θ of the run.
        bounds: (low, high) of the run.

    Returns:
        (success (n,), distortion (n,) in percent).
    """
    features = int(np.prod(images.shape[1:]))
    budget = RULES["paper"].budget(features, max_distortion)
    changed = replay(images, pairs[:, :budget], theta, bounds=bounds) != images
    distortion = 100 * changed.reshape(len(images), -1).sum(axis=1) / features
    return success & (iterations <= budget), distortion


def as_cells(images, width):
    """images (n, …) as (n, channels that change together, features); a view where that is
    possible."""
    features = int(np.prod(images.shape[1:])) // max(width, 1)
    return images.reshape(len(images), width, features)


def as_given(values, images, theta, bounds):
    """`values` (n, …) in the type of `images` where that is one of integers and all steps are
    whole."""
    kind = as_array(images).dtype
    whole = float(theta).is_integer() and all((part == np.round(part)).all() for part in bounds)
    return values.astype(kind) if kind.kind in "biu" and whole else values
