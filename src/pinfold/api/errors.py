"""Write every error of the HTTP application in the form of the requested API.

| path | form |
|---|---|
| `/compute` | `{"itemNotFound": {"code": 404, "message": …}}`, as the Compute API |
| `/placement` | `{"errors": [{"status": 401, "title": "Unauthorized", "detail": …, "code": "pinfold.unauthorized"}]}`, as Placement |
| elsewhere | `{"error": {"code": …, "status": …, "message": …}}`, `code` one of `CODES` |
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from pinfold.api.asgi import App, Message, Receive, Scope, Send
from pinfold.api.microversion import NEWEST, OLDEST, MalformedVersion, UnsupportedVersion
from pinfold.core.errors import Conflict, InvalidRequest, InvariantViolation, LimitReached, NotFound, PinfoldError, Unavailable

_log = logging.getLogger(__name__)

COMPUTE_ERRORS: Final = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    406: "computeFault",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}

CODES: Final = {
    400: "invalid-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "unsupported-version",
    409: "conflict",
    413: "too-large",
    415: "media-type",
    429: "too-many-requests",
    500: "internal",
    501: "not-implemented",
    503: "unavailable",
}
"""The stable error codes of the routes that are not OpenStack's, by HTTP status."""


SECRETS: Final = frozenset({"adminPass", "user_data", "personality"})
"""The keys of a body whose values no answer shows."""


class ApiError(PinfoldError):
    """An error response that stands for no error of a lower layer: forbidden, not implemented."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def error_body(path: str, status: int, message: str, **more: Any) -> bytes:
    """The body of an error, in the form of the API to which `path` belongs.

    >>> error_body("/compute/v2.1/servers", 404, "gone")
    b'{"itemNotFound": {"code": 404, "message": "gone"}}'
    """
    if path.startswith("/compute"):
        return json.dumps({COMPUTE_ERRORS.get(status, "computeFault"): {"code": status, "message": message, **more}}).encode()
    if path.startswith("/placement"):
        code = f"pinfold.{CODES.get(status, 'internal')}"
        return json.dumps({"errors": [{"status": status, "title": HTTPStatus(status).phrase, "detail": message, "code": code}]}).encode()
    return json.dumps({"error": {"code": CODES.get(status, "internal"), "status": status, "message": message, **more}}).encode()


def install(app: FastAPI, methods: Callable[[Scope], frozenset[str]]) -> None:
    """Write every error of the application in its form. `methods` returns those that the path of a request allows, for 405."""

    def answer(request: Request, status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
        body = error_body(request.url.path, status, message, **more)
        return Response(body, status, headers=dict(headers or {}), media_type="application/json")

    async def pinfold_error(request: Request, error: Exception) -> Response:
        if isinstance(error, ApiError):
            return answer(request, error.status, str(error), error.headers)
        if isinstance(error, UnsupportedVersion):
            return answer(request, 406, str(error), min_version=str(OLDEST), max_version=str(NEWEST))
        status = status_of(error)
        if status >= 500:
            _log.error("%s %s: %s", request.method, request.url.path, error, exc_info=status == 500)
        return answer(request, status, str(error))

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        phrase = HTTPStatus(error.status_code).phrase if error.detail is None else str(error.detail)
        if error.status_code == 404 and error.detail == "Not Found":
            phrase = "The resource could not be found."
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(methods(request.scope)))
        return answer(request, error.status_code, phrase, headers)

    async def malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        if isinstance(error.body, bytes):
            return answer(request, 415, "Unsupported Content-Type: the body must be JSON, and its type application/json.")
        return answer(request, 400, _first_fault(error))

    app.add_exception_handler(PinfoldError, pinfold_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, malformed)


class UnexpectedErrors:
    """ASGI: answers 500 to an exception that nothing else handles, inside the headers of the API. Its text stays in the log."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            _log.exception("%s %s", scope["method"], scope["path"])
            await send_error(scope, send, 500, f"Unexpected error ({type(error).__name__}); the log of the API says more.")


async def send_error(scope: Scope, send: Send, status: int, message: str, *headers: tuple[bytes, bytes], **more: Any) -> None:
    """Send an error from outside the routes."""
    body = error_body(scope["path"], status, message, **more)
    ours = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    await send({"type": f"{kind}.start", "status": status, "headers": ours})
    await send({"type": f"{kind}.body", "body": body})


def status_of(error: Exception) -> int:
    """The HTTP status with which an exception is answered."""
    match error:
        case NotFound():
            return 404
        case InvalidRequest() | MalformedVersion():
            return 400
        case LimitReached():
            return 403
        case Conflict():
            return 409
        case Unavailable():
            return 503
        case InvariantViolation():
            return 500
        case _:
            return 500


def _first_fault(error: RequestValidationError) -> str:
    """One sentence about the first thing that the schema refuses: its place, its value, and what is allowed."""
    fault = error.errors()[0]
    if fault["type"] == "json_invalid":
        return f"The request body is no JSON text: {fault['ctx']['error']} at character {fault['loc'][-1]}."
    place = _place(fault["loc"], error.body) or "body"
    given = repr(_without_secrets(fault.get("input"), hidden=SECRETS.intersection(map(str, fault["loc"])) != set()))
    shown = given if len(given) <= 80 else given[:77] + "..."
    return f"Invalid input for {place}: {fault['msg']}. Value: {shown}."


def _without_secrets(given: object, *, hidden: bool = False) -> object:
    """A value of a body with every secret in it hidden.

    >>> _without_secrets({"server": {"name": "vm1", "adminPass": "hunter2"}})
    {'server': {'name': 'vm1', 'adminPass': '***'}}
    """
    if hidden:
        return "***"
    if isinstance(given, Mapping):
        return {key: _without_secrets(value, hidden=key in SECRETS) for key, value in given.items()}
    return [_without_secrets(value) for value in given] if isinstance(given, list) else given


def _place(loc: Sequence[str | int], body: object) -> str:
    """The place of a fault, without the names that pydantic gives to the members of a union.

    >>> _place(("body", "flavor", "id", "constrained-str"), {"flavor": {"id": "?"}})
    'flavor.id'
    """
    if loc[0] != "body":
        return ".".join(str(part) for part in loc[1:])
    parts: list[str] = []
    for part in loc[1:]:
        if not isinstance(body, Mapping | list):
            break
        parts.append(str(part))
        within = part in body if isinstance(body, Mapping) else isinstance(part, int) and part < len(body)
        body = body[part] if within else None  # type: ignore[index]
    return ".".join(parts)
