"""Where a guest's threads belong, and what its definitions ask for. Comparing the two does not belong here (`guest` does)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pinfold.core.cpuset import CpuSet
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.core.request.model import EmulatorPolicy


class ExpectedMasks(Protocol):
    """Where a guest's threads belong (`core.overhead.Masks`, or `InferredMasks`)."""

    @property
    def vcpus(self) -> tuple[CpuSet, ...]:
        """The set of each vCPU."""
        ...

    @property
    def overhead(self) -> CpuSet:
        """The set of everything else."""
        ...

    @property
    def realtime(self) -> CpuSet:
        """The vCPUs that run SCHED_FIFO."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredMasks:
    """Where the threads of a guest without a record of ours belong, as far as the evidence tells.

    An empty set means that nothing tells it, and is not judged. `policy` is the emulator policy of a guest with pinned vCPUs, else None.
    The kernel's threads for such a guest are not judged: they stay where KVM makes them, beside vCPU 0.
    """

    vcpus: tuple[CpuSet, ...]
    overhead: CpuSet
    realtime: CpuSet = CpuSet()
    policy: EmulatorPolicy | None = None


class PinDefinition(Protocol):
    """The pins that a definition asks for (`drivers.port.DefinedPins`): None where it says nothing."""

    @property
    def vcpus(self) -> tuple[tuple[int, CpuSet], ...]:
        """`(vCPU, set)`, ascending."""
        ...

    @property
    def emulator(self) -> CpuSet | None:
        """The set of the emulator threads."""
        ...

    @property
    def iothreads(self) -> tuple[tuple[int, CpuSet], ...]:
        """`(iothread, set)`, ascending."""
        ...

    @property
    def placement(self) -> CpuSet | None:
        """The default of whatever has no pin."""
        ...

    @property
    def realtime(self) -> CpuSet:
        """The vCPUs with a realtime scheduler."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """What a guest's definitions ask for: the one it runs by, and the one it starts by; None where there is none."""

    live: PinDefinition | None = None
    kept: PinDefinition | None = None
    iothreads: int = 0


def expected(places: ExpectedMasks, thread: ObservedThread) -> CpuSet | None:
    """The pCPUs where a thread belongs, None where nothing tells, and for thread contexts, which libvirt binds to the memory's cell.

    `kvm-pit` serves vCPU 0 and belongs beside it; every other kernel thread of a guest of ours belongs with its overhead threads.
    """
    if thread.thread_class is ThreadClass.VCPU:
        known = thread.vcpu is not None and 0 <= thread.vcpu < len(places.vcpus)
        return (places.vcpus[thread.vcpu] or None) if known and thread.vcpu is not None else None
    if thread.thread_class is ThreadClass.THREAD_CONTEXT:
        return None
    if thread.thread_class is ThreadClass.KTHREAD:
        if isinstance(places, InferredMasks):
            return None
        if thread.name.startswith("kvm-pit"):
            return places.vcpus[0]
    return places.overhead or None
