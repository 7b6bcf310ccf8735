"""What the whole suite shares: the last lines of a run name the witnesses of its tests on real guests. Fixtures stand with their suites."""

from __future__ import annotations

from collections import Counter

import pytest

WITNESS = "witness"
"""The user property by which a test says what witnessed it, such as `KVM, cgroup v1`."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the witnesses that ran, just above pytest's closing line."""
    passed = terminalreporter.stats.get("passed", [])
    counts = Counter(value for report in passed for name, value in report.user_properties if name == WITNESS)
    terminalreporter.section("witnesses of the tests on real guests")
    for witness, count in sorted(counts.items()):
        terminalreporter.write_line(f"{witness}: {count} test{'s' if count != 1 else ''} passed")
    if not counts:
        terminalreporter.write_line("none: no test ran a real guest")
