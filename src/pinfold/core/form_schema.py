"""The JSON Schema of a written form, from its type. `encoding` writes and reads the form itself.

`msgspec.json.schema` fails at defaults that are a `CpuSet`, and says `prefixItems`, which schemathesis 4.32 rejects.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from msgspec import inspect as types

from pinfold.core.cpuset import CpuSet
from pinfold.core.reasons import Reason, WrittenReason

_WRITTEN: Final[dict[type, type]] = {Reason: WrittenReason}
"""Values whose form says more than the value."""
_KEYWORDS: Final = {
    "ge": "minimum",
    "le": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
}
_SCALARS: Final[dict[type, str]] = {
    types.IntType: "integer",
    types.FloatType: "number",
    types.StrType: "string",
    types.BoolType: "boolean",
    types.NoneType: "null",
}


def schema(as_type: Any) -> dict[str, Any]:
    """The schema of the form of `as_type`, in one piece. Fields with a default may be left out; fields that are not named may be there.

    >>> schema(tuple[tuple[CpuSet, int], ...])["items"]["items"]["anyOf"][1]
    {'type': 'integer'}
    """
    return _schema(types.type_info(as_type))


def _schema(found: types.Type) -> dict[str, Any]:
    if type(found) in _SCALARS:
        return {"type": _SCALARS[type(found)], **_bounds(found)}
    match found:
        case types.Metadata():
            return _schema(found.type) | (found.extra_json_schema or {})
        case types.CustomType() if found.cls is CpuSet:
            return {"type": "string", "description": "CPUs as a Linux cpulist, such as `0-3,8`"}
        case types.BytesType():
            most = {} if found.max_length is None else {"maxLength": -(-found.max_length // 3) * 4}
            return {"type": "string", "contentEncoding": "base64", **most}
        case types.EnumType():
            return {"enum": [member.value for member in found.cls]}
        case types.UnionType():
            return {"anyOf": [_schema(one) for one in found.types]}
        case types.VarTupleType() | types.FrozenSetType():
            most = {} if found.max_length is None else {"maxItems": found.max_length}
            return {"type": "array", "items": _schema(found.item_type), **most}
        case types.TupleType():
            return _fixed(found.item_types)
        case types.DictType():
            return {"type": "object", "additionalProperties": _schema(found.value_type)}
        case types.StructType():
            return _object(found)
    raise TypeError(f"{found!r} has no written form")


def _fixed(members: tuple[types.Type, ...]) -> dict[str, Any]:
    """An array of that many members of any of the types. It does not say which is which."""
    kinds: list[Any] = []
    for kind in map(_schema, members):
        if kind not in kinds:
            kinds.append(kind)
    return {"type": "array", "items": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}, "minItems": len(members), "maxItems": len(members)}


def _object(found: types.StructType) -> dict[str, Any]:
    cls = _WRITTEN.get(found.cls)
    if cls is not None:
        return {**_schema(types.type_info(cls)), "title": found.cls.__name__}
    return {
        "type": "object",
        "title": found.cls.__name__,
        "description": inspect.cleandoc(found.cls.__doc__ or ""),
        "properties": {field.encode_name: _schema(field.type) for field in found.fields},
        "required": [field.encode_name for field in found.fields if field.required],
    }


def _bounds(found: types.Type) -> dict[str, Any]:
    """The bounds of a number or text. Patterns have the anchors of JavaScript, whose patterns JSON Schema takes."""
    bounds = {keyword: value for name, keyword in _KEYWORDS.items() if (value := getattr(found, name, None)) is not None}
    if pattern := getattr(found, "pattern", None):
        bounds["pattern"] = pattern.replace(r"\A", "^").replace(r"\Z", "$")
    return bounds
