"""Accept connections from a listening socket within the bounds of `connections`, before and after TLS, and drop slow ones.

uvicorn itself would see a connection only after its TLS handshake, and has none of these time-outs. `protocol` bounds what a connection may
send.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from contextlib import suppress
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from pinfold.api.client_address import Proxies, address_block
from pinfold.api.connections import Connections, Member, proxy, stranger
from pinfold.api.direct import Direct
from pinfold.api.protocol import BoundedProtocol, Reader
from pinfold.api.turns import Turns
from pinfold.core.settings import TimeLimits

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.5
_LOOK_AT_ALL_SECONDS: Final = 5.0
"""How often all connections are looked at. Those in between are only the ones for which a time runs; of agents, few are."""
_TELL_SECONDS: Final = 60.0
_REST_SECONDS: Final = 0.1
_PACE_SECONDS: Final = 0.005
"""How long to wait after connections had to be dropped, so that new clients have time to authenticate."""
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_REFUSAL: Final = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Listener:
    """Serves one listening socket, from `start` to `close`; the caller owns the socket. For the loop's thread."""

    def __init__(
        self,
        listening: socket.socket,
        config: Config,
        state: ServerState,
        *,
        connections: Connections,
        proxies: Proxies,
        times: TimeLimits,
        direct: Direct,
    ) -> None:
        self._listening = listening
        self._config = config
        self._state = state
        self._connections = connections
        self._proxies = proxies
        self._times = times
        self._direct = direct
        self._loop = asyncio.get_running_loop()
        self._turns = Turns(self._loop)
        self._timed: set[BoundedProtocol] = set()
        self._all_at = 0.0
        self._opening: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._told = 0
        self._tell_at = 0.0

    def start(self) -> None:
        """Accept connections from now on."""
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening.fileno(), self._accept)
        self._look()

    def close(self) -> None:
        """Accept no more connections. Open ones go on; those in a TLS handshake end."""
        self._loop.remove_reader(self._listening.fileno())
        if self._timer is not None:
            self._timer.cancel()
        for task in self._opening:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return at once. asyncio's servers have this method, but there is nothing to wait for."""

    def _accept(self) -> None:
        gave_way = self._connections.gave_way
        for _ in range(self._connections.at_once):
            try:
                made, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._rest(error)
                return
            self._take(made, str(peer[0]))
        if self._connections.gave_way > gave_way:
            self._pause(_PACE_SECONDS)

    def _take(self, made: socket.socket, peer: str) -> None:
        member = proxy() if self._proxies.trusts(peer) else stranger(address_block(peer))
        if not self._connections.enter(member):
            made.setblocking(False)
            if self._config.ssl is None:
                with suppress(OSError):
                    made.send(_REFUSAL)
            made.close()
            return
        task = self._loop.create_task(self._open(made, member))
        member.drop = lambda: _hang_up(made)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, made: socket.socket, member: Member) -> None:
        secure: dict[str, Any] = {}
        if self._config.ssl is not None:
            secure = {"ssl": self._config.ssl, "ssl_handshake_timeout": self._times.handshake, "ssl_shutdown_timeout": self._times.answer}
        protocol = BoundedProtocol(
            self._config,
            self._state,
            connections=self._connections,
            member=member,
            times=self._times,
            turns=self._turns,
            direct=self._direct,
            timed=self._timed,
        )
        try:
            made.setblocking(False)
            await self._loop.connect_accepted_socket(lambda: Reader(protocol), made, **secure)
        except (OSError, ssl.SSLError, asyncio.CancelledError):  # the client gave up, was too slow, or was dropped
            made.close()
            self._connections.leave(member)

    def _rest(self, error: OSError) -> None:
        """The system has no file descriptor left: drop a waiting connection, and pause so that others can end."""
        _log.warning("no connection can be taken: %s; raise the limit of open files (LimitNOFILE)", error.strerror)
        self._connections.make_room()
        self._pause(_REST_SECONDS)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._loop.call_later(seconds, self._accept_again)

    def _accept_again(self) -> None:
        if self._listening.fileno() >= 0 and self._timer is not None and not self._timer.cancelled():
            self._loop.add_reader(self._listening.fileno(), self._accept)

    def _look(self) -> None:
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)  # first: an error in one look must not end all others
        self._look_once()

    def _look_once(self) -> None:
        """Drop connections that take too long, and log once a minute how many were dropped for new ones.

        Of those that are closed with an answer that nobody reads, only a look at all connections knows.
        """
        now = self._loop.time()
        every = now >= self._all_at
        for connection in list(self._state.connections if every else self._timed):
            if isinstance(connection, BoundedProtocol):
                connection.look(now)
        if every:
            self._all_at = now + min(_LOOK_AT_ALL_SECONDS, self._times.answer / 4)
        found = self._connections.gave_way + self._connections.refused
        if found > self._told and now >= self._tell_at:
            _log.warning(
                "%d connections gave way to others or were refused; %d are open, %d of them of strangers",
                found - self._told,
                self._connections.count,
                self._connections.strangers,
            )
            self._told, self._tell_at = found, now + _TELL_SECONDS


def _hang_up(made: socket.socket) -> None:
    """End a connection that is being opened. Whoever opens it sees its end and closes it; a cancelled task would close it twice."""
    with suppress(OSError):
        made.shutdown(socket.SHUT_RDWR)
