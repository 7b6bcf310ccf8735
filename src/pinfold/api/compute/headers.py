"""The headers of every Compute request and response: the microversion, and an id for the logs."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from pinfold.api.asgi import App, Message, Receive, Scope, Send
from pinfold.api.errors import send_error
from pinfold.api.microversion import NEWEST, OLDEST, MalformedVersion, Microversion, UnsupportedVersion, answer_headers, negotiate


class ComputeHeaders:
    """ASGI: negotiates the microversion into `scope["state"]["microversion"]`, and adds it and the request id to every response.

    It answers a version that cannot be served itself: 400 for a malformed one, 406 for an unsupported one.
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
        try:
            version = negotiate(asked.get(b"openstack-api-version"), asked.get(b"x-openstack-nova-api-version"))
        except MalformedVersion as error:
            await send_error(scope, send, 400, str(error), *_encoded(headers | answer_headers(OLDEST)))
            return
        except UnsupportedVersion as error:
            allowed = {"min_version": str(OLDEST), "max_version": str(NEWEST)}
            await send_error(scope, send, 406, str(error), *_encoded(headers | answer_headers(OLDEST)), **allowed)
            return
        scope.setdefault("state", {}).update(microversion=version, request_id=request_id)
        ours = _encoded(headers | answer_headers(version))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *ours]
            await send(message)

        await self._app(scope, receive, with_headers)


async def version_of(request: Request) -> Microversion:
    """The microversion at which a request is served. It is a coroutine, because FastAPI calls plain functions in a thread."""
    version: Microversion = request.state.microversion
    return version


Version = Annotated[Microversion, Depends(version_of)]
"""The type of a route's parameter that receives the microversion."""


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
