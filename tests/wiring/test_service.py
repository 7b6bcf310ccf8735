"""The service put together on a Placement elsewhere that comes and goes: it starts, and catches up by itself."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest
from tests.fleet import add_host
from tests.fleet_fixtures import embedded, placement_file
from tests.ports import free_port

from pinfold.accounting.embedded import Embedded, Wsgi
from pinfold.accounting.remote import RemotePlacement
from pinfold.config.fleet import ApiSettings, FleetSettings
from pinfold.core.settings import HostSettings
from pinfold.wiring.service import open_service
from pinfold.wiring.up import serve_api

__all__ = ["embedded", "placement_file"]

pytestmark = pytest.mark.real_placement

LONG_SECONDS = 3600.0


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Site:
    """A WSGI application on a port of loopback, there between `start` and `end`."""

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


def settings(folder: Path, remote: RemotePlacement) -> FleetSettings:
    return FleetSettings(
        host=HostSettings(host="c1", state_dir=str(folder), images_dir=str(folder)),
        database=f"sqlite:///{folder}/pinfold.sqlite",
        placement=remote,
        api=ApiSettings(heal_seconds=LONG_SECONDS),
    )


def until(met: Callable[[], bool], what: str) -> None:
    """Wait until it is so; fail after two minutes."""
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
        services.scheduler.sync_host_or_later(host)
        placement.start()
        until(lambda: knows(placement, host), "the provider is there long before the next healing is due")


class _Ready(Exception):
    """Ends the API at the moment that it is ready."""


@pytest.mark.parametrize("kept", [False, True], ids=["databases elsewhere", "a database below it"])
def test_the_api_makes_the_state_directory_only_for_what_it_keeps_there(tmp_path: Path, kept: bool) -> None:
    wanted = settings(tmp_path, RemotePlacement(url=f"http://127.0.0.1:{free_port()}"))
    state = tmp_path / "state"
    host = dataclasses.replace(wanted.host, state_dir=str(state))
    database = f"sqlite:///{state if kept else tmp_path}/pinfold.sqlite"

    def ready(url: str) -> None:
        raise _Ready(url)

    with pytest.raises(_Ready):
        serve_api(dataclasses.replace(wanted, host=host, database=database, api=ApiSettings(port=0)), no_auth=True, ready=ready)
    assert state.exists() is kept
