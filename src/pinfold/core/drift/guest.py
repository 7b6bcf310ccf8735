"""What differs between one guest's record and its threads and definition. Differences between guests and pools do not belong here.

A thread is where it should be when the pCPUs it may run on are exactly those recorded for it, less the offline ones. Wider is a
broken promise; so is narrower, since a thread held to a part of its set queues behind whatever else runs there. The kernel removes
offline pCPUs from every mask, and libvirt forgets them silently, so that recorded ∩ online is what can be asked of a host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import remedy
from pinfold.core.drift.finding import THREAD_CODES, Finding, FindingCode, Subject
from pinfold.core.overhead import Masks, ObservedThread, ThreadClass

_REALTIME = frozenset({"fifo", "rr", "deadline"})
_NO_THREAD = "stop the guest and start it again; a vCPU thread cannot be made from outside"
_NO_DEFINITION = "edit the definition; the scheduler is applied at the guest's start"
_NOT_OURS = "look at the definition; the record was made for another number of vCPUs"


class Asked(Protocol):
    """The pins that a definition asks for (`drivers.port.AskedPins`): None where it says nothing."""

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


def compare(
    subject: Subject, masks: Masks, threads: Iterable[ObservedThread], online: CpuSet, *, stable: bool = True
) -> tuple[Finding, ...]:
    """What differs between the recorded masks and the threads seen; ordered as the threads, then missing vCPUs by index.

    `online` is the host's online pCPUs; `stable` is False where the walk gave up. Pure.
    """
    seen = tuple(threads)
    if not seen:
        advice = "look at the guest's process; it may have ended while it was looked at"
        return (Finding(code=FindingCode.THREADS_UNSEEN, guest=subject.name, guest_id=subject.id, advice=advice),)
    findings: list[Finding] = []
    for thread in seen:
        findings += _thread(subject, masks, thread, online)
    present = {thread.vcpu for thread in seen if thread.thread_class is ThreadClass.VCPU}
    findings += [
        Finding(code=FindingCode.VCPU_MISSING, guest=subject.name, guest_id=subject.id, subject=f"vCPU {vcpu}", advice=_NO_THREAD)
        for vcpu in range(len(masks.vcpus))
        if vcpu not in present
    ]
    findings += _offline(subject, masks, online)
    if not stable:
        advice = "run the audit again; each thread that was seen is judged"
        findings.append(Finding(code=FindingCode.THREADS_UNSETTLED, guest=subject.name, guest_id=subject.id, advice=advice))
    return tuple(findings)


def expected(masks: Masks, thread: ObservedThread) -> CpuSet | None:
    """The pCPUs recorded for a thread, None for a vCPU that the record does not know and for thread contexts, which it never names.

    `kvm-pit` serves vCPU 0 and belongs beside it; every other kernel thread of a guest belongs with its overhead threads.
    """
    if thread.thread_class is ThreadClass.VCPU:
        known = thread.vcpu is not None and 0 <= thread.vcpu < len(masks.vcpus)
        return masks.vcpus[thread.vcpu] if known and thread.vcpu is not None else None
    if thread.thread_class is ThreadClass.THREAD_CONTEXT:
        return None
    if thread.thread_class is ThreadClass.KTHREAD and thread.name.startswith("kvm-pit"):
        return masks.vcpus[0]
    return masks.overhead


def _thread(subject: Subject, masks: Masks, thread: ObservedThread, online: CpuSet) -> list[Finding]:
    if thread.thread_class is ThreadClass.THREAD_CONTEXT:
        # libvirt binds it to the cell of the memory, on purpose, and it sleeps once the pages are made.
        return []
    recorded = expected(masks, thread)
    if recorded is None:
        vcpu = "a vCPU without an index" if thread.vcpu is None else f"vCPU {thread.vcpu}"
        return [_of(FindingCode.VCPU_UNEXPECTED, subject, thread, about=vcpu, advice=_NOT_OURS)]
    findings = []
    place = recorded & online
    if thread.allowed != place and place:
        findings.append(
            _of(
                THREAD_CODES[thread.thread_class],
                subject,
                thread,
                recorded=str(recorded),
                observed=str(thread.allowed),
                repair=_move(subject, thread, place),
            )
        )
    wanted = thread.thread_class is ThreadClass.VCPU and thread.vcpu in masks.realtime
    if wanted and thread.scheduler != "fifo":
        repair = remedy.chrt_fifo(thread.tid, subject.realtime_priority)
        findings.append(_of(FindingCode.REALTIME_MISSING, subject, thread, recorded="fifo", observed=thread.scheduler, repair=repair))
    elif not wanted and thread.scheduler in _REALTIME:
        repair = remedy.chrt_other(thread.tid)
        findings.append(_of(FindingCode.REALTIME_UNEXPECTED, subject, thread, recorded="other", observed=thread.scheduler, repair=repair))
    return findings


def _move(subject: Subject, thread: ObservedThread, place: CpuSet) -> str:
    if thread.thread_class is ThreadClass.VCPU and thread.vcpu is not None:
        return remedy.vcpupin(subject, thread.vcpu, place)
    # A remote hypervisor tells no thread ids (0): its word is about the class as a whole.
    if thread.thread_class is ThreadClass.EMULATOR and thread.tid in (subject.pid, 0):
        return remedy.emulatorpin(subject, place)
    number = re.fullmatch(r"(?:IO iothread|iothread )(\d+)", thread.name)
    # The kernel cuts a name to 15 characters: a number of six digits or more may have lost its tail.
    if thread.thread_class is ThreadClass.IOTHREAD and number and len(thread.name) < 15:
        return remedy.iothreadpin(subject, int(number[1]), place)
    return remedy.taskset(thread.tid, place)


def _of(
    code: FindingCode,
    subject: Subject,
    thread: ObservedThread,
    *,
    about: str = "",
    recorded: str = "",
    observed: str = "",
    repair: str = "",
    advice: str = "",
) -> Finding:
    return Finding(
        code=code,
        guest=subject.name,
        guest_id=subject.id,
        tid=thread.tid,
        thread=thread.name,
        thread_class=thread.thread_class,
        subject=about,
        recorded=recorded,
        observed=observed,
        repair=repair,
        advice=advice,
    )


def _offline(subject: Subject, masks: Masks, online: CpuSet) -> list[Finding]:
    """Threads of which no recorded pCPU is left: the kernel then lets them run anywhere, so no mask could be right."""
    places = [(f"vCPU {vcpu}", cpus) for vcpu, cpus in enumerate(masks.vcpus)] + [("the emulator", masks.overhead)]
    return [
        Finding(
            code=FindingCode.PCPU_OFFLINE,
            guest=subject.name,
            guest_id=subject.id,
            subject=name,
            recorded=str(cpus),
            observed=str(cpus - online),
            repair=remedy.bring_online(cpus - online),
        )
        for name, cpus in places
        if not cpus & online
    ]


def compare_asked(subject: Subject, masks: Masks, asked: Asked, online: CpuSet, *, iothreads: int = 0) -> tuple[Finding, ...]:
    """What differs between the record and the pins in the guest's definition: somebody changed it behind our back.

    `iothreads` is how many the definition has, pinned or not. Ordered vCPUs, emulator, iothreads, scheduler. Offline pCPUs are left
    out on both sides, since libvirt drops them from live pins. Pure.
    """
    pins = dict(asked.vcpus)
    findings = []
    for vcpu, recorded in enumerate(masks.vcpus):
        place = recorded & online
        observed = pins.get(vcpu, asked.placement)
        if _differs(observed, place, online):
            repair = remedy.vcpupin(subject, vcpu, place)
            findings.append(_definition(subject, f"vCPU {vcpu}", recorded, observed, repair))
    place = masks.overhead & online
    observed = asked.placement if asked.emulator is None else asked.emulator
    if _differs(observed, place, online):
        findings.append(_definition(subject, "the emulator", masks.overhead, observed, remedy.emulatorpin(subject, place)))
    threads = dict(asked.iothreads)
    for iothread in sorted(set(threads) | set(range(1, iothreads + 1))):
        observed = threads.get(iothread, asked.placement)
        if _differs(observed, place, online):
            repair = remedy.iothreadpin(subject, iothread, place)
            findings.append(_definition(subject, f"iothread {iothread}", masks.overhead, observed, repair))
    if asked.realtime != masks.realtime:
        findings.append(
            Finding(
                code=FindingCode.DEFINITION_REALTIME,
                guest=subject.name,
                guest_id=subject.id,
                recorded=str(masks.realtime),
                observed=str(asked.realtime),
                advice=f"have the definition written again by the record: {remedy.replaced(subject)}" if subject.owner else _NO_DEFINITION,
            )
        )
    return tuple(findings)


def _differs(observed: CpuSet | None, place: CpuSet, online: CpuSet) -> bool:
    """Whether a definition's set is not the recorded one; no set at all means every online pCPU. Nothing online: reported elsewhere."""
    return bool(place) and (online if observed is None else observed & online) != place


def _definition(subject: Subject, about: str, recorded: CpuSet, observed: CpuSet | None, repair: str) -> Finding:
    return Finding(
        code=FindingCode.DEFINITION_PINS,
        guest=subject.name,
        guest_id=subject.id,
        subject=about,
        recorded=str(recorded),
        observed="every pCPU" if observed is None else str(observed),
        repair=repair,
    )
