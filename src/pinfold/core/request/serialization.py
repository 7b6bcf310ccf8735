"""Write a `GuestRequest` as JSON text and read it back. A guest's own definition stores this text.

The form is that of `store.codec`: `{"v": 1, "value": {…}}`, a CpuSet as its cpulist, an Enum as its value. `not_acted_upon` is left out,
because it has no effect on CPUs and memory. Every field added later needs a default, so that old texts can be read.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from pinfold.core.encoding import encoder, json_reader
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.model import GuestRequest

_VERSION: Final = 1


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    value: GuestRequest


def write_request(request: GuestRequest) -> str:
    """The request as text; equal requests give equal texts.

    >>> write_request(GuestRequest(vcpus=1, memory_mib=64))[:38]
    '{"v":1,"value":{"vcpus":1,"memory_mib"'
    """
    return _ENCODER.encode(_Document(v=_VERSION, value=replace(request, not_acted_upon=()))).decode("utf-8")


def read_request(text: str) -> GuestRequest:
    """Read a text of `write_request`. Raises `InvalidRequest` for anything else.

    >>> read_request(write_request(GuestRequest(vcpus=2, memory_mib=64))).vcpus
    2
    """
    try:
        written = _read_document(text)
    except (msgspec.DecodeError, InvalidRequest, ValueError) as error:
        raise InvalidRequest(f"the request in its record cannot be read: {error}", key="request") from error
    if written.v != _VERSION:
        raise InvalidRequest(f"the request in its record is of version {written.v}, this pinfold reads version {_VERSION}", key="request")
    return written.value


_ENCODER: Final = encoder()
_read_document = json_reader(_Document)
