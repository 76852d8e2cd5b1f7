"""The pages of `jsma explain`: a digit, and the chain and the attack that begin at it.

In: a crafting trace (`attack.crafting.Step`: what Eq. 10 saw and chose). Out: HTML. The network's
weights and every iteration's α and β go into the page as float32 in base64; explain_network.js
computes values and derivatives from them by Eq. 4 to 6. The other files: explain.html and
explain_and.html (the text), explain.css, explain_draw.js (pictures and plots), explain.js,
explain_attack.js and explain_and.js (the sections).
"""
import base64
from typing import NamedTuple

import numpy as np

from attack import Crafted
from attack.pairs import prune
from nn import Network
from scripts.pages.document import assemble

LIMIT = 2_950_000  # bytes of a page
FILES = ("explain.html", "explain.css", "explain_network.js", "explain_draw.js", "explain.js",
         "explain_attack.js")
AND_FILES = ("explain_and.html", "explain.css", "explain_draw.js", "explain_and.js")
WHY = {
    "target_reached": "It stopped because the network now reads the image as {target}, the target.",
    "already_target": "Nothing was changed: the network read the image as {target}, the target, "
                      "from the start.",
    "max_iterations": "It stopped because the budget is spent: Υ = {upsilon:g} % of 784 pixels, "
                      "two in each iteration, are {budget} iterations. The network reads the "
                      "image as {predicted}, not as {target}.",
    "domain_empty": "It stopped because Γ is empty: every pixel has reached 0 or 1. The network "
                    "reads the image as {predicted}, not as {target}.",
    "no_pair": "It stopped because no pair of Γ has both signs that are wanted (the paper does "
               "not say what happens then). The network reads the image as {predicted}, not as "
               "{target}.",
}


class Story(NamedTuple):
    """One digit, one target, and what crafting did. Image (28, 28) and trace are float64."""
    name: str  # of the image, from outside
    network: Network
    image: np.ndarray
    crafted: Crafted  # of this one image, with its trace
    target: int
    theta: float
    upsilon: float  # Υ in percent, or None


def page(story):
    """The page of a `Story`.

    Of a trace too long for `LIMIT` only every 2nd, 3rd, … iteration is shown, and the last.
    """
    all_frames = frames(story)
    parameters = story.network.parameters()
    weights = {name: _floats(array) for name, array in parameters.items()}
    data = {"weights": weights, **_facts(story, all_frames)}
    title = f"The derivative and the attack: {story.name}"
    every = 0
    html = None
    while html is None or len(html.encode()) > LIMIT and every < len(all_frames):
        every += 1
        shown = all_frames[:-1:every] + all_frames[-1:]
        html = assemble(title, FILES, {**data, "steps": shown}, _texts(story, every))
    return html


def and_page(network):
    """The page of the AND network (Fig. 3 to 5)."""
    weights = {name: array.tolist() for name, array in network.parameters().items()}
    return assemble("The forward derivative of AND", AND_FILES, weights, {})


def frames(story):
    """What the slider shows: each `Step` of the trace, and the end, where no pair is chosen.

    Returns a list of dicts that JSON can hold.
    """
    crafted = story.crafted
    trace = crafted.trace[0]
    shown = []
    for iteration, step in enumerate(trace):
        frame = _frame(iteration, step.logits, step.alpha, step.beta, step)
        frame["survivors"], frame["front"] = candidates(step, story.theta)
        shown.append(frame)
    if str(crafted.reason[0]) != "no_pair":
        jacobian = story.network.forward_derivative(crafted.adversarial)[0]
        alpha = jacobian[story.target]
        logits = story.network.logits(crafted.adversarial)[0]
        shown.append(_frame(len(trace), logits, alpha, jacobian.sum(axis=0) - alpha))
    return shown


def candidates(step, theta=1.0):
    """The features of a `Step` among which `attack.pairs` looks for the best pair.

    Returns (survivors, front), lists that rise. survivors: what its bound leaves (`prune`). front:
    those of Γ that at most one other dominates, that is, is at least as good in both x = α and
    y = −β (signs turned for θ < 0; of equals the first). The chosen pair lies in both.
    """
    x, y = (step.alpha, -step.beta) if theta > 0 else (-step.alpha, step.beta)
    with np.errstate(invalid="ignore"):
        survivors = prune(*(np.where(step.domain, values, -np.inf)[None] for values in (x, y)))[0]
    inside = np.flatnonzero(step.domain)
    x, y = x[inside], y[inside]
    place = np.arange(len(inside))
    dominates = (x[:, None] >= x) & (y[:, None] >= y)  # (features, features)
    dominates &= (x[:, None] > x) | (y[:, None] > y) | (place[:, None] < place)
    return np.flatnonzero(survivors).tolist(), inside[dominates.sum(axis=0) <= 1].tolist()


def strongest_path(network, image, target, pixel):
    """The way by which one pixel acts most on output `target`, from the output back.

    Of all terms W_pq · ∂H_q/∂x_i of the unit p that was reached (Eq. 5), the largest leads to q.

    Args:
        network: a `Network`, one layer after the other.
        image: (28, 28).
        target: number of the output.
        pixel: number i of the pixel, row by row.

    Returns:
        {layer: unit}, the units in the order channel, row, column.
    """
    value = network.as_input(image[None])
    passed = []  # what each layer did: its name, itself, saved, value, ∂H/∂x of the pixel
    for (_, layer), (name, shown, jacobian) in zip(network.layers.items(),
                                                   network.trace(image[None])):
        value, saved = layer.forward(value)
        of_pixel = jacobian.dense(1).reshape(shown.size, -1)[:, pixel]
        passed.append((name, layer, saved, value, of_pixel))
    path = {passed[-1][0]: target}
    for (name, layer, saved, value, _), (before, *_, derivative) in zip(passed[:0:-1],
                                                                        passed[-2::-1]):
        terms = _weights_into(layer, saved, value, path[name]) * derivative
        path[before] = int(np.abs(terms).argmax())
    return path


def _weights_into(layer, saved, value, unit):
    """W_p of Eq. 5 for one unit p, its slope f' included: (units of the layer before,)."""
    one_hot = np.zeros(value.size)
    one_hot[unit] = 1
    one_hot = np.moveaxis(one_hot.reshape(np.moveaxis(value, -1, 1).shape), 1, -1)
    return np.moveaxis(layer.backward(one_hot, saved), -1, 1).reshape(-1)


def _frame(iteration, logits, alpha, beta, step=None):
    """One place of the slider; without a `Step`, or where it has no pair, nothing is chosen."""
    chosen = step is not None and step.pair[0] >= 0
    return {"iteration": iteration, "logits": logits.tolist(),
            "alpha": _floats(alpha), "beta": _floats(beta),
            "pair": list(step.pair) if chosen else None, "score": step.score if chosen else 0}


def _facts(story, all_frames):
    """What the page knows beside the weights and the frames (JSON-able)."""
    source = int(story.network.predict(story.image[None])[0])
    pairs = story.crafted.pairs[0, :story.crafted.iterations[0]].tolist()
    if pairs:
        pixel = pairs[0][0]
    else:
        alpha = np.frombuffer(base64.b64decode(all_frames[0]["alpha"]), "<f4")
        pixel = int(np.abs(alpha).argmax())
    units = strongest_path(story.network, story.image, story.target, pixel)
    return {"image": _floats(story.image), "source": source, "target": story.target,
            "theta": story.theta, "pairs": pairs, "pixel": pixel, "units": units}


def _texts(story, every):
    """The sentences of the page that depend on the story."""
    crafted = story.crafted
    count = int(crafted.iterations[0])
    predicted = int(crafted.predicted[0])
    source = int(story.network.predict(story.image[None])[0])
    budget = crafted.pairs.shape[1]
    upsilon = "none" if story.upsilon is None else f"{story.upsilon:g} %"
    attack = (f"Source {source}, target {story.target}, θ = {story.theta:g}, Υ = {upsilon}: "
              f"{count} iterations changed {crafted.distortion[0]:.2f} % of the pixels. "
              f"Move the slider (arrow keys) through the iterations of Algorithm 2.")
    if every > 1:
        attack += (f" To keep this page small only one iteration in {every} is on it, "
                   f"and the end.")
    why = WHY[str(crafted.reason[0])].format(target=story.target, predicted=predicted,
                                             upsilon=story.upsilon or 0, budget=budget)
    about = f"The image: {story.name}; the network reads it as {source}."
    return {"ABOUT": about, "ATTACK": attack, "WHY": why,
            "SINGLE": "8" if story.theta > 0 else "9"}


def _floats(array):
    return base64.b64encode(np.asarray(array, "<f4").tobytes()).decode()
