"""Turn digits into adversarial samples: `jsma craft --count 5 --target all --out FOLDER`.

In: digits of a split, by number (--index) or the first ones (--count), or a picture of one's own
(--image, --label), target classes, θ and Υ. Out, in FOLDER: `crafted.csv` (a line a sample),
`crafted.npz` (originals, adversarial samples, pairs), the adversarial images and their true labels
as IDX files (8 bits a pixel), and `grid.png`. A picture has no index, and no label unless it is
said: empty in the csv, −1 in the npz, 255 among the labels.
"""
import csv
import io
import sys
from pathlib import Path

import numpy as np

from attack import RULES, craft, distortions, mean_distortion, success_rate
from attack.checks import check_targets
from attack.goals import GOALS, UNTARGETED, every_other, reached
from data import load_mnist, write_idx
from data.files import replacing
from scripts.paper.samples import joined
from scripts.terminal.networks import load_network
from scripts.terminal.options import (
    add_data,
    add_model,
    distortion,
    indices,
    note_said,
    refuse_ignored,
    whole,
    with_defaults,
)
from scripts.terminal.outputs import output_folder, overwrite_option
from scripts.terminal.pictures import image_option, invert_option, own_image
from scripts.terminal.progress import Progress

FILES = ("crafted.csv", "crafted.npz", "grid.png", "adversarial-images-idx3-ubyte",
         "adversarial-labels-idx1-ubyte")
TOLD_BY = ("crafted.csv", b"index,label,target,")
SHOWN = 30
PERCENT = ("touched", "L0")
UNKNOWN = -1  # index and label of a picture of one's own
PIECE = 256  # samples that are crafted together: what an interruption costs at most


def arguments(parser):
    """Describe the words of `jsma craft`."""
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                        help="where the files go")
    overwrite_option(parser)
    _digits(parser)
    _goal(parser)
    _rules(parser)
    add_model(parser)
    add_data(parser)
    note_said(parser, ("split", "data", "label", "invert"))


def _digits(parser):
    """Which digits are altered."""
    parser.add_argument("--split", choices=["train", "validation", "test"], default="test",
                        help="default: test")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--index", type=indices, metavar="I,J,…",
                       help="digits by their number in the split, from 0")
    which.add_argument("--count", type=whole(1), default=10,
                       help="the first COUNT digits of the split (default: 10)")
    image_option(which)
    invert_option(parser)
    parser.add_argument("--label", type=whole(0), metavar="CLASS",
                        help="with --image: its true class (default: unknown)")


def _goal(parser):
    """What they are to be read as."""
    parser.add_argument("--target", type=_target,
                        help="a class, or 'all' for every class but the digit's own (default)")
    parser.add_argument("--goal", choices=GOALS, default="source/target",
                        help="what is wanted (Fig. 2); misclassification and confidence try every "
                             "class and keep the cheapest (default: source/target)")
    parser.add_argument("--confidence", type=float, default=0.5, metavar="P",
                        help="goal confidence: below which probability of the source class "
                             "(default: 0.5)")
    parser.add_argument("--margin", type=float, default=0.0, metavar="LOGITS",
                        help="by how much the class that is to be read must lead all others "
                             "(default: 0)")


def _rules(parser):
    """How pixels are chosen and changed."""
    parser.add_argument("--theta", type=float, default=1.0,
                        help="θ, added to a chosen pixel (default: 1)")
    parser.add_argument("--max-distortion", type=distortion, default=14.5, metavar="PERCENT",
                        help="Υ, the largest share of pixels to change, or 'none' (default: 14.5)")
    parser.add_argument("--saliency", choices=["pairs", "single"], default="pairs",
                        help="Eq. 10 (default) or Eq. 8/9")
    parser.add_argument("--rule", choices=RULES, default="paper", metavar="RULE",
                        help=f"whose rules are followed: {', '.join(RULES)} (default: the paper's; "
                             "maximal needs --goal misclassification)")
    parser.add_argument("--of", choices=["logits", "centred", "probabilities"], default="logits",
                        help="which outputs are differentiated (default: logits, as in the paper)")


def run(args):
    """Craft, write the files and print what came of it."""
    folder = output_folder(args.out, FILES, TOLD_BY, args.overwrite)
    if args.image is None:
        refuse_ignored(args, ["label", "invert"], "without --image")
    else:
        refuse_ignored(args, ["split", "data"], "with --image")
    args = with_defaults(args)
    network = load_network("lenet", args.weights)
    index, images, labels, targets = (_samples if args.image is None else _own)(args, network)
    crafted = _in_pieces(network, images, targets, labels, goal=args.goal,
                         confidence=args.confidence, theta=args.theta,
                         max_distortion=args.max_distortion, saliency=args.saliency,
                         rule=args.rule, margin=args.margin, derivative=args.derivative, of=args.of)
    count = len(crafted.success)  # fewer where it was interrupted
    images, labels, not_crafted, index = (images[:count], labels[:count], index[count:],
                                          index[:count])
    if args.image is not None and args.label is None:
        labels = index  # unknown as well
    folder.mkdir(parents=True, exist_ok=True)
    moved = distortions(images, crafted)
    _write(folder, images, index, labels, crafted, moved)
    if len(not_crafted):
        raise KeyboardInterrupt(f"{len(index):,} samples are in {folder}; go on from digit "
                                f"{not_crafted[0]} with --index and another --out for the "
                                f"{len(not_crafted):,} that are left")
    print("\n".join(_said(crafted, folder)))
    if crafted.counted.any():
        print("\n".join(_moved(moved, crafted.success, crafted.counted)))
    lost = _lost_by_rounding(network, images, crafted, args)
    if lost:
        print(f"{lost} of them no longer are once rounded to the 8 bits of the IDX file "
              "(crafted.npz is exact)")


def _said(crafted, folder):
    """Lines with τ and ε, and who is not counted there."""
    success, counted = crafted.success, crafted.counted
    if counted.any():
        yield (f"{success.sum()} of {counted.sum()} samples reach their goal "
               f"(τ = {success_rate(success[counted]):.1f} %)"
               + (f", mean distortion of these {mean_distortion(crafted.distortion, success):.2f} %"
                  if success.any() else "") + f"; files in {folder}")
    else:
        yield f"no sample was attacked; files in {folder}"
    for reason, words in (("misread", "the network misreads from the start"),
                          ("already_target", "are in their target class from the start")):
        count = (crafted.reason == reason).sum()
        if count:
            yield f"not counted there: {count} that {words}"


def _samples(args, network):
    """Digits of a split: of each sample the number (n,), the image, the label and the target."""
    images, labels = load_mnist(args.split, args.data)
    if not len(labels):
        raise ValueError(f"{args.data}: there are no {args.split} digits")
    index = np.arange(min(args.count, len(labels))) if args.index is None else np.array(args.index)
    if index.max() >= len(labels):
        raise ValueError(f"--index must lie in 0..{len(labels) - 1}; got {index.max()}")
    rows, targets = _targets(args, labels[index], network.classes)
    return index[rows], images[index[rows]], labels[index[rows]], targets


def _own(args, network):
    """The same of a picture: no number; what is read stands for a label that is not said."""
    image = own_image(args.image, args.invert)[1][None]
    label = network.predict(image)
    print(f"the network reads a {label[0]}")
    if args.label is not None:
        label = check_targets(args.label, 1, network.classes, "--label").reshape(1)
    rows, targets = _targets(args, label, network.classes)
    return np.full(len(rows), UNKNOWN), image[rows], label[rows], targets


def _targets(args, sources, classes):
    """The row of `sources` that each sample starts from, and its target where the goal names one:
    every class but the source's, or one class for all."""
    if args.goal not in UNTARGETED and args.target in (None, "all"):
        return every_other(sources, classes)
    rows = np.arange(len(sources))
    return rows, args.target if args.goal in UNTARGETED else np.full(len(rows), args.target)


def _lost_by_rounding(network, images, crafted, args):
    """How many successes no longer reach their goal once their pixels are rounded to 8 bits."""
    rounded = network.logits(np.round(crafted.adversarial * 255) / np.float32(255))
    sources = network.predict(images)
    return (crafted.success & ~reached(args.goal, rounded, sources, crafted.target,
                                       args.confidence, network.output_activation)).sum()


def _in_pieces(network, images, targets, labels, **options):
    """`craft`, `PIECE` samples at a time; where it is interrupted, those of the finished pieces."""
    progress = Progress("crafting")
    parts = []
    for start in range(0, len(images), PIECE):
        rows = slice(start, start + PIECE)
        some = images[rows]

        def show(done, count, start=start, size=len(some)):
            """Of all samples, with every class that is tried for each."""
            progress(start * count // size + done, len(images) * count // size)

        try:
            parts.append(craft(network, some,
                               targets[rows] if isinstance(targets, np.ndarray) else targets,
                               labels=labels[rows], progress=show, **options))
        except KeyboardInterrupt:
            if not parts:
                raise KeyboardInterrupt(
                    f"nothing is kept yet, that begins with {PIECE} samples") from None
            progress.close()
            print("jsma: stopping; what is finished is written", file=sys.stderr, flush=True)
            break
    progress.close()
    return joined(parts)


def _moved(moved, success, counted):
    """Lines with the mean of each measure of distortion: of the counted samples, those of them that
    succeeded and those that failed."""
    yield f"{'mean of':12}" + "".join(f"{name + (' %' if name in PERCENT else ''):>11}"
                                      for name in moved)
    for who, some in (("all", counted), ("successful", success),
                      ("failed", counted & ~success)):
        means = [f"{values[some].mean():11.3f}" if some.any() else f"{'–':>11}"
                 for values in moved.values()]
        yield f"{who:12}" + "".join(means) + f"   {some.sum():,} samples"


def _write(folder, images, index, labels, crafted, moved):
    """Write all files: images (n, 28, 28) as they were, `moved` from `distortions`."""
    from scripts.paper.figures import craft_grid, save_png  # matplotlib starts slowly

    with replacing(folder / "crafted.npz") as file:
        np.savez_compressed(file, original=images, adversarial=crafted.adversarial, index=index,
                            label=labels, target=crafted.target, predicted=crafted.predicted,
                            success=crafted.success, pairs=crafted.pairs,
                            iterations=crafted.iterations, distortion=crafted.distortion)
    with replacing(folder / "crafted.csv") as file:
        file.write(_csv(index, labels, crafted, moved).encode())
    write_idx(folder / "adversarial-images-idx3-ubyte",
              np.round(crafted.adversarial * 255).astype(np.uint8))
    write_idx(folder / "adversarial-labels-idx1-ubyte", labels.astype(np.uint8))
    grid = craft_grid(images, crafted.adversarial, _known(index, "own"), _known(labels, "?"),
                      crafted.target, crafted.predicted, crafted.success, SHOWN)
    save_png(grid, folder / "grid.png")


def _csv(index, labels, crafted, moved):
    """The table of `crafted.csv` as text."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["index", "label", "target", "predicted", "success", "reason", "iterations",
                    "distortion_percent",
                    *(f"{name}_percent" if name in PERCENT else name for name in moved)])
    table.writerows(zip(_known(index), _known(labels), crafted.target, crafted.predicted,
                        crafted.success.astype(int), crafted.reason, crafted.iterations,
                        np.round(crafted.distortion, 4),
                        *(np.round(values, 4) for values in moved.values())))
    return text.getvalue()


def _known(numbers, unknown=""):
    """The numbers, and text for those that are not known."""
    return [unknown if number == UNKNOWN else number for number in numbers]


def _target(text):
    return text if text == "all" else whole(0)(text)
