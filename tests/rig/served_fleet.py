"""The fleet of the stories behind a real socket, by the HTTP server that pinfold runs. `tests.rig.served` serves any application."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.rig.in_process import Fleet

from pinfold.api.app import create_app
from pinfold.api.asgi import Receive, Scope, Send
from pinfold.config.fleet import ApiSettings
from pinfold.wiring.http_server import server_of
from pinfold.wiring.service import Service, listening_socket, url_of


@contextmanager
def served_fleet(fleet: Fleet, asked: list[str] | None = None) -> Iterator[str]:
    """The fleet on loopback; its URL. `asked` gets the path of each request that reaches the application."""
    app, settings = create_app(fleet.services), ApiSettings(port=0)

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        if asked is not None:
            asked.append(scope["path"])
        await app(scope, receive, send)

    listening = listening_socket(settings)
    server = server_of(Service(app=noting, services=fleet.services), settings)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield url_of(settings, listening)
    finally:
        server.should_exit = True
        thread.join(120)
        assert not thread.is_alive()
