"""A real Keystone, and a service whose users are Keystone's: uvicorn, SQLite, the real Placement, and an agent that obeys."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tests.build.hosts import report
from tests.real.clients.conftest import Obedience
from tests.rig.client import COMPUTE, compute
from tests.rig.databases import placement_file, sqlite_file
from tests.rig.in_process import ADMIN, Fleet, make_services
from tests.rig.keystone import Keystone, running_keystone
from tests.rig.keystone_stand_in import authtoken
from tests.rig.served import served

from pinfold.accounting.embedded import EmbeddedPlacement, load, unload
from pinfold.agent.wire import PROTOCOL
from pinfold.api.app import create_app
from pinfold.api.keystone import KeystoneTokens
from pinfold.api.keystone_sign_in import KeystoneSignIn
from pinfold.api.ui.token_cookies import TokenCookies
from pinfold.config.keystone import keystone_conf
from pinfold.store.database import Database
from pinfold.store.records import PROTOCOL_FACT

__all__ = ["placement_file", "sqlite_file"]


@dataclass
class Cloud:
    """The service at `url`, its Keystone, and the service's accounts beside it."""

    url: str
    keystone: Keystone
    fleet: Fleet
    folder: Path

    def ask(self, token: str, method: str, path: str, body: Any = None, *, status: int) -> Any:
        """One call with a token."""
        answer = httpx.request(method, f"{self.url}{path}", json=body, headers={"X-Auth-Token": token} | compute(), timeout=120)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def servers(self, token: str, query: str = "") -> set[str]:
        """The names of the servers in a listing."""
        return {server["name"] for server in self.ask(token, "GET", f"{COMPUTE}/servers{query}", status=200)["servers"]}


@pytest.fixture(scope="module")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    """A Keystone with the projects `red` and `blue`, and the user `pinfold` by whom the service checks tokens."""
    with running_keystone(tmp_path_factory.mktemp("keystone")) as made:
        for project in ("service", "red", "blue"):
            made.project(project)
        made.user("pinfold", service="service")
        made.user("mia", red="member")
        made.user("ben", blue="member")
        made.user("rob", red="reader")
        made.user("ada", red="admin")
        made.user("lou", red="service")
        made.user("sam", red="admin", blue="admin")
        yield made


@pytest.fixture(scope="module")
def cloud(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path, placement_file: Path) -> Iterator[Cloud]:
    """The service with the host `c1`, the image `probe` and the flavor `tiny`."""
    folder = tmp_path_factory.mktemp("cloud")
    images = folder / "images"
    shutil.copy(sqlite_file, folder / "pinfold.db")
    shutil.copy(placement_file, folder / "placement.db")
    database = Database(f"sqlite:///{folder}/pinfold.db")
    services = make_services(database, load(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db")), images)
    (folder / "pinfold.conf").write_text(authtoken(keystone.url))
    conf = keystone_conf([str(folder / "pinfold.conf")])
    tokens, sign_in = KeystoneTokens(conf), KeystoneSignIn(conf)
    services = dataclasses.replace(services, tokens=tokens, keystone=sign_in, cookies=TokenCookies(bytes(32)))
    with served(create_app(services)) as url, httpx.Client(base_url=url, auth=ADMIN, timeout=180) as http:
        fleet = Fleet(http=http, services=services, database=database, images=images)
        agent = Obedience(fleet.host("c1", replace(report(cells=2, cores=4), facts=((PROTOCOL_FACT, str(PROTOCOL)),))))
        fleet.flavor("tiny", vcpus=1, hw_cpu_policy="dedicated")
        agent.start()
        yield Cloud(url=url, keystone=keystone, fleet=fleet, folder=folder)
        services.ended.set()
        agent.stop()
    tokens.close()
    sign_in.close()
    database.close()
    unload()
