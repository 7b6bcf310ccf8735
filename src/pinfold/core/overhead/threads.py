"""The classes of a guest's threads, and the pCPUs that each may run on. `table` has the rule that a fit follows."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvariantViolation
from pinfold.core.fit.answer import Fit


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


OVERHEAD_CLASSES: Final = (ThreadClass.EMULATOR, ThreadClass.IOTHREAD, ThreadClass.VHOST)
"""The classes of QEMU's own overhead threads. KVM's threads in the kernel are not among them."""


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

    >>> from pinfold.core.fit.answer import FitCell
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

    >>> from pinfold.core.fit.answer import FitCell
    >>> fit = Fit(vcpus=1, memory_mib=64, cells=(FitCell(guest_cell=0, host_cell=1, pins=((0, 4),)),), emulator=CpuSet.of(0))
    >>> context = ObservedThread(tid=7, name="TC", thread_class=ThreadClass.THREAD_CONTEXT, allowed=CpuSet.of(4, 5), guest_cell=0)
    >>> memory_cell(context, fit)
    1
    """
    if thread.guest_cell is None or any(cell.guest_cell > 9 for cell in fit.cells):
        return None
    return next((cell.host_cell for cell in fit.cells if cell.guest_cell == thread.guest_cell), None)
