"""Recorded inputs changed at random, and the limits of time and memory that a reader of them has to keep."""

from __future__ import annotations

import contextlib
import copy
import resource
import time
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

from hypothesis import strategies as st

from pinfold.core.errors import InvalidRequest

CPU_SECONDS = 30.0
"""Far more than any reader takes, and far less than one without bounds."""
MORE_MEMORY_BYTES = 768 << 20

NUMBERS = [
    "",
    " ",
    "0",
    "1",
    "-1",
    "4",
    "2048",
    "8191",
    "8192",
    "1048576",
    "999999999",
    "1000000000",
    "18446744073709551616",
    "9" * 40,
    "٣",
]
LISTS = ["0-8191", "0-1023", "0-", "3-1", "^0", "0,,1", "0:1 1:2", "0:0"]
WORDS = ["x", "KiB", "EiB", "b", "core:8", "yes", "isolated", "a b", "<&>'\"", "x" * 5000]
VALUES = st.sampled_from([*NUMBERS, *LISTS, *WORDS])
TIMES = st.sampled_from([1, 2, 40, 300, 3000])


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Fail a block that takes more CPU time or memory than a reader may."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    began = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (size + MORE_MEMORY_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.process_time() - began < CPU_SECONDS


def read_or_refused(reader: Callable[[], object]) -> object:
    """What the reader makes of its input within the limits; None where it refuses it in one sentence. Anything else fails."""
    with limited():
        try:
            return reader()
        except InvalidRequest as error:
            sentence = str(error)
    assert sentence and "\n" not in sentence and len(sentence) < 1000, sentence
    return None


@st.composite
def xml(draw: st.DrawFn, texts: list[str]) -> str:
    """One of the texts with a few changes to its elements, or to its letters."""
    text = draw(st.sampled_from(texts))
    if draw(st.integers(min_value=0, max_value=3)) == 0:
        return draw(letters(text))
    root = ElementTree.fromstring(text)
    for _ in range(draw(st.integers(min_value=1, max_value=3))):
        _change(draw, root)
    return ElementTree.tostring(root, encoding="unicode")


def _change(draw: st.DrawFn, root: ElementTree.Element) -> None:
    parents = [element for element in root.iter() if len(element)]
    if not parents:
        return
    parent = draw(st.sampled_from(parents))
    position = draw(st.integers(min_value=0, max_value=len(parent) - 1))
    victim = parent[position]
    match draw(st.sampled_from(["attribute", "attribute", "attribute", "text", "text", "drop", "repeat", "move", "rename", "forget"])):
        case "attribute" if victim.attrib:
            victim.set(draw(st.sampled_from(sorted(victim.attrib))), draw(VALUES))
        case "text":
            victim.text = draw(VALUES)
        case "drop":
            parent.remove(victim)
        case "repeat":
            parent.extend(copy.deepcopy(victim) for _ in range(draw(TIMES) if sum(1 for _ in victim.iter()) < 10 else 1))
        case "move":
            draw(st.sampled_from(parents)).append(copy.deepcopy(victim))
        case "rename":
            victim.tag = draw(st.sampled_from([child.tag for child in root.iter()]))
        case "forget" if victim.attrib:
            del victim.attrib[draw(st.sampled_from(sorted(victim.attrib)))]
        case _:
            pass


@st.composite
def letters(draw: st.DrawFn, text: str) -> str:
    """The text with a piece of it replaced, dropped or repeated."""
    start = draw(st.integers(min_value=0, max_value=len(text)))
    end = min(len(text), start + draw(st.integers(min_value=0, max_value=40)))
    piece = draw(
        VALUES
        | st.text(max_size=5)
        | st.sampled_from(["<!--", "]]>", "&#12;", "<!DOCTYPE a>", "\0", "\ud800", "\r\n", "%", "$x", "[a]", "/"])
    )
    piece = draw(st.sampled_from([piece, text[start:end] * draw(TIMES), ""]))
    return text[:start] + piece + text[end:]
