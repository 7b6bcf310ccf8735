"""A service on a loopback port for the real OpenStack clients: uvicorn, SQLite, the real Placement, and agents that the tests play."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tests.build.hosts import report
from tests.rig.databases import placement_file, sqlite_file
from tests.rig.in_process import ADMIN, Agent, Fleet, make_services
from tests.rig.openstack import answer
from tests.rig.served import served

from pinfold.accounting.embedded import EmbeddedPlacement, load, unload
from pinfold.agent.wire import PROTOCOL
from pinfold.api.app import create_app
from pinfold.config.clouds import clouds_yaml
from pinfold.store.database import Database
from pinfold.store.records import PROTOCOL_FACT

__all__ = ["placement_file", "sqlite_file"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here runs real clients."""
    for item in items:
        if "clients" in item.path.parts:
            item.add_marker(pytest.mark.real_clients)


@dataclass
class Heard:
    """What every client asked, as `(method, path, status)`."""

    app: Any
    calls: list[tuple[str, str, int]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
                self.calls.append((scope["method"], scope["path"] + query, message["status"]))
            await send(message)

        await self.app(scope, receive, watched)


@dataclass
class Rig:
    """The service with one host whose agent obeys at once, and the clients' configuration."""

    url: str
    clouds: Path
    heard: Heard
    fleet: Fleet
    folder: Path

    def commands(self, *lines: str) -> list[tuple[int, Any, str]]:
        """Commands of the real client, one after another: of each its status, its output (parsed where it is JSON), its errors."""
        return [answer(line, self.environment()) for line in lines]

    def succeed(self, *lines: str) -> list[Any]:
        """The same, for commands of which none may fail: their outputs."""
        answers = self.commands(*lines)
        for line, (code, _, err) in zip(lines, answers, strict=True):
            assert code == 0, f"openstack {line}: {err}\n{self.lacking()}"
        return [out for _, out, _ in answers]

    def environment(self) -> dict[str, str]:
        """What the client sees: our cloud, and nothing of the machine's own configuration."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        return kept | {"OS_CLOUD": "pinfold", "OS_CLIENT_CONFIG_FILE": str(self.clouds), "HOME": str(self.folder), "COLUMNS": "200"}

    def lacking(self) -> list[tuple[str, str, int]]:
        """The calls that were not answered with success."""
        return [call for call in self.heard.calls if call[2] >= 400]


class Obedience(threading.Thread):
    """An agent that carries out its orders as soon as they come, over the wire."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(name=f"agent {agent.name}", daemon=True)
        self._agent = agent
        self._over = threading.Event()

    def run(self) -> None:
        heard = -1
        while not self._over.is_set():
            heard = self._agent.orders(after=heard, wait=1.0)["count"]
            self._agent.obey()

    def stop(self) -> None:
        self._over.set()
        self.join()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path, placement_file: Path) -> Iterator[Rig]:
    """The service with the host `c1` and the image `probe`."""
    folder = tmp_path_factory.mktemp("clients")
    images = folder / "images"
    images.mkdir()
    (images / "probe.rom").write_bytes(b"\x00" * 64)
    shutil.copy(sqlite_file, folder / "pinfold.db")
    shutil.copy(placement_file, folder / "placement.db")
    database = Database(f"sqlite:///{folder}/pinfold.db")
    services = make_services(database, load(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db")), images)
    heard = Heard(create_app(services))
    clouds = folder / "clouds.yaml"
    clouds.touch(mode=0o600)
    with served(heard) as url, httpx.Client(base_url=url, auth=ADMIN, timeout=180) as http:
        clouds.write_text(clouds_yaml("pinfold", url, *ADMIN))
        fleet = Fleet(http=http, services=services, database=database, images=images)
        agents = [Obedience(fleet.host("c1", replace(report(cells=2, cores=4), facts=((PROTOCOL_FACT, str(PROTOCOL)),))))]
        for agent in agents:
            agent.start()
        yield Rig(url=url, clouds=clouds, heard=heard, fleet=fleet, folder=folder)
        for agent in agents:
            agent.stop()
    database.close()
    unload()
