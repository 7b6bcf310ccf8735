"""The columns of numbers that the index keeps of each host, and the row of one host. `filter` and `rank` read them. Pure.

They are derived from a host's counts and are only necessary conditions: a fit would refuse every host that they exclude.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pinfold.scheduler.index import Entry

WIDTH: Final = 8
"""How many host cells a row keeps apart, the emptiest first; further cells count only in the sums."""

AMPLE: Final = 2**50
"""The number for "without limit"."""

_NAMES: Final = (
    "open",
    "cells",
    "free",
    "dedicated",
    "wholes",
    "shared",
    "vcpu_room",
    "floating_mib",
    "strict_mib",
    "disk",
    "pool",
    "overhead_room",
    "overhead_cap",
    "rate_guest",
    "rate_vcpu",
    "rate_disk",
    "rate_nic",
)
COLUMN: Final = {name: position for position, name in enumerate(_NAMES)}
CELL_FREE: Final = len(_NAMES)
CELL_PAIRED: Final = CELL_FREE + WIDTH
CELL_WHOLES: Final = CELL_PAIRED + WIDTH
CELL_MEMORY: Final = CELL_WHOLES + WIDTH
COLUMNS: Final = CELL_MEMORY + WIDTH

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Columns:
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
    frame = counts.frame
    pool = frame.pool
    memory = [cell.small_free_mib + sum(size * free for size, free in cell.huge) // 1024 for cell in counts.cells]
    row = [
        int(entry.open),
        len(counts.cells),
        counts.free.bit_count(),
        frame.dedicated.bit_count(),
        sum(len(cell.wholes) for cell in counts.cells),
        frame.n_shared,
        counts.vcpu_room,
        counts.floating_room_mib,
        counts.strict_room_mib,
        AMPLE if counts.disk_room is None else counts.disk_room,
        int(pool.state),
        counts.overhead_room if pool.books and pool.enforces else AMPLE,
        pool.capacity,
        pool.rates.guest,
        pool.rates.vcpu,
        pool.rates.disk,
        pool.rates.nic,
    ]
    for values in (
        [cell.n_free for cell in counts.cells],
        [cell.n_paired for cell in counts.cells],
        [len(cell.wholes) for cell in counts.cells],
        memory,
    ):
        row += sorted(values, reverse=True)[:WIDTH] + [0] * (WIDTH - len(values))
    return row
