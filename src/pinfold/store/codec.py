"""Convert values of `core` and of the store to JSON text and back, by the types of their fields.

The form, version 1: a Struct or dataclass is an object of its fields, a CpuSet its cpulist, an Enum its value, a tuple or frozenset an
array (the set's members ascending), None is null. The outermost object carries `"v": 1`. Decoding checks the types: a wrong type, an
unknown field, or a missing field without a default is refused with its path. A field that is added later needs a default, so that old rows
can be read. A field that is removed or changes its meaning needs a new version and a migration. A character that is not allowed in a text
(`core.printable`) becomes U+FFFD in both directions, because agents send names and failures unchanged and an earlier pinfold stored them
so.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import types
import typing
from collections.abc import Callable
from enum import Enum
from functools import cache, lru_cache
from typing import Any, Final, TypeVar

import msgspec

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.printable import cleaned

_log = logging.getLogger(__name__)

VERSION: Final = 1
_MAX_INT: Final = 2**53

T = TypeVar("T")
Other = TypeVar("Other")
_Encode = Callable[[Any], Any]
_Decode = Callable[[Any, str], Any]


def encode(value: object, as_type: Any) -> str:
    """The JSON text of `value`, which has the type `as_type`. Equal values give equal text.

    >>> encode((("b", 2),), tuple[tuple[str, int], ...])
    '{"v":1,"value":[["b",2]]}'
    """
    return json.dumps({"v": VERSION, "value": _coders(as_type)[0](value)}, separators=(",", ":"), sort_keys=True)


def decode(text: str, as_type: type[T], where: str = "") -> T:
    """The value of type `as_type` that `encode` wrote. Raises `InvalidRequest` that names `where` and the path of the fault.

    >>> decode('{"v":1,"value":"0-3"}', CpuSet)
    CpuSet('0-3')
    >>> decode('{"v":1,"value":{"size_kib":"4","total":1}}', __import__("pinfold.core.topology").core.topology.PagePool, "host c1")
    Traceback (most recent call last):
    ...
    pinfold.core.errors.InvalidRequest: host c1: .size_kib is '4', an integer is needed
    """
    try:
        outer = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"{where}: not JSON: {error}") from error
    if not isinstance(outer, dict) or set(outer) != {"v", "value"}:
        raise InvalidRequest(f'{where}: an object {{"v": {VERSION}, "value": …}} is needed')
    if outer["v"] != VERSION:
        raise InvalidRequest(f"{where}: version {outer['v']!r} is stored, this pinfold reads version {VERSION}")
    return from_plain(outer["value"], as_type, where)


def readable(text: str, as_type: type[T], where: str, instead: Other) -> T | Other:
    """The value that `encode` wrote, or `instead` if it cannot be read. The log says so once; one bad row must not break a listing.

    For values from agents: an earlier pinfold accepted some that this one refuses, and the agent's next report replaces them.
    """
    try:
        return decode(text, as_type, where)
    except InvalidRequest as error:
        log_once(f"{error}; it is left out")
        return instead


@lru_cache(maxsize=256)
def log_once(sentence: str) -> None:
    """Log a warning, unless the log has it already from an earlier read of the same row."""
    _log.warning("%s", sentence)


def to_plain(value: object, as_type: Any) -> Any:
    """`value` as JSON types, without the version: for bodies that carry a version themselves."""
    return _coders(as_type)[0](value)


def from_plain(data: Any, as_type: type[T], where: str = "") -> T:
    """The value from which `to_plain` made `plain`. Raises `InvalidRequest` as `decode` does."""
    try:
        return typing.cast("T", _coders(as_type)[1](data, ""))
    except _WrongError as wrong:
        raise InvalidRequest(f"{where}: {wrong}" if where else str(wrong)) from wrong


class _WrongError(Exception):
    """A fault and its path; becomes an InvalidRequest at the top."""


def _coders(as_type: Any) -> tuple[_Encode, _Decode]:
    return _build(as_type)


@cache
def _build(as_type: Any) -> tuple[_Encode, _Decode]:
    if isinstance(as_type, typing.NewType):
        return _build(as_type.__supertype__)
    if as_type in _SCALARS:
        return cleaned if as_type is str else _same, _SCALARS[as_type]
    if as_type is CpuSet:
        return str, _cpuset
    if isinstance(as_type, type) and issubclass(as_type, Enum):
        return _enum_value, _enum(as_type)
    if has_fields(as_type):
        return _object(as_type)
    origin, arguments = typing.get_origin(as_type), typing.get_args(as_type)
    if origin in (types.UnionType, typing.Union) and len(arguments) == 2 and arguments[1] is type(None):
        return _optional(arguments[0])
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _sequence(arguments[0], tuple)
    if origin is tuple:
        return _fixed(arguments)
    if origin is frozenset:
        return _sequence(arguments[0], frozenset)
    raise TypeError(f"{as_type!r} has no stored form")


def _same(value: Any) -> Any:
    return value


def _enum_value(value: Any) -> Any:
    return value.value


def _integer(data: Any, path: str) -> int:
    if type(data) is not int or abs(data) > _MAX_INT:
        raise _WrongError(f"{path or 'it'} is {_shown(data)}, an integer is needed")
    return data


def _number(data: Any, path: str) -> float:
    if type(data) not in (int, float) or not math.isfinite(data):
        raise _WrongError(f"{path or 'it'} is {_shown(data)}, a number is needed")
    return float(data)


def _text(data: Any, path: str) -> str:
    if type(data) is not str or "\x00" in data:
        raise _WrongError(f"{path or 'it'} is {_shown(data)}, text is needed")
    return cleaned(data)


def _truth(data: Any, path: str) -> bool:
    if type(data) is not bool:
        raise _WrongError(f"{path or 'it'} is {_shown(data)}, true or false is needed")
    return data


_SCALARS: Final[dict[Any, _Decode]] = {int: _integer, float: _number, str: _text, bool: _truth}


def _cpuset(data: Any, path: str) -> CpuSet:
    try:
        return CpuSet.parse(_text(data, path))
    except InvalidRequest as error:
        raise _WrongError(f"{path or 'it'}: {error}") from error


def _enum(as_type: type[Enum]) -> _Decode:
    members = {member.value: member for member in as_type}

    def read(data: Any, path: str) -> Enum:
        if type(data) is not str or data not in members:
            raise _WrongError(f"{path or 'it'} is {_shown(data)}, allowed are {', '.join(map(repr, members))}")
        return members[data]

    return read


def _optional(inner: Any) -> tuple[_Encode, _Decode]:
    write, read = _build(inner)
    return (lambda value: None if value is None else write(value)), (lambda data, path: None if data is None else read(data, path))


def _sequence(inner: Any, make: Callable[[Any], Any]) -> tuple[_Encode, _Decode]:
    write, read = _build(inner)

    def encode_all(value: Any) -> list[Any]:
        plain = [write(item) for item in value]
        return sorted(plain) if make is frozenset else plain

    def decode_all(data: Any, path: str) -> Any:
        if type(data) is not list:
            raise _WrongError(f"{path or 'it'} is {_shown(data)}, an array is needed")
        return make([read(item, f"{path}[{index}]") for index, item in enumerate(data)])

    return encode_all, decode_all


def _fixed(inner: tuple[Any, ...]) -> tuple[_Encode, _Decode]:
    coders = [_build(item) for item in inner]

    def write(value: Any) -> list[Any]:
        return [coder[0](item) for coder, item in zip(coders, value, strict=True)]

    def read(data: Any, path: str) -> tuple[Any, ...]:
        if type(data) is not list or len(data) != len(coders):
            raise _WrongError(f"{path or 'it'} is {_shown(data)}, an array of {len(coders)} is needed")
        return tuple(coder[1](item, f"{path}[{index}]") for index, (coder, item) in enumerate(zip(coders, data, strict=True)))

    return write, read


def _object(as_type: type) -> tuple[_Encode, _Decode]:
    hints = typing.get_type_hints(as_type)
    needed = fields_of(as_type)
    fields = {name: _build(hints[name]) for name in needed}

    def write(value: Any) -> dict[str, Any]:
        return {name: coder[0](getattr(value, name)) for name, coder in fields.items()}

    def read(data: Any, path: str) -> Any:
        if type(data) is not dict:
            raise _WrongError(f"{path or 'it'} is {_shown(data)}, an object is needed")
        unknown = sorted(data.keys() - fields.keys())
        missing = sorted(name for name in needed if needed[name] and name not in data)
        if unknown:
            raise _WrongError(f"{path}.{unknown[0][:60]} is not known, allowed are {', '.join(fields)}")
        if missing:
            raise _WrongError(f"{path}.{missing[0]} is missing")
        try:
            return as_type(**{name: fields[name][1](item, f"{path}.{name}") for name, item in data.items()})
        except (ValueError, InvalidRequest) as error:
            raise _WrongError(f"{path or 'it'}: {error}") from error

    return write, read


def has_fields(as_type: Any) -> bool:
    """Whether the type is a Struct or a dataclass."""
    return isinstance(as_type, type) and (issubclass(as_type, msgspec.Struct) or dataclasses.is_dataclass(as_type))


def fields_of(as_type: Any) -> dict[str, bool]:
    """The fields of a Struct or dataclass, in order, and whether each must be given."""
    if issubclass(as_type, msgspec.Struct):
        return {field.name: field.required for field in msgspec.structs.fields(as_type)}
    fields = [field for field in dataclasses.fields(as_type) if field.init]
    return {field.name: field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING for field in fields}


def _shown(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else text[:57] + "…"
