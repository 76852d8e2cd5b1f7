"""The first picture of the README: a 7, the pixels that make it an 8, and the two rows of numbers
that chose them. `python -m scripts.results.chosen_pixels [FILE.png]`, from the root.

In: the shipped network and test digit 0. Out: `chosen_pixels.png`, beside this file or where you
say. Both maps are of the untouched 7 (Eq. 3); the attack computes them anew in each iteration.
"""
import sys
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attack import craft
from data import load_mnist
from nn import LeNet

TARGET = 8
ADDED = "#d55e00"
DPI = 110


def coloured(image, added):
    """White ink on black, the added pixels in their colour: (28, 28, 3)."""
    return np.where(added[..., None], to_rgb(ADDED), image[..., None])


def outline(axis, pixels, colour, width):
    """A square around each of these pixels of 28 × 28."""
    for row, column in zip(*np.divmod(pixels, 28)):
        axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=colour,
                                 linewidth=width))


def picture():
    """The figure: the digit, two rows of derivatives, the adversarial digit."""
    image = load_mnist("test")[0][:1]
    network = LeNet.pretrained()
    crafted = craft(network, image, TARGET)
    pairs = crafted.pairs[0, :crafted.iterations[0]]
    jacobian = network.forward_derivative(image)[0]  # (10, 784)
    row = jacobian[TARGET]
    rest = jacobian.sum(axis=0) - row
    added = (crafted.adversarial != image)[0]

    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.1)
    axes = figure.subplots(1, 4)
    axes[0].imshow(coloured(image[0], np.zeros_like(added)))
    axes[0].set_title(f"read as {network.predict(image)[0]}", fontsize=12)
    for axis, values, title in ((axes[1], row, f"∂logit$_{TARGET}$/∂x"),
                                (axes[2], rest, f"Σ$_{{j≠{TARGET}}}$ ∂logit$_j$/∂x")):
        most = abs(values).max()
        shown = axis.imshow(values.reshape(28, 28), cmap="PuOr_r", vmin=-most, vmax=most)
        outline(axis, pairs.reshape(-1), "black", 0.9)
        axis.set_title(title, fontsize=12)
        figure.colorbar(shown, ax=axis, orientation="horizontal", shrink=0.8, pad=0.02)
    axes[1].set_xlabel("orange: more ink there raises the 8", fontsize=9)
    axes[2].set_xlabel("purple: it lowers the other nine", fontsize=9)
    axes[3].imshow(coloured(image[0], added))
    axes[3].set_title(f"{added.sum()} pixels later: read as {crafted.predicted[0]}", fontsize=12)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return figure


if __name__ == "__main__":
    beside = Path(__file__).with_suffix(".png")
    picture().savefig(sys.argv[1] if sys.argv[1:] else beside, dpi=DPI)
