"""`Scheduler`: finds, claims and heals. `scheduler.decide` makes the decisions; `claims` and `healing` carry them out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from pinfold.accounting.client import Placement
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.fit.capacity import FleetCapacity
from pinfold.core.fit.demand import prepare
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.core.request.model import Flavor
from pinfold.scheduler import decide
from pinfold.scheduler.capacity import CapacityReader
from pinfold.scheduler.index import Index
from pinfold.scheduler.model import DEFAULT_SETTINGS, Claimed, HealSummary, HostSearch, Preview, Refused, SchedulerSettings
from pinfold.scheduler.placement_sets import PlacementSets
from pinfold.scheduler.refresh import Freshness
from pinfold.service.claims.amend import Amender
from pinfold.service.claims.claim import Claimer
from pinfold.service.claims.follow import Follower
from pinfold.service.claims.release import Releaser
from pinfold.service.claims.replace import Replacer, Then
from pinfold.service.healing import Healer
from pinfold.service.providers import Providers
from pinfold.store.database import Database
from pinfold.store.records import Move

_log = logging.getLogger(__name__)


class Scheduler:
    """Decides and claims. Safe to share between threads; any number of processes may have one on the same database and Placement."""

    def __init__(self, database: Database, placement: Placement, settings: SchedulerSettings = DEFAULT_SETTINGS) -> None:
        """Reads nothing yet; `start` does."""
        self._settings = settings
        self._index = Index()
        self._fresh = Freshness(database, self._index, settings.refresh_seconds)
        self._sets = PlacementSets(placement, settings.traits_seconds)
        self._providers = Providers(database, placement)
        self._claimer = Claimer(database, placement, self._index, self._fresh, self._sets, settings)
        self._releaser = Releaser(database, placement, self._index, self._fresh)
        amender = Amender(database, placement, self._fresh)
        self._replacer = Replacer(database, amender)
        self._follower = Follower(database, amender)
        self._healer = Healer(database, placement, self._providers, self._releaser, self._follower, settings)
        self._capacity = CapacityReader(self._index, self._sets)
        self._behind = threading.Event()

    @property
    def behind(self) -> bool:
        """Whether `sync_host_or_later` left a host to the healer and `start` has not healed all hosts since."""
        return self._behind.is_set()

    def start(self) -> HealSummary:
        """Create Placement's names (resource class, traits), load the index, and heal once. Raises `Unavailable`."""
        self._behind.clear()
        self._providers.name_things()
        healed = self._healer.run(all_hosts=True)
        self._fresh.now()
        return healed

    def preview(self, wanted: HostSearch) -> Preview:
        """Every host that would take the guest, best first, and the reasons of the others. The guest need not be stored."""
        self._fresh.now()
        conditions = self._sets.conditions(wanted)
        return decide.preview(self._index, prepare(decide.untrait(wanted.request)), conditions, self._settings)

    def capacity(self, flavors: Sequence[Flavor]) -> FleetCapacity:
        """How many more guests of each flavor every host takes, and which free pCPUs none of them can use. Raises `Unavailable`."""
        self._fresh.look()
        return self._capacity.read(flavors)

    def create(self, wanted: HostSearch) -> Claimed | Refused:
        """Find a host and claim it by the protocol in `claim`. The guest's row must exist (`store.guests.create`).

        On success the guest is on its host with the task `spawning`, and the host's agent has been notified. A refusal leaves the guest's
        row as it is; the caller stores the fault. Raises `Conflict` when the guest has a live claim of that role, is gone or is wanted
        absent by now, or when the healer was faster; `Unavailable` when Placement or the database went away (the healer then clears up).
        """
        return self._claimer.create(wanted)

    def release(self, guest: str, *, claim: ClaimId | None = None, bury: bool = False) -> None:
        """Release everything that the guest holds: first the pins, then the allocation.

        Call it only after its agent confirmed that neither domain nor process remains, or after the host was fenced; with `bury`, it leaves
        a tombstone for the agent's return.

        With `claim`, it releases only that claim, because another process may have released it and claimed anew since the caller decided. A
        guest without a claim or with another one is no error, nor is a release by somebody else at the same time. The guest's row stays
        (call `store.guests.remove` or `displace` after it). Raises `Unavailable` half-way when Placement is away: the pins are free, and
        the healer empties the allocation.
        """
        self._releaser.release(guest, claim=claim, bury=bury)

    def rebook(self, guest: str) -> None:
        """Book the guest's overhead with today's options instead of those at its claim; its pCPUs stay as they are.

        Raises `InvalidRequest` for a guest without a claim; `Conflict` when the overhead pool has no room for the new booking, or when
        somebody else changes the guest's allocation; `Unavailable`. The healer completes an interrupted change.
        """
        self._releaser.rebook(guest)

    def replace(self, guest: GuestId, then: Then) -> Move | None:
        """Give a guest that does not run another place on its host, by the protocol in `replace`, if its claim no longer lies within the
        host's pools.

        Returns None, and changes nothing, if the claim still holds or the host is away. `then` writes in the same transaction.

        Raises `Conflict`: with the reasons of a fit, if the host has no other place; when somebody else changes the guest or its claim at
        the same time; and what `then` raises. Raises `Unavailable`.
        """
        return self._replacer.replace(guest, then)

    def sync_host(self, host: HostId) -> None:
        """Make the host's provider, inventories, our traits and its aggregates in Placement equal to the store.

        Call it after a registration, after a report that changed the revision, and after a change of aggregates. Raises `Unavailable`.
        """
        self._providers.sync(host)
        self._sets.forget()

    def follow_pools_or_later(self, host: HostId) -> None:
        """The host's agent has reported a change that is stored: make Placement equal to it, then let the host's guests follow its pools.

        A failure is logged and left to the healer. A guest that cannot follow keeps its claim; the log says why.
        """
        self.sync_host_or_later(host)
        try:
            for sentence in self._follower.follow(host):
                _log.warning("host %s: %s", host, sentence)
        except (Unavailable, Conflict) as error:
            self._behind.set()
            _log.warning("the guests of host %s follow its pools later: %s", host, error)

    def sync_host_or_later(self, host: HostId) -> None:
        """Do the same for a change that is already stored and stays: a failure is logged and left to the healer.

        Until then Placement has less than the store or as much as before, and refuses what it has no room for, so no claim depends on the
        difference.
        """
        try:
            self.sync_host(host)
        except (Unavailable, Conflict) as error:
            self._behind.set()
            _log.warning("host %s is stored, its resource provider follows later: %s", host, error)
        except InvalidRequest as error:
            # Trying again soon would not help; each run of the healer reports it.
            _log.warning("host %s is stored, its resource provider is not: %s", host, error)

    def remove_host(self, host: HostId) -> None:
        """Forget a host without claims, its provider first. Raises `Conflict` when it has claims or any allocation."""
        self._providers.remove(host)
        self._index.drop((host,))

    def heal(self) -> HealSummary:
        """Repair what crashes left behind. Run it at the start and every minute; any number of processes may do so at once."""
        return self._healer.run()
