"""The pages of `jsma explain`: a network, digits, and what the page opens with.

In: a LeNet, labelled test digits, an image and the settings of an attack. Out: HTML. Weights
(float32) and digits go into the page in base64; all else is computed there: values and derivatives
by explain_network.js (Eq. 4 to 6, spelled out) and explain_fast.js, the attack by explain_craft.js
(Eq. 8 to 10, Algorithm 2), in a worker by explain_worker.js. The other files of `FILES` draw.
"""
import base64
from typing import NamedTuple

import numpy as np

from scripts.pages.document import assemble

# The scripts run in this order. The engine ends with explain_worker.js, and a worker runs it too;
# what needs a document comes behind it.
FILES = ("explain.html", "explain.css", "explain_network.js", "explain_fast.js", "explain_craft.js",
         "explain_worker.js", "explain_draw.js", "explain.js", "explain_pad.js",
         "explain_attack.js", "explain_derivative.js", "explain_play.js", "explain_what_if.js",
         "explain_lesson.js", "explain_share.js")
AND_FILES = ("explain_and.html", "explain.css", "explain_draw.js", "explain_and.js")
TITLE = "The derivative and the attack"
OF_EACH = 10  # digits of each class that a page ships


class Start(NamedTuple):
    """What a page opens with."""
    image: np.ndarray  # (28, 28) in [0, 1]
    name: str          # of the image, from outside
    target: int
    theta: float
    upsilon: float | None  # Υ in percent
    of: str            # the outputs that are differentiated: "logits" or "probabilities"


def page(network, digits, start):
    """The page: `network` with LeNet's layers, `digits` (images (n, 28, 28), labels (n,)), `start`
    a `Start`."""
    data = {"layers": [{"name": name, "kind": type(layer).__name__, "shape": network.shapes[name]}
                       for name, layer in network.layers.items()],
            "weights": {name: _floats(array) for name, array in network.parameters().items()},
            "digits": shipped(*digits, network.classes),
            "start": start._replace(image=_floats(start.image))._asdict()}
    return assemble(TITLE, FILES, data, {})


def and_page(network):
    """The page of the AND network (Fig. 3 to 5)."""
    weights = {name: array.tolist() for name, array in network.parameters().items()}
    return assemble("The forward derivative of AND", AND_FILES, weights, {})


def shipped(images, labels, classes):
    """The first `OF_EACH` digits of each class, one class after the other and again: [{number,
    label, image}], number the place among all, image 8 bits a pixel in base64."""
    places = [np.flatnonzero(labels == label)[:OF_EACH] for label in range(classes)]
    turns = [place[turn] for turn in range(OF_EACH) for place in places if turn < len(place)]
    return [{"number": int(n), "label": int(labels[n]),
             "image": _base64(np.rint(255 * images[n]).astype(np.uint8))} for n in turns]


def _floats(array):
    return _base64(np.asarray(array, "<f4"))


def _base64(array):
    return base64.b64encode(array.tobytes()).decode()
