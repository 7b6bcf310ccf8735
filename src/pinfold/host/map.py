"""`HostMap`: sockets, cells, cores and pCPUs of one host, each pCPU with its pool, role and owner. `cli.views` draws it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import two_owners
from pinfold.core.fit.count import count_host
from pinfold.core.fit.model import EmulatorPlacement
from pinfold.core.ledger import Role
from pinfold.core.overhead import ThreadClass, capacity_millicpu
from pinfold.core.pools import Pools
from pinfold.drivers.port import HostGuest
from pinfold.host.claims import owners as owners_of
from pinfold.host.claims import places_of
from pinfold.host.places import Places, places
from pinfold.host.survey import Survey, own_pins


class Pool(Enum):
    """The pool of a pCPU. One in both the shared and the overhead pool is SHARED, and its `overhead` is set.

    EITHER is Nova's `vcpu_pin_set`: one pool for pinned and floating vCPUs.
    """

    DEDICATED = "dedicated"
    EITHER = "dedicated and shared"
    SHARED = "shared"
    OVERHEAD = "overhead"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One guest's use of one pCPU: the guest's name, the thread class that runs there, and the vCPU if it is one.

    `thread_class` is None for a sibling that the guest keeps idle. `stray` means that a definition of a Nova guest pins it here, but it
    does not belong here.
    """

    guest: str
    role: Role
    thread_class: ThreadClass | None = None
    vcpu: int | None = None
    stray: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PcpuMap:
    """One pCPU. `owners` are those who hold it, ours first and strays last: none if it is free.

    `contested`: an audit finds two owners. `overhead`: it is in the overhead pool. `retiring`: it has left the dedicated pool while
    somebody holds it. `vcpus_float` and `overhead_runs`: floating vCPUs, and overhead threads of guests that do not hold it, may run there
    now.
    """

    pcpu: int
    pool: Pool
    role: Role | None = None
    owners: tuple[Use, ...] = ()
    contested: bool = False
    overhead: bool = False
    retiring: bool = False
    offline: bool = False
    vcpus_float: bool = False
    overhead_runs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMap:
    """The online siblings of one core, ascending. `socket` is None if the host does not report it."""

    socket: int | None
    pcpus: tuple[PcpuMap, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesMap:
    """The huge pages of one size in one cell: all, and those that no guest holds and the host does not reserve."""

    size_kib: int
    total: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMap:
    """One host cell: its cores, ordered by lowest pCPU, its memory, and how many of its dedicated pCPUs are free.

    `free_mib` is its small-page memory less the reserve of pages and the memory of guests with cells. `pages` are its huge pages, ordered
    by size.
    """

    cell: int
    cores: tuple[CoreMap, ...]
    memory_mib: int
    free_mib: int
    pages: tuple[PagesMap, ...]
    dedicated: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OverheadBooking:
    """The overhead pool in millicpu: booked by claims, and in total. `guests` counts the guests that use it.

    `others` counts running foreign guests with emulator threads on the pool; they book nothing.
    """

    pool: CpuSet
    booked_millicpu: int
    total_millicpu: int
    guests: int
    others: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMap:
    """A host: its cells, ordered by id, the offline pCPUs that somebody still holds, and the overhead pool or None.

    `free` counts the free pCPUs of the dedicated pool, also those that Nova has switched off. `floating_vcpus` counts the vCPUs that
    float, also those of running foreign guests. `floating_mib` is the memory available to a guest without cells.
    """

    name: str
    cells: tuple[CellMap, ...]
    offline: tuple[PcpuMap, ...]
    overhead: OverheadBooking | None
    free: int
    floating_vcpus: int
    floating_mib: int


def host_map(seen: Survey) -> HostMap:
    """The map of a surveyed host."""
    owners, floats = _owners(seen), _floats(seen)
    contested = _contested(seen)
    topology, pools, counts = seen.state.topology, seen.state.pools, count_host(seen.state)
    cells = []
    for cell in topology.cells:
        sockets = cell.sockets or (None,) * len(cell.cores)
        cores = tuple(
            CoreMap(socket=socket, pcpus=tuple(_pcpu(cpu, pools, owners, floats, topology.offline, contested) for cpu in core))
            for core, socket in zip(cell.cores, sockets, strict=True)
        )
        dedicated = cell.cpus & pools.dedicated
        free = [cpu for cpu in dedicated if cpu not in owners]
        left = counts.by_id[cell.id]
        total = {page.size_kib: page.total for page in cell.pages}
        cells.append(
            CellMap(
                cell=cell.id,
                cores=cores,
                memory_mib=cell.memory_mib,
                free_mib=left.small_free_mib,
                pages=tuple(PagesMap(size_kib=size, total=total[size], free=free) for size, free in reversed(left.huge) if total[size]),
                dedicated=len(dedicated),
                free=len(free),
            )
        )
    lost = CpuSet(owners) - topology.online
    return HostMap(
        name=seen.state.name,
        cells=tuple(cells),
        offline=tuple(_pcpu(cpu, pools, owners, floats, lost, contested) for cpu in lost),
        overhead=_booking(seen),
        free=sum(cpu not in owners for cpu in pools.dedicated),
        floating_vcpus=floats.vcpus,
        floating_mib=counts.floating_room_mib,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Floats:
    """The number of floating vCPUs, the pCPUs they float over, and the pCPUs of overhead threads outside their guest's own pCPUs."""

    vcpus: int
    floating: CpuSet
    overhead: CpuSet


def _floats(seen: Survey) -> _Floats:
    """Count our guests by their claims, running or not, and foreign guests by their pins while they run."""
    online, vcpus = seen.state.topology.online, 0
    floating = overhead = CpuSet()
    for claim in seen.state.ledger.claims:
        vcpus += claim.fit.floating_count
        floating |= claim.fit.float_set
        for cell in claim.fit.cells:
            floating |= cell.float_set
        overhead |= claim.fit.emulator - claim.fit.taken
    for guest in seen.guests:
        if guest.record is None and guest.active:
            found = places(guest, seen.state.pools)
            vcpus += found.floats
            floating |= online if found.floating is None else found.floating
            overhead |= (online if found.emulator is None else found.emulator) - found.pinned
    return _Floats(vcpus=vcpus, floating=floating, overhead=overhead)


def _pcpu(cpu: int, pools: Pools, owners: dict[int, tuple[Use, ...]], floats: _Floats, offline: CpuSet, contested: CpuSet) -> PcpuMap:
    uses = owners.get(cpu, ())
    dedicated, held = cpu in pools.dedicated, any(use.role is not Role.FOREIGN for use in uses)
    if dedicated:
        pool = Pool.EITHER if cpu in pools.shared else Pool.DEDICATED
    elif cpu in pools.shared:
        pool = Pool.SHARED
    else:
        pool = Pool.OVERHEAD if pools.overhead is not None and cpu in pools.overhead else Pool.HOST
    return PcpuMap(
        pcpu=cpu,
        pool=pool,
        role=uses[0].role if uses else Role.FREE if dedicated else None,
        owners=uses,
        contested=cpu in contested,
        overhead=pools.overhead is not None and cpu in pools.overhead,
        retiring=held and not dedicated,
        offline=cpu in offline,
        vcpus_float=cpu in floats.floating,
        overhead_runs=cpu in floats.overhead,
    )


def _contested(seen: Survey) -> CpuSet:
    """The pCPUs that an audit reports as having more than one owner."""
    return CpuSet(cpu for finding in two_owners(owners_of(seen)) for cpu in CpuSet.parse(finding.subject))


def _owners(seen: Survey) -> dict[int, tuple[Use, ...]]:
    """Who holds each held pCPU: our guests, foreign ones, strays; by guest id. Foreign pins count only in the dedicated pool."""
    owners: dict[int, tuple[Use, ...]] = {}
    uses = [(guest.record is None, use.stray, guest.id, cpu, use) for guest in seen.guests for cpu, use in _uses(guest, seen)]
    for _, _, _, cpu, use in sorted(uses, key=lambda one: one[:4]):
        owners[cpu] = (*owners.get(cpu, ()), use)
    return owners


def _foreign_uses(guest: HostGuest, seen: Survey) -> list[tuple[int, Use]]:
    """The dedicated pCPUs that a foreign guest belongs on, or that one of its definitions pins it to."""
    home = places_of(seen, guest)
    kept = () if guest.kept is None else guest.kept.vcpus
    pins = {cpu: vcpu for vcpu, cpus in (*reversed(guest.pins.vcpus), *reversed(kept)) for cpu in cpus}
    judged = guest.nova is not None and not guest.problem and seen.configured is not None
    return [
        (
            cpu,
            Use(
                guest=guest.name,
                role=Role.FOREIGN,
                thread_class=ThreadClass.VCPU if cpu in pins else ThreadClass.EMULATOR,
                vcpu=pins.get(cpu),
                stray=judged and not _belongs(cpu, home),
            ),
        )
        for cpu in own_pins(guest, seen.state.topology) & seen.state.pools.dedicated
    ]


def _belongs(cpu: int, home: Places) -> bool:
    return cpu in home.pinned or home.floating is None or cpu in home.floating or home.emulator is None or cpu in home.emulator


def _uses(guest: HostGuest, seen: Survey) -> list[tuple[int, Use]]:
    if guest.record is None:
        return _foreign_uses(guest, seen)
    fit = guest.record.fit
    uses = [(cpu, Use(guest=guest.name, role=Role.VCPU, thread_class=ThreadClass.VCPU, vcpu=vcpu)) for vcpu, cpu in fit.pins]
    if fit.emulator_pcpu is not None:
        uses.append((fit.emulator_pcpu, Use(guest=guest.name, role=Role.EMULATOR, thread_class=ThreadClass.EMULATOR)))
    uses += [(cpu, Use(guest=guest.name, role=Role.IDLE_SIBLING)) for cpu in fit.idle_siblings]
    return uses


def _booking(seen: Survey) -> OverheadBooking | None:
    pool = seen.state.pools.overhead
    if pool is None:
        return None
    others = [places_of(seen, guest) for guest in seen.guests if guest.record is None and guest.active]
    users = [claim.fit for claim in seen.state.ledger.claims if claim.fit.emulator_placement is EmulatorPlacement.POOL]
    return OverheadBooking(
        pool=pool,
        booked_millicpu=sum(fit.overhead_millicpu for fit in users),
        total_millicpu=capacity_millicpu(seen.state.pools, seen.state.limits),
        guests=len(users),
        others=sum(1 for other in others if other.pinned and other.emulator and other.emulator <= pool),
    )
