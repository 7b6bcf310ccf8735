"""HTTP Basic authentication in front of all routes except a few public ones. Agents' routes check their own tokens.

OpenStack clients use it with `auth_type: http_basic`. Readers may read; admins may also change.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Final

from pinfold.api.accounts import Account, Role
from pinfold.api.admission import admitted
from pinfold.api.asgi import App, Receive, Scope, Send
from pinfold.api.client_address import address_block, client_of
from pinfold.api.connections import Kind
from pinfold.api.cross_site import AGENTS
from pinfold.api.errors import send_error
from pinfold.api.password_checks import PasswordChecks, TooManyAttempts
from pinfold.api.rights import while_it_holds

OPEN: Final = frozenset(
    {
        "/healthz",
        *("/compute", "/compute/", "/compute/v2.1", "/compute/v2.1/", "/image", "/image/", "/image/versions"),
        *("/identity", "/identity/", "/identity/v3", "/identity/v3/", "/placement", "/placement/"),
    }
)
"""Public paths: health, and the version documents, which clients read before they authenticate."""
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
QUESTIONS: Final = ("/v1/fits",)
"""Paths whose POST changes nothing."""
_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="pinfold", charset="UTF-8"')
ANYBODY: Final = Account(name="anybody", role=Role.ADMIN, hash="")
"""The account of every caller when authentication is switched off."""


def credentials_of(header: str) -> tuple[str, str] | None:
    """Name and password of an `Authorization` header, None if it is not well-formed Basic. Source: RFC 7617.

    >>> of = credentials_of
    >>> of("Basic YWxpY2U6c2VjcmV0OnRvbw=="), of("Bearer x"), of("Basic ???"), of("Basic \xff")
    (('alice', 'secret:too'), None, None, None)
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic" or len(token) > 4096:
        return None
    try:
        name, colon, password = base64.b64decode(token.strip(), validate=True).decode().partition(":")
    except ValueError:  # not base64, or not UTF-8
        return None
    return (name, password) if colon else None


class Authentication:
    """ASGI: passes a request on with its account in `scope["state"]["account"]`, or answers 401, 403 or 429."""

    def __init__(self, app: App, checks: PasswordChecks | None) -> None:
        self._app = app
        self._checks = checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _open(scope):
            await self._app(scope, receive, send)
            return
        try:
            account = ANYBODY if self._checks is None else await _admit(scope, self._checks)
        except TooManyAttempts as refusal:
            await asyncio.sleep(refusal.answer_after_seconds)
            retry = (b"retry-after", str(refusal.retry_seconds).encode())
            await send_error(scope, send, 429, f"Too many password checks; try again in {refusal.retry_seconds} s.", retry)
            return
        if account is None:
            await send_error(scope, send, 401, "A name and a password are required.", _CHALLENGE)
            return
        scope.setdefault("state", {})["account"] = account
        if account.role is Role.READER and scope["method"] not in READING and not is_question(scope):
            await send_error(scope, send, 403, f"The account {account.name} may read only.")
            return
        if not await admitted(scope, send, Kind.ACCOUNT, account.name):
            return
        if self._checks is None:
            await self._app(scope, receive, send)
        else:
            await while_it_holds(self._checks.doorkeeper, account, self._app, scope, receive, send)


async def _admit(scope: Scope, checks: PasswordChecks) -> Account | None:
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    found = credentials_of(given.decode("latin-1"))
    if found is None:
        return None
    address = client_of(scope)
    return await checks.admit(*found, address=address_block(address), connection=(address, scope["client"][1]))


def is_question(scope: Scope) -> bool:
    """Whether a request changes nothing, although its method suggests a change."""
    return scope["path"] in QUESTIONS


def _open(scope: Scope) -> bool:
    return scope["path"].startswith(AGENTS) or (scope["path"] in OPEN and scope["method"] == "GET")
