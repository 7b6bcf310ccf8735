"""Give a stopped guest another place on the host that holds it, when its claim no longer lies within the host's pools.

`guests.lifecycle` decides when a guest is at rest. The claim, its host's ledger and the host's revision are read at one instant, and the
guest is fitted as if what it holds were free. Then `amend` changes the claim. If a revision is stale, start again, at most `TRIES` times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from pinfold.accounting.placement_responses import OverCapacity
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, Severity, Subject, out_of_place
from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.fit.engine import fit
from pinfold.core.identity import GuestId
from pinfold.core.ledger import release
from pinfold.core.overhead import masks
from pinfold.scheduler.decide import untrait
from pinfold.service.claims.amend import TRIES, Amender, StaleError
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, ClaimState, HostLedger, Move

Then = Callable[[sa.Connection, Move], None]
"""What the caller writes in the transaction that moves the claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A claim, its host at that moment, and the fit that is to replace the claim's."""

    claim: ClaimRecord
    host: HostLedger
    fit: Fit
    because: tuple[Finding, ...]


class Replacer:
    """Moves claims within their hosts. Safe to share between threads."""

    def __init__(self, database: Database, amender: Amender) -> None:
        self._database = database
        self._amender = amender

    def replace(self, guest: GuestId, then: Then) -> Move | None:
        """Give a guest that does not run another place on its host, if its claim no longer lies within the host's pools.

        Returns None, and changes nothing, if the claim still holds or the host is away. `then` writes in the same transaction.

        Raises `Conflict`: with the reasons of a fit, if the host has no other place; when somebody else changes the guest or its claim at
        the same time; and what `then` raises. Raises `Unavailable`.
        """
        for _ in range(TRIES):
            plan = self._plan(guest)
            if plan is None:
                return None
            try:
                return self._carry_out(plan, then)
            except StaleError:
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
        return _Plan(claim=claim, host=host, fit=found, because=because)

    def _carry_out(self, plan: _Plan, then: Then) -> Move:
        claim, host = plan.claim, plan.host
        moves: list[Move] = []

        def move(connection: sa.Connection, revision: int) -> None:
            moves.append(
                Move(
                    host=host.record.name,
                    revision=revision,
                    before=_words(claim.fit),
                    after=_words(plan.fit),
                    because=tuple(_sentence(finding) for finding in plan.because),
                )
            )
            then(connection, moves[0])

        try:
            self._amender.amend(claim, host.state, plan.fit, move, moved=True)
        except OverCapacity as error:
            raise Conflict(_nowhere(host, plan.because, str(error))) from error
        return moves[0]


def _nowhere(host: HostLedger, because: tuple[Finding, ...], lacking: str) -> str:
    why = "; ".join(_sentence(finding) for finding in because)
    return f"its place on host {host.record.name} is lost ({why}), and the host has no other: {lacking}"


def _sentence(finding: Finding) -> str:
    return finding.sentence().removeprefix(f"guest {finding.guest}: ")


def _words(placed: Fit) -> str:
    wanted = masks(placed)
    return f"vCPUs on {CpuSet.union(wanted.vcpus)}, emulator threads on {wanted.overhead}"
