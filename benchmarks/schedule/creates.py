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


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What one row is about: an API process for each of these pairs of databases, on a fleet of so many hosts. Where pairs are the same,
    the processes share a fleet; otherwise nothing but the machine.
    """

    name: str
    places: Sequence[tuple[str, str]]
    hosts: int = HOSTS


def measure(settings: Sequence[Setting], count: int) -> list[Creates]:
    """Ask the processes of each setting at once for `count` servers each, one after another, on tables that `prepare` made.

    Several settings take turns, so that a moment at which the machine is slow is a moment of all of them.
    """
    with ExitStack() as stack:
        # The processes end first, so that an interrupt does not wait for their clients.
        pool = stack.enter_context(ThreadPoolExecutor(max(len(one.places) for one in settings)))
        ports = [stack.enter_context(ports_of(one.places)) for one in settings]
        clients = [[stack.enter_context(MeterClient(port)) for port in some] for some in ports]
        for some in clients:
            _turn(pool, some, _WARM)
        said: list[list[_Said]] = [[_Said() for _ in some] for some in clients]
        for done in range(0, count, _TURN):
            for some, told in zip(clients, said, strict=True):
                for one, found in zip(told, _turn(pool, some, min(_TURN, count - done)), strict=True):
                    one.add(*found)
    return [_creates(setting, told) for setting, told in zip(settings, said, strict=True)]


def _creates(setting: Setting, said: Sequence[_Said]) -> Creates:
    walls = sorted(wall for one in said for wall in one.walls)
    return Creates(
        setting=setting.name,
        processes=len(setting.places),
        hosts=setting.hosts,
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


@dataclass
class _Said:
    """What one process was seen to spend, in seconds: of the CPU one entry a turn, the mean of its creates; of the others one a create."""

    walls: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    direct: list[float] = field(default_factory=list)
    puts: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    statements: list[float] = field(default_factory=list)

    def add(self, made: Sequence[Spent], direct: Sequence[float], puts: Sequence[float]) -> None:
        """Add one turn."""
        self.walls += [one.wall for one in made]
        self.writes += [one.writes for one in made]
        self.statements += [one.statements for one in made]
        # A look at the hosts, which a process makes at most twice a second, belongs to all creates of a turn, not to one.
        self.own.append(statistics.mean(one.own for one in made))
        self.direct.append(statistics.mean(direct))
        self.puts.append(statistics.mean(puts))


_Turn = tuple[list[Spent], list[float], list[float]]


def _turn(pool: ThreadPoolExecutor, clients: Sequence[MeterClient], count: int) -> list[_Turn]:
    """So many of each of the three by each client, one kind after another; each begins when all clients have come to it."""
    together = threading.Barrier(len(clients))

    def ask(client: MeterClient) -> _Turn:
        try:
            together.wait()
            made = [client.create() for _ in range(count)]
            together.wait()
            direct = [client.ask("/direct")["spent"] for _ in range(count)]
            together.wait()
            return made, direct, [client.ask("/put")["spent"] for _ in range(count)]
        except BaseException:
            together.abort()
            raise

    return list(pool.map(ask, clients))
