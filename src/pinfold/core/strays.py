"""`Strays`: threads that may run on pCPUs outside their place: whose they are, where they belong, and what puts them back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import PLACE_CODES, Finding, FindingCode, Severity
from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ThreadClass
from pinfold.core.plural import pcpus

EVERY_PCPU: Final = "every pCPU"
_OF_THREADS: Final = PLACE_CODES | {FindingCode.EMULATOR_POLICY}
"""Findings that are about threads only if they name some; otherwise a definition alone is wrong."""
_OF_PLACES: Final = frozenset({FindingCode.OUTSIDE_POOL, FindingCode.FOREIGN_FLOATING, FindingCode.FOREIGN_PROCESS})


class Stray(Struct, frozen=True, kw_only=True):
    """Whose threads may run on a pCPU without belonging there: a guest's, by id and name, or those of a process of the host, by its id.

    `thread_class` is None for threads of several classes, for those of unknown class, and for a process. `ours`: pinfold has a claim of
    the guest.
    """

    guest: GuestId | None
    name: str
    thread_class: ThreadClass | None = None
    process: int | None = None
    ours: bool = True

    @property
    def key(self) -> str:
        """What tells a guest from the others of the host: its id, else its name."""
        return self.guest or self.name

    def words(self) -> str:
        """Who it is, as a part of a sentence.

        >>> Stray(guest=None, name="web", thread_class=ThreadClass.EMULATOR).words()
        'emulator threads of web'
        >>> Stray(guest=None, name="make", process=812).words()
        'process 812 (make)'
        """
        if self.process is not None:
            return f"process {self.process} ({self.name})"
        kind = "threads" if self.thread_class is None else _THREADS.get(self.thread_class, "threads")
        return f"{kind} of {self.name}"


class Strays(Struct, frozen=True, kw_only=True):
    """Threads of one guest, or one process, outside their place. `place` are the pCPUs where they belong, none if that is not known.

    `pcpus` are the others on which they may run. `sentence` says what was found. `repair` is the command that puts them back; if there is
    none, `advice` says why and what to do.
    """

    who: Stray
    pcpus: CpuSet
    place: CpuSet
    sentence: str
    repair: str
    advice: str

    def words(self) -> str:
        """Who may run where, and where they belong.

        >>> who = Stray(guest=None, name="web", thread_class=ThreadClass.EMULATOR)
        >>> Strays(who=who, pcpus=CpuSet.of(4, 5), place=CpuSet.of(0), sentence="", repair="", advice="").words()
        'emulator threads of web may run on pCPUs 4-5, they belong on pCPU 0'
        """
        belong = f", they belong on {pcpus(str(self.place))}" if self.place and self.who.process is None else ""
        return f"{self.who.words()} may run on {pcpus(str(self.pcpus))}{belong}"


_THREADS: Final = {
    ThreadClass.VCPU: "vCPU threads",
    ThreadClass.EMULATOR: "emulator threads",
    ThreadClass.IOTHREAD: "IOThreads",
    ThreadClass.VHOST: "vhost threads",
}


def strays(findings: Iterable[Finding], online: CpuSet, ours: Collection[GuestId] = ()) -> tuple[Strays, ...]:
    """The threads that findings show outside their place, in the order of the findings. Notes are left out: they break no promise.

    `ours` are the guests with a claim of ours.

    >>> found = Finding(code=FindingCode.EMULATOR_THREAD, guest="web", tid=7, recorded="0", observed="0-2")
    >>> [one.words() for one in strays([found], CpuSet.parse("0-7"))]
    ['threads of web may run on pCPUs 1-2, they belong on pCPU 0']
    """
    found: dict[Strays, None] = {}
    for finding in findings:
        about = finding.code in _OF_PLACES or (finding.code in _OF_THREADS and finding.tids)
        if not about or finding.severity is not Severity.DRIFT:
            continue
        place = cpus_in(finding.recorded)
        outside = (_observed(finding.observed, online) & online) - place
        if outside:
            found[
                Strays(
                    who=_who(finding, ours),
                    pcpus=outside,
                    place=place,
                    sentence=finding.sentence(),
                    repair=finding.repair,
                    advice=finding.advice,
                )
            ] = None
    return tuple(found)


def cpus_in(text: str) -> CpuSet:
    """The pCPUs in a finding; none if it has other text there, which an agent may report."""
    try:
        return CpuSet.parse(text)
    except InvalidRequest:
        return CpuSet()


def _observed(text: str, online: CpuSet) -> CpuSet:
    """The pCPUs that a finding says threads may run on now."""
    now = text.split(" now and on ")[0]
    return online if now == EVERY_PCPU else cpus_in(now)


def _who(finding: Finding, ours: Collection[GuestId]) -> Stray:
    if finding.code is FindingCode.FOREIGN_PROCESS:
        return Stray(guest=None, name=finding.thread, process=finding.tid, ours=False)
    guest = GuestId(finding.guest_id) if finding.guest_id else None
    kind = finding.thread_class if finding.code in _OF_THREADS else None
    return Stray(guest=guest, name=finding.guest, thread_class=kind, ours=guest in ours)
