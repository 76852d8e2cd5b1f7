"""What is known of one wrong array: the claimed numbers and the right ones, all entries or the
slopes along random directions; and whether other numbers would be right.

In: what was judged, what the claim was made from. Out: `Evidence`. Read on in
`verify.functions.patterns`.
"""
from typing import Any, NamedTuple

import numpy as np

TO_ROUNDING = 1e-5     # relative: a right correction leaves no more than this
IMPROVES = 0.01        # … and no more than this of the error


class Evidence(NamedTuple):
    """What is known of one wrong array."""
    name: str
    claimed: np.ndarray   # of the array's shape; (N, M) for a Jacobian
    expected: Any         # of the same shape, or None where single entries were measured only
    along: list           # [(weights of that shape, slope)]
    array: np.ndarray     # the array itself, what was differentiated for
    others: dict          # {name: claimed} of the other arrays
    around: dict          # {what: array} that the backward step was made from, as the cotangent
    repeated: Any = None  # a boolean array (rows,): rows that an index names more than once
    units: Any = None     # (claimed, expected) → words, of a function that works unit by unit
    image: Any = None     # (channels, height, width) of a Jacobian's columns
    where: str = ""       # where the wrong entries lie, of an array measured along directions
    explain: Any = None   # (evidence) → words, of a mistake made on purpose in the function

    def fits(self, candidate):
        """Whether `candidate` is what the derivative should be, to rounding."""
        if candidate.shape != self.claimed.shape or not np.isfinite(candidate).all():
            return False
        return self._agree(self._known(candidate))

    def solved(self, basis, fixed=None):
        """Numbers k so that Σ k_i basis_i (+ `fixed`) is right, to rounding; None if there are
        none."""
        columns = np.stack([self._known(each) for each in basis], axis=1)
        target = self._right() - (0 if fixed is None else self._known(fixed))
        if len(target) <= len(basis) or not np.isfinite(columns).all():
            return None
        factors = np.linalg.lstsq(columns, target, rcond=None)[0]
        total = columns @ factors + (self._right() - target)
        return factors if self._agree(total) else None

    def _agree(self, known):
        right = self._right()
        off = np.abs(known - right).max()
        was = np.abs(self._known(self.claimed) - right)
        was = was[np.isfinite(was)].max(initial=0) or np.inf
        return bool(off <= TO_ROUNDING * np.abs(right).max(initial=0) and off <= IMPROVES * was)

    def _known(self, table):
        """`table` as it shows in what is known: its entries, or its sums along directions."""
        if self.expected is not None:
            return table[np.isfinite(self.expected)]
        return np.array([float((weights * table).sum()) for weights, _ in self.along])

    def _right(self):
        if self.expected is not None:
            return self.expected[np.isfinite(self.expected)]
        return np.array([slope for _, slope in self.along])
