"""`feasible`: the oracle's answer, by enumeration on small hosts and CP-SAT on larger ones. Checking a returned fit is in `valid`."""

from __future__ import annotations

from tests.oracle import cpsat, enumeration
from tests.oracle.room import Room, read

from pinfold.core.host import HostState
from pinfold.core.request.model import GuestRequest

MOST_CELLS = 4
MOST_PCPUS_IN_CELL = 8


def is_small(room: Room) -> bool:
    """Whether everything can be tried."""
    return len(room.cells) <= MOST_CELLS and all(len(cell.free) <= MOST_PCPUS_IN_CELL for cell in room.cells)


def feasible_in(request: GuestRequest, room: Room) -> bool:
    """Whether a valid placement exists in the room."""
    return enumeration.feasible_in(request, room) if is_small(room) else cpsat.feasible_in(request, room)


def feasible(request: GuestRequest, state: HostState) -> bool:
    """Whether a valid placement exists on the host, after `0001-what-fits`."""
    return feasible_in(request, read(state))
