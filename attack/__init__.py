"""The attack of Papernot et al. 2016: from a forward derivative to a sample that the model takes
for another class.

Read `textbook` first: Eq. 8 to 10 and Algorithms 1 to 3 for one sample. Then the fast versions:
`model` (what is needed of a model), `first_look` (at its answers), `saliency` (Eq. 8 and 9),
`pairs` (Eq. 10, Algorithm 3), `crafting` (Algorithms 1 and 2), `crafted` (what it leaves),
`variants` (the paper's rules, other libraries'), `bounds` (of the features), `steps` (θ, or a
flip), `goals` (Fig. 2), `checks` (of images, θ, Υ, targets), `arguments` (of `craft`), `outputs`
(Algorithm 1 for any output vector), `metrics` (success rate, distortion, Eq. 11-14); `models` (of
others), `runs` (very many samples).
"""
from attack.crafting import REASONS, Crafted, Step, craft, replay, truncate
from attack.metrics import (
    DISTORTIONS,
    adversarial_distance,
    class_matrix,
    distortion_interval,
    distortions,
    hardness,
    mean_distortion,
    robustness,
    success_interval,
    success_rate,
)
from attack.model import Model
from attack.models.ensemble import Ensemble
from attack.models.jax import JaxModel
from attack.models.oracle import Oracle
from attack.models.torch import TorchModel
from attack.outputs import Reached, craft_output
from attack.pairs import best_pair, pair_share
from attack.runs.processes import processes
from attack.runs.run import craft_run
from attack.runs.shards import Run
from attack.saliency import saliency_map
from attack.variants import RULES

__all__ = [
    "Crafted", "DISTORTIONS", "Ensemble", "JaxModel", "Model", "Oracle", "REASONS", "RULES",
    "Reached", "Run", "Step", "TorchModel", "adversarial_distance", "best_pair", "class_matrix",
    "craft", "craft_output", "craft_run", "distortion_interval", "distortions", "hardness",
    "mean_distortion", "pair_share", "processes", "replay", "robustness", "saliency_map",
    "success_interval", "success_rate", "truncate",
]
