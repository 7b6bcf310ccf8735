"""Creates through scheduler, store and Placement, no hypervisor: wall time, and our own CPU beside one bare `PUT /allocations`.

`python -m benchmarks.schedule.creates DATABASE PLACEMENT COUNT` is one process of them; it prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from benchmarks.schedule.fleet import ASKS, empty
from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import EmbeddedPlacement, load, unload
from pinfold.accounting.resources import Amounts
from pinfold.core.request.model import Flavor
from pinfold.scheduler.model import Claimed, Wanted
from pinfold.scheduler.schedule import Scheduler
from pinfold.store import guests, hosts
from pinfold.store.database import Database, upgrade
from pinfold.store.model import HostReport, NewGuest

__all__ = ["Creates", "measure", "prepare", "unload"]

HOSTS = 30
REQUEST = ASKS[1].request
FLAVOR = Flavor(vcpus=REQUEST.vcpus, memory_mib=REQUEST.memory_mib, name="bench")


@dataclass(frozen=True, slots=True, kw_only=True)
class Creates:
    """One run: creates of all processes together; CPU per create in milliseconds, ours without Placement's, and of one bare PUT."""

    setting: str
    processes: int
    count: int
    per_second: float
    p50_ms: float
    p99_ms: float
    own_cpu_ms: float
    put_cpu_ms: float
    writes: float

    @property
    def ratio(self) -> float:
        """Our own CPU as a share of one bare PUT."""
        return self.own_cpu_ms / self.put_cpu_ms


class Metered(Placement):
    """Placement's client that adds up what it spends, and counts the writes."""

    def __init__(self, other: Placement) -> None:
        super().__init__(other._http)
        self.cpu = 0.0
        self.writes = 0

    def _call(self, method: str, path: str, body: object = None, *, missing: bool = False) -> object:
        began = time.process_time()
        try:
            return super()._call(method, path, body, missing=missing)
        finally:
            self.cpu += time.process_time() - began
            self.writes += method != "GET"


def prepare(database_url: str, placement_url: str) -> None:
    """Make the tables and the hosts."""
    database = Database(database_url)
    upgrade(database)
    scheduler = Scheduler(database, load(EmbeddedPlacement(url=placement_url)).client)
    state = empty((2, 24, 2))
    report = HostReport(topology=state.topology, pools=state.pools, limits=state.limits)
    for number in range(HOSTS):
        host = str(uuid.uuid4())
        with database.write() as connection:
            hosts.register(connection, host_id=host, name=f"c{number:02}", report=report, token_hash="", lease_seconds=86400)
        scheduler.sync_host(host)
    database.close()


def work(database_url: str, placement_url: str, count: int) -> dict[str, object]:
    """Create so many guests, one bare PUT (and its undoing) between two of them."""
    database = Database(database_url)
    placement = Metered(load(EmbeddedPlacement(url=placement_url)).client)
    scheduler = Scheduler(database, placement)
    scheduler.start()
    with database.read() as connection:
        provider = hosts.all(connection)[-1].id
    walls, own, puts, writes = [], [], [], 0
    for number in range(count + 2):
        placement.cpu, placement.writes = 0.0, 0
        wall, cpu = time.perf_counter(), time.process_time()
        guest = str(uuid.uuid4())
        with database.write() as connection:
            guests.create(connection, NewGuest(id=guest, name="vm", flavor=FLAVOR, request=REQUEST))
        outcome = scheduler.create(Wanted(guest=guest, request=REQUEST))
        spent = time.process_time() - cpu - placement.cpu
        assert isinstance(outcome, Claimed), outcome
        if number >= 2:
            walls.append(time.perf_counter() - wall)
            own.append(spent)
            writes += placement.writes
            puts.append(_bare(placement, provider, (("MEMORY_MB", 64), ("PCPU", 1))))
    return {"walls": walls, "own": own, "puts": puts, "writes": writes}


def _bare(placement: Metered, provider: str, amounts: Amounts) -> float:
    consumer = str(uuid.uuid4())
    placement.cpu = 0.0
    placement.allocate(consumer, provider, amounts, generation=None)
    spent = placement.cpu
    found = placement.allocation(consumer)
    assert found is not None
    placement.empty(found)
    return spent


def measure(setting: str, database_url: str, placement_url: str, processes: int, count: int) -> Creates:
    """So many processes at once, `count` creates each, on tables and hosts that are there."""
    command = [sys.executable, "-m", "benchmarks.schedule.creates", database_url, placement_url, str(count)]
    environment = {**os.environ, "PYTHONPATH": f"{Path('src').resolve()}:{Path.cwd()}"}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(processes)]
    said = [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]
    walls = sorted(wall for one in said for wall in one["walls"])
    return Creates(
        setting=setting,
        processes=processes,
        count=len(walls),
        per_second=sum(len(one["walls"]) / sum(one["walls"]) for one in said),
        p50_ms=statistics.median(walls) * 1e3,
        p99_ms=walls[int(len(walls) * 0.99)] * 1e3,
        own_cpu_ms=statistics.median(value for one in said for value in one["own"]) * 1e3,
        put_cpu_ms=statistics.median(value for one in said for value in one["puts"]) * 1e3,
        writes=sum(one["writes"] for one in said) / len(walls),
    )


if __name__ == "__main__":
    print(json.dumps(work(sys.argv[1], sys.argv[2], int(sys.argv[3]))), flush=True)
