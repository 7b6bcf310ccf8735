"""Read where the memory of a host's running guests lies: of all guests at once, or in sweeps, which read each guest now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from msgspec import Struct

from pinfold.core.drift.memory import Area, placed_mib
from pinfold.core.errors import Unavailable
from pinfold.core.history import MOST_MEMORIES, GuestMemory
from pinfold.core.identity import GuestId
from pinfold.drivers.port import HostGuest
from pinfold.host.survey import Survey
from pinfold.linux import numa

PAUSE_SECONDS: Final = 60.0
PAUSE_TIMES: Final = 100.0
"""A guest's memory is read again after a minute, or after a hundred times as long as all guests' readings took together, if that is later.
So the readings take at most one per cent of a CPU.
"""


class _Reading(Struct, frozen=True, kw_only=True):
    """A reading of process `pid`: when it ended, and how long it took."""

    pid: int
    areas: tuple[Area, ...]
    at: float
    took: float


class SeldomMemory:
    """Where the memory of each guest lies, read when its process is first seen, and seldom from then on.

    The kernel counts every page of a process for this, which takes some 10 ms for each GiB in pages of 4 KiB. One thread at a time.
    """

    def __init__(self, read: Callable[[int], tuple[Area, ...]] = numa.areas, clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._readings: dict[GuestId, _Reading] = {}

    def areas(self, guest: HostGuest) -> tuple[tuple[Area, ...], float]:
        """The memory areas of a running guest, and how many seconds ago they were read. Raises `Unavailable`."""
        if guest.pid is None:
            return (), 0.0
        known, began = self._readings.get(guest.id), self._clock()
        if known is not None and known.pid == guest.pid and began - known.at < self._pause():
            return known.areas, began - known.at
        found = self._read(guest.pid)
        ended = self._clock()
        self._readings[guest.id] = _Reading(pid=guest.pid, areas=found, at=ended, took=ended - began)
        return found, 0.0

    def forget_others(self, guests: Iterable[HostGuest]) -> None:
        """Forget the readings of all but these guests."""
        here = {guest.id for guest in guests if guest.active}
        self._readings = {guest: reading for guest, reading in self._readings.items() if guest in here}

    def _pause(self) -> float:
        return max(PAUSE_SECONDS, PAUSE_TIMES * sum(reading.took for reading in self._readings.values()))


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
