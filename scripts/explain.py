"""A page that shows a forward derivative grow (Eq. 4 to 6) and an attack choose (Eq. 8 to 10, Algorithm 2):
`jsma explain --digit 0 --target 3 --out page.html`; `--and` for the toy network of Fig. 3.

In: a digit of the test set or an image file, a target class, θ and Υ. Out: one self-contained HTML file, made from a
real crafting trace. How the trace becomes a page is in `explain_page`.
"""
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from attack import craft
from data import load_mnist, read_idx
from data.idx import replacing
from nn import AndNetwork
from scripts.explain_page import Story, and_page, page
from scripts.networks import load_network
from scripts.options import add_data, distortion, output_file, weights_option, whole

SIDE = 28
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, zipfile.BadZipFile)


def arguments(parser):
    """Describe the words of `jsma explain`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--digit", type=whole(0), default=0, metavar="N",
                       help="number of the test digit, from 0 (default: 0)")
    which.add_argument("--image", type=Path, metavar="FILE",
                       help="28×28, ink white on black: the first image of an IDX file, a .npy or .npz array in [0, 1] "
                            "or a PNG")
    which.add_argument("--and", action="store_true", dest="toy", help="the AND network of Fig. 3 instead of a digit")
    parser.add_argument("--target", type=whole(0), metavar="T", help="the class the attack drives the digit to")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page")
    parser.add_argument("--theta", type=float, default=1.0, help="θ, added to a chosen pixel (default: 1)")
    parser.add_argument("--max-distortion", type=distortion, default=14.5, metavar="PERCENT",
                        help="Υ, the largest share of pixels to change, or 'none' (default: 14.5)")
    weights_option(parser)
    add_data(parser)


def run(args):
    """Craft, write the page, say where it is."""
    output_file(args.out)
    html = and_page(AndNetwork.pretrained()) if args.toy else page(story(args))
    with replacing(args.out) as file:
        file.write(html.encode())
    print(f"{args.out}: {len(html.encode()) / 1e6:.2f} MB, one file; open it in a browser")


def story(args):
    """What the page tells, as a `Story`: the network, the image and every iteration of its crafting, in float64."""
    if args.target is None:
        raise ValueError("--target is missing: the class the attack drives the digit to, 0 to 9")
    network = load_network("lenet", args.weights)
    network.load({name: array.astype(np.float32) for name, array in network.parameters().items()})
    name, image = _digit(args.digit, args.data) if args.image is None else _file(args.image)
    image = image.astype(np.float32).astype(np.float64)  # the page keeps images and weights in float32
    crafted = craft(network, image[None], args.target, theta=args.theta, max_distortion=args.max_distortion, trace=True)
    return Story(name, network, image, crafted, args.target, args.theta, args.max_distortion)


def read_image(path):
    """The first 28×28 image of the file `path` in [0, 1]: IDX (bytes stand for 0 to 255), .npy, .npz or PNG.

    The first bytes of the file tell what it is. ValueError or OSError names the file and what is wrong with it.
    """
    with open(path, "rb") as file:
        start = file.read(2)
    array = {b"\x93N": _read_numpy, b"PK": _read_numpy, b"\x89P": _read_png}.get(start, _read_idx)(path)
    if array.ndim < 2 or array.shape[-2:] != (SIDE, SIDE) or not array.size:
        raise ValueError(f"{path}: expected an image of 28×28 or several; got the shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{path}: expected numbers; got {array.dtype}")
    image = array.reshape(-1, SIDE, SIDE)[0]
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"{path}: expected values in [0, 1]; got {image.min():g} to {image.max():g}")
    return image


def _read_idx(path):
    array = read_idx(path)
    return array / 255 if array.dtype == np.uint8 else array


def _read_numpy(path):
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            if not found.files:
                raise ValueError("it holds no array")
            return found[found.files[0]]
    except DAMAGED as error:
        raise ValueError(f"{path}: not a readable NumPy file ({error})") from None


def _read_png(path):
    from matplotlib.image import imread

    try:
        picture = imread(path, format="png")
    except DAMAGED as error:
        raise ValueError(f"{path}: not a readable PNG ({error})") from None
    return picture if picture.ndim == 2 else picture[..., :3].mean(axis=2) if picture.shape[2] > 2 else picture[..., 0]


def _digit(number, folder):
    images, labels = load_mnist("test", folder)
    if number >= len(images):
        raise ValueError(f"--digit must lie in 0..{len(images) - 1}; got {number}")
    return f"test digit {number}, a {labels[number]}", images[number]


def _file(path):
    """Names of files need not be sound UTF-8; what is shown of them is."""
    return os.fsencode(path.name).decode("utf-8", "replace"), read_image(path)
