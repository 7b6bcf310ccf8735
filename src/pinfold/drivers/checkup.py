"""`Checkup`: one prerequisite of guests on a host and its health. `pinfold doctor` shows what a driver and the command line check."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import msgspec

from pinfold.core.request.model import GuestRequest, PageKind


class Health(Enum):
    """The health of one prerequisite."""

    GOOD = "good"
    UNUSED = "unused"
    """it is not met, and no flavor of the flavors file asks for what needs it"""
    POOR = "poor"
    """guests start, but something is less than it could be, or some guests do not start"""
    BAD = "bad"
    """guests do not start"""


class Checkup(msgspec.Struct, frozen=True, kw_only=True):
    """One prerequisite: its name, its health, and what was seen. `repair` is the shell command that fixes it, '' if there is none."""

    what: str
    health: Health
    words: str
    repair: str = ""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What the flavors of a host need beyond the ordinary: realtime vCPUs, locked memory, large pages of any size, or of certain sizes."""

    realtime: bool = False
    locked: bool = False
    large_pages: bool = False
    page_kib: frozenset[int] = frozenset()


def needs_of(requests: Iterable[GuestRequest]) -> Needs:
    """What guests of these requests need."""
    asked = tuple(requests)
    pages = [request.page for request in asked if request.explicit_page]
    return Needs(
        realtime=any(request.realtime for request in asked),
        locked=any(request.locked_memory for request in asked),
        large_pages=any(page.kind is PageKind.LARGE for page in pages),
        page_kib=frozenset(page.size_kib for page in pages if page.kind is PageKind.EXPLICIT),
    )
