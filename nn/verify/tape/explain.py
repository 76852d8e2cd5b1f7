"""Which mistake, made on purpose in a person's own function, gives the claimed gradients to
rounding? For the words of a cause only: no verdict depends on it.

In: a function of named arrays, recorded on a tape; the claimed gradients; `evidence.Evidence` of an
array that is wrong. Out: words, or "" where no mistake explains the numbers, or the tape cannot be
followed: its own gradients must be right first. A mistake that explains all that is claimed comes
before one that explains this array only. Read on in `verify.functions.check`.
"""
import numpy as np

from nn.verify.tape.mutations import mutations
from nn.verify.tape.tape import record

TRIES = 4000
WORK = 2e9      # numbers that are computed, in all tries; an operation costs as CALL of them
CALL = 12_000
SAME = 1e-6     # relative: claimed as by the mistake
SINGLE = 1e-3
BETTER = 0.01   # … and nearer by this than the right ones are


class Explanations:
    """Mistakes on the way back through one function at one point, searched for when first asked."""

    def __init__(self, point, claims, around=None):
        """
        Args:
            point: a `Point`.
            claims: {name: (N, size)} the claimed slopes.
            around: {what: array} that the backward step was made from, as the cotangent.
        """
        self.point, self.claims, self.around = point, claims, around or {}
        self._words, self._comparisons, self._all_rows = None, [], True

    def __call__(self, evidence, partly=False):
        """The mistake that gives the claimed numbers of one array, in words, or ""; `partly`: those
        of a Jacobian's wrong rows or columns only."""
        with np.errstate(all="ignore"):
            if self._words is None:
                self._words = self._search_safely()
            words, whole = self._words.get(evidence.name, ("", True))
            return words if words and whole != partly and self._is_followed(evidence) else ""

    def _search_safely(self):
        """`_search`, or nothing where the tape cannot go back: a word is not worth a report."""
        try:
            return self._search()
        except (ArithmeticError, LookupError, TypeError, ValueError):  # LinAlgError too
            return {}

    def _search(self):
        """{name of a wrong array: (words, whether they explain all of it)}."""
        way = record(self.point.call, self.point.arrays)
        outputs = len(self.point.value)
        if way is None or way.output.value.size != outputs:
            return {}
        for node in way.all:
            for name, array in self.around.items():
                if node.op == "constant" and np.array_equal(node.value, array):
                    node.name = name
        weights = np.ones((1, 1))
        if outputs > 1:
            weights = np.random.default_rng(3).uniform(0.5, 1.5, (2, outputs))
            wrong = self._wrong_rows(way)
            weights[:, ~wrong] = 0
            if not wrong.any():
                return {}
            self._all_rows = bool(wrong.all())
        _shifts_cut(way)
        self._comparisons = [_Comparison(way, each, self.claims) for each in weights]
        found = _searched(way, self._comparisons, self.point.is_single)
        return {name: (words, fit == 2 and self._all_rows) for name, (words, fit) in found.items()}

    def _wrong_rows(self, way):
        """Which outputs of a Jacobian have a wrong row: the mistake may be in theirs only."""
        rows = []
        for unit in np.eye(len(self.point.value)):
            each = _Comparison(way, unit, self.claims)
            rows.append(any(each.is_wrong(name, self.point.is_single) for name in self.claims))
        return np.array(rows)

    def _is_followed(self, evidence):
        """Whether the tape's own gradient is the right one, by the referees."""
        first = self._comparisons[0]
        if len(first.weights) == 1:
            return evidence.fits(first.gradient(evidence.name))
        if evidence.expected is None:
            return False
        expected = (first.weights @ evidence.expected).ravel()
        off = np.abs(first.gradient(evidence.name).ravel() - expected)
        return off.max() <= 1e-5 * np.abs(expected).max()


class _Comparison:
    """Claimed and right gradients of one sum of outputs."""

    def __init__(self, way, weights, claims):
        self.way, self.weights = way, weights
        self.right = way.back({way.output.number: weights.reshape(way.output.value.shape)})
        self.leaves = {name: way.leaves[name] for name in claims}
        self.claimed = {name: (weights @ claim).reshape(self.leaves[name].value.shape)
                        for name, claim in claims.items()}

    def gradient(self, name):
        """The right one."""
        leaf = self.leaves[name]
        return np.asarray(self.right.get(leaf.number, np.zeros(leaf.value.shape)))

    def agrees(self, name, off, single):
        """How well the gradient, changed by `off`, is the claimed one: 2; 1 where only what is
        wrong in a Jacobian's columns is; 0 where not."""
        claimed, right = self.claimed[name], self.gradient(name)
        number = self.leaves[name].number
        error = np.abs((right + off[number] if number in off else right) - claimed)
        size = np.abs(claimed).max(initial=0)
        allowed = (SINGLE if single else SAME) * size
        if self.is_wrong(name, single):
            was = np.abs(right - claimed)
            allowed = min(allowed, BETTER * was.max())
            columns = was > 1e-3 * was.max()
            if len(self.weights) > 1 and error[columns].max() <= allowed < error.max():
                return 1
        return 2 if error.max(initial=0) <= allowed else 0

    def is_wrong(self, name, single):
        """Whether the claim is not the right gradient."""
        claimed, right = self.claimed[name], self.gradient(name)
        limit = SINGLE if single else SAME / 10
        return np.abs(right - claimed).max(initial=0) > limit * np.abs(claimed).max(initial=0)


def _shifts_cut(way):
    """Takes the maximum out of the way where it is only a shift (of a softmax): people do not
    differentiate it, and mistakes elsewhere must not make it count."""
    rng = np.random.default_rng(4)
    right = way.back({way.output.number: rng.normal(size=way.output.value.shape)})
    shifts = []
    for node, which in way.uses:
        if node.op == "max":
            off = way.changed(right, {(node.number, which): None})
            if all(np.abs(off.get(leaf.number, 0)).max() <= 1e-10 * np.abs(
                    right.get(leaf.number, 0)).max() for leaf in way.leaves.values()):
                shifts.append(node)
    way.cut(*shifts)


def _work(way):
    """Numbers that one way back computes, about."""
    work = 0
    for node in way.nodes:
        work += CALL + 10 * node.value.size
        if node.kind == "product":
            lengths = {letter: n for term, each in zip(node.params["terms"], node.operands)
                       for letter, n in zip(term, each.value.shape)}
            work += 2 * np.prod(list(lengths.values()), dtype=float)
    return work


def _searched(way, comparisons, single):
    names = list(comparisons[0].claimed)
    wrong = [name for name in names if comparisons[0].is_wrong(name, single)]
    best = {}
    tries = min(TRIES, int(WORK / (_work(way) * len(comparisons))))
    for number, mutation in enumerate(mutations(way)):
        if number > tries:
            break
        try:
            off = [each.way.changed(each.right, mutation.change) for each in comparisons]
        except (ValueError, IndexError, np.linalg.LinAlgError):
            continue
        fits = {name: min(each.agrees(name, o, single) for each, o in zip(comparisons, off))
                for name in names}
        for name in wrong:
            if fits[name] and sum(fits.values()) > best.get(name, (0,))[0]:
                best[name] = sum(fits.values()), mutation.words(), fits[name]
        if wrong and min(fits.values()) == 2:
            break
    return {name: (words, fit) for name, (_, words, fit) in best.items()}



def in_the_function(evidence):
    """A mistake in one of the function's own operations."""
    return evidence.explain(evidence) if evidence.explain is not None else ""


def in_some_rows(evidence):
    """The same, in some rows or columns of a Jacobian only."""
    return evidence.explain(evidence, partly=True) if evidence.explain is not None else ""


def upstream_ignored(evidence):
    """The derivative of a single output, without what comes back to it."""
    for name, array in evidence.around.items():
        if array.size == 1 and evidence.fits(evidence.claimed * array.item()):
            return (f"the upstream gradient {name} is ignored: a factor {array.item():.6g} is "
                    "missing")
    return ""
