"""What a guest's claims consume together, and its allocation in Placement made equal to that.

A guest may have several claims: one by which it runs, and others of a host that it comes to or leaves. Placement knows it as one consumer.
"""

from __future__ import annotations

import sqlalchemy as sa

from pinfold.accounting.client import Placement
from pinfold.accounting.placement_responses import OverCapacity
from pinfold.accounting.resources import Amounts, Shares, union
from pinfold.core.errors import Conflict
from pinfold.core.identity import GuestId
from pinfold.store import claims
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, ClaimState

_CONSUMES = (ClaimState.INTENDED, ClaimState.HELD)


def booked_by(connection: sa.Connection, guest: GuestId) -> Shares:
    """What the guest's intended and held claims consume together."""
    return together(claims.all_live(connection, guest))


def together(found: tuple[ClaimRecord, ...]) -> Shares:
    """What those claims consume together, except those that are being released."""
    return union((claim.host, claim.amounts) for claim in found if claim.state in _CONSUMES)


def settle(database: Database, placement: Placement, guest: GuestId, *, even_intended: bool = True) -> bool:
    """Set a guest's allocation to what its claims consume; empty it if there are none. Returns whether it changed.

    It reads the allocation before the claims: whoever claims for the guest after that changes the consumer's generation, and the change
    is refused. Raises `Conflict` then, when a provider has no room for a claim that is not in Placement yet, and unless `even_intended`,
    when somebody is claiming for the guest; `Unavailable`.
    """
    found = placement.allocation(guest)
    if found is None or not found.ours:
        return False
    with database.read() as connection:
        live = claims.all_live(connection, guest)
    if not even_intended and any(claim.state is ClaimState.INTENDED for claim in live):
        raise Conflict(f"somebody is claiming for guest {guest}")
    wanted = together(live)
    if found.providers == wanted:
        return False
    if not wanted:
        placement.empty(found)
        return True
    try:
        placement.allocate(guest, wanted, generation=found.generation)
    except OverCapacity as error:
        raise Conflict(f"guest {guest}: Placement has no room for its other claims: {error}") from error
    return True


def reallocate(database: Database, placement: Placement, claim: ClaimRecord, wanted: Amounts) -> None:
    """Set what the claim has in the guest's allocation to those amounts. Raises `OverCapacity`, and `Conflict` for a guest without an
    allocation, which may be leaving.
    """
    booked = placement.allocation(claim.guest)
    if booked is None or not booked.ours:
        raise Conflict(f"guest {claim.guest} has no allocation of ours; it is leaving, or has to be healed first")
    with database.read() as connection:
        others = tuple(other for other in claims.all_live(connection, claim.guest) if other.id != claim.id)
    shares = union([(claim.host, wanted), *((host, amounts) for host, amounts in together(others))])
    if booked.providers != shares:
        placement.allocate(claim.guest, shares, generation=booked.generation)


def larger(one: Amounts, other: Amounts) -> Amounts:
    """The larger amount of each resource class, ordered by class."""
    found = dict(one)
    for name, amount in other:
        found[name] = max(amount, found.get(name, 0))
    return tuple(sorted(found.items()))
