"""How msgspec writes and reads the values of `core` as JSON: a `CpuSet` as its cpulist, everything else in msgspec's own way."""

from __future__ import annotations

from typing import TypeVar

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


def decoder(as_type: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder for a type of `core`, or one that has such types in it. It raises `msgspec.MsgspecError`.

    >>> decoder(CpuSet).decode('"0-3,8"')
    CpuSet('0-3,8')
    """
    return msgspec.json.Decoder(as_type, dec_hook=dec_hook)
