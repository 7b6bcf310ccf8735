"""The samples of a running watch over its socket: what it answers, and how a command asks."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from pinfold.core.encoding import json_reader, json_text, reader
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.history import KEPT_SECONDS, HostHistory
from pinfold.core.settings import HostSettings
from pinfold.watch import listener

_MOST_BYTES: Final = 8 << 20
_SECONDS: Final = 10.0
_FIELD: Final = "seconds"

_read = json_reader(HostHistory)
read_plain = reader(HostHistory)
"""Reads the JSON types of a history, such as a service answers."""


def socket_path(settings: HostSettings) -> str:
    """The socket in the state directory where every watch serves its samples."""
    return str(Path(settings.state_dir, "watch.sock"))


def answer(history: Callable[[float], HostHistory], fields: Mapping[str, str]) -> bytes:
    """The JSON of the samples that a query asks for. Raises `InvalidRequest`."""
    if unknown := fields.keys() - {_FIELD}:
        raise InvalidRequest(f"{min(unknown)[:40]!r} is no field; only {_FIELD} is allowed", key=_FIELD)
    text = fields.get(_FIELD, str(int(KEPT_SECONDS)))
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= KEPT_SECONDS):
        raise InvalidRequest(f"{_FIELD}={text[:40]!r}: a whole number from 1 to {KEPT_SECONDS:.0f} is allowed", key=_FIELD)
    return json_text(history(float(text))).encode()


def ask(address: str | tuple[str, int], seconds: int) -> HostHistory:
    """The samples of the last `seconds` of the watch that listens there. Raises `Unavailable` if none does, or if its answer is none."""
    shown = f"{listener.UNIX}{address}" if isinstance(address, str) else f"{address[0]}:{address[1]}"
    try:
        status, body = _get(address, f"{listener.HISTORY}?{_FIELD}={seconds}")
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"no watch answers at {shown}: {error.strerror if isinstance(error, OSError) else error}") from error
    if status != http.client.OK:
        raise Unavailable(f"what answers at {shown} has no history: HTTP {status}")
    try:
        return _read(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Unavailable(f"the answer of {shown} is no history: {error}") from error


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _get(address: str | tuple[str, int], path: str) -> tuple[int, bytes]:
    connection = _Connection(address) if isinstance(address, str) else http.client.HTTPConnection(*address, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        found = connection.getresponse()
        body = found.read(_MOST_BYTES + 1)
    finally:
        connection.close()
    if len(body) > _MOST_BYTES:
        raise http.client.HTTPException(f"its answer is longer than {_MOST_BYTES} bytes")
    return found.status, body
