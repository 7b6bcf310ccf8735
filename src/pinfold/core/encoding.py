"""How msgspec writes and reads the values of `core` as JSON: a `CpuSet` as its cpulist, everything else in msgspec's own way.

Make a reader at module level, never in a function: msgspec 0.22 describes a Struct to itself when it is first read. Another thread that
reads the same Struct meanwhile finds the description half made, and the process ends with SIGSEGV. Modules are imported by one thread at a
time, so a reader that is made then is safe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest

T = TypeVar("T")


def enc_hook(value: object) -> str:
    """The cpulist of a `CpuSet`, for `msgspec.json.Encoder`."""
    if isinstance(value, CpuSet):
        return str(value)
    raise NotImplementedError(f"{type(value)} has no written form")


def dec_hook(as_type: type, value: object) -> CpuSet:
    """The `CpuSet` of a cpulist, for `msgspec.json.Decoder`. Raises `ValueError`, to which msgspec adds the path."""
    if as_type is not CpuSet or not isinstance(value, str):
        raise ValueError(f"{value!r:.60} is not a list of CPUs")
    try:
        return CpuSet.parse(value)
    except InvalidRequest as error:
        raise ValueError(str(error)) from error


def encoder() -> msgspec.json.Encoder:
    """An encoder of values of `core`; equal values give equal text."""
    return msgspec.json.Encoder(enc_hook=enc_hook, order="deterministic")


def plain(value: object) -> Any:
    """The value as JSON's own types.

    >>> plain((CpuSet.parse("0-3,8"), None))
    ['0-3,8', None]
    """
    return msgspec.to_builtins(value, enc_hook=enc_hook)


def schema_hook(as_type: type) -> dict[str, Any]:
    """The JSON Schema of a `CpuSet`, for `msgspec.json.schema_components`."""
    if as_type is CpuSet:
        return {"type": "string", "description": "pCPUs as a Linux cpulist, such as `0-3,8`"}
    raise NotImplementedError(f"{as_type} has no written form")


def json_reader(as_type: type[T]) -> Callable[[bytes | str | msgspec.Raw], T]:
    """What turns JSON into a value of that type. It raises `msgspec.MsgspecError`, `UnicodeError` or `RecursionError` for other text.

    >>> json_reader(CpuSet)('"0-3,8"')
    CpuSet('0-3,8')
    """
    return msgspec.json.Decoder(as_type, dec_hook=dec_hook).decode


def reader(as_type: type[T]) -> Callable[[object], T]:
    """What turns JSON's own types into a value of that type. It raises `msgspec.ValidationError` for others.

    >>> reader(CpuSet)("0-3,8")
    CpuSet('0-3,8')
    """
    msgspec.json.Decoder(as_type, dec_hook=dec_hook)  # describes the type now

    def read(plain: object) -> T:
        return msgspec.convert(plain, as_type, dec_hook=dec_hook)

    return read
