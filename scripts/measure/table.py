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
        asked = {each: peers and (each in (load, "quiet") or row.numbers[-1].goal(each) is not None)
                 for each in ([load] if load else row.loads)}
        for entry in _row(row, asked, repeat):
            yield {"row": name, **entry}


def _row(row, loads, repeat):
    """The entries of a row; the line of its first number is printed cell by cell, as they come.

    Args:
        row: a `Row`.
        loads: {load: whether other libraries are measured too}.
        repeat: how many rounds.
    """
    columns = {}
    first = row.numbers[0]
    try:
        print(f"{first.what:{WHAT}}", end="", flush=True)
        for load in LOADS:
            if load in loads:
                columns[load] = _entries(row, load, repeat, loads[load])
            print(_cell(first, columns.get(load, [None])[0]), end="", flush=True)
    finally:
        print(_notes(entries[0] for entries in columns.values()), flush=True)
    for at, number in enumerate(row.numbers[1:], 1):
        shown = {load: entries[at] for load, entries in columns.items() if at < len(entries)}
        if shown:
            print(f"{number.what:{WHAT}}"
                  + "".join(_cell(number, shown.get(load)) for load in LOADS)
                  + _notes(shown.values()), flush=True)
    return [entry for entries in columns.values() for entry in entries]


def _entries(row, load, repeat, peers):
    """What one load gives, an entry for each number."""
    trial = Trial(repeat, peers, product_speed())
    try:
        with busy(cores()) if load == "busy" else nullcontext([]) as shares:
            readings = row.measure(trial)
        more = dict(zip(["loops"], shares))
    except ChildProcessError as error:
        more = {}
        readings = [Reading([], f"failed: {error}", True)] * len(row.numbers)
    return [_entry(number, reading, load) | more for number, reading in zip(row.numbers, readings)]


def _entry(number, reading, load):
    about = {"what": number.what, "unit": number.unit, "load": load}
    if not reading.values:
        return {**about, "missing": reading.note, "failed": reading.failed}
    median = statistics.median(reading.values)
    return {**about, "median": median, "timings": reading.values, "goal": number.goal(load),
            "met": number.met(load, median), "note": reading.note}


def _cell(number, entry):
    """The value and its goal."""
    if entry is None or "missing" in entry:
        value = "–"
        goal = number.goal(entry["load"]) if entry else None
        met = None
    else:
        value = f"{_three_digits(entry['median'])} {number.unit}"
        goal = entry["goal"]
        met = entry["met"]
    wanted = "" if goal is None else f"{number.sign} {goal:g} {number.unit}"
    mark = {None: "", True: " ✓", False: " ✗"}[met]
    return f"{value:>{VALUE}} {wanted + mark:{GOAL}}"


def _three_digits(value):
    """A number with three digits that count."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def _notes(entries):
    """What is to be said of a number, once."""
    notes = {entry.get("missing") or entry.get("note") for entry in entries} - {""}
    return " ".join(sorted(notes))
