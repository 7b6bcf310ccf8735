"""`Threads`: find the class of each thread of a QEMU process, from its monitor or from thread names, and where it may run."""

from __future__ import annotations

from msgspec.structs import replace

from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.drivers.kvm import witness
from pinfold.drivers.kvm.thread_class import classified, is_iothread_name, is_overhead_name
from pinfold.drivers.port import Observation
from pinfold.drivers.processes import monitor
from pinfold.drivers.processes.monitor import Answer
from pinfold.drivers.processes.search import Process
from pinfold.linux import procfs


class Threads:
    """Observes processes. What a monitor told is kept for each process, because a question costs time on its emulator threads."""

    def __init__(self) -> None:
        self._kernel = procfs.KernelThreads()
        self._told: dict[tuple[int, int], Answer | None] = {}

    def answer(self, process: Process) -> Answer | None:
        """What the first monitor of the process that answers tells, by this machine's thread ids; None if none answers."""
        key = (process.pid, process.start_ticks)
        if key not in self._told:
            answers = (monitor.ask(process.pid, path) for path in process.line.monitors)
            found = next((answer for answer in answers if answer is not None), None)
            self._told[key] = None if found is None else _translated(found, procfs.inner_thread_ids(process.pid))
        return self._told[key]

    def observation(self, process: Process) -> Observation:
        """Every thread of the process and the kernel's on its behalf; none if it has ended. See `Driver.observe`."""
        told = self.answer(process)
        walk = procfs.settled_threads(process.pid, also=lambda: self._kernel.of(process.pid))
        if procfs.start_ticks(process.pid) != process.start_ticks:
            return Observation(threads=(), witness=witness.PROCFS)
        found = classified(
            walk.threads, vcpus={} if told is None else told.vcpus, iothreads={} if told is None else told.iothreads, leaves={}
        )
        workers = {thread.tid for thread in walk.threads if thread.io_worker}
        return Observation(threads=_judged(found, process, told, workers), witness=witness.PROCFS, stable=walk.stable)


def _translated(answer: Answer, inner: dict[int, int]) -> Answer:
    """The answer by the thread ids that the threads have here. A container's process knows those of its own PID namespace."""
    return Answer(
        vcpus={inner[tid]: vcpu for tid, vcpu in answer.vcpus.items() if tid in inner},
        iothreads={inner[tid]: number for tid, number in answer.iothreads.items() if tid in inner},
        several=frozenset(inner[tid] for tid in answer.several if tid in inner),
        paused=answer.paused,
    )


def _judged(found: tuple[ObservedThread, ...], process: Process, told: Answer | None, workers: set[int]) -> tuple[ObservedThread, ...]:
    """The threads, with class UNKNOWN for those of which neither the monitor nor a name tells what they are for.

    1. If the monitor told all vCPUs, all other threads are QEMU's own.
    2. If names told all vCPUs, QEMU names its threads (`debug-threads=on`), and the others are its own too.
    3. Otherwise QEMU's own threads are its first one, those with a name of QEMU's, and io_uring's workers.
    A thread that runs several vCPUs (single-threaded TCG) has no place of one vCPU, and is unknown.
    """
    named = tuple(_by_name(thread) if told is None else thread for thread in found)
    vcpus = {thread.vcpu for thread in named if thread.thread_class is ThreadClass.VCPU}
    complete = told is not None or vcpus >= set(range(process.line.vcpus))

    def is_own(thread: ObservedThread) -> bool:
        return complete or thread.tid == process.pid or thread.tid in workers or is_overhead_name(thread.name)

    several = frozenset() if told is None else told.several
    return tuple(
        replace(thread, thread_class=ThreadClass.UNKNOWN)
        if thread.tid in several or (thread.thread_class is ThreadClass.EMULATOR and not is_own(thread))
        else thread
        for thread in named
    )


def _by_name(thread: ObservedThread) -> ObservedThread:
    """The thread as an iothread if its name says so: outside libvirt its id is the user's choice."""
    if thread.thread_class is ThreadClass.EMULATOR and is_iothread_name(thread.name):
        return replace(thread, thread_class=ThreadClass.IOTHREAD)
    return thread
