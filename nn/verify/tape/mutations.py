"""All mistakes that are made on purpose, one at a time, the plainest first.

In: a `Way`. Out: `Mutation`s. Read on in `verify.tape.explain`.
"""
from itertools import product

from nn.verify.tape.compounds import (
    normalizations,
    of_others,
    pairs,
    softmaxes,
    units,
    unitwise,
)
from nn.verify.tape.forgotten import constants, factors, left_out, powers, slopes
from nn.verify.tape.others import everywhere, exchanged, replaced
from nn.verify.tape.places import kept_only, moves, overwritten
from nn.verify.tape.sums import summed, transposed
from nn.verify.tape.uses import groups

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
