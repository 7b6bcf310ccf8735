"""`Threads`: find the class of each thread of a QEMU process, from its monitor or from thread names, and where it may run."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.drivers.kvm import witness
from pinfold.drivers.kvm.thread_class import classified, is_iothread_name, is_overhead_name
from pinfold.drivers.port import Observation
from pinfold.drivers.processes import last_answer, monitor
from pinfold.drivers.processes.last_answer import LastAnswer
from pinfold.drivers.processes.monitor import Answer
from pinfold.drivers.processes.search import Process
from pinfold.linux import procfs, schedstat
from pinfold.linux.procfs import Thread

_SILENCE_SHARE: Final = 9
"""How much longer than questions without an answer the time between two of them is."""


class Look(Struct, frozen=True, kw_only=True):
    """One look at a process: its threads, and whether its monitor says that its vCPUs are paused."""

    observation: Observation
    paused: bool = False


class Threads:
    """Looks at processes. What a monitor told is kept for each process; `last_answer` says when it is asked again.

    Monitors that do not answer are asked again for a tenth of the time at most: each costs a second.
    """

    def __init__(self) -> None:
        self._kernel = procfs.KernelThreads()
        self._last: dict[tuple[int, int], LastAnswer] = {}
        self._silence_until = 0.0

    def keep(self, processes: Iterable[Process]) -> None:
        """Forget what the monitors of all other processes told."""
        there = set(map(_key, processes))
        self._last = {key: last for key, last in self._last.items() if key in there}

    def look(self, process: Process) -> Look:
        """Every thread of the process and the kernel's on its behalf; none if it has ended. See `Driver.observe`."""
        walk = self._walk(process)
        last = self._sampled(process)
        if process.line.monitors and self._is_due(last, walk.threads):
            before, asked = walk, time.monotonic()
            answer = _ask(process)
            walk = self._walk(process)
            if answer is None and last is not None:
                self._silence_until = time.monotonic() + _SILENCE_SHARE * (time.monotonic() - asked)
            last = last_answer.answered(last, answer, asked=asked, there=before.threads, now_there=walk.threads)
            self._last[_key(process)] = last
        if procfs.start_ticks(process.pid) != process.start_ticks:
            return Look(observation=Observation(threads=(), witness=witness.PROCFS))
        threads = _judged(walk.threads, process, last)
        paused = last is not None and last.answer is not None and last.answer.paused
        return Look(observation=Observation(threads=threads, witness=witness.PROCFS, stable=walk.stable), paused=paused)

    def _walk(self, process: Process) -> procfs.Walk:
        return procfs.settled_threads(process.pid, also=lambda: self._kernel.of(process.pid))

    def _sampled(self, process: Process) -> LastAnswer | None:
        """What its monitor told, with a new sample of how long its vCPUs have run if one is due; None if it was never asked."""
        last, now = self._last.get(_key(process)), time.monotonic()
        if last is not None and last.answer is not None and now - last.sampled >= last_answer.SAMPLE_SECONDS:
            times = schedstat.thread_times(process.pid, (*last.answer.vcpus, *last.answer.several))
            last = last_answer.sampled(last, sum(found.run_ns for found, _ in times.values()) if times else None, now=now)
            self._last[_key(process)] = last
        return last

    def _is_due(self, last: LastAnswer | None, threads: tuple[Thread, ...]) -> bool:
        now = time.monotonic()
        return last is None or (last_answer.is_due(last, threads, now=now) and not (last.silent and now < self._silence_until))


def _key(process: Process) -> tuple[int, int]:
    return process.pid, process.start_ticks


def _ask(process: Process) -> Answer | None:
    """What the first monitor of the process that answers tells, by this machine's thread ids; None if none answers."""
    answers = (monitor.ask(process.pid, path) for path in process.line.monitors)
    found = next((answer for answer in answers if answer is not None), None)
    return None if found is None else _translated(found, procfs.inner_thread_ids(process.pid))


def _translated(answer: Answer, inner: dict[int, int]) -> Answer:
    """The answer by the thread ids that the threads have here. A container's process knows those of its own PID namespace."""
    return Answer(
        vcpus={inner[tid]: vcpu for tid, vcpu in answer.vcpus.items() if tid in inner},
        iothreads={inner[tid]: number for tid, number in answer.iothreads.items() if tid in inner},
        several=frozenset(inner[tid] for tid in answer.several if tid in inner),
        paused=answer.paused,
    )


def _judged(threads: tuple[Thread, ...], process: Process, last: LastAnswer | None) -> tuple[ObservedThread, ...]:
    """The threads, with class UNKNOWN for those of which neither the monitor nor a name tells what they are for.

    1. If the monitor told all vCPUs, all other threads are QEMU's own. Names tell of a thread that is newer than the answer.
    2. If names told all vCPUs, QEMU names its threads (`debug-threads=on`), and the others are its own too.
    3. Otherwise QEMU's own threads are its first one, those with a name of QEMU's, and io_uring's workers.
    A thread that runs several vCPUs (single-threaded TCG) has no place of one vCPU, and is unknown.
    """
    answer = None if last is None else last.answer
    told = {thread.tid for thread in threads if last is not None and last.tells(thread)}
    named = tuple(_classified(thread, answer if thread.tid in told else None) for thread in threads)
    vcpus = {thread.vcpu for thread in named if thread.thread_class is ThreadClass.VCPU}
    complete = answer is not None or vcpus >= set(range(process.line.vcpus))
    workers = {thread.tid for thread in threads if thread.io_worker}
    several = frozenset() if answer is None else answer.several & told

    def is_own(thread: ObservedThread) -> bool:
        return complete or thread.tid == process.pid or thread.tid in workers or is_overhead_name(thread.name)

    return tuple(
        replace(thread, thread_class=ThreadClass.UNKNOWN)
        if thread.tid in several or (thread.thread_class is ThreadClass.EMULATOR and not is_own(thread))
        else thread
        for thread in named
    )


def _classified(thread: Thread, answer: Answer | None) -> ObservedThread:
    """The thread with its class, by the answer if one tells of it, else by name."""
    if answer is None:
        (found,) = classified((thread,), vcpus={}, iothreads={}, leaves={})
        return _by_name(found)
    (found,) = classified((thread,), vcpus=answer.vcpus, iothreads=answer.iothreads, leaves={})
    return found


def _by_name(thread: ObservedThread) -> ObservedThread:
    """The thread as an iothread if its name says so: outside libvirt its id is the user's choice."""
    if thread.thread_class is ThreadClass.EMULATOR and is_iothread_name(thread.name):
        return replace(thread, thread_class=ThreadClass.IOTHREAD)
    return thread
