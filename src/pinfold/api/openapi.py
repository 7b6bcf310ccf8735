"""The OpenAPI document: what FastAPI tells of the routes, made true for what stands in front of them.

Errors have one form per API and never FastAPI's own 422; every route but the open ones wants an account or an agent's token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from pinfold.api.auth import OPEN
from pinfold.api.errors import CODES, COMPUTE_ERRORS

_VERBS: Final = frozenset({"get", "put", "post", "delete", "patch", "head"})
_ANYWHERE: Final = (400, 401, 403, 404, 405, 409, 413, 500, 501, 503)
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
_COMPUTE_HEADERS: Final = ("OpenStack-API-Version", "X-OpenStack-Nova-API-Version", "x-openstack-request-id")


def describe(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """The function that FastAPI asks for the document; it is made once."""
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
                _operation(path, operation)


def _operation(path: str, operation: dict[str, Any]) -> None:
    compute = path.startswith("/compute")
    responses = operation["responses"]
    responses.pop("422", None)
    schema = {"$ref": f"#/components/schemas/{'ComputeFault' if compute else 'Error'}"}
    for status in (*_ANYWHERE, *((406,) if compute else ())):
        responses.setdefault(str(status), {"description": CODES[status], "content": {"application/json": {"schema": schema}}})
    if compute:
        for response in responses.values():
            response["headers"] = {name: {"schema": {"type": "string"}, "required": True} for name in _COMPUTE_HEADERS}
    if path not in OPEN:
        operation["security"] = [{"agent" if path.startswith("/agent/") else "account": []}]
