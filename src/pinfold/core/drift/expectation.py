"""Where a guest's threads should run, and the pins in its definitions. `guest` compares the two."""

from __future__ import annotations

from typing import Annotated, Protocol

from msgspec import Meta, Struct

from pinfold.core.cpuset import MAX_CPU, CpuSet
from pinfold.core.fit.answer import Fit
from pinfold.core.overhead import ObservedThread, ThreadClass, memory_cell
from pinfold.core.request.model import EmulatorPolicy


class ExpectedMasks(Protocol):
    """The pCPUs where a guest's threads should run: `core.overhead.Masks`, or `InferredMasks`. Threads with an empty set are left."""

    @property
    def vcpus(self) -> tuple[CpuSet, ...]:
        """The pCPUs of each vCPU."""
        ...

    @property
    def overhead(self) -> CpuSet:
        """The pCPUs of all other threads."""
        ...

    @property
    def realtime(self) -> CpuSet:
        """The vCPUs that run SCHED_FIFO."""
        ...


class InferredMasks(Struct, frozen=True, kw_only=True):
    """The pCPUs where the threads of a guest without our record should run, inferred from other evidence.

    An empty set means unknown; such threads are not judged. `policy` is the emulator policy of a guest with pinned vCPUs, else None.
    `iothreads` has `(iothread, set)` for those that belong elsewhere than the other overhead threads.
    Kernel threads of such a guest are not judged: they stay where KVM creates them, beside vCPU 0.
    """

    vcpus: tuple[CpuSet, ...]
    overhead: CpuSet
    realtime: CpuSet = CpuSet()
    policy: EmulatorPolicy | None = None
    iothreads: tuple[tuple[int, CpuSet], ...] = ()


class PinDefinition(Protocol):
    """The pins in a definition (`drivers.port.DefinedPins`). None means that the definition has no such pin."""

    @property
    def vcpus(self) -> tuple[tuple[int, CpuSet], ...]:
        """`(vCPU, set)`, ascending."""
        ...

    @property
    def emulator(self) -> CpuSet | None:
        """The pCPUs of the emulator threads."""
        ...

    @property
    def iothreads(self) -> tuple[tuple[int, CpuSet], ...]:
        """`(iothread, set)`, ascending."""
        ...

    @property
    def placement(self) -> CpuSet | None:
        """The default for threads without a pin."""
        ...

    @property
    def realtime(self) -> CpuSet:
        """The vCPUs with a realtime scheduler."""
        ...


class Definitions(Struct, frozen=True, kw_only=True):
    """The pins of a guest's two definitions: `live` (running now) and `kept` (used at the next start); None if it does not exist."""

    live: PinDefinition | None = None
    kept: PinDefinition | None = None
    iothreads: int = 0


class SeenThread(Struct, frozen=True, kw_only=True):
    """The form of one thread: where it may run, and where it should, None if nothing says it.

    `scheduler` is None if it was not read. `memory_cell` is the host cell whose memory a thread context allocates, None for other threads.
    """

    tid: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    name: str
    thread_class: ThreadClass
    vcpu: Annotated[int, Meta(ge=0, le=MAX_CPU)] | None = None
    scheduler: str | None = None
    allowed: CpuSet
    recorded: CpuSet | None = None
    memory_cell: int | None = None


def seen_thread(thread: ObservedThread, places: ExpectedMasks | None, fit: Fit | None) -> SeenThread:
    """The form of a thread of a guest with these places and with that recorded fit; None for those that are not known."""
    return SeenThread(
        tid=thread.tid,
        name=thread.name,
        thread_class=thread.thread_class,
        vcpu=thread.vcpu,
        scheduler=thread.scheduler,
        allowed=thread.allowed,
        recorded=None if places is None else expected(places, thread),
        memory_cell=None if fit is None else memory_cell(thread, fit),
    )


def expected(places: ExpectedMasks, thread: ObservedThread) -> CpuSet | None:
    """The pCPUs where a thread should run; None if unknown, and for thread contexts, which libvirt binds to the memory's cell.

    Nobody knows the place of a thread of class UNKNOWN.

    A kernel thread that serves one vCPU runs with it. All other kernel threads of our guests run with the overhead threads.
    """
    if thread.thread_class is ThreadClass.VCPU:
        known = thread.vcpu is not None and 0 <= thread.vcpu < len(places.vcpus)
        return (places.vcpus[thread.vcpu] or None) if known and thread.vcpu is not None else None
    if thread.thread_class in (ThreadClass.THREAD_CONTEXT, ThreadClass.UNKNOWN):
        return None
    if thread.thread_class is ThreadClass.KTHREAD:
        if isinstance(places, InferredMasks):
            return None
        if thread.serves is not None:
            return places.vcpus[thread.serves] or None
    if thread.thread_class is ThreadClass.IOTHREAD:
        return iothread_place(places, thread.iothread) or None
    return places.overhead or None


def iothread_place(places: ExpectedMasks, number: int | None) -> CpuSet:
    """The pCPUs of an iothread: its own, else those of the other overhead threads. None stands for one whose number is not known."""
    own = places.iothreads if isinstance(places, InferredMasks) else ()
    return next((cpus for index, cpus in own if index == number), places.overhead)
