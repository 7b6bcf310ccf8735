"""Give a stopped guest another place on the host that holds it, when its claim no longer lies within the host's pools.

`lifecycle` decides when a guest is at rest.

1. Read the claim, its host's ledger and the host's revision at one instant, and fit the guest as if what it holds were free.
2. Placement takes the larger of both amounts if they differ.
3. In one transaction, move the host's revision from the one of the decision to the next, and change the claim's fit, amounts and
   revision, the owners of the pCPUs, and the caller's rows. Each statement must hit exactly its row, or all of it is rolled back.
4. Placement takes the new amounts.

If a revision is stale, start again, at most `TRIES` times. If the process dies before 3, the healer restores what 2 changed. If it dies
after 3, the new claim stays and the healer does 4. At every instant Placement >= ledger, as for a claim.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from pinfold.accounting.client import Placement
from pinfold.accounting.placement_responses import OverCapacity
from pinfold.accounting.resources import Amounts, amounts
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, Severity, Subject, out_of_place
from pinfold.core.errors import Conflict, PinfoldError
from pinfold.core.fit.engine import fit
from pinfold.core.fit.model import Fit, NoFit
from pinfold.core.identity import GuestId
from pinfold.core.ledger import release
from pinfold.core.overhead import masks
from pinfold.faultpoints import fault_point
from pinfold.scheduler.decide import untrait
from pinfold.scheduler.refresh import Freshness
from pinfold.service.claims.booking import reallocate
from pinfold.service.claims.release import larger
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, ClaimState, HostLedger, Move

TRIES: Final = 5
_log = logging.getLogger(__name__)

Then = Callable[[sa.Connection, Move], None]
"""What the caller writes in the transaction that moves the claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A claim, its host at that moment, and the fit that is to replace the claim's."""

    claim: ClaimRecord
    host: HostLedger
    fit: Fit
    amounts: Amounts
    because: tuple[Finding, ...]


class _StaleError(Exception):
    """The host's revision is no longer the one of the decision."""


class Replacer:
    """Moves claims within their hosts. Safe to share between threads."""

    def __init__(self, database: Database, placement: Placement, freshness: Freshness) -> None:
        self._database = database
        self._placement = placement
        self._fresh = freshness

    def replace(self, guest: GuestId, then: Then) -> Move | None:
        """See `Scheduler.replace`."""
        for _ in range(TRIES):
            plan = self._plan(guest)
            if plan is None:
                return None
            try:
                return self._carry_out(plan, then)
            except _StaleError:
                continue
        raise Conflict(f"guest {guest}: its host changed {TRIES} times while another place was looked for; try again")

    def _plan(self, guest: GuestId) -> _Plan | None:
        with self._database.read() as connection:
            claim = claims.live(connection, guest)
            if claim is None or claim.state is not ClaimState.HELD:
                return None
            request = guests.get(connection, guest).request
            (host,) = hosts.ledgers(connection, (claim.host,))
        if not host.record.up:
            return None  # its pools of today are not known
        because = out_of_place(Subject(name=guest, id=guest), claim.fit, host.state.pools, host.state.topology.online)
        if not because:
            return None
        found = fit(untrait(request), release(host.state, guest, claim.id), host.record.report.strategy)
        if isinstance(found, NoFit):
            if any(finding.severity is Severity.DRIFT for finding in because):
                raise Conflict(_nowhere(host, because, found.sentence()))
            return None  # it lies within the pools, even if on a part of one: it starts where it was
        return _Plan(claim=claim, host=host, fit=found, amounts=amounts(found, host.state), because=because)

    def _carry_out(self, plan: _Plan, then: Then) -> Move:
        both = larger(plan.claim.amounts, plan.amounts)
        grows = both != plan.claim.amounts
        if grows:
            try:
                reallocate(self._database, self._placement, plan.claim, both)
            except OverCapacity as error:
                raise Conflict(_nowhere(plan.host, plan.because, str(error))) from error
        fault_point("replace.allocated")
        try:
            move = self._move(plan, then)
        except (PinfoldError, _StaleError):
            if grows:
                self._settle(plan.claim, plan.claim.amounts)
            raise
        fault_point("replace.held")
        self._fresh.host(plan.claim.host)
        if plan.amounts != plan.claim.amounts:
            self._settle(plan.claim, plan.amounts)
        return move

    def _move(self, plan: _Plan, then: Then) -> Move:
        claim, host = plan.claim, plan.host
        with self._database.write() as connection:
            try:
                made = hosts.advance(connection, claim.host, host.record.revision, also_disabled=True)
            except Conflict as error:
                raise _StaleError from error
            claims.amend(connection, claim, fit=plan.fit, amounts=plan.amounts, revision=made, moved=True)
            move = Move(
                host=host.record.name,
                revision=made,
                before=_words(claim.fit),
                after=_words(plan.fit),
                because=tuple(_sentence(finding) for finding in plan.because),
            )
            then(connection, move)
            fault_point("replace.pinned")
        return move

    def _settle(self, claim: ClaimRecord, wanted: Amounts) -> None:
        """Set Placement to what the ledger says. On failure the healer does it, because it compares both."""
        try:
            reallocate(self._database, self._placement, claim, wanted)
        except PinfoldError as error:
            _log.warning("guest %s: its allocation is left to the healer: %s", claim.guest, error)


def _nowhere(host: HostLedger, because: tuple[Finding, ...], lacking: str) -> str:
    why = "; ".join(_sentence(finding) for finding in because)
    return f"its place on host {host.record.name} is lost ({why}), and the host has no other: {lacking}"


def _sentence(finding: Finding) -> str:
    return finding.sentence().removeprefix(f"guest {finding.guest}: ")


def _words(placed: Fit) -> str:
    mask = 0
    wanted = masks(placed)
    for cpus in wanted.vcpus:
        mask |= cpus.mask
    return f"vCPUs on {CpuSet.from_mask(mask)}, emulator threads on {wanted.overhead}"
