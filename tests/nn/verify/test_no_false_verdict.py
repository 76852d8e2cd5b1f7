"""No false verdict: `check_jacobian` on random functions with right Jacobians, at any size of input
and near kinks, is never "wrong"; with one entry off by a percent, a sign or a factor it is never
"right"."""
import numpy as np
import pytest
from random_functions import random_function, undefined_nearby

from nn import check_jacobian

MISTAKES = ("one percent", "sign", "factor", "zero")


def right_code(seed):
    rng = np.random.default_rng((7, seed))
    f, jacobian, x, _ = random_function(rng)
    if rng.random() < 0.2:
        f = undefined_nearby(f, x, rng)
    return f, jacobian, x


def wrong_code(seed):
    """The same with one wrong entry, of those that are not lost in rounding; None without such."""
    rng = np.random.default_rng((8, seed))
    f, jacobian, x, single = random_function(rng)
    jacobian = jacobian.astype(float)
    of_largest, of_value = (1e-2, 1e-3) if single else (1e-7, 1e-11)
    lost = max(of_largest * np.abs(jacobian).max(), of_value * np.abs(f(x)).max())
    seen = np.argwhere(np.abs(jacobian) > lost)
    if not np.isfinite(jacobian).all() or not len(seen):
        return None
    j, i = seen[rng.integers(len(seen))]
    mistake = MISTAKES[seed % len(MISTAKES)]
    jacobian[j, i] *= {"one percent": 1.01, "sign": -1, "factor": 2, "zero": 0}[mistake]
    if rng.random() < 0.2:
        f = undefined_nearby(f, x, rng)
    return f, jacobian, x


def verdicts(code, seeds):
    """{verdict: seeds}; "at kinks" where it is right but for entries at a kink, between the slopes
    of the two sides: there is no derivative to be wrong about."""
    said = {}
    for seed in seeds:
        made = code(seed)
        if made is not None and np.isfinite(made[1]).all():
            report = check_jacobian(*made)
            at_kinks = report.verdict == "right" and code is wrong_code and report.rows[0].at_kinks
            said.setdefault("at kinks" if at_kinks else report.verdict, []).append(seed)
    return said


def test_right_code_is_never_wrong():
    said = verdicts(right_code, range(30))
    assert "wrong" not in said and "referees disagree" not in said
    assert len(said["right"]) > 20


def test_wrong_code_is_never_right():
    said = verdicts(wrong_code, range(30))
    assert "right" not in said and len(said["wrong"]) > 17
    assert len(said.get("at kinks", [])) < 4


@pytest.mark.slow
def test_two_thousand_of_each():
    right, wrong = verdicts(right_code, range(2000)), verdicts(wrong_code, range(2000))
    assert set(right) <= {"right", "not judged"} and len(right["right"]) > 1500
    assert set(wrong) <= {"wrong", "not judged", "at kinks"} and len(wrong["wrong"]) > 1200
