"""What the whole suite shares: patience, and last lines with the witnesses of tests on real guests. Fixtures stand with their suites."""

from __future__ import annotations

import os
import signal
import stat
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings
from tests.interrupt import InterruptOnce

WITNESS = "witness"
"""The user property by which a test says what witnessed it, such as `KVM, cgroup v1`."""

# A property says nothing of time: a busy machine may stop any example for seconds. The rest stays as it is here or under CI.
settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_MOST_EXAMPLES = "PINFOLD_MOST_EXAMPLES"
"""The variable by which `bin/test-pythons` bounds the examples of every property, since the whole suite looks for more of them."""


def _compiled() -> str:
    """The folder of this user for compiled modules; a new one if somebody else has made it, since they could leave code there."""
    folder = Path(tempfile.gettempdir(), f"pinfold-tests-pycache-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return str(folder) if own else tempfile.mkdtemp(prefix=f"{folder.name}-")


# Where nothing may be written beside the sources, each process that a test starts would compile all that it imports anew. So compiled
# modules go to a folder of the tests' own. So do those of this process, whose test modules pytest would rewrite anew in each run.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", _compiled())
    sys.dont_write_bytecode = False

_FILES, _LEAST_SECONDS = 40, 10

LONG = frozenset(("real_libvirt", "real_placement", "real_postgresql", "real_clients", "installs"))
"""The marks of tests on real parts, whose files take long."""


def pytest_configure() -> None:
    """Let SIGTERM, by which `timeout` and CI stop a run, end it as Ctrl-C does: fixtures end their servers and remove their folders."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, InterruptOnce())


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are processors: tests on real parts wait for guests, polls and pauses of the client."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with tests on real parts first. Workers take files in this order, and at the end only quick ones are left to share."""
    long = {item.path for item in items if any(mark.name in LONG for mark in item.iter_markers())}
    items.sort(key=lambda item: item.path not in long)
    if most := int(os.environ.get(_MOST_EXAMPLES, "0")):
        for item in items:
            _bound_examples(getattr(item, "obj", None), most)


def _bound_examples(test: Any, most: int) -> None:
    """Bound the examples of a property whose own settings name more. Hypothesis has no public way to change those."""
    if is_hypothesis_test(test) and not hasattr(test, "__self__"):
        own = test._hypothesis_internal_use_settings
        test._hypothesis_internal_use_settings = settings(own, max_examples=min(own.max_examples, most))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Any:
    """Escape what is no text in UTF-8, such as a lone surrogate in a captured log: xdist's workers end where a report holds it."""
    return _as_utf8((yield))


def _as_utf8(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_as_utf8(key): _as_utf8(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_as_utf8(each) for each in value)
    return value


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the files that took longest, and the witnesses that ran, just above pytest's closing line."""
    passed = terminalreporter.stats.get("passed", [])
    seconds: defaultdict[str, float] = defaultdict(float)
    for report in (one for reports in terminalreporter.stats.values() for one in reports if isinstance(one, pytest.TestReport)):
        seconds[report.nodeid.partition("::")[0]] += report.duration  # set-up and tear-down have reports of their own
    if long := sorted(((spent, file) for file, spent in seconds.items() if spent >= _LEAST_SECONDS), reverse=True)[:_FILES]:
        terminalreporter.section(f"files that took {_LEAST_SECONDS} seconds or more, of {sum(seconds.values()):.0f} in all")
        for spent, file in long:
            terminalreporter.write_line(f"{spent:5.0f} s {file}")
    counts = Counter(value for report in passed for name, value in report.user_properties if name == WITNESS)
    terminalreporter.section("witnesses of the tests on real guests")
    for witness, count in sorted(counts.items()):
        terminalreporter.write_line(f"{witness}: {count} test{'s' if count != 1 else ''} passed")
    if not counts:
        terminalreporter.write_line("none: no test ran a real guest")
