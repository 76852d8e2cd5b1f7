"""Reports in a person's own tests: `assert nn.check_gradients(…)` prints the whole report.

In: a test that failed in an `assert`. Out: the report that was not true, below its traceback.
To be named in a person's `conftest.py`: `pytest_plugins = ["nn.verify.pytest_plugin"]`. Read on in
`verify.report`.
"""
import sys


def pytest_runtest_setup():
    """Forgets the report of the test before."""
    if _reports():
        _reports().refused = None


def pytest_exception_interact(call, report):
    """Adds the last report that was not true in this test, or that was to be printed."""
    refused = _reports() and _reports().refused
    if refused is None or not call.excinfo.errisinstance(AssertionError):
        return
    if str(refused) not in str(call.excinfo.value):
        report.sections.append(("the check", str(refused)))


def _reports():
    """`answer.CheckReport`, None where no check was imported: nothing is imported for that."""
    answer = sys.modules.get("nn.verify.answer")
    return answer and answer.CheckReport
