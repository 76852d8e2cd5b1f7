"""The paper's experiments, a function each: a model and data in, numbers out. The figures are drawn in `figures`.

In: a `Setup` (network, digits, how to craft, how many samples). Out: an `Outcome`: numbers for `results.json`, arrays
for the figure, and a row for each claim of the paper with its value, ours and a verdict. Crafting is `attack.craft`.
"""
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from scipy import stats

from attack import class_matrix, craft, distortion_interval, mean_distortion, success_interval, success_rate
from data import load_mnist
from scripts.craft import pair_up
from scripts.progress import Progress

UPSILON = 14.5
SETS = ("train", "validation", "test")


class Row(NamedTuple):
    """One claim of the paper: what, its value, ours, "agrees" or "differs" (or "–" for no claim), and why."""
    claim: str
    paper: str
    ours: str
    verdict: str
    why: str = ""


@dataclass
class Outcome:
    """What an experiment found: JSON-able `numbers`, `rows` for the report, `arrays` for its figure."""
    numbers: dict
    rows: list
    arrays: dict = field(default_factory=dict)


@dataclass
class Setup:
    """What the experiments share: the network, where the digits are, the derivative, digits per set (None = all)."""
    network: object
    directory: object = None
    derivative: str = "forward"
    digits: int = 20

    def load(self, split, count=None):
        """The first `count` digits of a split (default: `digits`): images and labels."""
        images, labels = load_mnist(split, self.directory)
        count = self.digits if count is None else count
        return images[:count], labels[:count]

    def craft(self, images, targets, label, **options):
        """`attack.craft` with this setup's derivative and a progress line."""
        progress = Progress(label)
        crafted = craft(self.network, images, targets, derivative=self.derivative, progress=progress, **options)
        progress.close()
        return crafted

    @cached_property
    def one_of_each(self):
        """The first test digit of each class that the network reads correctly: images (10, 28, 28)."""
        images, labels = load_mnist("test", self.directory)
        images, labels = images[:1000], labels[:1000]
        right = self.network.predict(images) == labels
        missing = set(range(10)) - set(labels[right].tolist())
        if missing:
            raise ValueError(f"of the first {len(images)} test digits no {sorted(missing)} is read correctly")
        return images[[np.flatnonzero(right & (labels == digit))[0] for digit in range(10)]]

    @cached_property
    def large_sets(self):
        """Fig. 11: the first digits of each set, crafted to the nine other classes: {set: (labels, targets, …)}."""
        found = {}
        for split in SETS:
            images, labels = self.load(split)
            index, targets = pair_up(np.arange(len(images)), labels, "all")
            crafted = self.craft(images[index], targets, f"{split} digits", max_distortion=UPSILON)
            found[split] = (index, labels[index], targets, crafted)
        return found


def fig01(setup):
    """Fig. 1: one test digit of each class to every other class, θ = +1, Υ = ∞."""
    outcome, distortion = _every_pair(setup, 1.0)
    ours = f"{distortion.min():.2f} / {distortion.max():.2f} / {distortion.mean():.2f} %"
    outcome.rows.append(Row("min / max / mean distortion", "0.26 / 13.78 / 4.06 %", ours, "–",
                            "ten digits: which ten the paper took is not known"))
    return outcome


def fig09(setup):
    """Fig. 9: from an empty image to each class, θ = +1, Υ = ∞."""
    crafted = setup.craft(np.zeros((10, 28, 28), np.float32), np.arange(10), "Fig. 9", max_distortion=None)
    start = [int(t) for t in np.flatnonzero(crafted.reason == "already_target")]
    done = int(crafted.success.sum())
    note = f"the empty image itself is read as {start[0]}, so nothing had to change there" if start else ""
    return Outcome({"successes": done, "distortion": crafted.distortion.tolist(), "read_as_when_empty": start},
                   [Row("every class is reached from an empty image", "10 of 10", f"{done} of 10",
                        _verdict(done == 10), note)],
                   {"images": crafted.adversarial})


def fig10(setup):
    """Fig. 10: as Fig. 1 with θ = −1."""
    outcome, distortion = _every_pair(setup, -1.0)
    outcome.rows.append(Row("mean distortion of the successes", "not given", f"{distortion.mean():.2f} %", "–"))
    return outcome


def fig11(setup):
    """Fig. 11: success rate τ, mean distortion of all and of the successes, in each of the three sets and in all."""
    numbers, rows = {}, []
    sets = {**setup.large_sets, "all": _joined(setup.large_sets)}
    for name, (index, _, _, crafted) in sets.items():
        numbers[name] = row = {
            "samples": len(index), "tau": success_rate(crafted.success),
            "tau_interval": success_interval(crafted.success, index),
            "epsilon_all": mean_distortion(crafted.distortion),
            "epsilon_all_interval": distortion_interval(crafted.distortion, index),
            "epsilon": mean_distortion(crafted.distortion, crafted.success),
            "epsilon_interval": distortion_interval(crafted.distortion, index, crafted.success),
            "reasons": dict(zip(*(column.tolist() for column in np.unique(crafted.reason, return_counts=True)))),
        }
        if name == "all":
            rows += [_measured(claim, paper, row[key], row[f"{key}_interval"]) for claim, paper, key in (
                ("success rate τ", 97.10, "tau"), ("mean distortion of all samples", 4.44, "epsilon_all"),
                ("mean distortion ε of the successes", 4.02, "epsilon"))]
    return Outcome(numbers, rows)


def fig12(setup):
    """Fig. 12: success rate for each source and target class (test digits)."""
    _, sources, targets, crafted = setup.large_sets["test"]
    matrix = 100 * class_matrix(crafted.success, sources, targets)
    return Outcome({"matrix": _json(matrix)}, [
        _harder("sources 0, 2, 8 are harder to leave than 1, 7, 9", matrix, 1, (0, 2, 8), (1, 7, 9), "τ"),
        _harder("targets 1, 7 are harder to reach than 0, 8, 9", matrix, 0, (1, 7), (0, 8, 9), "τ")],
        {"matrix": matrix})


def fig13(setup):
    """Fig. 13: mean distortion of the successes for each source and target class (test digits)."""
    _, sources, targets, crafted = setup.large_sets["test"]
    won = crafted.success
    matrix = class_matrix(crafted.distortion[won], sources[won], targets[won])
    success = class_matrix(crafted.success, sources, targets)
    column = _means(matrix, 0)
    both = ~np.isnan(matrix) & ~np.isnan(success)
    varied = np.ptp(success[both]) > 0 and np.ptp(matrix[both]) > 0
    rank = float(stats.spearmanr(matrix[both], success[both]).statistic) if varied else None
    largest = int(np.nanargmax(column)) if won.any() else None
    return Outcome({"matrix": _json(matrix), "rank_correlation": rank, "largest_target": largest}, [
        Row("pairs with low distortion have high success", "negative rank correlation",
            "–" if rank is None else f"{rank:+.2f}", _verdict(None if rank is None else rank < 0),
            "" if varied else "every pair succeeds equally often in this sample"),
        Row("the target with the largest mean distortion", "1", f"{largest}",
            _verdict(None if largest is None else largest == 1),
            f"means by target: {', '.join(f'{t}: {value:.1f} %' for t, value in enumerate(column))}")],
        {"matrix": matrix})


EXPERIMENTS = {"fig1": fig01, "fig9": fig09, "fig10": fig10, "fig11": fig11, "fig12": fig12, "fig13": fig13}


def _every_pair(setup, theta):
    originals = setup.one_of_each
    index, targets = pair_up(np.arange(10), np.arange(10), "all")
    crafted = setup.craft(originals[index], targets, f"θ = {theta:+g}, Υ = ∞", theta=theta, max_distortion=None)
    images = originals[:, None].repeat(10, axis=1)
    images[index, targets] = crafted.adversarial
    predicted = np.tile(np.arange(10)[:, None], 10)
    predicted[index, targets] = crafted.predicted
    done, won = int(crafted.success.sum()), crafted.distortion[crafted.success]
    failed = [f"{s}→{t} ({reason})" for s, t, reason, success in
              zip(index, targets, crafted.reason, crafted.success) if not success]
    numbers = {"successes": done, "distortion": _json(crafted.distortion), "failed": failed}
    row = Row("every digit is turned into every other", "90 of 90", f"{done} of 90", _verdict(done == 90),
              f"not: {', '.join(failed)}" if failed else "")
    return Outcome(numbers, [row], {"images": images, "predicted": predicted}), won


def _joined(sets):
    """All sets as one; digits of different sets stay different groups."""
    parts = list(sets.values())
    crafted = SimpleNamespace(**{name: np.concatenate([getattr(part[3], name) for part in parts])
                                 for name in ("success", "distortion", "reason")})
    offsets = np.cumsum([0, *(part[0].max() + 1 for part in parts)])
    index = np.concatenate([part[0] + offset for part, offset in zip(parts, offsets)])
    return index, *(np.concatenate([part[k] for part in parts]) for k in (1, 2)), crafted


def _measured(claim, paper, ours, interval):
    low, high = interval
    inside = low <= paper <= high
    why = "" if inside else f"the paper's value lies {'above' if paper > high else 'below'} our 95 % interval"
    return Row(claim, f"{paper:.2f} %", f"{ours:.2f} % [{low:.2f}, {high:.2f}]", _verdict(inside), why)


def _harder(claim, matrix, axis, hard, easy, sign):
    means = _means(matrix, axis)
    low, high = np.mean(means[list(hard)]), np.mean(means[list(easy)])
    if np.isnan(low) or np.isnan(high):
        return Row(claim, "yes", "–", _verdict(None), "too few digits: a class is missing")
    worst = ", ".join(str(c) for c in np.argsort(means, kind="stable")[:3])
    best = ", ".join(str(c) for c in np.argsort(-means, kind="stable")[:3])
    return Row(claim, "yes", f"{sign} {low:.1f} % against {high:.1f} %", _verdict(low < high),
               f"here lowest: {worst}; highest: {best}")


def _means(matrix, axis):
    """Means along an axis without the NaN of empty cells; NaN where all are."""
    count = (~np.isnan(matrix)).sum(axis=axis)
    return np.where(count, np.nansum(matrix, axis=axis) / np.maximum(count, 1), np.nan)


def _verdict(holds):
    return "–" if holds is None else "agrees" if holds else "differs"


def _json(array):
    return [None if np.isnan(v) else float(v) for v in array] if array.ndim == 1 else [_json(row) for row in array]
