"""Answer a request without the application: `DirectAnswer` writes the answer, and `protocol` asks a `Direct` first.

What is cheap to answer then costs no task, no ASGI messages, and no layers. Bounds and time-outs of the connection stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from pinfold.api.asgi import Scope

Headers = tuple[tuple[bytes, bytes], ...]
_JSON: Final = (b"content-type", b"application/json")
_CHUNKED: Final = (b"transfer-encoding", b"chunked")


class Work(Protocol):
    """What goes on for a request until it is answered; a task is one, too."""

    def cancel(self, msg: str | None = None) -> object:
        """End it, whether or not there is an answer."""


class DirectAnswer:
    """The answer to one request, written at once: the client has little to read, and must have read the answers before it."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

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
        lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
        return b"".join((STATUS_LINE[status], *lines, closing, b"\r\n"))

    def _write(self, data: bytes) -> None:
        if not self._cycle.disconnected:
            self._cycle.transport.write(data)

    def _end(self) -> None:
        cycle = self._cycle
        if cycle.disconnected:
            return
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        cycle.on_response = lambda: None  # as after an application: connection and request no longer hold each other


Direct = Callable[[DirectAnswer, Callable[[Work], None]], Work | None]
"""Takes a request that it answers, and returns the work, or returns None. It calls back with the work when that is done."""
