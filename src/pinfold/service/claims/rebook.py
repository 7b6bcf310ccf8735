"""Book the overhead of a guest anew, by the options of today. Its pCPUs stay as they are."""

from __future__ import annotations

from pinfold.accounting.client import Placement
from pinfold.accounting.placement_responses import OverCapacity
from pinfold.accounting.resources import amounts
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.fit.answer import NoFit
from pinfold.core.identity import GuestId
from pinfold.core.overhead import rebooked
from pinfold.scheduler.scheduler import Scheduler
from pinfold.service.claims.booking import larger, reallocate
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimState


class Rebooker:
    """Books claims anew. Safe to share between threads."""

    def __init__(self, database: Database, placement: Placement, scheduler: Scheduler) -> None:
        self._database = database
        self._placement = placement
        self._fresh = scheduler.freshness

    def rebook(self, guest: GuestId) -> None:
        """Book the guest's overhead with today's options instead of those at its claim.

        First Placement takes the larger of both amounts, then the ledger changes, then Placement takes the new ones.

        Raises `InvalidRequest` for a guest without a claim; `Conflict` when the overhead pool has no room for the new booking, or when
        somebody else changes the guest's allocation; `Unavailable`. The healer completes an interrupted change.
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
