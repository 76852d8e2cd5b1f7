"""How long everything takes: `jsma bench` prints medians measured in one run on this machine.

In: nothing but the shipped network and digits. Out: a line a measurement (median, fastest, slowest,
the time that its arithmetic alone would take as one large matrix product, target), below it each
peer, another library, at its best batch size with how many times as long it takes, the BLAS kernel
and the number of threads; --scale instead how time and memory grow, --rules what other rules than
the paper's make of the same digits; --json FILE writes the same with every single timing. Peers
that are not installed are named.
"""
from pathlib import Path

from data import load_mnist
from data.files import replacing
from scripts.measure import checks, rules
from scripts.measure.benchmarks import measurements
from scripts.measure.growth import growth
from scripts.measure.timing import SCALES, SPEED, machine, peak_memory, timed
from scripts.terminal.options import output_file, whole
from scripts.terminal.text import as_json

PACKAGES = ("scipy", "torch", "adversarial-robustness-toolbox", "torchattacks")


def arguments(parser):
    """Describe the words of `jsma bench`."""
    parser.add_argument("--repeat", type=whole(1), default=9, metavar="N",
                        help="timings of each row, three where they take long (default: 9)")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    what = parser.add_mutually_exclusive_group()
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


def run(args):
    """Measure, print the table."""
    if args.json:
        output_file(args.json, "--json")
    about = machine(PACKAGES)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    if args.checks:
        rows = list(_checks())
    elif args.rules:
        rows = _rules(args.count, not args.no_peers)
    else:
        rows = list(_growth(args.repeat) if args.scale
                    else _table(args.repeat, not args.no_peers, about[SPEED]))
    if args.json:
        with replacing(args.json) as file:
            file.write(as_json({"machine": about, "rows": rows}).encode())


def _checks():
    rows = checks.table(load_mnist("test")[0][:4])
    print(checks.text(rows))
    for row in rows:
        cells = {name: cell._asdict() for name, cell in row.cells.items()}
        yield {"what": row.what, "layer": row.layer, "cells": cells}


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


def _table(repeat, with_peers, speed):
    print(f"{'what':62} {'median':>10} {'fastest':>10} {'slowest':>10} {'arithmetic':>10}  target")
    for measurement in measurements():
        row = _row(measurement, repeat, speed)
        _show(row, _arithmetic(row) + _target(row))
        for name, peer in (measurement.peers if with_peers else {}).items():
            row["peers"][name] = _peer(name, measurement, peer, repeat)
            _show_peer(row["peers"][name], row["median"])
        yield row


def _row(measurement, repeat, speed):
    """Our own timings; `speed` in GFLOP/s says how long the arithmetic alone would take."""
    limit = measurement.mflop and SCALES[measurement.unit] * measurement.mflop / (1e3 * speed)
    return {"what": measurement.what, "unit": measurement.unit, "target": measurement.target,
            "arithmetic": limit, **_measured(measurement, repeat), "peers": {}}


def _arithmetic(row):
    return " " * 10 if row["arithmetic"] is None else f"{row['arithmetic']:7.3g} {row['unit']:2}"


def _target(row):
    if row["target"] is None:
        return ""
    return f"  ≤ {row['target']:g} {row['unit']}" + _met(row["median"] <= row["target"])


def _show_peer(peer, median):
    """Print a peer's line and note how many times as long as our `median` it takes."""
    if "missing" in peer:
        print(f"{peer['what']:62} not installed: {peer['missing']}", flush=True)
        return
    peer["ratio"] = peer["median"] / median
    wanted = peer["wanted"]
    target = "" if wanted is None else f" (≥ {wanted:.3g}){_met(peer['ratio'] >= wanted)}"
    _show(peer, f"{peer['ratio']:8.1f} × ours{target}")


def _measured(measurement, repeat):
    if measurement.unit == "MB":
        measurement.action()
        most = peak_memory(measurement.action)
        return {"median": most, "timings": [most]}
    return timed(measurement.action, measurement.count, measurement.unit, repeat)


def _peer(name, measurement, peer, repeat):
    """The fastest of a peer's ways, timed up to three times each; or why it could not be asked."""
    best = None
    for what, count, make in peer.ways:
        try:
            timings = timed(make(), count, measurement.unit, min(repeat, 3))
        except ImportError as error:
            return {"what": f"  {name}", "missing": str(error)}
        if best is None or timings["median"] < best["median"]:
            best = {"what": f"  {name}{what}", "unit": measurement.unit, "wanted": peer.wanted,
                    **timings}
    return best


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


def _show(row, after):
    values = row["median"], min(row["timings"]), max(row["timings"])
    timings = (f"{value:7.3g} {row['unit']:2}" for value in values)
    print(f"{row['what']:62}", *timings, after, flush=True)


def _met(yes):
    return " ✓" if yes else " ✗"
