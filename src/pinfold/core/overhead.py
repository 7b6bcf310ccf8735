"""The classes of a guest's threads, and the pCPUs each may run on. Reading threads from a host does not belong here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pinfold.core.cpuset import CpuSet


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
