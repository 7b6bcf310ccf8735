"""`Finding`: one difference between what was recorded and what the host shows.

The codes are a closed set with stable values. The command line, the metrics and the reference use them.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from pinfold.core.drift.steps import Step
from pinfold.core.overhead import ThreadClass
from pinfold.core.plural import count, pcpus


class Severity(Enum):
    """Whether a finding breaks a promise."""

    DRIFT = "drift"
    """Something is not where the record says."""
    NOTE = "note"
    """Useful to know, but outside what pinfold controls or promises."""


class FindingCode(Enum):
    """The kind of difference. The values are stable."""

    VCPU_THREAD = "vcpu-thread"
    EMULATOR_THREAD = "emulator-thread"
    IOTHREAD = "iothread"
    VHOST_THREAD = "vhost-thread"
    KERNEL_THREAD = "kernel-thread"
    VCPU_MISSING = "vcpu-missing"
    VCPU_UNEXPECTED = "vcpu-unexpected"
    REALTIME_MISSING = "realtime-missing"
    REALTIME_UNEXPECTED = "realtime-unexpected"
    THREADS_UNSEEN = "threads-unseen"
    THREADS_UNSETTLED = "threads-unsettled"
    DEFINITION_PINS = "definition-pins"
    DEFINITION_REALTIME = "definition-realtime"
    EMULATOR_POLICY = "emulator-policy"
    PCPU_OFFLINE = "pcpu-offline"
    TWO_OWNERS = "two-owners"
    OUTSIDE_POOL = "outside-pool"
    POOL_PART = "pool-part"
    FOREIGN_FLOATING = "foreign-floating"
    FOREIGN_PROCESS = "foreign-process"
    RECORD_UNREADABLE = "record-unreadable"
    POOLS_MISSING = "pools-missing"
    SIBLING_BUSY = "sibling-busy"
    MEMORY_CELL = "memory-cell"
    REPAIR_UNDONE = "repair-undone"


THREAD_CODES = {
    ThreadClass.VCPU: FindingCode.VCPU_THREAD,
    ThreadClass.EMULATOR: FindingCode.EMULATOR_THREAD,
    ThreadClass.IOTHREAD: FindingCode.IOTHREAD,
    ThreadClass.VHOST: FindingCode.VHOST_THREAD,
    ThreadClass.KTHREAD: FindingCode.KERNEL_THREAD,
}
"""The code for a thread that runs elsewhere than recorded, by thread class."""

PLACE_CODES = frozenset({*THREAD_CODES.values(), FindingCode.DEFINITION_PINS})
"""The codes that say where a thread should run."""

_NOTES = frozenset({FindingCode.KERNEL_THREAD, FindingCode.THREADS_UNSETTLED, FindingCode.POOL_PART})


class Subject(Struct, frozen=True, kw_only=True):
    """The guest that findings are about, with what repairs need.

    `pid` is the hypervisor's process and the id of its main thread. `realtime_priority` is the priority of realtime vCPUs.
    `persistent` means that the hypervisor keeps the definition after the guest stops. `owner` is who manages the guest: `pinfold` if it
    was started directly on the host, the service's agent, or '' for a guest without our record, whose place is inferred.
    """

    name: str
    id: str = ""
    pid: int | None = None
    active: bool = True
    realtime_priority: int = 1
    persistent: bool = True
    owner: str = ""


class Finding(Struct, frozen=True, kw_only=True):
    """One difference. `recorded` and `observed` are texts: a cpulist, a scheduler's name, or '' if they do not apply.

    `guest` is the guest's name ('' for the host's own findings), `thread` and `tid` the thread, `subject` what else it is about
    (a vCPU, a pool, a process, pCPUs). `threads` are all misplaced threads with the same cause, ordered by id; `tid` and `thread` are
    the first of them. `definition` names the guest's definition that is wrong. `by_record` is False if the right place was inferred
    and not recorded. `steps` undo the difference, and `repair` is the exact shell command that takes them, which the driver adds. If there
    is none, `advice` says why and what to do. `minor` turns drift into a note.
    """

    code: FindingCode
    guest: str = ""
    guest_id: str = ""
    tid: int | None = None
    thread: str = ""
    thread_class: ThreadClass | None = None
    subject: str = ""
    recorded: str = ""
    observed: str = ""
    steps: tuple[Step, ...] = ()
    repair: str = ""
    advice: str = ""
    threads: tuple[tuple[int, str], ...] = ()
    definition: str = "definition"
    by_record: bool = True
    minor: bool = False

    @property
    def severity(self) -> Severity:
        """NOTE for what pinfold cannot control (such as kernel threads) and for what breaks no promise; otherwise DRIFT."""
        note = self.minor or self.code in _NOTES or self.thread_class is ThreadClass.KTHREAD
        return Severity.NOTE if note else Severity.DRIFT

    @property
    def tids(self) -> frozenset[int]:
        """The ids of every thread that the finding is about."""
        return frozenset(tid for tid, _ in self.threads) | (frozenset() if self.tid is None else {self.tid})

    def sentence(self) -> str:
        """The finding as an operator reads it, without a full stop.

        >>> Finding(code=FindingCode.EMULATOR_THREAD, guest="web", tid=71, thread="worker", recorded="0-1", observed="0-15").sentence()
        'guest web: emulator thread 71 (worker) may run on 0-15, recorded is 0-1'
        >>> Finding(code=FindingCode.TWO_OWNERS, subject="4-5", observed="guest a, guest b").sentence()
        'pCPUs 4-5 have more than one owner: guest a, guest b'
        """
        return (f"guest {self.guest}: " if self.guest else "") + self.fact()

    def fact(self, right: str = "recorded is") -> str:
        """The sentence without the name of the guest. `right` is said before what was recorded.

        >>> Finding(code=FindingCode.EMULATOR_THREAD, guest="web", tid=71, thread="worker", recorded="0-1", observed="0-15").fact()
        'emulator thread 71 (worker) may run on 0-15, recorded is 0-1'
        """
        named = self.threads or (((self.tid, self.thread),) if self.tid is not None else ())
        their = "their" if len(named) > 1 else "its"
        sentence = _SENTENCES[self.code].format(
            threads=_listed(named),
            s="s" if len(named) > 1 else "",
            verb="" if len(named) > 1 else "s",
            subject=self.subject,
            place=right if self.by_record else f"{their} place is",
            their=their,
            definition=self.definition,
            recorded=self.recorded or "nothing",
            observed=self.observed or "nothing",
            observed_pcpus=pcpus(self.observed),
            subject_pcpus=pcpus(self.subject),
            subject_have="has" if self.subject.isdigit() else "have",
        )
        if self.code in _BY_DEFINITION and self.threads:
            are = "is" if len(self.threads) == 1 else "are"
            sentence += f"; {count(len(self.threads), 'thread')} {are} astray with it: {_listed(self.threads)}"
        return sentence


def _listed(threads: tuple[tuple[int, str], ...]) -> str:
    """The threads by id and name; equal names appear once.

    >>> _listed(((71, "worker"), (72, "worker"), (80, "vnc_worker")))
    '71, 72 (worker), 80 (vnc_worker)'
    """
    words = []
    for place, (tid, name) in enumerate(threads):
        last = place + 1 == len(threads) or threads[place + 1][1] != name
        words.append(f"{tid} ({name})" if last else str(tid))
    return ", ".join(words)


_BY_DEFINITION = frozenset({FindingCode.DEFINITION_PINS, FindingCode.EMULATOR_POLICY, FindingCode.POOL_PART, FindingCode.OUTSIDE_POOL})
"""Findings about a definition. Threads that follow it may be misplaced too."""

_SENTENCES = {
    FindingCode.VCPU_THREAD: "vCPU thread {threads} may run on {observed}, {place} {recorded}",
    FindingCode.EMULATOR_THREAD: "emulator thread{s} {threads} may run on {observed}, {place} {recorded}",
    FindingCode.IOTHREAD: "iothread{s} {threads} may run on {observed}, {place} {recorded}",
    FindingCode.VHOST_THREAD: "vhost thread{s} {threads} may run on {observed}, {place} {recorded}",
    FindingCode.KERNEL_THREAD: "kernel thread{s} {threads} may run on {observed}, {their} place is {recorded}",
    FindingCode.VCPU_MISSING: "{subject} has no thread",
    FindingCode.VCPU_UNEXPECTED: "thread {threads} is {subject}, which was never recorded",
    FindingCode.REALTIME_MISSING: "thread{s} {threads} run{verb} under the scheduler {observed}, {place} {recorded}",
    FindingCode.REALTIME_UNEXPECTED: "thread{s} {threads} run{verb} under the scheduler {observed}, {place} {recorded}",
    FindingCode.THREADS_UNSEEN: "it is said to run, but none of its threads was seen",
    FindingCode.THREADS_UNSETTLED: "threads kept appearing until the walk gave up",
    FindingCode.DEFINITION_PINS: "the {definition} puts {subject} on {observed}, {place} {recorded}",
    FindingCode.DEFINITION_REALTIME: "the {definition} makes vCPUs {observed} realtime, {place} {recorded}",
    FindingCode.EMULATOR_POLICY: "policy {subject} wants emulator threads on {recorded}, the {definition} puts them on {observed}",
    FindingCode.PCPU_OFFLINE: "{subject} was recorded on {recorded}, of which {observed} is offline",
    FindingCode.TWO_OWNERS: "{subject_pcpus} {subject_have} more than one owner: {observed}",
    FindingCode.OUTSIDE_POOL: "{subject} lie on {observed}, outside the pool of today ({recorded})",
    FindingCode.POOL_PART: "{subject} lie on {observed}, only a part of the pool of today ({recorded})",
    FindingCode.FOREIGN_FLOATING: "{subject} may run on the dedicated {observed_pcpus}, none of which is its own",
    FindingCode.FOREIGN_PROCESS: "{subject} {threads} is bound to the dedicated {observed_pcpus}",
    FindingCode.RECORD_UNREADABLE: "the record in its definition cannot be read: {observed}",
    FindingCode.SIBLING_BUSY: "thread policy isolate keeps the siblings of its pCPUs idle, but {subject_pcpus} {subject_have} {observed}",
    FindingCode.REPAIR_UNDONE: "it was repaired {subject}, somebody undid it each time, and so it is left as it is",
    FindingCode.MEMORY_CELL: "{subject} of its memory lie on cell {observed}, their place is cell {recorded}",
    FindingCode.POOLS_MISSING: "neither cpu_shared_set nor cpu_dedicated_set is set, but {subject}: {observed}",
}
