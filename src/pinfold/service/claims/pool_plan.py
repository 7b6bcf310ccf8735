"""What other pools would mean for a host of the service: which running guests would move, and what would be free. Changes nothing.

The host's agent reports the new pools once it uses them, and `follow` then amends the claims by the same `core.pool_change`.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.fit.capacity import demands_of
from pinfold.core.fit.count import count_host
from pinfold.core.fit.demand import prepare
from pinfold.core.fit.slots import free_slots
from pinfold.core.host import Claim, HostState
from pinfold.core.identity import GuestId, HostId
from pinfold.core.ledger import amend
from pinfold.core.pool_change import follow
from pinfold.core.pools import PoolOrder, build_pools
from pinfold.core.repin.plan import SlotChange
from pinfold.core.request.model import Flavor
from pinfold.scheduler.decide import untrait
from pinfold.store import guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import Desired, HostRecord


class Following(Struct, frozen=True, kw_only=True):
    """A running guest whose pools change: its places before and after, equal if nothing moves; the pCPUs of its own that retire; and why it
    cannot follow, '' if it can.
    """

    guest: GuestId
    name: str
    before: Fit
    after: Fit
    retiring: CpuSet = CpuSet()
    why: str = ""


class PoolPlan(Struct, frozen=True, kw_only=True):
    """A host, decided on the revision in `host`: its state before and after, its running guests, the free slots of flavors, warnings."""

    host: HostRecord
    before: HostState
    after: HostState
    guests: tuple[Following, ...]
    slots: tuple[SlotChange, ...]
    warnings: tuple[str, ...]


def plan(database: Database, host: HostId, wanted: PoolOrder, flavors: Sequence[Flavor]) -> PoolPlan:
    """The plan. Raises `InvalidRequest` for pools that the host cannot have, `Conflict` while its agent has not reported it."""
    with database.read() as connection:
        ledger, orders = hosts.ledgers(connection, (host,))[0], guests.orders(connection, host)
    if not ledger.state.topology.cells:
        raise Conflict(f"host {ledger.record.name} is not known yet: its agent has not reported its pCPUs")
    pools, warnings = build_pools(wanted.config, ledger.state.topology)
    before = ledger.state
    after = replace(before, pools=pools)
    found = []
    for guest, claim in orders:
        if guest.desired is not Desired.RUNNING:
            continue
        told = follow(Claim(guest=claim.guest, fit=claim.fit, id=claim.id), guest.request, after)
        if isinstance(told, NoFit):
            found.append(Following(guest=guest.id, name=guest.name, before=claim.fit, after=claim.fit, why=told.sentence()))
            continue
        after = amend(after, claim.guest, told.fit, claim.id)
        found.append(Following(guest=guest.id, name=guest.name, before=claim.fit, after=told.fit, retiring=told.retiring))
    asked, _ = demands_of(flavors)
    demands = [(name, prepare(untrait(demand.request))) for name, demand in asked]
    first, last = count_host(before), count_host(after)
    return PoolPlan(
        host=ledger.record,
        before=before,
        after=after,
        guests=tuple(found),
        slots=tuple(
            SlotChange(flavor=name, vcpus=demand.request.vcpus, before=free_slots(demand, first), after=free_slots(demand, last))
            for name, demand in demands
        ),
        warnings=warnings,
    )
