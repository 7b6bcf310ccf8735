"""The best place of each kind of guest on a single host: as `place_losses.best_places`, by plain numbers. Pure arithmetic.

A create changes one host, and there are few kinds and shapes in most fleets: then it takes longer to make the arrays than to compute what
is in them. A test compares both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from pinfold.core.fit.answer import Strategy
from pinfold.core.fit.demand import Demand
from pinfold.core.fit.slots import together
from pinfold.core.overhead.pool import OverheadPool
from pinfold.scheduler.place_losses import AMPLE, MEMORY_BITS, MOST_LOSS, MOST_MEMORY, NOWHERE, STEPS, booking

if TYPE_CHECKING:
    from pinfold.scheduler.index import Entry

FEW: Final = 64
"""For so many host cells, kinds and shapes, multiplied, plain numbers are quicker."""


class Guest(Struct, frozen=True):
    """A kind of guest: number of cells; pCPUs (with an isolated emulator's) and memory of one cell; the weight in millionths."""

    demand: Demand
    cells: int
    pins: int
    memory_mib: int
    weight: int

    @classmethod
    def of(cls, demand: Demand, weight: float) -> Guest:
        """As `place_losses.Guests.of`."""
        need = demand.kinds[0]
        return cls(demand, len(demand.cells), need.pins + demand.own_pcpus, max(1, need.memory_mib), round(weight * STEPS))


class _Shape(Struct):
    """A shape on one host: what such a guest books, how many of its cells each host cell holds, and how many guests the host holds."""

    guest: Guest
    books: int
    holds: list[int]
    before: int


def best_places_on(entry: Entry, kinds: Sequence[Guest], shapes: Sequence[Guest]) -> tuple[list[int], list[int]]:
    """For each kind of guest the key of its best place on the host, and the host cell, as `best_places`."""
    host = _Host(entry, shapes)
    found = [host.best(kind) for kind in kinds]
    return [key for key, _ in found], [place for _, place in found]


class _Host:
    """One host, and how many guests of each shape it holds before a guest comes."""

    def __init__(self, entry: Entry, shapes: Sequence[Guest]) -> None:
        counts = entry.counts
        self._pool: OverheadPool = counts.frame.pool
        self._rooms = [(cell.n_free, max(0, cell.small_free_mib)) for cell in counts.cells]
        self._strict, self._overhead = counts.strict_room_mib, counts.overhead_room
        self._packs, self._any_cell = entry.strategy is Strategy.PACK, entry.any_cell
        self._shapes = []
        for guest in shapes:
            books = booking(guest.demand, self._pool)
            holds = [min(free // guest.pins, memory // guest.memory_mib) for free, memory in self._rooms]
            line = _line(guest, books, self._strict, self._overhead)
            self._shapes.append(_Shape(guest, books, holds, min(together(holds, guest.cells), line)))

    def best(self, kind: Guest) -> tuple[int, int]:
        """The key and the host cell of the best place: -1 for a guest of several cells, and for one that the host does not take."""
        books, memory_mib = booking(kind.demand, self._pool), kind.cells * kind.memory_mib
        if self._strict < memory_mib or (books and self._overhead < books):
            return NOWHERE, -1
        taking = [place for place, (free, memory) in enumerate(self._rooms) if free >= kind.pins and memory >= kind.memory_mib]
        if len(taking) < kind.cells:
            return NOWHERE, -1
        if kind.cells > 1:
            taking.sort(key=self._liked)
            return self._key(kind, books, taking[: kind.cells]), -1
        if not self._any_cell:
            least = min([self._liked(place) for place in taking])
            taking = [place for place in taking if self._liked(place) == least]
        return min([(self._key(kind, books, [place]), place) for place in taking])

    def _liked(self, place: int) -> int:
        """Less for host cells that the operator prefers."""
        free = self._rooms[place][0]
        return free if self._packs else -free

    def _key(self, kind: Guest, books: int, taken: Sequence[int]) -> int:
        """The key of the place in these host cells."""
        lost = left = 0
        strict, overhead = self._strict - kind.cells * kind.memory_mib, self._overhead - books
        after = [(place, self._rooms[place][0] - kind.pins, self._rooms[place][1] - kind.memory_mib) for place in taken]
        for shape in self._shapes:
            guest, holds = shape.guest, shape.holds.copy()
            for place, free, memory in after:
                holds[place] = min(free // guest.pins, memory // guest.memory_mib)
            slots = min(together(holds, guest.cells), _line(guest, shape.books, strict, overhead))
            lost += max(shape.before - slots, 0) * guest.weight
        for _, _, memory in after:
            left += memory
        return (min(lost, MOST_LOSS) << MEMORY_BITS) + min(left, MOST_MEMORY)


def _line(guest: Guest, books: int, strict: int, overhead: int) -> int:
    """How many such guests the host's memory and its overhead pool allow."""
    memory = max(strict, 0) // (guest.cells * guest.memory_mib)
    return min(memory, max(overhead, 0) // books) if books else min(memory, AMPLE)
