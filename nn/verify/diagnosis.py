"""What a wrong derivative looks like: from the pattern of its errors to the likely mistake, in a
few words.

In: the step of a layer that went wrong, the numbers it claims, those it should give. Out: a cause,
or "" where no pattern shows. A mistake of the catalogue is named only if making it on purpose, in a
copy of the layer as it stands in `nn`, gives the claimed numbers. Read on in `verify.unitwise`.
"""
import numpy as np

from nn.verify.catalogue import CATALOGUE

EXPLAINED = {"float64": 1e-8, "float32": 1e-3}  # of the largest number: a cause gives these numbers


def likely_cause(step, read, claimed, expected, image=None, shifts=(1,)):
    """The mistake that gives `claimed` in place of `expected`, in words.

    Args:
        step: the wrong layer's `catalogue.LayerStep`, None for a layer that is not one of nn's.
        read: the result of a step → numbers of the shape of `claimed`.
        claimed: the layer's own numbers.
        expected: the right ones, of the same shape.
        image: (channels, height, width) of the last axis, if it is an image.
        shifts: by how many pixels its windows may be shifted.

    Returns:
        The cause; "" if there is none that gives these numbers.
    """
    return (_mistake(step, read, claimed, expected) or scaled(claimed, expected)
            or (moved(claimed, expected, image, shifts) if image else ""))


def _mistake(step, read, claimed, expected):
    """The cause of the first mistake in the catalogue that gives `claimed`, or ""."""
    for wrong in CATALOGUE if step else []:
        cause = wrong.causes[step.part]
        possible = cause and isinstance(step.layer, wrong.kinds)
        if possible and _same(claimed, read(wrong.compute(step)), expected):
            return cause
    return ""


def scaled(claimed, expected):
    """"the sign is wrong", "zero everywhere", "scaled by …", or "" if no factor explains the
    claimed numbers."""
    size = float((expected * expected).sum())
    if not size:
        return ""
    factor = float((claimed * expected).sum()) / size
    if not _same(claimed, factor * expected, expected):
        return ""
    if abs(factor) < 1e-6:
        return "zero everywhere"
    if abs(factor + 1) < 1e-6:
        return "the sign is wrong"
    return f"scaled by {factor:.6g}" if abs(factor - 1) > 1e-4 else f"scaled by 1 {factor - 1:+.2g}"


def moved(claimed, expected, image, shifts=(1,)):
    """"shifted by …", "rows and columns … transposed" or "" for derivatives of an image.

    Args:
        claimed: (units, pixels).
        expected: the same of the right derivative.
        image: (channels, height, width), their product is `pixels`.
        shifts: the numbers of pixels that are tried, both ways.

    Returns:
        The cause in words.
    """
    claimed, expected = claimed.reshape(-1, *image), expected.reshape(-1, *image)
    for axis, name in ((2, "row"), (3, "column")):
        for shift in (size * sign for size in sorted(set(shifts)) for sign in (1, -1)):
            inner = [slice(None)] * 4
            inner[axis] = slice(abs(shift), -abs(shift))  # without what was rolled over the edge
            wrong = np.roll(expected, shift, axis=axis)
            if _same(*(table[tuple(inner)] for table in (claimed, wrong, expected))):
                return _shift_in_words(abs(shift), name)
    if image[1] == image[2] and _same(claimed, expected.swapaxes(2, 3), expected):
        return "rows and columns of the image are transposed"
    return ""


def _shift_in_words(pixels, name):
    return f"shifted by a pixel (one {name})" if pixels == 1 else f"shifted by {pixels} {name}s"


def _same(claimed, wrong, expected):
    """Whether `wrong` explains `claimed`: to rounding, and a hundred times nearer to it than
    `expected` is."""
    if claimed.shape != wrong.shape or not explains(claimed, wrong):
        return False
    difference = np.abs(claimed - wrong).max(initial=0)
    return bool(difference <= 0.01 * np.abs(claimed - expected).max(initial=0))


def explains(claimed, wrong):
    """Whether the numbers `wrong` are those of `claimed`, to rounding."""
    relative = EXPLAINED.get(np.asarray(claimed).dtype.name, EXPLAINED["float64"])
    difference = np.abs(claimed - wrong).max(initial=0)
    return bool(difference <= relative * np.abs(claimed).max(initial=0))
