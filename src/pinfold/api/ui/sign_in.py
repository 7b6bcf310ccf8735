"""The sign-in and the sign-out of the web page: with an account of the service, or with a name and a password that go to Keystone.

A session of an account is in the memory of this process. One of Keystone is the cookie alone, which any API process can read.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from pinfold.api.client_address import address_block, client_of
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.keystone_sign_in import Credentials, KeystoneSignIn, Login, SignInRefused
from pinfold.api.password_checks import TooManyAttempts
from pinfold.api.policy import refusal
from pinfold.api.router import Router
from pinfold.api.ui.page_response import fields, html, need_extra
from pinfold.api.ui.sessions import COOKIE, SESSION_SECONDS, token_of
from pinfold.api.ui.token_cookies import MOST_TOKEN
from pinfold.core.errors import Unavailable

router = Router(prefix="/ui", tags=["web page"], include_in_schema=False)

_ENDED: Final = "Your session has ended; sign in again."
_FIELDS: Final = "name=NAME&password=PASSWORD&project=PROJECT&domain=DOMAIN&by=keystone"


@router.get("/sign-in")
async def ask_for_password(services: Services, ended: str | None = None) -> HTMLResponse:
    """The form that asks for name and password."""
    need_extra()
    return _form(services, {}, "" if ended is None else _ENDED, 200)


@router.post("/sign-in")
async def sign_in(request: Request, services: Services) -> Response:
    """Check name and password, and begin a session. The form must come from a page of this service."""
    need_extra()
    if services.checks is None and services.keystone is None:
        return RedirectResponse("/ui", 303)
    given = fields(await request.body(), _FIELDS)
    try:
        if services.keystone is not None and (services.checks is None or given.get("by") == "keystone"):
            value, seconds = await _keystone_session(request, services, services.keystone, given)
        else:
            value, seconds = await _account_session(request, services, given), SESSION_SECONDS
    except TooManyAttempts as refused:
        await asyncio.sleep(refused.answer_after_seconds)
        said = f"Too many password checks; try again in {refused.retry_seconds} s."
        return _form(services, given, said, 429, {"Retry-After": str(refused.retry_seconds)})
    except SignInRefused as refused:
        request.scope["state"]["sign_in"] = given.get("name", "")
        return _form(services, given, str(refused), 401)
    except ApiError as refused:
        return _form(services, given, str(refused), refused.status)
    except Unavailable as away:
        return _form(services, given, f"{away}.", 503, {"Retry-After": "5"})
    answer = RedirectResponse("/ui", 303)
    https = request.url.scheme == "https"
    answer.set_cookie(COOKIE, value, max_age=seconds, path="/ui", httponly=True, samesite="lax", secure=https)
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, services: Services) -> Response:
    """End the session. A token of Keystone is revoked there. The form must come from a page of this service."""
    value = token_of(request.headers.get("cookie", ""))
    services.sessions.end(value)
    if services.keystone is not None and services.cookies is not None and (token := services.cookies.opened(value)):
        await services.keystone.revoke(token)
    answer = RedirectResponse("/ui/sign-in", 303)
    answer.delete_cookie(COOKIE, path="/ui")
    return answer


async def _account_session(request: Request, services: ApiServices, given: dict[str, str]) -> str:
    """A new session of an account: its token. Raises `SignInRefused`, `TooManyAttempts`."""
    if services.checks is None:
        raise SignInRefused("This service has no accounts of its own.")
    client = client_of(request.scope)
    connection = (client, request.scope["client"][1])
    name, password = given.get("name", ""), given.get("password", "")
    account = await services.checks.admit(name, password, address=address_block(client), connection=connection)
    if account is None:
        raise SignInRefused("The name or the password is wrong.")
    return services.sessions.begin(account)


async def _keystone_session(request: Request, services: ApiServices, keystone: KeystoneSignIn, given: dict[str, str]) -> tuple[str, int]:
    """The cookie of a new session of a user of Keystone, and its seconds.

    Raises `SignInRefused`, `TooManyAttempts`, `Unavailable`, and `ApiError` 403 for a user who may see no page.
    """
    credentials = Credentials(
        name=given.get("name", ""),
        password=given.get("password", ""),
        project=given.get("project", "").strip(),
        domain=given.get("domain", "").strip() or "Default",
    )
    if not credentials.name or not credentials.password:
        raise SignInRefused("A name and a password are required.")
    login = await keystone.log_in(credentials, address=address_block(client_of(request.scope)))
    try:
        await _check_rights(services, login)
    except (ApiError, SignInRefused, Unavailable):
        await keystone.revoke(login.token)
        raise
    seconds = min(int(login.until - time.time()), SESSION_SECONDS)
    if seconds <= 0:
        raise SignInRefused("Keystone's token has expired already: the clocks of Keystone and of this service differ.")
    assert services.cookies is not None
    return services.cookies.sealed(login.token, time.time() + seconds), seconds


async def _check_rights(services: ApiServices, login: Login) -> None:
    """Raise `ApiError` 403 for a user who may see no page, `SignInRefused` for a token that a cookie cannot hold."""
    if len(login.token) > MOST_TOKEN:
        raise SignInRefused(f"Keystone's token has {len(login.token)} bytes; a session of this page can keep {MOST_TOKEN}.")
    caller = None if services.tokens is None else await services.tokens.caller(login.token, "GET", "/ui")
    if caller is None:
        raise SignInRefused("Keystone does not accept the token that it has issued.")
    if refusal(caller, "GET", "/ui"):
        raise ApiError(
            403, f"This page shows hosts, for which {caller.name} needs the role admin in the project, and has only {caller.role.value}."
        )


def _form(services: ApiServices, given: dict[str, str], said: str, status: int, more: dict[str, str] | None = None) -> HTMLResponse:
    from pinfold.api.ui.render import render

    typed = {name: given.get(name, "") for name in ("name", "project", "domain")}
    keystone, accounts = services.keystone is not None, services.checks is not None
    by = given.get("by", "keystone") if accounts else "keystone"
    text = render("sign-in.html", wrong=said, live="", account="", keystone=keystone, accounts=accounts, by=by, typed=typed)
    return html(text, status, more)
