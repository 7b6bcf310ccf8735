"""`LossTable`: how much each host would lose of the fleet's common shapes if a guest went there. `decide` takes the host that loses least.

The loss of a place is the sum over the shapes of weight * (slots before - slots after), slots being how many more guests of the shape the
host takes, capped at 4. Among equal losses the place with the least memory left in the guest's cells is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pinfold.core.fit.answer import Strategy
from pinfold.core.fit.demand import Demand
from pinfold.core.fit.slots import times, together
from pinfold.core.overhead.pool import booked_millicpu

if TYPE_CHECKING:
    from pinfold.scheduler.index import Entry

CAP: Final = 4
"""More slots of a shape than this are not missed."""
MOST_SHAPES: Final = 32
MOST_KINDS: Final = 64
"""For more kinds of guests than this the table starts anew."""
NOWHERE: Final = (1 << 63) - 1
"""The key of a host that does not take the guest."""

_STEPS: Final = 1_000_000
_MEMORY_BITS: Final = 32
_MOST_MEMORY: Final = (1 << _MEMORY_BITS) - 1

Numbers = NDArray[np.int64]


class ShapeKey(Struct, frozen=True):
    """What makes two guests of one shape: equal cells, every vCPU pinned, small pages. `pins` (with the emulator's pCPU where a guest of
    one cell has one) and `memory_mib` are of one cell. `share` says whether it books the overhead pool, for so many `devices` and `vcpus`.
    """

    cells: int
    pins: int
    memory_mib: int
    share: bool = False
    vcpus: int = 0
    disks: int = 0
    nics: int = 0


class Shape(Struct, frozen=True, kw_only=True):
    """A common kind of guest, and how much it counts: its frequency times its vCPUs squared."""

    key: ShapeKey
    demand: Demand
    weight: float


class Shapes(Struct, frozen=True, kw_only=True):
    """The fleet's common shapes at one time; `version` is recorded with each decision."""

    version: int
    shapes: tuple[Shape, ...]


def shape_key(demand: Demand) -> ShapeKey | None:
    """The shape of a guest; None for one that the table does not describe: with floating vCPUs, unequal cells, huge pages, a thread policy
    other than `prefer`, or an isolated emulator beside several cells.
    """
    if not demand.one_kind or demand.floating or not demand.only_small_pages or demand.isolated_threads or demand.required_threads:
        return None
    cells, need, request = len(demand.cells), demand.kinds[0], demand.request
    if demand.own_pcpus and cells > 1:
        return None
    if not demand.asks_pool:
        return ShapeKey(cells, need.pins + demand.own_pcpus, need.memory_mib)
    return ShapeKey(cells, need.pins + demand.own_pcpus, need.memory_mib, True, request.vcpus, request.disks, request.nics)


def shapes_of(asked: Iterable[tuple[Demand, int]], version: int) -> Shapes:
    """The most common shapes of `(demand, how often)`, at most 32 by weight."""
    found: dict[ShapeKey, tuple[Demand, int]] = {}
    for demand, often in asked:
        key = shape_key(demand)
        if key is not None:
            known = found.get(key)
            found[key] = (demand, often + (known[1] if known else 0))
    weighed = [Shape(key=key, demand=demand, weight=often * demand.request.vcpus**2) for key, (demand, often) in found.items()]
    weighed.sort(key=lambda shape: (-shape.weight, shape.key.cells, shape.key.pins, shape.key.memory_mib))
    kept = weighed[:MOST_SHAPES]
    total = sum(shape.weight for shape in kept) or 1.0
    return Shapes(version=version, shapes=tuple(Shape(key=one.key, demand=one.demand, weight=one.weight / total) for one in kept))


class LossTable:
    """The keys of every host for the guests that are asked for, by row of the index. Smaller is better. The index's lock guards it."""

    def __init__(self, shapes: Shapes) -> None:
        self.version = shapes.version
        self._shapes = [_need(shape.demand, shape.weight) for shape in shapes.shapes if shape.weight]
        self._entries: Sequence[Entry] = ()
        self._wide = 0
        self._kinds: dict[ShapeKey, tuple[_Need, Numbers, Numbers]] = {}

    def renew(self, entries: Sequence[Entry], changed: Iterable[int]) -> None:
        """Compute the hosts of these rows again; rows beyond the entries are dropped."""
        self._entries = entries
        if self._wide < len(entries):
            grown = max(16, 2 * len(entries))
            pads = (0, grown - self._wide)
            for key, (need, keys, cells) in self._kinds.items():
                self._kinds[key] = (need, np.pad(keys, pads, constant_values=NOWHERE), np.pad(cells, pads, constant_values=-1))
            self._wide = grown
        if self._kinds:
            self._compute(list(self._kinds.values()), [row for row in changed if row < len(entries)])

    def find(self, demand: Demand) -> tuple[Numbers, Numbers]:
        """The keys and the host cells (positions, -1 for guests of several) by row, for a guest that has a `shape_key`.

        The columns of a shape that is asked for the first time are computed for every host, and kept from then on.
        """
        key = shape_key(demand)
        assert key is not None
        known = self._kinds.get(key)
        if known is None:
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
            columns = (np.full(self._wide, NOWHERE, dtype=np.int64), np.full(self._wide, -1, dtype=np.int64))
            known = self._kinds[key] = (_need(demand, 0.0), *columns)
            self._compute([known], range(len(self._entries)))
        return known[1], known[2]

    def _compute(self, kinds: Sequence[tuple[_Need, Numbers, Numbers]], rows: Iterable[int]) -> None:
        for row in rows:
            host = _Host(self._entries[row], self._shapes)
            for need, keys, cells in kinds:
                keys[row], cells[row] = host.best(need)


class _Need(Struct, frozen=True):
    """What one guest of a shape takes: pCPUs (with an isolated emulator's) and memory of each cell; and the shape's weight."""

    demand: Demand
    cells: int
    pins: int
    memory_mib: int
    weight: float


def _need(demand: Demand, weight: float) -> _Need:
    need = demand.kinds[0]
    return _Need(demand, len(demand.cells), need.pins + demand.own_pcpus, max(1, need.memory_mib), weight)


_Held = tuple[int, int, int, float, int, list[int], int, int]
"""A shape on a host: cells, pins and memory of each, weight, booking; the guest cells that each host cell holds, their sum, the slots."""


class _Host:
    """One host and what it holds of the shapes before a guest comes."""

    def __init__(self, entry: Entry, shapes: Sequence[_Need]) -> None:
        counts = entry.counts
        self.packs, self.any_cell = entry.strategy is Strategy.PACK, entry.any_cell
        self.pool = counts.frame.pool
        self.strict = counts.strict_room_mib
        self.room = counts.overhead_room
        self.free = [cell.n_free for cell in counts.cells]
        self.memory = [cell.small_free_mib for cell in counts.cells]
        rooms = [(free, memory if memory > 0 else 0) for free, memory in zip(self.free, self.memory, strict=True)]
        self.shapes: list[_Held] = []
        for shape in shapes:
            cells, pins, memory_mib, books = shape.cells, shape.pins, shape.memory_mib, self._books(shape)
            holds = [min(free // pins, memory // memory_mib) for free, memory in rooms]
            total = sum(holds)
            before = min(CAP, total if cells == 1 else together(holds, cells), _lines(cells * memory_mib, books, self.strict, self.room))
            if before:
                self.shapes.append((cells, pins, memory_mib, shape.weight, books, holds, total, before))

    def best(self, need: _Need) -> tuple[int, int]:
        """The key of the host for a guest, and the position of its host cell (-1 for a guest of several).

        The operator's preference among host cells decides first, and the key where it leaves a tie or where there is no preference.
        """
        free, memory, books = self.free, self.memory, self._books(need)
        taking = [place for place, room in enumerate(free) if room >= need.pins and memory[place] >= need.memory_mib]
        if len(taking) < need.cells or not _lines(need.cells * need.memory_mib, books, self.strict, self.room):
            return NOWHERE, -1
        if need.cells > 1:
            taking.sort(key=lambda place: free[place] if self.packs else -free[place])
            return self._key(need, books, taking[: need.cells]), -1
        if not self.any_cell:
            least = (min if self.packs else max)([free[place] for place in taking])
            taking = [place for place in taking if free[place] == least]
        return min([(self._key(need, books, [place]), place) for place in taking])

    def _key(self, need: _Need, books: int, places: Sequence[int]) -> int:
        """The loss in millionths, and below it the memory left in the guest's cells."""
        strict, room = self.strict - need.memory_mib * need.cells, self.room - books
        left = [(place, self.free[place] - need.pins, self.memory[place] - need.memory_mib) for place in places]
        lost = 0.0
        for cells, pins, memory_mib, weight, booked, holds, total, before in self.shapes:
            if cells == 1:
                after = total
                for place, _, _ in left:
                    after -= holds[place]
                if after < before:
                    for _, free, memory in left:
                        after += min(free // pins, memory // memory_mib)
            else:
                own = holds[:]
                for place, free, memory in left:
                    own[place] = min(free // pins, memory // memory_mib)
                after = together(own, cells)
            line = strict // (cells * memory_mib)
            after = min(after, line if not booked else min(line, room // booked))
            if after < before:
                lost += weight * (before - after)
        left_mib = sum([memory for _, _, memory in left])
        return (round(lost * _STEPS) << _MEMORY_BITS) + min(left_mib, _MOST_MEMORY)

    def _books(self, need: _Need) -> int:
        """What a guest books of the host's overhead pool; 0 where a booking refuses nobody."""
        demand, pool = need.demand, self.pool
        if not demand.asks_pool or not (pool.books and pool.enforces and demand.rules[pool.state].books):
            return 0
        return booked_millicpu(demand.request, pool.rates)


def _lines(memory_mib: int, books: int, strict: int, room: int) -> int:
    """How many guests the host's small memory and its overhead pool allow."""
    memory = times(strict, memory_mib)
    return min(memory, times(room, books)) if books else memory
