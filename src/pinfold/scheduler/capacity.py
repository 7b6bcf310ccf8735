"""`CapacityReader`: how many more guests of each flavor every host of the index takes; counted again for the hosts that changed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from msgspec import structs

from pinfold.core.errors import PinfoldError
from pinfold.core.fit.capacity import FlavorDemand, FleetCapacity, HostCapacity, NotCounted, capacity, demands_of, total
from pinfold.core.fit.count import Counts
from pinfold.core.host_features import needed
from pinfold.core.identity import GuestId, HostId
from pinfold.core.request.aggregate_specs import aggregate_specs
from pinfold.core.request.model import Flavor
from pinfold.scheduler.decide import Conditions, untrait
from pinfold.scheduler.index import Entry, Index
from pinfold.scheduler.model import HostSearch
from pinfold.scheduler.placement_sets import PlacementSets

_Known = tuple[Counts, bool, frozenset[str], HostCapacity]
_MOST_SETS: Final = 4
"""How many sets of flavors are remembered: those of /metrics, of the fleet page, and two of other readers."""


class CapacityReader:
    """Remembers the counts of the sets of flavors that were read last. Safe to share between threads."""

    def __init__(self, index: Index, sets: PlacementSets) -> None:
        self._index = index
        self._sets = sets
        self._lock = threading.Lock()
        self._known: dict[tuple[FlavorDemand, ...], dict[HostId, _Known]] = {}

    def read(self, flavors: Sequence[Flavor]) -> FleetCapacity:
        """What the hosts of the index have left for guests of these flavors, each with one disk.

        A host that is down, disabled or fenced has no slots. A flavor that names traits while Placement is away is not counted.
        """
        wanted, conditions, left_out = self._wanted(flavors)
        with self._lock:
            known = self._known.get(wanted, {})
        entries = self._index.look(lambda view: sorted(view.entries, key=lambda entry: (entry.name, entry.id)))
        fresh = {entry.id: _counted(entry, wanted, conditions, known.get(entry.id)) for entry in entries}
        with self._lock:
            self._known.pop(wanted, None)
            self._known[wanted] = fresh
            if len(self._known) > _MOST_SETS:
                del self._known[next(iter(self._known))]
        hosts = tuple(found for _, _, _, found in fresh.values())
        return FleetCapacity(hosts=hosts, fleet=total(hosts, [name for name, _ in wanted]), not_counted=left_out)

    def _wanted(self, flavors: Sequence[Flavor]) -> tuple[tuple[FlavorDemand, ...], dict[str, Conditions], tuple[NotCounted, ...]]:
        """The demands without traits, what hosts must be for the flavors that name traits or aggregates, and the flavors that are not
        counted.
        """
        demands, refused = demands_of(flavors)
        groups = {flavor.name: aggregate_specs(flavor) for flavor in flavors}
        kept: list[FlavorDemand] = []
        left_out = list(refused)
        conditions: dict[str, Conditions] = {}
        for name, demand in demands:
            if demand.traits or groups[name] or needed(demand.request):
                search = HostSearch(guest=GuestId(""), request=demand.request, aggregates=groups[name])
                try:
                    conditions[name] = self._sets.conditions(search)
                except PinfoldError as error:
                    left_out.append(NotCounted(flavor=name, why=str(error)))
                    continue
                demand = structs.replace(demand, request=untrait(demand.request), traits=False)
            kept.append((name, demand))
        return tuple(kept), conditions, tuple(left_out)


def _counted(entry: Entry, wanted: Sequence[FlavorDemand], conditions: dict[str, Conditions], known: _Known | None) -> _Known:
    barred = frozenset(name for name, rule in conditions.items() if rule.reasons(entry))
    if known is not None and known[0] is entry.counts and known[1:3] == (entry.open, barred):
        return known
    found = capacity(entry.counts, wanted, takes_guests=entry.open, barred=barred)
    return entry.counts, entry.open, barred, structs.replace(found, host=entry.name)
