"""`Snapshot`: what one sweep saw of the host, as a value with a written form. Metrics and journal are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.written import WrittenFinding, findings_report
from pinfold.core.encoding import json_reader, json_text
from pinfold.core.host_map import HostMap, PcpuMap
from pinfold.core.identity import GuestId
from pinfold.core.ledger import Role
from pinfold.core.overhead import OVERHEAD_CLASSES, ThreadClass, booked_millicpu, capacity_millicpu, floating_pcpus
from pinfold.core.request.model import EmulatorPolicy, GuestRequest
from pinfold.host.audit import Audit
from pinfold.host.measure import named_pools
from pinfold.host.verify import GuestOrigin, Verdict

VERSION: Final = 1


class SeenGuest(Struct, frozen=True, kw_only=True):
    """One guest. `origin` is who created it; `policy` is '' if there is none. `runs`: it has a process, running or paused.

    `on_overhead`: its overhead threads may run on the overhead pool and on nothing else. `disks` counts its disks, `nics` the queues of
    its network interfaces.
    """

    id: str
    name: str
    origin: str
    state: str
    vcpus: int
    server: str = ""
    policy: str = ""
    runs: bool = True
    on_overhead: bool = False
    disks: int = 0
    nics: int = 0


class SeenOwner(Struct, frozen=True, kw_only=True, order=True):
    """A guest that has a pCPU, and what for: `vcpu`, `emulator` or `idle-sibling`. `id` is '' if it is unknown."""

    guest: str
    role: str
    id: str = ""


class SeenPcpu(Struct, frozen=True, kw_only=True):
    """One pCPU. `core` is the lowest pCPU of its core, None with `cell` and `socket` for one that is offline.

    `owners` are sorted. `contested`: an audit finds two owners.
    """

    pcpu: int
    pool: str
    overhead: bool = False
    cell: int | None = None
    core: int | None = None
    socket: int | None = None
    owners: tuple[SeenOwner, ...] = ()
    contested: bool = False


class SeenPool(Struct, frozen=True, kw_only=True):
    """One pool. `booked` and `capacity` are in pCPUs. `guests` counts the running guests with threads that are confined to it."""

    name: str
    cpus: CpuSet
    booked: float
    capacity: float
    guests: int


class Snapshot(Struct, frozen=True, kw_only=True):
    """One sweep's host: guests by id, pCPUs ascending, pools, and every finding."""

    host: str
    uri: str
    guests: tuple[SeenGuest, ...] = ()
    pcpus: tuple[SeenPcpu, ...] = ()
    pools: tuple[SeenPool, ...] = ()
    findings: tuple[WrittenFinding, ...] = ()


class _Stored(Struct, frozen=True, kw_only=True):
    v: int
    value: Snapshot


_read = json_reader(_Stored)


def encode(snapshot: Snapshot) -> str:
    """The written form, with its version."""
    return json_text(_Stored(v=VERSION, value=snapshot))


def decode(text: str) -> Snapshot | None:
    """The snapshot of a written form; None for another version, and for text that is none."""
    try:
        stored = _read(text)
    except msgspec.MsgspecError:
        return None
    return stored.value if stored.v == VERSION else None


def snapshot_of(found: Audit, drawn: HostMap, uri: str) -> Snapshot:
    """The snapshot of an audited host; `drawn` is its map. Pure."""
    overhead = found.seen.state.pools.overhead
    names = {guest.guest.id: guest.guest.name for guest in found.guests}
    return Snapshot(
        host=found.seen.state.name,
        uri=uri,
        guests=tuple(_guest(guest, overhead) for guest in found.guests),
        pcpus=_pcpus(drawn, names),
        pools=_pools(found, drawn),
        findings=findings_report(found.findings).findings,
    )


def _guest(found: Verdict, overhead: CpuSet | None) -> SeenGuest:
    guest = found.guest
    threads = () if found.observation is None else found.observation.threads
    places = [thread.allowed for thread in threads if thread.thread_class in OVERHEAD_CLASSES]
    return SeenGuest(
        id=guest.id,
        name=guest.name,
        origin=found.origin.value,
        state=guest.state.value,
        vcpus=guest.vcpus,
        server=guest.server,
        policy="" if found.policy is None else found.policy.value,
        runs=guest.active,
        disks=guest.disks,
        nics=guest.nics,
        on_overhead=bool(overhead) and bool(places) and all(cpus <= (overhead or CpuSet()) for cpus in places),
    )


def _pcpus(drawn: HostMap, names: Mapping[GuestId, str]) -> tuple[SeenPcpu, ...]:
    where = {pcpu.pcpu: (cell.id, core.pcpus[0].pcpu, core.socket) for cell in drawn.cells for core in cell.cores for pcpu in core.pcpus}
    found = (_pcpu(pcpu, where.get(pcpu.pcpu, (None, None, None)), names) for pcpu in drawn.pcpus)
    return tuple(sorted(found, key=lambda one: one.pcpu))


def _pcpu(pcpu: PcpuMap, where: tuple[int | None, int | None, int | None], names: Mapping[GuestId, str]) -> SeenPcpu:
    owners = {
        SeenOwner(guest=names.get(owner.guest or GuestId(""), owner.name), id=owner.guest or "", role=_role(owner.role, owner.thread_class))
        for owner in pcpu.owners
        if not owner.stray
    }
    cell, core, socket = where
    return SeenPcpu(
        pcpu=pcpu.pcpu,
        pool=pcpu.pool.value,
        overhead=pcpu.overhead,
        cell=cell,
        core=core,
        socket=socket,
        owners=tuple(sorted(owners)),
        contested=pcpu.contested,
    )


def _role(role: Role, thread_class: ThreadClass | None) -> str:
    return "idle-sibling" if role is Role.IDLE_SIBLING or thread_class is None else thread_class.value


def _pools(found: Audit, drawn: HostMap) -> tuple[SeenPool, ...]:
    state = found.seen.state
    booked = {
        "dedicated": (sum(bool(pcpu.owners) for pcpu in drawn.pcpus if pcpu.pcpu in state.pools.dedicated), len(state.pools.dedicated)),
        "shared": (
            (drawn.floating_vcpus or 0) / state.limits.cpu_allocation_ratio,
            float(floating_pcpus(state.pools, state.limits)),
        ),
        "overhead": (_overhead_millicpu(found, drawn) / 1000, capacity_millicpu(state.pools, state.limits) / 1000),
    }
    return tuple(
        SeenPool(name=name, cpus=cpus, booked=booked[name][0], capacity=booked[name][1], guests=_guests_on(cpus, found.guests))
        for name, cpus in named_pools(state.pools)
    )


def _overhead_millicpu(found: Audit, drawn: HostMap) -> int:
    """What our guests have booked of the overhead pool, and what running guests of Nova's with policy `share` would book by the rates."""
    total = 0 if drawn.overhead is None else drawn.overhead.booked_millicpu
    for one in found.guests:
        if one.origin is GuestOrigin.NOVA and one.policy is EmulatorPolicy.SHARE and one.guest.active:
            guest = one.guest
            request = GuestRequest(vcpus=guest.vcpus, memory_mib=guest.memory_mib, disks=guest.disks, nics=guest.nics)
            total += booked_millicpu(request, found.seen.state.limits.rates)
    return total


def _guests_on(cpus: CpuSet, guests: tuple[Verdict, ...]) -> int:
    def has(guest: Verdict) -> bool:
        return guest.observation is not None and any(
            thread.allowed <= cpus for thread in guest.observation.threads if thread.thread_class in (*OVERHEAD_CLASSES, ThreadClass.VCPU)
        )

    return sum(has(guest) for guest in guests)
