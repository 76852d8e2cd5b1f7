"""A program's own derivative (torch's, jax's) as the exact referee, in place of the complex step.

In: a `Point`, the slopes of one output by the program. Out: a `Referee` that asks differences too:
what the program says is no derivative of the values where the forward step detaches something.
Read on in `verify.programs.program`.
"""
import numpy as np

from nn.verify.functions.referee import Measured, Referee

VAGUE = 1e-2   # differences with a larger error than this, relative, confirm nothing
EQUAL = 64     # roundings: a claim that is the program's own slope


class OwnReferee(Referee):
    """The program's own derivative, and differences."""
    not_exact = ("differences are sure of another slope (a detach or .data, or several kinks at "
                 "one point)")

    def __init__(self, point, name, slopes):
        """
        Args:
            point: a `Point` of one output.
            name: how a report names the referee.
            slopes: {array: (1, size)}; those that the program says nothing of are not in it.
        """
        super().__init__(point)
        self.exact_one = name
        self.slopes = slopes

    def measure(self, direction, scales=(1.0,)):
        """As every referee does. At several kinks a rule may lead outside of the slopes of both
        sides, which says nothing of the program; nor do differences that are vague confirm it."""
        refused, confirmed = dict(self.refused), self.confirmed
        measured = super().measure(direction, scales)
        if measured.kink.all():
            self.refused = refused
        if not (measured.error <= VAGUE * np.abs(measured.value)).all():
            self.confirmed = confirmed
        return measured

    def table(self, name):
        """`Measured` of all entries of an array at once."""
        if name not in self.slopes:
            return None
        exact = self.slopes[name][0]
        no = np.zeros(len(exact), bool)
        return Measured(exact, 8 * self.point.epsilon * np.abs(exact), no, exact, exact, ~no)

    def accepts(self, name, column, claimed):
        """Whether the claimed slope is the program's own, which differences do not agree with: of a
        rule at kinks, or of a straight-through estimator, nobody can say that it is wrong."""
        own = self.slopes[name][:, column] if name in self.slopes else np.nan
        return np.abs(claimed - own) <= EQUAL * self.point.epsilon * np.abs(own)

    def _by_complex_step(self, direction):
        """The slopes (1,) along a direction; None where the program does not have them."""
        if not direction.keys() <= self.slopes.keys():
            return None
        return sum(self.slopes[name] @ along.reshape(-1) for name, along in direction.items())

    def _is_analytic(self, direction, outputs, clearly=False):
        """What differences are sure of is right, then; what they are vague about, the program
        knows."""
        return not clearly
