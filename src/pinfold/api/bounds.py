"""Bounds on request bodies, before anything parses them: size and depth. What a body must contain does not belong here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

MAX_BODY: Final = 1 << 20
MAX_DEPTH: Final = 32

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def too_deep(body: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether a JSON text nests arrays and objects deeper than `limit`, told in one pass and without recursion.

    >>> too_deep(b"[" * 33 + b"]" * 33), too_deep(b'{"a": "[[[[", "b": [1]}', 2)
    (True, False)
    """
    depth = 0
    quoted = escaped = False
    for char in body:
        if quoted:
            if escaped:
                escaped = False
            elif char == 0x5C:
                escaped = True
            elif char == 0x22:
                quoted = False
        elif char == 0x22:
            quoted = True
        elif char in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif char in b"]}":
            depth -= 1
    return False


class Bounds:
    """ASGI: reads a request's whole body, refuses one that is too large (413) or too deep (400), and hands the rest on.

    `refuse(path, status, sentence)` makes the error body in the form of the API that the path belongs to.
    """

    def __init__(self, app: App, refuse: Callable[[str, int, str], bytes]) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY:
                await self._answer(scope, send, 413, f"The request body is larger than {MAX_BODY} bytes.")
                return
        if too_deep(bytes(body)):
            await self._answer(scope, send, 400, f"The request body nests deeper than {MAX_DEPTH} levels.")
            return
        handed = False

        async def again() -> Message:
            nonlocal handed
            if handed:
                return await receive()
            handed = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, again, send)

    async def _answer(self, scope: Scope, send: Send, status: int, sentence: str) -> None:
        body = self._refuse(scope["path"], status, sentence)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
