"""What a piece of handwritten code is: how to make it, and what a good check says of it.

In: a function that makes code with its data from a random generator, right or with one named
mistake. Out: `Handwritten`, a case each.
"""
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np


class Handwritten(NamedTuple):
    """Code that somebody brings with the question whether its derivative is right.

    `make(rng)` returns the keyword arguments of the public function for its `kind`:
        "gradients": loss, parameters, gradients (None: those that the loss returns);
        "backward": forward, backward, inputs;
        "jacobian": f, jacobian, x.

    `parameter` is the name of the wrong gradient: a key, an attribute, an argument, the number in a
    list as text; "parameters" for one bare array and "x" for a Jacobian; "" for right code. A good
    diagnosis has one of the words of `cause` in it, in any case of letters. `about` says where
    such code is met.
    """
    name: str
    kind: str
    make: Callable[[np.random.Generator], dict]
    parameter: str
    cause: tuple[str, ...]
    about: str

    @property
    def right(self):
        """Whether the derivative is right."""
        return not self.parameter

    @property
    def twin(self):
        """The function that makes the same code without the mistake."""
        if self.right:
            return self.make
        options = {key: value for key, value in self.make.keywords.items() if key != "mistake"}
        return partial(self.make.func, **options)


def family(name, kind, make, about, mistakes=None):
    """The cases of one piece of code: right, and once for each of its mistakes.

    Args:
        name: of the right case; a wrong one is called "name: mistake".
        kind: "gradients", "backward" or "jacobian".
        make: function of a generator and, by keyword, of the mistake's name.
        about: where such code is met.
        mistakes: {mistake: (parameter, *words of the cause)}.

    Returns:
        A list of `Handwritten`, the right one first.
    """
    wrong = [Handwritten(f"{name}: {mistake}", kind, partial(make, mistake=mistake), parameter,
                         tuple(cause), about)
             for mistake, (parameter, *cause) in (mistakes or {}).items()]
    return [Handwritten(name, kind, make, "", (), about), *wrong]
