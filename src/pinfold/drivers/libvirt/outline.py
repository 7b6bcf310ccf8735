"""Find where each element of an XML text begins and ends, and replace parts of the text without changing any other byte."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers.expat import ParserCreate

_SEPARATOR: Final = "\x0c"
"""A character that no XML text can contain: expat refuses a namespace that contains the separator."""
_TAG: Final = re.compile(rb"""<(?:[^"'>]|"[^"]*"|'[^']*')*>""")


@dataclass(slots=True, kw_only=True)
class Node:
    """One element of a text, as byte offsets: `start` to `end` for all of it, `inner_start` to `inner_end` for its content.

    `name` is the local name, `namespace` '' without one. `inner_start` is -1 for an element written `<a/>`.
    """

    name: str
    namespace: str
    attributes: dict[str, str]
    start: int
    end: int = 0
    inner_start: int = -1
    inner_end: int = -1
    children: list[Node]
    text: str = ""

    def find(self, *names: str) -> Node | None:
        """The first descendant along these names, one name per level, without namespace."""
        node: Node | None = self
        for name in names:
            node = None if node is None else next((child for child in node.children if child.name == name and not child.namespace), None)
        return node

    def all(self, *names: str) -> list[Node]:
        """The children without namespace that have one of the names, in order."""
        return [child for child in self.children if child.name in names and not child.namespace]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Replace bytes `start` to `end` with `text`; insert it if both are equal."""

    start: int
    end: int
    text: str


def outline(data: bytes) -> Node:
    """The elements of a well-formed UTF-8 text. Parse it with `xmltext.parsed` first, which refuses dangerous texts."""
    parser = ParserCreate(encoding="utf-8", namespace_separator=_SEPARATOR)
    parser.buffer_text = True  # deliver a text in few pieces, however many lines it has
    stack: list[Node] = []
    roots: list[Node] = []

    def started(name: str, attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(_SEPARATOR)
        start = parser.CurrentByteIndex
        node = Node(name=local, namespace=namespace, attributes=attributes, start=start, children=[])
        tag_end = _tag_end(data, start)
        node.end = tag_end
        if not data[start:tag_end].endswith(b"/>"):
            node.inner_start = tag_end
        (stack[-1].children if stack else roots).append(node)
        stack.append(node)

    def ended(_name: str) -> None:
        node = stack.pop()
        if node.inner_start >= 0:
            node.inner_end = parser.CurrentByteIndex
            node.end = _tag_end(data, node.inner_end)

    def characters(text: str) -> None:
        if stack:
            stack[-1].text += text

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = started, ended, characters
    parser.Parse(data, True)
    return roots[0]


def applied(data: bytes, edits: list[Edit]) -> str:
    """The text with all edits applied. Edits must not overlap; edits at the same place keep their order."""
    parts, position = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        parts += [data[position : edit.start], edit.text.encode("utf-8")]
        position = edit.end
    return b"".join([*parts, data[position:]]).decode("utf-8")


def rendered(element: Element, indent: str, level: int) -> str:
    """The element as text, with all lines but the first indented for that level."""
    ElementTree.indent(element, space=indent)
    return ElementTree.tostring(element, encoding="unicode").replace("\n", "\n" + indent * level)


def line_start(data: bytes, position: int) -> int:
    """The start of the line break before `position` if only blanks are between, else `position` itself."""
    at = position
    while at and data[at - 1] in b" \t":
        at -= 1
    if data[max(0, at - 2) : at] == b"\r\n":
        return at - 2
    return at - 1 if at and data[at - 1] == ord("\n") else position


def _tag_end(data: bytes, start: int) -> int:
    match = _TAG.match(data, start)
    if match is None:
        raise ValueError(f"no tag at byte {start}")
    return match.end()
