"""The HTTP protocol, with bounds on what one connection may send, hold and take time for. `connections` bounds their number.

| bound | what happens beyond |
|---|---|
| a head: 64 KiB of address and headers, 128 headers | 431, and the connection ends |
| trailers: 128; any part of a message that is not its body: 64 KiB | 431, and the connection ends |
| a body: 4096 chunks; 2 MiB with its framing, on every route | 413, and the connection ends |
| requests that wait for the response to an earlier one: 8 | those are answered, then the connection ends |
| time for a head, for a body | 408, and the connection ends |
| time in which the client reads nothing of a response | the connection ends |

The connection is not read while a request waits for the response to an earlier one, nor before the application asks for a body. One read
takes at most 16 KiB, 4 KiB from a client without an account; other connections are served before the next read. The parser is httptools,
in C. h11 has some of these bounds too, but needs two seconds for 1 MiB in chunks of one byte, and no request is answered meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
from starlette.requests import HTTPConnection
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from pinfold.api.connections import CONNECTIONS, MEMBER, Connections, Kind, Member
from pinfold.api.direct import Direct, DirectAnswer, DirectWork, Work
from pinfold.api.turns import Turns
from pinfold.api.websocket import is_console
from pinfold.core.settings import TimeLimits

MAX_HEAD: Final = 1 << 16
"""Bytes of a head: address, names and values, plus four for each header."""
MAX_HEADERS: Final = 128
MAX_CHUNKS: Final = 4096
"""Every chunk costs time, however small; clients send chunks of kilobytes."""
MAX_QUEUED: Final = 8
MAX_UNREAD: Final = 1 << 21
"""Bytes of a message's body with its framing, whoever reads it, unless a route makes room. The application accepts less:
`bounds.MAX_BODY`.
"""
_ROOM: Final = "body_room"
_LEAST_CHUNK: Final = 1 << 12
"""The least average size of the chunks of a body for which a route has made room."""
_PACE: Final = 1 << 20
"""Of such a body, the bytes that must come within the time for a body."""
_READ: Final = 1 << 14
_READ_OF_STRANGERS: Final = 1 << 12
_END: Final = b"\r\n\r\n"
_REQUEST_LINE: Final = 256
"""The bytes of a head that `MAX_HEAD` does not count: the method, the version, and some blanks."""
_PHRASES: Final = {
    400: b"Bad Request",
    408: b"Request Timeout",
    413: b"Content Too Large",
    431: b"Request Header Fields Too Large",
}


class BodyRoom:
    """How large the body of one request may be, with its framing. The body is not read before a route asks for it; a route that reads a
    larger one as it comes makes room first.
    """

    def __init__(self) -> None:
        self.bytes, self.chunks, self.made = MAX_UNREAD, MAX_CHUNKS, False

    def raise_to(self, size: int) -> None:
        """Make room for a body of that size. Its time then counts for each MiB instead of the whole."""
        self.chunks = MAX_CHUNKS + size // _LEAST_CHUNK
        self.bytes = MAX_UNREAD + size + size // 64
        self.made = True


def room_of(request: HTTPConnection) -> BodyRoom:
    """The room of a request's body; one without effect where another server than this one has read the request."""
    found: BodyRoom = request.scope.get("state", {}).get(_ROOM) or BodyRoom()
    return found


class _BeyondBounds(Exception):
    """Raised inside the parser to stop it at once; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Flow(FlowControl):
    """Decides whether the connection is read: by uvicorn's rules, but never while it is held, nor while others have their turn."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.held = False
        self._yielding = False

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            if not self._yielding:
                self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused and not self.held:
            self.read_paused = False
            if not self._yielding:
                self._transport.resume_reading()

    def hold(self) -> None:
        """Stop reading until it is called with False."""
        self.held = True
        self.pause_reading()

    def yield_turn(self) -> None:
        """Stop reading until `next_turn`. By itself libuv reads one connection up to 32 times before it reads others."""
        self._yielding = True
        if not self.read_paused:
            self._transport.pause_reading()

    def next_turn(self) -> None:
        """Continue reading."""
        self._yielding = False
        if not self.read_paused and not self._transport.is_closing():
            self._transport.resume_reading()


def _after_first_line(data: bytes) -> bytes:
    """What follows the first line, with that line's end; nothing if the bytes are not the head of one GET, whole and alone.

    >>> _after_first_line(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"), _after_first_line(b"GET / HTTP/1.1\\r\\nHost")
    (b'\\r\\nHost: x\\r\\n\\r\\n', b'')
    """
    line, end, rest = data.partition(b"\r\n")
    alone = data.find(_END) == len(data) - len(_END)
    return end + rest if alone and line.startswith(b"GET ") and b"\n" not in line else b""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools for one connection, which is one member of `connections`.

    `direct` is asked first to answer a request. The connection is in `timed` while it may be too slow.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        *,
        connections: Connections,
        member: Member,
        times: TimeLimits,
        turns: Turns,
        direct: Direct,
        timed: set[BoundedProtocol],
    ) -> None:
        super().__init__(config, server_state, {})
        self._connections = connections
        self._member = member
        self._times = times
        self._turns = turns
        self._direct = direct
        self._timed = timed
        self._direct_work: DirectWork | None = None
        self._rest = b""
        """What followed the first line of the last request, if that was answered directly."""
        self._head = self._headers = self._chunks = self._unfinished = self._message = 0
        self._room, self._paced = BodyRoom(), 0
        self._in_body = self._lost = self._deaf = self._upgrades = False
        self._refusal = 400
        self._working: set[Work] = set()
        self._dropped = False
        self._since: float | None = None
        """Since when a head or a body is awaited; None while the connection is idle between two requests."""
        self._blocked: float | None = None
        """Since when the client takes nothing of an answer, or of the last one before the connection ends."""

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._since = self.loop.time()
        self._timed.add(self)
        self._member.drop = self.drop
        if not self._member.entered:  # it was dropped while it was being opened
            self.drop()

    def drop(self) -> None:
        """End the connection at once, and all work for it."""
        self._dropped = True
        if self.cycle is not None:
            self.cycle.disconnected = True
        for cycle, _ in self.pipeline:
            cycle.disconnected = True
        self.pipeline.clear()
        self.transport.abort()
        for task in self._working:
            task.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._timed.discard(self)
        self._lost = True
        self._leave_when_done()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._blocked = self.loop.time()
        self._timed.add(self)
        self._connections.waits(self._member)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._blocked = None
        if self._working:
            self._connections.works(self._member)

    def look(self, now: float) -> None:
        """End the connection if its time is over. It leaves the `timed` ones if no time runs for it; the next bytes bring it back."""
        if self._blocked is None and self.transport.is_closing():
            self._blocked = now
        if self._blocked is not None:
            if now - self._blocked > self._times.answer:
                self.transport.abort()
        elif self._since is not None and (self._in_body or not self._answering):
            if self._flow.read_paused:
                self._since = now  # the client is not late while the service does not read
            elif now - self._since > (self._times.body if self._in_body else self._times.head):
                self._refuse(408)
        if self._since is None and self._blocked is None:
            self._timed.discard(self)

    # What comes

    @property
    def most(self) -> int:
        """How many bytes to read at once."""
        return _READ_OF_STRANGERS if self._strange else _READ

    def data_received(self, data: bytes) -> None:
        if not self._strange:
            self._parse(data)
        elif not self._turns.take(lambda: self._parse_in_turn(data)):
            self._flow.yield_turn()

    def _parse_in_turn(self, data: bytes) -> None:
        if not self._lost:
            self._flow.next_turn()
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        if self._deaf or self.transport.is_closing() or self._repeats(data):
            return
        whole = self._since is None and not self._answering
        self._direct_work, self._rest = None, b""
        self._unset_keepalive_if_required()
        self._timed.add(self)
        queued = self._answering and not self._in_body
        self._unfinished += len(data)
        self._message += len(data)
        if self._since is None and not self._answering:
            self._since = self.loop.time()
        try:
            self.parser.feed_data(data)
            if self._unfinished > MAX_HEAD + _REQUEST_LINE:
                raise _BeyondBounds(431)
            if self._in_body and self._message > self._room.bytes:
                raise _BeyondBounds(413)
        except httptools.HttpParserUpgrade:
            if self._upgrades:
                self.app_state = {MEMBER: self._member, CONNECTIONS: self._connections}
                self.handle_websocket_upgrade()
                self._timed.discard(self)
                return
            # Any other request is answered without an upgrade.
        except httptools.HttpParserError:
            self._refuse(self._refusal)
            return
        except _BeyondBounds as error:
            self._refuse(error.status)
            return
        if whole and self._direct_work is not None and self._since is None:
            self._rest = _after_first_line(data)
        if queued or self.pipeline:
            self._flow.hold()
        elif self._in_body and self.cycle.body and not self.cycle.response_complete:
            self.flow.pause_reading()  # stop reading until the application asks for it
        elif len(data) == self.most:
            self._flow.yield_turn()
            self.loop.call_soon(self._flow.next_turn)

    def _repeats(self, data: bytes) -> bool:
        """Whether this is a request whose headers are, byte for byte, those of the one that was answered last, and is answered directly."""
        work, rest = self._direct_work, self._rest
        if work is None or not rest or self._answering or self._since is not None or not data.endswith(rest):
            return False
        if not work.again(data[: -len(rest)]):
            return False
        self._unset_keepalive_if_required()
        self._connections.works(self._member)
        self._begin(work)
        return True

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_QUEUED:
            raise _BeyondBounds(0)
        super().on_message_begin()
        self._head = self._headers = self._unfinished = 0
        self._since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        self._count(len(name) + len(value) + 4)
        if not self._in_body:  # else it is a trailer, which nobody reads; among the headers it would count as one
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._room, self._paced = BodyRoom(), 0
        self.scope["state"] = {MEMBER: self._member, CONNECTIONS: self._connections, _ROOM: self._room}
        self._connections.works(self._member)
        self._upgrades = not self._answering and is_console(self.url) and super()._should_upgrade()
        super().on_headers_complete()
        self._in_body = True
        self._head = self._headers = self._chunks = self._unfinished = self._message = 0
        self._since = self.loop.time()

    def _should_upgrade(self) -> bool:
        """Whether the request becomes a WebSocket: only where there are consoles, and never behind another request of the connection."""
        return self._upgrades

    def on_chunk_header(self) -> None:
        """A chunk begins. uvicorn itself does not use this callback."""
        self._chunks += 1
        if self._chunks > self._room.chunks:
            raise self._stop(413)

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        if self._room.made and self._message - self._paced >= _PACE:
            self._paced, self._since = self._message, self.loop.time()
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body = False
        self._unfinished = 0
        self._since = None

    # What is answered

    def on_response_complete(self) -> None:
        self._flow.held = len(self.pipeline) > 1  # the first of them is next, and its body may still be missing
        super().on_response_complete()
        if self._since is not None and not self._in_body:
            self._since = self.loop.time()
        if not self._answering:
            self._connections.waits(self._member)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._direct_work = self._direct(DirectAnswer(cycle, self.server_state), self._ended)
        self._begin(self._direct_work or self._application_task(cycle, app))

    def _begin(self, work: Work) -> None:
        self.tasks.add(work)  # type: ignore[arg-type]
        self._working.add(work)

    def _application_task(self, cycle: RequestResponseCycle, app: Any) -> asyncio.Task[None]:
        async def until_dropped(*arguments: Any) -> None:
            try:
                await app(*arguments)
            except asyncio.CancelledError:
                if not self._dropped:
                    raise

        task = self.loop.create_task(cycle.run_asgi(until_dropped))
        task.add_done_callback(self._ended)
        return task

    def _ended(self, work: Work) -> None:
        self.tasks.discard(work)
        self._working.discard(work)
        self._leave_when_done()

    def _leave_when_done(self) -> None:
        """Leave the group only when the connection is lost and no work for it remains: hanging up early must not allow a client more work
        than others.
        """
        if self._lost and not self._working:
            self._connections.leave(self._member)

    @property
    def _strange(self) -> bool:
        return self._member.group[0] is Kind.ADDRESS

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _flow(self) -> _Flow:
        assert isinstance(self.flow, _Flow)
        return self.flow

    def _count(self, size: int) -> None:
        self._head += size
        self._unfinished = 0 if self._in_body else self._unfinished
        if self._head > MAX_HEAD or self._headers > MAX_HEADERS:
            raise self._stop(431)

    def _stop(self, status: int) -> _BeyondBounds:
        self._refusal = status
        return _BeyondBounds(status)

    def _refuse(self, status: int) -> None:
        """Send the refusal, unless a response is being sent, and end the connection. Requests queued before the fault are answered
        first.
        """
        if self.transport.is_closing():
            return
        self._deaf = True
        if len(self.pipeline) >= MAX_QUEUED:
            self.pipeline[0][0].keep_alive = False
            self._flow.hold()
            return
        unanswered = self._in_body and self._answering and not self.cycle.response_started and not self.pipeline
        if unanswered or not (self._in_body or self._answering):
            head = b"HTTP/1.1 %d %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % (status, _PHRASES[status])
            self.transport.write(head)
        if self._answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


class Reader(asyncio.BufferedProtocol):
    """Reads for a `BoundedProtocol`, at most 16 KiB at a time, into one buffer for all connections, because input is parsed at once."""

    _buffer: Final = memoryview(bytearray(_READ))

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound TLS's buffer of unread data, too."""
        if hasattr(transport, "set_read_buffer_limits"):
            transport.set_read_buffer_limits(high=2 * _READ)
        self._protocol.connection_made(transport)  # type: ignore[arg-type]

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """The buffer to read into."""
        return self._buffer[: self._protocol.most]

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the new bytes."""
        self._protocol.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> None:
        """The client sends no more."""
        self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read its response."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The client reads its response again."""
        self._protocol.resume_writing()
