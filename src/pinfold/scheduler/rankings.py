"""`Rankings`: all hosts in the order in which to try them for a kind of guest, kept from one decision to the next.

A ranking has one number for each row of the index, its key. Smaller is better, and `NOWHERE` means that the filter excludes the host. The
hosts that changed since the last decision about the kind get new keys; nothing is sorted, the few smallest keys are looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinfold.scheduler.columns import Columns, Numbers
from pinfold.scheduler.filter import Need, least, survivors
from pinfold.scheduler.guest_kinds import GuestKind
from pinfold.scheduler.loss import LossTable, ShapeKey
from pinfold.scheduler.place_losses import NOWHERE
from pinfold.scheduler.rank import has_pool, rough

MOST_RANKINGS: Final = 64
"""For more kinds of guests than this the ranking that was used least recently is dropped."""
_AMPLE: Final = 8
"""How many times more rows than wanted the border of a ranking lets through."""

Rows = NDArray[np.intp]


class Order(Enum):
    """What decides about the order of hosts."""

    FULL = "full hosts first"
    EMPTY = "empty hosts first"
    LOSS = "the table of losses"


class Ranking:
    """The keys of all rows for one kind of guest. The index's lock guards it."""

    def __init__(self, kind: GuestKind, order: Order) -> None:
        self._wanted, self._order, self._demand = kind.need, order, kind.demand
        self._least = least(kind.need)
        self._keys: Numbers = np.zeros(0, dtype=np.int64)
        self._poolless: Numbers | None = None
        self._border = Border()
        self._length = 0
        self.seen = -1
        """The changes of the index that the keys know of."""

    def renew(self, rows: Rows | None, hosts: Columns, losses: LossTable) -> None:
        """Compute the keys of these rows, or of all."""
        self._length = len(hosts)
        if rows is None or len(self._keys) < len(hosts):
            self._keys = np.full(len(hosts) + len(hosts) // 4 + 16, NOWHERE, dtype=np.int64)
            separate = self._order is Order.LOSS and self._wanted.overhead is not None
            self._poolless = self._keys.copy() if separate else None
            rows = np.arange(len(hosts))
        some = hosts if len(rows) == len(hosts) else hosts.some(rows)
        keys = np.where(survivors(self._wanted, some, self._least), self._raw(rows, some, losses), NOWHERE)
        if self._poolless is not None:
            pool = has_pool(some)
            self._poolless[rows] = np.where(pool, NOWHERE, keys)
            keys = np.where(pool, keys, NOWHERE)
        self._keys[rows] = keys

    def _raw(self, rows: Rows, hosts: Columns, losses: LossTable) -> Numbers:
        if self._order is Order.LOSS:
            found: Numbers = losses.find(self._demand)[0][rows]
            return found
        return rough(self._wanted, hosts, packs=self._order is Order.FULL)

    def best(self, most: int, first: int, passes: Callable[[int], bool] | None) -> list[int]:
        """At most `most` rows in order, the best first; equal ones from row `first` on and around the end. Only rows that pass.

        With `Order.LOSS`, hosts without an online overhead pool follow only if no other is left, for a guest that shares it.
        """
        found = self._best(self._keys, most, first, passes)
        if not found and self._poolless is not None:
            found = self._best(self._poolless, most, first, passes)
        return found

    def _best(self, every: Numbers, most: int, first: int, passes: Callable[[int], bool] | None) -> list[int]:
        keys = every[: self._length]
        if passes is None:
            return _listed(self._border.smallest(keys, most, first))
        some = _listed(self._border.smallest(keys, _AMPLE * most, first))
        kept = [row for row in some if passes(row)]
        if len(kept) >= most or len(some) < _AMPLE * most:
            return kept[:most]
        rows = [row for row in _listed(np.flatnonzero(keys != NOWHERE)) if passes(row)]
        left = np.full_like(keys, NOWHERE)
        left[rows] = keys[rows]
        return _listed(Border().smallest(left, most, first))


def _listed(rows: Rows) -> list[int]:
    found: list[int] = rows.tolist()
    return found


class Border:
    """A guess of a key that few rows do not exceed, so that the others need not be looked at. A wrong guess costs time only."""

    def __init__(self) -> None:
        self._key = -1

    def smallest(self, keys: Numbers, most: int, first: int) -> Rows:
        """The rows of at most `most` smallest keys, ascending; equal ones from row `first` on. `NOWHERE` is left out."""
        if not len(keys) or most <= 0:
            return np.zeros(0, dtype=np.intp)
        rows: Rows = (keys <= self._key).nonzero()[0]
        if len(rows) < min(most, len(keys)) and self._key < NOWHERE - 1:
            wide = min(len(keys), _AMPLE * most) - 1
            self._key = min(int(np.partition(keys, wide)[wide]), NOWHERE - 1)
            rows = (keys <= self._key).nonzero()[0]
        found = keys[rows]
        if len(rows) > most:
            better = rows[:0]
            last = found.min()
            equal = rows[found == last]
            if len(equal) < most:
                wide = _AMPLE * most
                if len(rows) > 4 * wide:
                    self._key = int(np.partition(found, wide)[wide])
                last = np.partition(found, most - 1)[most - 1]
                better, equal = rows[found < last], rows[found == last]
            start = int(equal.searchsorted(first))
            equal = np.concatenate((equal[start : start + most], equal[: min(start, most)]))[: most - len(better)]
            if not len(better):
                return equal
            rows = np.concatenate((better, equal))
            found = keys[rows]
        return rows[np.lexsort(((rows - first) % len(keys), found))]


class Rankings:
    """The rankings of the kinds of guests that were asked for last. The index's lock guards it."""

    def __init__(self) -> None:
        self._known: dict[tuple[Need, str, ShapeKey | None], Ranking] = {}
        self._log: list[int] = []
        self._forgotten = 0

    def changed(self, row: int, length: int) -> None:
        """A row has other numbers than before."""
        self._log.append(row)
        if len(self._log) > 2 * length + 1000:
            self._forgotten += len(self._log)
            self._log.clear()

    def find(self, kind: GuestKind, order: Order, hosts: Columns, losses: LossTable) -> Ranking:
        """The ranking for such a guest, up to date."""
        key = kind.need, order.value, kind.shape if order is Order.LOSS else None
        ranking = self._known.pop(key, None) or Ranking(kind, order)
        self._known[key] = ranking
        if len(self._known) > MOST_RANKINGS:
            del self._known[next(iter(self._known))]
        now = self._forgotten + len(self._log)
        if ranking.seen < now:
            ranking.renew(self._since(ranking.seen, len(hosts)), hosts, losses)
            ranking.seen = now
        return ranking

    def _since(self, seen: int, length: int) -> Rows | None:
        """The rows that changed after so many changes; None if all are to be computed."""
        if seen < self._forgotten or len(self._log) - (seen - self._forgotten) > length // 4:
            return None
        changed: Sequence[int] = sorted({row for row in self._log[seen - self._forgotten :] if row < length})
        return np.array(changed, dtype=np.intp)
