"""The classes of a guest's threads, the pCPUs each may run on, and what they book. Reading threads from a host does not belong here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvariantViolation
from pinfold.core.fit.model import Fit
from pinfold.core.pools import Pools
from pinfold.core.request.model import GuestRequest

if TYPE_CHECKING:
    from pinfold.core.ledger import Limits, OverheadRates


class ThreadClass(Enum):
    """What a thread of a guest is for (section 5 of the design)."""

    VCPU = "vcpu"
    EMULATOR = "emulator"
    IOTHREAD = "iothread"
    VHOST = "vhost"
    KTHREAD = "kthread"


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """The pCPUs that each thread of one guest may run on: `vcpus[n]` for vCPU n, `overhead` for emulator threads, iothreads and vhost.

    No set is empty. `realtime` are the vCPUs that run SCHED_FIFO.
    """

    vcpus: tuple[CpuSet, ...]
    overhead: CpuSet
    realtime: CpuSet = CpuSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedThread:
    """One thread as procfs shows it: id, name, class, its vCPU where it is one, and the pCPUs it may run on.

    `scheduler` is the policy's name: `other`, `fifo`, `rr`, `batch`, `idle` or `deadline`.
    """

    tid: int
    name: str
    thread_class: ThreadClass
    allowed: CpuSet
    vcpu: int | None = None
    scheduler: str = "other"


def masks(fit: Fit) -> Masks:
    """Where each thread of a guest that was fitted may run.

    >>> from pinfold.core.fit.model import FitCell
    >>> cell = FitCell(guest_cell=0, host_cell=0, pins=((0, 4), (1, 5)))
    >>> masks(Fit(vcpus=2, memory_mib=64, cells=(cell,), emulator=CpuSet.of(0, 1)))
    Masks(vcpus=(CpuSet('4'), CpuSet('5')), overhead=CpuSet('0-1'), realtime=CpuSet(''))

    Raises `InvariantViolation` when a vCPU has no place, or the emulator none.
    """
    places: dict[int, CpuSet] = dict.fromkeys(fit.float_vcpus, fit.float_set)
    for cell in fit.cells:
        places.update(dict.fromkeys(cell.float_vcpus, cell.float_set))
        places.update((vcpu, CpuSet.of(pcpu)) for vcpu, pcpu in cell.pins)
    lost = [vcpu for vcpu in range(fit.vcpus) if not places.get(vcpu)]
    if lost or not fit.emulator:
        raise InvariantViolation(f"a fit has no pCPU for {f'vCPU {lost[0]}' if lost else 'the emulator threads'}")
    return Masks(vcpus=tuple(places[vcpu] for vcpu in range(fit.vcpus)), overhead=fit.emulator, realtime=fit.realtime)


def booked_millicpu(request: GuestRequest, rates: OverheadRates) -> int:
    """What a guest with policy `share` books of an overhead pool, in thousandths of a pCPU.

    >>> from pinfold.core.ledger import OverheadRates
    >>> booked_millicpu(GuestRequest(vcpus=4, memory_mib=64, disks=1, nics=2), OverheadRates())
    58
    """
    return rates.guest + rates.vcpu * request.vcpus + rates.disk * request.disks + rates.nic * request.nics


def capacity_millicpu(pools: Pools, limits: Limits) -> int:
    """What an overhead pool holds in all, rounded down: its own pCPUs in full, `shared_fraction` of those that it shares with `shared`.

    0 where no overhead pool is configured, or all of it is offline. The fraction counts as the decimal that it is written as.
    """
    if pools.overhead is None:
        return 0
    overlap = len(pools.overhead & pools.shared)
    return 1000 * (len(pools.overhead) - overlap) + floor(Fraction(str(limits.shared_fraction)) * 1000 * overlap)
