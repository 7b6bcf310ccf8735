"""Creates over HTTP: API, scheduler, store and Placement, no hypervisor. Wall time, and our own CPU beside one bare `PUT /allocations`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.schedule.api_process import FLAVOR, PASSWORD, register_host
from pinfold.accounting.embedded import EmbeddedPlacement, load, unload
from pinfold.api.image.catalog import image_id
from pinfold.service.fleet import assemble
from pinfold.store import flavors
from pinfold.store.database import Database, upgrade
from pinfold.store.records import FlavorRecord

HOSTS = 60
_WARM = 3
_BODY = {"server": {"name": "vm", "flavorRef": "bench", "imageRef": image_id("probe"), "networks": "none"}}
_HEADERS = {"OpenStack-API-Version": "compute 2.96"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Creates:
    """One run: creates of all processes together; medians of CPU in ms: ours for a create over HTTP, for one without, and a bare PUT's.

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


@dataclass
class _Said:
    """What one process was seen to spend, in seconds, one entry a create."""

    walls: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    direct: list[float] = field(default_factory=list)
    puts: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    statements: list[float] = field(default_factory=list)


def prepare(database_url: str, placement_url: str) -> None:
    """Make the tables, the hosts and the flavor."""
    database = Database(database_url)
    upgrade(database)
    fleet = assemble(database, load(EmbeddedPlacement(url=placement_url)).client)
    fleet.healer.start()
    for number in range(HOSTS):
        register_host(database, fleet, f"c{number:02}")
    with database.write() as connection:
        flavors.create(connection, FlavorRecord(id="bench", flavor=FLAVOR))
    database.close()
    unload()


def measure(setting: str, database_url: str, placement_url: str, processes: int, count: int) -> Creates:
    """So many API processes at once, each asked for `count` servers one after another, on tables that `prepare` made."""
    return measure_each(setting, [(database_url, placement_url)] * processes, count)


def measure_each(setting: str, places: Sequence[tuple[str, str]], count: int) -> Creates:
    """As `measure`, with one process for each pair of databases. If these differ, the processes share nothing but the machine."""
    command = [sys.executable, "-m", "benchmarks.schedule.api_process"]
    environment = {**os.environ, "PYTHONPATH": f"{Path('src').resolve()}:{Path.cwd()}"}
    with ExitStack() as stack:
        running = [stack.enter_context(_started([*command, *place], environment)) for place in places]
        ports = [int(process.stdout.readline()) for process in running if process.stdout]
        with ThreadPoolExecutor(len(places)) as pool:
            said = list(pool.map(lambda port: _ask(port, count), ports))
        for process in running:
            if process.stdin:
                process.stdin.close()
    walls = sorted(wall for one in said for wall in one.walls)
    return Creates(
        setting=setting,
        processes=len(places),
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


def _started(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _ask(port: int, count: int) -> _Said:
    """One client of one process: a create over HTTP, one without, and one bare PUT, in turns."""
    said = _Said()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=("admin", PASSWORD), headers=_HEADERS, timeout=120) as http:

        def ask(path: str) -> dict[str, float]:
            told: dict[str, float] = http.get(path).json()
            return told

        # What asking the meter costs by itself is `idle`.
        idle = statistics.median(_spent(ask("/meter"), ask("/meter")) for _ in range(20))
        for number in range(count + _WARM):
            before, began = ask("/meter"), time.perf_counter()
            answer = http.post("/compute/v2.1/servers", json=_BODY)
            wall, after = time.perf_counter() - began, ask("/meter")
            assert answer.status_code == 202, answer.text
            direct, put = ask("/direct")["spent"], ask("/put")["spent"]
            if number >= _WARM:
                said.walls.append(wall)
                said.own.append(_spent(before, after) - idle)
                said.writes.append(after["writes"] - before["writes"])
                said.statements.append(after["statements"] - before["statements"])
                said.direct.append(direct)
                said.puts.append(put)
    return said


def _spent(before: dict[str, float], after: dict[str, float]) -> float:
    return (after["cpu"] - before["cpu"]) - (after["placement"] - before["placement"])
