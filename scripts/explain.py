"""A page that shows a forward derivative grow (Eq. 4 to 6) and an attack choose (Eq. 8 to 10,
Algorithm 2): `jsma explain --digit 0 --target 3 --out page.html`; `--and` for the toy network of
Fig. 3.

In: a digit of the test set or an image file, a target class, θ and Υ. Out: one self-contained HTML
file, made from a real crafting trace. How the trace becomes a page is in `explain_page`.
"""
import os
from pathlib import Path

import numpy as np

from attack import craft
from data import load_mnist, read_image
from data.files import replacing
from nn import AndNetwork
from scripts.pages.explain_page import Story, and_page, page
from scripts.terminal.networks import load_network
from scripts.terminal.options import add_data, distortion, weights_option, whole
from scripts.terminal.outputs import output_file, overwrite_option
from scripts.terminal.progress import started

SHORT = 0.1  # θ below which a trace without a limit does not fit into memory


def arguments(parser):
    """Describe the words of `jsma explain`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--digit", type=whole(0), default=0, metavar="N",
                       help="number of the test digit, from 0 (default: 0)")
    which.add_argument("--image", type=Path, metavar="FILE",
                       help="28×28, ink white on black: the first image of an IDX file, a .npy or "
                            ".npz array in [0, 1] or a PNG")
    which.add_argument("--and", action="store_true", dest="toy",
                       help="the AND network of Fig. 3 instead of a digit")
    parser.add_argument("--target", type=whole(0), metavar="T",
                        help="the class the attack drives the digit to")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page")
    overwrite_option(parser)
    parser.add_argument("--theta", type=float, default=1.0,
                        help="θ, added to a chosen pixel (default: 1)")
    parser.add_argument("--max-distortion", type=distortion, default=14.5, metavar="PERCENT",
                        help="Υ, the largest share of pixels to change, or 'none' (default: 14.5)")
    weights_option(parser)
    add_data(parser)


def run(args):
    """Craft, write the page, say where it is."""
    output_file(args.out, overwrite=args.overwrite)
    with started("explain: crafting") as line:
        def progress(done, count):
            """How much of its way the digit has likely gone."""
            line.write(f"explain: crafting, {100 * done / count:.0f} %")

        html = and_page(AndNetwork.pretrained()) if args.toy else page(story(args, progress))
    content = html.encode()
    with replacing(args.out) as file:
        file.write(content)
    print(f"{args.out}: {len(content) / 1e6:.2f} MB, one file; open it in a browser")


def story(args, progress=None):
    """What the page tells, as a `Story`; `progress` as in `craft`.

    The network, the image and every iteration of its crafting are in float64; the page keeps images
    and weights in float32, so that is what they hold.
    """
    if args.target is None:
        raise ValueError("--target is missing: the class the attack drives the digit to, 0 to 9")
    if args.max_distortion is None and abs(args.theta) < SHORT:
        raise ValueError(f"--max-distortion none needs a --theta of {SHORT} at least, up or down; "
                         f"got {args.theta}")
    network = load_network("lenet", args.weights)
    network.load({name: array.astype(np.float32) for name, array in network.parameters().items()})
    name, image = _digit(args.digit, args.data) if args.image is None else _file(args.image)
    image = image.astype(np.float32).astype(np.float64)
    crafted = craft(network, image[None], args.target, theta=args.theta,
                    max_distortion=args.max_distortion, trace=True, progress=progress)
    return Story(name, network, image, crafted, args.target, args.theta, args.max_distortion)


def decode_png(file):
    """The picture of a PNG: (height, width) or (height, width, channels) in [0, 1]."""
    from matplotlib.image import imread  # starts slowly: only where there is a picture

    return imread(file, format="png")


def _digit(number, folder):
    """(name, image) of a test digit."""
    images, labels = load_mnist("test", folder)
    if number >= len(images):
        raise ValueError(f"--digit must lie in 0..{len(images) - 1}; got {number}")
    return f"test digit {number}, a {labels[number]}", images[number]


def _file(path):
    """(name, image) of a file; its name need not be sound UTF-8, what is shown of it is."""
    name = os.fsencode(path.name).decode("utf-8", "replace")
    return name, read_image(path, decode_png)
