"""`ServiceClient`: how an agent talks to the service over HTTP. What is said is `agent.wire`'s, when is `agent.loop`'s."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from pinfold.agent.wire import Absence, GuestReport, Hello, Orders, Welcome
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.store import codec

_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,8}")
_WAIT_SLACK: Final = 10.0
_CHUNK: Final = 1 << 20

Value = TypeVar("Value")


def read_token(path: Path) -> str:
    """The token in a file. Raises `InvalidRequest` when it cannot be read, or others can read it."""
    try:
        if path.stat().st_mode & 0o077:
            raise InvalidRequest(f"{path}: others can read the agent's token; its mode must be 0600", key=str(path))
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}: cannot be read as an agent's token ({error})", key=str(path)) from error


class ServiceAway(Unavailable):
    """The service does not answer, or fails; what was said may have been heard."""


class ServiceClient:
    """One agent's connection. Every call raises `ServiceAway` when the service is away, `InvalidRequest` when it refuses what was said."""

    def __init__(self, url: str, token: str, *, ca_file: str = "", certificate: str = "", timeout: float = 30.0) -> None:
        """`ca_file` has the authorities that are trusted; `certificate` is the one that the service must show, whatever name it bears."""
        verify = _trust(ca_file, certificate)
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout, verify=verify)
        self._timeout = timeout

    @property
    def url(self) -> str:
        """The service's address."""
        return str(self._http.base_url)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def hello(self, hello: Hello) -> Welcome:
        """Report the host, and live."""
        return self._ask("PUT", "/agent/v1/host", Welcome, hello, Hello)

    def heartbeat(self) -> Welcome:
        """Live; nothing of the host has changed."""
        return self._ask("POST", "/agent/v1/heartbeat", Welcome)

    def goodbye(self) -> None:
        """The agent ends in good order."""
        self._send("DELETE", "/agent/v1/host")

    def orders(self, *, after: int, wait: float) -> Orders:
        """All orders, once their count is not `after`, or when `wait` seconds have passed."""
        query = {"after": str(after), "wait": str(wait)}
        return self._ask("GET", "/agent/v1/orders", Orders, query=query, timeout=self._timeout + wait + _WAIT_SLACK)

    def report(self, guest: str, report: GuestReport) -> None:
        """What one guest is doing."""
        self._send("POST", f"/agent/v1/guests/{guest}", codec.to_plain(report, GuestReport))

    def absent(self, guest: str, absence: Absence) -> None:
        """Neither domain nor process of a guest remains."""
        self._send("POST", f"/agent/v1/guests/{guest}/absence", codec.to_plain(absence, Absence))

    def download(self, image: str, target: Callable[[str], Path]) -> Path:
        """Fetch an image by name; `target(suffix)` says where it goes. A file is there whole or not at all."""
        with self._translated(), self._http.stream("GET", f"/agent/v1/images/{image}") as answer:
            if answer.status_code != 200:
                answer.read()
                raise _refusal("GET", answer)
            suffix = answer.headers.get("X-Pinfold-Suffix", ".raw")
            if not _SUFFIX.fullmatch(suffix):
                raise InvalidRequest(f"image {image}: the service named the suffix {suffix[:32]!r}", key="image")
            path = target(suffix)
            part = path.with_name(f".{path.name}.part")
            try:
                with part.open("wb") as stream:
                    for chunk in answer.iter_bytes(_CHUNK):
                        stream.write(chunk)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        return path

    def _ask(
        self,
        method: str,
        path: str,
        answer_type: type[Value],
        body: object = None,
        body_type: Any = None,
        *,
        query: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> Value:
        plain = None if body is None else codec.to_plain(body, body_type)
        answer = self._send(method, path, plain, query=query, timeout=timeout)
        try:
            return codec.from_plain(answer.json(), answer_type, f"the service's answer to {method} {path}")
        except ValueError as error:
            raise ServiceAway(f"the service answered {method} {path} with what is not JSON") from error

    def _send(
        self, method: str, path: str, plain: object = None, *, query: dict[str, str] | None = None, timeout: float | None = None
    ) -> httpx.Response:
        with self._translated():
            answer = self._http.request(
                method,
                path,
                content=None if plain is None else json.dumps(plain),
                headers={} if plain is None else {"Content-Type": "application/json"},
                params=query,
                timeout=self._timeout if timeout is None else timeout,
            )
        if not answer.is_success:
            raise _refusal(f"{method} {path}", answer)
        return answer

    def _translated(self) -> _Translated:
        return _Translated(str(self._http.base_url))


def _trust(ca_file: str, certificate: str) -> ssl.SSLContext | bool:
    if not ca_file and not certificate:
        return True
    try:
        context = ssl.create_default_context(cafile=certificate or ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise InvalidRequest(f"{certificate or ca_file}: cannot be read as certificates ({error})", key=certificate or ca_file) from error
    if certificate:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class _Translated:
    """Turns the transport's exceptions into `ServiceAway`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.HTTPError):
            raise ServiceAway(f"the service at {self._url} is away: {type(error).__name__} {error}".rstrip()) from error


def _refusal(call: str, answer: httpx.Response) -> PinfoldError:
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {answer.status_code}"
    if answer.status_code >= 500:
        return ServiceAway(f"the service failed at {call}: {message}")
    if answer.status_code == 409:
        return Conflict(message)
    return InvalidRequest(f"the service refused {call}: {message}")
