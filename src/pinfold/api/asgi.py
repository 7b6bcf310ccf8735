"""ASGI for the layers in front of the routes: its types, how a header is read, and how a body is received once more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def header_of(scope: Scope, name: bytes) -> str:
    """The first header of that name, which is in lower case; '' without one."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def replayed(body: bytes, receive: Receive) -> Receive:
    """What an application receives once more after a body was read: the body, then further messages."""
    handed = False

    async def again() -> Message:
        nonlocal handed
        if handed:
            return await receive()
        handed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
