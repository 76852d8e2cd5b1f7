"""All mistakes that are made on purpose, one at a time, the plainest first.

In: a `Way`. Out: `Mutation`s. Read on in `verify.functions.explain`.
"""
from nn.verify.functions.compounds import normalizations, pairs, softmaxes, unitwise
from nn.verify.functions.forgotten import constants, factors, left_out, powers, slopes
from nn.verify.functions.others import everywhere, exchanged, replaced
from nn.verify.functions.places import kept_only, moves, overwritten
from nn.verify.functions.sums import summed, transposed
from nn.verify.functions.uses import groups

OF_USES = (slopes, powers, transposed, summed, left_out, moves, overwritten, kept_only, factors,
           replaced, everywhere, exchanged)


def mutations(way):
    """`Mutation`s of compounds, then of single operations."""
    known = list(pairs(way))
    yield from softmaxes(way, known)
    yield from normalizations(known)
    yield from constants(way)
    yield from unitwise(way, known)
    all_uses = groups(way)
    for make in OF_USES:
        for group in all_uses:
            yield from make(way, group)
