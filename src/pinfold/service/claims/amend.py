"""Give a held claim another fit on the host that holds it. `replace` and `follow` decide which.

1. Placement takes the larger of both amounts if they differ.
2. In one transaction, move the host's revision from the one of the decision to the next, and change the claim's fit, amounts and
   revision, the owners of the pCPUs, and the caller's rows. Each statement must hit exactly its row, or all of it is rolled back.
3. Placement takes the new amounts.

If the process dies before 2, the healer restores what 1 changed. If it dies after 2, the new claim stays and the healer does 3. At every
instant Placement >= ledger, as for a claim.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import sqlalchemy as sa

from pinfold.accounting.client import Placement
from pinfold.accounting.resources import amounts
from pinfold.core.errors import Conflict, PinfoldError
from pinfold.core.fit.model import Fit
from pinfold.core.host import HostState
from pinfold.core.identity import GuestId
from pinfold.core.ledger import amend
from pinfold.faultpoints import fault_point
from pinfold.scheduler.scheduler import Scheduler
from pinfold.service.claims.booking import larger, reallocate, settle
from pinfold.store import claims, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord

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

    def amend(self, claim: ClaimRecord, host: HostState, fit: Fit, then: Callable[[sa.Connection, int], None], *, moved: bool) -> HostState:
        """Give the claim that fit, decided on `host`, and return the host with it. `then` writes in the same transaction; it gets the new
        revision.

        `moved` is that of `store.claims.amend`. Raises `StaleError` if the host or the claim has changed since, `OverCapacity` if Placement
        has no room, `Conflict`, `Unavailable`, and what `then` raises.
        """
        wanted = amounts(fit, host)
        both = larger(claim.amounts, wanted)
        grows = both != claim.amounts
        if grows:
            reallocate(self._database, self._placement, claim, both)
        fault_point("replace.allocated")
        try:
            with self._database.write() as connection:
                try:
                    made = hosts.advance(connection, claim.host, host.revision, also_disabled=True)
                except Conflict as error:
                    raise StaleError from error
                claims.amend(connection, claim, fit=fit, amounts=wanted, revision=made, moved=moved)
                then(connection, made)
                fault_point("replace.pinned")
        except (PinfoldError, StaleError):
            if grows:
                self._settle(claim.guest)
            raise
        fault_point("replace.held")
        self._fresh.host(claim.host)
        if wanted != claim.amounts:
            self._settle(claim.guest)
        return amend(host, claim.guest, fit, claim.id)

    def _settle(self, guest: GuestId) -> None:
        """Set Placement to what the ledger says now: another process may have amended the claim since this one read it.

        On failure the healer does it, because it compares both.
        """
        try:
            settle(self._database, self._placement, guest)
        except PinfoldError as error:
            _log.warning("guest %s: its allocation is left to the healer: %s", guest, error)
