"""Repair what crashes left behind. Every step can be repeated, and is safe beside claimers, releasers and other healers.

1. End leases that a jump of the clock left in the future. Turn intended claims past their deadline into `abandoned` ones, by the
   claimer's own compare-and-set: exactly one of the two wins.
2. Take abandoned and releasing claims out of their guests' allocations. Check an abandoned one again until no late PUT can arrive any more.
3. Empty consumers of our type on our providers that have no live claim: the result of a late PUT.
4. Restore the allocation of a guest with held claims if it is missing or wrong.
5. Correct providers whose inventories, traits or aggregates differ.
6. Go on with the re-pins of hosts. Let guests follow the pools that their host's agent reported last.
7. Give back the addresses and the bookings of interfaces that are gone.
8. Mark guests deleted that are wanted absent and hold nothing; release those on a fenced host first. Put guests in error whose adoption
   was interrupted.

Steps 2 and 3 read Placement before the claims, so that a claimer that comes in between changes the generation and the emptying is refused.
Consumers of another type are never touched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from pinfold.accounting.client import Placement
from pinfold.accounting.placement_responses import OverCapacity
from pinfold.core.adoption import Takeover
from pinfold.core.errors import Conflict, PinfoldError, Unavailable
from pinfold.core.identity import GuestId
from pinfold.faultpoints import fault_point
from pinfold.scheduler.scheduler import Scheduler
from pinfold.service.claims.booking import settle, together
from pinfold.service.claims.follow import Follower
from pinfold.service.claims.release import Releaser
from pinfold.service.claims.repin import Repinner
from pinfold.service.guests.interfaces import Interfaces
from pinfold.service.guests.lifecycle import Lifecycle
from pinfold.service.providers import Providers
from pinfold.store import claims, guests, hosts, tombstones
from pinfold.store.database import Database
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.records import ADOPTING, SCHEDULING, ClaimRecord, ClaimState, Desired, GuestRecord, HostRecord

_log = logging.getLogger(__name__)
_AT_ONCE = 100
"""How many claims are read or abandoned at once; one run still takes all of them."""
_SWEPT = 50
"""How many hosts one run compares with Placement; the next run continues with the next ones."""


DELETED_SECONDS: Final = 30 * 86400.0
"""How long the row of a deleted guest is kept."""
TOMBSTONE_SECONDS: Final = 30 * 86400.0
"""How long, at least, a host gets the tombstones of guests that are gone from it."""
TOMBSTONE_CHANGES: Final = 2000
"""A host also gets a tombstone until its ledger has changed this often since: more often than any host has guests."""


class HealSummary(Struct, frozen=True, kw_only=True):
    """What one run of the healer did. Every count is of claims, consumers or providers. `problems` are sentences that need a person."""

    abandoned: int = 0
    emptied: int = 0
    released: int = 0
    restored: int = 0
    synced: int = 0
    interrupted: tuple[GuestId, ...] = ()
    """Guests whose scheduling stopped because the process died: wanted, without a host, and without a claim."""
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Tally:
    abandoned: int = 0
    emptied: int = 0
    released: int = 0
    restored: int = 0
    synced: int = 0
    problems: list[str] = field(default_factory=list)


class Healer:
    """Heals a part of the fleet at a time. One process must not run it twice at once; several processes may."""

    def __init__(
        self,
        database: Database,
        placement: Placement,
        scheduler: Scheduler,
        *,
        providers: Providers,
        releaser: Releaser,
        follower: Follower,
        repinner: Repinner,
        lifecycle: Lifecycle,
        interfaces: Interfaces,
    ) -> None:
        self._database = database
        self._placement = placement
        self._fresh = scheduler.freshness
        self._settings = scheduler.settings
        self._providers = providers
        self._releaser = releaser
        self._follower = follower
        self._repinner = repinner
        self._lifecycle = lifecycle
        self._interfaces = interfaces
        self._next = 0
        self.compared = False
        """Whether this process has compared all hosts with Placement since its start."""

    def prepare(self) -> None:
        """Create Placement's names, so that a Placement that cannot be used is known at once.

        Raises `Unavailable`, and `InvalidRequest` for a Placement that refuses us.
        """
        self._providers.name_things()

    def hosts(self) -> int:
        """How many hosts there are to compare."""
        with self._database.read() as connection:
            return hosts.count(connection)

    def start(self) -> HealSummary:
        """Load the scheduler's index, create Placement's names (resource class, traits), and heal all hosts. Raises `Unavailable`.

        Servers can be created meanwhile. The ledger decides about hosts; a host whose provider is not there yet refuses.
        """
        self._providers.expect_all()
        self._fresh.now()
        self._providers.name_things()
        healed = self.heal(all_hosts=True)
        self._fresh.now()
        self.compared = True
        return healed

    def tend(self, *, place: bool = True) -> HealSummary:
        """Heal, place guests whose placing a dead process left unfinished, remove unwanted guests that nothing holds, and purge old rows.

        Call it at the start, then on a schedule; set `place` only after the agents have had time to send a heartbeat. While every host is
        down, as for a moment after the database's clock has jumped, it places nothing, because every host would refuse.
        """
        healed = self.heal()
        with self._database.read() as connection:
            known = hosts.marks(connection) if healed.interrupted else ()
        place = place and (not known or any(host.up for host in known))
        for guest_id in healed.interrupted if place else ():
            guest = self._lifecycle.get(guest_id)
            if guest.desired is not Desired.ABSENT and guest.host is None and guest.task == SCHEDULING:
                self._lifecycle.place(guest)
        with self._database.read() as connection:
            unwanted = guests.page(connection, GuestFilter(desired=Desired.ABSENT))
        for guest in unwanted:
            self._lifecycle.remove_if_unwanted(guest.id)
        with self._database.write() as connection:
            guests.purge(connection, DELETED_SECONDS)
            tombstones.forget_old(connection, older_than_seconds=TOMBSTONE_SECONDS, changes=TOMBSTONE_CHANGES)
        return healed

    def heal(self, *, all_hosts: bool = False) -> HealSummary:
        """Repair what crashes left behind, over `_SWEPT` hosts or all of them. Any number of processes may do so at once.

        Raises `Unavailable` when Placement or the database is away; what was done stays.
        """
        tally = _Tally()
        self._expire(tally)
        self._finish(tally)
        for host in self._hosts(all_hosts):
            self._guard(tally, f"host {host.name}", lambda host=host: self._heal_host(tally, host))  # type: ignore[misc]
        for guest in self._interfaces.unfinished():
            self._guard(tally, f"guest {guest}", lambda guest=guest: self._interfaces.finish(guest))  # type: ignore[misc]
        self._bury_the_unwanted(tally)
        with self._database.read() as connection:
            stopped = guests.interrupted(connection, self._settings.claim_seconds)
        return HealSummary(
            abandoned=tally.abandoned,
            emptied=tally.emptied,
            released=tally.released,
            restored=tally.restored,
            synced=tally.synced,
            interrupted=tuple(guest.id for guest in stopped),
            problems=tuple(tally.problems),
        )

    def _expire(self, tally: _Tally) -> None:
        with self._database.write() as connection:
            hosts.end_leases_to_come(connection)
        late: tuple[ClaimRecord, ...] | None = None
        while late is None or len(late) == _AT_ONCE:
            with self._database.write() as connection:
                late = claims.expired(connection, _AT_ONCE)
                for claim in late:
                    claims.abandon(connection, claim.id, expired=True)
            tally.abandoned += len(late)
            if late:
                fault_point("heal.abandoned")

    def _finish(self, tally: _Tally) -> None:
        for claim in self._unfinished():
            if claim.state is ClaimState.RELEASING:
                self._guard(tally, f"claim {claim.id}", lambda claim=claim: self._finish_release(tally, claim))  # type: ignore[misc]
            else:
                self._guard(tally, f"claim {claim.id}", lambda claim=claim: self._look_again(tally, claim))  # type: ignore[misc]

    def _unfinished(self) -> Iterator[ClaimRecord]:
        """Every releasing or abandoned claim once, read a few at a time: claims that were checked and stay come first again."""
        seen: set[str] = set()
        while True:
            with self._database.read() as connection:
                found = claims.unfinished(connection, limit=len(seen) + _AT_ONCE)
            new = [claim for claim in found if claim.id not in seen]
            if not new:
                return
            seen |= {claim.id for claim in new}
            yield from new

    def _finish_release(self, tally: _Tally, claim: ClaimRecord) -> None:
        self._releaser.finish(claim)
        tally.released += 1

    def _look_again(self, tally: _Tally, claim: ClaimRecord) -> None:
        if self._clear(claim.guest):
            tally.emptied += 1
            fault_point("heal.emptied")
        with self._database.write() as connection:
            if claims.age(connection, claim.id) > self._settings.late_seconds and claims.get(connection, claim.id) is not None:
                claims.forget(connection, claim.id)

    def _hosts(self, all_hosts: bool) -> Iterable[HostRecord]:
        with self._database.read() as connection:
            found = hosts.all(connection)
        if all_hosts or len(found) <= _SWEPT:
            return found
        start = self._next % len(found)
        self._next = start + _SWEPT
        return (found + found)[start : start + _SWEPT]

    def _heal_host(self, tally: _Tally, host: HostRecord) -> None:
        if self._providers.sync(host.id):
            tally.synced += 1
        booked = {GuestId(consumer): amounts for consumer, amounts in self._placement.provider_allocations(host.id)}
        with self._database.read() as connection:
            held = claims.of_host(connection, host.id, ClaimState.HELD)
            live = claims.of_guests(connection, {*booked, *(claim.guest for claim in held)})
        for consumer in booked.keys() - live.keys():
            if self._clear(consumer):
                tally.emptied += 1
        for guest in sorted({claim.guest for claim in held}):
            if booked.get(guest) != dict(together(live[guest])).get(host.id):
                self._restore(tally, host, guest)
        self._repinner.tend(host.id)
        self._follower.follow(host.id)  # last, because a guest without its allocation cannot follow

    def _restore(self, tally: _Tally, host: HostRecord, guest: GuestId) -> None:
        """Give a guest the allocation that its claims need. One that is claimed for at this moment is left to its claimer."""
        found = self._placement.allocation(guest)
        if found is not None and not found.ours:
            tally.problems.append(f"guest {guest}: Placement has a consumer of that id, of the type {found.consumer_type}")
            return
        with self._database.read() as connection:
            live = claims.all_live(connection, guest)
        wanted = together(live)
        if not wanted or any(claim.state is ClaimState.INTENDED for claim in live) or (found is not None and found.providers == wanted):
            return
        try:
            self._placement.allocate(guest, wanted, generation=None if found is None else found.generation)
        except OverCapacity as error:
            tally.problems.append(f"guest {guest} on {host.name} runs without its allocation: {error}")
            return
        tally.restored += 1

    def _bury_the_unwanted(self, tally: _Tally) -> None:
        with self._database.read() as connection:
            fenced = [host for host in hosts.all(connection) if host.fenced]
            unwanted = [guest for host in fenced for guest, _ in guests.orders(connection, host.id) if guest.desired is Desired.ABSENT]
            not_adopted = guests.interrupted(connection, self._settings.claim_seconds, task=ADOPTING)
        for one in unwanted:
            self._guard(tally, f"guest {one.id}", lambda one=one: self._bury(tally, one))  # type: ignore[misc]
        for lost in not_adopted:
            self._lifecycle.not_adopted(lost, "the service was interrupted; adopt it again")
        with self._database.read() as connection:
            left = guests.unclaimed(connection)
        for found in left:
            self._guard(tally, f"guest {found.id}", lambda found=found: self._remove(found.id))  # type: ignore[misc]

    def _bury(self, tally: _Tally, guest: GuestRecord) -> None:
        self._releaser.release(guest.id, bury=guest.takeover is not Takeover.RELEASE)
        tally.released += 1

    def _remove(self, guest: GuestId) -> None:
        with self._database.write() as connection:
            guests.remove(connection, guest)

    def _clear(self, guest: GuestId) -> bool:
        """Take what no claim needs out of the allocation, unless somebody is claiming for the guest: then there is nothing to heal."""
        try:
            return settle(self._database, self._placement, guest, even_intended=False)
        except Conflict:
            return False

    def _guard(self, tally: _Tally, subject: str, step: Callable[[], None]) -> None:
        """Log an error of one row or provider, so that the others are still healed. A peer that is away ends the run."""
        try:
            step()
        except Unavailable:
            raise
        except Conflict as error:
            _log.info("healing %s: somebody else is at it: %s", subject, error)
        except PinfoldError as error:
            _log.warning("healing %s: %s", subject, error)
            tally.problems.append(f"{subject}: {error}")
