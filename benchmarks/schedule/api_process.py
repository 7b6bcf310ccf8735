"""`python -m benchmarks.schedule.api_process DATABASE PLACEMENT [HOSTS]`: one API process with a meter, on a port that it prints.

With HOSTS it registers so many for bare posts, which no create fills.

All its CPU is counted, the server's and the threads' too; what Placement's application itself spends is taken off by the clock of the
thread that runs it. Our client for Placement is ours. Asking belongs to `creates`.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.schedule.fleet import ASKS, empty
from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import EmbeddedPlacement, InProcessClient, load
from pinfold.accounting.resources import amounts
from pinfold.api.accounts import hash_password, parse_accounts
from pinfold.api.app import create_app
from pinfold.api.dependencies import ApiServices
from pinfold.api.doorkeeper import Doorkeeper
from pinfold.api.password_checks import PasswordChecks
from pinfold.config.fleet import ApiSettings
from pinfold.core.fit.engine import search
from pinfold.core.identity import HostId
from pinfold.core.request.model import Flavor
from pinfold.scheduler.index import counts_of
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import HostReport, NewGuest
from pinfold.wiring.http_server import server_of
from pinfold.wiring.service import Service, listening_socket

PASSWORD = "bench"
REQUEST = ASKS[1].demand.request
SPECS = (("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share"))
SHAPE = (2, 24, 2)
PLACES = len(empty(SHAPE).pools.dedicated) // REQUEST.vcpus
"""So many servers fill a host."""
FLAVOR = Flavor(vcpus=REQUEST.vcpus, memory_mib=REQUEST.memory_mib, name="bench", extra_specs=SPECS)


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


class Meter:
    """ASGI: `/meter` tells what was spent so far; `/put`, `/post?COUNT` and `/direct` do one thing and tell its cost; the rest is the
    application's.

    `provider` is of bare puts; a bare post takes the next of `providers`, as many as its consumers fill.
    """

    def __init__(self, services: ApiServices, metered: Metered, provider: str, providers: Sequence[str]) -> None:
        self._app, self._services, self._metered, self._provider = create_app(services), services, metered, provider
        self._unused = list(providers)
        self._statements = 0
        # A listener of SQLAlchemy's events would cost each statement some twenty calls, as if they were the service's own.
        dialect = services.database.engine.dialect
        for name in ("do_execute", "do_execute_no_params", "do_executemany"):
            setattr(dialect, name, self._counting(getattr(dialect, name)))

    def _counting(self, execute: Callable[..., None]) -> Callable[..., None]:
        def counted(*arguments: Any) -> None:
            self._statements += 1
            execute(*arguments)

        return counted

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        known = {"/meter": dict, "/put": self._put, "/direct": self._direct, "/post": lambda: self._post(int(scope["query_string"]))}
        asked = known.get(scope.get("path", ""))
        if asked is None:
            await self._app(scope, receive, send)
            return
        told = asked()
        metered = {
            "cpu": time.process_time(),
            "placement": self._metered.cpu,
            "writes": self._metered.writes,
            "statements": self._statements,
        }
        body = json.dumps({**told, **metered}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    def _put(self) -> dict[str, float]:
        """The CPU of Placement's application for one PUT of a new consumer; it is emptied after."""
        placement, consumer = self._services.placement, str(uuid.uuid4())
        before = self._metered.cpu
        placement.allocate(consumer, ((self._provider, (("MEMORY_MB", 64), ("PCPU", 1))),), generation=None)
        spent = self._metered.cpu - before
        found = placement.allocation(consumer)
        assert found is not None
        placement.empty(found)
        return {"spent": spent}

    def _post(self, count: int) -> dict[str, float]:
        """The CPU of Placement's application for one POST of so many new consumers, each with what one server takes."""
        state = empty(SHAPE)
        fit = search(ASKS[1].demand, counts_of(state))
        assert fit is not None
        taken = [self._unused.pop() for _ in range(math.ceil(count / PLACES))]
        shares = [((taken[number // PLACES], amounts(fit, state)),) for number in range(count)]
        before = self._metered.cpu
        self._services.placement.allocate_all({str(uuid.uuid4()): one for one in shares})
        return {"spent": self._metered.cpu - before}

    def _direct(self) -> dict[str, float]:
        """What a create costs without HTTP: scheduler, store and our client for Placement."""
        guest = str(uuid.uuid4())
        before, taken = time.process_time(), self._metered.cpu
        self._services.fleet.guests.create(NewGuest(id=guest, name="vm", flavor=FLAVOR, request=REQUEST))
        spent = time.process_time() - before - (self._metered.cpu - taken)
        with self._services.database.read() as connection:
            assert guests.get(connection, guest).host is not None
        return {"spent": spent}


def register_host(database: Database, fleet: Fleet, name: str, *, disabled: bool = False) -> HostId:
    """Store a host of the benchmark with its provider. Returns its id."""
    host, state = HostId(str(uuid.uuid4())), empty(SHAPE)
    report = HostReport(topology=state.topology, pools=state.pools, limits=state.limits)
    with database.write() as connection:
        hosts.register(connection, host_id=host, name=name, report=report, token_hash="", lease_seconds=86400)
        if disabled:
            hosts.disable(connection, host)
    fleet.providers.sync(host)
    return host


def main(database_url: str, placement_url: str, post_hosts: int = 0) -> None:
    """Serve until standard input ends. So many hosts are registered for bare posts. There is one image, "probe"."""
    with tempfile.TemporaryDirectory(prefix="pinfold-images-") as images:
        (Path(images) / "probe.rom").touch()
        _serve(database_url, placement_url, post_hosts, Path(images))


def _serve(database_url: str, placement_url: str, post_hosts: int, images: Path) -> None:
    database = Database(database_url)
    embedded = EmbeddedPlacement(url=placement_url)
    metered = Metered(load(embedded).app)
    placement = Placement(InProcessClient(metered), writers=embedded.writers)
    fleet = assemble(database, placement)
    # Not `healer.start`: that the hosts are compared with Placement goes on behind an API that has started, and is in none of the figures.
    fleet.providers.name_things()
    fleet.scheduler.freshness.now()
    # Disabled, so that no create fills them.
    provider, *providers = [register_host(database, fleet, f"bare-{uuid.uuid4()}", disabled=True) for _ in range(1 + post_hosts)]
    services = ApiServices(
        database=database,
        fleet=fleet,
        placement=placement,
        images=images,
        placement_app=metered,
        checks=PasswordChecks(Doorkeeper(parse_accounts(f"admin:admin:{hash_password(PASSWORD)}", "accounts"))),
    )
    settings = ApiSettings(port=0)
    listening = listening_socket(settings)
    server = server_of(Service(app=Meter(services, metered, provider, providers), services=services), settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
    print(listening.getsockname()[1], flush=True)
    sys.stdin.read()
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
