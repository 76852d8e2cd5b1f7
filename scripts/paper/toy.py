"""The toy network of Fig. 3 to 5: AND of two inputs, its forward derivative, how sharply it flips.

In: a `Setup`. Out: an `Outcome`. Labels are those of the inputs rounded to 0 or 1; 1,000 samples of
each of the four cases, uniform in their quadrant, learning rate 0.0663, 100 epochs, one sample at a
time (the paper gives no batch size). At the small scale the shipped weights are used; `--scale
full` trains them anew (FOLDER/and.npz).
"""
import numpy as np

from nn import AndNetwork, save_weights
from scripts.paper.fitting import fitted
from scripts.paper.outcome import Claim, Outcome, verdict

GRID = np.linspace(0, 1, 101)
POINTS = np.stack(np.meshgrid(GRID, GRID, indexing="ij"), axis=-1).reshape(-1, 2)
PAIR = np.array([[1, 0.37], [1, 0.43]])
PAPER = (0.11, 0.95)  # F of the pair
CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
EPOCHS = 100
RATE = 0.0663
LEARNT = 0.95  # of the unit square that must be read right
NEAR = 0.05    # of the paper's outputs


def fig03(setup):
    """Fig. 3 to 5: the surface F(x1, x2), ∂F/∂x2, and the paper's pair (1, 0.37) → (1, 0.43)."""
    network = setup.away(trained) if setup.full else AndNetwork.pretrained()
    if setup.full:
        save_weights(setup.folder / "and.npz", network)
    surface = network.probabilities(POINTS).reshape(101, 101)
    jacobian = network.forward_derivative(POINTS, of="probabilities")  # (101², 1, 2)
    slope = jacobian[:, 0, 1].reshape(101, 101)  # ∂F/∂x2
    share = agreement(surface)
    values = network.probabilities(PAIR)[:, 0].tolist()
    low, high = (where(network, value) for value in PAPER)
    steepest = int(slope[-1].argmax())
    numbers = {"parameters": {name: array.tolist() for name, array in network.parameters().items()},
               "agreement_with_and": share, "at_0.37_and_0.43": values,
               "steepest": float(slope[-1, steepest]), "steepest_at": float(GRID[steepest]),
               "from_0.11_to_0.95": [low, high]}
    arrays = {"x": GRID, "surface": surface, "slope": slope,
              "low": np.array(low or np.nan), "high": np.array(high or np.nan)}
    return Outcome(numbers, list(_claims(numbers)), arrays)


def _claims(numbers):
    share = numbers["agreement_with_and"]
    first, second = numbers["at_0.37_and_0.43"]
    low, high = numbers["from_0.11_to_0.95"]
    yield Claim("the network learns AND", "yes", f"right on {100 * share:.1f} % of the unit square",
                verdict(share > LEARNT), f"from {100 * LEARNT:g} % on (our threshold)")
    yield Claim("F(1, 0.37) and F(1, 0.43)", "0.11 and 0.95", f"{first:.3f} and {second:.3f}",
                verdict(abs(first - 0.11) < NEAR and abs(second - 0.95) < NEAR),
                f"within {NEAR:g} of both (our threshold); "
                f"our edge lies at x2 = {numbers['steepest_at']:.2f}, where ∂F/∂x2 is largest: "
                f"{numbers['steepest']:.1f}")
    width = None if low is None or high is None else high - low
    yield Claim("a change of 0.06 in x2 flips the output from 0.11 to 0.95", "0.06",
                "never" if width is None
                else f"{width:.3f}, from (1, {low:.3f}) to (1, {high:.3f})",
                verdict(width is not None and width <= 0.06))


def trained(seed=0, epochs=EPOCHS):
    """The AND network, trained in float64 as the paper says."""
    x, labels = samples(seed)
    network = AndNetwork(seed)
    network.load({name: array.astype(np.float64) for name, array in network.parameters().items()})
    return fitted(network, x, labels, epochs=epochs, lr=RATE, batch=1, seed=seed)


def samples(seed=0):
    """1,000 samples of each case, uniform in its quadrant: (4000, 2), and their labels."""
    rng = np.random.default_rng(seed)
    x = (CORNERS[:, None] + rng.random((4, 1000, 2))).reshape(-1, 2) / 2
    return x, np.repeat(CORNERS.all(axis=1).astype(int), 1000)


def agreement(surface):
    """The share of the unit square, F at `POINTS` (101, 101), that is read as AND."""
    return float(np.mean((surface > 0.5) == ((GRID[:, None] > 0.5) & (GRID > 0.5))))


def where(network, value):
    """The x2 with F(1, x2) = value, or None."""
    def above(x2):
        return float(network.probabilities(np.array([[1.0, x2]]))[0, 0]) - value
    if not above(0) < 0 < above(1):
        return None
    low, high = 0.0, 1.0
    for _ in range(50):  # F rises: halve the stretch that holds the place
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) < 0 else (low, middle)
    return middle
