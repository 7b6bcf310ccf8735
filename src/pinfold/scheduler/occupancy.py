"""`OccupancyReader`: what every host of the index holds, in numbers; counted again for the hosts that changed."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct, structs

from pinfold.core.identity import HostId
from pinfold.core.ledger import Role, roles
from pinfold.core.overhead import capacity_millicpu
from pinfold.scheduler.index import Entry, Index


class Occupancy(Struct, frozen=True, kw_only=True):
    """One host at a revision, and what its claims hold.

    `pcpus` are those of dedicated ∪ retiring by role, in the order of the roles' values; a role that no pCPU has is left out. Of the
    overhead pool `booked_millicpu` are booked, and `capacity_millicpu` can be. `floating` is the number of vCPUs that float.
    """

    id: HostId
    name: str
    up: bool
    disabled: bool
    revision: int
    pcpus: tuple[tuple[Role, int], ...]
    booked_millicpu: int
    capacity_millicpu: int
    floating: int


class OccupancyReader:
    """Remembers what each host held when it was read last. Safe to share between threads: what the last of them read is remembered."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._known: dict[HostId, Occupancy] = {}

    def read(self) -> tuple[Occupancy, ...]:
        """Every host of the index, ordered by name."""
        known = self._known
        entries = self._index.look(lambda view: sorted(view.entries, key=lambda entry: (entry.name, entry.id)))
        self._known = fresh = {entry.id: _occupancy(entry, known.get(entry.id)) for entry in entries}
        return tuple(fresh.values())


def _occupancy(entry: Entry, known: Occupancy | None) -> Occupancy:
    """By revision and not by value: an old value would keep the claims in memory that the index packs."""
    state = entry.state
    if known is not None and known.revision == state.revision:
        return structs.replace(known, name=entry.name, up=entry.up, disabled=entry.disabled)
    fits = [claim.fit for claim in state.ledger.claims]
    found = Counter(one.role for one in roles(state).values())
    return Occupancy(
        id=entry.id,
        name=entry.name,
        up=entry.up,
        disabled=entry.disabled,
        revision=state.revision,
        pcpus=tuple(sorted(found.items(), key=lambda pair: pair[0].value)),
        booked_millicpu=sum(fit.overhead_millicpu for fit in fits),
        capacity_millicpu=capacity_millicpu(state.pools, state.limits),
        floating=sum(fit.floating_count for fit in fits),
    )
