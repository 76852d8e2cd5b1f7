"""One self-contained page, `report.html`: every figure and number of the paper beside ours, with a verdict for each.

In: the outcomes of the experiments and the pictures as PNG bytes. Out: HTML that opens from disk without a network.
"""
import base64
from html import escape

from scripts.pages.document import document

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; color: #1a1a1a; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-top: 1px solid #bbb; padding-top: 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #ddd; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; } ul { padding-left: 1.2rem; }
a { color: #1f5673; } .agrees { color: #1b5e3a; font-weight: 600; }
.differs { color: #9a3412; font-weight: 600; } .small { font-size: .9rem; color: #444; }
@media (max-width: 40rem) {
  img { max-width: none; width: 44rem; }
  thead { position: absolute; left: -9999px; } tr { display: block; padding: .5rem 0; border-bottom: 1px solid #bbb; }
  td { display: block; border: 0; padding: .1rem 0; } td:empty { display: none; }
  td[data-label]::before { content: attr(data-label) ": "; color: #555; }
}
"""
HEADS = ("claim", "paper", "ours [95 % interval]", "verdict", "remark")


def page(outcomes, about, pictures, experiments):
    """The page as a string.

    outcomes: {name: Outcome}; about: {label: text} on how it was made; pictures: {name: PNG bytes};
    experiments: {name: Experiment}, with a title (also the picture's alternative text) and what the picture shows.
    """
    agree, differ = _count(row for outcome in outcomes.values() for row in outcome.rows)
    parts = [f"<p>{agree} claims agree with the paper here, {differ} differ. Size: {escape(about['size'])}.</p>",
             _contents(outcomes, experiments)]
    for name, outcome in outcomes.items():
        title = escape(experiments[name].title, quote=True)
        parts.append(f"<h2 id='{escape(name)}'>{title}</h2>" + _table(HEADS, outcome.rows))
        if name in pictures:
            data = base64.b64encode(pictures[name]).decode()
            parts.append(f"<figure><div class='wide'><img alt='{title}' src='data:image/png;base64,{data}'></div>"
                         f"<figcaption>{escape(experiments[name].text)}</figcaption></figure>")
        if outcome.table:
            parts.append(_table(*outcome.table))
    parts.append("<h2>How this was made</h2>" + _table(("what", "value"), about.items()))
    title = "The Limitations of Deep Learning in Adversarial Settings, reproduced"
    return document(title, STYLE, "\n".join([f"<h1>{title}</h1>", *parts]))


def _contents(outcomes, experiments):
    """The sections, and how many of their claims agree or differ."""
    lines = []
    for name, outcome in outcomes.items():
        agree, differ = _count(outcome.rows)
        said = ", ".join(f"<span class='{word}'>{number} {word if number == 1 else word[:-1]}</span>"
                         for number, word in ((agree, "agrees"), (differ, "differs")) if number)
        lines.append(f"<li><a href='#{escape(name)}'>{escape(experiments[name].title)}</a> {said}</li>")
    return f"<ul>{''.join(lines)}</ul>"


def _count(rows):
    words = [row.verdict for row in rows]
    return words.count("agrees"), words.count("differs")


def _table(heads, rows):
    head = "".join(f"<th scope='col'>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(_cell(label, str(value)) for label, value in zip(heads, row)) + "</tr>"
                   for row in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(label, value):
    kind = f" class='{value}'" if value in ("agrees", "differs") else ""
    return f"<td{kind} data-label='{escape(label, quote=True)}'>{escape(value)}</td>"

