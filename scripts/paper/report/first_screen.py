"""The first screen of the report: Fig. 1, three numbers beside the paper's, a card an experiment.

In: what `report.page` has. Out: parts of its HTML. Pictures here are small copies (`thumbnail`);
where an experiment has none, its card shows its first number.
"""
import base64
from html import escape

from scripts.paper.classes import SURE
from scripts.paper.outcome import ALWAYS, CELL, FEWEST, TOO_FEW, WIDEST
from scripts.paper.readings.table import short
from scripts.paper.report.thumbnail import size_of, thumbnail

LARGE, SMALL = 460, 230  # pixels
TALL = 1.2  # height by width, from which on a card shows the upper part only
THREE = ("success rate τ", "mean distortion ε of the successes", "mean distortion of all samples")
COUNTED = {"agrees": "agree", "differs": "differ", TOO_FEW: TOO_FEW}  # one, several
WORDS = ("Ten digits, each changed pixel by pixel to be read as each of the nine other classes. "
         "Orange is the ink that was added.")
HOW = ("A number agrees where our 95 % interval (in brackets) holds one that rounds to the "
       "paper's. “Too few” is no verdict: the sample is too small to tell. "
       f"An interval needs {FEWEST} digits (or people), and to agree it may be no wider than "
       f"{100 * WIDEST:g} % of the paper's value; a comparison of classes needs {CELL} samples for "
       f"each pair of them, “the largest” must be so in {100 * SURE:g} % of the draws of the "
       f"digits, “always” needs an interval above {ALWAYS:g} %. “–”: the paper gives no value, or "
       "the intervals leave it open.")


def first_screen(outcomes, size, pictures, experiments):
    """The parts: a picture and numbers side by side, how to read a verdict, the cards."""
    counts = _counts(row for outcome in outcomes.values() for row in outcome.rows)
    shown = ""
    if pictures.get("fig1"):
        small = image(thumbnail(pictures["fig1"], LARGE), experiments["fig1"].title)
        shown = f"<figure><a href='#fig1'>{small}</a><figcaption>{WORDS}</figcaption></figure>"
    yield (f"<div class='first'>{shown}<div><p>Each claim of the paper beside what this network "
           f"gives: {counts or 'no verdict'}.</p>{_three(outcomes)}"
           f"<p class='size'>Size: {escape(size)}.</p></div></div>")
    yield f"<details class='how'><summary>What a verdict means</summary><p>{HOW}</p></details>"
    cards = "".join(_card(name, outcome, pictures.get(name), experiments[name].title)
                    for name, outcome in outcomes.items())
    yield f"<nav class='cards' aria-label='experiments'>{cards}</nav>"


def _three(outcomes):
    """The numbers of all of Fig. 11, where it is there."""
    rows = {row.claim: row for row in outcomes["fig11"].rows} if "fig11" in outcomes else {}
    parts = []
    for row in (rows[claim] for claim in THREE if claim in rows):
        value, _, interval = row.ours.partition(" [")
        bracket = f" <span>[{escape(interval)}</span>" if interval else ""
        word = word_of(row)
        parts.append(f"<div><dt>{escape(row.claim)}</dt><dd><b>{escape(value)}</b>{bracket}</dd>"
                     f"<dd>paper: {escape(row.paper)} <span{kind(word)}>{escape(word)}</span></dd>"
                     "</div>")
    return f"<dl class='numbers'>{''.join(parts)}</dl>" if parts else ""


def _card(name, outcome, picture, title):
    """A link to the experiment's section: picture or number, title, verdicts."""
    if picture is not None:
        width, height = size_of(picture)
        face = image(thumbnail(picture, SMALL), "")
        tall = " tall" if height > TALL * width else ""
    else:
        tall = ""
        face = _number(outcome.rows[0]) if outcome.rows else "–"
    return (f"<a href='#{escape(name)}'><span class='face{tall}'>{face}</span>"
            f"<span class='title'>{escape(title)}</span>"
            f"<span>{_counts(outcome.rows) or 'no verdict'}</span></a>")


def _number(row):
    """The value of a `Claim` and what it is of, for a card without a picture."""
    value = short(row.ours)
    if not any(map(str.isdigit, value)):
        return f"<b>{escape(word_of(row) if value == '–' else value)}</b>"
    return f"<b>{escape(value)}</b><span class='of'>{escape(row.claim)}</span>"


def _counts(rows):
    """How many claims agree, differ, or have too few samples, as HTML; "" where none does."""
    words = [word_of(row) for row in rows]
    numbers = {word: words.count(word) for word in COUNTED}
    return ", ".join(f"<span{kind(word)}>{number} {word if number == 1 else COUNTED[word]}</span>"
                     for word, number in numbers.items() if number)


def word_of(row):
    """The verdict of a `Claim` in a word: `TOO_FEW` where that is why there is none."""
    return TOO_FEW if row.verdict == "–" and row.why.startswith(TOO_FEW) else row.verdict


def kind(word):
    """The class attribute that colours a verdict; "" for other words."""
    return f" class='{word}'" if word in ("agrees", "differs") else ""


def image(picture, alternative, scale=1.0):
    """A picture (PNG bytes) as part of the page, `scale` times its width in pixels."""
    data = base64.b64encode(picture).decode()
    return (f"<img alt='{escape(alternative, quote=True)}' "
            f"width='{round(scale * size_of(picture)[0])}' src='data:image/png;base64,{data}'>")
