"""The classes of a guest's threads, the pCPUs each may run on, and what they book of the overhead pool."""

from __future__ import annotations

from enum import Enum
from fractions import Fraction
from math import floor

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvariantViolation
from pinfold.core.fit.model import Fit
from pinfold.core.host import Limits, OverheadRates
from pinfold.core.pools import Pools
from pinfold.core.request.model import GuestRequest


class ThreadClass(Enum):
    """What a thread of a guest is for."""

    VCPU = "vcpu"
    EMULATOR = "emulator"
    IOTHREAD = "iothread"
    VHOST = "vhost"
    THREAD_CONTEXT = "thread-context"
    """QEMU's `TC …` thread, which allocates the huge pages of one guest cell. libvirt binds it to their host cell; it is not overhead."""
    KTHREAD = "kthread"
    UNKNOWN = "unknown"
    """A thread of which nothing tells what it is for. It is shown, and never judged or moved."""


class Masks(Struct, frozen=True, kw_only=True):
    """The pCPUs that each thread of one guest may run on: `vcpus[n]` for vCPU n, `overhead` for emulator threads, iothreads and vhost.

    No set is empty, except `realtime`: the vCPUs that run SCHED_FIFO.
    """

    vcpus: tuple[CpuSet, ...]
    overhead: CpuSet
    realtime: CpuSet = CpuSet()


class ObservedThread(Struct, frozen=True, kw_only=True):
    """One thread as procfs shows it: id, name, class, the vCPU that it runs (if any), and the pCPUs it may run on.

    `iothread` is an iothread's number, None if its name does not tell it. `serves` is the vCPU beside which a kernel thread belongs, None
    for those that belong with the overhead threads. `guest_cell` is the guest cell whose memory a thread context allocates, if known.
    `scheduler` is the policy's name: `other`, `fifo`, `rr`, `batch`, `idle` or `deadline`. If a thread is in another thread's cgroup,
    `leave_for` is the tasks file of the emulator's cgroup, where it belongs.
    """

    tid: int
    name: str
    thread_class: ThreadClass
    allowed: CpuSet
    vcpu: int | None = None
    iothread: int | None = None
    serves: int | None = None
    guest_cell: int | None = None
    scheduler: str = "other"
    leave_for: str = ""


def masks(fit: Fit) -> Masks:
    """The pCPUs that each thread of a guest with this fit may run on.

    >>> from pinfold.core.fit.model import FitCell
    >>> cell = FitCell(guest_cell=0, host_cell=0, pins=((0, 4), (1, 5)))
    >>> masks(Fit(vcpus=2, memory_mib=64, cells=(cell,), emulator=CpuSet.of(0, 1)))
    Masks(vcpus=(CpuSet('4'), CpuSet('5')), overhead=CpuSet('0-1'), realtime=CpuSet(''))

    Raises `InvariantViolation` if a vCPU or the emulator has no pCPU.
    """
    places: dict[int, CpuSet] = dict.fromkeys(fit.float_vcpus, fit.float_set)
    for cell in fit.cells:
        places.update(dict.fromkeys(cell.float_vcpus, cell.float_set))
        places.update((vcpu, CpuSet.of(pcpu)) for vcpu, pcpu in cell.pins)
    lost = [vcpu for vcpu in range(fit.vcpus) if not places.get(vcpu)]
    if lost or not fit.emulator:
        raise InvariantViolation(f"a fit has no pCPU for {f'vCPU {lost[0]}' if lost else 'the emulator threads'}")
    return Masks(vcpus=tuple(places[vcpu] for vcpu in range(fit.vcpus)), overhead=fit.emulator, realtime=fit.realtime)


def memory_cell(thread: ObservedThread, fit: Fit) -> int | None:
    """The host cell whose memory a thread context allocates; None for other threads, and if the name does not identify the cell.

    A thread's name tells one digit of its guest cell, so cells 10 to 19 look like cell 1.

    >>> from pinfold.core.fit.model import FitCell
    >>> fit = Fit(vcpus=1, memory_mib=64, cells=(FitCell(guest_cell=0, host_cell=1, pins=((0, 4),)),), emulator=CpuSet.of(0))
    >>> context = ObservedThread(tid=7, name="TC", thread_class=ThreadClass.THREAD_CONTEXT, allowed=CpuSet.of(4, 5), guest_cell=0)
    >>> memory_cell(context, fit)
    1
    """
    if thread.guest_cell is None or any(cell.guest_cell > 9 for cell in fit.cells):
        return None
    return next((cell.host_cell for cell in fit.cells if cell.guest_cell == thread.guest_cell), None)


def booked_millicpu(request: GuestRequest, rates: OverheadRates) -> int:
    """The millicpu that a guest with policy `share` books of an overhead pool.

    >>> booked_millicpu(GuestRequest(vcpus=4, memory_mib=64, disks=1, nics=2), OverheadRates())
    58
    """
    return rates.guest + rates.vcpu * request.vcpus + rates.disk * request.disks + rates.nic * request.nics


def books_overhead(pools: Pools, limits: Limits) -> bool:
    """Whether guests book millicpu on this host: it has an overhead pool, and not one that counts as shared only (`shared_fraction` 0)."""
    return pools.overhead is not None and not (limits.shared_fraction == 0 and pools.overhead <= pools.shared)


def capacity_millicpu(pools: Pools, limits: Limits) -> int:
    """The capacity of the overhead pool, rounded down. pCPUs that are also in the shared pool count by `shared_fraction`.

    0 if no overhead pool is configured or all of it is offline. The fraction is exact: the decimal as written.
    """
    if pools.overhead is None:
        return 0
    overlap = len(pools.overhead & pools.shared)
    return 1000 * (len(pools.overhead) - overlap) + floor(Fraction(str(limits.shared_fraction)) * 1000 * overlap)
