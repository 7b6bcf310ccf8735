"""Answer a request without the application: `DirectAnswer` writes the answer, and `protocol` asks a `Direct` first.

What is cheap to answer then costs no task, no ASGI messages, and no layers. Bounds and time-outs of the connection stay what they are.
A request that differs from the one before it only in its first line is not even parsed: `DirectWork.again` reads that line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

from pinfold.api.asgi import Scope

Headers = tuple[tuple[bytes, bytes], ...]
_JSON: Final = (b"content-type", b"application/json")
_CHUNKED: Final = (b"transfer-encoding", b"chunked")


class Work(Protocol):
    """What goes on for a request until it is answered; a task is one, too."""

    def cancel(self, msg: str | None = None) -> object:
        """End it, whether or not there is an answer."""


class DirectWork(Work, Protocol):
    """Work without the application, which may begin once more."""

    def again(self, line: bytes) -> bool:
        """Begin to answer the connection's next request. Only its first line, which is this, differs from the one before, which was
        answered. False for one that is to be parsed like any other.
        """


class DirectAnswer:
    """The answer to one request, written at once: the client has little to read, and must have read the answers before it."""

    def __init__(self, cycle: RequestResponseCycle, state: ServerState) -> None:
        self._cycle = cycle
        self._state = state

    @property
    def scope(self) -> Scope:
        """The request, as an application gets it."""
        scope: Scope = self._cycle.scope  # type: ignore[assignment]
        return scope

    @property
    def possible(self) -> bool:
        """Whether the connection goes on after the answer, and its client reads. Otherwise the application answers."""
        cycle = self._cycle
        return cycle.keep_alive and not cycle.waiting_for_100_continue and not cycle.flow.write_paused

    @property
    def begun(self) -> bool:
        """Whether a part of the answer was sent."""
        return self._cycle.response_started

    def renew(self) -> None:
        """Let it be the answer to the connection's next request."""
        self._cycle.response_started = self._cycle.response_complete = False

    def whole(self, status: int, body: bytes) -> None:
        """Send an answer in one part, of JSON."""
        self._write(self._head(status, (_JSON, (b"content-length", b"%d" % len(body)))) + body)
        self._end()

    def line(self, headers: Headers, line: bytes) -> None:
        """Send the head of a successful answer and the first of its lines."""
        self._write(self._head(200, (*headers, _CHUNKED)) + b"%x\r\n%b\r\n" % (len(line), line))

    def last_line(self, line: bytes) -> None:
        """Send the last line of an answer that was begun."""
        self._write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(line), line))
        self._end()

    def cut(self) -> None:
        """End the connection in the midst of an answer, so that its client knows that the rest is missing."""
        self._cycle.transport.close()

    def _head(self, status: int, headers: Headers) -> bytes:
        cycle = self._cycle
        cycle.response_started = True
        closing = b"" if cycle.keep_alive else b"connection: close\r\n"
        lines = [b"%b: %b\r\n" % header for header in (*self._state.default_headers, *headers)]
        return b"".join((STATUS_LINE[status], *lines, closing, b"\r\n"))

    def _write(self, data: bytes) -> None:
        if not self._cycle.disconnected:
            self._cycle.transport.write(data)

    def _end(self) -> None:
        cycle = self._cycle
        if cycle.disconnected:
            return
        cycle.response_complete = True
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


Direct = Callable[[DirectAnswer, Callable[[Work], None]], DirectWork | None]
"""Takes a request that it answers, and returns the work, or returns None. It calls back with the work when that is done."""
