"""`FaultProxy`: stands between two parts of the service and lets requests fail as a test says. What is expected then is the test's."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_CONFLICT = (
    '{"errors": [{"status": 409, "title": "Conflict", "detail": "a conflict that the test made", '
    '"code": "placement.concurrent_update", "request_id": "req-0"}]}'
)

_JSON = {"Content-Type": "application/json"}
_CARRIED = ("Content-Type", "X-Pinfold-Suffix")


@dataclass
class Fault:
    """What happens to requests that match, the next `times` of them.

    `away`: the connection breaks before the upstream hears. `lost`: it breaks after the upstream has answered. `slow`: the upstream hears
    after `seconds`. `late`: the connection breaks at once, and the upstream hears after `seconds`. `replay`: `content` is the answer.
    `pass`: nothing; it is only counted. Or the answer is a status. `answered` has the status of each answer that the upstream gave.
    """

    kind: str
    matches: Callable[[str, str], bool] = lambda method, path: True
    times: int = 1 << 30
    seconds: float = 0.0
    content: bytes = b""
    hits: int = 0
    answered: list[int] = field(default_factory=list)


@dataclass
class FaultProxy:
    """Use it as a context manager. `upstream` may be changed at any time."""

    upstream: str
    faults: list[Fault] = field(default_factory=list)

    def __enter__(self) -> FaultProxy:
        self._http = httpx.Client(timeout=120.0)
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy._handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._http.close()

    @property
    def url(self) -> str:
        """Where the service finds it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, fault: Fault) -> Fault:
        """Let requests fail from now on."""
        with self._lock:
            self.faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Let requests that match pass from now on; one that was cleared already is no error."""
        with self._lock:
            self.faults = [other for other in self.faults if other is not fault]

    def clear(self) -> None:
        """Let every request pass from now on."""
        with self._lock:
            self.faults.clear()

    def _take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.hits < fault.times and fault.matches(method, path):
                    fault.hits += 1
                    return fault
        return None

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        fault = self._take(request.command, request.path)
        kind = fault.kind if fault else ""
        if kind == "away":
            self._break(request)
            return
        if kind.isdigit():
            self._answer(request, int(kind), _CONFLICT.encode() if kind == "409" else b"a fault that the test made", _JSON)
            return
        if kind == "replay" and fault is not None:
            self._answer(request, 200, fault.content, _JSON)
            return
        if kind == "late":
            self._break(request)
        if fault is not None and fault.seconds:
            time.sleep(fault.seconds)
        kept = {key: value for key, value in request.headers.items() if key.lower() not in ("host", "content-length", "connection")}
        try:
            answer = self._http.request(request.command, f"{self.upstream}{request.path}", content=body, headers=kept)
        except httpx.HTTPError:
            self._break(request)
            return
        if fault is not None:
            fault.answered.append(answer.status_code)
        if kind == "late":
            return
        if kind == "lost":
            self._break(request)
            return
        self._answer(request, answer.status_code, answer.content, {key: answer.headers[key] for key in _CARRIED if key in answer.headers})

    @staticmethod
    def _break(request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        with contextlib.suppress(OSError):
            request.connection.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _answer(request: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]) -> None:
        with contextlib.suppress(OSError):
            FaultProxy._send(request, status, content, headers)

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]) -> None:
        request.send_response(status)
        for key, value in headers.items():
            request.send_header(key, value)
        request.send_header("Content-Length", "0" if status == 204 else str(len(content)))
        request.end_headers()
        if status != 204:
            request.wfile.write(content)
