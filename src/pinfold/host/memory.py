"""Read where the memory of a host's running guests lies."""

from __future__ import annotations

from contextlib import suppress

from pinfold.core.drift.memory import placed_mib
from pinfold.core.errors import Unavailable
from pinfold.core.history import MOST_MEMORIES, GuestMemory
from pinfold.host.survey import Survey
from pinfold.linux import numa


def memory_of_guests(seen: Survey) -> tuple[GuestMemory, ...]:
    """Where the memory of the running guests of a surveyed host lies, by guest id; at most so many as a history may have.

    Nothing on a host with one cell, or whose processes are not on this machine. A guest that cannot be read is left out. To read this of a
    guest with many small pages takes the kernel up to a second.
    """
    if len(seen.state.topology.cells) < 2 or not seen.own_machine:
        return ()
    found = []
    for guest in sorted((guest for guest in seen.guests if guest.active), key=lambda guest: guest.id)[:MOST_MEMORIES]:
        with suppress(Unavailable):
            mib = placed_mib(numa.areas(guest.pid)) if guest.pid is not None else ()
            if mib:
                found.append(GuestMemory(guest=guest.id, mib=mib))
    return tuple(found)
