"""The arguments of `craft`, held against what is allowed before anything is crafted.

In: what the caller of `craft` passed. Out: arrays ready for work, or a ValueError or TypeError in
one line that names the argument, its value and what is allowed. Read on in `outputs`.
"""
import warnings
from typing import Any, NamedTuple

import numpy as np

from attack.bounds import Bounds
from attack.checks import check_images, check_max_distortion, check_targets, check_theta, is_number
from attack.first_look import first_look
from attack.goals import GOALS, UNTARGETED
from attack.model import DERIVATIVES, OUTPUTS
from attack.steps import STEPS
from attack.variants import RULES

SALIENCIES = ("pairs", "single")
CHANNELS = ("separate", "tied")
SHORTEST = 1e-3  # |θ| without a limit, of a feature's range: M/(2·SHORTEST) iterations at most
FLIPPED = ("paper", "single", "weighted")  # the rules that say which of several flips is best


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
    step: str = "add"
    activation: str = "softmax"  # what the model says, see `first_look`

    @property
    def variant(self):
        """Whose rules are followed; saliency="single" is another word for rule="single"."""
        return RULES["single" if self.saliency == "single" else self.rule]


class Task(NamedTuple):
    """What `craft` has to do, checked: n samples with M features."""
    model: Any
    images: np.ndarray         # (n, …)
    gamma: np.ndarray          # (n, M) booleans, Γ at the start
    options: Options
    bounds: Bounds
    groups: np.ndarray | None  # (M,)
    labels: np.ndarray | None  # (n,)
    targets: np.ndarray        # (n,), 0 where the goal names none

    def of(self, index):
        """The same for the samples `index`, which may repeat."""
        labels = None if self.labels is None else self.labels[index]
        return self._replace(images=self.images[index], gamma=self.gamma[index], labels=labels)


def checked(model, images, targets, options, of_samples):
    """The `Task` of a call of `craft`.

    Args:
        model, images, targets: as passed to `craft`.
        options: the `Options`.
        of_samples: domain, bounds, groups and labels, as passed.

    Raises:
        ValueError, TypeError: names the argument, its value and what is allowed.
    """
    domain, bounds, groups, labels = of_samples
    images, bounds = check_images(images, options.channels, bounds)
    check_options(options, model, targets, bounds, groups)
    count = len(images)
    gamma = check_domain(domain, count, bounds.low.shape[1])
    named = count and targets is not None
    if count:
        classes, activation = first_look(model, images, options.of)
        options = options._replace(activation=activation)
    targets = check_targets(targets, count, classes) if named else np.zeros(count, int)
    if labels is not None:
        labels = check_targets(labels, count, classes, "labels") if count else targets
    return Task(model, images, gamma, options, bounds, groups, labels, targets)


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


def check_options(options, model, targets, bounds, groups=None):
    """`options`, if each is allowed and they fit together, the model, the targets, the `Bounds` and
    the groups."""
    _check_words(options)
    _check_distortion(options, bounds)
    _check_step(options, groups, bounds.low.shape[1])
    _check_settings(options, model)
    _check_goal(options, targets)
    return options


def _check_distortion(options, bounds):
    theta, max_distortion = options.theta, options.max_distortion
    check_theta(theta)
    check_max_distortion(max_distortion)
    shortest = SHORTEST * float((bounds.high.astype(float) - bounds.low).max(initial=0))
    if max_distortion is None and abs(theta) < shortest:
        raise ValueError(f"theta must be at least {shortest:g}, up or down, where max_distortion "
                         f"is None: smaller steps would not come to an end; got {theta!r}")


def _check_step(options, groups, features):
    """That a flip, its rule and its groups fit together."""
    rule = options.variant.name
    if options.step == "flip":
        if rule not in FLIPPED or options.channels == "tied":
            raise ValueError(f"step='flip' goes with the rules {', '.join(FLIPPED)} and separate "
                             f"channels; got rule={rule!r}, channels={options.channels!r}")
        if options.theta != 1:
            raise ValueError("step='flip' goes from one bound to the other and takes no theta; "
                             f"got {options.theta!r}")
    if groups is None:
        return
    if options.step != "flip" or rule != "single":
        raise ValueError("groups needs step='flip' and saliency='single': a group changes as one "
                         f"feature; got step={options.step!r}, rule={rule!r}")
    groups = np.asarray(groups)
    if groups.dtype.kind not in "iu" or groups.shape != (features,):
        raise ValueError(f"groups must be {features} whole numbers, one a feature; "
                         f"got {groups.dtype} {groups.shape}")


def _check_words(options):
    words = {"saliency": SALIENCIES, "derivative": DERIVATIVES, "of": OUTPUTS,
             "rule": tuple(RULES), "channels": CHANNELS, "step": STEPS}
    for name, allowed in words.items():
        value = getattr(options, name)
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    if options.saliency == "single" and options.rule not in ("paper", "single"):
        raise ValueError(f"saliency='single' is rule='single'; got rule={options.rule!r}")


def _check_settings(options, model):
    margin, batch_size, derivative = options.margin, options.batch_size, options.derivative
    if not (is_number(margin) and margin >= 0):
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
    if not (is_number(confidence) and 0 < confidence < 1):
        raise ValueError(f"confidence must lie between 0 and 1; got {confidence!r}")


def check_budget(options, features):
    """A warning where Υ allows no iteration at all."""
    variant, upsilon = options.variant, options.max_distortion
    if features and variant.budget(features, upsilon) == 0:
        what = "pair" if variant.size == 2 else "feature"
        warnings.warn(f"max_distortion={upsilon:g} % of {features} features is less than one "
                      f"{what}, so none is changed: {100 * variant.size / features:.3g} % allow "
                      "one", stacklevel=5)  # whoever called `craft`
