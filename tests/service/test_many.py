"""Many claimers at once: no pCPU has two owners, every guest is placed or refused with reasons, and Placement equals the ledger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host, wanted
from tests.rig.promises import at_rest, placement_covers_the_ledger

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded
from pinfold.core.cpuset import CpuSet
from pinfold.core.request.model import EmulatorPolicy
from pinfold.scheduler.model import SchedulerSettings
from pinfold.service.claims import claim
from pinfold.service.claims.outcome import Claimed, Refused
from pinfold.service.fleet import assemble
from pinfold.store.database import Database

pytestmark = pytest.mark.real_placement


@pytest.fixture
def placement(embedded: Embedded) -> Placement:
    return embedded.client


def _settle(database: Database, placement: Placement) -> None:
    assemble(database, placement, SchedulerSettings(late_seconds=-1)).healer.heal()
    at_rest(database, placement)


def test_threads_of_two_schedulers_never_share_a_pcpu(database: Database, placement: Placement, monkeypatch: pytest.MonkeyPatch) -> None:
    # Who lacks room that others are about to take or to give back waits for them, here as long as the slowest machine's commit takes.
    monkeypatch.setattr(claim, "_SETTLE_SECONDS", 1.0)
    fleets = [assemble(database, placement) for _ in range(2)]
    hosts = [add_host(database, f"c{number}") for number in range(2)]
    for host in hosts:
        fleets[0].providers.sync(host)
    outcomes: list[Claimed | Refused] = []

    def run(number: int) -> None:
        for _ in range(4):
            request = pinned(3, emulator=EmulatorPolicy.ISOLATE)
            outcomes.append(fleets[number % 2].claimer.create(wanted(add_guest(database, request), request)))

    _together(run, 6)
    claimed = [one for one in outcomes if isinstance(one, Claimed)]
    refused = [one for one in outcomes if isinstance(one, Refused)]
    assert len(claimed) + len(refused) == 24
    # Each host has 6 and 8 free pCPUs in its two cells, a guest takes four: one and two guests.
    assert len(claimed) == 6
    assert all(one.refusals for one in refused)
    assert not any(
        reason.code.value in ("stale", "placement") for one in refused for told in one.refusals for reason in told.no_fit.reasons
    )
    _settle(database, placement)


def test_creates_and_deletes_at_once_end_at_rest(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement)
    host = add_host(database, "c01")
    fleet.providers.sync(host)
    seen = threading.Event()

    def run(_: int) -> None:
        kept: list[str] = []
        for _ in range(4):
            request = pinned(2)
            outcome = fleet.claimer.create(wanted(add_guest(database, request), request))
            if kept:
                fleet.releaser.release(kept.pop())
            if isinstance(outcome, Claimed):
                kept.append(outcome.guest)
        assert seen.wait(120), "no sample shows a held claim, though several are"
        for guest in kept:
            fleet.releaser.release(guest)

    left = threading.Semaphore(0)

    def work_or_watch(number: int) -> None:
        if number:
            try:
                run(number)
            finally:
                left.release()
            return
        done = 0
        while done < 5:
            if placement_covers_the_ledger(database, placement):
                seen.set()
            done += left.acquire(timeout=0.01)

    _together(work_or_watch, 6)
    _settle(database, placement)
    assert placement.provider_allocations(host) == ()


def test_processes_never_share_a_pcpu(database: Database, placement: Placement, tmp_path: Path) -> None:
    fleet = assemble(database, placement)
    for number in range(2):
        fleet.providers.sync(add_host(database, f"c{number}"))
    url = database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.service.claimer", url, f"sqlite:///{tmp_path}/placement.db", "create-many", "5", "2"]
    environment = {**os.environ, "PYTHONPATH": "src:."}
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [json.loads(line) for process in processes for line in process.communicate(timeout=240)[0].splitlines()]
    assert len(said) == 15
    taken = Counter((one["host"], pcpu) for one in said if "host" in one for pcpu in CpuSet.parse(one["taken"]))
    assert len(taken) == 28
    assert set(taken.values()) == {1}
    assert [one["refused"] for one in said if "refused" in one]
    assert not [one for one in said if "error" in one]
    _settle(database, placement)


def _together(run: object, count: int) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            run(number)  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
