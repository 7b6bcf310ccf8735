"""The one module that writes values as JSON and reads them. msgspec does the work.

The form of a Struct is an object of its fields, of a `CpuSet` its cpulist, of an Enum its value, of a tuple or frozenset an array (the
set's members ascending), of None null. A stored text is `{"v": 1, "value": …}`; a message and a document carry the version themselves, or
need none. Reading checks types and the bounds in `Meta`, and an error names the path of the fault. A field that is not known is ignored,
so that a newer pinfold may add some. A field that is added later needs a default, so that old texts can be read. One that is removed or
changes its meaning needs a new version.

A character that is not allowed in a text (`core.printable`) becomes U+FFFD when a text is written and when anything is read: names and
failures come from hypervisors and agents unchanged. `plain` keeps it, for documents that are shown.

Make a reader at module level, never in a function: msgspec 0.22 describes a Struct to itself when it is first read. Another thread that
reads the same Struct meanwhile finds the description half made, and the process ends with SIGSEGV. Modules are imported by one thread at a
time, so a reader that is made then is safe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.printable import cleaned

VERSION: Final = 1
"""The version of stored texts."""
_PERHAPS_UNCLEAN: Final = re.compile(r"\\[bfru]|[^\x00-\x7e]")
"""Without any of these, a JSON text holds no forbidden character."""

T = TypeVar("T")


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    v: int
    value: msgspec.Raw


def enc_hook(value: object) -> str:
    """The cpulist of a `CpuSet`, for msgspec's encoders."""
    if isinstance(value, CpuSet):
        return str(value)
    raise NotImplementedError(f"{type(value)} has no written form")


def dec_hook(as_type: type, value: object) -> CpuSet:
    """The `CpuSet` of a cpulist, for msgspec's decoders. Raises `ValueError`, to which msgspec adds the path."""
    if as_type is not CpuSet or not isinstance(value, str):
        raise ValueError(f"{value!r:.60} is not a list of CPUs")
    try:
        return CpuSet.parse(value)
    except InvalidRequest as error:
        raise ValueError(str(error)) from error


def encode(value: object) -> str:
    """The text of a value for a store. Equal values give equal text.

    >>> encode((("b", 2), ("c", CpuSet.of(4, 5))))
    '{"v":1,"value":[["b",2],["c","4-5"]]}'
    """
    return f'{{"v":{VERSION},"value":{json_text(value)}}}'


def plain(value: object) -> Any:
    """A value as JSON types, for a message or a document.

    >>> plain((CpuSet.parse("0-3,8"), None))
    ['0-3,8', None]
    """
    # msgspec leaves tuples as they are; its own JSON refuses halves of surrogate pairs.
    return json.loads(json.dumps(msgspec.to_builtins(value, enc_hook=enc_hook, order="deterministic")))


def decoder(as_type: type[T]) -> Callable[[str, str], T]:
    """What reads a text of `encode`: `read(text, where)`. It raises `InvalidRequest` that names `where` and the path of the fault.

    >>> decoder(CpuSet)('{"v":1,"value":"0-3"}', "host c1")
    CpuSet('0-3')
    >>> decoder(tuple[int, ...])('{"v":1,"value":[1,"2"]}', "host c1")
    Traceback (most recent call last):
    ...
    pinfold.core.errors.InvalidRequest: host c1: Expected `int`, got `str` - at `$[1]`
    """
    read_value = json_reader(as_type)

    def read(text: str, where: str) -> T:
        try:
            clean = text if _PERHAPS_UNCLEAN.search(text) is None else json.dumps(_cleaned(json.loads(text)))
            envelope = _read_envelope(clean)
            if envelope.v != VERSION:
                raise InvalidRequest(f"{where}: version {envelope.v} is stored, this pinfold reads version {VERSION}")
            return read_value(envelope.value)
        except (ValueError, RecursionError) as error:  # msgspec.MsgspecError and UnicodeError are ValueErrors
            raise InvalidRequest(f"{where}: {error}") from error

    return read


def reader(as_type: type[T], *, strict: bool = True) -> Callable[[object, str], T]:
    """What reads the JSON types of `plain`: `read(plain, where)`. It raises `InvalidRequest` as a `decoder` does.

    If it is not `strict`, it reads numbers that are texts, too.

    >>> reader(CpuSet)("0-3,8", "the pool")
    CpuSet('0-3,8')
    """
    msgspec.json.Decoder(as_type, dec_hook=dec_hook)  # describes the type now

    def read(given: object, where: str) -> T:
        try:
            return msgspec.convert(_cleaned(given), as_type, dec_hook=dec_hook, strict=strict)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"{where}: {error}") from error

    return read


def json_reader(as_type: type[T]) -> Callable[[bytes | str | msgspec.Raw], T]:
    """What reads JSON. It raises `msgspec.MsgspecError`, `UnicodeError` or `RecursionError` for other text.

    >>> json_reader(CpuSet)('"0-3,8"')
    CpuSet('0-3,8')
    """
    return msgspec.json.Decoder(as_type, dec_hook=dec_hook).decode


def json_text(value: object) -> str:
    """The JSON text of a value without a version, for a message.

    >>> json_text(("a", CpuSet.of(3)))
    '["a","3"]'
    """
    try:
        text = _ENCODER.encode(value).decode()
        clean = _PERHAPS_UNCLEAN.search(text) is None
    except UnicodeEncodeError:  # half of a surrogate pair
        clean = False
    return text if clean else _ENCODER.encode(_cleaned(plain(value))).decode()


def _cleaned(given: Any) -> Any:
    """JSON types with every text cleaned, keys too."""
    if isinstance(given, str):
        return cleaned(given)
    if isinstance(given, dict):
        return {cleaned(key) if isinstance(key, str) else key: _cleaned(value) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [_cleaned(value) for value in given]
    return given


_ENCODER: Final = msgspec.json.Encoder(enc_hook=enc_hook, order="deterministic")
_read_envelope = json_reader(_Envelope)
