"""ASGI for the layers in front of the routes: its types, and how a header is read."""

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
