"""`ServiceClient`: the agent's HTTP connection to the service.

The messages are in `agent.wire`, the parsing of responses is in `agent.responses`, and `agent.loop` decides when to send.
"""

from __future__ import annotations

import logging
import random
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote, urlsplit

import httpx
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from pinfold.agent.responses import MOST_BYTES, ParsedOrders, parse_config, parse_orders, parse_renewal, parse_welcome, refusal_message
from pinfold.agent.wire import IN_LINES, PROTOCOL, Absence, GuestReport, Hello, Renewal, Welcome
from pinfold.core.addresses import is_loopback
from pinfold.core.config_drive import GuestConfig
from pinfold.core.drift.written import FindingsReport
from pinfold.core.encoding import json_text
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.core.guest_questions import GuestAnswer
from pinfold.core.history import HistoryAnswer
from pinfold.core.identity import GuestId
from pinfold.core.repair_question import RepairAnswer

_WAIT_SLACK: Final = 10.0
_CHUNK: Final = 1 << 20
_MOST_LINE: Final = 4096
"""The longest first line of an answer in lines."""
_MOST_TOKEN_BYTES: Final = 1024
_MOST_TYPED: Final = 1 << 16
_LONGEST_AGAIN: Final = 120.0
"""For how many seconds a service that is busy can ask not to be asked, at most."""
_JITTER: Final = 0.1
"""The share of that time by which an agent may come later, so that agents that were refused together do not come together."""
_QUIET: Final = logging.getLogger(f"{__name__}.websockets")
"""The library logs all headers at DEBUG, and the agent's token is in them. So this logger has warnings only."""
_QUIET.setLevel(logging.WARNING)


def read_token(path: Path) -> str:
    """Read the token file. Raises `InvalidRequest` when it cannot be read, when other users can read it, or when it holds no token."""
    try:
        if path.stat().st_mode & 0o077:
            raise InvalidRequest(f"{path}: others can read the agent's token; its mode must be 0600", key=str(path))
        with path.open(encoding="ascii") as stream:
            token = stream.read(_MOST_TOKEN_BYTES + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}: cannot be read as an agent's token ({error})", key=str(path)) from error
    if not token:
        raise InvalidRequest(f"{path} is empty; write the token into it that `pinfold host add` printed", key=str(path))
    if len(token) > _MOST_TOKEN_BYTES or not token.isprintable() or " " in token:
        raise InvalidRequest(f"{path} holds no agent's token; `pinfold host add` prints one, a single word", key=str(path))
    return token


class ServiceAway(Unavailable):
    """The service did not answer, failed, or takes no message now. It may have received this one. `again` is for how many seconds it asked
    not to be asked, 0 if it did not.
    """

    def __init__(self, message: str, *, again: float = 0.0) -> None:
        super().__init__(message)
        self.again = again


class ServiceClient:
    """One agent's connection. Calls raise `ServiceAway` when the service is away, and `InvalidRequest` when it refuses the message."""

    def __init__(
        self, url: str, token: str, *, ca_file: str = "", certificate: str = "", timeout: float = 30.0, allow_plain_http: bool = False
    ) -> None:
        """`ca_file` holds the trusted authorities; `certificate` is the one that the service must present, whatever host name is in it.

        Raises `InvalidRequest` for a plain `http://` address of another machine, unless that is allowed.
        """
        _refuse_plain(url, "[pinfold_agent] api_url is", allowed=allow_plain_http)
        self._plain_allowed = allow_plain_http
        self._authorization = {"Authorization": f"Bearer {token}"}
        self._verify = _trust(ca_file, certificate)
        # Ask for no compression: a small compressed response could expand to any length.
        headers = self._authorization | {"Accept-Encoding": "identity"}
        hooks: dict[str, list[Callable[..., Any]]] = {"request": [self._trace_connections]}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, verify=self._verify, event_hooks=hooks)
        self._timeout = timeout
        self.local_address = ""
        """This machine's address in the latest connection to the service, '' before the first. One that fails changes nothing."""

    @property
    def url(self) -> str:
        """The service's address."""
        return str(self._http.base_url)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def hello(self, hello: Hello) -> Welcome:
        """Send the host's report, which also counts as a heartbeat."""
        return self._welcome("PUT", "/agent/v1/host", hello)

    def heartbeat(self) -> Welcome:
        """Send a heartbeat: the host has not changed."""
        return self._welcome("POST", "/agent/v1/heartbeat")

    def findings(self, report: FindingsReport) -> None:
        """Send what the audit of the host found."""
        self._send("PUT", "/agent/v1/host/findings", report)

    def history(self, answer: HistoryAnswer) -> None:
        """Send the samples that the service asked for."""
        self._send("PUT", "/agent/v1/host/history", answer)

    def guest_answer(self, answer: GuestAnswer) -> None:
        """Send what the service asked about a guest."""
        self._send("PUT", "/agent/v1/host/answer", answer)

    @contextmanager
    def console(self, number: int, url: str = "") -> Iterator[ClientConnection]:
        """A WebSocket to the process of the service that asked for a console with the question of that number, closed after the block.

        `url` is that process's address, '' for the service's usual one. Raises `InvalidRequest` for a plain address of another machine, as
        at the start.
        """
        url = url or self.url
        _refuse_plain(url, "the service wants a console at", allowed=self._plain_allowed)
        address = f"ws{url.rstrip('/').removeprefix('http')}/agent/v1/consoles/{number}"
        secure = (
            None if address.startswith("ws:") else self._verify if isinstance(self._verify, ssl.SSLContext) else httpx.create_ssl_context()
        )
        try:
            made = connect(
                address,
                ssl=secure,
                additional_headers=self._authorization,
                compression=None,
                max_size=_MOST_TYPED,
                max_queue=4,
                logger=_QUIET,
            )
        except InvalidStatus as error:
            why = refusal_message(bytes(error.response.body or b"")) or f"HTTP {error.response.status_code}"
            raise InvalidRequest(f"the service refused the console: {why}") from error
        except (OSError, WebSocketException) as error:
            raise ServiceAway(f"the service at {url} cannot be connected to a console: {type(error).__name__} {error}".rstrip()) from error
        with made as connection:
            yield connection

    def repaired(self, guest: GuestId, answer: RepairAnswer) -> None:
        """Say what became of a repair that the service asked for."""
        self._send("PUT", f"/agent/v1/guests/{guest}/repair", answer)

    def goodbye(self, *, timeout: float | None = None) -> None:
        """Tell the service that the agent ends in good order."""
        self._send("DELETE", "/agent/v1/host", timeout=timeout)

    def orders(
        self, *, after: int, wait: float, renewed: Callable[[Renewal], None] | None = None, audited: float | None = None
    ) -> ParsedOrders:
        """All orders, as soon as their count differs from `after`, or after `wait` seconds. With `renewed`, the request is a sign of life,
        and the count alone is answered if it has not changed; `renewed` is called if the service tells sooner that the lease is renewed.
        `audited` is how many seconds ago an audit found what the service has.

        Raises `InvalidRequest` for a service of an earlier pinfold.
        """
        path = f"/agent/v1/orders?{orders_query(after=after, wait=wait, alive=renewed is not None, audited=audited)}"
        call = "GET /agent/v1/orders"

        def line(text: bytes) -> None:
            if renewed is not None:
                with _understood(call):
                    told = parse_renewal(text)
                renewed(told)

        body = self._send("GET", path, timeout=self._timeout + wait + _WAIT_SLACK, line=line)
        with _understood(call):
            parsed = parse_orders(body)
        if parsed.orders.protocol < PROTOCOL:
            raise InvalidRequest(
                f"the service at {self.url} is of an earlier pinfold: it speaks version {parsed.orders.protocol} of the agents' protocol, "
                f"this agent speaks version {PROTOCOL}; upgrade the service before its agents"
            )
        return parsed

    def config(self, guest: GuestId) -> GuestConfig:
        """What the config drive of a new guest holds."""
        path = f"/agent/v1/guests/{quote(guest, safe='')}/config"
        body = self._send("GET", path)
        with _understood(f"GET {path}"):
            return parse_config(body)

    def report(self, guest: GuestId, report: GuestReport) -> None:
        """Send the state of one guest."""
        self._send("POST", f"/agent/v1/guests/{quote(guest, safe='')}", report)

    def absent(self, guest: GuestId, absence: Absence) -> None:
        """Confirm that neither domain nor process of a guest remains."""
        self._send("POST", f"/agent/v1/guests/{quote(guest, safe='')}/absence", absence)

    @contextmanager
    def image(self, name: str) -> Iterator[ImageStream]:
        """Stream the bytes of the image of that name."""
        call = f"GET /agent/v1/images/{quote(name, safe='')}"
        with self._translated(), self._http.stream("GET", f"/agent/v1/images/{quote(name, safe='')}") as answer:
            if answer.status_code != 200:
                raise _refusal(call, answer.status_code, _read(answer, call), answer.headers.get("Retry-After", ""))
            _refuse_encoded(answer, call)
            yield ImageStream(suffix=answer.headers.get("X-Pinfold-Suffix", ".raw"), _answer=answer)

    def _welcome(self, method: str, path: str, message: object = None) -> Welcome:
        body = self._send(method, path, message)
        with _understood(f"{method} {path}"):
            return parse_welcome(body)

    def _send(
        self,
        method: str,
        path: str,
        message: object = None,
        *,
        timeout: float | None = None,
        line: Callable[[bytes], None] | None = None,
    ) -> bytes:
        """The body of a successful answer; of one in two lines the last, after the first was given to `line` as it arrived."""
        call = f"{method} {path}"
        with (
            self._translated(),
            self._http.stream(
                method,
                path,
                content=None if message is None else json_text(message),
                headers={} if message is None else {"Content-Type": "application/json"},
                timeout=self._timeout if timeout is None else timeout,
            ) as answer,
        ):
            in_lines = line is not None and answer.headers.get("Content-Type") == IN_LINES
            body = _last_line(answer, call, line) if line is not None and in_lines else _read(answer, call)
        if not answer.is_success:
            raise _refusal(call, answer.status_code, body, answer.headers.get("Retry-After", ""))
        if in_lines and (why := refusal_message(body)):
            raise ServiceAway(f"the service failed at {call}: {why}")
        return body

    def _trace_connections(self, request: httpx.Request) -> None:
        request.extensions["trace"] = self._trace  # httpcore's extension, which tells when a connection is made

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self.local_address = str(info["return_value"].get_extra_info("client_addr")[0])

    def _translated(self) -> _Translated:
        return _Translated(str(self._http.base_url))


def orders_query(*, after: int, wait: float, alive: bool, audited: float | None = None) -> str:
    """The query of a request for orders.

    >>> orders_query(after=7, wait=10.0, alive=True, audited=1.5)
    'after=7&wait=10.0&protocol=4&alive=true&early=true&audited=1.5'
    """
    sign = "" if not alive else "&alive=true&early=true" if audited is None else f"&alive=true&early=true&audited={audited:.1f}"
    return f"after={after}&wait={round(wait, 3)}&protocol={PROTOCOL}{sign}"


def _refuse_plain(url: str, what: str, *, allowed: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not allowed and not is_loopback(parts.hostname or ""):
        raise InvalidRequest(
            f"{what} {url}: over plain HTTP anybody on the way could read the agent's token and give this host orders; use https://, or "
            "set allow_plain_http = true where the network is trusted",
            key="api_url",
        )


def _trust(ca_file: str, certificate: str) -> ssl.SSLContext | bool:
    if not ca_file and not certificate:
        return True
    try:
        context = ssl.create_default_context(cafile=certificate or ca_file)
    except OSError as error:  # ssl.SSLError is an OSError
        raise InvalidRequest(f"{certificate or ca_file}: cannot be read as certificates ({error})", key=certificate or ca_file) from error
    if certificate:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class _Translated:
    """Turns exceptions of the HTTP client into `ServiceAway`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.HTTPError):
            raise ServiceAway(f"the service at {self._url} is away: {type(error).__name__} {error}".rstrip()) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStream:
    """A download of an image: the file suffix that the service named, and the bytes."""

    suffix: str
    _answer: httpx.Response

    def copy_to(self, stream: BinaryIO) -> None:
        """Write all bytes to the file."""
        for chunk in self._answer.iter_raw(_CHUNK):
            stream.write(chunk)


@contextmanager
def _understood(call: str) -> Iterator[None]:
    """Turns a response that cannot be parsed into `ServiceAway`: what the service knows is then unknown."""
    try:
        yield
    except InvalidRequest as error:
        raise ServiceAway(f"the service's answer to {call} cannot be read: {error}") from error


def _read(answer: httpx.Response, call: str) -> bytes:
    _refuse_encoded(answer, call)
    body = bytearray()
    for chunk in answer.iter_raw(_CHUNK):
        body += chunk
        if len(body) > MOST_BYTES:
            raise ServiceAway(f"the service's answer to {call} is longer than {MOST_BYTES} bytes")
    return bytes(body)


def _last_line(answer: httpx.Response, call: str, line: Callable[[bytes], None]) -> bytes:
    """The last of two lines. The first is given to `line` as soon as it is here."""
    _refuse_encoded(answer, call)
    body, first = bytearray(), True
    for chunk in answer.iter_raw():
        body += chunk
        if first and (end := body.find(b"\n")) >= 0:
            line(bytes(body[:end]))
            body, first = body[end + 1 :], False
        most = _MOST_LINE if first else MOST_BYTES
        if len(body) > most:
            raise ServiceAway(f"the service's answer to {call} has a line that is longer than {most} bytes")
    return bytes(body)


def _refuse_encoded(answer: httpx.Response, call: str) -> None:
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise ServiceAway(f"the service's answer to {call} is encoded ({encoding[:32]!r}), which was not asked for")


def _refusal(call: str, status: int, body: bytes, retry_after: str) -> PinfoldError:
    message = refusal_message(body) or f"HTTP {status}"
    if status == 429:
        return ServiceAway(f"the service takes no {call} now: {message}", again=retry_seconds(retry_after))
    if status >= 500:
        return ServiceAway(f"the service failed at {call}: {message}", again=retry_seconds(retry_after) if status == 503 else 0.0)
    if status == 409:
        return Conflict(message)
    return InvalidRequest(f"the service refused {call}: {message}")


def retry_seconds(retry_after: str) -> float:
    """The seconds that a `Retry-After` names, and a little more; 0 for one that names none, as a date does.

    >>> 5.0 <= retry_seconds("5") <= 5.5, 120.0 <= retry_seconds("99999") <= 132.0
    (True, True)
    >>> retry_seconds("Fri, 31 Dec 1999 23:59:59 GMT"), retry_seconds("")
    (0.0, 0.0)
    """
    if not (retry_after.isascii() and retry_after.isdigit()):
        return 0.0
    seconds = min(_LONGEST_AGAIN, float(retry_after[:9]))
    return seconds + random.uniform(0.0, _JITTER * seconds)
