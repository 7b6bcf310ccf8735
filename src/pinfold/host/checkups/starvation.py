"""Judge whether a realtime vCPU runs where overhead threads may run: they wait as long as it does not sleep. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.finding import Subject
from pinfold.core.drift.steps import Pin, Pinned, Step
from pinfold.core.overhead import OVERHEAD_CLASSES, ObservedThread, ThreadClass
from pinfold.core.plural import count, pcpus
from pinfold.core.pools import Pools
from pinfold.core.printable import shell_word
from pinfold.drivers.checkup import Check, Checkup, Health, Seen

_REALTIME: Final = ("fifo", "rr", "deadline")
_EXAMPLES: Final = 3


class RunningGuest(Struct, frozen=True, kw_only=True):
    """A running guest and its threads. `problem` says why they cannot be seen. `ours` means that it has a record of ours."""

    subject: Subject
    threads: tuple[ObservedThread, ...] = ()
    ours: bool = False
    problem: str = ""


def starvation(
    guests: Sequence[RunningGuest], pools: Pools, online: CpuSet, command: Callable[[Subject, tuple[Step, ...]], str]
) -> list[Checkup]:
    """One answer for each guest whose overhead threads may run beside a realtime vCPU, and one for the overhead pool itself.

    `command` writes steps as a shell command, as `Driver.repair_command` does.
    """
    check = Check.STARVATION
    vcpus = [(guest, thread) for guest in guests for thread in guest.threads if _realtime_vcpu(thread)]
    busy = CpuSet.union(thread.allowed for _, thread in vcpus) & online
    unseen = [
        check.found(Health.UNUSED, f"the threads of guest {guest.subject.name} cannot be seen: {guest.problem}")
        for guest in guests
        if guest.problem
    ]
    if not vcpus:
        return [*unseen, check.found(Health.GOOD, "no running guest has a realtime vCPU")]
    found = [_starved(guest, waiting, vcpus, busy, pools, online, command) for guest in guests if (waiting := _waiting(guest, busy))]
    if pools.overhead is not None and (inside := busy & pools.overhead):
        found.append(_in_pool(inside, vcpus))
    good = f"{count(len(vcpus), 'realtime vCPU')} on {pcpus(str(busy))}, where no overhead thread may run"
    return [*unseen, *(found or [check.found(Health.GOOD, good)])]


def _realtime_vcpu(thread: ObservedThread) -> bool:
    return thread.thread_class is ThreadClass.VCPU and thread.scheduler in _REALTIME


def _waiting(guest: RunningGuest, busy: CpuSet) -> tuple[ObservedThread, ...]:
    """The overhead threads of a guest that may run on `busy` pCPUs. Realtime ones do not wait."""
    return tuple(
        thread
        for thread in guest.threads
        if thread.thread_class in OVERHEAD_CLASSES and thread.scheduler not in _REALTIME and not thread.allowed.isdisjoint(busy)
    )


def _starved(
    guest: RunningGuest,
    waiting: tuple[ObservedThread, ...],
    vcpus: Sequence[tuple[RunningGuest, ObservedThread]],
    busy: CpuSet,
    pools: Pools,
    online: CpuSet,
    command: Callable[[Subject, tuple[Step, ...]], str],
) -> Checkup:
    where = CpuSet.union(thread.allowed for thread in waiting) & busy
    only = all(thread.allowed & online <= busy for thread in waiting)
    beside = [(other, vcpu) for other, vcpu in vcpus if not vcpu.allowed.isdisjoint(where)]
    words = (
        f"{count(len(waiting), 'overhead thread')} of guest {guest.subject.name} may run {'only ' if only else ''}on {pcpus(str(where))}, "
        f"beside {', '.join(f'vCPU {vcpu.vcpu} of guest {other.subject.name}' for other, vcpu in beside[:_EXAMPLES])}"
    )
    seen = [_seen(other, vcpu) for other, vcpu in beside[:_EXAMPLES]] + [_seen(guest, thread) for thread in waiting[:_EXAMPLES]]
    target = (pools.shared if pools.overhead is None else pools.overhead) & online - busy
    if guest.ours:
        advice = "if it has drifted, the repair moves it; else give its flavor hw:emulator_threads_policy=share or isolate"
        repair = f"pinfold repair {shell_word(guest.subject.name)}"
        return Check.STARVATION.found(Health.POOR, words, seen=seen, advice=advice, repair=repair)
    step = Pin(what=Pinned.EMULATOR, cpus=target, online=target, live=True, kept=guest.subject.persistent, threads=waiting)
    advice = "" if target else "no pCPU of the pools is free of realtime vCPUs: give the host an overhead pool (cpu_overhead_set)"
    repair = command(guest.subject, (step,)) if target else ""
    return Check.STARVATION.found(Health.POOR, words, seen=seen, advice=advice, repair=repair)


def _in_pool(inside: CpuSet, vcpus: Iterable[tuple[RunningGuest, ObservedThread]]) -> Checkup:
    there = [(guest, vcpu) for guest, vcpu in vcpus if not vcpu.allowed.isdisjoint(inside)]
    names = sorted({guest.subject.name for guest, _ in there})
    return Check.STARVATION.found(
        Health.POOR,
        f"realtime vCPUs of guest {', '.join(names[:_EXAMPLES])} run on {pcpus(str(inside))} of the overhead pool",
        seen=[_seen(guest, vcpu) for guest, vcpu in there[:_EXAMPLES]],
        advice=(
            "pin these vCPUs to dedicated pCPUs (`virsh vcpupin`; `pinfold repair` for guests of pinfold's), or take "
            f"{pcpus(str(inside))} out of the overhead pool"
        ),
    )


def _seen(guest: RunningGuest, thread: ObservedThread) -> Seen:
    path = f"/proc/{guest.subject.pid}/task/{thread.tid}"
    return Seen(source=path, value=f"{thread.name}, {thread.scheduler}, Cpus_allowed_list {thread.allowed}")
