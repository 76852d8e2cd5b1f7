"""After the trust tests: what was tried how often, and what happened."""


def pytest_terminal_summary(terminalreporter):
    """One table of everything that was tried: inputs that were fuzzed, faults, numbers, load."""
    from fuzz import TALLY

    if not TALLY:
        return
    terminalreporter.section("what was tried, and what happened")
    outcomes = ("right", "refused", "failures")
    rows = [(what, *(found[name] for name in outcomes)) for what, found in TALLY.items()]
    rows.append(("all", *map(sum, zip(*(row[1:] for row in rows)))))
    terminalreporter.write_line("| tried | times | as it should be | one-line refusals | anything else |")
    terminalreporter.write_line("|---|---|---|---|---|")
    for what, *numbers in rows:
        terminalreporter.write_line(f"| {what} | " + " | ".join(f"{number:,}" for number in (sum(numbers), *numbers)) + " |")
