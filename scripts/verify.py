"""Is every derivative of the network right? `jsma verify` checks it layer by layer on real digits;
`jsma verify FILE.py:NAME` checks a network or a function in your own file, which is executed.

In: a network and weights (default: the shipped LeNet), digits, referees; or your file. Out: a
verdict, a row a layer or an array, for a mistake the worst entry and its likely cause. Exit status
0 right, 1 wrong, 2 could not check, or not all of it.
"""
from pathlib import Path

import numpy as np

from nn import check_network
from nn.verify.frameworks import FOREIGN
from nn.verify.network import OWN
from scripts.terminal.networks import NETWORKS, load_network, network_option
from scripts.terminal.options import add_data, indices, weights_option
from scripts.terminal.own_file import TAKES, own_report
from scripts.terminal.progress import started
from scripts.terminal.text import as_json

STATUS = {"right": 0, "wrong": 1}  # exit status; 2 where nothing could be judged


def arguments(parser):
    """Describe the words of `jsma verify`."""
    parser.add_argument("code", nargs="?", metavar="FILE.py:NAME",
                        help="your own code. FILE.py is EXECUTED, as by python FILE.py: name only "
                             f"files that you trust. NAME is {TAKES}: of "
                             "check_gradients (loss, …), check_backward (forward, …) or "
                             "check_jacobian (f, …)")
    parser.add_argument("--at", type=Path, metavar="FILE.npz",
                        help="inputs for NAME, arrays named as its arguments; of a network, "
                             "samples")
    network_option(parser)
    weights_option(parser)
    parser.add_argument("--against", default="complex step,dense", metavar="A,B,…",
                        help=f"referees: {', '.join((*OWN, *FOREIGN))}, or 'all' (default: complex "
                             "step,dense)")
    parser.add_argument("--digits", type=indices, default=[0], metavar="I,J,…",
                        help="test images, from 0 (default: 0)")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64",
                        help="default: float64")
    parser.add_argument("--nudge", action="store_true", help="move the digits off their ties first")
    parser.add_argument("--json", action="store_true", help="print the reports as JSON")
    add_data(parser)


def run(args):
    """Check each digit, or a person's own code; print the reports and return the exit status of the
    worst."""
    if args.code is not None:
        return _run_own(args)
    if args.at is not None:
        raise ValueError("--at is for your own code (FILE.py:NAME)")
    network = load_network(args.network, args.weights)
    network.load({name: array.astype(args.dtype) for name, array in network.parameters().items()})
    what = "picture" if args.network == "colour" else "digit"
    images, _ = NETWORKS[args.network].images("test", args.data)
    if max(args.digits) >= len(images):
        raise ValueError(f"--digits must lie in 0..{len(images) - 1}; got {max(args.digits)}")
    against = _against(args)
    reports = []
    for digit in args.digits:
        others = [other for other in args.digits if other != digit]
        chosen = images[[digit, *others][:4]].astype(np.dtype(args.dtype))
        with started(f"verify: test {what} {digit}, layer by layer"):
            reports.append(check_network(network, chosen, against=against, nudge=args.nudge))
        if not args.json:
            print(f"test {what} {digit}: {reports[-1]}")
    if args.json:
        print(as_json([{"digit": digit, **report.to_dict()}
                       for digit, report in zip(args.digits, reports)]), end="")
    return max(STATUS.get(report.verdict, 2) for report in reports)


def _run_own(args):
    """Check what FILE.py:NAME names."""
    others = {"--network": args.network != "lenet", "--weights": args.weights,
              "--digits": args.digits != [0], "--data": args.data}
    for option in others:
        if others[option]:
            raise ValueError(f"{option} is for the networks of jsma itself, not for {args.code}")
    with started(f"verify: {args.code}"):
        report = own_report(args.code, args.at, against=_against(args), nudge=args.nudge,
                            dtype=args.dtype)
    if args.json:
        print(as_json([{"code": args.code, **report.to_dict()}]), end="")
    else:
        print(f"{args.code}: {report}")
    return STATUS.get(report.verdict, 2)


def _against(args):
    """The referees that --against names."""
    if args.against == "all":
        return [*OWN, *FOREIGN]
    return [name.strip() for name in args.against.split(",")]
