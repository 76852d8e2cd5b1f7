"""What one iteration does to the features that it chose: θ is added, as in the paper, or a binary
feature flips, and with it the group in which exactly one is 1.

In: the features chosen, one of each sample. Out: changed values, and a Γ without what may not be
chosen again. Read on in `goals`.
"""
import numpy as np

STEPS = ("add", "flip")


class Adding:
    """x + θ, clipped to the bounds; a feature leaves Γ when the rule says so."""

    def __init__(self, bounds, variant):
        self.bounds = bounds
        self.variant = variant
        self.features = bounds.low.shape[1]

    def start(self, cells, theta):
        """Γ at the start, (n, M) booleans or True, for samples (n, C, M)."""
        return self.variant.start(cells, theta, self.bounds)

    def choose(self, scene, sums):
        """The rule's choice."""
        return self.variant.choose(scene, sums)

    def moved(self, values, feature, theta):
        """The values (B, C) of one feature (B,) of each sample after a change by θ (B,)."""
        return self.bounds.at(feature).moved(values, theta[:, None])

    def leave(self, gamma, rows, feature, values):
        """Γ (n, M), in place: is a feature (B,) of the samples `rows` with its new values in it?"""
        gamma[rows, feature] = ~self.variant.leaves(values, self.bounds.at(feature))

    def changed(self, cells, originals):
        """How many features of each sample differ, (n,)."""
        return (cells != originals).any(axis=1).sum(axis=1)


class Flipping(Adding):
    """A feature goes from one of its bounds to the other, once.

    Of a group, features of which one is at its upper bound (one-hot), another one goes up and that
    one down: a group is one feature for Υ and the distortion. By Eq. 8 to 10 a feature counts with
    what its flip does to F, to first order: its derivatives times the way it goes, less those of
    the group's feature that goes down.

    groups: (M,) numbers, one a group; None where each feature is on its own. ValueError where a
    value lies at neither bound, or a group is not one-hot.
    """

    def __init__(self, bounds, variant, originals, groups=None):
        super().__init__(bounds, variant)
        values = originals[:, 0]  # (n, M)
        at_neither = ~bounds.reached(values)
        if at_neither.any():
            raise ValueError("step='flip' is for features that lie at one of their bounds; "
                             f"got {values[at_neither][0]:g}")
        self.group = np.arange(self.features)
        self.grouped = np.zeros(self.features, bool)
        if groups is not None:
            self._group(np.asarray(groups), values)
        self.features = len(np.unique(self.group))

    def _group(self, groups, values):
        single = groups < 0
        self.group = np.where(single, len(groups) + groups.max(initial=0) + self.group, groups)
        self.grouped = ~single
        for number in np.unique(groups[~single]):
            hot = (values == self.bounds.high[0])[:, groups == number].sum(axis=1)
            if (hot != 1).any():
                raise ValueError("groups must be one-hot: exactly one feature at its upper bound; "
                                 f"group {number} of sample {np.flatnonzero(hot != 1)[0]} has "
                                 f"{hot[hot != 1][0]}")

    def start(self, cells, theta):
        """All features: what may go up in a group is asked again in each iteration."""
        return True

    def choose(self, scene, sums):
        """The rule's choice by what each flip does; θ counts as upward."""
        values = scene.values[:, 0]  # (B, M)
        up = values == self.bounds.low[0]
        way = np.where(up, 1, -1) * (self.bounds.high - self.bounds.low)[0]
        hot = self._hot(values)  # (B, M)
        fall = np.where(self.grouped, np.take_along_axis(
            np.stack([part * way for part in sums]), hot[None], axis=2), 0)
        effect = type(sums)(*(part * way + less for part, less in zip(sums, fall)))
        gamma = scene.gamma & (up | ~self.grouped)
        choice = self.variant.choose(scene._replace(gamma=gamma, theta=1.0), effect)
        p = np.maximum(choice.p, 0)
        falls = self.grouped[p] & (choice.p >= 0)
        q = np.where(falls, hot[np.arange(len(p)), p], choice.q)
        return choice._replace(q=q)

    def _hot(self, values):
        """Of each feature the one of its group that is at its upper bound, (B, M)."""
        high = values == self.bounds.high[0]
        hot = np.tile(np.arange(high.shape[1]), (len(high), 1))
        for number in np.unique(self.group[self.grouped]):
            members = np.flatnonzero(self.group == number)
            hot[:, members] = members[high[:, members].argmax(axis=1)][:, None]
        return hot

    def moved(self, values, feature, theta):
        """The other bound."""
        return self.bounds.at(feature).other(values)

    def leave(self, gamma, rows, feature, values):
        """The whole group is no longer in it."""
        gamma[rows] &= self.group != self.group[feature][:, None]

    def changed(self, cells, originals):
        """How many features of each sample differ; a group counts once."""
        differs = (cells != originals).any(axis=1)
        return np.array([len(np.unique(self.group[row])) for row in differs], int)
