"""What a person's own test prints when a check is not true: the whole report."""
import subprocess
import sys

import pytest

TEST = """
import numpy as np, nn
X = np.array([0.3, -0.2])
def wrong():
    return nn.check_jacobian(np.sin, lambda x: np.diag(-np.cos(x)), X)
def right():
    return nn.check_jacobian(np.sin, lambda x: np.diag(np.cos(x)), X)
def test_plain():
    assert wrong()
def test_message():
    report = wrong()
    assert report.verdict == "right", report
def test_raised():
    wrong().raise_if_wrong()
def test_right():
    assert right()
def test_not_of_a_check():
    assert right() and 1 == 2
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    file = tmp_path_factory.mktemp("own") / "test_own.py"
    file.write_text(TEST)
    conftest = 'pytest_plugins = ["nn.verify.pytest_plugin"]\n'
    (file.parent / "conftest.py").write_text(conftest, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null",
               str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("name", ["test_plain", "test_message", "test_raised"])
def test_the_report_is_printed_whole(printed, name):
    part = printed.split(f" {name} _")[1].split("\n_____")[0]
    assert "wrong: the Jacobian: the sign is wrong" in part
    assert "worst entry: output 1, feature 1" in part or "worst entry: output 0" in part
    assert "looked at" in part and "FunctionReport(" not in part


def test_other_failures_print_no_report(printed):
    assert "2 passed" not in printed and "4 failed, 1 passed" in printed
    assert "the check" not in printed.split(" test_not_of_a_check _")[1]
