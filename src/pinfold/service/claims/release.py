"""Release what a guest holds: first the pins, then the allocation. The caller must know that nothing of the guest runs any more."""

from __future__ import annotations

import logging

from pinfold.accounting.client import Placement
from pinfold.core.errors import Conflict
from pinfold.core.identity import ClaimId, GuestId
from pinfold.faultpoints import fault_point
from pinfold.scheduler.scheduler import Scheduler
from pinfold.service.claims.booking import settle
from pinfold.store import claims, hosts, tombstones
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, ClaimState, Tombstone

_log = logging.getLogger(__name__)
_TRIES = 5


class Releaser:
    """Releases claims. Safe to share between threads."""

    def __init__(self, database: Database, placement: Placement, scheduler: Scheduler) -> None:
        self._database = database
        self._placement = placement
        self._index = scheduler.index

    def release(self, guest: GuestId, *, claim: ClaimId | None = None, bury: bool = False) -> None:
        """Release everything that the guest holds: first the pins, then the allocation.

        Call it only after its agent confirmed that neither domain nor process remains, or after the host was fenced; with `bury`, it leaves
        a tombstone for the agent's return.

        With `claim`, it releases only that claim, because another process may have released it and claimed anew since the caller decided. A
        guest without a claim or with another one is no error, nor is a release by somebody else at the same time. The guest's row stays
        (call `store.guests.remove` or `displace` after it). Raises `Unavailable` half-way when Placement is away: the pins are free, and
        the healer empties the allocation.
        """
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

    def _settle(self, guest: GuestId) -> None:
        for _ in range(_TRIES):
            try:
                settle(self._database, self._placement, guest)
                return
            except Conflict:
                continue
        raise Conflict(f"guest {guest}: its allocation in Placement keeps changing")

    def _unpin(self, claim: ClaimRecord, *, bury: bool) -> None:
        with self._database.write() as connection:
            revision = hosts.bump(connection, claim.host, ledger=True)
            claims.unpin(connection, claim.id)
            if bury:
                tombstones.bury(connection, claim.host, Tombstone(guest=claim.guest, revision=claim.revision, claim=claim.id))
        self._index.released(claim.host, claim.guest, claim.id, revision)
