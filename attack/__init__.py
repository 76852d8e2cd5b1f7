"""The attack of Papernot et al. 2016: from a forward derivative to a sample that the model takes for another class.

Reading order: `model` (what is needed of a model), `saliency` (Eq. 8 and 9), `pairs` (Eq. 10, Algorithm 3), `crafting`
(Algorithms 1 and 2), `metrics` (success rate, distortion, hardness); then `rules` (the paper's, other libraries'),
`arguments` (of `craft`), `goals` (Fig. 2), `adapters` and `oracle` (models of others, and one of which only the answers
are seen), `vectors` (Algorithm 1 for any output vector), `runs` and `shards` (very many samples).
"""
from attack.crafting import REASONS, Crafted, Step, craft, replay, truncate
from attack.metrics import (
                            DISTORTIONS,
                            class_matrix,
                            distortion_interval,
                            distortions,
                            hardness,
                            mean_distortion,
                            success_interval,
                            success_rate,
)
from attack.model import Model
from attack.models.adapters import Ensemble, JaxModel, TorchModel
from attack.models.oracle import Oracle
from attack.outputs import Reached, craft_output
from attack.pairs import best_pair, pair_share
from attack.runs.processes import processes
from attack.runs.run import craft_run
from attack.runs.shards import Run
from attack.saliency import saliency_map
from attack.variants import RULES

__all__ = ["Crafted", "DISTORTIONS", "Ensemble", "JaxModel", "Model", "Oracle", "REASONS", "RULES", "Reached", "Run",
           "Step", "TorchModel", "best_pair", "class_matrix", "craft", "craft_output", "craft_run",
           "distortion_interval", "distortions", "hardness", "mean_distortion", "pair_share", "processes", "replay",
           "saliency_map", "success_interval", "success_rate", "truncate"]
