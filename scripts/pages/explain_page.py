"""The pages of `jsma explain`: a crafting trace (attack.crafting.Step: what Eq. 10 saw and chose) in, HTML out.

The network's weights and every iteration's α and β go into the page as float32 in base64; explain_network.js computes
values and derivatives from them by Eq. 4 to 6. The other files: explain.html and explain_and.html (the text),
explain.css, explain_draw.js (pictures and plots), explain.js, explain_attack.js and explain_and.js (the sections).
"""
import base64
import json
import re
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attack import Crafted
from attack.pairs import prune
from nn import Network
from scripts.pages.document import document

HERE = Path(__file__).parent
LIMIT = 2_950_000  # bytes of a page
WHY = {
    "target_reached": "It stopped because the network now reads the image as {target}, the target.",
    "already_target": "Nothing was changed: the network read the image as {target}, the target, from the start.",
    "max_iterations": "It stopped because the budget is spent: Υ = {upsilon:g} % of 784 pixels, two in each iteration, "
                      "are {budget} iterations. The network reads the image as {predicted}, not as {target}.",
    "domain_empty": "It stopped because Γ is empty: every pixel has reached 0 or 1. The network reads the image as "
                    "{predicted}, not as {target}.",
    "no_pair": "It stopped because no pair of Γ has both signs that are wanted (the paper does not say what happens "
               "then). The network reads the image as {predicted}, not as {target}.",
}


class Story(NamedTuple):
    """One digit, one target, and what crafting did. The image (28, 28) and the trace are float64."""
    name: str  # of the image, from outside
    network: Network
    image: np.ndarray
    crafted: Crafted  # of this one image, with its trace
    target: int
    theta: float
    upsilon: float  # Υ in percent, or None


def page(story):
    """The page of a `Story`. Of a trace too long for `LIMIT` only every 2nd, 3rd, … iteration is kept, and the last."""
    steps, weights = frames(story), {name: _floats(array) for name, array in story.network.parameters().items()}
    values, every, html = {"weights": weights, **_facts(story, steps)}, 0, None
    while html is None or len(html.encode()) > LIMIT and every < len(steps):
        every += 1
        kept = steps[:-1:every] + steps[-1:]
        html = _whole(f"The derivative and the attack: {story.name}", "explain.html",
                      ("explain_network.js", "explain_draw.js", "explain.js", "explain_attack.js"),
                      {**values, "steps": kept}, _texts(story, every))
    return html


def and_page(network):
    """The page of the AND network (Fig. 3 to 5)."""
    weights = {name: array.tolist() for name, array in network.parameters().items()}
    return _whole("The forward derivative of AND", "explain_and.html", ("explain_draw.js", "explain_and.js"),
                  weights, {})


def frames(story):
    """What the slider shows: each `Step` of the trace, and the end, where no pair is chosen (JSON-able dicts)."""
    crafted, trace = story.crafted, story.crafted.trace[0]
    found = [_frame(n, step.logits, step.alpha, step.beta, step) for n, step in enumerate(trace)]
    for frame, step in zip(found, trace):
        frame["survivors"], frame["front"] = candidates(step, story.theta)
    if str(crafted.reason[0]) != "no_pair":
        jacobian = story.network.forward_derivative(crafted.adversarial)[0]
        alpha = jacobian[story.target]
        logits = story.network.logits(crafted.adversarial)[0]
        found.append(_frame(len(trace), logits, alpha, jacobian.sum(axis=0) - alpha))
    return found


def candidates(step, theta=1.0):
    """The features of a `Step` among which `attack.pairs` looks for the best pair: (survivors, front), rising lists.

    survivors: what its bound leaves (`prune`). front: those of Γ that at most one other dominates, that is, is at least
    as good in both x = α and y = −β (signs turned for θ < 0; of equals the first). The chosen pair lies in both.
    """
    x, y = (step.alpha, -step.beta) if theta > 0 else (-step.alpha, step.beta)
    with np.errstate(invalid="ignore"):
        survivors = prune(*(np.where(step.domain, values, -np.inf)[None] for values in (x, y)))[0]
    inside = np.flatnonzero(step.domain)
    x, y, place = x[inside], y[inside], np.arange(len(inside))
    dominates = (x[:, None] >= x) & (y[:, None] >= y)
    dominates &= (x[:, None] > x) | (y[:, None] > y) | (place[:, None] < place)
    return np.flatnonzero(survivors).tolist(), inside[dominates.sum(axis=0) <= 1].tolist()


def strongest_path(network, image, target, pixel):
    """The way by which one pixel acts most on output `target`: {layer: unit}, units in the order channel, row, column.

    From the output back: of all terms W_pq · ∂H_q/∂x_i of the unit p that was reached (Eq. 5), the largest leads to q.
    """
    value, steps = network.as_input(image[None]), []
    for (_, layer), (name, shown, jacobian) in zip(network.layers.items(), network.trace(image[None])):
        value, saved = layer.forward(value)
        steps.append((name, layer, saved, value, jacobian.dense(1).reshape(shown.size, -1)[:, pixel]))
    path = {steps[-1][0]: target}
    for (name, layer, saved, value, _), (before, *_, derivative) in zip(steps[:0:-1], steps[-2::-1]):
        chosen = np.zeros(value.size)
        chosen[path[name]] = 1
        chosen = np.moveaxis(chosen.reshape(np.moveaxis(value, -1, 1).shape), 1, -1)
        terms = np.moveaxis(layer.backward(chosen, saved), -1, 1).reshape(-1) * derivative
        path[before] = int(np.abs(terms).argmax())
    return path


def _frame(iteration, logits, alpha, beta, step=None):
    chosen = step is not None and step.pair[0] >= 0
    return {"iteration": iteration, "logits": logits.tolist(), "alpha": _floats(alpha), "beta": _floats(beta),
            "pair": list(step.pair) if chosen else None, "score": step.score if chosen else 0}


def _facts(story, steps):
    source = int(story.network.predict(story.image[None])[0])
    pairs = story.crafted.pairs[0, :story.crafted.iterations[0]].tolist()
    pixel = pairs[0][0] if pairs else int(np.abs(np.frombuffer(base64.b64decode(steps[0]["alpha"]), "<f4")).argmax())
    return {"image": _floats(story.image), "source": source, "target": story.target, "theta": story.theta,
            "pairs": pairs, "pixel": pixel, "units": strongest_path(story.network, story.image, story.target, pixel)}


def _texts(story, every):
    crafted, count = story.crafted, int(story.crafted.iterations[0])
    predicted = int(crafted.predicted[0])
    source, budget = int(story.network.predict(story.image[None])[0]), crafted.pairs.shape[1]
    upsilon = "none" if story.upsilon is None else f"{story.upsilon:g} %"
    attack = (f"Source {source}, target {story.target}, θ = {story.theta:g}, Υ = {upsilon}: {count} iterations changed "
              f"{crafted.distortion[0]:.2f} % of the pixels. Move the slider (arrow keys) through the iterations of "
              f"Algorithm 2.")
    if every > 1:
        attack += f" To keep this page small only one iteration in {every} is on it, and the end."
    why = WHY[str(crafted.reason[0])].format(target=story.target, predicted=predicted, upsilon=story.upsilon or 0,
                                             budget=budget)
    return {"ABOUT": f"The image: {story.name}; the network reads it as {source}.", "ATTACK": attack, "WHY": why,
            "SINGLE": "8" if story.theta > 0 else "9"}


def _whole(title, body, scripts, values, texts):
    """One HTML file: `body` with its @TEXTS@ filled in, the style, the scripts and the `values` as JSON."""
    filled = {name: escape(text) for name, text in texts.items()}
    filled["DATA"] = json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")
    html = re.sub("@([A-Z]+)@", lambda found: filled[found[1]], _text(body))
    html += "<script>\n\"use strict\";\n" + "\n".join(map(_text, scripts)) + "</script>"
    return document(title, _text("explain.css"), html)


def _floats(array):
    return base64.b64encode(np.asarray(array, "<f4").tobytes()).decode()


def _text(name):
    return (HERE / name).read_text(encoding="utf-8")
