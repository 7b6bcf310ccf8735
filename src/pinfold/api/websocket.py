"""The WebSockets of consoles: which paths have them, and their bounds. `protocol` hands a connection over, `console_sockets` answers it.

| bound | what happens beyond |
|---|---|
| a message: 64 KiB | the connection ends |
| no answer to a ping within 20 s | the connection ends |
| the client does not read | nothing more is read from it until it does |
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from pinfold.api.connections import CONNECTIONS, MEMBER

CLIENTS: Final = "/serial"
"""Where users connect, with a token in the query."""
AGENTS: Final = "/agent/v1/consoles/"
"""Below it agents connect, to the number of the question that asks them to."""
MOST_MESSAGE: Final = 1 << 16

_QUIET: Final = logging.getLogger(f"{__name__}.uvicorn")
"""uvicorn logs the address of each WebSocket at INFO, and the token is in it. So this logger has warnings only."""
_QUIET.setLevel(logging.WARNING)


def is_console(url: bytes) -> bool:
    """Whether a request's address is one of a console.

    >>> is_console(b"/serial/?token=x"), is_console(b"/agent/v1/consoles/7"), is_console(b"/v1/hosts"), is_console(b"/serials")
    (True, True, False, False)
    """
    path = url.partition(b"?")[0]
    return path.rstrip(b"/") == CLIENTS.encode() or path.startswith(AGENTS.encode())


class ConsoleProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol for WebSockets, for one connection, which stays a member of `connections`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = self.conn.logger = _QUIET
        self.conn.debug = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over."""
        super().connection_made(transport)
        self.app_state[MEMBER].drop = self.transport.abort

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the connections."""
        super().connection_lost(exc)
        self.app_state[CONNECTIONS].leave(self.app_state[MEMBER])

    def pause_writing(self) -> None:
        """The client does not read: do not read from it, since each of its pings would be answered into memory."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()
