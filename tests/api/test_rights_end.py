"""An account is removed while its request is served: the rest of the request is not read, and no response is sent."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from pinfold.api.accounts import hash_password, parse_accounts
from pinfold.api.asgi import App, Message, Receive, Scope, Send
from pinfold.api.auth import Authentication
from pinfold.api.doorkeeper import Doorkeeper
from pinfold.api.password_checks import PasswordChecks
from pinfold.api.ui.sessions import Sessions

DOOR_TEXT = f"alice:admin:{hash_password('secret', rounds=4)}"


def _ask(make_app: Callable[[Doorkeeper], App]) -> list[Message]:
    """The response to a request of alice."""
    door = Doorkeeper(parse_accounts(DOOR_TEXT, "accounts"))
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    given = b"Basic " + base64.b64encode(b"alice:secret")
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/hosts", "client": ("192.0.2.1", 1)}
    scope["headers"] = [(b"authorization", given), (b"content-type", b"application/json")]
    asyncio.run(Authentication(make_app(door), PasswordChecks(door), None, Sessions())(scope, receive, send))
    return sent


def test_what_it_sends_after_is_not_acted_upon() -> None:
    acted: list[Message] = []

    def make(door: Doorkeeper) -> App:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            door.replace(())
            acted.append(await receive())

        return app

    (start, _) = _ask(make)
    assert start["status"] == 401
    assert acted == []


@pytest.mark.parametrize("begun", [False, True], ids=["not begun", "begun"])
def test_the_answer_is_not_given(begun: bool) -> None:
    def make(door: Doorkeeper) -> App:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            start: Message = {"type": "http.response.start", "status": 200, "headers": []}
            if begun:
                await send(start)
            door.replace(())
            if not begun:
                await send(start)
            await send({"type": "http.response.body", "body": b"a token", "more_body": False})

        return app

    sent = _ask(make)
    assert sent[0]["status"] == (200 if begun else 401)
    assert b"a token" not in b"".join(message.get("body", b"") for message in sent)
