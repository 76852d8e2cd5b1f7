"""The paper as it is written, on one digit: `jsma textbook --digit 0 --target 8`.

In: a test digit and a target class. Out, on the terminal: how ∂H_k/∂x grows layer by layer (Eq. 4
to 6 with every W_k written out, `nn.textbook`), then each pair of pixels that Algorithm 2 changes
(`attack.textbook`) until the digit is read as another, and whether the fast code does the same.
Exit status 0 if it does, 1 if not.
"""
from functools import lru_cache

import numpy as np

from attack import RULES, craft
from attack.textbook import algorithm_2
from data import load_mnist
from nn import textbook
from scripts.paper.experiment import UPSILON
from scripts.terminal.networks import load_network
from scripts.terminal.options import add_data, weights_option, whole
from scripts.terminal.progress import Progress

TOLERANCE = 1e-9  # of the largest entry: both compute in float64
ROW = "{:8} {:>9} {:>10} {:>11} {:>10} {:>14}"


def arguments(parser):
    """Describe the words of `jsma textbook`."""
    parser.add_argument("--digit", type=whole(0), default=0, metavar="N",
                        help="number of the test digit, from 0 (default: 0)")
    parser.add_argument("--target", type=whole(0, 9), default=8, metavar="T",
                        help="the class it is to be read as (default: 8)")
    weights_option(parser)
    add_data(parser)


def run(args):
    """Print both halves; 0 where the fast code agrees with all of it, 1 where it does not."""
    network = load_network("lenet", args.weights)
    network.load({name: array.astype(np.float64) for name, array in network.parameters().items()})
    images, labels = load_mnist("test", args.data)
    if args.digit >= len(images):
        raise ValueError(f"--digit must lie in 0..{len(images) - 1}; got {args.digit}")
    digit = images[args.digit].astype(np.float64)
    print(f"test digit {args.digit}, a {labels[args.digit]}\n")
    same_derivative = _derivative(network, digit)
    same_pairs = _attack(network, digit, args.target)
    return 0 if same_derivative and same_pairs else 1


def _derivative(network, digit):
    """Eq. 4 to 6: a line a layer; True where `Network.trace` gives the same tables."""
    print("Eq. 4 to 6: the derivative of every layer with respect to the 784 pixels\n")
    print(ROW.format("layer", "units", "of ∂H_k/∂x", "pixels that", "largest", "fast code"))
    print(ROW.format("", "of H_k", "not 0", "move a unit", "entry", "differs by"))
    largest_error = 0.0
    plain = textbook.trace(network, digit)
    for (name, value, table), (*_, jacobian) in zip(plain, network.trace(digit[None]), strict=True):
        largest = np.abs(table).max()
        fast = jacobian.dense(1)[0].reshape(table.shape)
        error = np.abs(fast - table).max() / (largest or 1)
        largest_error = max(largest_error, error)
        print(ROW.format(name, "×".join(map(str, value.shape)).removesuffix("×1×1"),
                         f"{100 * np.count_nonzero(table) / table.size:.1f} %",
                         np.count_nonzero(table, axis=1).max(), f"{largest:.3g}", f"{error:.0e}"))
    same = largest_error <= TOLERANCE
    print(f"\nThe fast code gives {'the same' if same else 'OTHER NUMBERS'}; "
          "it keeps only the pixels that a unit sees.\n")
    return same


def _attack(network, digit, target):
    """Algorithm 2: a line an iteration; True where `attack.craft` changes the same pixels."""
    read_as = []

    @lru_cache(maxsize=1)
    def output(pixels):
        """(logits (N,), ∂logits/∂x (N, M)) of the sample whose numbers are the bytes `pixels`."""
        layers = {name: rest for name, *rest in
                  textbook.trace(network, np.frombuffer(pixels).reshape(digit.shape))}
        value, table = layers[network.logit_layers[-1]]
        return value.reshape(-1), table

    def logits(x):
        """F, noting the class that is read."""
        read_as.append(int(output(x.tobytes())[0].argmax()))
        progress(len(read_as) - 1, most)
        return output(x.tobytes())[0]

    def forward_derivative(x):
        return output(x.tobytes())[1]

    print(f"Algorithm 2: two pixels an iteration, until the digit is read as {target}\n")
    most = RULES["paper"].budget(digit.size, UPSILON)
    progress = Progress("Algorithm 2", "iterations at most")
    adversarial, pairs = algorithm_2(logits, forward_derivative, digit.reshape(-1), target,
                                     upsilon=UPSILON)
    progress.close()
    for number, (p1, p2) in enumerate(pairs):
        print(f"  {number + 1:3}  row {p1 // 28:2}, column {p1 % 28:2}   and   "
              f"row {p2 // 28:2}, column {p2 % 28:2}")
    crafted = craft(network, digit[None], target, max_distortion=UPSILON)
    fast = crafted.pairs[0, :crafted.iterations[0]].tolist()
    same = fast == [list(map(int, pair)) for pair in pairs]
    print(f"\nread as {read_as[0]} at first, as {read_as[-1]} after {len(pairs)} iterations "
          f"({100 * np.mean(adversarial != digit.reshape(-1)):.2f} % of the pixels)")
    print(f"The fast code chose {'the same pairs' if same else f'OTHER PAIRS: {fast}'}.")
    return same
