"""Bounds on request bodies, checked before anything parses them: size, depth and encoding."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from pinfold.api.asgi import App, Receive, Scope, Send, replayed
from pinfold.api.body_text import text_fault
from pinfold.api.cross_site import AGENTS
from pinfold.api.errors import send_error
from pinfold.api.threads import in_thread
from pinfold.core.printable import UNCLEAN

MAX_BODY: Final = 1 << 20
MAX_DEPTH: Final = 32
_LARGE: Final = 1 << 14
"""Bodies of at least this many bytes are checked in a thread, so that other requests do not wait."""
_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_IMAGE_FILE: Final = re.compile(r"/image/v2/images/[^/]+/file")
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_OTHERS: Final = bytes(set(range(256)) - set(b"[{]}"))


def too_deep(body: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether a JSON text nests arrays and objects deeper than `limit`.

    1. Take out the texts, whose brackets are none. One that does not end goes to the end of the body.
    2. Of the rest, keep the brackets: 1 for each that opens, -1 for each that closes.
    3. Their greatest sum from the beginning is the depth.

    Every step is a loop in C: 1 MiB takes some 10 ms.

    >>> too_deep(b"[" * 33 + b"]" * 33), too_deep(b'{"a": "[[[[", "b": [1]}', 2)
    (True, False)
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    steps = np.frombuffer(_TEXT.sub(b"", body).translate(_STEPS, _OTHERS), np.int8)
    return steps.size > 0 and int(steps.cumsum(dtype=np.int32).max()) > limit


class Bounds:
    """ASGI: reads a request's whole body, refuses one that is too large (413) or too deep (400), and passes the rest on.

    It refuses (400) NUL in the address, because PostgreSQL cannot store it, and other control characters in the address of a change.
    `text_fault` checks the text of a body. The file of an image is passed on as it comes, to a route with bounds of its own.
    Agents send names of threads and failures unchanged, and `core.encoding` cleans them.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            await send_error(scope, send, 400, "The address holds the character NUL, which is not allowed.")
            return
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        if UNCLEAN.search(scope["path"]):
            await send_error(scope, send, 400, "The address holds a control character, which is not allowed.")
            return
        if _is_streamed(scope):
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        if body is None:
            return
        if len(body) > MAX_BODY:
            await send_error(scope, send, 413, f"The request body is larger than {MAX_BODY} bytes.", (b"connection", b"close"))
        elif await _is_too_deep(body):
            await send_error(scope, send, 400, f"The request body nests deeper than {MAX_DEPTH} levels.")
        elif fault := text_fault(body, controls=not scope["path"].startswith(AGENTS)):
            await send_error(scope, send, 400, fault)
        else:
            await self._app(scope, replayed(body, receive), send)


def _is_streamed(scope: Scope) -> bool:
    """Whether the body is the file of an image, which is no text and may be large.

    >>> _is_streamed({"method": "PUT", "path": "/image/v2/images/1/file"}), _is_streamed({"method": "PUT", "path": "/image/v2/images/1"})
    (True, False)
    """
    return scope["method"] == "PUT" and _IMAGE_FILE.fullmatch(scope["path"]) is not None


async def _is_too_deep(body: bytes) -> bool:
    return too_deep(body) if len(body) < _LARGE else await in_thread(too_deep, body)


async def _whole(receive: Receive) -> bytes | None:
    """The request's body, or enough of it to know that it is too large; None when the client has gone."""
    body = bytearray()
    while len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)
