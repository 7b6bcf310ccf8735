"""Many hosts in a store, the API processes that serve them, and what those spend while simulated agents speak to them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import httpx
from tests.ports import free_port
from tests.rig.fleet import write_accounts
from tests.rig.processes import Process

from benchmarks.agents.simulated import reported
from benchmarks.process import cpu_seconds, started
from benchmarks.schedule.fleet import SHAPES, empty
from pinfold.api.agent.tokens import make_token
from pinfold.core.drift.written import findings_report
from pinfold.core.identity import HostId
from pinfold.store import findings, hosts
from pinfold.store.database import Database, upgrade

ROOT = Path(__file__).resolve().parents[2]
_AT_ONCE = 500
_LEASE_AT_FIRST = 3600.0
_UP_SECONDS = 240.0
_STARTS_PER_SECOND = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The hosts of a store: of each its id, its name, its agent's token and the number of its shape."""

    hosts: tuple[tuple[HostId, str, str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What API processes spent in so many seconds, by process, the database server beside them, and what agents asked meanwhile."""

    seconds: float
    cpu: tuple[float, ...]
    database_cpu: float
    asked: dict[str, int]
    up: int


def register(database_url: str, count: int, seed: int) -> Fleet:
    """Make the tables and so many hosts of all shapes, up, with the reports of their agents: what agents then say changes nothing."""
    database, rng, made = Database(database_url), Random(seed), []
    upgrade(database)
    states = [empty(shape) for shape in SHAPES]
    for first in range(0, count, _AT_ONCE):
        with database.write() as connection:
            for number in range(first, min(first + _AT_ONCE, count)):
                shape, host = rng.randrange(len(SHAPES)), HostId(str(uuid.UUID(int=rng.getrandbits(128), version=4)))
                token, digest = make_token(host)
                state, name = states[shape], f"c{number:05}"
                report = reported(name, state)
                hosts.register(connection, host_id=host, name=name, report=report, token_hash=digest, lease_seconds=_LEASE_AT_FIRST)
                hosts.report_digest(connection, host)
                findings.keep(connection, host, findings_report(()))
                made.append((host, name, token, shape))
    database.close()
    return Fleet(hosts=tuple(made))


def api(folder: Path, number: int, database: str, placement: str, lease_seconds: float, *, port: int = 0) -> Process:
    """An API process of its own, not started. `placement` is the database of an embedded one; '' for a remote one that is away. It has the
    same port at each start only if that is given.
    """
    state = folder / f"state-{number}"
    state.mkdir(mode=0o711)
    write_accounts(folder)
    (folder / "images").mkdir(exist_ok=True)
    placed = (
        [f"embedded_connection = {placement}"] if placement else [f"endpoint_override = http://127.0.0.1:{free_port()}", "auth_type = none"]
    )
    lines = ["[pinfold]", f"state_dir = {state}", f"images_dir = {folder}/images", "[pinfold_database]", f"connection = {database}"]
    lines += ["[pinfold_placement]", *placed]
    lines += ["[pinfold_api]", f"port = {port}", f"accounts_file = {folder}/accounts", f"lease_seconds = {lease_seconds}"]
    path = folder / f"api-{number}.conf"
    path.write_text("\n".join(lines) + "\n")
    # With an environment of its own it is started anew: a fork of a program that is loaded already would leave out what loading costs.
    return Process(("api", "--config", str(path)), folder, f"api-{number}", environment={"PYTHONUNBUFFERED": "1"})


@contextmanager
def serving(folder: Path, database: str, placement: str, processes: int, lease_seconds: float) -> Iterator[tuple[Process, ...]]:
    """So many API processes on one store, started one after another; with a Placement, after they have compared every host with it.

    Without one, each must say that Placement is away: otherwise a comparison would go on beside what is measured.
    """
    with ExitStack() as stack:
        running = []
        for number in range(processes):
            process = api(folder, number, database, placement, lease_seconds)
            stack.callback(process.kill)
            running.append(started(process))
        while placement and any(httpx.get(f"{one.told['url']}/healthz", timeout=60.0).json()["hosts"] != "compared" for one in running):
            time.sleep(0.5)
        for one in () if placement else running:
            health = httpx.get(f"{one.told['url']}/healthz", timeout=60.0)
            assert health.status_code == 503, health.text
        yield tuple(running)


class Agents:
    """Simulated agents, in `processes` processes that take them and the API processes in turns. They begin spread over a lease at least, as
    agents are that began on different days. Each connects from an address of its own, or all from one. With `anew`, they lose what
    they know as soon as the service is away.
    """

    def __init__(
        self,
        folder: Path,
        fleet: Fleet,
        apis: Sequence[Process],
        *,
        processes: int,
        lease: float,
        stack: ExitStack,
        one_address: bool = False,
        anew: bool = False,
    ) -> None:
        seconds = max(lease, len(fleet.hosts) / _STARTS_PER_SECOND)
        addresses = [(parts.hostname, parts.port) for parts in (urlsplit(one.told["url"]) for one in apis)]
        self._running = []
        for number in range(processes):
            agents = [(name, token, shape) for _, name, token, shape in fleet.hosts[number::processes]]
            path = folder / f"agents-{number}.json"
            how = {"seconds": seconds, "lease": lease, "one_address": one_address, "anew": anew}
            path.write_text(json.dumps({"agents": agents, "addresses": addresses, **how}))
            command = [sys.executable, "-m", "benchmarks.agents.simulate", str(path)]
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(process.wait)
            assert process.stdin is not None
            stack.callback(process.stdin.close)
            self._running.append(process)

    def counts(self) -> tuple[int, Counter[str]]:
        """How many hosts are up as their agents know, and how often agents asked for what since they began."""
        for process in self._running:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        told = [json.loads(process.stdout.readline()) for process in self._running if process.stdout is not None]
        return sum(one["up"] for one in told), sum((Counter(one["asked"]) for one in told), Counter[str]())

    def await_up(self, count: int) -> None:
        """Wait until so many hosts are up, or for four minutes: an API that cannot keep up never gets there."""
        until = time.monotonic() + _UP_SECONDS
        while self.counts()[0] < count and time.monotonic() < until:
            time.sleep(0.5)


def spent(agents: Agents, apis: Sequence[Process], database_pid: int, seconds: float) -> Spent:
    """Watch the processes for so many seconds."""
    _, before = agents.counts()
    began, cpu, database = time.monotonic(), [cpu_seconds(one.pid) for one in apis], server_cpu(database_pid)
    time.sleep(seconds)
    after = [cpu_seconds(one.pid) for one in apis]
    lasted, database = time.monotonic() - began, server_cpu(database_pid) - database
    up, asked = agents.counts()
    asked.subtract(before)
    return Spent(
        seconds=lasted,
        cpu=tuple(then - now for then, now in zip(after, cpu, strict=True)),
        database_cpu=database,
        asked={kind: count for kind, count in sorted(asked.items()) if count},
        up=up,
    )


def server_cpu(pid: int) -> float:
    """The CPU of a database server with all processes that it has now or has had; 0 for pid 0."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    ended = (int(fields[13]) + int(fields[14])) / 100
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return cpu_seconds(pid) + ended + sum(cpu_seconds(int(child)) for child in children if Path(f"/proc/{child}").exists())
