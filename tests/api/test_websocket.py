"""WebSockets over real sockets: only where consoles are, within their bounds, and counted for as long as they are open."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from tests.real.patience import until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from pinfold.api.asgi import Receive, Scope, Send
from pinfold.api.client_address import Proxies
from pinfold.api.connections import Connections
from pinfold.api.websocket import MOST_MESSAGE
from pinfold.config.fleet import ApiSettings
from pinfold.core.settings import ConnectionLimits, ConsoleAddresses
from pinfold.wiring.http_server import server_of


class Site(NamedTuple):
    address: tuple[str, int]
    connections: Connections

    def opened(self, path: str) -> ClientConnection:
        return connect(f"ws://{self.address[0]}:{self.address[1]}{path}", proxy=None, open_timeout=60)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A server whose WebSockets echo, and that answers everything else with 200."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"plain"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})

    listening = socket.create_server(("127.0.0.1", 0))
    made = Site(listening.getsockname()[:2], Connections(ConnectionLimits()))
    fleet = SimpleNamespace(presence=SimpleNamespace(end=lambda: None))  # no agent waits here
    services = SimpleNamespace(
        connections=made.connections, proxies=Proxies(), ended=threading.Event(), consoles=ConsoleAddresses(), fleet=fleet
    )
    server = server_of(SimpleNamespace(app=answer, services=services), ApiSettings())  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield made
    server.should_exit = True
    thread.join()
    listening.close()


def test_a_websocket_echoes_and_counts_as_a_connection_until_it_ends(site: Site) -> None:
    with site.opened("/serial/?token=x") as console:
        console.send(b"a" * MOST_MESSAGE)
        assert console.recv(timeout=60) == b"a" * MOST_MESSAGE
        assert site.connections.count == 1
    until(lambda: site.connections.count == 0, "the connection has left")


def test_a_message_beyond_the_bound_ends_the_connection(site: Site) -> None:
    with site.opened("/serial") as console:
        console.send(b"a" * (MOST_MESSAGE + 1))
        with pytest.raises(ConnectionClosed) as ended:
            console.recv(timeout=60)
    assert ended.value.rcvd is not None and ended.value.rcvd.code == 1009
    until(lambda: site.connections.count == 0, "the connection has left")


@pytest.mark.parametrize("path", ["/", "/v1/hosts", "/serials", "/agent/v1/orders"])
def test_elsewhere_a_request_for_a_websocket_is_answered_as_any_other(site: Site, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught, site.opened(path):
        pass
    assert (caught.value.response.status_code, caught.value.response.body) == (200, b"plain")


def test_behind_another_request_of_the_connection_there_is_no_websocket(site: Site) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    with socket.create_connection(site.address, timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /serial HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
        heard = b""
        while heard.count(b"plain") < 2 and (more := connection.recv(65536)):
            heard += more
    assert heard.count(b"HTTP/1.1 200 ") == 2 and b"HTTP/1.1 101 " not in heard
