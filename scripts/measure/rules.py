"""What each deviation from the paper costs: `jsma bench --rules` crafts the same digits by every rule (`attack.variants`) on
the same network.

In: how many digits, each driven to its nine other classes. Out: a line a rule and kind of outputs: success rate τ, mean
distortion ε of the successes, time, and for how many samples the first pair is not the paper's; below a rule its own
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

PEERS = {"art": ("ART SaliencyMapMethod", 100), "torchattacks": ("torchattacks JSMA", 20)}  # name and digits: it is slow


def rules(count, with_peers=True):
    """Yields {"rule", "of", "samples", "success", "distortion", "ms", "differs", …}: ours, and {"library", "identical"}
    (or "missing") for a library's own code, in percent but for "ms" and the numbers of samples."""
    network, (images, labels) = LeNet.pretrained(), load_mnist("test")
    index, targets = every_other(labels[:count], network.classes)
    first = None
    for name, rule in RULES.items():
        for of in OUTPUTS:
            chosen = np.arange(count) if rule.untargeted else index
            words = {"goal": "misclassification"} if rule.untargeted else {"targets": targets}
            begun = time.perf_counter()
            crafted = craft(network, images[chosen], **words, rule=name, of=of, max_distortion=UPSILON,
                            derivative="backward")
            row = _row(name, of, crafted.success, crafted.distortion, time.perf_counter() - begun)
            first = crafted.pairs[:, 0] if first is None else first
            comparable = not rule.untargeted and rule.size == 2
            row["differs"] = int((np.sort(crafted.pairs[:, 0]) != np.sort(first)).any(axis=1).sum()) if comparable else None
            yield row
            if with_peers and of == "logits" and name in PEERS:
                yield _library(name, network, images[index], targets, crafted)


def table(rows):
    """The rows as Markdown."""
    yield ("| rule | derivative of | samples | τ | ε of the successes | ms a sample | first pair is another "
           "| as the library |")
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        if "library" in row:
            said = (f"not installed: {row['missing']}" if "missing" in row else
                    f"{row['identical']:.1f} % of {row['samples']} alike")
            numbers = _numbers(row) if "success" in row else "– | – | – | –"
            yield f"| {row['library']} itself | logits | {numbers} | – | {said} |"
            continue
        differs = "–" if row["differs"] is None else f"{row['differs']} of {row['samples']}"
        yield f"| {row['rule']} | {row['of']} | {_numbers(row)} | {differs} | |"


def _numbers(row):
    return f"{row['samples']} | {row['success']:.2f} % | {row['distortion']:.2f} % | {row['ms']:.1f}"


def _row(rule, of, success, distortion, seconds):
    return {"rule": rule, "of": of, "samples": len(success), "success": success_rate(success),
            "distortion": mean_distortion(distortion, success), "ms": 1e3 * seconds / len(success)}


def _library(name, network, images, targets, ours):
    """The library's own code on the first samples, beside what our rule made of them."""
    library, digits = PEERS[name]
    some = slice(0, 9 * digits)
    images, targets = images[some], targets[some]
    try:
        action = (peers.art(network, images, targets, UPSILON, 32) if name == "art" else
                  peers.torchattacks(network, images, targets, UPSILON))
    except ImportError as error:
        return {"library": library, "missing": str(error)}
    begun = time.perf_counter()
    found = np.asarray(action()).reshape(images.shape)
    seconds = time.perf_counter() - begun
    success, changed = network.predict(found) == targets, (found != images).reshape(len(images), -1)
    alike = (found == ours.adversarial[some]).reshape(len(images), -1).all(axis=1)
    return {**_row(name, "logits", success, 100 * changed.mean(axis=1), seconds), "library": library,
            "identical": 100 * float(alike.mean())}
