"""`HostMap`: sockets, cells, cores and pCPUs of one host, each pCPU with its pool, role and owner. Drawing it does not belong here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.model import EmulatorPlacement
from pinfold.core.ledger import Role
from pinfold.core.overhead import ThreadClass, capacity_millicpu
from pinfold.core.pools import Pools
from pinfold.drivers.port import HostGuest
from pinfold.host.survey import Survey, own_pins


class Pool(Enum):
    """The pool that a pCPU belongs to; one that is shared and overhead at once is SHARED, with `overhead` set beside it.

    EITHER is Nova's `vcpu_pin_set`: one pool for pinned and floating vCPUs.
    """

    DEDICATED = "dedicated"
    EITHER = "dedicated and shared"
    SHARED = "shared"
    OVERHEAD = "overhead"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One guest's use of one pCPU: the guest's name, what of it runs there, and which vCPU where that is one.

    `thread_class` is None for a sibling that the guest keeps idle.
    """

    guest: str
    role: Role
    thread_class: ThreadClass | None = None
    vcpu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PcpuMap:
    """One pCPU. `owners` are those who hold it, ours first: none when it is free, two when something is wrong.

    `overhead` says that overhead threads of `share` guests run there, `retiring` that it has left the dedicated pool while it is held.
    """

    pcpu: int
    pool: Pool
    role: Role | None = None
    owners: tuple[Use, ...] = ()
    overhead: bool = False
    retiring: bool = False
    offline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMap:
    """The online siblings of one core, ascending; `socket` is None where the host does not tell."""

    socket: int | None
    pcpus: tuple[PcpuMap, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMap:
    """One host cell: its cores, ordered by lowest pCPU, its memory in MiB, and how many of its dedicated pCPUs are free."""

    cell: int
    cores: tuple[CoreMap, ...]
    memory_mib: int
    dedicated: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OverheadBooking:
    """The overhead pool in thousandths of a pCPU: booked by claims, and in all; `guests` counts those that use it."""

    pool: CpuSet
    booked_millicpu: int
    total_millicpu: int
    guests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMap:
    """A whole host: its cells, ordered by id, the offline pCPUs that somebody still holds, and the overhead pool, None without one.

    `free` counts the free pCPUs of the dedicated pool, those among them that are switched off by intent included.
    """

    name: str
    cells: tuple[CellMap, ...]
    offline: tuple[PcpuMap, ...]
    overhead: OverheadBooking | None
    free: int


def host_map(seen: Survey) -> HostMap:
    """The map of a surveyed host."""
    owners = _owners(seen)
    topology, pools = seen.state.topology, seen.state.pools
    cells = []
    for cell in topology.cells:
        sockets = cell.sockets or (None,) * len(cell.cores)
        cores = tuple(
            CoreMap(socket=socket, pcpus=tuple(_pcpu(cpu, pools, owners, topology.offline) for cpu in core))
            for core, socket in zip(cell.cores, sockets, strict=True)
        )
        dedicated = cell.cpus & pools.dedicated
        free = [cpu for cpu in dedicated if cpu not in owners]
        cells.append(CellMap(cell=cell.id, cores=cores, memory_mib=cell.memory_mib, dedicated=len(dedicated), free=len(free)))
    lost = CpuSet(owners) - topology.online
    return HostMap(
        name=seen.state.name,
        cells=tuple(cells),
        offline=tuple(_pcpu(cpu, pools, owners, lost) for cpu in lost),
        overhead=_booking(seen),
        free=sum(cpu not in owners for cpu in pools.dedicated),
    )


def _pcpu(cpu: int, pools: Pools, owners: dict[int, tuple[Use, ...]], offline: CpuSet) -> PcpuMap:
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
        overhead=pools.overhead is not None and cpu in pools.overhead,
        retiring=held and not dedicated,
        offline=cpu in offline,
    )


def _owners(seen: Survey) -> dict[int, tuple[Use, ...]]:
    """For each pCPU that is held, who holds it: ours before strangers, by guest id. Strangers' pins count in the dedicated pool alone."""
    owners: dict[int, tuple[Use, ...]] = {}
    for guest in sorted(seen.guests, key=lambda guest: (guest.record is None, guest.id)):
        for cpu, use in _uses(guest, seen):
            owners[cpu] = (*owners.get(cpu, ()), use)
    return owners


def _uses(guest: HostGuest, seen: Survey) -> list[tuple[int, Use]]:
    if guest.record is None:
        pins = {cpu: vcpu for vcpu, cpus in reversed(guest.pins.vcpus) for cpu in cpus}
        taken = own_pins(guest, seen.state.topology) & seen.state.pools.dedicated
        return [
            (
                cpu,
                Use(
                    guest=guest.name,
                    role=Role.FOREIGN,
                    thread_class=ThreadClass.VCPU if cpu in pins else ThreadClass.EMULATOR,
                    vcpu=pins.get(cpu),
                ),
            )
            for cpu in taken
        ]
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
    users = [claim.fit for claim in seen.state.ledger.claims if claim.fit.emulator_placement is EmulatorPlacement.POOL]
    return OverheadBooking(
        pool=pool,
        booked_millicpu=sum(fit.overhead_millicpu for fit in users),
        total_millicpu=capacity_millicpu(seen.state.pools, seen.state.limits),
        guests=len(users),
    )
