"""Write hosts to Placement as resource providers. `claim`, `release` and `heal` write the allocations."""

from __future__ import annotations

import threading

from pinfold.accounting.client import Placement
from pinfold.accounting.resources import OVERHEAD, inventories
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.host import HostState
from pinfold.core.identity import HostId
from pinfold.core.traits import OVERHEAD_POOL, OWN_TRAITS, own_traits
from pinfold.faultpoints import fault_point
from pinfold.store import aggregates, hosts
from pinfold.store.database import Database

_TRIES = 5


class Providers:
    """Keeps providers equal to the hosts in the store. Safe to share between threads and processes: Placement's generations decide who was
    first.
    """

    def __init__(self, database: Database, placement: Placement) -> None:
        self._database = database
        self._placement = placement
        self._named = False
        self._lock = threading.Lock()

    def name_things(self) -> None:
        """Create our resource class and trait if they are missing, once per process."""
        with self._lock:
            if not self._named:
                self._placement.ensure_resource_class(OVERHEAD)
                self._placement.ensure_trait(OVERHEAD_POOL)
                self._named = True

    def sync(self, host: HostId) -> bool:
        """Make one host's provider equal to the store. Returns whether anything changed. Raises `Conflict` when it keeps changing."""
        self.name_things()
        for _ in range(_TRIES):
            with self._database.read() as connection:
                found = hosts.ledgers(connection, (host,))
                groups = aggregates.all(connection)
            if not found:
                return False
            member_of = frozenset(group.uuid for group in groups if host in group.hosts)
            managed = frozenset(group.uuid for group in groups)
            try:
                changed = self._provider(host, found[0].record.name)
                changed |= self._inventories(host, found[0].state)
                changed |= self._traits(host, found[0].state)
                return self._aggregates(host, member_of, managed) or changed
            except Conflict:
                continue
        raise Conflict(f"host {host}: its resource provider keeps changing")

    def remove(self, host: HostId) -> None:
        """Remove the host and its provider. Raises `Conflict` while either is in use; then both stay as they are."""
        with self._database.write() as connection:
            hosts.remove(connection, host)
            # Last, but before the commit: a provider that must be created again lacks what operators had set on it.
            self._placement.delete_provider(host)

    def _provider(self, host: HostId, name: str) -> bool:
        if self._placement.provider(host) is not None:
            return False
        try:
            self._placement.create_provider(host, name)
        except Conflict as error:
            if self._placement.provider(host) is None:
                raise InvalidRequest(f"Placement has a resource provider named {name} with another id") from error
        return True

    def _inventories(self, host: HostId, state: HostState) -> bool:
        wanted = inventories(state)
        generation, found = self._placement.inventories(host)
        if dict(found).keys() - dict(wanted).keys():
            wanted = inventories(state, self._placement.usages(host))
        if wanted == found:
            return False
        self._placement.put_inventories(host, generation, wanted)
        fault_point("provider.inventoried")
        return True

    def _traits(self, host: HostId, state: HostState) -> bool:
        generation, found = self._placement.traits(host)
        wanted = (found - OWN_TRAITS) | own_traits(state.topology, state.pools)
        if wanted == found:
            return False
        self._placement.put_traits(host, generation, wanted)
        return True

    def _aggregates(self, host: HostId, member_of: frozenset[str], managed: frozenset[str]) -> bool:
        generation, found = self._placement.aggregates(host)
        wanted = (found - managed) | member_of
        if wanted == found:
            return False
        self._placement.put_aggregates(host, generation, wanted)
        return True
