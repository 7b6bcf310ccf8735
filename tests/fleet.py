"""What the tests of store, accounting and scheduler share: a database of each kind, a real Placement, hosts and guests."""

from __future__ import annotations

import uuid

from pinfold.accounting.client import Placement
from pinfold.accounting.resources import union
from pinfold.core import ledger
from pinfold.core.cpuset import CpuSet
from pinfold.core.host import Limits
from pinfold.core.pools import Pools
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, Flavor, GuestCell, GuestRequest, ThreadPolicy
from pinfold.core.topology import HostCell, PagePool, Topology
from pinfold.scheduler.model import HostSearch
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, ClaimState, HostReport, NewGuest


def topology(*, cells: int = 2, cores: int = 4, threads: int = 2, memory_mib: int = 8192) -> Topology:
    """Cells of cores of threads, numbered one after another, every core's threads side by side; small pages only."""
    made, pcpu = [], 0
    for cell in range(cells):
        sets = []
        for _ in range(cores):
            sets.append(CpuSet(range(pcpu, pcpu + threads)))
            pcpu += threads
        pages = (PagePool(size_kib=4, total=memory_mib * 256),)
        made.append(HostCell(id=cell, cores=tuple(sets), sockets=(cell,) * cores, memory_mib=memory_mib, pages=pages))
    return Topology(cells=tuple(made))


def report(
    *, cells: int = 2, cores: int = 4, threads: int = 2, shared: str = "0-1", limits: Limits | None = None, overhead: bool = True
) -> HostReport:
    """A host whose pCPUs are all dedicated but the shared ones, which are the overhead pool too."""
    made = topology(cells=cells, cores=cores, threads=threads)
    pool = CpuSet.parse(shared)
    pools = Pools(shared=pool, dedicated=made.online - pool, overhead=pool if overhead else None)
    return HostReport(topology=made, pools=pools, limits=limits or Limits(reserved_memory_mib=0), disk_gib=100)


def pinned(
    vcpus: int,
    *,
    memory_mib: int = 64,
    emulator: EmulatorPolicy = EmulatorPolicy.UNSET,
    threads: ThreadPolicy = ThreadPolicy.PREFER,
    traits: frozenset[str] = frozenset(),
    forbidden: frozenset[str] = frozenset(),
) -> GuestRequest:
    """A guest of one cell, every vCPU pinned."""
    all_of_them = CpuSet(range(vcpus))
    return GuestRequest(
        vcpus=vcpus,
        memory_mib=memory_mib,
        disk_gib=1,
        cpu_policy=CpuPolicy.DEDICATED,
        thread_policy=threads,
        emulator_policy=emulator,
        cells=(GuestCell(id=0, vcpus=all_of_them, dedicated=all_of_them, memory_mib=memory_mib),),
        traits_required=traits,
        traits_forbidden=forbidden,
    )


def floating(vcpus: int, *, memory_mib: int = 64) -> GuestRequest:
    """A guest without cells."""
    return GuestRequest(vcpus=vcpus, memory_mib=memory_mib)


def add_host(database: Database, name: str, reported: HostReport | None = None, *, lease_seconds: float = 3600) -> str:
    """Register a host; its id."""
    host = str(uuid.uuid4())
    with database.write() as connection:
        hosts.register(connection, host_id=host, name=name, report=reported or report(), token_hash="", lease_seconds=lease_seconds)
    return host


def add_guest(database: Database, request: GuestRequest, name: str = "vm") -> str:
    """Store a guest that wants a host; its id."""
    guest = str(uuid.uuid4())
    flavor = Flavor(vcpus=request.vcpus, memory_mib=request.memory_mib, disk_gib=request.disk_gib, name="f")
    with database.write() as connection:
        guests.create(connection, NewGuest(id=guest, name=name, flavor=flavor, request=request))
    return guest


def wanted(guest: str, request: GuestRequest, **more: object) -> HostSearch:
    """What the scheduler is asked."""
    return HostSearch(guest=guest, request=request, **more)  # type: ignore[arg-type]


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
            assert owners == {pcpu: (claim.guest, role) for claim in held for pcpu, role in claims.roles(claim.fit)}
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
