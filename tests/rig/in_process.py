"""The real application for the stories: SQLite, the real Placement embedded, and agents that a test plays over the real routes."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tests.build.hosts import report
from tests.rig.client import COMPUTE, NEWEST, Client

from pinfold.accounting.embedded import Embedded
from pinfold.agent.wire import PROTOCOL, Absence, GuestReport, Hello, ThreadReport
from pinfold.api.accounts import hash_password, parse_accounts
from pinfold.api.app import create_app
from pinfold.api.dependencies import ApiServices
from pinfold.api.doorkeeper import Doorkeeper
from pinfold.api.password_checks import PasswordChecks
from pinfold.core.encoding import plain
from pinfold.core.identity import ClaimId
from pinfold.core.settings import AttemptLimits
from pinfold.scheduler.model import SchedulerSettings
from pinfold.service.fleet import assemble
from pinfold.store.database import Database
from pinfold.store.records import HostReport, Observed

ADMIN = ("alice", "correct horse")
READER = ("bob", "battery staple")
AT_ONCE = SchedulerSettings(refresh_seconds=0.0, traits_seconds=0.0)
"""Nothing is remembered from one request to the next, so that a story's next line sees what the line before did."""

PATIENT = AttemptLimits(wrong_per_minute=100_000)
"""A story may send as many wrong passwords as it likes."""

_ACCOUNTS = parse_accounts(
    f"{ADMIN[0]}:admin:{hash_password(ADMIN[1], rounds=4)}\n{READER[0]}:reader:{hash_password(READER[1], rounds=4)}\n", "accounts"
)


class InProcess(httpx.BaseTransport):
    """Calls an ASGI application in an event loop of its own, so that tests are plain code and threads may ask at the same time.

    An exception that the application lets through is raised in the test.
    """

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app=app)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asgi", daemon=True)
        self._thread.start()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run_coroutine_threadsafe(self._call(request), self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _call(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(await answer.aread()))


@dataclass
class Agent:
    """A host's agent as the test plays it: it says what it is told to say, and nothing of itself. One of protocol 1 names no claims."""

    http: httpx.Client
    id: str
    name: str
    token: str
    reported: HostReport
    running: dict[str, int] = field(default_factory=dict)
    protocol: int = PROTOCOL

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        return self.http.request(method, f"/agent/v1{path}", json=body, headers=headers, auth=_NO_AUTH)

    def hello(self, reported: HostReport | None = None, name: str = "") -> httpx.Response:
        self.reported = reported or self.reported
        return self.ask("PUT", "/host", plain(Hello(name=name or self.name, report=self.reported)))

    def orders(self, after: int = -1, wait: float = 0.0) -> dict[str, Any]:
        speaks = f"&protocol={self.protocol}" if self.protocol > 1 else ""
        answer = self.ask("GET", f"/orders?after={after}&wait={wait}{speaks}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def order(self, guest: str) -> dict[str, Any]:
        """The order of one guest."""
        return next(order for order in self.orders()["orders"] if order["guest"] == guest)

    def says(
        self,
        guest: str,
        observed: Observed,
        *,
        boot: int | None = None,
        revision: int = 0,
        threads: ThreadReport | None = None,
        failure: str = "",
        claim: ClaimId | None = None,
    ) -> httpx.Response:
        told = GuestReport(revision=revision, observed=observed, boot=boot, threads=threads, failure=failure, claim=claim)
        return self.ask("POST", f"/guests/{guest}", self._said(told))

    def gone(self, guest: str, revision: int, failure: str = "", claim: ClaimId | None = None) -> httpx.Response:
        said = Absence(revision=revision, failure=failure, claim=claim)
        return self.ask("POST", f"/guests/{guest}/absence", self._said(said))

    def _said(self, value: GuestReport | Absence) -> Any:
        said = plain(value)
        if self.protocol == 1:
            del said["claim"]
        return said

    def claim_of(self, order: dict[str, Any]) -> tuple[int, ClaimId | None]:
        """By which revision and which claim this agent names an order's claim."""
        return (order["claim"]["revision"], order["claim"]["id"]) if self.protocol == PROTOCOL else (order["revision"], None)

    def obey(self) -> None:
        """Carry out every order as an honest agent would, at once, and report it."""
        for order in self.orders()["orders"]:
            guest, revision, claim = order["guest"], *self.claim_of(order)
            match order["desired"]:
                case "running" if pause := order.get("pause"):
                    paused = Observed.PAUSED if pause == "memory" else Observed.STOPPED
                    self.says(guest, paused, boot=order["boot"], revision=revision, claim=claim)
                case "running":
                    self.says(guest, Observed.RUNNING, boot=order["boot"], revision=revision, claim=claim)
                case "stopped":
                    self.says(guest, Observed.STOPPED, boot=order["boot"], revision=revision, claim=claim)
                case _:
                    self.gone(guest, revision, claim=claim)


class _NoAuth(httpx.Auth):
    """Leaves the headers as they are, the client's own account out of them."""

    def auth_flow(self, request: httpx.Request) -> Any:
        yield request


_NO_AUTH = _NoAuth()


@dataclass
class Fleet(Client):
    """The application with its parts, and a client that calls as an admin."""

    http: httpx.Client
    services: ApiServices
    database: Database
    images: Path
    agents: dict[str, Agent] = field(default_factory=dict)

    # -- asking -----------------------------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None, *, version: str = NEWEST, status: int | None = None) -> httpx.Response:
        """One Compute call, as the admin, at that microversion; `status` is asserted where given."""
        return self.call(method, f"{COMPUTE}{path}", body, version=version, status=status)

    def placement(self, path: str) -> Any:
        """What Placement itself answers, over HTTP, as a client would ask it."""
        answer = self.http.get(f"/placement{path}", headers={"OpenStack-API-Version": "placement 1.39"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def usage(self, host: str) -> dict[str, int]:
        """What is used of a host (by name) in Placement; classes of which nothing is used are left out."""
        found = self.placement(f"/resource_providers/{self.agents[host].id}/usages")["usages"]
        return {name: amount for name, amount in found.items() if amount}

    # -- making -----------------------------------------------------------------------------------------------------------------------

    def host(self, name: str, reported: HostReport | None = None) -> Agent:
        """Add a host and let its agent say hello."""
        answer = self.http.post("/v1/hosts", json={"name": name})
        assert answer.status_code == 201, answer.text
        made = Agent(http=self.http, id=answer.json()["host"]["id"], name=name, token=answer.json()["token"], reported=reported or report())
        assert made.hello().status_code == 200
        self.agents[name] = made
        return made

    def status(self, server: str) -> str:
        return str(self.show(server)["status"])

    def obey(self) -> None:
        """Every agent carries out its orders."""
        for agent in self.agents.values():
            agent.obey()


def make_services(
    database: Database,
    embedded: Embedded,
    images: Path,
    *,
    settings: SchedulerSettings = AT_ONCE,
    lease_seconds: float = 3600.0,
    limits: AttemptLimits = PATIENT,
) -> ApiServices:
    """The parts on that database and Placement, with the two accounts and the image `PROBE`."""
    images.mkdir(exist_ok=True)
    (images / "probe.rom").write_bytes(b"\x00" * 64)
    fleet = assemble(database, embedded.client, settings)
    fleet.healer.start()
    return ApiServices(
        database=database,
        fleet=fleet,
        placement=embedded.client,
        images=images,
        placement_app=embedded.app,
        checks=PasswordChecks(Doorkeeper(_ACCOUNTS), limits),
        lease_seconds=lease_seconds,
        attach_seconds=0.0,
    )


@contextmanager
def open_fleet(
    folder: Path, tables: Path, embedded: Embedded, *, settings: SchedulerSettings = AT_ONCE, limits: AttemptLimits = PATIENT
) -> Iterator[Fleet]:
    """The application in a folder, on a copy of a SQLite file that has our tables; one image, `probe`."""
    images = folder / "images"
    shutil.copy(tables, folder / "pinfold.db")
    database = Database(f"sqlite:///{folder}/pinfold.db")
    with fleet_on(database, embedded, images, settings=settings, limits=limits) as made:
        yield made
    database.close()


@contextmanager
def fleet_on(
    database: Database, embedded: Embedded, images: Path, *, settings: SchedulerSettings = AT_ONCE, limits: AttemptLimits = PATIENT
) -> Iterator[Fleet]:
    """The application on a database that has our tables."""
    services = make_services(database, embedded, images, settings=settings, limits=limits)
    with httpx.Client(transport=InProcess(create_app(services)), base_url="http://pinfold.test", auth=ADMIN, timeout=None) as http:
        yield Fleet(http=http, services=services, database=database, images=images)
    services.fleet.presence.end()
