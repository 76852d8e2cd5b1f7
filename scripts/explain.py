"""A page that shows a forward derivative grow (Eq. 4 to 6) and an attack choose (Eq. 8 to 10, Algorithm 2):
`jsma explain --digit 0 --target 3 --out page.html`; `--and` for the toy network of Fig. 3.

In: a digit of the test set or an image file, a target class, θ and Υ. Out: one self-contained HTML file, made from a
real crafting trace. How the trace becomes a page is in `explain_page`.
"""
import io
import math
import os
import warnings
from functools import partial
from pathlib import Path

import numpy as np

from attack import craft
from data import load_mnist, read_idx
from data.idx import read_header, replacing
from nn import AndNetwork
from nn.weights import array_header, open_npz
from scripts.pages.explain_page import Story, and_page, page
from scripts.terminal.networks import load_network
from scripts.terminal.options import add_data, distortion, output_file, weights_option, whole

SIDE = 28
PIXELS = SIDE * SIDE
PNG = 1 << 20  # bytes of a picture of 28×28 at most
MEMBERS = 1000  # of a .npz archive at most
SHORT = 0.1  # θ below which a trace without a limit does not fit into memory


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
    if args.max_distortion is None and abs(args.theta) < SHORT:
        raise ValueError(f"--max-distortion none needs a --theta of {SHORT} at least, up or down; got {args.theta}")
    network = load_network("lenet", args.weights)
    network.load({name: array.astype(np.float32) for name, array in network.parameters().items()})
    name, image = _digit(args.digit, args.data) if args.image is None else _file(args.image)
    image = image.astype(np.float32).astype(np.float64)  # the page keeps images and weights in float32
    crafted = craft(network, image[None], args.target, theta=args.theta, max_distortion=args.max_distortion, trace=True)
    return Story(name, network, image, crafted, args.target, args.theta, args.max_distortion)


def read_image(path):
    """The first 28×28 image of the file `path` in [0, 1]: IDX (bytes stand for 0 to 255), .npy, .npz or PNG.

    The first bytes of the file tell what it is, and no more than this image is read. ValueError or OSError names the
    file and what is wrong with it.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: expected a file, found a directory, device or pipe")
    with open(path, "rb") as file:
        start = file.read(2)
    image = {b"\x93N": _read_npy, b"PK": _read_npz, b"\x89P": _read_png}.get(start, _read_idx)(path)
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"{path}: expected values in [0, 1]; got {image.min():g} to {image.max():g}")
    return image


def _check_shape(path, shape):
    if shape[-2:] != (SIDE, SIDE) or not math.prod(shape):
        raise ValueError(f"{path}: expected an image of 28×28 or several; got the shape {shape}")


def _read_idx(path):
    dtype, shape = read_header(path)
    _check_shape(path, shape)
    image = read_idx(path, PIXELS).reshape(SIDE, SIDE)
    return image / 255 if dtype == np.uint8 else image


def _read_npy(path):
    return _first(path, partial(open, path, "rb"))


def _read_npz(path):
    with open_npz(path, MEMBERS) as archive:
        if not archive.namelist():
            raise ValueError(f"{path}: not a readable NumPy file (it holds no array)")
        return _first(path, partial(archive.open, archive.namelist()[0]))


def _first(path, opened):
    """The first image of an `.npy` stream, which `opened()` gives from its start."""
    with opened() as stream:
        try:
            shape, fortran, dtype, start = array_header(stream)
        except ValueError as error:
            raise ValueError(f"{path}: not a readable NumPy file ({error})") from None
    if dtype.hasobject:
        raise ValueError(f"{path}: not a readable NumPy file (it holds Python objects, a pickle; none is ever loaded)")
    if dtype.kind not in "biuf":
        raise ValueError(f"{path}: expected numbers; got {dtype}")
    _check_shape(path, shape)
    if fortran and math.prod(shape) != PIXELS:
        raise ValueError(f"{path}: expected one image where an array is in Fortran's order; got the shape {shape}")
    with opened() as stream:
        stream.read(start)
        content = stream.read(PIXELS * dtype.itemsize)
    if len(content) < PIXELS * dtype.itemsize:
        raise ValueError(f"{path}: not a readable NumPy file (it is cut short)")
    return np.frombuffer(content, dtype).reshape((SIDE, SIDE), order="F" if fortran else "C")


def _read_png(path):
    from matplotlib.image import imread

    with open(path, "rb") as file:
        content = file.read(PNG + 1)
    size = content[20:24], content[16:20]
    if len(content) > PNG or content.count(b"IHDR") > 1:  # the picture's size is in the only one
        raise ValueError(f"{path}: not a readable PNG (more than {PNG:,} bytes, or of two sizes)")
    if len(content) >= 24:
        _check_shape(path, tuple(int.from_bytes(side, "big") for side in size))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = imread(io.BytesIO(content), format="png")
    except Exception as error:  # a damaged picture fails in many ways
        raise ValueError(f"{path}: not a readable PNG ({' '.join(str(error).split())})") from None
    return picture if picture.ndim == 2 else picture[..., :3].mean(axis=2) if picture.shape[2] > 2 else picture[..., 0]


def _digit(number, folder):
    images, labels = load_mnist("test", folder)
    if number >= len(images):
        raise ValueError(f"--digit must lie in 0..{len(images) - 1}; got {number}")
    return f"test digit {number}, a {labels[number]}", images[number]


def _file(path):
    """Names of files need not be sound UTF-8; what is shown of them is."""
    return os.fsencode(path.name).decode("utf-8", "replace"), read_image(path)
