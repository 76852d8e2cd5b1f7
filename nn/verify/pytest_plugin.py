"""Reports in a person's own tests: `assert nn.check_gradients(…)` prints the whole report.

In: a test that failed in an `assert`. Out: the report that was not true, below its traceback.
pytest finds this file by itself where the package is installed. Read on in `verify.report`.
"""
import sys

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call):
    """Adds the last report that was asked for its truth during this test."""
    result = yield
    answer = sys.modules.get("nn.verify.answer")  # nothing is imported for tests without a check
    if answer is None:
        return result
    refused = answer.CheckReport.refused
    failed = call.excinfo is not None and call.excinfo.errisinstance(AssertionError)
    if refused is not None and failed and str(refused) not in str(call.excinfo.value):
        result.sections.append(("the check", str(refused)))
    if call.when == "call":
        answer.CheckReport.refused = None
    return result
