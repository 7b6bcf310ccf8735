"""`Scheduler`: the one door to everything in this package. `decide` makes the decisions, `claim` and those beside it do the work."""

from __future__ import annotations

import logging
import threading

from pinfold.accounting.client import Placement
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.scheduler import decide
from pinfold.scheduler.claim import Claimer
from pinfold.scheduler.heal import Healer
from pinfold.scheduler.index import Index
from pinfold.scheduler.model import DEFAULT_SETTINGS, Claimed, Healed, Move, Preview, Refused, SchedulerSettings, Wanted
from pinfold.scheduler.providers import Providers
from pinfold.scheduler.refresh import Freshness
from pinfold.scheduler.release import Releaser
from pinfold.scheduler.replace import Replacer, Then
from pinfold.scheduler.traits import PlacementSets
from pinfold.store.database import Database

_log = logging.getLogger(__name__)


class Scheduler:
    """Decides and claims. Safe to share between threads; any number of processes may have one on the same database and Placement."""

    def __init__(self, database: Database, placement: Placement, settings: SchedulerSettings = DEFAULT_SETTINGS) -> None:
        """Nothing is read yet; `start` does."""
        self._settings = settings
        self._index = Index()
        self._fresh = Freshness(database, self._index, settings.refresh_seconds)
        self._sets = PlacementSets(placement, settings.traits_seconds)
        self._providers = Providers(database, placement)
        self._claimer = Claimer(database, placement, self._index, self._fresh, self._sets, settings)
        self._releaser = Releaser(database, placement, self._index, self._fresh)
        self._replacer = Replacer(database, placement, self._fresh)
        self._healer = Healer(database, placement, self._providers, self._releaser, settings)
        self._behind = threading.Event()

    @property
    def behind(self) -> bool:
        """Whether a host was left to the healer by `sync_host_or_later`, and `start` has not healed all of them since."""
        return self._behind.is_set()

    def start(self) -> Healed:
        """Prepare Placement's names (resource class, traits), load the index, and heal once. Raises `Unavailable`."""
        self._behind.clear()
        self._providers.name_things()
        healed = self._healer.run(all_hosts=True)
        self._fresh.now()
        return healed

    def preview(self, wanted: Wanted) -> Preview:
        """Every host that would take the guest, best first, and the reasons of the others. The guest need not be stored."""
        self._fresh.now()
        conditions = self._sets.conditions(wanted)
        decision = decide.preview(self._index, decide.untrait(wanted.request), conditions, self._settings)
        return Preview(candidates=decision.candidates, refusals=decision.refusals)

    def create(self, wanted: Wanted) -> Claimed | Refused:
        """Find a host and claim it, by the protocol of `claim`. The guest's row must exist (`store.guests.create`).

        On success the guest is on its host with the task `spawning`, and the host's agent has been told. A refusal leaves the guest's row
        as it is: storing the fault is the caller's. Raises `Conflict` when the guest has a live claim, is gone or is wanted absent by now,
        or when the healer was faster; `Unavailable` when Placement or the database went away (the healer then clears up).
        """
        return self._claimer.create(wanted)

    def release(self, guest: str, *, claim: str = "", bury: bool = False) -> None:
        """Give back all that the guest holds: pins first, then the allocation. Only after its agent has confirmed that neither domain nor
        process remains, or after the host was fenced; then `bury` leaves a tombstone for the agent's return.

        With `claim`, that claim alone is released: whoever decided on it may have been overtaken by one who released it and claimed anew.
        A guest without a claim is no error, nor is one with another, nor that somebody else releases it at the same time. Its row stays
        (`store.guests.remove` or `displace` come after).
        Raises `Unavailable` half-way when Placement is away: the pins are free, the healer empties the allocation.
        """
        self._releaser.release(guest, claim=claim, bury=bury)

    def rebook(self, guest: str) -> None:
        """Book the guest's overhead with today's options instead of those it was claimed with; its pCPUs stay as they are.

        Raises `InvalidRequest` for a guest that holds no claim, `Conflict` where the overhead pool has no room for what it would book, and
        where somebody else is at the guest's allocation; `Unavailable`. The healer ends what was cut short.
        """
        self._releaser.rebook(guest)

    def replace(self, guest: str, then: Then) -> Move | None:
        """Another place on its host for a guest that does not run and whose claim no longer lies within the host's pools, by the protocol
        of `replace`; None, and nothing has changed, where the claim holds or the host is away. `then` is written with it, or not at all.

        Raises `Conflict`, with the reasons of a fit, where the host has no other place, when somebody else changes the guest or its claim
        at the same time, and what `then` raises; `Unavailable`.
        """
        return self._replacer.replace(guest, then)

    def sync_host(self, host: str) -> None:
        """Make the host's provider, inventories, our traits and its aggregates in Placement what the store says; after registration,
        after a report that changed the revision, after a change of aggregates. Raises `Unavailable`.
        """
        self._providers.sync(host)
        self._sets.forget()

    def sync_host_or_later(self, host: str) -> None:
        """The same for a change that is stored already and stands, whatever Placement says: what fails is logged and left to the healer.

        Until then Placement has less than the store or as much as before, and refuses what it has no room for: no claim rests on the gap.
        """
        try:
            self.sync_host(host)
        except (Unavailable, Conflict) as error:
            self._behind.set()
            _log.warning("host %s is stored, its resource provider follows later: %s", host, error)
        except InvalidRequest as error:
            # Nothing that another try soon would mend; each run of the healer tells of it.
            _log.warning("host %s is stored, its resource provider is not: %s", host, error)

    def remove_host(self, host: str) -> None:
        """Forget a host without claims, its provider first. Raises `Conflict` when it has claims or anybody's allocations."""
        self._providers.remove(host)
        self._index.drop((host,))

    def heal(self) -> Healed:
        """Put right what crashes left behind; run at the start and every minute. Any number of processes may do so at once."""
        return self._healer.run()
