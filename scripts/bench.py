"""How long everything takes: `jsma bench` prints medians beside their goals, measured in one run on
this machine, quiet and busy.

In: nothing but the shipped network and digits. Out: a row for each thing that a person waits for,
first on the machine as it is (quiet: nothing else should run), then with a loop of pure Python on
each core (busy; they end with the row); then single steps, quiet only. Shares are of the speed of
float32 products on all cores, without loops, measured before each row. Other libraries are timed in
turn with ours, torch with a thread on each core; those that are not installed are named. `--only
NAME` repeats a row, `--quick` leaves out those of minutes. --scale instead how time and memory
grow, --rules what other rules than the paper's make of the same digits; --json FILE writes the same
with every single timing. Exit status 1 where a command that was timed failed.
"""
from pathlib import Path

from data import load_mnist
from data.files import replacing
from scripts.measure import checks, own_code, rules, table
from scripts.measure.growth import growth
from scripts.measure.handwritten import CASES
from scripts.measure.rows import LOADS, ROWS
from scripts.measure.timing import machine
from scripts.terminal.options import cores, whole
from scripts.terminal.outputs import output_file, overwrite_option
from scripts.terminal.text import as_json

PACKAGES = ("scipy", "torch", "adversarial-robustness-toolbox", "torchattacks")


def arguments(parser):
    """Describe the words of `jsma bench`."""
    parser.add_argument("--repeat", type=whole(1), default=9, metavar="N",
                        help="timings of each row, three where they take long (default: 9)")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    parser.add_argument("--load", choices=LOADS,
                        help="only on the machine as it is, or only with a busy loop on each core "
                             "(default: both; single steps quiet only)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--only", choices=ROWS, action="append", metavar="ROW",
                      help=f"only this row (may be repeated): {', '.join(ROWS)}")
    what.add_argument("--quick", action="store_true",
                      help="without the rows that take minutes: "
                           f"{', '.join(name for name, row in ROWS.items() if row.minutes)}")
    what.add_argument("--checks", action="store_true",
                      help="instead: which wrong derivatives our check and those of torch, jax and "
                           "autograd find")
    what.add_argument("--scale", action="store_true",
                      help="instead: how time and memory grow with features, classes, batch and "
                           "samples")
    what.add_argument("--rules", action="store_true",
                      help="instead: the same digits crafted by the rules of the paper, other "
                           "libraries and variants")
    parser.add_argument("--count", type=whole(1), default=100, metavar="N",
                        help="digits for --rules, each driven to its nine other classes (default: "
                             "100)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    overwrite_option(parser)


def run(args):
    """Measure, print the table; returns 1 where something that was timed failed."""
    if args.json:
        output_file(args.json, "--json", args.overwrite)
    about = machine(PACKAGES)
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    if args.checks:
        rows = list(_checks())
    elif args.rules:
        rows = _rules(args.count, not args.no_peers)
    elif args.scale:
        rows = list(_growth(args.repeat))
    else:
        rows = _table(args)
    if args.json:
        with replacing(args.json) as file:
            file.write(as_json({"made by": "jsma bench", "machine": about,
                                "rows": rows}).encode())
    return int(any(row.get("failed") for row in rows))


def _checks():
    rows = checks.table(load_mnist("test")[0][:4])
    print(checks.text(rows))
    for row in rows:
        cells = {name: cell._asdict() for name, cell in row.cells.items()}
        yield {"what": row.what, "layer": row.layer, "cells": cells}
    print("\nand of handwritten code that is no network of ours:", flush=True)
    rows = own_code.table(CASES)
    print(own_code.text(rows))
    for row in rows:
        yield {**row._asdict(), "cells": {name: cell._asdict() for name, cell in row.cells.items()}}


def _rules(count, with_peers):
    rows = []

    def noted():
        """The rows as they come, each remembered."""
        for row in rules.rules(count, with_peers):
            rows.append(row)
            yield row

    for line in rules.table(noted()):
        print(line, flush=True)
    return rows


def _table(args):
    print(f"quiet: nothing else should run; busy: beside {cores()} loops of pure Python, one a "
          f"core; torch has {cores()} threads", flush=True)
    names = args.only or [name for name, row in ROWS.items() if not (args.quick and row.minutes)]
    rows = list(table.measured({name: ROWS[name] for name in names}, args.load, args.repeat,
                               not args.no_peers))
    loops = [100 * row["loops"] for row in rows if "loops" in row]
    if loops:
        print(f"busy: each of the {cores()} loops had {min(loops):.0f} to {max(loops):.0f} % of a "
              "core")
    return rows


def _growth(repeat):
    print(f"{'what':62} {'median':>10} {'memory':>10}  grows as")
    for row in growth(min(repeat, 5)):
        powers = ""
        if row["power"] is not None:
            powers = f"  {row['by']}^{row['power']:.2f}, memory ^{row['memory_power']:.2f}"
        print(f"{row['what']:62} {row['median']:7.3g} {row['unit']:2} {row['memory']:7.1f} "
              f"MB{powers}",
              flush=True)
        yield row
