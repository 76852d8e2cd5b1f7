"""Our checks on handwritten code, right and wrong: no false alarm, everything caught, the parameter
named; and the words of the table."""
import numpy as np
import pytest

from scripts.measure import own_code
from scripts.measure.handwritten import CASES, RIGHT, WRONG


def some(cases, part=10):
    return cases[::part]


def held(rows):
    right, wrong = ([row for row in rows if row.right == of] for of in (True, False))
    assert [row.what for row in right if row.cells["ours"].said == "false alarm"] == []
    assert [row.what for row in wrong if row.cells["ours"].said != "caught"] == []
    assert [row.what for row in wrong if not row.parameter] == []
    not_judged = [row.what for row in right if row.cells["ours"].said == "not judged"]
    assert not_judged in ([], ["black image without a bias"])
    return wrong


def test_a_tenth_of_the_handwritten_code():
    wrong = held(own_code.table([*some(RIGHT), *some(WRONG)], with_others=False))
    assert sum(row.cause for row in wrong) >= 0.6 * len(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_all_handwritten_code(seed):
    wrong = held(own_code.table(CASES, with_others=False, seed=seed))
    assert sum(row.cause for row in wrong) >= 0.8 * len(wrong)


def test_other_checkers_get_the_same_function_flat():
    from nn.verify.functions.gradients import gradients_at
    W, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, -0.5])
    point, claims = gradients_at(lambda p: float((p["W"] * p["b"]).sum()), {"W": W, "b": b},
                                 {"W": np.tile(b, (2, 1)), "b": W.sum(axis=0)})
    claim = own_code.flat_claim(point, claims)
    assert claim.point.tolist() == [1, 2, 3, 4, 0.5, -0.5]
    assert claim.function(claim.point)[0] == (W * b).sum()
    assert claim.jacobian(claim.point).tolist() == [[0.5, -0.5, 0.5, -0.5, 4, 6]]
    assert own_code.scipy_check_grad(claim)
    wrong = claim._replace(jacobian=lambda x: 1.001 * claim.jacobian(x))
    assert not own_code.scipy_check_grad(wrong)
    assert own_code.flat_claim(point, {**claims, "b": np.ones(3)}) is None


def test_the_words_of_the_table():
    rows = own_code.table([RIGHT[0], WRONG[0]], with_others=False)
    text = own_code.text(rows)
    assert "right code passed" in text and "1 of 1" in text and "cause named" in text
