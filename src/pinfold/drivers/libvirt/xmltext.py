"""Parse XML from outside within bounds; an error is one sentence."""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from pinfold.core.bounds import MAX_TAGS, MAX_XML
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.printable import quoted, shortened

MAX_INTEGER: Final = 10**18 - 1
"""The largest accepted number if its meaning has no bound of its own."""

_BYTES: Final[dict[str, int]] = {"b": 1, "bytes": 1} | {
    unit: int(base**power)
    for power, letter in enumerate("kmgtpe", start=1)
    for unit, base in ((f"{letter}b", 1000), (f"{letter}ib", 1024), (letter, 1024))
}
"""libvirt's units of memory, in lower case."""


def parsed(text: str, what: str, *, root: str, limit: int = MAX_XML) -> Element:
    """The root element of `text`. It must be named `root` (with its namespace in braces, if it has one).

    `what` names the text in errors. Raises `InvalidRequest` for a text that is too long, has too many tags, is broken (with line and
    column), has another root, or has a document type or entities.
    """
    if len(text) > limit:
        raise InvalidRequest(f"{what} has {len(text)} characters, at most {limit} are allowed", key=what)
    if text.count("<") > MAX_TAGS:
        raise InvalidRequest(f"{what} has more than {MAX_TAGS} tags", key=what)
    try:
        # Parse bytes: a str is UTF-8 here, whatever encoding the text declares.
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
    """The name of a tag, or of the last tag of a path, without its namespace."""
    return shortened(tag.rpartition("}")[2].rpartition("/")[2])


def children(parent: Element, path: str, most: int, what: str) -> list[Element]:
    """The elements at `path` below `parent`, in order. Raises `InvalidRequest` if there are more than `most`."""
    found = parent.findall(path)
    if len(found) > most:
        raise InvalidRequest(f"{what} has {len(found)} <{_local(path)}>, at most {most} are allowed", key=what)
    return found


def integer(element: Element, attribute: str, what: str, *, default: int | None = None, most: int = MAX_INTEGER) -> int:
    """The attribute as a number from 0 to `most`. Raises `InvalidRequest` if it is absent without a default, or no such number."""
    text = element.get(attribute)
    if text is None and default is not None:
        return default
    if text is None:
        raise InvalidRequest(f"{what}: <{_local(element.tag)}> has no {attribute}, a number is expected", key=what)
    return _number(text, most, f"{what}: <{_local(element.tag)}> has {attribute}=", what)


def cpus(element: Element, attribute: str, what: str) -> CpuSet:
    """The attribute as a cpulist, the empty set when it is absent. Raises `InvalidRequest`."""
    text = element.get(attribute, "")
    try:
        return CpuSet.parse(text)
    except InvalidRequest as error:
        raise InvalidRequest(f"{what}: <{_local(element.tag)}> has {attribute}={quoted(text)}: {error}", key=what) from error


def cells(element: Element, attribute: str, most: int, what: str) -> CpuSet:
    """The attribute as a list of cells from 0 to `most`. Raises `InvalidRequest`."""
    found = cpus(element, attribute, what)
    if found.mask >> (most + 1):
        beyond = next(cell for cell in found if cell > most)
        raise InvalidRequest(f"{what}: <{_local(element.tag)}> names cell {beyond}, at most {most} is allowed", key=what)
    return found


def text_integer(element: Element, what: str, *, most: int = MAX_INTEGER) -> int:
    """The element's text as a number from 0 to `most`. Raises `InvalidRequest`."""
    return _number((element.text or "").strip(), most, f"{what}: <{_local(element.tag)}> holds ", what)


def _number(text: str, most: int, beginning: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise InvalidRequest(f"{beginning}{quoted(text)}, a number is expected", key=what)
    if int(text) > most:
        raise InvalidRequest(f"{beginning}{quoted(text)}, at most {most} is allowed", key=what)
    return int(text)


def kib(amount: int, unit: str | None, what: str) -> int:
    """An amount in one of libvirt's units (KiB where none is given) as KiB, rounded up as libvirt does. Raises `InvalidRequest`.

    >>> kib(2, "MiB", "memory"), kib(1, None, "memory"), kib(1, "GB", "memory")
    (2048, 1, 976563)
    """
    factor = _BYTES.get((unit or "KiB").lower())
    if factor is None:
        raise InvalidRequest(f"{what}: {quoted(unit or '')} is not a unit of memory; such as KiB, MiB and GiB are", key=what)
    return -(-amount * factor // 1024)
