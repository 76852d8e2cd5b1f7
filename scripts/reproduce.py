"""The main job: `jsma reproduce` sets the paper's figures and numbers beside ours.

In: the network (the shipped LeNet), the shipped MNIST. Out, in FOLDER: `report.html` (one
self-contained page), `results.json` (every number), `figN.png` and `figN.npz` (the figures and the
arrays they show). With `--scale full` the samples are crafted in shards below FOLDER/runs: started
again after whatever stopped it, it goes on from there.
"""
import platform
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from attack.model import OUTPUTS
from data.files import replacing
from nn import LeNet
from nn.models import LENETS
from scripts.pages.survey_answers import read_answers
from scripts.paper.experiment import Setup
from scripts.paper.experiments import EXPERIMENTS
from scripts.paper.on_torch import ready
from scripts.paper.readings.table import RULES_OF_GAMMA, reasons
from scripts.paper.report.results import BY, FILE, MARK, earlier, write_results
from scripts.terminal.networks import load_network
from scripts.terminal.options import add_data, cores, torch_option, weights_option, whole
from scripts.terminal.outputs import output_folder, overwrite_option
from scripts.terminal.progress import duration
from scripts.terminal.text import visible


def arguments(parser):
    """Describe the words of `jsma reproduce`."""
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="FOLDER",
                        help="default: out")
    parser.add_argument("--digits", type=whole(1), default=50, metavar="N",
                        help="digits of each set, nine samples each, at the small scale (default: "
                             "50)")
    parser.add_argument("--scale", choices=["small", "full"], default="small",
                        help="full: the paper's sizes, hours of work that can be stopped and goes "
                             "on (default: small)")
    parser.add_argument("--jobs", type=whole(1, 4 * cores()), default=cores(), metavar="N",
                        help="processes that craft at once, one BLAS thread each (default: a core "
                             "each, the fastest)")
    parser.add_argument("--only", choices=EXPERIMENTS, action="append", metavar="NAME",
                        help="only this one (may be repeated), added to the report that is in "
                             f"FOLDER: {', '.join(EXPERIMENTS)}; readings, which takes hours, and "
                             "\"and\" run where they are named, or at the full scale")
    overwrite_option(parser)
    parser.add_argument("--answers", type=Path, nargs="+", default=(), metavar="FILE.csv",
                        help="answers to the page of `jsma survey make`, for Fig. 16 and 17 "
                             "(default: none)")
    weights_option(parser)
    parser.add_argument("--lenet", choices=LENETS, default="lenet", metavar="NAME",
                        help=f"which of the shipped LeNets: {', '.join(LENETS)} (default: lenet; "
                             "the others are by the recipe of the time, paper-SEED-EPOCHS)")
    parser.add_argument("--of", choices=OUTPUTS, default="logits",
                        help="the outputs whose derivative is taken (default: logits)")
    parser.add_argument("--rule", choices=RULES_OF_GAMMA, default="paper",
                        help="which features Γ holds at the start and when one leaves it (default: "
                             "paper: all; when it is 0 or 1)")
    torch_option(parser)
    parser.add_argument("--derivative", choices=["forward", "backward"],
                        help="of all samples (default: the paper's forward derivative for Fig. 1, "
                             "7, 9 and the crafting time, the transposed chain, which chooses the "
                             "same pixels faster, for the many others)")
    add_data(parser)


def run(args):
    """Run the experiments, write the files and say where they are."""
    start = time.monotonic()
    read_answers(args.answers)  # mistakes in them are told now, not after the work
    if args.torch:
        ready(args.torch)
    network = (load_network("lenet", args.weights) if args.weights else
               LeNet.pretrained(args.lenet))
    folder = output_folder(args.out, (FILE, "report.html"), (FILE, MARK), args.overwrite)
    about = _about(args)
    before = earlier(folder, about) if args.only else {}
    folder.mkdir(parents=True, exist_ok=True)
    setup = Setup(network, args.data, args.derivative or "backward", args.digits, args.scale,
                  args.jobs, folder, tuple(args.answers), args.derivative or "forward", args.of,
                  args.rule, "yours" if args.weights else args.lenet, torch=args.torch)
    wanted = {name: one for name, one in EXPERIMENTS.items()
              if (name in args.only if args.only else setup.full or not one.large)}
    outcomes = {}
    pictures = {}
    try:
        with setup, closing(setup.outcomes(wanted)) as arriving:
            for name, outcome in arriving:
                outcomes[name] = outcome
                pictures[name] = _write_figure(folder, name, outcome)
                _print(setup.line, name, outcome, time.monotonic() - start)
        setup.line.clear()
    except KeyboardInterrupt:
        setup.line.clear()
        raise KeyboardInterrupt(_how_to_go_on(setup, folder, outcomes)) from None
    for name in before.keys() - outcomes.keys():
        picture = folder / f"{name}.png"
        pictures[name] = picture.read_bytes() if picture.exists() else None
    outcomes = {name: {**before, **outcomes}[name] for name in EXPERIMENTS
                if name in before or name in outcomes}
    reasons(outcomes)
    about["time"] = duration(time.monotonic() - start)
    write_results(folder, outcomes, about, {name: EXPERIMENTS[name].title for name in outcomes})
    _write_report(folder, outcomes, about, pictures)
    print(f"{folder / 'report.html'}: {duration(time.monotonic() - start)}")


def _print(line, name, outcome, seconds):
    """The experiment's claims, above the line that says how far the whole is."""
    claims = (f"  {row.claim}: {row.ours} (paper: {row.paper}) {row.verdict}"
              for row in outcome.rows)
    line.print("\n".join([f"{EXPERIMENTS[name].title} (at {duration(seconds)})", *claims]))


def _how_to_go_on(setup, folder, outcomes):
    if setup.full:
        return "the same command goes on with what is crafted"
    return (f"the figures of {', '.join(outcomes) or 'no experiment'} are in {folder}, without a "
            "report; --only makes others")


def _write_figure(folder, name, outcome):
    """Write an experiment's arrays and its picture; returns that as PNG bytes, or None."""
    from scripts.paper.figures import FIGURES, png  # matplotlib starts slowly

    picture = None
    if name in FIGURES and outcome.no_picture:
        (folder / f"{name}.png").unlink(missing_ok=True)  # of an earlier run
    elif name in FIGURES:
        picture = png(FIGURES[name](outcome.arrays))
        with replacing(folder / f"{name}.png") as file:
            file.write(picture)
    if outcome.arrays:
        with replacing(folder / f"{name}.npz") as file:
            np.savez_compressed(file, **outcome.arrays)
    return picture


def _write_report(folder, outcomes, about, pictures):
    from scripts.paper.report.page import page

    with replacing(folder / "report.html") as file:
        file.write(page(outcomes, about, pictures, EXPERIMENTS).encode())


def _about(args):
    size = "the paper's"
    if args.scale != "full":
        size = (f"small, {args.digits} digits of each set, nine samples each: the paper has up to "
                "10,000; the intervals say what that leaves open")
    return {"network": visible(args.weights or f"the shipped {args.lenet}"),
            "reading": f"derivative of {args.of}, Γ by the rule {args.rule}",
            "digits": visible(args.data or "the shipped MNIST"),
            "derivative": args.derivative or "forward for Fig. 1, 7, 9 and the time, else backward",
            BY: f"torch on {args.torch}" if args.torch else "NumPy",
            "size": size, "time": "", "python": platform.python_version(),
            "numpy": np.__version__}
