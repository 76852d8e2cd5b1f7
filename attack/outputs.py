"""Algorithm 1 for any output vector Y*, with a distance in place of equality (VI: beyond
classification).

In: a model with `probabilities(x) -> (B, N)` (its outputs F) and their `forward_derivative(x,
of="probabilities")`, images and wanted outputs. Out: images whose outputs lie within a distance of
Y*. The saliency of a feature is how much ‖F(X) − Y*‖² falls with it, to first order: −θ · 2 (F(X) −
Y*)·∂F/∂x_i. Read on in `metrics`.
"""
from dataclasses import dataclass

import numpy as np

from attack.checks import check_images, check_max_distortion, check_theta
from attack.crafted import as_given

REASONS = ("already_target", "target_reached", "max_iterations", "domain_empty")


@dataclass
class Reached:
    """The outcome for n samples."""
    adversarial: np.ndarray  # (n, …) as the images
    success: np.ndarray      # (n,) boolean: within the distance
    distance: np.ndarray     # (n,) ‖F(X*) − Y*‖ at the end
    started: np.ndarray      # (n,) the same at the start
    distortion: np.ndarray   # (n,) percent of features whose value changed
    reason: np.ndarray       # (n,) one of REASONS, or "no_feature"


def craft_output(model, images, wanted, within, *, theta=1.0, max_distortion=14.5, bounds=(0, 1)):
    """Change one feature an iteration by θ until ‖F(X*) − Y*‖ ≤ `within`.

    Args:
        model: with the two methods named at the head of this file.
        images: (n, …) within `bounds`.
        wanted: (n, N), the outputs Y*.
        within: the distance, a number or one for each sample.
        theta: θ, of any sign; values are clipped to the bounds, and a feature leaves Γ when it is
            at one after its change.
        max_distortion: Υ, percent of the features: ⌊M·Υ/100⌋ iterations; None = no limit.
        bounds: (low, high) of the features, numbers or arrays that fit a sample.

    Returns:
        `Reached`.

    Raises:
        TypeError, ValueError: names the argument, its value and what is allowed.
    """
    check_theta(theta)
    check_max_distortion(max_distortion)
    originals, limits = check_images(images, bounds=bounds)
    current = np.array(originals)
    wanted = np.asarray(wanted)
    count = len(current)
    outputs = np.array(model.probabilities(current) if count else wanted)
    if outputs.shape != wanted.shape:
        raise ValueError(f"wanted must have the shape {outputs.shape} of the model's outputs; "
                         f"got {wanted.shape}")
    flat = current.reshape(count, int(np.prod(current.shape[1:])))  # (n, M), a view
    features = flat.shape[1]
    budget = np.inf if max_distortion is None else int(features * max_distortion / 100 + 1e-9)
    gamma = np.ones(flat.shape, bool)
    started = np.linalg.norm(outputs - wanted, axis=1)
    distance = started.copy()
    reason = np.full(count, "", "U14")
    iterations = np.zeros(count, int)
    while True:
        _note_reasons(reason, distance <= within, iterations, budget, gamma)
        active = np.flatnonzero(reason == "")
        if not len(active):
            break
        difference = outputs[active] - wanted[active]
        feature, gain = _best_feature(model, current[active], difference, gamma[active], theta)
        moves = gain > 0
        reason[active[~moves]] = "no_feature"
        active, feature = active[moves], feature[moves]
        here = limits.at(feature)
        value = here.moved(flat[active, feature, None], theta)
        flat[active, feature] = value[:, 0]
        gamma[active, feature] = ~here.reached(value)[:, 0]
        iterations[active] += 1
        if len(active):
            outputs[active] = model.probabilities(current[active])
            distance[active] = np.linalg.norm(outputs[active] - wanted[active], axis=1)
    changed = (flat != originals.reshape(flat.shape)).sum(axis=1)
    return Reached(as_given(current, images, theta, limits), distance <= within, distance, started,
                   100 * changed / max(features, 1), reason)


def _note_reasons(reason, near, iterations, budget, gamma):
    """Write why each sample that has no `reason` (n,) yet stops, where it does."""
    stops = [near & (iterations == 0), near, iterations >= budget, ~gamma.any(axis=1)]
    undecided = reason == ""
    reason[undecided] = np.select(stops, REASONS, "")[undecided]


def _best_feature(model, images, difference, gamma, theta):
    """The feature of Γ by which ‖F(X) − Y*‖² falls most, and by how much to first order: (B,),
    (B,)."""
    jacobian = np.asarray(model.forward_derivative(images, of="probabilities"))  # (B, N, M)
    gain = -2 * theta * np.matmul(difference[:, None], jacobian)[:, 0]           # (B, M)
    gain[~gamma] = 0
    feature = gain.argmax(axis=1)
    return feature, gain[np.arange(len(gain)), feature]
