"""Write hosts to Placement as resource providers. `claims` and `healing` write the allocations."""

from __future__ import annotations

import logging
import threading

from msgspec import UnsetType
from msgspec.structs import replace

from pinfold.accounting.client import Placement
from pinfold.accounting.resources import OVERHEAD, inventories
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.host import Claim, HostState, Ledger
from pinfold.core.identity import HostId
from pinfold.core.processor_traits import PROCESSOR_TRAITS
from pinfold.core.traits import OVERHEAD_POOL, OWN_TRAITS, own_traits
from pinfold.faultpoints import fault_point
from pinfold.scheduler.scheduler import Scheduler
from pinfold.store import aggregates, claims, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, HostLedger

_TRIES = 5
_log = logging.getLogger(__name__)


class Providers:
    """Keeps providers equal to the hosts in the store. Safe to share between threads and processes: Placement's generations decide who was
    first.
    """

    def __init__(self, database: Database, placement: Placement, scheduler: Scheduler) -> None:
        self._database = database
        self._placement = placement
        self._sets = scheduler.sets
        self._behind = threading.Event()
        self._named = False
        self._lock = threading.Lock()

    @property
    def behind(self) -> bool:
        """Whether `sync_or_later` left a host to the healer, which has not compared all hosts since."""
        return self._behind.is_set()

    def leave_to_healer(self) -> None:
        """Note that a host is left behind."""
        self._behind.set()

    def expect_all(self) -> None:
        """Note that all hosts are about to be compared: none is left behind then."""
        self._behind.clear()

    def name_things(self) -> None:
        """Create our resource class and trait if they are missing, once per process."""
        with self._lock:
            if not self._named:
                self._placement.ensure_resource_class(OVERHEAD)
                self._placement.ensure_trait(OVERHEAD_POOL)
                self._named = True

    def sync(self, host: HostId) -> bool:
        """Make the host's provider, inventories, our traits and its aggregates in Placement equal to the store.

        Call it after a registration, after a report that changed the revision, and after a change of aggregates. Returns whether anything
        changed. Raises `Conflict` when it keeps changing; `Unavailable`.
        """
        try:
            return self._sync(host)
        finally:
            self._sets.forget()

    def sync_or_later(self, host: HostId) -> None:
        """Do the same for a change that is already stored and stays: a failure is logged and left to the healer.

        Until then Placement has less than the store or as much as before, and refuses what it has no room for, so no claim depends on the
        difference.
        """
        try:
            self.sync(host)
        except (Unavailable, Conflict) as error:
            self._behind.set()
            _log.warning("host %s is stored, its resource provider follows later: %s", host, error)
        except InvalidRequest as error:
            # Trying again soon would not help; each run of the healer reports it.
            _log.warning("host %s is stored, its resource provider is not: %s", host, error)

    def _sync(self, host: HostId) -> bool:
        self.name_things()
        for _ in range(_TRIES):
            with self._database.read() as connection:
                found = hosts.ledgers(connection, (host,))
                groups = aggregates.all(connection)
                coming = claims.adopting(connection, host)
            if not found:
                return False
            member_of = frozenset(group.uuid for group in groups if host in group.hosts)
            managed = frozenset(group.uuid for group in groups)
            try:
                changed = self._provider(host, found[0].record.name)
                changed |= self._inventories(host, with_adopted(found[0].state, coming))
                changed |= self._traits(host, found[0])
                return self._aggregates(host, member_of, managed) or changed
            except Conflict:
                continue
        raise Conflict(f"host {host}: its resource provider keeps changing")

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

    def _traits(self, host: HostId, ledger: HostLedger) -> bool:
        """Those that others have set on the provider stay. So do those of a processor that the host's agent does not report."""
        generation, found = self._placement.traits(host)
        ours, wanted = OWN_TRAITS, own_traits(ledger.state.topology, ledger.state.pools)
        reported = ledger.record.report.processor_traits
        if not isinstance(reported, UnsetType):
            ours, wanted = ours | PROCESSOR_TRAITS, wanted | PROCESSOR_TRAITS.intersection(reported)
        wanted |= found - ours
        if lacking := wanted & PROCESSOR_TRAITS - found:
            wanted -= lacking - self._placement.known_traits(lacking)  # a Placement of an earlier release knows fewer
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


def with_adopted(state: HostState, coming: tuple[ClaimRecord, ...]) -> HostState:
    """The host as its inventories count it: the pCPUs of guests that are being adopted are no longer reserved for strangers. Pure."""
    claimed = (*state.ledger.claims, *(Claim(guest=one.guest, fit=one.fit, id=one.id) for one in coming))
    ordered = tuple(sorted(claimed, key=lambda one: (one.guest, one.id or "")))
    return replace(state, ledger=Ledger(claims=ordered, foreign=state.ledger.foreign))
