"""Adopt a domain that runs on a host of the service: make a server and a claim of the place that it has. `host.adopt` takes it over there.

0. In one transaction, store the guest with the task `adopting`, and its claim, `intended`.
1. Placement no longer reserves the domain's pCPUs for a stranger (`Providers`), and gets the allocation.
2. In one transaction, as for every claim: the host's revision, the claim `held`, the pCPUs to their owner, the guest on its host.
3. The agent gets an order to take over the domain. It reports the guest, or why it was not adopted; then the claim is released, and the
   domain goes on without the service.

Until 2, the ledger counts the domain as foreign, so that no guest gets its pCPUs; after 2, until the agent has taken it over, as both.
If the process dies before 2, the healer abandons the claim and puts the guest in error. It then can be adopted again.
"""

from __future__ import annotations

import logging
import uuid
from typing import Final

from pinfold.accounting.client import Placement
from pinfold.accounting.placement_responses import OverCapacity
from pinfold.accounting.resources import amounts, union
from pinfold.core.adoption import WantedAdoption, without_stranger
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.core.fit.check import violations
from pinfold.core.fit.invariants import broken
from pinfold.core.host import HostState
from pinfold.core.identity import ClaimId, HostId
from pinfold.faultpoints import fault_point
from pinfold.scheduler.scheduler import Scheduler
from pinfold.service.claims.amend import TRIES, StaleError
from pinfold.service.claims.booking import settle
from pinfold.service.providers import Providers
from pinfold.store import claims, guests, hosts
from pinfold.store.claim_rows import IntendedClaim
from pinfold.store.database import Database
from pinfold.store.records import ADOPTED, ClaimState, Desired, HostRecord, NewGuest, Pause, Requester

ADOPTS: Final = 3
"""The first protocol whose agents can take over a domain."""
_log = logging.getLogger(__name__)


class Adopter:
    """Adopts domains. Safe to share between threads; any number of processes may use one on the same database."""

    def __init__(self, database: Database, placement: Placement, scheduler: Scheduler, providers: Providers) -> None:
        self._database = database
        self._placement = placement
        self._fresh = scheduler.freshness
        self._seconds = scheduler.settings.claim_seconds
        self._providers = providers

    def adopt(self, host: HostId, wanted: WantedAdoption, by: Requester) -> None:
        """Make a server of the domain, with a claim of its place, and order its agent to take it over.

        Raises `Conflict` if the host is down or its agent too old, if the place breaks a rule there, if the domain is a server already, or
        if Placement has no room; then nothing is left. `InvalidRequest`, `Unavailable`; the healer then clears up.
        """
        if wrong := broken(wanted.fit):
            raise InvalidRequest(f"the place of guest {wanted.name} {wrong}", key="fit")
        state = self._checked(host, wanted)
        claim = self._intend(host, wanted, state, by)
        try:
            self._providers.sync(host)
            self._allocate(host, wanted, state)
            self._hold(host, wanted, state, claim)
        except Unavailable as error:
            _log.warning("the adoption of guest %s is left to the healer: %s", wanted.guest, error)
            raise
        except PinfoldError:
            self._give_up(host, wanted, claim)
            raise
        self._fresh.host(host)
        self._providers.sync_or_later(host)

    def _checked(self, host: HostId, wanted: WantedAdoption) -> HostState:
        """The host without the domain, if the domain's place keeps all rules there. Raises `Conflict`."""
        with self._database.read() as connection:
            found = hosts.ledgers(connection, (host,))
            known = guests.find(connection, wanted.guest)
        if not found:
            raise InvalidRequest(f"host {host}: no such host")
        _refuse(found[0].record)
        if known is not None and known.deleted is None and known.host is not None:
            raise Conflict(f"guest {wanted.guest} is server {known.name} already")
        state = without_stranger(found[0].state, wanted.name)
        if wrong := violations(wanted.request, state, wanted.fit):
            raise Conflict(f"guest {wanted.name} cannot be adopted on host {found[0].record.name}: {'; '.join(wrong)}")
        return state

    def _intend(self, host: HostId, wanted: WantedAdoption, state: HostState, by: Requester) -> ClaimId:
        claim = ClaimId(str(uuid.uuid4()))
        desired = Desired.RUNNING if wanted.active else Desired.STOPPED
        pause = Pause.IN_MEMORY if wanted.active and wanted.paused else Pause.NONE
        new = NewGuest(
            id=wanted.guest,
            name=wanted.name,
            flavor=wanted.as_flavor(),
            request=wanted.request,
            project=by.project,
            owner=by.account,
            details=((ADOPTED, wanted.name),),
            only_on=host,
            by=by,
        )
        with self._database.write() as connection:
            guests.create_adopted(connection, new, desired, pause)
            intended = IntendedClaim(id=claim, guest=wanted.guest, host=host, amounts=amounts(wanted.fit, state), fit=wanted.fit)
            claims.intend(connection, intended, seconds=self._seconds)
        fault_point("claim.intended")
        return claim

    def _allocate(self, host: HostId, wanted: WantedAdoption, state: HostState) -> None:
        found = self._placement.allocation(wanted.guest)
        if found is not None and not found.ours:
            raise Conflict(f"guest {wanted.name} cannot be adopted: Placement has a consumer of its id, of the type {found.consumer_type}")
        shares = union([(host, amounts(wanted.fit, state))])
        try:
            self._placement.allocate(wanted.guest, shares, generation=None if found is None else found.generation)
        except OverCapacity as error:
            raise Conflict(f"guest {wanted.name} cannot be adopted: {error}") from error
        fault_point("claim.allocated")

    def _hold(self, host: HostId, wanted: WantedAdoption, state: HostState, claim: ClaimId) -> None:
        """Decide once more if the host has changed meanwhile: the claim's place stays, so only the rules are checked again."""
        for _ in range(TRIES):
            try:
                with self._database.write() as connection:
                    try:
                        made = hosts.advance(connection, host, state.revision, also_disabled=True)
                    except Conflict as error:
                        raise StaleError from error
                    claims.hold(connection, claim, guest=wanted.guest, host=host, fit=wanted.fit, revision=made)
                    guests.place_adopted(connection, wanted.guest, host)
                    fault_point("claim.pinned")
            except StaleError:
                state = self._checked(host, wanted)
            else:
                fault_point("claim.held")
                return
        raise Conflict(f"host {host} changed {TRIES} times while guest {wanted.name} was to be adopted; try again")

    def _give_up(self, host: HostId, wanted: WantedAdoption, claim: ClaimId) -> None:
        """Remove everything that was written. What cannot be removed now is left to the healer."""
        try:
            with self._database.write() as connection:
                found = claims.get(connection, claim)
                if found is None or found.state is not ClaimState.INTENDED:
                    return
                claims.abandon(connection, claim, expired=False)
            settle(self._database, self._placement, wanted.guest)
            with self._database.write() as connection:
                claims.forget(connection, claim)
                guests.forget_adopted(connection, wanted.guest)
        except PinfoldError as error:
            _log.warning("the adoption of guest %s is left to the healer: %s", wanted.guest, error)
        self._providers.sync_or_later(host)


def _refuse(host: HostRecord) -> None:
    if not host.up or host.fenced:
        raise Conflict(f"host {host.name} is down: no agent could take over its guests")
    if host.report.protocol < ADOPTS:
        raise Conflict(f"the agent of host {host.name} is of an earlier pinfold, which cannot adopt guests; upgrade it")
    if host.repin is not None and host.repin.under_way:
        raise Conflict(f"guests of host {host.name} are being re-pinned; wait until they have arrived")
