"""The headers of every Compute request and answer: the microversion, and an id for the logs."""

from __future__ import annotations

import re
import uuid
from typing import Final

from starlette.requests import Request

from pinfold.api.bounds import App, Message, Receive, Scope, Send
from pinfold.api.errors import error_body
from pinfold.api.microversion import NEWEST, OLDEST, MalformedVersion, Microversion, UnsupportedVersion, answer_headers, negotiate

_REQUEST_ID: Final = re.compile(r"req-[0-9a-f-]{36}")


class ComputeHeaders:
    """ASGI: negotiates the microversion into `scope["state"]["microversion"]`, and puts it and the request id on the answer.

    A version that cannot be served is answered here: 400 when it is malformed, 406 when it is none of ours.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/compute"):
            await self._app(scope, receive, send)
            return
        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        request_id = f"req-{uuid.uuid4()}"
        headers = {"x-openstack-request-id": request_id, "x-compute-request-id": request_id}
        given = asked.get(b"x-openstack-request-id", "")
        if _REQUEST_ID.fullmatch(given):
            scope.setdefault("state", {})["global_request_id"] = given
        try:
            version = negotiate(asked.get(b"openstack-api-version"), asked.get(b"x-openstack-nova-api-version"))
        except MalformedVersion as error:
            await _answer(scope, send, 400, str(error), headers)
            return
        except UnsupportedVersion as error:
            await _answer(scope, send, 406, str(error), headers)
            return
        scope.setdefault("state", {}).update(microversion=version, request_id=request_id)
        headers |= answer_headers(version)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_encoded(headers)]
            await send(message)

        await self._app(scope, receive, with_headers)


def version_of(request: Request) -> Microversion:
    """The microversion that a request is served at."""
    version: Microversion = request.state.microversion
    return version


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


async def _answer(scope: Scope, send: Send, status: int, message: str, headers: dict[str, str]) -> None:
    more = {"min_version": str(OLDEST), "max_version": str(NEWEST)} if status == 406 else {}
    body = error_body(scope["path"], status, message, **more)
    ours = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *_encoded(headers)]
    await send({"type": "http.response.start", "status": status, "headers": ours})
    await send({"type": "http.response.body", "body": body})
