"""`results.json`: every number of a run, from which its report can be made again.

In: outcomes and how they were made. Out: the file; or, of a run that only adds experiments to a
report (`jsma reproduce --only`), the outcomes that are there already.
"""
import json

from data.files import replacing
from scripts.paper.outcome import Claim, Outcome
from scripts.terminal.text import as_json

FILE = "results.json"
MARK = b'"made by": "jsma reproduce"'
SETTINGS = ("network", "digits", "derivative", "reading", "size")  # what a report has one of
BY = "computed by"


def write_results(folder, outcomes, about, titles):
    """Write `FILE`.

    Args:
        folder: where.
        outcomes: {name: Outcome}.
        about: {label: text} on how it was made.
        titles: {name: text}.
    """
    experiments = {name: {"title": titles[name], "numbers": outcome.numbers,
                          "claims": [row._asdict() for row in outcome.rows],
                          "table": outcome.table, "no_picture": outcome.no_picture}
                   for name, outcome in outcomes.items()}
    with replacing(folder / FILE) as file:
        file.write(as_json({"made by": "jsma reproduce", "about": about,
                            "experiments": experiments}).encode())


def earlier(folder, about):
    """The outcomes that the report in `folder` holds, {name: Outcome} without arrays; {} where
    there is none. What computed them joins `about`. ValueError where it was made with other
    settings, or cannot be read."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        old = {name: Outcome(one["numbers"], [Claim(**row) for row in one["claims"]],
                             table=_table(one["table"]), no_picture=one.get("no_picture", ""))
               for name, one in content["experiments"].items()}
        settings = content["about"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path}: not the results of jsma reproduce; choose another --out"
                         ) from None
    for key in SETTINGS:
        if settings.get(key) != about[key]:
            raise ValueError(f"--only adds to the report in {folder}, which has other settings "
                             f"({key}: {settings.get(key)}; here: {about[key]}): choose another "
                             "--out, or leave out --only to replace it")
    by = [*str(settings.get(BY, "")).split(", "), about[BY]]
    about[BY] = ", ".join(dict.fromkeys(filter(None, by)))
    return old


def _table(table):
    """Heads and rows as they were; a cell of several texts is a `Claim`."""
    if not table:
        return ()
    heads, rows = table
    return heads, [[Claim(*cell) if isinstance(cell, list) else cell for cell in row]
                   for row in rows]
