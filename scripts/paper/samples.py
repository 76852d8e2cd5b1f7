"""The crafted samples of an experiment: which digit each started from, its two classes, and what came of it.

In: images and a run of `attack.craft_run` that started from them. Out: columns over all samples; images and pairs of
features shard by shard, so that memory holds a part of the paper's 270,000 samples only.
"""
import numpy as np

from attack import replay, truncate
from attack.crafting import REASONS


class Samples:
    """n crafted samples.

    `index` (n,) of the digit in `images`, `sources` and `targets` (n,), and what came of each: `success`, `iterations`,
    `distortion` (percent) and `reason`, all (n,).
    """

    def __init__(self, images, index, sources, targets, run, theta):
        """Read the columns of a run.

        Args:
            images: (d, 28, 28), the digits.
            index: (n,), the digit each sample started from.
            sources, targets: (n,), classes.
            run: the `attack.Run` of these samples.
            theta: θ of the run.
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
        self._truncated = {}

    def __len__(self):
        return len(self.index)

    def shards(self):
        """Yields (rows, the images they started from, their pairs) shard by shard."""
        for shard in range(len(self.run)):
            rows = self.run.rows(shard)
            yield rows, self.images[self.index[rows]], self.run.load(shard)["pairs"]

    def truncated(self, upsilon):
        """(success, distortion) of all samples as a run at the smaller Υ would have left them."""
        if upsilon not in self._truncated:
            parts = [truncate(images, pairs, self.iterations[rows], self.success[rows], upsilon, self.theta)
                     for rows, images, pairs in self.shards()]
            self._truncated[upsilon] = tuple(np.concatenate(part) for part in zip(*parts))
        return self._truncated[upsilon]

    def adversarial(self):
        """Yields (rows, the adversarial images) shard by shard."""
        for rows, images, pairs in self.shards():
            yield rows, replay(images, pairs, self.theta)
