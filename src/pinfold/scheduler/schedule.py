"""`Scheduler`: the one door to everything in this package. The decisions are made in `index`, `filter`, `rank` and `choose`."""

from __future__ import annotations

from pinfold.accounting.client import Placement
from pinfold.scheduler.model import DEFAULT_SETTINGS, Claimed, Healed, Preview, Refused, SchedulerSettings, Wanted
from pinfold.store.database import Database


class Scheduler:
    """Decides and claims. Safe to share between threads; any number of processes may have one on the same database and Placement."""

    def __init__(self, database: Database, placement: Placement, settings: SchedulerSettings = DEFAULT_SETTINGS) -> None:
        """Nothing is read yet; `start` does."""
        raise NotImplementedError

    def start(self) -> Healed:
        """Prepare Placement's names (resource class, traits), load the index, listen for changes, and heal once. Raises `Unavailable`."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop listening."""
        raise NotImplementedError

    def preview(self, wanted: Wanted) -> Preview:
        """Every host that would take the guest, best first, and the reasons of the others. The guest need not be stored."""
        raise NotImplementedError

    def create(self, wanted: Wanted) -> Claimed | Refused:
        """Find a host and claim it, by the protocol of section 7 of the design. The guest's row must exist (`store.guests.create`).

        On success the guest is on its host with the task `spawning`, and the host's agent has been told. A refusal leaves the guest's row
        as it is: storing the fault is the caller's. Raises `Conflict` when the guest has a live claim, is gone or is wanted absent by now,
        or when the healer was faster; `Unavailable` when Placement or the database went away (the healer then clears up).
        """
        raise NotImplementedError

    def release(self, guest: str, *, bury: bool = False) -> None:
        """Give back all that the guest holds: pins first, then the allocation. Only after its agent has confirmed that neither domain nor
        process remains, or after the host was fenced; then `bury` leaves a tombstone for the agent's return.

        A guest without a claim is no error. The guest's row stays (`store.guests.remove` or `displace` come after).
        Raises `Unavailable` half-way when Placement is away: the pins are free, the healer empties the allocation.
        """
        raise NotImplementedError

    def rebook(self, guest: str) -> None:
        """Book the guest's overhead with today's options instead of those it was claimed with. Raises `OverCapacity` and changes nothing
        where there is no room.
        """
        raise NotImplementedError

    def sync_host(self, host: str) -> None:
        """Make the host's provider, inventories, our traits and its aggregates in Placement what the store says; after registration,
        after a report that changed the revision, after a change of aggregates. Raises `Unavailable`.
        """
        raise NotImplementedError

    def remove_host(self, host: str) -> None:
        """Forget a host without claims, its provider first. Raises `Conflict` when it has claims or anybody's allocations."""
        raise NotImplementedError

    def heal(self) -> Healed:
        """Put right what crashes left behind; run at the start and every minute. Any number of processes may do so at once."""
        raise NotImplementedError
