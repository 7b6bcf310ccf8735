"""What holds of Placement and the ledger: equality at rest, and at least as much in Placement at every instant."""

from __future__ import annotations

from pinfold.accounting.client import Placement
from pinfold.accounting.resources import union
from pinfold.core import ledger
from pinfold.store import claims, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, ClaimState


def at_rest(database: Database, placement: Placement) -> None:
    """Placement = ledger, the owners of pCPUs are the ledger's roles, and nothing is half-way."""
    with database.read() as connection:
        for found in hosts.ledgers(connection):
            host = found.record.id
            assert claims.of_host(connection, host, ClaimState.INTENDED, ClaimState.RELEASING) == ()
            held = claims.of_host(connection, host, ClaimState.HELD)
            consumed = {guest: union((host, one.amounts) for one in held if one.guest == guest) for guest in {one.guest for one in held}}
            assert dict(placement.provider_allocations(host)) == {guest: dict(shares)[host] for guest, shares in consumed.items()}
            owners = claims.owners(connection, host)
            assert owners == {pcpu: (claim.guest, role) for claim in held for pcpu, role, _ in ledger.holds(claim.fit)}
            told = {pcpu: one for pcpu, one in ledger.roles(found.state).items() if one.guest and one.role is not ledger.Role.FOREIGN}
            assert owners == {pcpu: (one.guest, one.role) for pcpu, one in told.items()}
            assert not ledger.conflicts(found.state)


def placement_covers_the_ledger(database: Database, placement: Placement) -> int:
    """One sample, while others work: whatever was held before and after Placement was read had its allocation. How many that were."""
    before = _held(database)
    booked = {host: dict(placement.provider_allocations(host)) for host in {claim.host for claim in before.values()}}
    after = _held(database)
    seen = [claim for key, claim in before.items() if after.get(key) == claim]
    for claim in seen:
        known = dict(booked[claim.host].get(claim.guest, ()))
        assert all(known.get(name, 0) >= amount for name, amount in claim.amounts), claim
    return len(seen)


def _held(database: Database) -> dict[str, ClaimRecord]:
    with database.read() as connection:
        return {claim.id: claim for claim in claims.held(connection)}
