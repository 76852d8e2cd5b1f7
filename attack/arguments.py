"""The arguments of `craft`, held against what is allowed before anything is crafted.

In: what the caller of `craft` passed. Out: arrays ready for work, or a ValueError or TypeError in
one line that names the argument, its value and what is allowed. Read on in `outputs`.
"""
from typing import NamedTuple

import numpy as np

from attack.goals import GOALS, UNTARGETED
from attack.model import DERIVATIVES, OUTPUTS
from attack.variants import RULES

SALIENCIES = ("pairs", "single")
CHANNELS = ("separate", "tied")
SHORTEST = 1e-3  # |θ| without a limit: M/(2|θ|) iterations at most


class Options(NamedTuple):
    """How `craft` works on its samples; its docstring says what each means."""
    goal: str
    theta: float
    max_distortion: float | None
    saliency: str
    rule: str
    channels: str
    derivative: str
    of: str
    margin: float
    batch_size: int
    confidence: float
    trace: bool
    activation: str = "softmax"  # what the model says, see `first_look`

    @property
    def variant(self):
        """Whose rules are followed; saliency="single" is another word for rule="single"."""
        return RULES["single" if self.saliency == "single" else self.rule]


def check_images(images, channels="separate"):
    """`images` as an array (n, …) of float32 or float64 in [0, 1]; (n, C, …) where channels are
    tied."""
    images = np.asarray(images)
    if images.dtype.kind not in "biuf":
        raise TypeError(f"images must hold real numbers; got {images.dtype}")
    if images.ndim < 2:
        raise ValueError(f"images must have the shape (n, …), one sample a row; got {images.shape}")
    if images.dtype not in (np.float32, np.float64):
        images = images.astype(np.float32)
    if np.isnan(images).any():
        raise ValueError("images must lie in [0, 1]; got NaN")
    if images.size and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError("images must lie in [0, 1]; "
                         f"got values from {images.min():g} to {images.max():g}")
    if channels == "tied" and images.ndim < 3:
        raise ValueError("channels='tied' needs images of the shape (n, channels, …); "
                         f"got {images.shape}")
    return images


def check_domain(domain, count, features):
    """Γ at the start, (count, features) booleans."""
    if isinstance(domain, str):
        if domain != "paper":
            raise ValueError(f"domain must be 'paper' or an array of booleans; got {domain!r}")
        return np.ones((count, features), bool)
    domain = np.asarray(domain)
    if domain.dtype != bool or domain.shape not in ((features,), (count, features)):
        raise ValueError(f"domain must be 'paper' or booleans of the shape ({features},) or "
                         f"({count}, {features}); got {domain.dtype} {domain.shape}")
    return np.broadcast_to(domain, (count, features)).copy()


def check_options(options, model, targets):
    """`options`, if each is allowed and they fit together, the model and the targets."""
    _check_distortion(options.theta, options.max_distortion)
    _check_words(options)
    _check_settings(options, model)
    _check_goal(options, targets)
    return options


def _check_distortion(theta, max_distortion):
    if not _is_number(theta) or theta == 0:
        raise ValueError(f"theta must be a finite number other than 0; got {theta!r}")
    limited = max_distortion is not None
    if limited and not (_is_number(max_distortion) and 0 < max_distortion <= 100):
        raise ValueError("max_distortion must lie in (0, 100] percent or be None; "
                         f"got {max_distortion!r}")
    if not limited and abs(theta) < SHORTEST:
        raise ValueError(f"theta must be at least {SHORTEST:g}, up or down, where max_distortion "
                         f"is None: smaller steps would not come to an end; got {theta!r}")


def _check_words(options):
    words = {"saliency": SALIENCIES, "derivative": DERIVATIVES, "of": OUTPUTS,
             "rule": tuple(RULES), "channels": CHANNELS}
    for name, allowed in words.items():
        value = getattr(options, name)
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    if options.saliency == "single" and options.rule not in ("paper", "single"):
        raise ValueError(f"saliency='single' is rule='single'; got rule={options.rule!r}")


def _check_settings(options, model):
    margin, batch_size, derivative = options.margin, options.batch_size, options.derivative
    if not (_is_number(margin) and margin >= 0):
        raise ValueError(f"margin must be a number of at least 0; got {margin!r}")
    if options.trace and options.variant.untargeted:
        raise ValueError(f"trace keeps α and β of one target; rule={options.rule!r} has none")
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1; got {batch_size!r}")
    method = f"{derivative}_derivative"
    if not callable(getattr(model, method, None)):
        raise TypeError(f"derivative={derivative!r} needs a model with {method}(); "
                        f"{type(model).__name__} has none")


def _check_goal(options, targets):
    goal, confidence = options.goal, options.confidence
    if goal not in GOALS:
        raise ValueError(f"goal must be one of {', '.join(GOALS)}; got {goal!r}")
    if goal in UNTARGETED and targets is not None:
        raise ValueError(f"goal {goal!r} tries every other class and takes no targets; "
                         f"got {targets!r}")
    if goal not in UNTARGETED and targets is None:
        raise ValueError(f"goal {goal!r} needs targets: a class or one for each image; got None")
    if options.variant.untargeted and goal not in UNTARGETED:
        raise ValueError(f"rule={options.rule!r} takes no targets: goal must be one of "
                         f"{', '.join(UNTARGETED)}; got {goal!r}")
    if options.margin and goal == "confidence":
        raise ValueError("margin is how far a class must lead; goal='confidence' has none; "
                         f"got {options.margin!r}")
    if not (_is_number(confidence) and 0 < confidence < 1):
        raise ValueError(f"confidence must lie between 0 and 1; got {confidence!r}")


def _is_number(value):
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(np.isfinite(value))
