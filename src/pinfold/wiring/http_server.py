"""The HTTP server that runs a service: uvicorn, with the bounds and time-outs of `api.listener` and `api.protocol`."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from contextlib import suppress
from typing import Final

import uvicorn

from pinfold.api.agent.polls import AgentPolls
from pinfold.api.connections import Connections
from pinfold.api.listener import Listener
from pinfold.api.protocol import BoundedProtocol
from pinfold.api.websocket import MOST_MESSAGE, ConsoleProtocol
from pinfold.config.fleet import ApiSettings
from pinfold.core.errors import InvalidRequest
from pinfold.wiring.service import Service

_GRACE_SECONDS: Final = 5
_DATE_SECONDS: Final = 1.0
"""How often the date in the answers is renewed, which has whole seconds."""


def server_of(service: Service, settings: ApiSettings) -> uvicorn.Server:
    """The HTTP server for a service; `run(sockets=[…])` serves until `should_exit` is set. Raises `InvalidRequest` for its certificate."""
    config = uvicorn.Config(
        service.app,
        http=BoundedProtocol,
        ws="none" if service.services.consoles is None else ConsoleProtocol,
        ws_max_size=MOST_MESSAGE,
        ws_per_message_deflate=False,  # a small compressed message could expand to any length
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # `client_address` reads them: uvicorn trusts any client on loopback
        timeout_keep_alive=settings.times.idle,  # type: ignore[arg-type]
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise InvalidRequest(
            f"[pinfold_api] tls_certificate {settings.tls_certificate} with tls_key {settings.tls_key} cannot be used: {error}",
            key="tls_certificate",
        ) from error
    return _Server(config, service, settings)


class _Server(uvicorn.Server):
    """uvicorn's server with connections from `Listener`; before it ends, it notifies the requests that wait for orders."""

    def __init__(self, config: uvicorn.Config, service: Service, settings: ApiSettings) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_to_exit = asyncio.Event()
        super().__init__(config)
        self._service = service
        self._settings = settings

    @property
    def should_exit(self) -> bool:
        """Whether the server is to end. Any thread and any signal handler may set it."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, wanted: bool) -> None:
        self._should_exit = wanted
        if wanted and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._asked_to_exit.set)

    async def main_loop(self) -> None:
        """Renew the date in the answers, until the server is to end. uvicorn looks for that ten times a second, also if nothing happens."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked_to_exit.wait(), _DATE_SECONDS)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets."""
        # What is loaded now (Placement, the routes, the index) lives as long as the process: the collector need not check it again. It does
        # not check it now either: that takes as long as loading SQLAlchemy, and finds a few thousand small objects.
        gc.freeze()
        gc.enable()
        await super().startup([])
        listeners = [self._listener(listening, self._service.services.connections) for listening in sockets or []]
        self.servers = listeners  # type: ignore[assignment]
        for listener in listeners:
            listener.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; first the requests that wait for orders, so that they are answered and not cut off."""
        self._service.services.ended.set()
        self._service.services.fleet.presence.end()
        await super().shutdown(sockets)

    def _listener(self, listening: socket.socket, connections: Connections) -> Listener:
        return Listener(
            listening,
            self.config,
            self.server_state,
            connections=connections,
            proxies=self._service.services.proxies,
            times=self._settings.times,
            direct=AgentPolls(self._service.services),
        )
