"""The readings of an agent's sweep: each guest's threads are read once, by the report or by the audit, and always anew in the next turn."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from tests.real.host.bench import DEDICATED, Bench
from tests.real.host.domains import define

from pinfold.agent.readings import Readings
from pinfold.core.drift import Finding, FindingCode
from pinfold.drivers.port import Driver, HostGuest, Observation
from pinfold.host.audit import Audit, audit
from pinfold.host.verify import Verdict

SHARE = DEDICATED | {"hw:emulator_threads_policy": "share"}
PINS = "<vcpupin vcpu='0' cpuset='0'/><emulatorpin cpuset='0'/>"

pytestmark = pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="the pools are pCPUs 0 and 1")


class Counting:
    """The driver, which counts whose threads are read."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.read: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def observe(self, guest: HostGuest) -> Observation:
        self.read[guest.name] += 1
        return self._driver.observe(guest)


def sweep(readings: Readings) -> tuple[list[Verdict], Audit]:
    """What an agent does when a sweep is due: look, the reports of its guests, and the audit."""
    seen = readings.look()
    verdicts = [readings.verify(guest, online=seen.state.topology.online) for guest in seen.ours]
    found, _ = readings.audit(seen, lambda guest, error: pytest.fail(f"{guest.name}: {error}"))
    return verdicts, found


def own(found: Audit) -> list[Finding]:
    """The findings without the guests of tests that run beside this one, which come and go."""
    return [one for one in found.findings if one.code is not FindingCode.FOREIGN_PROCESS]


def test_a_sweep_reads_each_guest_once_and_the_next_one_reads_it_again(own_bench: Bench) -> None:
    web = own_bench.start(own_bench.order("web", SHARE)).guest
    define(own_bench, "other", cputune=PINS)
    driver: Any = Counting(own_bench.driver)
    readings = Readings(driver, own_bench.settings)
    first, found = sweep(readings)
    assert driver.read == {"web": 1, "other": 1}
    assert own(found) == own(audit(own_bench.driver, own_bench.settings))
    second, _ = sweep(readings)
    assert driver.read == {"web": 2, "other": 2}
    assert second[0] is first[0]  # judged once, because nothing has changed
    assert web.pid is not None
    os.sched_setaffinity(web.pid, {0, 1})
    (drifted,), found = sweep(readings)
    assert drifted.drift
    assert set(drifted.drift) <= set(found.drift)
    os.sched_setaffinity(web.pid, {0})
    (well,), found = sweep(readings)
    assert (well.drift, [one for one in found.drift if one.guest == "web"]) == ((), [])
    assert driver.read == {"web": 4, "other": 4}


def test_a_guest_that_has_changed_since_its_report_is_read_again_by_the_audit(own_bench: Bench) -> None:
    own_bench.start(own_bench.order("web", SHARE))
    driver: Any = Counting(own_bench.driver)
    readings = Readings(driver, own_bench.settings)
    seen = readings.look()
    readings.verify(seen.ours[0], online=seen.state.topology.online)
    own_bench.driver.pin(seen.ours[0].id, readings.verify(seen.ours[0], online=seen.state.topology.online).masks)
    again = readings.look()
    readings.audit(again, lambda guest, error: pytest.fail(f"{guest.name}: {error}"))
    assert driver.read == {"web": 3}
