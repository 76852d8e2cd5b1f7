"""The threat model (Fig. 2): every goal by every capability, and an output vector as target (VI).

In: a `Setup`, whose network is the victim. Out: an `Outcome` each. The victim judges all samples,
whoever made them: with its weights (training data and architecture add nothing to these), on a
surrogate of another architecture trained on the training data, by its answers alone
(`attack.Oracle`), or on a surrogate fitted to a few of its answers.
"""
from typing import NamedTuple

import numpy as np

from attack import Oracle, craft, craft_output, mean_distortion, success_interval, success_rate
from attack.goals import GOALS, every_other, reached
from data import load_mnist
from nn import Flatten, Linear, Network, Sigmoid, Softmax, Tanh
from nn.training import accuracy, pixel_cross_entropy
from scripts.paper.experiment import UPSILON
from scripts.paper.fitting import fitted
from scripts.paper.intervals import below, with_interval
from scripts.paper.outcome import Claim, Outcome, narrow, too_few, verdict

CAPABILITIES = ("weights", "training data", "oracle", "samples")
CONFIDENCE = 0.5
FEW = 5  # digits for each goal and capability at the small scale
RATE = {"lr": 0.1, "momentum": 0.9, "batch": 50}  # of the surrogates


class Adversary(NamedTuple):
    """The model that is attacked, by which derivative, and what there is to say of a surrogate."""
    model: object
    derivative: str
    note: str = ""


def threat_model(setup):
    """Fig. 2: success and distortion by goal and capability, judged by the victim."""
    images, labels = setup.load("test", setup.sized(100, setup.few(FEW)))
    adversaries = _adversaries(setup)
    wanted = [(goal, capability) for capability in adversaries for goal in GOALS
              if capability != "oracle" or goal == "targeted" or setup.full]
    wanted.sort(key=lambda one: one[1] != "oracle")  # tens of thousands of queries a sample
    results = _attacks(setup, adversaries, wanted, images, labels)
    numbers = {f"{goal} | {capability}": result for (goal, capability), result in results.items()}
    numbers["samples"] = results["source/target", "weights"]["samples"]
    numbers["surrogates"] = {capability: adversary.note
                             for capability, adversary in adversaries.items()
                             if adversary.note}
    return Outcome(numbers, list(_claims(results, numbers["surrogates"])), table=_table(results))


def _claims(results, notes):
    for goal in GOALS:
        best = results[goal, "weights"]
        others = [results[goal, capability] for capability in CAPABILITIES[1:]
                  if (goal, capability) in results]
        yield _no_better(f"{goal}: no weaker adversary does better than the one with the weights",
                         best, others)
    for capability in ("training data", "samples"):
        result = results["source/target", capability]
        yield Claim(f"transfer from a surrogate ({capability}) to the victim, source/target",
                    "no value", with_interval(result["success"], result["interval"]), "–",
                    notes[capability])
    yield Claim("queries of the oracle adversary for one sample", "no value",
                f"{results['targeted', 'oracle']['queries']:,.0f}", "–",
                "targeted, from an empty image; 1 an answer, 2·784 a derivative")


def _no_better(claim, best, others):
    """The `Claim` that no other does better; where the intervals overlap, both must be narrow."""
    known = [below(other["interval"], best["interval"]) for other in others]
    row = Claim(claim, "yes", with_interval(best["success"], best["interval"]),
                verdict(False not in known))
    overlapping = [other for other, lower in zip(others, known) if lower is None]
    unsure = [one for one in (best, *overlapping) if not narrow(one["interval"])]
    if False not in known and overlapping and unsure:
        return too_few(row, "the intervals overlap and are too wide to tell")
    return row


def _table(results):
    rows = []
    for goal, capability in sorted(results, key=lambda key: GOALS.index(key[0])):
        result = results[goal, capability]
        rows.append((goal, capability, f"{result['samples']:,}",
                     with_interval(result["success"], result["interval"]),
                     "–" if np.isnan(result["distortion"]) else f"{result['distortion']:.2f} %"))
    return ("goal", "adversary knows", "samples", "success", "distortion of the successes"), rows


def _adversaries(setup):
    """{capability: Adversary}, with the surrogates trained."""
    victim = setup.network
    surrogate = setup.away(_surrogate, setup.directory, setup.sized(10, 1))
    seen, _ = setup.load("validation", setup.sized(1000, 300))
    copy = setup.away(fitted, _perceptron(), seen, victim.predict(seen),
                      epochs=setup.sized(60, 30), **RATE)
    test = setup.load("test", 1000)

    def note(model, more=""):
        right = accuracy(model, *test)
        return f"a 784-200-10 network, right on {right:.1f} % of 1,000 test digits{more}"

    return {"weights": Adversary(victim, setup.derivative),
            "training data": Adversary(surrogate, setup.derivative, note(surrogate)),
            "oracle": Adversary(Oracle(victim.probabilities), "forward"),
            "samples": Adversary(copy, setup.derivative,
                                 note(copy, f", fitted to {len(seen):,} answers"))}


def _attacks(setup, adversaries, wanted, images, labels):
    """Craft on each adversary's model, judge by the victim.

    Args:
        setup: whose network is the victim.
        adversaries: {capability: `Adversary`}.
        wanted: pairs of a goal and a capability.
        images, labels: (n, 28, 28) and (n,), the digits to start from.

    Returns:
        {(goal, capability): numbers}.
    """
    starts = []
    calls = []
    for goal, capability in wanted:
        adversary = adversaries[capability]
        count = setup.sized(3, 1) if capability == "oracle" else None
        before, index, targets = _started(setup, capability, goal, images[:count], labels[:count])
        starts.append((before[index], index))
        calls.append((adversary.model, before[index], targets, goal, adversary.derivative))
    made = setup.each(_crafted_and_counted, calls, max_distortion=UPSILON, confidence=CONFIDENCE,
                      of=setup.of, rule=setup.rule)
    return {one: _judged(setup.network, one[0], *start, *crafted)
            for one, start, crafted in zip(wanted, starts, made)}


def _judged(victim, goal, images, index, crafted, queries):
    """The numbers of one goal and capability: images (n, 28, 28) before, the digit of each."""
    success = reached(goal, victim.logits(crafted.adversarial), victim.predict(images),
                      crafted.target, CONFIDENCE)
    return {"samples": len(index), "success": success_rate(success),
            "interval": success_interval(success, index),
            "distortion": mean_distortion(crafted.distortion, success),
            "on_its_own_model": success_rate(crafted.success), "queries": queries / len(index)}


def _crafted_and_counted(model, images, targets, goal, derivative, **options):
    """What `craft` returns, and how many queries the model has answered for it."""
    before = getattr(model, "queries", 0)
    crafted = craft(model, images, targets, goal=goal, derivative=derivative, **options)
    return crafted, getattr(model, "queries", 0) - before


def _started(setup, capability, goal, images, labels):
    """Where a goal's samples start: images, the image of each sample, and its target or None."""
    few = capability == "oracle" and not setup.full
    if goal == "targeted":
        targets = np.array([8]) if few else np.arange(10)
        return np.zeros((len(targets), 28, 28), np.float32), np.arange(len(targets)), targets
    if goal != "source/target":
        return images, np.arange(len(images)), None
    index, targets = every_other(labels, setup.network.classes)
    if capability == "oracle":
        index = index[::9]
        targets = targets[::9]
    return images, index, targets


def beyond(setup):
    """VI: Algorithm 1 for an output vector: an autoencoder is to give another digit's output."""
    coder = _autoencoder(setup)
    digits = setup.one_of_each[:5]
    outputs_before = coder.probabilities(digits)  # (5, 784)
    wanted = coder.probabilities(setup.one_of_each[5:])
    apart = np.linalg.norm(outputs_before - wanted, axis=1)
    result = setup.away(craft_output, coder, digits, wanted, apart / 2, max_distortion=UPSILON)
    outputs = coder.probabilities(result.adversarial)
    numbers = {"started": result.started.tolist(), "distance": result.distance.tolist(),
               "success": result.success.tolist(), "distortion": result.distortion.tolist(),
               "reason": result.reason.tolist()}
    claim = Claim("Algorithm 1 reaches an output vector when equality becomes a distance",
                  "suggested",
                  f"{int(result.success.sum())} of {len(digits)} come within half the distance",
                  "–", f"{result.distortion.mean():.1f} % of the pixels; mean distance "
                       f"{result.started.mean():.2f} → {result.distance.mean():.2f}")
    rows = (digits, outputs_before, result.adversarial, outputs, wanted)
    return Outcome(numbers, [claim],
                   {"images": np.stack([row.reshape(-1, 28, 28) for row in rows])})


def _autoencoder(setup):
    images, _ = setup.load("train", setup.sized(50_000, 2000))
    coder = Network({"flatten": Flatten(), "code": Linear(784, 32, rng=np.random.default_rng(0)),
                     "tanh": Tanh(), "out": Linear(32, 784, rng=np.random.default_rng(1)),
                     "sigmoid": Sigmoid()}, (28, 28))
    return setup.away(fitted, coder, images, images.reshape(len(images), -1),
                      epochs=setup.sized(20, 12), **{**RATE, "lr": 0.005},
                      loss=pixel_cross_entropy)


def _surrogate(directory, epochs):
    """A network that was trained on the training data."""
    images, labels = load_mnist("train", directory)
    return fitted(_perceptron(), images[:50_000], labels[:50_000], epochs=epochs, **RATE)


def _perceptron():
    rng = np.random.default_rng(2)
    return Network({"flatten": Flatten(), "fc1": Linear(784, 200, rng=rng), "tanh": Tanh(),
                    "fc2": Linear(200, 10, rng=rng), "softmax": Softmax()}, (28, 28))
