"""What all our pages have in common: one HTML file that opens from disk and may load nothing.

In: the files of a page (.html, .css, .js, beside this one), its texts and its data. Out: one file
that holds them all. A Content-Security-Policy forbids it any network.
"""
import json
import re
from html import escape
from pathlib import Path

HERE = Path(__file__).parent


def document(title, style, body):
    """The whole file; `title` is text, `style` and `body` are CSS and HTML as they stand."""
    return _fill("document.html", {"TITLE": escape(title), "STYLE": style, "BODY": body})


def assemble(title, files, data, texts):
    """The whole file of a page that is made of several.

    Args:
        title: of the window, as text.
        files: names of the page's files in this folder: its text (.html), its style (.css), and
            its scripts (.js) in the order in which they run.
        data: what goes into the page as JSON, in place of @DATA@.
        texts: {NAME: text}, each in place of its @NAME@ in the page's text.

    Returns:
        the HTML, text.
    """
    body, style, *scripts = files
    filled = {name: escape(text) for name, text in texts.items()}
    filled["DATA"] = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    script = "\n".join(map(_read, scripts))
    html = f"{_fill(body, filled)}<script>\n\"use strict\";\n{script}</script>"
    return document(title, _read(style), html)


def _fill(name, texts):
    """The file `name` with its @NAMES@ replaced; what is put in is not looked at again."""
    return re.sub("@([A-Z]+)@", lambda match: texts[match[1]], _read(name))


def _read(name):
    return (HERE / name).read_text(encoding="utf-8")
