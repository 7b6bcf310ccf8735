"""Creates over HTTP: API, scheduler, store and Placement, no hypervisor. Wall time, and our own CPU beside one bare `PUT /allocations`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from benchmarks.schedule import copied_hosts
from benchmarks.schedule.api_process import FLAVOR, PASSWORD, register_host
from pinfold.accounting.embedded import EmbeddedPlacement, load, unload
from pinfold.api.image.catalog import image_id
from pinfold.service.fleet import assemble
from pinfold.store import flavors
from pinfold.store.database import Database, upgrade
from pinfold.store.records import FlavorRecord

HOSTS = 60
_WARM = 3
_TURN = 10
"""So many creates follow one another."""
SERVER = {"name": "vm", "flavorRef": "bench", "imageRef": image_id("probe"), "networks": "none"}
SERVERS = "/compute/v2.1/servers"
_HEADERS = {"OpenStack-API-Version": "compute 2.96"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Creates:
    """One run: creates of all processes together; CPU in ms: ours for a create over HTTP, for one without, and a bare PUT's, as medians of
    the means of `turn` creates in a row.

    `writes` to Placement and SQL `statements` of our own are means of one create.
    """

    setting: str
    processes: int
    count: int
    per_second: float
    p50_ms: float
    p99_ms: float
    own_cpu_ms: float
    direct_cpu_ms: float
    put_cpu_ms: float
    writes: float
    statements: float
    turn: int = _TURN
    hosts: int = HOSTS
    counted_by_driver: bool = True
    """Statements are counted where the driver is called; earlier figures have the cost of SQLAlchemy's event in them."""


@dataclass
class _Said:
    """What one process was seen to spend, in seconds: of the CPU one entry a turn, the mean of its creates; of the others one a create."""

    walls: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    direct: list[float] = field(default_factory=list)
    puts: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    statements: list[float] = field(default_factory=list)


def prepare(database_url: str, placement_url: str, count: int = HOSTS) -> None:
    """Make the tables, so many hosts and the flavor."""
    database = Database(database_url)
    upgrade(database)
    fleet = assemble(database, load(EmbeddedPlacement(url=placement_url)).client)
    fleet.healer.start()
    for number in range(count):
        register_host(database, fleet, f"c{number:02}")
    with database.write() as connection:
        flavors.create(connection, FlavorRecord(id="bench", flavor=FLAVOR))
    database.close()
    unload()


def enlarge(database_url: str, placement_url: str, hosts: int) -> None:
    """Give a fleet that `prepare` made so many hosts in all. Those that are added are like the others, and empty."""
    copied_hosts.add(database_url, placement_url, hosts - HOSTS)


def measure(setting: str, database_url: str, placement_url: str, processes: int, count: int, hosts: int = HOSTS) -> Creates:
    """So many API processes at once, each asked for `count` servers one after another, on tables that `prepare` made."""
    return measure_each(setting, [(database_url, placement_url)] * processes, count, hosts)


def measure_each(setting: str, places: Sequence[tuple[str, str]], count: int, hosts: int = HOSTS) -> Creates:
    """As `measure`, with one process for each pair of databases. If these differ, the processes share nothing but the machine."""
    together = threading.Barrier(len(places))
    # The processes end first, so that an interrupt does not wait for their clients.
    with ThreadPoolExecutor(len(places)) as pool, ports_of(places) as ports:
        said = list(pool.map(lambda port: _ask(port, count, together), ports))
    walls = sorted(wall for one in said for wall in one.walls)
    return Creates(
        setting=setting,
        processes=len(places),
        hosts=hosts,
        count=len(walls),
        per_second=sum(len(one.walls) / sum(one.walls) for one in said),
        p50_ms=statistics.median(walls) * 1e3,
        p99_ms=walls[int(len(walls) * 0.99)] * 1e3,
        own_cpu_ms=statistics.median(value for one in said for value in one.own) * 1e3,
        direct_cpu_ms=statistics.median(value for one in said for value in one.direct) * 1e3,
        put_cpu_ms=statistics.median(value for one in said for value in one.puts) * 1e3,
        writes=sum(sum(one.writes) for one in said) / len(walls),
        statements=sum(sum(one.statements) for one in said) / len(walls),
    )


@contextmanager
def ports_of(places: Sequence[tuple[str, str]], *more: str) -> Iterator[list[int]]:
    """The ports of API processes, one for each pair of databases, with `more` arguments. They end with the context."""
    command = [sys.executable, "-m", "benchmarks.schedule.api_process"]
    environment = {**os.environ, "PYTHONPATH": f"{Path('src').resolve()}:{Path.cwd()}"}
    with ExitStack() as stack:
        running = [stack.enter_context(_started([*command, *place, *more], environment)) for place in places]
        yield [int(process.stdout.readline()) for process in running if process.stdout]
        for process in running:
            if process.stdin:
                process.stdin.close()


def _started(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a process spent on one create, in seconds: by the clock on the wall, its CPU without Placement's application, that application's
    CPU; and its writes to Placement and SQL statements.
    """

    wall: float
    own: float
    placement: float
    writes: float
    statements: float


class MeterClient:
    """A client of one process and its meter. A context."""

    def __init__(self, port: int) -> None:
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=("admin", PASSWORD), headers=_HEADERS, timeout=120)
        # What asking the meter costs by itself.
        self._idle = statistics.median(_own(self.ask("/meter"), self.ask("/meter")) for _ in range(20))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, path: str) -> Mapping[str, Any]:
        """What the process answers to a GET."""
        told: dict[str, Any] = self._http.get(path).raise_for_status().json()
        return told

    def create(self, **more: object) -> Spent:
        """What it costs to create a server, or with `min_count` several."""
        before, began = self.ask("/meter"), time.perf_counter()
        answer = self._http.post(SERVERS, json={"server": {**SERVER, **more}})
        wall, after = time.perf_counter() - began, self.ask("/meter")
        assert answer.status_code == 202, answer.text
        return Spent(
            wall=wall,
            own=_own(before, after) - self._idle,
            placement=after["placement"] - before["placement"],
            writes=after["writes"] - before["writes"],
            statements=after["statements"] - before["statements"],
        )


def _own(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    return (after["cpu"] - before["cpu"]) - (after["placement"] - before["placement"])


def _ask(port: int, count: int, together: threading.Barrier) -> _Said:
    """One client of one process: some creates over HTTP, as many without, and as many bare PUTs, in turns. All clients create together."""
    said = _Said()
    try:
        with MeterClient(port) as process:
            _turn(process, _WARM, together)
            for done in range(0, count, _TURN):
                made, direct, puts = _turn(process, min(_TURN, count - done), together)
                said.walls += [one.wall for one in made]
                said.writes += [one.writes for one in made]
                said.statements += [one.statements for one in made]
                # A look at the hosts, which a process makes at most twice a second, belongs to all creates of a turn, not to one.
                said.own.append(statistics.mean(one.own for one in made))
                said.direct.append(statistics.mean(direct))
                said.puts.append(statistics.mean(puts))
    except BaseException:
        together.abort()
        raise
    return said


def _turn(process: MeterClient, count: int, together: threading.Barrier) -> tuple[list[Spent], list[float], list[float]]:
    """So many of each of the three, one kind after another; each begins when all clients have come to it."""
    together.wait()
    made = [process.create() for _ in range(count)]
    together.wait()
    direct = [process.ask("/direct")["spent"] for _ in range(count)]
    together.wait()
    return made, direct, [process.ask("/put")["spent"] for _ in range(count)]
