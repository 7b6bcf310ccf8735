"""`LossTable`: how much each host would lose of the fleet's common shapes if a guest went there. `decide` takes the host that loses least.

The loss of a place is the sum over the shapes of weight * (slots before - slots after), slots being how many more guests of the shape the
host takes. Among equal losses the place with the least memory left in the guest's cells is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pinfold.core.fit.demand import Demand
from pinfold.scheduler.host_losses import FEW, Guest, best_places_on
from pinfold.scheduler.place_losses import NOWHERE, Guests, Left, Numbers, best_places, left_of

if TYPE_CHECKING:
    from pinfold.scheduler.index import Entry

MOST_SHAPES: Final = 32
MOST_KINDS: Final = 64
"""For more kinds of guests than this the table starts anew."""
MOST_LEFTS: Final = 8192
"""For how many different states of hosts the keys are remembered."""

Places = NDArray[np.int16]


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


@lru_cache(maxsize=256)
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
    return ShapeKey(cells, need.pins + demand.own_pcpus, need.memory_mib, True, request.vcpus, request.disks, request.nic_queues)


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
    """The keys of every host for the guests that are asked for, by row of the index. Smaller is better. The index's lock guards it.

    Hosts with the same left have the same keys, so these are remembered by `Left`.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.version = shapes.version
        self.common = shapes
        kept = [shape for shape in shapes.shapes if shape.weight]
        self._shapes = Guests.of([shape.demand for shape in kept], [shape.weight for shape in kept])
        self._plain_shapes = [Guest.of(shape.demand, shape.weight) for shape in kept]
        self._entries: Sequence[Entry] = ()
        self._columns: dict[ShapeKey, int] = {}
        self._demands: list[Demand] = []
        self._guests: list[Guest] = []
        self._keys: list[Numbers] = []
        self._places: list[Places] = []
        self._known: dict[Left, tuple[list[int], list[int]]] = {}

    def renew(self, entries: Sequence[Entry], changed: Iterable[int]) -> None:
        """Compute the hosts of these rows again; rows beyond the entries are dropped."""
        self._entries = entries
        for column in range(len(self._demands)):
            missing = len(entries) - len(self._keys[column])
            if missing > 0:
                pad = (0, missing + len(entries) // 4 + 16)
                self._keys[column] = np.pad(self._keys[column], pad, constant_values=NOWHERE)
                self._places[column] = np.pad(self._places[column], pad, constant_values=-1)
        rows = [row for row in changed if row < len(entries)]
        if self._demands and rows:
            self._compute(rows)

    def find(self, demand: Demand) -> tuple[Numbers, Places]:
        """The keys and the host cells (positions, -1 for guests of several) by row, for a guest that has a `shape_key`.

        The columns of a shape that is asked for the first time are computed for every host, and kept from then on.
        """
        key = shape_key(demand)
        assert key is not None
        column = self._columns.get(key)
        if column is None:
            if len(self._demands) >= MOST_KINDS:
                for kept in (self._columns, self._demands, self._guests, self._keys, self._places):
                    kept.clear()
            column = self._columns[key] = len(self._demands)
            self._demands.append(demand)
            self._guests.append(Guest.of(demand, 0.0))
            self._keys.append(np.full(len(self._entries), NOWHERE, dtype=np.int64))
            self._places.append(np.full(len(self._entries), -1, dtype=np.int16))
            self._known.clear()
            self._fill(range(len(self._entries)), column)
        return self._keys[column], self._places[column]

    def key(self, entry: Entry, demand: Demand) -> tuple[int, int]:
        """The key and the host cell of one host, which need not be in a row, for a guest whose columns were found already."""
        left = left_of(entry)
        if left not in self._known:
            if len(self._known) >= MOST_LEFTS:
                self._known.clear()
            self._known[left] = self._best([entry], slice(None))[0]
        found = self._known[left]
        wanted = shape_key(demand)
        assert wanted is not None
        column = self._columns[wanted]
        return found[0][column], found[1][column]

    def _fill(self, rows: Sequence[int], column: int) -> None:
        """Compute one column."""
        alike: dict[Left, list[int]] = {}
        for row in rows:
            alike.setdefault(left_of(self._entries[row]), []).append(row)
        found = self._best([self._entries[same[0]] for same in alike.values()], slice(column, column + 1))
        for same, (keys, places) in zip(alike.values(), found, strict=True):
            self._keys[column][same], self._places[column][same] = keys[0], places[0]

    def _compute(self, rows: Sequence[int]) -> None:
        """Compute every column of these rows."""
        lefts = [left_of(self._entries[row]) for row in rows]
        unknown = {left: self._entries[row] for left, row in zip(lefts, rows, strict=True) if left not in self._known}
        if unknown:
            best = self._best(list(unknown.values()), slice(None))
            if len(self._known) + len(unknown) > MOST_LEFTS:
                self._known = {left: self._known[left] for left in lefts if left in self._known}
            self._known |= dict(zip(unknown, best, strict=True))
        for left, row in zip(lefts, rows, strict=True):
            found = self._known[left]
            for column, (key, place) in enumerate(zip(*found, strict=True)):
                self._keys[column][row], self._places[column][row] = key, place

    def _best(self, entries: Sequence[Entry], columns: slice) -> list[tuple[list[int], list[int]]]:
        """The keys and the host cells of each host, for the guests of these columns."""
        guests, demands = self._guests[columns], self._demands[columns]
        if len(entries) <= FEW and sum([len(one.counts.cells) for one in entries]) * len(guests) * len(self._plain_shapes) <= FEW:
            return [best_places_on(entry, guests, self._plain_shapes) for entry in entries]
        keys, places = best_places(entries, Guests.of(demands, [0.0] * len(demands)), self._shapes)
        return list(zip(keys.tolist(), places.tolist(), strict=True))
