"""Compare one guest's threads and definitions with its place. `host` compares guests with pools and with each other.

A thread is right if the online pCPUs of its mask equal the online pCPUs of its place. A wider mask breaks the promise. A narrower one does
too, because the thread queues behind everything else on those pCPUs. Offline pCPUs are ignored on both sides: a cpuset cgroup removes them
from every mask; without one they stay in the mask and have no effect.

One cause gives one finding. A finding about a wrong pin lists the threads that follow the pin. Misplaced threads under a right pin are
grouped by class and mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import remedy
from pinfold.core.drift.expectation import Definitions, ExpectedMasks, InferredMasks, PinDefinition, expected
from pinfold.core.drift.finding import THREAD_CODES, Finding, FindingCode, Subject
from pinfold.core.drift.steps import Move, Pin, Pinned, Schedule, Step, SwitchOn
from pinfold.core.overhead import ObservedThread, ThreadClass, table

_REALTIME = frozenset({"fifo", "rr", "deadline"})
_NO_THREAD = "stop the guest and start it again; a vCPU thread cannot be made from outside"
_NO_DEFINITION = "edit the definition; the scheduler is applied at the guest's start"
_NOT_OURS = "look at the definition; the record was made for another number of vCPUs"
_UNKNOWN = Definitions()
_FOLLOWERS = (ThreadClass.EMULATOR, ThreadClass.VHOST)
"""The thread classes that follow the emulator's pin."""


def compare(
    subject: Subject,
    places: ExpectedMasks,
    threads: Iterable[ObservedThread] | None,
    online: CpuSet,
    *,
    definitions: Definitions = _UNKNOWN,
    stable: bool = True,
) -> tuple[Finding, ...]:
    """Compare a guest's place with its observed threads and definitions: pins, threads, schedulers, vCPUs, offline pCPUs. Pure.

    `threads` is None for a guest that does not run. `online` is the host's online pCPUs. `stable` is False if threads kept appearing.
    """
    seen = () if threads is None else tuple(threads)
    judge = _Judge(subject=subject, places=places, definitions=definitions, threads=seen, online=online)
    findings = [*judge.vcpus(), *judge.emulator(), *judge.iothreads(), *judge.kernel(), *judge.realtime()]
    if threads is None:
        return tuple(findings)
    if not seen:
        advice = "look at the guest's process; it may have ended while it was looked at"
        return (*findings, judge.finding(FindingCode.THREADS_UNSEEN, advice=advice))
    findings += [*judge.unexpected(), *judge.missing(), *judge.offline()]
    if not stable:
        findings.append(judge.finding(FindingCode.THREADS_UNSETTLED, advice="run the audit again; each thread that was seen is judged"))
    return tuple(findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pin:
    """One pin: its owner, its right pCPUs, its value in the two definitions if wrong, and the misplaced threads that follow it."""

    about: str
    what: Pinned
    index: int
    place: CpuSet
    live: CpuSet | None
    kept: CpuSet | None
    threads: tuple[ObservedThread, ...]

    @property
    def definition(self) -> str:
        if self.live is not None and self.kept is not None:
            return "definition"
        return "live definition" if self.live is not None else "persistent definition"

    def observed(self, online: CpuSet) -> str:
        """The value of the pin in the definitions that are wrong."""
        live, kept = ("every pCPU" if cpus == online else str(cpus) for cpus in (self.live, self.kept))
        if self.live is None or self.kept is None or live == kept:
            return kept if self.live is None else live
        return f"{live} now and on {kept} from the next start on"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    subject: Subject
    places: ExpectedMasks
    definitions: Definitions
    threads: tuple[ObservedThread, ...]
    online: CpuSet

    def finding(
        self,
        code: FindingCode,
        threads: Iterable[ObservedThread] = (),
        *,
        subject: str = "",
        recorded: str = "",
        observed: str = "",
        definition: str = "definition",
        step: Step | None = None,
        advice: str = "",
    ) -> Finding:
        named = tuple(threads)
        listed = tuple(sorted((thread.tid, thread.name) for thread in named))
        kinds = {thread.thread_class for thread in named}
        return Finding(
            code=code,
            guest=self.subject.name,
            guest_id=self.subject.id,
            by_record=bool(self.subject.owner),
            tid=listed[0][0] if listed else None,
            thread=listed[0][1] if listed else "",
            threads=listed,
            thread_class=kinds.pop() if len(kinds) == 1 else None,
            subject=subject,
            recorded=recorded,
            observed=observed,
            definition=definition,
            steps=() if step is None else (step,),
            advice=advice,
        )

    def astray(self, thread: ObservedThread, place: CpuSet) -> bool:
        return bool(place & self.online) and thread.allowed & self.online != place & self.online

    def vcpus(self) -> list[Finding]:
        found = []
        for vcpu, place in enumerate(self.places.vcpus):
            own = tuple(thread for thread in self.threads if thread.thread_class is ThreadClass.VCPU and thread.vcpu == vcpu)
            pin = self._pin(f"vCPU {vcpu}", place, own, _pin_of(vcpu), Pinned.VCPU, vcpu)
            found += self._judged(pin, FindingCode.DEFINITION_PINS)
        return found

    def emulator(self) -> list[Finding]:
        own = tuple(thread for thread in self.threads if thread.thread_class in _FOLLOWERS or thread in self._led())
        pin = self._pin("the emulator", self.places.overhead, own, lambda asked: asked.emulator, Pinned.EMULATOR)
        policy = self.places.policy if isinstance(self.places, InferredMasks) else None
        if policy is None:
            return self._judged(pin, FindingCode.DEFINITION_PINS)
        if table.uses_pool(policy) and self._is_part(pin):
            return self._judged(replace(pin, about="its overhead threads"), FindingCode.POOL_PART)
        return self._judged(replace(pin, about=policy.value), FindingCode.EMULATOR_POLICY)

    def iothreads(self) -> list[Finding]:
        found: list[Finding] = []
        by_number: dict[int | None, list[ObservedThread]] = {}
        for thread in self.threads:
            if thread.thread_class is ThreadClass.IOTHREAD:
                by_number.setdefault(thread.iothread, []).append(thread)
        pinned = [asked for asked in (self.definitions.live, self.definitions.kept) if asked is not None]
        numbers = {number for asked in pinned for number, _ in asked.iothreads} | set(range(1, self.definitions.iothreads + 1))
        for number in sorted(numbers | {number for number in by_number if number is not None}):
            own = tuple(by_number.get(number, ()))
            pin = self._pin(
                f"iothread {number}",
                self.places.overhead,
                own,
                _iothread_pin_of(number),
                Pinned.IOTHREAD,
                number,
                defined=number in numbers,
            )
            found += self._judged(pin, FindingCode.DEFINITION_PINS)
        rest = [thread for thread in by_number.get(None, ()) if self.astray(thread, self.places.overhead)]
        return found + self._by_mask(rest, self.places.overhead, lambda group: self._move(group, self.places.overhead))

    def _led(self) -> tuple[ObservedThread, ...]:
        """The kernel threads that followed a wrong emulator pin, which happens with a cpuset cgroup."""
        live = self.definitions.live
        if live is None or live.emulator is None or live.emulator & self.online == self.places.overhead & self.online:
            return ()
        kernel = (thread for thread in self.threads if thread.thread_class is ThreadClass.KTHREAD)
        return tuple(
            thread
            for thread in kernel
            if expected(self.places, thread) == self.places.overhead and thread.allowed & self.online == live.emulator & self.online
        )

    def kernel(self) -> list[Finding]:
        found, led = [], self._led()
        for thread in self.threads:
            place = expected(self.places, thread) if thread.thread_class is ThreadClass.KTHREAD else None
            if place and self.astray(thread, place) and thread not in led:
                step = self._move([thread], place)
                found.append(
                    self.finding(FindingCode.KERNEL_THREAD, [thread], recorded=str(place), observed=str(thread.allowed), step=step)
                )
        return found

    def realtime(self) -> list[Finding]:
        found: list[Finding] = []
        stray: dict[str, list[ObservedThread]] = {}
        for thread in self.threads:
            if thread.thread_class is ThreadClass.THREAD_CONTEXT:
                continue
            if thread.thread_class is ThreadClass.KTHREAD and isinstance(self.places, InferredMasks):
                continue
            if thread.thread_class is ThreadClass.VCPU and thread.vcpu in self.places.realtime:
                if thread.scheduler != "fifo":
                    step = Schedule(tids=(thread.tid,), priority=self.subject.realtime_priority)
                    found.append(
                        self.finding(FindingCode.REALTIME_MISSING, [thread], recorded="fifo", observed=thread.scheduler, step=step)
                    )
            elif thread.scheduler in _REALTIME:
                stray.setdefault(thread.scheduler, []).append(thread)
        for scheduler, group in sorted(stray.items()):
            step = Schedule(tids=tuple(sorted(thread.tid for thread in group)))
            found.append(self.finding(FindingCode.REALTIME_UNEXPECTED, group, recorded="other", observed=scheduler, step=step))
        return found + self._defined_realtime()

    def _defined_realtime(self) -> list[Finding]:
        right = self.places.realtime
        live = None if self.definitions.live is None else self.definitions.live.realtime
        kept = None if self.definitions.kept is None else self.definitions.kept.realtime
        wrong = {name: cpus for name, cpus in (("live", live), ("persistent", kept)) if cpus is not None and cpus != right}
        if not wrong:
            return []
        definition = "definition" if len(wrong) == 2 or self.definitions.live is None else f"{next(iter(wrong))} definition"
        return [
            self.finding(
                FindingCode.DEFINITION_REALTIME,
                recorded=str(right),
                observed=str(next(iter(wrong.values()))),
                definition=definition,
                advice=_written_again(self.subject),
            )
        ]

    def unexpected(self) -> list[Finding]:
        found = []
        for thread in self.threads:
            if thread.thread_class is ThreadClass.VCPU and not (thread.vcpu is not None and 0 <= thread.vcpu < len(self.places.vcpus)):
                about = "a vCPU without an index" if thread.vcpu is None else f"vCPU {thread.vcpu}"
                found.append(self.finding(FindingCode.VCPU_UNEXPECTED, [thread], subject=about, advice=_NOT_OURS))
        return found

    def missing(self) -> list[Finding]:
        present = {thread.vcpu for thread in self.threads if thread.thread_class is ThreadClass.VCPU}
        absent = [vcpu for vcpu in range(len(self.places.vcpus)) if vcpu not in present]
        return [self.finding(FindingCode.VCPU_MISSING, subject=f"vCPU {vcpu}", advice=_NO_THREAD) for vcpu in absent]

    def offline(self) -> list[Finding]:
        """Threads whose pCPUs are all offline. The kernel then lets them run anywhere, so no mask is right."""
        places = [(f"vCPU {vcpu}", cpus) for vcpu, cpus in enumerate(self.places.vcpus)] + [("the emulator", self.places.overhead)]
        return [
            self.finding(
                FindingCode.PCPU_OFFLINE,
                subject=name,
                recorded=str(cpus),
                observed=str(cpus - self.online),
                step=SwitchOn(cpus=cpus - self.online),
            )
            for name, cpus in places
            if cpus and not cpus & self.online
        ]

    def _pin(
        self,
        about: str,
        place: CpuSet,
        threads: tuple[ObservedThread, ...],
        of: Callable[[PinDefinition], CpuSet | None],
        what: Pinned,
        index: int = 0,
        *,
        defined: bool = True,
    ) -> _Pin:
        """The pin with its wrong definitions and misplaced threads; those that are right are left out."""

        def wrong(asked: PinDefinition | None) -> CpuSet | None:
            if asked is None or not defined or not place & self.online:
                return None
            said = of(asked)
            said = asked.placement if said is None else said
            said = self.online if said is None else said
            return None if said & self.online == place & self.online else said

        return _Pin(
            about=about,
            what=what,
            index=index,
            place=place,
            live=wrong(self.definitions.live),
            kept=wrong(self.definitions.kept),
            threads=tuple(thread for thread in threads if self.astray(thread, place)),
        )

    def _is_part(self, pin: _Pin) -> bool:
        """Whether all differing masks are subsets of the pin's place."""
        sets = [cpus for cpus in (pin.live, pin.kept) if cpus is not None] + [thread.allowed for thread in pin.threads]
        defined = pin.live is not None or pin.kept is not None
        return defined and all(cpus & self.online <= pin.place and cpus & self.online for cpus in sets)

    def _judged(self, pin: _Pin, code: FindingCode) -> list[Finding]:
        if pin.live is None and pin.kept is None:
            return self._by_mask(pin.threads, pin.place, lambda group: self._repinned(pin, group))
        return [
            self.finding(
                code,
                pin.threads,
                subject=pin.about,
                recorded=str(pin.place),
                observed=pin.observed(self.online),
                definition="definition" if self.definitions.live is None else pin.definition,
                step=self._repinned(pin, pin.threads),
            )
        ]

    def _repinned(self, pin: _Pin, threads: Iterable[ObservedThread]) -> Step:
        """Set a pin again in the definitions where it is wrong, and move the threads to it."""
        return Pin(
            what=pin.what,
            index=pin.index,
            cpus=pin.place,
            online=pin.place & self.online,
            live=pin.live is not None,
            kept=pin.kept is not None,
            threads=tuple(threads),
        )

    def _move(self, threads: Iterable[ObservedThread], place: CpuSet) -> Step:
        return Move(threads=tuple(threads), cpus=place & self.online)

    def _by_mask(self, threads: Iterable[ObservedThread], place: CpuSet, step: Callable[[list[ObservedThread]], Step]) -> list[Finding]:
        """One finding for each thread class and mask."""
        groups: dict[tuple[ThreadClass, CpuSet], list[ObservedThread]] = {}
        for thread in threads:
            groups.setdefault((thread.thread_class, thread.allowed), []).append(thread)
        return [
            self.finding(THREAD_CODES[kind], group, recorded=str(place), observed=str(allowed), step=step(group))
            for (kind, allowed), group in groups.items()
        ]


def _written_again(subject: Subject) -> str:
    """Advice for a definition that no command can correct."""
    return f"have the definition written again by the record: {remedy.replaced(subject)}" if subject.owner else _NO_DEFINITION


def _pin_of(vcpu: int) -> Callable[[PinDefinition], CpuSet | None]:
    return lambda asked: dict(asked.vcpus).get(vcpu)


def _iothread_pin_of(number: int) -> Callable[[PinDefinition], CpuSet | None]:
    return lambda asked: dict(asked.iothreads).get(number)
