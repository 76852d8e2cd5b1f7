"""Algorithm 1 for any output vector Y*, with a distance in place of equality (VI: beyond classification).

In: a model with `probabilities(x) -> (B, N)` (its outputs F) and their `forward_derivative(x, of="probabilities")`,
images and wanted outputs. Out: images whose outputs lie within a distance of Y*. The saliency of a feature is how much
‖F(X) − Y*‖² falls with it, to first order: −θ · 2 (F(X) − Y*)·∂F/∂x_i. Read on in `metrics`.
"""
from dataclasses import dataclass

import numpy as np

REASONS = ("already_target", "target_reached", "max_iterations", "domain_empty")


@dataclass
class Reached:
    """The outcome for n samples."""
    adversarial: np.ndarray  # (n, …) as the images
    success: np.ndarray      # (n,) boolean: within the distance
    distance: np.ndarray     # (n,) ‖F(X*) − Y*‖ at the end
    started: np.ndarray      # (n,) the same at the start
    distortion: np.ndarray   # (n,) percent of features whose value changed
    reason: np.ndarray       # (n,) "target_reached", "already_target", "max_iterations", "domain_empty", "no_feature"


def craft_output(model, images, wanted, within, *, theta=1.0, max_distortion=14.5):
    """Change one feature an iteration by θ until ‖F(X*) − Y*‖ ≤ `within`.

    images: (n, …) in [0, 1]; wanted: (n, N), the outputs Y*; max_distortion (Υ): ⌊M·Υ/100⌋ iterations, None = no limit.
    A feature leaves Γ when it is 0 or 1 after its change. Returns `Reached`. ValueError for outputs of another shape.
    """
    current = np.array(images)
    wanted = np.asarray(wanted)
    count, features = len(current), int(np.prod(current.shape[1:]))
    outputs = np.array(model.probabilities(current) if count else wanted)
    if outputs.shape != wanted.shape:
        raise ValueError(f"wanted must have the shape {outputs.shape} of the model's outputs; got {wanted.shape}")
    if theta == 0 or not np.isfinite(theta):
        raise ValueError(f"theta must be a finite number other than 0; got {theta!r}")
    budget = np.inf if max_distortion is None else int(features * max_distortion / 100 + 1e-9)
    flat, gamma = current.reshape(count, features), np.ones((count, features), bool)
    started = np.linalg.norm(outputs - wanted, axis=1)
    distance, reason, iterations = started.copy(), np.full(count, "", "U14"), np.zeros(count, int)
    while True:
        left = reason == ""
        reason[left] = np.select([(distance <= within) & (iterations == 0), distance <= within, iterations >= budget,
                                  ~gamma.any(axis=1)], REASONS, "")[left]
        active = np.flatnonzero(reason == "")
        if not len(active):
            break
        off = outputs[active] - wanted[active]
        slope = np.asarray(model.forward_derivative(current[active], of="probabilities"))
        gain = -2 * theta * np.matmul(off[:, None], slope)[:, 0]
        gain[~gamma[active]] = 0
        feature = gain.argmax(axis=1)
        some = gain[np.arange(len(active)), feature] > 0
        reason[active[~some]] = "no_feature"
        active, feature = active[some], feature[some]
        value = np.clip(flat[active, feature] + flat.dtype.type(theta), 0, 1)
        flat[active, feature], gamma[active, feature] = value, (value != 0) & (value != 1)
        iterations[active] += 1
        if len(active):
            outputs[active] = model.probabilities(current[active])
            distance[active] = np.linalg.norm(outputs[active] - wanted[active], axis=1)
    changed = (flat != np.asarray(images).reshape(count, features)).sum(axis=1)
    return Reached(current, distance <= within, distance, started, 100 * changed / max(features, 1), reason)

