"""`OccupancyReader`: what every host of the index holds, in numbers; counted again for the hosts that changed."""

from __future__ import annotations

import threading
from collections import Counter

from msgspec import Struct

from pinfold.core.identity import HostId
from pinfold.core.ledger import Role, roles
from pinfold.core.overhead import capacity_millicpu
from pinfold.scheduler.index import Entry, Index


class Holdings(Struct, frozen=True, kw_only=True):
    """What a host's claims hold: pCPUs of dedicated ∪ retiring by role, in the order of the roles' values and without those that are
    nobody's; millicpu of the overhead pool that are booked and that can be; and vCPUs that float.
    """

    pcpus: tuple[tuple[Role, int], ...]
    booked_millicpu: int
    capacity_millicpu: int
    floating: int


class Occupancy(Struct, frozen=True, kw_only=True):
    """One host of the index at a revision."""

    id: HostId
    name: str
    up: bool
    disabled: bool
    revision: int
    holdings: Holdings


class OccupancyReader:
    """Remembers what each host holds at the revision that was read last. Safe to share between threads."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._known: dict[HostId, tuple[int, Holdings]] = {}

    def read(self) -> tuple[Occupancy, ...]:
        """Every host of the index, ordered by name."""
        with self._lock:
            known = self._known
        entries = self._index.look(lambda view: sorted(view.entries, key=lambda entry: (entry.name, entry.id)))
        fresh = {entry.id: _held(entry, known.get(entry.id)) for entry in entries}
        with self._lock:
            self._known = fresh
        return tuple(
            [
                Occupancy(
                    id=entry.id,
                    name=entry.name,
                    up=entry.up,
                    disabled=entry.disabled,
                    revision=fresh[entry.id][0],
                    holdings=fresh[entry.id][1],
                )
                for entry in entries
            ]
        )


def _held(entry: Entry, known: tuple[int, Holdings] | None) -> tuple[int, Holdings]:
    """By revision and not by value: an old value would keep the claims in memory that the index packs."""
    state = entry.state
    if known is not None and known[0] == state.revision:
        return known
    fits = [claim.fit for claim in state.ledger.claims]
    found = Counter(one.role for one in roles(state).values())
    return state.revision, Holdings(
        pcpus=tuple(sorted(found.items(), key=lambda pair: pair[0].value)),
        booked_millicpu=sum(fit.overhead_millicpu for fit in fits),
        capacity_millicpu=capacity_millicpu(state.pools, state.limits),
        floating=sum(fit.floating_count for fit in fits),
    )
