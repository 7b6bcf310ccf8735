"""Authentication in front of all routes except a few public ones: HTTP Basic and Keystone's tokens. Agents' routes check their own tokens.

`policy` says which routes a caller may then use.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Final

from pinfold.api.accounts import Account
from pinfold.api.admission import TooManyChecks, admitted, checking, refuse_check
from pinfold.api.asgi import App, Receive, Scope, Send, header_of
from pinfold.api.caller import ANYBODY, Caller, Tokens, of_account
from pinfold.api.client_address import address_block, client_of
from pinfold.api.connections import Kind
from pinfold.api.cross_site import AGENTS
from pinfold.api.errors import ApiError, send_error
from pinfold.api.password_checks import PasswordChecks, TooManyAttempts
from pinfold.api.policy import QUESTIONS, refusal
from pinfold.api.rights import while_it_holds
from pinfold.api.ui.sessions import Sessions, token_of
from pinfold.api.ui.token_cookies import TokenCookies
from pinfold.core.errors import Unavailable

OPEN: Final = frozenset(
    {
        "/healthz",
        *("/compute", "/compute/", "/compute/v2.1", "/compute/v2.1/", "/image", "/image/", "/image/versions"),
        *("/ui/sign-in", "/ui/style.css", "/ui/live.js"),
        *("/network", "/network/", "/network/v2.0", "/network/v2.0/"),
        *("/identity", "/identity/", "/identity/v3", "/identity/v3/", "/placement", "/placement/"),
    }
)
"""Public paths: health, the version documents, which clients read before they authenticate, and what the web page's sign-in consists of."""
WEB_PAGE: Final = "/ui"
FORMS: Final = frozenset({"/ui/sign-in", "/ui/sign-out"})
"""Paths whose POST is a form of the web page. `cross_site` lets in only forms of this service's own pages."""
_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="pinfold", charset="UTF-8"')


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
    """ASGI: passes a request on with its caller in `scope["state"]["caller"]`, or answers 401, 403, 429 or 503.

    A request with `X-Auth-Token` is Keystone's; any other is of an account. The web page also has sessions; a browser without one is sent
    to the sign-in. Without `checks` and without `tokens`, everybody is let in.
    """

    def __init__(
        self, app: App, checks: PasswordChecks | None, tokens: Tokens | None, sessions: Sessions, cookies: TokenCookies | None = None
    ) -> None:
        self._app = app
        self._checks = checks
        self._tokens = tokens
        self._sessions = sessions
        self._cookies = cookies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _open(scope):
            await self._app(scope, receive, send)
        elif self._checks is None and self._tokens is None:
            await self._serve(ANYBODY, None, scope, receive, send)
        elif self._tokens is not None and (token := header_of(scope, b"x-auth-token") or self._page_token(scope)):
            await self._serve_token(self._tokens, token, scope, receive, send)
        elif self._checks is not None:
            await self._serve_account(self._checks, scope, receive, send)
        else:
            await self._refuse_stranger(scope, send)

    async def _serve_token(self, tokens: Tokens, token: str, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            caller = await tokens.caller(token, scope["method"], scope["path"])
        except ApiError as refused:
            await send_error(scope, send, refused.status, str(refused))
            return
        except Unavailable as away:
            await send_error(scope, send, 503, str(away), (b"retry-after", b"5"))
            return
        if caller is None:
            await self._refuse_stranger(scope, send)
        else:
            await self._serve(caller, None, scope, receive, send)

    async def _serve_account(self, checks: PasswordChecks, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            account = self._session(scope, checks) or await _admit(scope, checks)
        except TooManyAttempts as refused:
            await asyncio.sleep(refused.answer_after_seconds)
            retry = (b"retry-after", str(refused.retry_seconds).encode())
            await send_error(scope, send, 429, f"Too many password checks; try again in {refused.retry_seconds} s.", retry)
            return
        except TooManyChecks:
            await refuse_check(scope, send)
            return
        if account is None:
            await self._refuse_stranger(scope, send)
        else:
            await self._serve(of_account(account), account, scope, receive, send)

    async def _serve(self, caller: Caller, account: Account | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a known caller; one with an account only as long as that is unchanged."""
        scope.setdefault("state", {})["caller"] = caller
        if refused := refusal(caller, scope["method"], scope["path"]):
            await send_error(scope, send, 403, refused)
            return
        if not await admitted(scope, send, Kind.ACCOUNT, caller.user):
            return
        if account is None or self._checks is None:
            await self._app(scope, receive, send)
        else:
            await while_it_holds(self._checks.doorkeeper, account, self._app, scope, receive, send)

    async def _refuse_stranger(self, scope: Scope, send: Send) -> None:
        if _is_page(scope) and _accepts_html(scope):
            ended = b"?ended" if token_of(header_of(scope, b"cookie")) else b""
            headers = [(b"location", b"/ui/sign-in" + ended), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 303, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        elif _is_page(scope):  # without a challenge, which makes a browser ask for a password in a window of its own
            said = "The session has ended; sign in again" if token_of(header_of(scope, b"cookie")) else "Sign in"
            await send_error(scope, send, 401, f"{said} at /ui/sign-in.")
        elif self._tokens is None:
            await send_error(scope, send, 401, "A name and a password are required.", _CHALLENGE)
        else:
            challenge = (b"www-authenticate", self._tokens.challenge.encode("latin-1", "replace"))
            await send_error(scope, send, 401, "A valid token of Keystone is required, in the header X-Auth-Token.", challenge)

    def _page_token(self, scope: Scope) -> str:
        """The token in the session's cookie, if the request is for the web page; '' if there is none."""
        return "" if self._cookies is None or not _is_page(scope) else self._cookies.opened(token_of(header_of(scope, b"cookie")))

    def _session(self, scope: Scope, checks: PasswordChecks) -> Account | None:
        """The account of the session, if the request is for the web page and the account is unchanged."""
        if not _is_page(scope):
            return None
        account = self._sessions.account(token_of(header_of(scope, b"cookie")))
        return account if account is not None and checks.doorkeeper.holds(account) else None


async def _admit(scope: Scope, checks: PasswordChecks) -> Account | None:
    found = credentials_of(header_of(scope, b"authorization"))
    if found is None:
        return None
    address = client_of(scope)
    connection = (address, scope["client"][1])
    if (account := checks.recalled(*found, connection=connection)) is not None:
        return account
    with checking(scope):
        return await checks.check(*found, address=address_block(address), connection=connection)


def is_question(scope: Scope) -> bool:
    """Whether a request changes nothing, although its method suggests a change."""
    return scope["path"] in QUESTIONS


def _open(scope: Scope) -> bool:
    path, method = scope["path"], scope["method"]
    return path.startswith(AGENTS) or (path in OPEN and method == "GET") or (path in FORMS and method == "POST")


def _is_page(scope: Scope) -> bool:
    path: str = scope["path"]
    return path == WEB_PAGE or path.startswith(f"{WEB_PAGE}/")


def _accepts_html(scope: Scope) -> bool:
    return scope["method"] == "GET" and "text/html" in header_of(scope, b"accept") and not header_of(scope, b"authorization")
