"""The OpenAPI document: FastAPI's, corrected for the layers in front of the routes.

A route's return type is its response on success. Errors have one form per API, and never FastAPI's own 422. The path and method of a route
determine its possible errors; the route itself adds others (`responses`). A 500 is always a bug and is declared nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from pinfold.api.auth import OPEN
from pinfold.api.cross_site import AGENTS
from pinfold.api.errors import CODES, COMPUTE_ERRORS
from pinfold.api.policy import QUESTIONS

_VERBS: Final = frozenset({"get", "put", "post", "delete", "patch", "head"})
_WRITING: Final = frozenset({"put", "post", "delete", "patch"})
_FAULT: Final[dict[str, Any]] = {
    "type": "object",
    "description": "An error, under the name of its kind.",
    "minProperties": 1,
    "maxProperties": 1,
    "propertyNames": {"enum": sorted({*COMPUTE_ERRORS.values(), "computeFault"})},
    "additionalProperties": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "integer"},
            "message": {"type": "string"},
            "min_version": {"type": "string"},
            "max_version": {"type": "string"},
        },
        "additionalProperties": False,
    },
}
_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "status", "message"],
            "properties": {
                "code": {"enum": sorted(CODES.values())},
                "status": {"type": "integer"},
                "message": {"type": "string"},
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
HEALTH: Final = "/healthz"
_COMPUTE_HEADERS: Final = ("OpenStack-API-Version", "X-OpenStack-Nova-API-Version", "x-openstack-request-id")


def describe(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """The function that FastAPI calls for the document, which is made once."""
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes))
            _make_true(made)
        return made

    return document


def _make_true(document: dict[str, Any]) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {"ComputeFault": _FAULT, "Error": _ERROR}
    components["securitySchemes"] = {"account": {"type": "http", "scheme": "basic"}, "agent": {"type": "http", "scheme": "bearer"}}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            if verb in _VERBS:
                _operation(path, verb, operation)


def refusals(path: str, verb: str) -> frozenset[int]:
    """The error statuses that any route with that path and method may answer.

    >>> sorted(refusals("/v1/hosts", "get"))
    [400, 401, 403, 429, 503]
    """
    account, writing = path not in OPEN, verb in _WRITING and path not in QUESTIONS
    found = {400: True, 401: account, 404: "{" in path, 406: path.startswith("/compute"), 413: verb in _WRITING}
    found |= {
        429: account and not path.startswith(AGENTS),
        403: account and not path.startswith(AGENTS),
        409: writing,
        503: account or path == HEALTH,
    }
    found |= {415: verb == "post" and not path.startswith(AGENTS)}
    return frozenset(status for status, may in found.items() if may)


def _operation(path: str, verb: str, operation: dict[str, Any]) -> None:
    compute = path.startswith("/compute")
    responses = operation["responses"]
    responses.pop("422", None)
    schema = {"$ref": f"#/components/schemas/{'ComputeFault' if compute else 'Error'}"}
    said = {int(status) for status in responses if int(status) >= 400} | ({415} if "requestBody" in operation else set())
    for status in sorted(said | refusals(path, verb)):
        responses[str(status)] = {"description": CODES[status], "content": {"application/json": {"schema": schema}}}
    if compute:
        for response in responses.values():
            response["headers"] = {name: {"schema": {"type": "string"}, "required": True} for name in _COMPUTE_HEADERS}
    if path not in OPEN:
        operation["security"] = [{"agent" if path.startswith(AGENTS) else "account": []}]
