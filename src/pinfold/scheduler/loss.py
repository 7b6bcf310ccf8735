"""`LossTable`: how much each host would lose of the fleet's common shapes if a guest went there. `decide` takes the host that loses least.

The loss of a place is the sum over the shapes of weight * (slots before - slots after), slots being how many more guests of the shape the
host takes. Among equal losses the place with the least memory left in the guest's cells is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct

from pinfold.core.fit.demand import Demand
from pinfold.scheduler.place_losses import NOWHERE, Guests, Numbers, best_places

if TYPE_CHECKING:
    from pinfold.scheduler.index import Entry

MOST_SHAPES: Final = 32
MOST_KINDS: Final = 64
"""For more kinds of guests than this the table starts anew."""


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
        kept = [shape for shape in shapes.shapes if shape.weight]
        self._shapes = Guests.of([shape.demand for shape in kept], [shape.weight for shape in kept])
        self._entries: Sequence[Entry] = ()
        self._columns: dict[ShapeKey, int] = {}
        self._demands: list[Demand] = []
        self._keys: Numbers = np.zeros((0, MOST_KINDS), dtype=np.int64)
        self._places: Numbers = np.zeros((0, MOST_KINDS), dtype=np.int64)

    def renew(self, entries: Sequence[Entry], changed: Iterable[int]) -> None:
        """Compute the hosts of these rows again; rows beyond the entries are dropped."""
        self._entries = entries
        if len(self._keys) < len(entries):
            pads = ((0, max(16, 2 * len(entries)) - len(self._keys)), (0, 0))
            self._keys = np.pad(self._keys, pads, constant_values=NOWHERE)
            self._places = np.pad(self._places, pads, constant_values=-1)
        rows = [row for row in changed if row < len(entries)]
        if self._demands and rows:
            self._compute(rows, slice(0, len(self._demands)))

    def find(self, demand: Demand) -> tuple[Numbers, Numbers]:
        """The keys and the host cells (positions, -1 for guests of several) by row, for a guest that has a `shape_key`.

        The columns of a shape that is asked for the first time are computed for every host, and kept from then on.
        """
        key = shape_key(demand)
        assert key is not None
        column = self._columns.get(key)
        if column is None:
            if len(self._demands) >= MOST_KINDS:
                self._columns.clear()
                self._demands.clear()
            column = self._columns[key] = len(self._demands)
            self._demands.append(demand)
            self._compute(range(len(self._entries)), slice(column, column + 1))
        return self._keys[:, column], self._places[:, column]

    def _compute(self, rows: Sequence[int], columns: slice) -> None:
        asked = self._demands[columns]
        found = best_places([self._entries[row] for row in rows], Guests.of(asked, [0.0] * len(asked)), self._shapes)
        chosen = np.ix_(np.fromiter(rows, dtype=np.intp, count=len(rows)), np.arange(columns.start, columns.stop))
        self._keys[chosen], self._places[chosen] = found
