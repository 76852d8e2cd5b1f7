"""All mistakes that are made on purpose, one at a time, the plainest first.

In: a `Way`. Out: `Mutation`s. Read on in `verify.functions.explain`.
"""
from itertools import product

from nn.verify.functions.compounds import (
    normalizations,
    of_others,
    pairs,
    softmaxes,
    units,
    unitwise,
)
from nn.verify.functions.forgotten import constants, factors, left_out, powers, slopes
from nn.verify.functions.others import everywhere, exchanged, replaced
from nn.verify.functions.places import kept_only, moves, overwritten
from nn.verify.functions.sums import summed, transposed
from nn.verify.functions.uses import groups

PLAIN = (slopes, powers, transposed, summed, left_out, moves, overwritten, kept_only)
FURTHER = (factors, replaced, everywhere, exchanged)


def mutations(way):
    """`Mutation`s of compounds, then of single operations."""
    known = list(pairs(way))
    yield from softmaxes(way, known)
    yield from normalizations(known)
    yield from constants(way)
    together, alone = units(way, known)
    wide, single = groups(way)
    for makers, where in (((unitwise,), together), (PLAIN, wide), ((of_others,), together),
                          (FURTHER, wide), ((unitwise,), alone), (PLAIN, single),
                          ((of_others,), alone), (FURTHER, single)):
        for make, each in product(makers, where):
            yield from make(way, each)
