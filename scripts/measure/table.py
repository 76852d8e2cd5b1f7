"""The table of `jsma bench`: measures its rows, quiet and busy, and prints each number as soon as
it is there, beside its goal.

In: rows of `rows`. Out: lines on the terminal, and the same as dicts with every single timing.
"""
import statistics
from contextlib import nullcontext

from scripts.measure.busy import busy
from scripts.measure.rows import LOADS
from scripts.measure.timing import Reading, Trial, product_speed
from scripts.terminal.options import cores

WHAT, VALUE, GOAL = 45, 10, 12  # widths of the columns


def measured(rows, load, repeat, peers):
    """Measure rows and print a line for each of their numbers.

    Args:
        rows: {name: `Row`}.
        load: one of `LOADS`, or None for the row's own.
        repeat: how many rounds.
        peers: whether other libraries are measured too (busy, unless asked for by `load`, only
            where there is a goal: their threads wait for each other, and that takes minutes).

    Yields:
        For each number and load {"row", "what", "unit", "load"} with {"median", "timings", "goal",
        "met", "note"} or {"missing": why, "failed"}; busy ones also "loops", the share of a core's
        time that a busy loop had.
    """
    print(f"{'what':{WHAT}}" + "".join(f"{name:>{VALUE}} {'goal':{GOAL}}" for name in LOADS))
    for name, row in rows.items():
        asked = {each: peers and (each in (load, "quiet") or row.lines[-1].goal(each) is not None)
                 for each in ([load] if load else row.loads)}
        for entry in _row(row, asked, repeat):
            yield {"row": name, **entry}


def _row(row, loads, repeat):
    """The entries of a row; its first line is printed cell by cell, as they come.

    Args:
        row: a `Row`.
        loads: {load: whether other libraries are measured too}.
        repeat: how many rounds.
    """
    columns = {}
    first = row.lines[0]
    try:
        print(f"{first.what:{WHAT}}", end="", flush=True)
        for load in LOADS:
            if load in loads:
                columns[load] = _entries(row, load, repeat, loads[load])
            print(_cell(first, columns.get(load, [None])[0]), end="", flush=True)
    finally:
        print(_notes(entries[0] for entries in columns.values()), flush=True)
    for number, line in enumerate(row.lines[1:], 1):
        shown = {load: entries[number] for load, entries in columns.items()
                 if number < len(entries)}
        if shown:
            print(f"{line.what:{WHAT}}" + "".join(_cell(line, shown.get(load)) for load in LOADS)
                  + _notes(shown.values()), flush=True)
    return [entry for entries in columns.values() for entry in entries]


def _entries(row, load, repeat, peers):
    """What one load gives, an entry for each line."""
    trial = Trial(repeat, peers, product_speed())
    try:
        with busy(cores()) if load == "busy" else nullcontext([]) as shares:
            readings = row.measure(trial)
        more = dict(zip(["loops"], shares))
    except ChildProcessError as error:
        more = {}
        readings = [Reading([], f"failed: {error}", True)] * len(row.lines)
    return [_entry(line, reading, load) | more for line, reading in zip(row.lines, readings)]


def _entry(line, reading, load):
    about = {"what": line.what, "unit": line.unit, "load": load}
    if not reading.values:
        return {**about, "missing": reading.note, "failed": reading.failed}
    median = statistics.median(reading.values)
    return {**about, "median": median, "timings": reading.values, "goal": line.goal(load),
            "met": line.met(load, median), "note": reading.note}


def _cell(line, entry):
    """The value and its goal."""
    if entry is None or "missing" in entry:
        value = "–"
        goal = line.goal(entry["load"]) if entry else None
        met = None
    else:
        value = f"{_number(entry['median'])} {line.unit}"
        goal = entry["goal"]
        met = entry["met"]
    wanted = "" if goal is None else f"{line.sign} {goal:g} {line.unit}"
    mark = {None: "", True: " ✓", False: " ✗"}[met]
    return f"{value:>{VALUE}} {wanted + mark:{GOAL}}"


def _number(value):
    """A number with three digits that count."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def _notes(entries):
    """What is to be said of a line, once."""
    notes = {entry.get("missing") or entry.get("note") for entry in entries} - {""}
    return " ".join(sorted(notes))
