"""Release what a guest holds: first the pins, then the allocation. The caller must know that nothing of the guest runs any more."""

from __future__ import annotations

import logging

from pinfold.accounting.client import Placement
from pinfold.accounting.placement_responses import OverCapacity
from pinfold.accounting.resources import Amounts, amounts
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.fit.model import NoFit
from pinfold.core.identity import ClaimId
from pinfold.core.overhead import rebooked
from pinfold.faultpoints import fault_point
from pinfold.scheduler.index import Index
from pinfold.scheduler.refresh import Freshness
from pinfold.service.claims.booking import reallocate, settle
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, ClaimState, Tombstone

_log = logging.getLogger(__name__)
_TRIES = 5


class Releaser:
    """Releases and rebooks claims. Safe to share between threads."""

    def __init__(self, database: Database, placement: Placement, index: Index, freshness: Freshness) -> None:
        self._database = database
        self._placement = placement
        self._index = index
        self._fresh = freshness

    def release(self, guest: str, *, claim: ClaimId | None = None, bury: bool) -> None:
        """See `Scheduler.release`."""
        with self._database.read() as connection:
            found = claims.all_live(connection, guest)
        for one in found:
            if claim is None or one.id == claim:
                self._release_one(one.id, bury=bury)

    def _release_one(self, claim: ClaimId, *, bury: bool) -> None:
        for left in reversed(range(_TRIES)):
            with self._database.read() as connection:
                found = claims.get(connection, claim)
            if found is None or found.state is ClaimState.ABANDONED:
                return
            fault_point("release.begin")
            try:
                self._release(found, bury=bury)
                return
            except Conflict as error:
                # An intended claim may be held by now, and its guest may run. A held one can only have been released by somebody faster.
                if found.state is ClaimState.INTENDED or not left:
                    raise
                _log.info("guest %s: somebody else releases claim %s: %s", found.guest, claim, error)

    def _release(self, found: ClaimRecord, *, bury: bool) -> None:
        if found.state is ClaimState.INTENDED:
            with self._database.write() as connection:
                claims.abandon(connection, found.id, expired=False)
            self._settle(found.guest)
            return
        if found.state is ClaimState.HELD:
            self._unpin(found, bury=bury)
            fault_point("release.unpinned")
        self.finish(found)

    def finish(self, claim: ClaimRecord) -> None:
        """The second half, for a releasing claim: take the claim out of the guest's allocation, then forget it. Can be repeated."""
        self._settle(claim.guest)
        fault_point("release.emptied")
        with self._database.write() as connection:
            if claims.get(connection, claim.id) is not None:
                claims.forget(connection, claim.id)

    def _settle(self, guest: str) -> None:
        for _ in range(_TRIES):
            try:
                settle(self._database, self._placement, guest)
                return
            except Conflict:
                continue
        raise Conflict(f"guest {guest}: its allocation in Placement keeps changing")

    def rebook(self, guest: str) -> None:
        """See `Scheduler.rebook`. First Placement takes the larger of both amounts, then the ledger changes, then Placement takes the new
        ones.
        """
        with self._database.read() as connection:
            found = claims.live(connection, guest)
            if found is None or found.state is not ClaimState.HELD:
                raise InvalidRequest(f"guest {guest} holds no claim")
            asked = guests.get(connection, guest).request
            (host,) = hosts.ledgers(connection, (found.host,))
        fit = rebooked(found.fit, asked, host.state)
        if isinstance(fit, NoFit):
            raise Conflict(f"guest {guest} cannot be booked anew on {host.record.name}: {fit.sentence()}")
        wanted = amounts(fit, host.state)
        if fit == found.fit and wanted == found.amounts:
            return
        try:
            reallocate(self._database, self._placement, found, larger(found.amounts, wanted))
            with self._database.write() as connection:
                made = hosts.bump(connection, found.host, ledger=True)
                claims.amend(connection, found, amounts=wanted, fit=fit, revision=made)
            self._fresh.host(found.host)
            # Also when no amount shrinks: a healer in between may have restored the amounts that the ledger had until now.
            reallocate(self._database, self._placement, found, wanted)
        except OverCapacity as error:
            raise Conflict(f"guest {guest} cannot be booked anew on {host.record.name}: {error}") from error

    def _unpin(self, claim: ClaimRecord, *, bury: bool) -> None:
        with self._database.write() as connection:
            revision = hosts.bump(connection, claim.host, ledger=True)
            claims.unpin(connection, claim.id)
            if bury:
                hosts.bury(connection, claim.host, Tombstone(guest=claim.guest, revision=claim.revision, claim=claim.id))
        self._index.released(claim.host, claim.guest, claim.id, revision)


def larger(one: Amounts, other: Amounts) -> Amounts:
    """The larger amount of each resource class, ordered by class."""
    found = dict(one)
    for name, amount in other:
        found[name] = max(amount, found.get(name, 0))
    return tuple(sorted(found.items()))
