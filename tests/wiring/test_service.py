"""The service with a Placement that comes later, or comes and goes: it starts, and catches up by itself."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest
from msgspec import structs
from tests.build.rows import add_host
from tests.ports import free_port
from tests.rig.databases import embedded, placement_file
from tests.rig.in_process import InProcess

from pinfold.accounting.embedded import Embedded, EmbeddedPlacement, Wsgi, unload
from pinfold.accounting.remote import Auth, RemotePlacement
from pinfold.config.fleet import ApiSettings, FleetSettings
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.identity import HostId
from pinfold.core.settings import HostSettings
from pinfold.store.database import Database, upgrade
from pinfold.wiring import service as service_wiring
from pinfold.wiring import tending
from pinfold.wiring.api import serve_api
from pinfold.wiring.service import open_service
from pinfold.wiring.tending import FEW

__all__ = ["embedded", "placement_file"]

pytestmark = pytest.mark.real_placement

LONG_SECONDS = 3600.0
MANY = 2


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Site:
    """A WSGI application on a loopback port, available between `start` and `end`."""

    def __init__(self, app: Wsgi) -> None:
        self.port = free_port()
        self._app = app
        self._server: WSGIServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = make_server("127.0.0.1", self.port, self._app, handler_class=_Quiet)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def end(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def placement(embedded: Embedded) -> Iterator[Site]:
    site = Site(embedded.app)
    yield site
    site.end()


def settings(folder: Path, placement: EmbeddedPlacement | RemotePlacement) -> FleetSettings:
    return FleetSettings(
        host=HostSettings(host="c1", state_dir=str(folder), images_dir=str(folder)),
        database=f"sqlite:///{folder}/pinfold.sqlite",
        placement=placement,
        api=ApiSettings(heal_seconds=LONG_SECONDS),
    )


def until(met: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds; fail after two minutes."""
    end = time.monotonic() + 120
    while not met():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def knows(site: Site, host: str) -> bool:
    """Whether Placement has the host's provider."""
    answer = httpx.get(f"{site.url}/resource_providers/{host}", headers={"X-Auth-Token": "admin"}, timeout=60)
    return answer.is_success


def test_a_host_left_behind_is_caught_up_with_as_soon_as_placement_is_back(tmp_path: Path, placement: Site) -> None:
    placement.start()
    with open_service(settings(tmp_path, RemotePlacement(url=placement.url)), no_auth=True) as service:
        services = service.services
        placement.end()
        host = add_host(services.database, "c1")
        services.fleet.providers.sync_or_later(host)
        placement.start()
        until(lambda: knows(placement, host), "the provider is there long before the next healing is due")


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@pytest.mark.parametrize("count", [1, FEW + 1], ids=["few hosts", "more hosts"])
def test_the_service_answers_while_its_hosts_are_compared_with_placement(tmp_path: Path, embedded: Embedded, count: int) -> None:
    compares, may = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/resource_providers/"):
            compares.set()
            may.wait(60)
        return embedded.app(environ, start_response)

    with make_server("127.0.0.1", 0, slow, server_class=_Threads, handler_class=_Quiet) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        asked = settings(tmp_path, RemotePlacement(url=f"http://127.0.0.1:{server.server_port}"))
        database = Database(asked.database)
        upgrade(database)
        host = [add_host(database, f"c{number}") for number in range(count)][-1]
        database.close()
        with (
            open_service(asked, no_auth=True) as service,
            httpx.Client(transport=InProcess(service.app), base_url="http://localhost") as http,
        ):
            if count <= FEW:  # it has waited for them; with more hosts it begins after the first requests
                assert compares.is_set()
            assert (http.get("/healthz").status_code, http.get("/healthz").json()["hosts"]) == (200, "comparing")
            assert len(service.services.fleet.scheduler.capacity(()).hosts) == count, "no answer comes from an index without hosts"
            may.set()
            until(lambda: http.get("/healthz").json()["hosts"] == "compared", "health says that the comparison is over")
            assert service.services.placement.provider(host) is not None
        server.shutdown()


@pytest.fixture
def embedding(tmp_path: Path, placement_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedPlacement]:
    """The settings of a Placement that no process has loaded yet; two hosts are many."""
    for module in (tending, service_wiring):
        monkeypatch.setattr(module, "FEW", 1)
    shutil.copy(placement_file, tmp_path / "placement.db")
    yield EmbeddedPlacement(url=f"sqlite:///{tmp_path}/placement.db")
    unload()


@contextmanager
def serving(asked: FleetSettings, hosts: int) -> Iterator[tuple[httpx.Client, HostId]]:
    """The service on a store with so many hosts, and the last of them."""
    database = Database(asked.database)
    upgrade(database)
    host = [add_host(database, f"c{number}") for number in range(hosts)][-1]
    database.close()
    with (
        open_service(asked, no_auth=True) as service,
        httpx.Client(transport=InProcess(service.app), base_url="http://localhost", timeout=None) as http,
    ):
        yield http, host


def health(http: httpx.Client) -> tuple[str, str]:
    told = http.get("/healthz").json()
    return told.get("placement", ""), told.get("hosts", "")


def test_a_start_with_many_hosts_does_not_wait_for_an_embedded_placement(
    tmp_path: Path, embedding: EmbeddedPlacement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "_FIRST_SECONDS", LONG_SECONDS)
    with serving(settings(tmp_path, embedding), MANY) as (http, _):
        assert http.get("/compute/v2.1/servers").status_code == 200
        assert health(http) == health(http) == ("starting", "comparing")
        assert http.get("/placement/resource_providers").json() == {"resource_providers": []}, "what needs it waits for it"
        assert health(http) == ("ok", "comparing")


def test_an_embedded_placement_is_loaded_behind_a_start_and_gets_the_hosts(tmp_path: Path, embedding: EmbeddedPlacement) -> None:
    with serving(settings(tmp_path, embedding), MANY) as (http, host):
        until(lambda: health(http) == ("ok", "compared"), "it is loaded, and has been compared")
        assert http.get(f"/placement/resource_providers/{host}").status_code == 200


def test_a_start_with_few_hosts_has_loaded_its_placement(tmp_path: Path, embedding: EmbeddedPlacement) -> None:
    with serving(settings(tmp_path, embedding), 1) as (http, _):
        assert health(http)[0] == "ok"


def test_an_embedded_placement_that_cannot_be_loaded_is_away_until_it_can(
    tmp_path: Path, embedding: EmbeddedPlacement, caplog: pytest.LogCaptureFixture
) -> None:
    obstacle = tmp_path / "placement.db.lock"
    obstacle.unlink(missing_ok=True)
    obstacle.mkdir()
    with serving(settings(tmp_path, embedding), MANY) as (http, _):
        until(lambda: http.get("/healthz").status_code == 503, "health says so")
        message = http.get("/healthz").json()["error"]["message"]
        assert message.startswith("placement: away since ") and "Placement's database does not answer: IsADirectoryError" in message
        answer = http.get("/placement/resource_providers")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "pinfold.unavailable")
        assert http.get("/compute/v2.1/servers").status_code == 200
        obstacle.rmdir()
        until(lambda: health(http) == ("ok", "compared"), "it is tried again")
    assert not [record for record in caplog.records if record.exc_info], "the log says it in a sentence"


@pytest.fixture
def of_another(embedding: EmbeddedPlacement, tmp_path: Path) -> EmbeddedPlacement:
    """One whose tables have a revision that this Placement does not know."""
    with closing(sqlite3.connect(tmp_path / "placement.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'later'")
        connection.commit()
    return embedding


def test_a_placement_of_another_release_is_named_by_health(tmp_path: Path, of_another: EmbeddedPlacement) -> None:
    with serving(settings(tmp_path, of_another), MANY) as (http, _):
        until(lambda: http.get("/healthz").status_code == 503, "health says so")
        message = http.get("/healthz").json()["error"]["message"]
        assert message.startswith("placement: ") and "not of this Placement: Can't locate revision identified by 'later'" in message


def test_a_placement_of_another_release_ends_a_start_with_few_hosts(tmp_path: Path, of_another: EmbeddedPlacement) -> None:
    with pytest.raises(InvalidRequest, match="not of this Placement"), serving(settings(tmp_path, of_another), 1):
        pass


def test_an_embedded_placement_that_cannot_be_loaded_ends_a_start_with_few_hosts(tmp_path: Path, embedding: EmbeddedPlacement) -> None:
    (tmp_path / "placement.db.lock").mkdir()
    with pytest.raises(Unavailable, match="Placement's database does not answer"), serving(settings(tmp_path, embedding), 1):
        pass


class _Keystone:
    """The part of Keystone that gives a token and a catalogue with Placement at `placement`."""

    def __init__(self, placement: str) -> None:
        interface = {"interface": "internal", "region": "here", "region_id": "here", "url": placement, "id": "e"}
        catalogue = [{"type": "placement", "name": "placement", "id": "p", "endpoints": [interface]}]
        token = {"methods": ["password"], "expires_at": "2999-01-01T00:00:00.000000Z", "issued_at": "2026-01-01T00:00:00.000000Z"}
        self._body = json.dumps({"token": {**token, "user": {"id": "u", "name": "u"}, "catalog": catalogue}}).encode()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"].read(length)
        assert (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("POST", "/v3/auth/tokens")
        # The token that a Placement with `auth_strategy = noauth2` takes.
        start_response("201 Created", [("Content-Type", "application/json"), ("X-Subject-Token", "admin")])
        return [self._body]


@pytest.mark.parametrize("by", ["the catalogue", "its address"])
def test_the_service_starts_without_keystone_says_so_and_catches_up(tmp_path: Path, placement: Site, by: str) -> None:
    placement.start()
    keystone = Site(_Keystone(placement.url))
    remote = RemotePlacement(
        url="" if by == "the catalogue" else placement.url,
        auth=Auth.KEYSTONE,
        auth_url=f"{keystone.url}/v3",
        username="pinfold",
        password="secret",
        project_name="service",
        region="here",
    )
    with (
        open_service(settings(tmp_path, remote), no_auth=True) as service,
        httpx.Client(transport=InProcess(service.app), base_url="http://localhost") as http,
    ):
        host = add_host(service.services.database, "c1")
        answer = http.get("/healthz")
        assert answer.status_code == 503
        assert answer.json()["error"]["message"].startswith("placement: away since ")
        assert f"{keystone.url}/v3/auth/tokens" in answer.json()["error"]["message"]
        assert http.get("/compute/v2.1/os-hypervisors").status_code == 200
        keystone.start()
        try:
            until(lambda: knows(placement, host), "the provider is there")
            until(lambda: http.get("/healthz").is_success, "the service says that all is well; it asks with little patience")
        finally:
            keystone.end()


def test_a_catalogue_without_placement_is_a_wrong_setting(tmp_path: Path) -> None:
    keystone = Site(_Keystone("http://127.0.0.1:9"))
    keystone.start()
    wrong = RemotePlacement(url="", auth=Auth.KEYSTONE, auth_url=f"{keystone.url}/v3", region="nowhere")
    try:
        with (
            pytest.raises(InvalidRequest, match="catalogue has no placement service in region 'nowhere'"),
            open_service(settings(tmp_path, wrong), no_auth=True),
        ):
            pass
    finally:
        keystone.end()


class _Ready(Exception):
    """Ends the API as soon as it is ready."""


@pytest.mark.parametrize("kept", [False, True], ids=["databases elsewhere", "a database below it"])
def test_the_api_makes_the_state_directory_only_for_what_it_keeps_there(tmp_path: Path, kept: bool) -> None:
    wanted = settings(tmp_path, RemotePlacement(url=f"http://127.0.0.1:{free_port()}"))
    state = tmp_path / "state"
    host = structs.replace(wanted.host, state_dir=str(state))
    database = f"sqlite:///{state if kept else tmp_path}/pinfold.sqlite"

    def ready(url: str) -> None:
        raise _Ready(url)

    with pytest.raises(_Ready):
        serve_api(dataclasses.replace(wanted, host=host, database=database, api=ApiSettings(port=0)), no_auth=True, ready=ready)
    assert state.exists() is kept
