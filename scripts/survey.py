"""The human study (Section V-C): `jsma survey make --out survey.html` asks people what they see,
`jsma survey analyse answers-*.csv --out FOLDER` draws what their answers say (Fig. 16 and 17).

In: the network and digits (make), or the answer files that the page wrote (analyse). Out: one
self-contained page, or `fig16.png`, `fig17.png` and `results.json` with the paper's values beside
ours. Only what the files hold is counted.
"""
import argparse
from pathlib import Path

from data import load_mnist
from data.files import replacing
from scripts.pages.survey_page import draw, page
from scripts.paper.human_study import human_study
from scripts.paper.survey_figures import FIGURES
from scripts.terminal.networks import load_network
from scripts.terminal.options import add_data, add_model, whole
from scripts.terminal.outputs import MARK, output_file, output_folder, overwrite_option
from scripts.terminal.progress import Progress
from scripts.terminal.text import as_json, visible


def arguments(parser):
    """Describe the words of `jsma survey`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="make|analyse")
    _make_arguments(actions.add_parser("make", help="write the page that asks",
                                       description="Write the page that asks."))
    analyse = actions.add_parser("analyse", help="draw what the answers say",
                                 description="Draw what the answers say.")
    analyse.add_argument("files", nargs="*", type=Path, metavar="FILE.csv",
                         help="answers, as the page saves them")
    analyse.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                         help="where figures and numbers go")
    overwrite_option(analyse)


def _make_arguments(make):
    make.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page")
    overwrite_option(make)
    make.add_argument("--count", type=whole(1), default=40,
                      help="pictures on the page (default: 40)")
    make.add_argument("--seed", type=whole(0), default=0,
                      help="which digits, targets and order (default: 0)")
    make.add_argument("--epsilon", default="0,2,5,8,12,16,20", metavar="PERCENT,…",
                      type=_numbers(lambda epsilon: epsilon == 0 or 200 / 784 <= epsilon <= 100,
                                    "be 0 or lie in [0.2552, 100]"),
                      help="shares of pixels changed with θ = +1, 0 for unaltered digits "
                           "(default: %(default)s; 'none' for no such pictures)")
    make.add_argument("--theta", default="1,0.7,0.4,-0.4,-0.7,-1", metavar="THETA,…",
                      type=_numbers(lambda theta: 0.01 <= abs(theta) <= 1,
                                    "lie in [-1, -0.01] or [0.01, 1]"),
                      help="changes θ of a pixel, with Υ = 14.5 %% (default: %(default)s; 'none' "
                           "for no such pictures; --theta=-1,1 where the first is negative)")
    add_model(make)
    add_data(make)


def run(args):
    """Write the page, or read the answers."""
    return _make(args) if args.action == "make" else _analyse(args)


def _make(args):
    output_file(args.out, overwrite=args.overwrite)
    images, labels = load_mnist("test", args.data)
    progress = Progress("survey", "pictures")
    samples = draw(load_network("lenet", args.weights), images, labels, args.epsilon, args.theta,
                   args.count, args.seed, args.derivative, progress)
    progress.close()
    survey, html = page(samples)
    content = html.encode()
    with replacing(args.out) as file:
        file.write(content)
    print(f"{args.out}: survey {survey}, {len(samples)} pictures, {len(content) / 1e3:.0f} KB; "
          f"people open it in a browser and give you the file that it saves, then: "
          f"jsma survey analyse FILES --out FOLDER")


def _analyse(args):
    folder = output_folder(args.out, ("results.json", "fig16.png", "fig17.png"),
                           ("results.json", MARK), args.overwrite)
    outcomes = human_study(args.files)
    folder.mkdir(parents=True, exist_ok=True)
    from scripts.paper.figures import (
        save_png,  # matplotlib starts slowly: only where something is drawn
    )

    results = {"made by": "jsma survey", "files": [visible(path) for path in args.files]}
    for name, outcome in outcomes.items():
        save_png(FIGURES[name](outcome.arrays), folder / f"{name}.png")
        results[name] = {**outcome.numbers, "claims": [row._asdict() for row in outcome.rows]}
        for row in outcome.rows:
            why = f" ({row.why})" if row.why else ""
            print(f"{name}: {row.claim}: paper {row.paper}, ours {row.ours}, {row.verdict}{why}")
    with replacing(folder / "results.json") as file:
        file.write(as_json(results).encode())
    none = "" if args.files else "; no answers: the paper's values only"
    print(f"fig16.png, fig17.png and results.json are in {folder}{none}")


def _numbers(holds, allowed):
    """A reader of numbers with commas between them, or 'none', for argparse."""
    def read(text):
        """The numbers in `text`."""
        values = []
        for part in [] if text == "none" else text.split(","):
            try:
                values.append(float(part))
            except ValueError:
                raise argparse.ArgumentTypeError(f"{part!r} is not a number") from None
            if not holds(values[-1]):
                raise argparse.ArgumentTypeError(
                    f"{part} is not allowed, each number must {allowed}")
        return values
    return read
