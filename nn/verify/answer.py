"""What every report of a check can do: be true or false in an `assert`, raise, draw itself.

In: a report's `verdict`, its text and its `errors_by_entry`. Out: its truth, an `AssertionError`,
HTML for a notebook. Read on in `verify.pytest_plugin`.
"""
import html

import numpy as np

VERDICTS = RIGHT, WRONG, DISAGREE, NOT_JUDGED = (
    "right", "wrong", "referees disagree", "not judged")
CELLS = 64                       # so many rows and columns of a table are drawn at most
PALE, DARK = (244, 244, 244), (178, 24, 43)


class CheckReport:
    """Mixed into a report: it is true only if its verdict is "right".

    A report has a `verdict`, one of `VERDICTS`, a text (`str`), and may say where its errors sit
    (`errors_by_entry`).
    """

    refused = None  # the last that was not "right" when it was asked for its truth or printed

    def __bool__(self):
        is_right = self.verdict == RIGHT
        CheckReport.refused = None if is_right else self
        return is_right

    def __repr__(self):
        """The verdict in a line, as short as pytest prints it."""
        if self.verdict != RIGHT:
            CheckReport.refused = self
        first = "; ".join(line.strip() for line in str(self).splitlines()[:2])
        return f"<{first[:200]}{' …' if len(first) > 200 else ''}>"

    def raise_if_wrong(self):
        """Raise AssertionError with the report as its text, unless the verdict is "right"; else
        return the report."""
        if not self:
            raise AssertionError(str(self))
        return self

    def errors_by_entry(self):
        """{name: (rows, columns) errors relative to what is allowed, NaN where not judged}."""
        return {}

    def _repr_html_(self):
        drawings = "".join(_drawing(name, errors)
                           for name, errors in self.errors_by_entry().items())
        return f"<pre>{html.escape(str(self))}</pre>{drawings}"


def _drawing(name, errors):
    """A table of errors as an image: pale where they are allowed, red where not, white
    where nothing was judged."""
    errors = _coarse(np.atleast_2d(errors))
    rows, columns = errors.shape
    cells = "".join(
        f'<rect x="{x}" y="{y}" width="1" height="1" fill="{_colour(errors[y, x])}"/>'
        for y, x in np.ndindex(rows, columns))
    size = max(2, min(12, 360 // max(rows, columns)))
    return (f'<figure style="display:inline-block;margin:4px 12px"><figcaption>{html.escape(name)}'
            f'</figcaption><svg width="{size * columns}" height="{size * rows}" viewBox="0 0 '
            f'{columns} {rows}" shape-rendering="crispEdges" style="border:1px solid #999">{cells}'
            '</svg></figure>')


def _coarse(errors):
    """At most `CELLS` rows and columns, each the largest error of those it stands for."""
    for axis in (0, 1):
        size = errors.shape[axis]
        if size > CELLS:
            starts = np.linspace(0, size, CELLS, endpoint=False).astype(int)
            errors = np.fmax.reduceat(errors, starts, axis=axis)
    return errors


def _colour(error):
    """White where it is NaN, pale up to 1, darker up to a million times what is allowed."""
    if np.isnan(error):
        return "#fff"
    share = 0.0 if error <= 1 else min(1.0, 0.3 + 0.7 * np.log10(error) / 6)
    return "#" + "".join(f"{round(pale + share * (dark - pale)):02x}"
                         for pale, dark in zip(PALE, DARK))
