"""What each deviation from the paper costs: the same digits, crafted by every rule.

`jsma bench --rules`. In: how many digits, each driven to its nine other classes by each of
`attack.RULES`. Out: a line a rule and kind of outputs: success rate τ, mean distortion ε of the
successes, time, and for how many samples the first pair is not the paper's; below a rule its own
library, where that is installed, with the share of samples that both craft alike.
"""
import time

import numpy as np

from attack import RULES, craft, mean_distortion, success_rate
from attack.goals import every_other
from attack.model import OUTPUTS
from data import load_mnist
from nn import LeNet
from scripts.measure import peers
from scripts.paper.experiment import UPSILON

# name of the library's attack, and the digits for it: it is slow
PEERS = {"art": ("ART SaliencyMapMethod", 100), "torchattacks": ("torchattacks JSMA", 20)}


def rules(count, with_peers=True):
    """Craft the first `count` test digits by every rule.

    Yields:
        Ours: {"rule", "of", "samples", "success", "distortion", "ms", "differs"}; a library's own
        code: the same and {"library", "identical"} (or "missing"); in percent but for "ms" and the
        numbers of samples.
    """
    network = LeNet.pretrained()
    images, labels = load_mnist("test")
    index, targets = every_other(labels[:count], network.classes)
    paper = None  # the first pairs by the paper's rule, the first in the list
    for name, rule in RULES.items():
        for of in OUTPUTS:
            start = time.perf_counter()
            crafted = _crafted(network, images, index, targets, count, name, of)
            row = _row(name, of, crafted.success, crafted.distortion, time.perf_counter() - start)
            pairs = np.sort(crafted.pairs[:, 0])
            paper = pairs if paper is None else paper
            comparable = not rule.untargeted and rule.size == 2
            row["differs"] = int((pairs != paper).any(axis=1).sum()) if comparable else None
            yield row
            if with_peers and of == "logits" and name in PEERS:
                yield _library(name, network, images[index], targets, crafted)


def _crafted(network, images, index, targets, count, name, of):
    """The samples crafted by one rule; a rule without targets takes each digit once."""
    options = {"rule": name, "of": of, "max_distortion": UPSILON, "derivative": "backward"}
    if RULES[name].untargeted:
        return craft(network, images[:count], goal="misclassification", **options)
    return craft(network, images[index], targets, **options)


def table(rows):
    """The rows as Markdown."""
    yield ("| rule | derivative of | samples | τ | ε of the successes | ms a sample "
           "| first pair is another | as the library |")
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        if "library" in row:
            yield _line_of_library(row)
            continue
        differs = "–" if row["differs"] is None else f"{row['differs']} of {row['samples']}"
        yield f"| {row['rule']} | {row['of']} | {_numbers(row)} | {differs} | |"


def _line_of_library(row):
    if "missing" in row:
        numbers = "– | – | – | –"
        alike = f"not installed: {row['missing']}"
    else:
        numbers = _numbers(row)
        alike = f"{row['identical']:.1f} % of {row['samples']} alike"
    return f"| {row['library']} itself | logits | {numbers} | – | {alike} |"


def _numbers(row):
    return (f"{row['samples']} | {row['success']:.2f} % | {row['distortion']:.2f} % | "
            f"{row['ms']:.1f}")


def _row(rule, of, success, distortion, seconds):
    return {"rule": rule, "of": of, "samples": len(success), "success": success_rate(success),
            "distortion": mean_distortion(distortion, success), "ms": 1e3 * seconds / len(success)}


def _library(name, network, images, targets, ours):
    """The library's own code on the first samples, beside what our rule made of them.

    Args:
        name: of the rule.
        network: our network.
        images, targets: (n, 28, 28) and (n,), all samples.
        ours: the `Crafted` by our rule.
    """
    library, digits = PEERS[name]
    count = 9 * digits
    images = images[:count]
    targets = targets[:count]
    try:
        if name == "art":
            action = peers.art(network, images, targets, UPSILON, 32)
        else:
            action = peers.torchattacks(network, images, targets, UPSILON)
    except ImportError as error:
        return {"library": library, "missing": str(error)}
    start = time.perf_counter()
    adversarial = np.asarray(action()).reshape(images.shape)
    seconds = time.perf_counter() - start
    success = network.predict(adversarial) == targets
    changed = (adversarial != images).reshape(len(images), -1)
    alike = (adversarial == ours.adversarial[:count]).reshape(len(images), -1).all(axis=1)
    return {**_row(name, "logits", success, 100 * changed.mean(axis=1), seconds),
            "library": library, "identical": 100 * float(alike.mean())}
