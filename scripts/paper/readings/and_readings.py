"""Which reading of the paper gives the numbers of its AND network?

Each `AndReading` trains networks from several seeds (`and_training`). In: a `Setup`. Out: an
`Outcome`: for each reading, over the seeds, F(1, 0.37) and F(1, 0.43), the edge, which is the x2
with F(1, x2) = 0.5, and the width, which is how far x2 is from F = 0.11 to 0.95.
"""
import numpy as np

from nn import AndNetwork
from scripts.paper import toy
from scripts.paper.outcome import Claim, Outcome, counted, plain, verdict
from scripts.paper.readings.and_training import AndReading, forward, trained_together

SEEDS = 20
FEW = 10        # seeds at the small scale
MOST = 0.5      # of the seeds: what more of them give is what the reading gives
WIDTH = 0.06    # of the paper's flip
EDGE = 0.395    # the paper's x2 with F(1, x2) = 0.5, if the logit is linear between its two points
READINGS = (
    AndReading(), AndReading(loss="squared"), AndReading(batch=10), AndReading(start="tutorial"),
    AndReading(shuffled=False), AndReading(momentum=0.9), AndReading("square"),
    *(AndReading(samples, momentum=momentum) for samples in ("corners", "noise", "close")
      for momentum in (0.0, 0.9)))


def and_readings(setup):
    """Every reading, `SEEDS` networks each."""
    seeds = range(setup.sized(SEEDS, FEW))
    together = {}  # networks that are trained at once, by the batch size
    for reading in READINGS:
        together.setdefault(reading.batch, []).extend((reading, seed) for seed in seeds)
    parts = setup.each(measured, [(networks,) for networks in together.values()])
    of_network = {key: one for part in parts for key, one in part.items()}
    table = {reading: {name: np.array([of_network[reading, seed][name] for seed in seeds])
                       for name in of_network[reading, 0]} for reading in READINGS}
    numbers = [{**reading._asdict(), **{name: plain(values) for name, values in of.items()}}
               for reading, of in table.items()]
    return Outcome({"seeds": len(seeds), "readings": numbers}, list(_claims(table)),
                   table=_as_table(table))


def measured(networks, epochs=toy.EPOCHS):
    """Train networks [(reading, seed), …] of one batch size at once: {(reading, seed): {name:
    number}}; NaN for an x2 that there is not."""
    epochs_near = np.zeros(len(networks))
    for parameters in trained_together(networks, epochs):
        outputs = forward(parameters, toy.PAIR[:, :, None])[1][:, 0]  # (2, networks)
        near = (np.abs(outputs.T - toy.PAPER) < toy.NEAR).all(axis=1)
        epochs_near += near
    measures = {}
    for number, key in enumerate(networks):
        network = AndNetwork()
        network.load({name: array[..., number] for name, array in parameters.items()})
        low, edge, high = (toy.where(network, value) or np.nan
                           for value in (toy.PAPER[0], 0.5, toy.PAPER[1]))
        measures[key] = {
            "agreement": toy.agreement(network.probabilities(toy.POINTS).reshape(101, 101)),
            "at_0.37": outputs[0, number], "at_0.43": outputs[1, number], "edge": edge,
            "width": high - low, "near": near[number], "epochs_near": epochs_near[number]}
    return measures


def _claims(table):
    seeds = len(table[READINGS[0]]["near"])
    networks = seeds * len(table)
    near = {reading: of["near"] for reading, of in table.items()}
    ever = {reading: of["epochs_near"] > 0 for reading, of in table.items()}
    flips = {reading: of["width"] <= WIDTH for reading, of in table.items()}
    yield _given(
        Claim("a reading gives F(1, 0.37) and F(1, 0.43)", "0.11 and 0.95", "", "",
              f"within {toy.NEAR:g} of both; after {toy.EPOCHS} epochs {_some(near)} of {networks} "
              f"networks, after some epoch {_some(ever)}"), near)
    edges = _range(np.concatenate([of["edge"][flips[reading]] for reading, of in table.items()]))
    yield _given(
        Claim(f"a reading flips from {toy.PAPER[0]:g} to {toy.PAPER[1]:g} within {WIDTH:g} of x2",
              "yes", "", "", f"{_some(flips)} of {networks} networks, at an edge of {edges}; the "
              f"paper's would lie at {EDGE:g}"), flips)


def _given(claim, holds):
    """The `Claim` that some reading does what `holds` says, {reading: (seeds,) boolean}."""
    seeds = len(next(iter(holds.values())))
    giving = sum(does.sum() > MOST * seeds for does in holds.values())
    return counted(claim._replace(
        ours=f"{giving or 'none'} of {len(holds)} readings", verdict=verdict(giving > 0),
        why=f"a reading does where more than {MOST * seeds:g} of its {seeds} seeds do (our "
            f"threshold); {claim.why}"), seeds, "seeds")


def _some(holds):
    """How many networks, and of which readings."""
    by_reading = [f"{reading}: {int(does.sum())}" for reading, does in holds.items() if does.any()]
    number = sum(int(does.sum()) for does in holds.values())
    return f"{number} ({'; '.join(by_reading)})" if number else "none"


def _as_table(table):
    heads = ("reading", "learn AND", "F(1, 0.37)", "F(1, 0.43)", "edge", "width",
             "near the pair")
    rows = [(str(reading), _count(of["agreement"] > toy.LEARNT),
             *(_range(of[name]) for name in ("at_0.37", "at_0.43", "edge", "width")),
             f"{_count(of['near'])}; after some epoch {_count(of['epochs_near'] > 0)}")
            for reading, of in table.items()]
    return heads, rows


def _count(holds):
    return f"{int(holds.sum())} of {len(holds)}"


def _range(values):
    """The smallest and the largest; "never" where there are none."""
    values = values[~np.isnan(values)]
    return f"{values.min():.3f} to {values.max():.3f}" if len(values) else "never"
