"""Derivatives by hand as people bring them to be checked: right code and mistakes, for
`jsma bench --checks`.

In: nothing. Out: `CASES`, all of them, `RIGHT` and `WRONG`, the two halves. `case` says what a case
is; `losses`, `normalization`, `convolution`, `recurrent`, `attention`, `tables`, `analytic` and
`nets` are families with the mistakes that people ask about; `kinks`, `numbers` and `real_only` are
mostly right code on which a careless check goes wrong. All data come from the generator that a case
is made with.
"""
from scripts.measure.handwritten import (
    analytic,
    attention,
    convolution,
    kinks,
    losses,
    nets,
    normalization,
    numbers,
    real_only,
    recurrent,
    tables,
)
from scripts.measure.handwritten.case import Handwritten

CASES: tuple[Handwritten, ...] = tuple(
    case for room in (losses, normalization, convolution, recurrent, attention, tables, analytic,
                      nets, kinks, numbers, real_only) for case in room.CASES)
RIGHT = tuple(case for case in CASES if case.right)
WRONG = tuple(case for case in CASES if not case.right)
