"""Serve pages such as `GET /metrics` on a loopback address or a unix socket. Anybody who reaches it may read: names of guests, places
and times.

At most eight connections are served at once, each for one request within five seconds; more are closed at once.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl

from pinfold.core.addresses import is_loopback, names_loopback
from pinfold.core.errors import InvalidRequest

_log = logging.getLogger(__name__)

UNIX: Final = "unix:"
METRICS: Final = "/metrics"
HISTORY: Final = "/history"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PLAIN: Final = "text/plain; charset=utf-8"
_MOST_FIELDS: Final = 8
_NONE: Final[Mapping[str, str]] = {}
_AT_ONCE: Final = 8
_SECONDS: Final = 5.0
_SOCKET_MODE: Final = 0o660
_FORMS: Final = "ADDRESS:PORT on loopback (127.0.0.1:9177, [::1]:9177) and unix:PATH are allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page: the type of its content, and what renders it from the fields of a query. That raises `InvalidRequest` for bad fields.

    `headers` are more headers of the answer. The value of the request's header `hears` is among the fields, by that name. A page of
    `own_host` is for browsers: the request must name loopback as its host, so that a page of another site cannot read it under a name of
    its own that suddenly means 127.0.0.1 (DNS rebinding).
    """

    content_type: str
    render: Callable[[Mapping[str, str]], bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    hears: str = ""
    own_host: bool = False


Pages = Mapping[str, Page]
"""The pages by path."""


def parse(text: str, *, option: str = "--listen") -> str | tuple[str, int]:
    """The path of a unix socket, or a loopback address with its port. Raises `InvalidRequest` that names the option for anything else.

    >>> parse("unix:/run/pinfold/watch.sock"), parse("127.0.0.1:9177"), parse("[::1]:0")
    ('/run/pinfold/watch.sock', ('127.0.0.1', 9177), ('::1', 0))
    """
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > 107:
            raise InvalidRequest(f"{option} {text}: a unix socket has an absolute path of at most 107 bytes", key=option.removeprefix("--"))
        return path
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not is_loopback(host):
        raise InvalidRequest(f"{option} {text}: {_FORMS}; others could read the metrics of all guests", key=option.removeprefix("--"))
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise InvalidRequest(f"{option} {text}: {_FORMS}", key=option.removeprefix("--"))
    return host, int(port)


@contextmanager
def serving(address: str | tuple[str, int], pages: Pages) -> Iterator[str]:
    """Serve the pages until the block ends. Yields the address of the metrics as a URL, or `unix:PATH`.

    Raises `InvalidRequest` if the address cannot be listened on.
    """
    server = _server(address, pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="pinfold metrics", daemon=True)
    thread.start()
    try:
        yield _url(server)
    finally:
        server.shutdown()
        server.server_close()
        if isinstance(address, str):
            with suppress(FileNotFoundError):
                os.unlink(address)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 16

    def __init__(self, address: str | tuple[str, int], pages: Pages) -> None:
        self.pages = pages
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        self.address_family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        if self.address_family == socket.AF_UNIX:
            # Nobody connects before the mode is set: the socket does not listen yet.
            self.socket.bind(self.server_address)
            os.chmod(str(self.server_address), _SOCKET_MODE)
            return
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # the library's
        _log.debug("a request for metrics failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SECONDS
    server_version = "pinfold"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        # The time-out above is of one read; this one is of the whole connection, so that a client cannot send a byte every few seconds.
        self._end = threading.Timer(_SECONDS, self._close)
        self._end.daemon = True
        self._end.start()

    def finish(self) -> None:
        self._end.cancel()
        super().finish()

    def _close(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        page = self.server.pages.get(path)
        if page is None:
            self._answer(404, _PLAIN, f"there is only {' and '.join(self.server.pages)}\n".encode())
            return
        host = self.headers.get("Host", "")
        if page.own_host and not names_loopback(host):
            self._answer(403, _PLAIN, f"the request names the host {host[:255]!r}; only names of loopback are allowed here\n".encode())
            return
        try:
            fields = dict(parse_qsl(query, max_num_fields=_MOST_FIELDS))
            if page.hears:
                fields[page.hears] = self.headers.get(page.hears, "")
            body = page.render(fields)
        except (InvalidRequest, ValueError) as error:
            self._answer(400, _PLAIN, f"{error}\n".encode(errors="replace"))
            return
        self._answer(200, page.content_type, body, page.headers)

    def _answer(self, status: int, content_type: str, body: bytes, headers: Mapping[str, str] = _NONE) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "a client"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        _log.debug(format, *args)


def _server(address: str | tuple[str, int], pages: Pages) -> _Server:
    if isinstance(address, str):
        _remove_stale(address)
    try:
        return _Server(address, pages)
    except OSError as error:
        shown = f"{UNIX}{address}" if isinstance(address, str) else f"{address[0]}:{address[1]}"
        raise InvalidRequest(f"--listen {shown} cannot be used: {error.strerror}", key="listen") from error


def _remove_stale(path: str) -> None:
    """Remove the socket of a watch that was killed. Anything else at that path stays, and the watch does not start."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise InvalidRequest(f"--listen {UNIX}{path} is a file and no socket; name a path that does not exist", key="listen")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                with suppress(FileNotFoundError):
                    os.unlink(path)
            return
    raise InvalidRequest(f"--listen {UNIX}{path}: another process listens there", key="listen")


def _url(server: _Server) -> str:
    if server.address_family == socket.AF_UNIX:
        return f"{UNIX}{server.server_address!s}"
    host, port = server.server_address[:2]
    return f"http://[{host!s}]:{port}/metrics" if ":" in str(host) else f"http://{host!s}:{port}/metrics"
