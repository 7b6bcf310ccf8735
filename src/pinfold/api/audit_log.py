"""The audit log: refused logins, and changes with their account, client and result. Each entry is one line of JSON without secrets.

| key | value |
|---|---|
| `event` | `login` for credentials that were not accepted, `change` for a request that changes something; reading a console log is none |
| `account` | the account's name; for a refused login the given name, for an agent its host's id |
| `client` | the client's address |
| `method`, `path` | the request |
| `project` | the id of the project that the token is for, if Keystone issued it |
| `asked` | the first keys of its body, and the names in it |
| `answer` | the HTTP status |
| `request` | the request id in the response, if it has one |
| `unlogged` | how many more such logins were refused since the last line about that address |
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from pinfold.api.asgi import App, Message, Receive, Scope, Send, header_of
from pinfold.api.auth import credentials_of, is_question
from pinfold.api.caller import BASIC_PROJECT, Caller
from pinfold.api.client_address import address_block, client_of
from pinfold.api.cross_site import AGENTS
from pinfold.api.policy import READING

LOGGER: Final = "pinfold.audit"
_log = logging.getLogger(LOGGER)

_NAMING: Final = frozenset(
    {"name", "id", "host", "uuid", "type", "zone", "availability_zone", "flavorRef", "imageRef", "binary", "status", "powered_off"}
)
"""The keys of a body whose values say what is changed and are never secret."""
_READING_ACTIONS: Final = ({"keys": ["os-getConsoleOutput"]},)
"""Gists of the actions of a server that only read: Nova's API asks for a console log with POST."""
_MOST_BODY: Final = 1 << 16
_MOST_KEYS: Final = 8
_MOST_TEXT: Final = 128
_QUIET_SECONDS: Final = 10.0
_LINES_PER_SECOND: Final = 10
_MOST_ADDRESSES: Final = 1024
_ACTION: Final = re.compile(r"/compute/v2\.1/servers/[^/]+/action")
_TOKEN: Final = re.compile(r"bearer +([0-9a-f-]{36})\.", re.IGNORECASE)


def gist(body: bytes) -> dict[str, Any]:
    """A summary of a body: its first keys, and the values of the keys in `_NAMING` on its first two levels.

    >>> gist(b'{"server": {"name": "vm1", "adminPass": "secret", "networks": "none"}}')
    {'keys': ['server'], 'name': 'vm1'}
    >>> gist(b"[1]"), gist(b"{"), gist(b"")
    ({}, {}, {})
    """
    try:
        found = json.loads(body) if len(body) <= _MOST_BODY else None
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or not found:
        return {}
    told: dict[str, Any] = {"keys": [key[:_MOST_TEXT] for key in list(found)[:_MOST_KEYS]]}
    for level in (found, *[value for value in found.values() if isinstance(value, dict)][:_MOST_KEYS]):
        told |= {key: _shortened(value) for key, value in level.items() if key in _NAMING and not isinstance(value, dict | list)}
    return told


def line(entry: Mapping[str, Any]) -> str:
    """The line of one entry: JSON in ASCII, so that no foreign text reaches a terminal or begins another line.

    >>> line({"account": "\\x1b[2J\\n\\x7f"})
    '{"account": "\\\\u001b[2J\\\\n\\\\u007f"}'
    """
    return json.dumps(entry).replace("\x7f", "\\u007f")


class LoginLogLimit:
    """Limits the lines about refused logins: one in ten seconds for each address, and so many a second in total. For one thread."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._second, self._lines = 0, 0

    def unlogged(self, address: str, now: float) -> int | None:
        """How many logins were not logged since the last line about that address; None if this one is not logged either.

        >>> limit = LoginLogLimit()
        >>> [limit.unlogged("a", now) for now in (0.0, 1.0, 2.0, 10.0)], limit.unlogged("b", 10.0)
        ([0, None, None, 2], 0)
        """
        if int(now) != self._second:
            self._second, self._lines = int(now), 0
        quiet_until, passed = self._addresses.get(address, (now, 0))
        if now < quiet_until or self._lines >= _LINES_PER_SECOND:
            self._keep(address, (quiet_until, passed + 1))
            return None
        self._lines += 1
        self._keep(address, (now + _QUIET_SECONDS, 0))
        return passed

    def _keep(self, address: str, value: tuple[float, int]) -> None:
        self._addresses[address] = value
        self._addresses.move_to_end(address)
        while len(self._addresses) > _MOST_ADDRESSES:
            self._addresses.popitem(last=False)


class AuditLog:
    """ASGI: writes the audit log. It stands outside of authentication."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._limit = LoginLogLimit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        status, body = 0, b""

        async def heard() -> Message:
            nonlocal body
            message = await receive()
            if message["type"] == "http.request" and len(body) <= _MOST_BODY:
                body += message.get("body", b"")
            return message

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        changing = scope["method"] not in READING and not is_question(scope)
        try:
            await self._app(scope, heard if changing else receive, answered)
        finally:
            caller = state.get("caller")
            if caller is not None and changing:
                self._changed(scope, caller, status, gist(body))
            elif caller is None and status in (401, 429):
                self._refused(scope, status)

    def _changed(self, scope: Scope, caller: Caller, status: int, asked: Mapping[str, Any]) -> None:
        """Log a request that may have changed something."""
        if asked in _READING_ACTIONS and _ACTION.fullmatch(scope["path"]):
            return
        project = {} if caller.project == BASIC_PROJECT else {"project": caller.project}
        self._write("change", scope, caller.name, status, **project, asked=asked)

    def _refused(self, scope: Scope, status: int) -> None:
        """Log credentials that were refused, unless there were too many."""
        given = header_of(scope, b"authorization")
        signed_in: str = scope["state"].get("sign_in", "")
        if not given and not signed_in:
            return
        found = credentials_of(given)
        token = _TOKEN.match(given) if scope["path"].startswith(AGENTS) else None
        unlogged = self._limit.unlogged(address_block(client_of(scope)), time.monotonic())
        if unlogged is not None:
            name = found[0] if found else token[1] if token else signed_in
            self._write("login", scope, name[:_MOST_TEXT], status, **({"unlogged": unlogged} if unlogged else {}))

    def _write(self, event: str, scope: Scope, account: str, status: int, **more: Any) -> None:
        entry = {"event": event, "account": account, "client": client_of(scope), "method": scope["method"], "path": scope["path"][:512]}
        request = scope["state"].get("request_id")
        entry |= {name: value for name, value in more.items() if value != {}} | {"answer": status}
        _log.info("%s", line(entry | ({"request": request} if request else {})))


def _shortened(value: object) -> object:
    return value[:_MOST_TEXT] if isinstance(value, str) else value
