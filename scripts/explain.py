"""A page on which you draw, see a forward derivative grow (Eq. 4 to 6) and an attack choose (Eq. 8
to 10, Algorithm 2): `jsma explain --out page.html`; `--and` for the toy network of Fig. 3.

In: what the page opens with, a digit of the test set or an image file, a target class, θ and Υ.
Out: one self-contained HTML file, which computes everything from the network's weights. What goes
into it is in `pages.explain_page`.
"""
import webbrowser
from pathlib import Path

from attack.checks import check_max_distortion, check_targets, check_theta
from data import load_mnist
from data.files import replacing
from nn import AndNetwork
from nn.models import ACTIVATIONS
from scripts.pages.explain_page import Start, and_page, page
from scripts.terminal.networks import load_network
from scripts.terminal.options import (
    add_data,
    distortion,
    note_said,
    refuse_ignored,
    weights_option,
    whole,
    with_defaults,
)
from scripts.terminal.outputs import output_file, overwrite_option
from scripts.terminal.pictures import image_option, invert_option, own_image

SHORT = 0.1  # |θ| below which an attack without a limit has too many iterations for a page
OF_LENET = ("target", "theta", "max_distortion", "of", "weights", "activation", "data")


def arguments(parser):
    """Describe the words of `jsma explain`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--digit", type=whole(0), default=0, metavar="N",
                       help="number of the test digit, from 0 (default: 0, a 7)")
    image_option(which)
    which.add_argument("--and", action="store_true", dest="toy",
                       help="the AND network of Fig. 3 instead of a digit")
    invert_option(parser)
    parser.add_argument("--target", type=whole(0), metavar="T",
                        help="the class the attack drives the digit to (default: 8, or 3 for what "
                             "is read as an 8)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    overwrite_option(parser)
    parser.add_argument("--theta", type=float, default=1.0,
                        help="θ, added to a chosen pixel (default: 1)")
    parser.add_argument("--max-distortion", type=distortion, default=14.5, metavar="PERCENT",
                        help="Υ, the largest share of pixels to change, or 'none' (default: 14.5)")
    parser.add_argument("--of", choices=["logits", "probabilities"], default="logits",
                        help="the outputs that are differentiated (default: logits)")
    weights_option(parser)
    parser.add_argument("--activation", choices=ACTIVATIONS,
                        help="that of the network in the --weights file (default: what the record "
                             "of jsma train beside it says, else tanh)")
    add_data(parser)
    note_said(parser, (*OF_LENET, "invert"))


def run(args):
    """Write the page, say where it is, open it where that is asked for."""
    output_file(args.out, overwrite=args.overwrite)
    if args.image is None:
        refuse_ignored(args, ["invert"], "without --image")
    if args.toy:
        refuse_ignored(args, OF_LENET, "with --and")
    html = and_page(AndNetwork.pretrained()) if args.toy else _page(with_defaults(args))
    content = html.encode()
    with replacing(args.out) as file:
        file.write(content)
    size = f"{args.out}: {len(content) / 1e6:.2f} MB, one file"
    if not args.open:
        print(f"{size}; open it in a browser")
    elif webbrowser.open(args.out.absolute().as_uri()):
        print(size)
    else:
        print(f"{size}; there is no browser here, open it yourself")


def _page(args):
    """The page of a digit or an image."""
    check_theta(args.theta)
    check_max_distortion(args.max_distortion)
    if args.max_distortion is None and abs(args.theta) < SHORT:
        raise ValueError(f"--max-distortion none needs a --theta of {SHORT} at least, up or down; "
                         f"got {args.theta}")
    if args.activation and not args.weights:
        raise ValueError(f"--activation {args.activation} is for a --weights file; the shipped "
                         "network has tanh")
    network = load_network("lenet", args.weights, activation=args.activation)
    digits = load_mnist("test", args.data)
    network.as_input(digits[0][:1])  # says what is wrong with digits of another size
    name, image = _digit(args.digit, *digits) if args.image is None else own_image(
        args.image, args.invert)
    target = args.target
    if target is None:
        target = 3 if network.predict(image[None])[0] == 8 else 8
    check_targets(target, 1, network.classes)
    start = Start(image, name, target, args.theta, args.max_distortion, args.of)
    return page(network, digits, start)


def _digit(number, images, labels):
    """(name, image) of a test digit."""
    if number >= len(images):
        raise ValueError(f"--digit must lie in 0..{len(images) - 1}; got {number}")
    article = "an" if labels[number] == 8 else "a"
    return f"test digit {number}, {article} {labels[number]}", images[number]
