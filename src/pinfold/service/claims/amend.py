"""Give held claims other fits on the host that holds them. `replace`, `follow` and `repin` decide which.

1. Placement takes the larger of both amounts of each guest if they differ.
2. In one transaction, move the host's revision from the one of the decision to the next, and change the fits, amounts and revisions of
   the claims, the owners of the pCPUs, and the caller's rows. Each statement must hit exactly its row, or all of it is rolled back.
3. Placement takes the new amounts.

If the process dies before 2, the healer restores what 1 changed. If it dies after 2, the new claim stays and the healer does 3. At every
instant Placement >= ledger, as for a claim.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from pinfold.accounting.client import Placement
from pinfold.accounting.placement_responses import ConcurrentUpdate
from pinfold.accounting.resources import Amounts, amounts
from pinfold.core.errors import Conflict, PinfoldError
from pinfold.core.fit.answer import Fit
from pinfold.core.host import HostState
from pinfold.core.identity import GuestId
from pinfold.core.ledger import amend
from pinfold.faultpoints import fault_point
from pinfold.scheduler.scheduler import Scheduler
from pinfold.service.claims.booking import larger, reallocate, settle
from pinfold.store import claims, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord

Then = Callable[[sa.Connection, int], None]
"""What the caller writes in the transaction that amends; it gets the new revision."""
TRIES = 5
"""How often a decision is made anew after its host's revision went stale."""
_log = logging.getLogger(__name__)


class StaleError(Exception):
    """The host's revision is no longer the one of the decision."""


class Amender:
    """Amends claims. Safe to share between threads."""

    def __init__(self, database: Database, placement: Placement, scheduler: Scheduler) -> None:
        self._database = database
        self._placement = placement
        self._fresh = scheduler.freshness

    def amend(self, claim: ClaimRecord, host: HostState, fit: Fit, then: Then, *, moved: bool) -> HostState:
        """Give one claim that fit, decided on `host`, and return the host with it. See `amend_all`."""
        self.amend_all(host, ((claim, fit),), then, moved=moved)
        return amend(host, claim.guest, fit, claim.id)

    def amend_all(self, host: HostState, changes: Sequence[tuple[ClaimRecord, Fit]], then: Then, *, moved: bool) -> None:
        """Give claims of one host these fits, decided on `host`: all of them, or none. `then` writes in the same transaction.

        `moved` is that of `store.claims.amend`. Raises `StaleError` if the host, a claim or what its guest consumes has changed since,
        `OverCapacity` if Placement has no room, `Conflict`, `Unavailable`, and what `then` raises.
        """
        wanted = [amounts(fit, host) for _, fit in changes]
        changed = [claim for (claim, _), new in zip(changes, wanted, strict=True) if new != claim.amounts]
        grown: list[ClaimRecord] = []
        try:
            for (claim, _), new in zip(changes, wanted, strict=True):
                both = larger(claim.amounts, new)
                if both != claim.amounts:
                    self._grow(claim, both)
                    grown.append(claim)
            fault_point("replace.allocated")
            self._write(host, [(claim, fit, new) for (claim, fit), new in zip(changes, wanted, strict=True)], then, moved=moved)
        except (PinfoldError, StaleError):
            for claim in grown:
                self._settle(claim.guest)
            raise
        fault_point("replace.held")
        self._fresh.host(changes[0][0].host)
        for claim in changed:
            self._settle(claim.guest)

    def _grow(self, claim: ClaimRecord, wanted: Amounts) -> None:
        try:
            reallocate(self._database, self._placement, claim, wanted)
        except ConcurrentUpdate as error:
            raise StaleError from error

    def _write(self, host: HostState, changes: Sequence[tuple[ClaimRecord, Fit, Amounts]], then: Then, *, moved: bool) -> None:
        with self._database.write() as connection:
            try:
                made = hosts.advance(connection, changes[0][0].host, host.revision, also_disabled=True)
            except Conflict as error:
                raise StaleError from error
            if len(changes) > 1:
                claims.disown(connection, [claim.id for claim, _, _ in changes])
            for claim, fit, wanted in changes:
                claims.amend(connection, claim, fit=fit, amounts=wanted, revision=made, moved=moved)
            then(connection, made)
            fault_point("replace.pinned")

    def _settle(self, guest: GuestId) -> None:
        """Set Placement to what the ledger says now: another process may have amended the claim since this one read it.

        On failure the healer does it, because it compares both.
        """
        try:
            settle(self._database, self._placement, guest)
        except PinfoldError as error:
            _log.warning("guest %s: its allocation is left to the healer: %s", guest, error)
