"""Creates over HTTP: API, scheduler, store and Placement, no hypervisor. Wall time, and our own CPU beside one bare `PUT /allocations`.

`python -m benchmarks.schedule.create_http DATABASE PLACEMENT` is one API process of them, on a port that it prints. All its CPU is counted,
uvicorn's and the threads' too; what Placement's application itself spends is taken off by the clock of the thread that runs it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from benchmarks.schedule.fleet import ASKS
from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import EmbeddedPlacement, load
from pinfold.api.accounts import Doorkeeper, hash_password, parse_accounts
from pinfold.api.app import create_app
from pinfold.api.services import ApiServices
from pinfold.core.request.model import Flavor
from pinfold.scheduler.lifecycle import Lifecycle
from pinfold.scheduler.schedule import Scheduler
from pinfold.store import flavors, hosts
from pinfold.store.database import Database
from pinfold.store.model import FlavorRecord

__all__ = ["HttpCreates", "measure"]

_PASSWORD = "bench"
_SIZE = ASKS[1].request
_SPECS = (("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share"))
_BODY = {"server": {"name": "vm", "flavorRef": "bench", "imageRef": "", "networks": "none"}}
_HEADERS = {"OpenStack-API-Version": "compute 2.96"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCreates:
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


@dataclass
class Metered:
    """Placement's WSGI application that adds up what it spends, by the clock of the thread that calls it, and counts the writes."""

    app: Any
    cpu: float = 0.0
    writes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        began = time.thread_time()
        try:
            return list(self.app(environ, start_response))
        finally:
            with self._lock:
                self.cpu += time.thread_time() - began
                self.writes += environ["REQUEST_METHOD"] != "GET"


class _Meter:
    """ASGI: `/meter` tells what was spent so far, `/put` makes one bare PUT and tells what it cost; the rest is the application's."""

    def __init__(self, app: Any, metered: Metered, placement: Placement, provider: str) -> None:
        self._app, self._metered, self._placement, self._provider = app, metered, placement, provider

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] not in ("/meter", "/put"):
            await self._app(scope, receive, send)
            return
        told = {"put": self._put()} if scope["path"] == "/put" else {}
        body = json.dumps({**told, "cpu": time.process_time(), "placement": self._metered.cpu, "writes": self._metered.writes}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    def _put(self) -> float:
        """The CPU of Placement's application for one PUT of a new consumer; it is emptied after."""
        consumer = str(uuid.uuid4())
        before = self._metered.cpu
        self._placement.allocate(consumer, self._provider, (("MEMORY_MB", 64), ("PCPU", 1)), generation=None)
        spent = self._metered.cpu - before
        found = self._placement.allocation(consumer)
        assert found is not None
        self._placement.empty(found)
        return spent


def serve(database_url: str, placement_url: str) -> None:
    """Be one API process until standard input ends."""
    database = Database(database_url)
    metered = Metered(load(EmbeddedPlacement(url=placement_url)).app)
    transport = httpx.WSGITransport(app=metered)
    placement = Placement(httpx.Client(transport=transport, base_url="http://placement.embedded", headers={"X-Auth-Token": "admin"}))
    scheduler = Scheduler(database, placement)
    scheduler.start()
    with database.read() as connection:
        provider = hosts.all(connection)[-1].id
    services = ApiServices(
        database=database,
        scheduler=scheduler,
        lifecycle=Lifecycle(database, scheduler),
        placement=placement,
        images=Path(tempfile.gettempdir()) / "no-images",
        placement_app=metered,
        doorkeeper=Doorkeeper(parse_accounts(f"admin:admin:{hash_password(_PASSWORD)}", "accounts")),
    )
    app = _Meter(create_app(services), metered, placement, provider)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    sys.stdin.read()
    server.should_exit = True
    thread.join()


def add_flavor(database_url: str) -> None:
    """The flavor that is created from."""
    database = Database(database_url)
    size = Flavor(vcpus=_SIZE.vcpus, memory_mib=_SIZE.memory_mib, name="bench", extra_specs=_SPECS)
    with database.write() as connection:
        if flavors.find(connection, "bench") is None:
            flavors.create(connection, FlavorRecord(id="bench", flavor=size))
    database.close()


def measure(setting: str, database_url: str, placement_url: str, processes: int, count: int) -> HttpCreates:
    """So many API processes at once, each asked for `count` servers one after another; tables and hosts are there."""
    add_flavor(database_url)
    command = [sys.executable, "-m", "benchmarks.schedule.create_http", database_url, placement_url]
    environment = {**os.environ, "PYTHONPATH": f"{Path('src').resolve()}:{Path.cwd()}"}
    with ExitStack() as stack:
        running = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment))
            for _ in range(processes)
        ]
        ports = [int(process.stdout.readline()) for process in running if process.stdout]
        with ThreadPoolExecutor(processes) as pool:
            said = list(pool.map(lambda port: _ask(port, count), ports))
        for process in running:
            if process.stdin:
                process.stdin.close()
    walls = sorted(wall for one in said for wall in one["walls"])
    return HttpCreates(
        setting=setting,
        processes=processes,
        count=len(walls),
        per_second=sum(len(one["walls"]) / sum(one["walls"]) for one in said),
        p50_ms=statistics.median(walls) * 1e3,
        p99_ms=walls[int(len(walls) * 0.99)] * 1e3,
        own_cpu_ms=statistics.median(value for one in said for value in one["own"]) * 1e3,
        put_cpu_ms=statistics.median(value for one in said for value in one["puts"]) * 1e3,
        writes=sum(sum(one["writes"]) for one in said) / len(walls),
    )


def _ask(port: int, count: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"walls": [], "own": [], "puts": [], "writes": []}
    url = f"http://127.0.0.1:{port}"
    # What asking the meter costs by itself is `idle`.
    with httpx.Client(base_url=url, auth=("admin", _PASSWORD), headers=_HEADERS, timeout=120) as http:

        def meter() -> dict[str, float]:
            told: dict[str, float] = http.get("/meter").json()
            return told

        idle = statistics.median(_spent(meter(), meter()) for _ in range(20))
        for number in range(count + 3):
            before = meter()
            began = time.perf_counter()
            answer = http.post("/compute/v2.1/servers", json=_BODY)
            wall = time.perf_counter() - began
            after = meter()
            assert answer.status_code == 202, answer.text
            if number >= 3:
                found["walls"].append(wall)
                found["own"].append(_spent(before, after) - idle)
                found["writes"].append(after["writes"] - before["writes"])
                found["puts"].append(http.get("/put").json()["put"])
    return found


def _spent(before: dict[str, float], after: dict[str, float]) -> float:
    return (after["cpu"] - before["cpu"]) - (after["placement"] - before["placement"])


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
