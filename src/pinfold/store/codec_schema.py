"""Derive the JSON Schema of the forms that `store.codec` writes, from the same types. The codec itself checks values."""

from __future__ import annotations

import types
import typing
from enum import Enum
from typing import Any, Final

from pinfold.core.cpuset import CpuSet
from pinfold.store.codec import fields_of, has_fields

_SCALARS: Final[dict[Any, dict[str, Any]]] = {
    int: {"type": "integer", "minimum": -(2**53), "maximum": 2**53},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    CpuSet: {"type": "string", "description": "pCPUs as a Linux cpulist, such as `0-3,8`"},
}


def schema(as_type: Any) -> dict[str, Any]:
    """The schema of the plain form of `as_type` (`codec.to_plain`). Fields with a default may be left out; unknown fields are not allowed.

    `Meta.extra_json_schema` of a field's type are further keywords of its schema; its class checks them.

    >>> schema(tuple[tuple[str, bool], ...])["items"]["items"]
    {'anyOf': [{'type': 'string'}, {'type': 'boolean'}]}
    """
    if isinstance(as_type, typing.NewType):
        return schema(as_type.__supertype__)
    if as_type in _SCALARS:
        return dict(_SCALARS[as_type])
    if isinstance(as_type, type) and issubclass(as_type, Enum):
        return {"enum": [member.value for member in as_type]}
    if has_fields(as_type):
        return _object(as_type)
    origin, arguments = typing.get_origin(as_type), typing.get_args(as_type)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [schema(arguments[0]), {"type": "null"}]}
    if origin is frozenset or arguments[1:] == (Ellipsis,):
        return {"type": "array", "items": schema(arguments[0])}
    if origin is tuple:
        return _fixed(arguments)
    raise TypeError(f"{as_type!r} has no stored form")


def _fixed(members: tuple[Any, ...]) -> dict[str, Any]:
    """An array of that many members of any of the types. It does not say which is which, because schemathesis 4.32 rejects
    `prefixItems`.
    """
    kinds = [schema(member) for member in dict.fromkeys(members)]
    return {"type": "array", "items": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}, "minItems": len(members), "maxItems": len(members)}


def _further(field_type: Any) -> dict[str, Any]:
    """What the metadata of an annotated type add to its schema."""
    found: dict[str, Any] = {}
    for meta in getattr(field_type, "__metadata__", ()):
        found |= getattr(meta, "extra_json_schema", None) or {}
    return found


def _object(as_type: type) -> dict[str, Any]:
    hints, full = typing.get_type_hints(as_type), typing.get_type_hints(as_type, include_extras=True)
    fields = fields_of(as_type)
    return {
        "type": "object",
        "title": as_type.__name__,
        "properties": {name: schema(hints[name]) | _further(full[name]) for name in fields},
        "required": [name for name in fields if fields[name]],
        "additionalProperties": False,
    }
