"""The crafted samples of an experiment: where each started, its two classes, what came of it.

In: images and a run of `attack.craft_run` that started from them. Out: columns over all samples;
images and pairs of features shard by shard, so that memory holds a part of the paper's 270,000
samples only.
"""
from copy import copy
from dataclasses import fields

import numpy as np

from attack import RULES, Crafted, replay, truncate
from attack.crafting import REASONS

COLUMNS = ("index", "sources", "targets", "success", "iterations", "distortion", "reason")


class Samples:
    """n crafted samples.

    `index` (n,) of the digit in `images`, `sources` and `targets` (n,), and what came of each:
    `success`, `iterations`, `distortion` (percent) and `reason`, all (n,).
    """

    def __init__(self, images, index, sources, targets, run, theta, ask=lambda: None):
        """Read the columns of a run.

        Args:
            images: (d, 28, 28), the digits.
            index: (n,), the digit each sample started from.
            sources, targets: (n,), classes.
            run: the `attack.Run` of these samples.
            theta: θ of the run.
            ask: called before each shard; it may raise.
        """
        self.images = images
        self.index = index
        self.sources = sources
        self.targets = targets
        self.run = run
        self.theta = theta
        self.success, self.iterations, self.distortion, reason = run.columns(
            "success", "iterations", "distortion", "reason")
        self.reason = np.array(REASONS)[reason]
        self.budget = None  # iterations, where the run went further
        self._ask = ask
        self._truncated = {}

    def __len__(self):
        return len(self.index)

    def shards(self):
        """Yields (rows, the images they started from, their pairs) shard by shard."""
        for shard in range(len(self.run)):
            rows = self.run.rows(shard)
            index = self.index[rows]
            if not len(index):
                return
            self._ask()
            pairs = self.run.load(shard)["pairs"][:len(index), :self.budget]
            yield slice(rows.start, rows.start + len(index)), self.images[index], pairs

    def truncated(self, upsilon):
        """(success, distortion) of all samples as a run at the smaller Υ would have left them."""
        if upsilon not in self._truncated:
            parts = [truncate(images, pairs, self.iterations[rows], self.success[rows], upsilon,
                              self.theta)
                     for rows, images, pairs in self.shards()]
            self._truncated[upsilon] = tuple(np.concatenate(part) for part in zip(*parts))
        return self._truncated[upsilon]

    def part(self, digits=None, upsilon=None):
        """The `Samples` of the first `digits` only, or those that a run at the smaller Υ would have
        left."""
        part = copy(self)
        part._truncated = {}
        if digits is not None:
            rows = self.index < digits
            for name in COLUMNS:
                setattr(part, name, getattr(self, name)[rows])
            part.images = self.images[:digits]
        if upsilon is not None:
            part.success, part.distortion = part.truncated(upsilon)
            part.budget = RULES["paper"].budget(self.run.features, upsilon)
            spent = ~part.success & (part.iterations >= part.budget)
            part.reason = np.where(spent, "max_iterations", part.reason)
            part.iterations = np.minimum(part.iterations, part.budget)
        return part

    def adversarial(self):
        """Yields (rows, the adversarial images) shard by shard."""
        for rows, images, pairs in self.shards():
            yield rows, replay(images, pairs, self.theta)


def joined(parts):
    """Several `Crafted`, one after the other, as one; without a trace."""
    width = max(part.pairs.shape[1] for part in parts)
    for part in parts:
        part.pairs = np.pad(part.pairs, [(0, 0), (0, width - part.pairs.shape[1]), (0, 0)],
                            constant_values=-1)
    columns = [field.name for field in fields(Crafted) if field.name != "trace"]
    return Crafted(**{name: np.concatenate([getattr(part, name) for part in parts])
                      for name in columns})
