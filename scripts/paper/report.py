"""One self-contained page, `report.html`: every figure and number of the paper beside ours.

In: the outcomes of the experiments and the pictures as PNG bytes. Out: HTML that opens from disk
without a network; its style is `report.css`.
"""
import base64
from html import escape
from pathlib import Path

from scripts.pages.document import document
from scripts.paper.outcome import Claim

STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
TITLE = "The Limitations of Deep Learning in Adversarial Settings, reproduced"
HEADS = ("claim", "paper", "ours [95 % interval]", "verdict", "remark")


def page(outcomes, about, pictures, experiments):
    """The page as a string.

    Args:
        outcomes: {name: Outcome}.
        about: {label: text} on how it was made, with the label "size".
        pictures: {name: PNG bytes}.
        experiments: {name: Experiment}, with a title (also the picture's alternative text) and what
            the picture shows.
    """
    agree, differ = _count(row for outcome in outcomes.values() for row in outcome.rows)
    parts = [f"<h1>{TITLE}</h1>",
             f"<p>{agree} claims agree with the paper here, {differ} differ. Size: "
             f"{escape(about['size'])}. A number agrees where our 95 % interval holds the "
             "paper's.</p>",
             _contents(outcomes, experiments)]
    for name, outcome in outcomes.items():
        parts += _section(name, outcome, pictures.get(name), experiments[name])
    parts.append("<h2>How this was made</h2>" + _table(("what", "value"), about.items()))
    return document(TITLE, STYLE, "\n".join(parts))


def _section(name, outcome, picture, experiment):
    """The parts of one experiment: claims, picture (PNG bytes or None), table where it has one."""
    title = escape(experiment.title, quote=True)
    samples = outcome.numbers.get("samples")
    size = f"<p>From {samples:,} samples.</p>" if samples else ""
    yield f"<h2 id='{escape(name)}'>{title}</h2>{size}" + _table(HEADS, outcome.rows)
    if picture is not None:
        data = base64.b64encode(picture).decode()
        image = f"<img alt='{title}' src='data:image/png;base64,{data}'>"
        yield (f"<figure><div class='wide'>{image}</div>"
               f"<figcaption>{escape(experiment.text)}</figcaption></figure>")
    if outcome.table:
        yield _table(*outcome.table)


def _contents(outcomes, experiments):
    """The sections, and how many of their claims agree or differ."""
    lines = []
    for name, outcome in outcomes.items():
        agree, differ = _count(outcome.rows)
        counts = ", ".join(f"<span class='{word}'>{number} "
                           f"{word if number == 1 else word[:-1]}</span>"
                           for number, word in ((agree, "agrees"), (differ, "differs")) if number)
        title = escape(experiments[name].title)
        lines.append(f"<li><a href='#{escape(name)}'>{title}</a> {counts}</li>")
    return f"<ul>{''.join(lines)}</ul>"


def _count(rows):
    """How many claims agree, and how many differ."""
    verdicts = [row.verdict for row in rows]
    return verdicts.count("agrees"), verdicts.count("differs")


def _table(heads, rows):
    head = "".join(f"<th scope='col'>{escape(text)}</th>" for text in heads)
    lines = ("".join(_cell(label, value) for label, value in zip(heads, row)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (f"<div class='wide'><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></div>")


def _cell(label, value):
    """A value, or a `Claim`: what is measured, in the colour of its verdict."""
    word, text = (value.verdict, value.ours) if isinstance(value, Claim) else (value, str(value))
    kind = f" class='{word}'" if word in ("agrees", "differs") else ""
    return f"<td{kind} data-label='{escape(label, quote=True)}'>{escape(text)}</td>"
