"""The main job: `jsma reproduce` makes the paper's figures and numbers anew and sets them side by side in one report.

In: the network (the shipped LeNet), the shipped MNIST. Out, in FOLDER: `report.html` (one self-contained page),
`results.json` (every number), `figN.png` and `figN.npz` (the figures and the arrays they show).
"""
import json
import platform
import time
from pathlib import Path

import numpy as np

from data.idx import replacing
from scripts.experiments import EXPERIMENTS, Setup
from scripts.options import add_data, add_model, load_network, output_folder, whole
from scripts.progress import duration

TITLES = {
    "fig1": "Fig. 1: every digit turned into every other",
    "fig9": "Fig. 9: digits crafted from an empty image",
    "fig10": "Fig. 10: every digit turned into every other by removing ink",
    "fig11": "Fig. 11: success rate and distortion on the three sets",
    "fig12": "Fig. 12: success rate by source and target class",
    "fig13": "Fig. 13: distortion by source and target class",
}
TEXTS = {
    "fig1": "Rows: ten test digits (framed black). Columns: the target class. The titles say what the network reads.",
    "fig9": "Ten images crafted from an empty one, by target class.",
    "fig10": "As Fig. 1, but pixels are switched off (θ = −1).",
    "fig12": "Share of samples that reach their target, in percent, by source class (rows) and target class (columns).",
    "fig13": "Mean share of pixels changed in successful samples, in percent, by source and target class.",
}


def arguments(parser):
    """Describe the words of `jsma reproduce`."""
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="FOLDER", help="default: out")
    parser.add_argument("--digits", type=whole(1), default=10, metavar="N",
                        help="digits of each set for Fig. 11 to 13, nine samples each (default: 10; the paper: 10,000)")
    parser.add_argument("--only", choices=EXPERIMENTS, action="append", help="only this one (may be repeated)")
    add_model(parser)
    add_data(parser)


def run(args):
    """Run the experiments, write the files and say where they are."""
    begun = time.monotonic()
    folder = output_folder(args.out)
    setup = Setup(load_network(args.weights), args.data, args.derivative, args.digits)
    outcomes, pictures = {}, {}
    for name in args.only or EXPERIMENTS:
        started = time.monotonic()
        outcomes[name] = outcome = EXPERIMENTS[name](setup)
        _keep(folder, name, outcome, pictures)
        print(f"{TITLES[name]} ({duration(time.monotonic() - started)})")
        for row in outcome.rows:
            print(f"  {row.claim}: {row.ours} (paper: {row.paper}) {row.verdict}")
    about = _about(args, time.monotonic() - begun)
    _write(folder, outcomes, about, pictures)
    print(f"{folder / 'report.html'}: {duration(time.monotonic() - begun)}")


def _keep(folder, name, outcome, pictures):
    from scripts.figures import FIGURES, png  # matplotlib starts slowly: only where something is drawn

    if name in FIGURES:
        pictures[name] = png(FIGURES[name](outcome.arrays))
        with replacing(folder / f"{name}.png") as file:
            file.write(pictures[name])
    if outcome.arrays:
        with replacing(folder / f"{name}.npz") as file:
            np.savez_compressed(file, **outcome.arrays)


def _write(folder, outcomes, about, pictures):
    from scripts.report import page

    results = {"about": about, "experiments": {
        name: {"title": TITLES[name], "numbers": outcome.numbers, "claims": [row._asdict() for row in outcome.rows]}
        for name, outcome in outcomes.items()}}
    with replacing(folder / "results.json") as file:
        file.write((json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    with replacing(folder / "report.html") as file:
        file.write(page(outcomes, about, pictures, TITLES, TEXTS).encode())


def _about(args, seconds):
    size = "small: the paper has 10,000 digits a set; the intervals say what that leaves open"
    return {"network": str(args.weights or "the shipped LeNet"), "digits": str(args.data or "the shipped MNIST"),
            "derivative": args.derivative, "digits of each set in Fig. 11 to 13": f"{args.digits} ({size})",
            "time": duration(seconds), "python": platform.python_version(), "numpy": np.__version__}
