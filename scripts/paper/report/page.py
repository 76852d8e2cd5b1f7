"""One self-contained page, `report.html`: every figure and number of the paper beside ours.

In: the outcomes of the experiments and the pictures as PNG bytes. Out: HTML that opens from disk
without a network; its style is `report.css`. Its first screen (Fig. 1, three numbers, a card for
each experiment) is made by `first_screen`.
"""
from html import escape
from pathlib import Path

from scripts.pages.document import document
from scripts.paper.outcome import TOO_FEW, Claim
from scripts.paper.report.first_screen import first_screen, image, kind, word_of
from scripts.paper.report.thumbnail import size_of

STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
TITLE = "The Limitations of Deep Learning in Adversarial Settings, reproduced"
HEADS = ("claim", "paper", "ours [95 % interval]", "verdict", "remark")
WIDEST = 1000  # pixels of a picture that is shown whole; in a wider one words would be too small
SCALE = 0.75   # of a picture's pixels: its words are as large as the text
MANY = 8       # columns of a table that is folded up


def page(outcomes, about, pictures, experiments):
    """The page as a string.

    Args:
        outcomes: {name: Outcome}.
        about: {label: text} on how it was made, with the label "size".
        pictures: {name: PNG bytes}.
        experiments: {name: Experiment}, with a title (also the picture's alternative text) and what
            the picture shows.
    """
    parts = [f"<h1>{TITLE}</h1>", *first_screen(outcomes, about["size"], pictures, experiments)]
    for name, outcome in outcomes.items():
        parts += _section(name, outcome, pictures.get(name), experiments[name])
    parts.append("<h2>How this was made</h2>" + _table(("what", "value"), about.items()))
    return document(TITLE, STYLE, "\n".join(parts))


def _section(name, outcome, picture, experiment):
    """The parts of one experiment: claims, picture (PNG bytes or None), table where it has one."""
    samples = outcome.numbers.get("samples")
    size = f"<p>From {samples:,} samples.</p>" if samples else ""
    rows = [row._replace(verdict=word_of(row), why=row.why.removeprefix(f"{TOO_FEW}: "))
            for row in outcome.rows]
    yield f"<h2 id='{escape(name)}'>{escape(experiment.title)}</h2>{size}" + _table(HEADS, rows)
    if picture is not None:
        yield _figure(picture, experiment)
    elif outcome.no_picture:
        yield f"<p class='missing'>{escape(outcome.no_picture)}</p>"
    if outcome.table:
        yield _folded(*outcome.table)


def _figure(picture, experiment):
    """A picture and what it shows; one that is too wide for any screen scrolls, and says so."""
    caption = f"<figcaption>{escape(experiment.text)}</figcaption>"
    shown = image(picture, experiment.title, SCALE)
    if size_of(picture)[0] <= WIDEST:
        return f"<figure>{shown}{caption}</figure>"
    return (f"<figure class='scrolls'><p class='hint'>This picture is wide: scroll it sideways.</p>"
            f"<div class='wide'>{shown}</div>{caption}</figure>")


def _folded(heads, rows):
    """A table; one of many columns is folded up."""
    if len(heads) <= MANY:
        return _table(heads, rows)
    return (f"<details class='broad'><summary>The table of {len(rows)} rows and {len(heads)} "
            f"columns</summary>{_table(heads, rows)}</details>")


def _table(heads, rows):
    head = "".join(f"<th scope='col'>{escape(text)}</th>" for text in heads)
    lines = ("".join(_cell(label, value) for label, value in zip(heads, row)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (f"<div class='wide'><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></div>")


def _cell(label, value):
    """A value, or a `Claim`: what is measured, in the colour of its verdict."""
    word, text = (value.verdict, value.ours) if isinstance(value, Claim) else (value, str(value))
    return f"<td{kind(word)} data-label='{escape(label, quote=True)}'>{escape(text)}</td>"
