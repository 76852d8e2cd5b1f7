"""Before the trust tests: what imports more of itself when it is first used; after them: what was
tried how often, and what happened.
"""
import io

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def warm():
    """matplotlib and Pillow run code of theirs at their first picture: before the judge looks."""
    from matplotlib.image import imread

    from scripts.paper.figures import craft_grid, png

    images = np.zeros((1, 28, 28))
    picture = png(craft_grid(images, images, [0], [0], [1], [1], np.array([True]), 1))
    assert imread(io.BytesIO(picture), format="png").ndim == 3


def pytest_terminal_summary(terminalreporter):
    """One table of everything that was tried: inputs that were fuzzed, faults, numbers, load."""
    from fuzz import TALLY

    if not TALLY:
        return
    terminalreporter.section("what was tried, and what happened")
    outcomes = ("right", "refused", "failures")
    rows = [(what, *(outcome_counts[name] for name in outcomes))
            for what, outcome_counts in TALLY.items()]
    rows.append(("all", *map(sum, zip(*(row[1:] for row in rows)))))
    columns = ("tried", "times", "as it should be", "one-line refusals", "anything else")
    terminalreporter.write_line(f"| {' | '.join(columns)} |")
    terminalreporter.write_line("|---|---|---|---|---|")
    for what, *numbers in rows:
        shown = " | ".join(f"{number:,}" for number in (sum(numbers), *numbers))
        terminalreporter.write_line(f"| {what} | {shown} |")
