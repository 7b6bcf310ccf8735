"""XML from elsewhere, parsed within bounds and refused in one sentence. What the elements mean does not belong here."""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest

MAX_CHARACTERS: Final = 4 * 1024 * 1024
"""Longer than any capabilities or domain XML seen; the capabilities of a host of 2048 pCPUs take 300 KiB."""

_BYTES: Final[dict[str, int]] = {"b": 1, "bytes": 1} | {
    unit: int(base**power)
    for power, letter in enumerate("kmgtpe", start=1)
    for unit, base in ((f"{letter}b", 1000), (f"{letter}ib", 1024), (letter, 1024))
}
"""libvirt's units of memory, in lower case."""


def parsed(text: str, what: str, *, root: str, limit: int = MAX_CHARACTERS) -> Element:
    """The root element of `text`, which must be named `root` (with its namespace in braces, where it has one).

    `what` names the text in the sentences. Raises `InvalidRequest` for a text that is too long, broken (with line and column), of another
    kind, or that has a document type or entities of its own.
    """
    if len(text) > limit:
        raise InvalidRequest(f"{what} has {len(text)} characters, at most {limit} are allowed", key=what)
    try:
        # Bytes, since a declared encoding other than UTF-8 would be a lie about a str.
        element: Element = fromstring(text.encode("utf-8"), forbid_dtd=True)
    except ParseError as error:
        line, column = error.position
        raise InvalidRequest(f"{what} is not well-formed XML: {_reason(error)} in line {line}, column {column + 1}", key=what) from error
    except DefusedXmlException as error:
        raise InvalidRequest(f"{what} has a document type or entities of its own, which are not allowed", key=what) from error
    except (UnicodeEncodeError, LookupError, ValueError) as error:
        raise InvalidRequest(f"{what} is not text in UTF-8: {error}", key=what) from error
    if element.tag != root:
        raise InvalidRequest(f"{what} starts with <{_local(element.tag)}>, <{_local(root)}> is expected", key=what)
    return element


def _reason(error: ParseError) -> str:
    return str(error).partition(":")[0]


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def integer(element: Element, attribute: str, what: str, *, default: int | None = None) -> int:
    """The attribute as a number of at least 0. Raises `InvalidRequest` when it is absent (and has no default) or no such number."""
    text = element.get(attribute)
    if text is None and default is not None:
        return default
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise InvalidRequest(f"{what}: <{_local(element.tag)}> has {attribute}={text!r}, a number is expected", key=what)
    return int(text)


def cpus(element: Element, attribute: str, what: str) -> CpuSet:
    """The attribute as a cpulist, the empty set when it is absent. Raises `InvalidRequest`."""
    text = element.get(attribute, "")
    try:
        return CpuSet.parse(text)
    except InvalidRequest as error:
        raise InvalidRequest(f"{what}: <{_local(element.tag)}> has {attribute}={text!r}: {error}", key=what) from error


def text_integer(element: Element, what: str) -> int:
    """The element's text as a number of at least 0. Raises `InvalidRequest`."""
    text = (element.text or "").strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise InvalidRequest(f"{what}: <{_local(element.tag)}> holds {text!r}, a number is expected", key=what)
    return int(text)


def kib(amount: int, unit: str | None, what: str) -> int:
    """An amount in one of libvirt's units (KiB where none is given) as KiB, rounded up as libvirt does. Raises `InvalidRequest`.

    >>> kib(2, "MiB", "memory"), kib(1, None, "memory"), kib(1, "GB", "memory")
    (2048, 1, 976563)
    """
    factor = _BYTES.get((unit or "KiB").lower())
    if factor is None:
        raise InvalidRequest(f"{what}: {unit!r} is not a unit of memory; such as KiB, MiB and GiB are", key=what)
    return -(-amount * factor // 1024)
