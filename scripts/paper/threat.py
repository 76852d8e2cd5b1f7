"""The threat model (Fig. 2) as experiments: every goal by every capability, and an output vector as target (VI).

In: a `Setup`, whose network is the victim. Out: an `Outcome` each. The victim judges all samples, whoever made them: with
its weights (training data and architecture add nothing to these), on a surrogate of another architecture trained on the
training data, by its answers alone (`attack.Oracle`), or on a surrogate fitted to a few of its answers.
"""
import numpy as np

from attack import Oracle, craft_output, mean_distortion, success_interval, success_rate
from attack.goals import GOALS, reached
from nn import Flatten, Linear, Network, Sigmoid, Softmax, Tanh
from nn.training import accuracy, pixel_cross_entropy
from scripts.craft import pair_up
from scripts.paper.experiment import UPSILON, Outcome, Row, fitted, spread, verdict

CAPABILITIES = ("weights", "training data", "oracle", "samples")
CONFIDENCE = 0.5
RATE = {"lr": 0.1, "momentum": 0.9, "batch": 50}  # of the surrogates


def threat_model(setup):
    """Fig. 2: success and distortion by goal and capability, judged by the victim."""
    images, labels = setup.load("test", setup.sized(100, 2))
    models, notes = _adversaries(setup)
    found, rows = {}, []
    for capability, (model, derivative) in models.items():
        for goal in GOALS:
            chosen = slice(setup.sized(3, 1)) if capability == "oracle" else slice(None)
            if capability == "oracle" and goal != "targeted" and not setup.full:
                continue  # tens of thousands of queries a sample
            found[goal, capability] = _attack(setup, model, derivative, goal, images[chosen], labels[chosen], capability)
    best = {goal: found[goal, "weights"] for goal in GOALS}
    for goal in GOALS:
        others = [found[goal, name] for name in CAPABILITIES[1:] if (goal, name) in found]
        upper = all(other["interval"][0] <= best[goal]["interval"][1] for other in others)
        rows.append(Row(f"{goal}: no weaker adversary does better than the one with the weights", "yes",
                        spread(best[goal]["success"], best[goal]["interval"]), verdict(upper)))
    for name in ("training data", "samples"):
        one = found["source/target", name]
        rows.append(Row(f"transfer from a surrogate ({name}) to the victim, source/target", "no value",
                        spread(one["success"], one["interval"]), "–", notes[name]))
    rows.append(Row("queries of the oracle adversary for one sample", "no value",
                    f"{found['targeted', 'oracle']['queries']:,.0f}", "–",
                    "targeted, from an empty image; 1 an answer, 2·784 a derivative"))
    table = [(goal, name, f"{one['samples']:,}", spread(one["success"], one["interval"]),
              "–" if np.isnan(one["distortion"]) else f"{one['distortion']:.2f} %")
             for (goal, name), one in sorted(found.items(), key=lambda item: GOALS.index(item[0][0]))]
    return Outcome({f"{goal} | {name}": one for (goal, name), one in found.items()} | {"surrogates": notes}, rows,
                   table=(("goal", "adversary knows", "samples", "success", "distortion of the successes"), table))


def _adversaries(setup):
    """{capability: (model to attack, derivative)}, and what is known of the surrogates."""
    victim = setup.network
    train, labels = setup.load("train", 50_000)
    surrogate = fitted(_perceptron(), train, labels, "surrogate from the training data", epochs=setup.sized(10, 1), **RATE)
    seen = setup.load("validation", setup.sized(1000, 300))[0]
    copy = fitted(_perceptron(), seen, victim.predict(seen), "surrogate from samples", epochs=setup.sized(60, 30), **RATE)
    test = setup.load("test", 1000)
    notes = {name: f"a 784-200-10 network, right on {accuracy(model, *test):.1f} % of 1,000 test digits{more}"
             for name, model, more in (("training data", surrogate, ""),
                                       ("samples", copy, f", fitted to {len(seen):,} answers"))}
    return {"weights": (victim, setup.derivative), "training data": (surrogate, setup.derivative),
            "oracle": (Oracle(victim.probabilities), "forward"), "samples": (copy, setup.derivative)}, notes


def _attack(setup, model, derivative, goal, images, labels, capability):
    """Craft on `model`, judge by the victim."""
    index, targets = np.arange(len(images)), None
    if goal == "targeted":
        images, index, targets = np.zeros((10, 28, 28), np.float32), np.arange(10), np.arange(10)
        if capability == "oracle" and not setup.full:
            images, index, targets = images[:1], index[:1], targets[8:9]
    elif goal == "source/target":
        index, targets = pair_up(index, labels, "all")
        if capability == "oracle":
            index, targets = index[::9], targets[::9]
    before = getattr(model, "queries", 0)
    crafted = setup.craft(images[index], targets, f"{goal}, {capability}", model, goal=goal, max_distortion=UPSILON,
                          derivative=derivative, confidence=CONFIDENCE)
    sources = setup.network.predict(images[index])
    success = reached(goal, setup.network.logits(crafted.adversarial), sources, crafted.target, CONFIDENCE)
    return {"samples": len(index), "success": success_rate(success), "interval": success_interval(success, index),
            "distortion": mean_distortion(crafted.distortion, success), "on_its_own_model": success_rate(crafted.success),
            "queries": (getattr(model, "queries", 0) - before) / len(index)}


def beyond(setup):
    """VI: Algorithm 1 for an output vector: an autoencoder is made to give out another digit's reconstruction."""
    images, _ = setup.load("train", setup.sized(50_000, 2000))
    coder = Network({"flatten": Flatten(), "code": Linear(784, 32, rng=np.random.default_rng(0)), "tanh": Tanh(),
                     "out": Linear(32, 784, rng=np.random.default_rng(1)), "sigmoid": Sigmoid()}, (28, 28))
    fitted(coder, images, images.reshape(len(images), -1), "autoencoder", epochs=setup.sized(20, 12),
           **{**RATE, "lr": 0.005}, loss=pixel_cross_entropy)
    digits = setup.one_of_each[:5]
    wanted = coder.probabilities(setup.one_of_each[5:])
    apart = np.linalg.norm(coder.probabilities(digits) - wanted, axis=1)
    found = craft_output(coder, digits, wanted, apart / 2, max_distortion=UPSILON)
    outputs = coder.probabilities(found.adversarial).reshape(-1, 28, 28)
    done = int(found.success.sum())
    return Outcome(
        {"started": found.started.tolist(), "distance": found.distance.tolist(), "success": found.success.tolist(),
         "distortion": found.distortion.tolist(), "reason": found.reason.tolist()},
        [Row("Algorithm 1 reaches an output vector when equality becomes a distance", "suggested",
             f"{done} of {len(digits)} come within half the distance", "–",
             f"{found.distortion.mean():.1f} % of the pixels; mean distance {found.started.mean():.2f} → "
             f"{found.distance.mean():.2f}")],
        {"images": np.stack([digits, coder.probabilities(digits).reshape(-1, 28, 28), found.adversarial, outputs,
                             wanted.reshape(-1, 28, 28)])})


def _perceptron():
    rng = np.random.default_rng(2)
    return Network({"flatten": Flatten(), "fc1": Linear(784, 200, rng=rng), "tanh": Tanh(),
                    "fc2": Linear(200, 10, rng=rng), "softmax": Softmax()}, (28, 28))
