"""The columns of numbers that the index keeps of each host, and the row of one host. `filter` and `rank` read them. Pure.

They are derived from a host's counts and are only necessary conditions: a fit would refuse every host that they exclude.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pinfold.core.fit.count import CellCounts, Frame

if TYPE_CHECKING:
    from pinfold.scheduler.index import Entry

WIDTH: Final = 8
"""How many host cells a row keeps apart, the emptiest first; further cells count only in the sums."""

AMPLE: Final = 2**50
"""The number for "without limit"."""

_NAMES: Final = (
    "open",
    "free",
    "vcpu_room",
    "floating_mib",
    "strict_mib",
    "disk",
    "overhead_room",
    "shared",
    "pool",
    "overhead_cap",
    "rate_guest",
    "rate_vcpu",
    "rate_disk",
    "rate_nic",
    "cells",
    "wholes",
)
COLUMN: Final = {name: position for position, name in enumerate(_NAMES)}
CELL_FREE: Final = len(_NAMES)
CELL_PAIRED: Final = CELL_FREE + WIDTH
CELL_WHOLES: Final = CELL_PAIRED + WIDTH
CELL_MEMORY: Final = CELL_WHOLES + WIDTH
COLUMNS: Final = CELL_MEMORY + WIDTH

Numbers = NDArray[np.int64]


class Columns(Struct, frozen=True, eq=False):
    """The numbers of some hosts, a row for each."""

    numbers: Numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def column(self, name: str) -> Numbers:
        """One column of `COLUMN`, over all rows."""
        found: Numbers = self.numbers[:, COLUMN[name]]
        return found

    def some(self, rows: NDArray[np.intp]) -> Columns:
        """Those of the rows."""
        return Columns(self.numbers[rows])


def numbers(entry: Entry) -> list[int]:
    """The row of one host, in the order of the columns."""
    counts = entry.counts
    pool = counts.frame.pool
    return [
        int(entry.open),
        counts.free.bit_count(),
        counts.vcpu_room,
        counts.floating_room_mib,
        counts.strict_room_mib,
        AMPLE if counts.disk_room is None else counts.disk_room,
        counts.overhead_room if pool.books and pool.enforces else AMPLE,
        *_of_frame(counts.frame),
        *_of_cells(counts.cells),
    ]


@lru_cache(maxsize=1024)
def _of_frame(frame: Frame) -> tuple[int, ...]:
    """The columns that claims do not change, from `shared` on."""
    pool, rates = frame.pool, frame.pool.rates
    return frame.n_shared, int(pool.state), pool.capacity, rates.guest, rates.vcpu, rates.disk, rates.nic


@lru_cache(maxsize=2048)
def _of_cells(cells: tuple[CellCounts, ...]) -> tuple[int, ...]:
    """The columns that the host cells alone decide, from `cells` on."""
    row = [len(cells), sum([cell.shape.n_wholes for cell in cells])]
    for values in (
        [cell.n_free for cell in cells],
        [cell.shape.n_paired for cell in cells],
        [cell.shape.n_wholes for cell in cells],
        [cell.free_mib for cell in cells],
    ):
        values.sort(reverse=True)
        row += values[:WIDTH] + [0] * (WIDTH - len(values))
    return tuple(row)
