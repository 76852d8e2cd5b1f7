"""Look at a set of IDX files: `jsma data check [DIR]` reads all four and says if they are MNIST's.

In: a folder, a zip archive or Keras' `mnist.npz` (default: the MNIST that ships with this package).
Images are held against labels. Out: a line a file and a verdict; exit status 0 when all four are
MNIST's bytes, 1 when they are sound but not MNIST's (0 with --any-set), 2 when one is missing or
damaged.
"""
from data.mnist import check


def arguments(parser):
    """Describe the words of `jsma data`."""
    parser.add_argument("action", nargs="?", metavar="check", choices=["check"],
                        help="the only thing it does")
    parser.add_argument("directory", nargs="?", metavar="DIR",
                        help="folder of the IDX files, plain or .gz, a zip archive of them, or "
                             "mnist.npz (default: the MNIST shipped with this package)")
    parser.add_argument("--any-set", action="store_true",
                        help="sound files of another set are fine, too")


def run(args):
    """Check the files, print what was found and return the exit status."""
    if args.action is None:
        raise ValueError("say what to do: jsma data check, or jsma data check DIR for files of "
                         "your own (see: jsma data --help)")
    rows = check(args.directory)
    width = max(len(str(row.file)) for row in rows)
    for row in rows:
        shape = " x ".join(map(str, row.shape))
        whose = "MNIST" if row.is_mnist else "not MNIST"
        print(f"{str(row.file):{width}}  {shape:15}  sha256 {row.sha256}  {whose}")
    if all(row.is_mnist for row in rows):
        print("all four files are MNIST's")
        return 0
    print("well formed, but not MNIST's bytes")
    return 0 if args.any_set else 1
