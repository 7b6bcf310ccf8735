"""Whether a case lies within one pCPU or one page of the boundary: the oracle's answer flips when one is added or taken away.

Neighbours of a room: one free dedicated pCPU taken; one more free (one that is not free becomes so, or the cell gets a core of one free
pCPU); one shared pCPU taken or added; one page of one size in one cell taken or added (for small pages one MiB, and the host's line moves
with it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.oracle.oracle import feasible_in
from tests.oracle.room import CellRoom, PageRoom, Room

from pinfold.core.request.model import GuestRequest


def near_boundary(request: GuestRequest, room: Room, accepted: bool) -> bool:
    """Whether some neighbour of the room answers the other way."""
    rooms = poorer(room) if accepted else richer(room)
    return any(feasible_in(request, neighbour) is not accepted for neighbour in rooms)


def poorer(room: Room) -> Iterator[Room]:
    """The rooms with one pCPU or one page less."""
    for cell in room.cells:
        for pcpu in sorted(cell.free):
            yield _with(room, replace(cell, free=cell.free - {pcpu}))
        for page in cell.pages:
            yield _paged(room, cell, page, -1)
    yield from _shared(room, -1)


def richer(room: Room) -> Iterator[Room]:
    """The rooms with one pCPU or one page more."""
    new = 1 + max((pcpu for cell in room.cells for core in cell.cores for pcpu in core), default=0)
    for cell in room.cells:
        for pcpu in sorted(pcpu for core in cell.cores for pcpu in core - cell.free):
            yield _with(room, replace(cell, free=cell.free | {pcpu}))
        yield _with(room, replace(cell, cores=(*cell.cores, frozenset({new})), free=cell.free | {new}))
        for page in cell.pages:
            yield _paged(room, cell, page, 1)
    if room.cells:
        yield replace(room, small_memory=room.small_memory + 1)
    yield from _shared(room, 1)


def _with(room: Room, cell: CellRoom) -> Room:
    return replace(room, cells=tuple(cell if other.id == cell.id else other for other in room.cells))


def _paged(room: Room, cell: CellRoom, page: PageRoom, step: int) -> Room:
    """One page, or one MiB of small pages, more or less."""
    changed = replace(page, free=page.free + step * (1024 if page.small else 1))
    room = _with(room, replace(cell, pages=tuple(changed if other is page else other for other in cell.pages)))
    return replace(room, small_memory=room.small_memory + step) if page.small else room


def _shared(room: Room, step: int) -> Iterator[Room]:
    """One pCPU of the shared pool more, or less; it stands in the overhead pool too where that lies within the shared pool."""
    new = 100_000
    for cell in room.cells:
        if step > 0:
            grown = room.overhead is not None and bool(room.overhead) and room.overhead <= room.shared
            overhead = room.overhead | {new} if grown and room.overhead is not None else room.overhead
            yield replace(_with(room, replace(cell, shared=cell.shared | {new})), shared=room.shared | {new}, overhead=overhead)
            continue
        for pcpu in sorted(cell.shared)[:1]:
            left = None if room.overhead is None else room.overhead - {pcpu}
            yield replace(_with(room, replace(cell, shared=cell.shared - {pcpu})), shared=room.shared - {pcpu}, overhead=left)
