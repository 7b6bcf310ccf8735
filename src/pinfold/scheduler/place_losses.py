"""What is left on each host as arrays by row of the index, and from that the best place of each kind of guest. Pure arithmetic.

Letters of the shapes of arrays: R rows (hosts), K kinds of guests, C host cells, S shapes. Hosts with fewer cells than others have empty
cells at the end. All numbers are integers, so that every process computes the same keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pinfold.core.fit.answer import Strategy
from pinfold.core.fit.demand import Demand
from pinfold.core.overhead.pool import OverheadPool, booked_millicpu

if TYPE_CHECKING:
    from pinfold.scheduler.index import Entry

NOWHERE: Final = (1 << 63) - 1
"""The key of a host that does not take the guest."""
STEPS: Final = 1_000_000
"""Weights, and so losses, are in millionths."""
MEMORY_BITS: Final = 32
"""The low bits of a key, which hold the memory left in the guest's cells in MiB; the loss is above them."""

MOST_MEMORY: Final = (1 << MEMORY_BITS) - 1
MOST_LOSS: Final = (1 << (63 - MEMORY_BITS)) - 2
AMPLE: Final = 1 << 40
_CHUNK: Final = 2_000_000
"""The most numbers in one array of a computation, so that a large fleet is computed in parts."""

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Left = tuple[object, ...]
"""All that the places of a host depend on, hashable."""


def left_of(entry: Entry) -> Left:
    """What is left on a host, and the operator's preference among its cells."""
    counts = entry.counts
    pool = counts.frame.pool
    return (
        tuple([(cell.n_free, cell.small_free_mib) for cell in counts.cells]),
        counts.strict_room_mib,
        counts.overhead_room if pool.books else 0,
        pool_kind(pool),
        entry.strategy is Strategy.PACK,
        entry.any_cell,
    )


def pool_kind(pool: OverheadPool) -> tuple[object, ...]:
    """What of an overhead pool decides how much a guest books."""
    return pool.state.value, pool.books, pool.enforces, pool.rates


class Guests(Struct, frozen=True, eq=False):
    """Kinds of guests as arrays: number of cells; pCPUs (with an isolated emulator's) and memory of one cell; the weight in millionths."""

    demands: tuple[Demand, ...]
    cells: Numbers
    pins: Numbers
    memory_mib: Numbers
    weights: Numbers

    @classmethod
    def of(cls, demands: Sequence[Demand], weights: Sequence[float]) -> Guests:
        """The arrays, in the order of the demands. Each demand has equal cells and only pinned vCPUs."""
        return cls(
            tuple(demands),
            np.array([len(one.cells) for one in demands], dtype=np.int64),
            np.array([one.kinds[0].pins + one.own_pcpus for one in demands], dtype=np.int64),
            np.array([max(1, one.kinds[0].memory_mib) for one in demands], dtype=np.int64),
            np.array([round(weight * STEPS) for weight in weights], dtype=np.int64),
        )

    def some(self, mask: Mask) -> Guests:
        """Those of the mask."""
        kept = tuple(one for one, here in zip(self.demands, mask, strict=True) if here)
        return Guests(kept, self.cells[mask], self.pins[mask], self.memory_mib[mask], self.weights[mask])

    def booked(self, pools: Sequence[OverheadPool]) -> Numbers:
        """What each guest books of each pool in millicpu, pools x guests; 0 where a booking refuses nobody."""
        found = [[booking(one, pool) for one in self.demands] for pool in pools]
        return np.array(found, dtype=np.int64).reshape(len(pools), len(self.demands))


def booking(demand: Demand, pool: OverheadPool) -> int:
    """What a guest books of a pool in millicpu; 0 where a booking refuses nobody."""
    if not demand.asks_pool or not (pool.books and pool.enforces and demand.rules[pool.state].books):
        return 0
    return booked_millicpu(demand.request, pool.rates)


class Rooms(Struct, frozen=True, eq=False):
    """What hosts have left: free pCPUs and small-page memory of each cell; of the host the memory of guest cells and the pool's millicpu.

    `pool` is a position in `pools`. With `any_cell` the operator has no preference among host cells, otherwise `packs` says which.
    """

    pools: tuple[OverheadPool, ...]
    free: Numbers
    memory: Numbers
    strict: Numbers
    overhead: Numbers
    pool: Numbers
    packs: Mask
    any_cell: Mask

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Rooms:
        """The rooms of these hosts."""
        width = _width(entries)
        cells = np.zeros((2, len(entries), width), dtype=np.int64)
        pools: dict[tuple[object, ...], tuple[int, OverheadPool]] = {}
        lines = np.zeros((3, len(entries)), dtype=np.int64)
        for row, entry in enumerate(entries):
            counts = entry.counts
            pool = counts.frame.pool
            for place, cell in enumerate(counts.cells):
                cells[0, row, place], cells[1, row, place] = cell.n_free, max(0, cell.small_free_mib)
            position = pools.setdefault(pool_kind(pool), (len(pools), pool))[0]
            lines[:, row] = counts.strict_room_mib, counts.overhead_room, position
        return cls(
            tuple(pool for _, pool in pools.values()),
            cells[0],
            cells[1],
            lines[0],
            lines[1],
            lines[2],
            np.array([entry.strategy is Strategy.PACK for entry in entries], dtype=np.bool_),
            np.array([entry.any_cell for entry in entries], dtype=np.bool_),
        )


def best_places(entries: Sequence[Entry], kinds: Guests, shapes: Guests) -> tuple[Numbers, Numbers]:
    """For each host and kind of guest the key of the best place (smaller is better) and its host cell, both R x K.

    A host cell is a position; it is -1 for a guest of several cells. The operator's preference among host cells decides first, and the key
    where it leaves a tie or where there is no preference; among equal keys the first cell.
    """
    keys = np.full((len(entries), len(kinds.pins)), NOWHERE, dtype=np.int64)
    places = np.full_like(keys, -1)
    single = kinds.cells == 1
    for start, stop in _parts(entries, kinds, shapes):
        hosts = _Hosts(Rooms.of(entries[start:stop]), shapes)
        if single.any():
            keys[start:stop, single], places[start:stop, single] = hosts.single(kinds.some(single))
        for cells in sorted({int(number) for number in kinds.cells[~single]}):
            several = kinds.cells == cells
            keys[start:stop, several] = hosts.several(kinds.some(several), cells)
    return keys, places


def _width(entries: Sequence[Entry]) -> int:
    """The most host cells of a host. It is one at least: a host whose agent has not reported has none, and no room."""
    return max([1, *[len(entry.counts.cells) for entry in entries]])


def _parts(entries: Sequence[Entry], kinds: Guests, shapes: Guests) -> Iterator[tuple[int, int]]:
    width = _width(entries)
    size = max(1, _CHUNK // max(1, len(kinds.pins) * len(shapes.pins) * width * width))
    return ((start, start + size) for start in range(0, len(entries), size))


class _Hosts:
    """Some hosts, and how many guests of each shape they hold before a guest comes."""

    def __init__(self, rooms: Rooms, shapes: Guests) -> None:
        self.rooms, self.shapes = rooms, shapes
        self.booked = shapes.booked(rooms.pools)[rooms.pool]
        self.holds = _holds(rooms.free[:, :, None], rooms.memory[:, :, None], shapes)
        self.total = self.holds.sum(axis=1)
        lines = self._lines(rooms.strict[:, None], rooms.overhead[:, None], self.booked)
        self.before = np.minimum(self._together(self.holds, self.total), lines)

    def single(self, kinds: Guests) -> tuple[Numbers, Numbers]:
        """Keys and host cells of guests of one cell: each host cell is a place."""
        rooms = self.rooms
        booked = kinds.booked(rooms.pools)[rooms.pool]
        left = rooms.memory[:, None, :] - kinds.memory_mib[:, None]
        taking = (rooms.free[:, None, :] >= kinds.pins[:, None]) & (left >= 0) & self._allowed(kinds, booked)[:, :, None]
        liked = np.where(rooms.packs[:, None], rooms.free, -rooms.free)[:, None, :]
        least = np.where(taking, liked, AMPLE).min(axis=2, keepdims=True)
        taking &= rooms.any_cell[:, None, None] | (liked == least)
        holds = self._holds_after(kinds)
        total = self.total[:, None, None, :] - self.holds[:, None, :, :] + holds
        alone = np.eye(rooms.free.shape[1], dtype=np.bool_)[:, :, None]
        several = np.where(alone, holds[:, :, :, None, :], self.holds[:, None, None, :, :]) if (self.shapes.cells > 1).any() else holds
        lost = self._lost(kinds, booked, self._together(several, total, axis=3))
        keys = np.where(taking, _key(lost, left), NOWHERE)
        places = keys.argmin(axis=2)
        found = np.take_along_axis(keys, places[:, :, None], axis=2)[:, :, 0]
        return found, np.where(found == NOWHERE, -1, places)

    def several(self, kinds: Guests, cells: int) -> Numbers:
        """Keys of guests of so many cells, which take the host cells that the operator prefers, the first among equal ones."""
        rooms = self.rooms
        if cells > rooms.free.shape[1]:
            return np.full((len(rooms.free), len(kinds.pins)), NOWHERE, dtype=np.int64)
        booked = kinds.booked(rooms.pools)[rooms.pool]
        left = rooms.memory[:, None, :] - kinds.memory_mib[:, None]
        taking = (rooms.free[:, None, :] >= kinds.pins[:, None]) & (left >= 0)
        liked = np.where(rooms.packs[:, None], rooms.free, -rooms.free)[:, None, :]
        order = np.where(taking, liked, AMPLE).argsort(axis=2, kind="stable")[:, :, :cells]
        taken = np.zeros_like(taking)
        np.put_along_axis(taken, order, values=True, axis=2)
        allowed = self._allowed(kinds, booked) & (taking.sum(axis=2) >= cells)
        holds = np.where(taken[:, :, :, None], self._holds_after(kinds), self.holds[:, None, :, :])
        lost = self._lost(kinds, booked, self._together(holds, holds.sum(axis=2), axis=2))
        return np.where(allowed, _key(lost, np.where(taken, left, 0).sum(axis=2)), NOWHERE)

    def _holds_after(self, kinds: Guests) -> Numbers:
        """R x K x C x S: how many guest cells of each shape a host cell holds once a guest of the kind has taken a place in it."""
        free = self.rooms.free[:, None, :, None] - kinds.pins[:, None, None]
        memory = self.rooms.memory[:, None, :, None] - kinds.memory_mib[:, None, None]
        return _holds(np.maximum(free, 0), np.maximum(memory, 0), self.shapes)

    def _lost(self, kinds: Guests, booked: Numbers, after: Numbers) -> Numbers:
        """The loss in millionths; `after` are the guests of each shape (last axis) that the host cells hold afterwards."""
        rooms = self.rooms
        strict = rooms.strict[:, None] - kinds.cells * kinds.memory_mib
        overhead = rooms.overhead[:, None] - booked
        lines = self._lines(strict[:, :, None], overhead[:, :, None], self.booked[:, None, :])
        before = self.before[:, None, :]
        if after.ndim > lines.ndim:
            lines, before = lines[:, :, None, :], before[:, :, None, :]
        lost: Numbers = np.maximum(before - np.minimum(after, lines), 0) @ self.shapes.weights
        return lost

    def _allowed(self, kinds: Guests, booked: Numbers) -> Mask:
        """R x K: whether the host's own lines allow the guest."""
        rooms = self.rooms
        allowed: Mask = (rooms.strict[:, None] >= kinds.cells * kinds.memory_mib) & ((booked == 0) | (rooms.overhead[:, None] >= booked))
        return allowed

    def _lines(self, strict: Numbers, overhead: Numbers, booked: Numbers) -> Numbers:
        """How many guests of each shape (last axis) the host's memory and its overhead pool allow."""
        memory = np.maximum(strict, 0) // (self.shapes.cells * self.shapes.memory_mib)
        lines: Numbers = np.minimum(memory, np.where(booked > 0, np.maximum(overhead, 0) // np.maximum(booked, 1), AMPLE))
        return lines

    def _together(self, holds: Numbers, total: Numbers, axis: int = 1) -> Numbers:
        """`core.fit.slots.together` for each shape (last axis); the host cells are on `axis`, and `total` is the sum over them."""
        found = total.copy()
        for cells in sorted({int(number) for number in self.shapes.cells if number > 1}):
            several = self.shapes.cells == cells
            falling = -np.sort(-holds[..., several], axis=axis)
            left = total[..., several]
            least = left // cells
            for rest, place in zip(range(cells - 1, 0, -1), range(falling.shape[axis]), strict=False):
                left = left - falling.take(place, axis=axis)
                least = np.minimum(least, left // rest)
            found[..., several] = least
        return found


def _holds(free: Numbers, memory: Numbers, shapes: Guests) -> Numbers:
    """How many guest cells of each shape fit into cells with so many pCPUs and so much memory."""
    holds: Numbers = np.minimum(free // shapes.pins, memory // shapes.memory_mib)
    return holds


def _key(lost: Numbers, left_mib: Numbers) -> Numbers:
    return (np.minimum(lost, MOST_LOSS) << MEMORY_BITS) + np.minimum(left_mib, MOST_MEMORY)
