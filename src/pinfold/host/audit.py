"""Compare every guest of a host, and each of its threads, with its record. Changes nothing; `host.repair` repairs.

Our guests are judged by their record. Nova's guests are judged by what Nova wrote into their definition, by the configured pools, and by
their pins (`host.nova`). For all other guests there is one rule: they may not float over dedicated pCPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import is_

from msgspec import Struct, structs

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import (
    ExpectedMemory,
    Finding,
    FindingCode,
    Place,
    Severity,
    Subject,
    busy_siblings,
    foreign_floating,
    foreign_process,
    misplaced_memory,
    outside_pools,
    place_of,
    pools_missing,
    record_unreadable,
    two_owners,
)
from pinfold.core.drift.steps import ShutDown
from pinfold.core.errors import PinfoldError
from pinfold.core.fit.answer import Fit
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, Observation, Record
from pinfold.host import nova
from pinfold.host.claims import owners, reading_of, subject_of
from pinfold.host.foreign_processes import default_set, foreign_processes
from pinfold.host.memory import SeldomMemory
from pinfold.host.survey import Survey, own_pins, survey
from pinfold.host.verify import Verdict, compared, with_commands
from pinfold.linux import procfs

_ENDED = ("", "Z", "X")
"""The states of a process that has ended."""
_ON_THE_HOST = "run the audit on the host itself; from afar there is no word on single threads"


class Audit(Struct, frozen=True, kw_only=True):
    """The result for a host: its guests, ordered by id, and the findings about the host as a whole.

    `verified` is False for a remote hypervisor, whose reports cannot be checked against procfs. `of_survey` are those findings about the
    host that follow from the survey alone.
    """

    seen: Survey
    guests: tuple[Verdict, ...]
    host_findings: tuple[Finding, ...]
    verified: bool
    of_survey: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding: the host's, then each guest's."""
        return self.host_findings + tuple(finding for guest in self.guests for finding in guest.findings)

    @property
    def drift(self) -> tuple[Finding, ...]:
        """The findings that break a promise."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.DRIFT)


def audit(driver: Driver, settings: HostSettings) -> Audit:
    """Audit the host as it is now. Raises `Unavailable` if the hypervisor or procfs cannot be read, `InvalidRequest` for bad pools."""
    return audit_of(driver, settings, survey(driver, settings))


def audit_of(
    driver: Driver,
    settings: HostSettings,
    seen: Survey,
    unreadable: Callable[[HostGuest, PinfoldError], None] | None = None,
    before: Audit | None = None,
    *,
    observe: Callable[[HostGuest], Observation] | None = None,
    memory: SeldomMemory | None = None,
) -> Audit:
    """Audit the host of a survey. If a guest cannot be read, raises `Unavailable`, or calls `unreadable` and leaves the guest out.

    `before` is an earlier audit by the same settings. All threads and processes are read again. What was concluded from the same evidence
    is taken from that audit, and if nothing has changed, it is returned itself. `observe` reads a running guest in place of the driver's.
    `memory` reads where guests' memory lies; without it, that is read now.
    """
    last = before if before is not None and before.seen is seen else None
    known = {} if last is None else {verdict.guest.id: verdict for verdict in last.guests}
    guests: list[Verdict] = []
    if memory is not None:
        memory.forget_others(seen.guests)
    for guest in seen.guests:
        try:
            guests.append(judge(driver, settings, seen, guest, known.get(guest.id), observe, memory))
        except PinfoldError as error:
            if unreadable is None:
                raise
            unreadable(guest, error)
    found = of_survey = two_owners(owners(seen)) + _pools_missing(driver, settings, seen) if last is None else last.of_survey
    guests = _without_ended(driver, guests)
    if seen.own_machine:
        found += with_commands(driver, Subject(name=""), _strangers(driver, seen, () if before is None else before.host_findings))
    if not driver.local:
        guests = [structs.replace(guest, findings=_from_afar(guest.findings)) for guest in guests]
    if last is not None and found == last.host_findings and len(guests) == len(last.guests) and all(map(is_, guests, last.guests)):
        return last
    return Audit(seen=seen, guests=tuple(guests), host_findings=found, verified=driver.local, of_survey=of_survey)


def judge(
    driver: Driver,
    settings: HostSettings,
    seen: Survey,
    guest: HostGuest,
    before: Verdict | None = None,
    observe: Callable[[HostGuest], Observation] | None = None,
    memory: SeldomMemory | None = None,
) -> Verdict:
    """The result for one guest of a surveyed host; `before` itself, an earlier result by the same survey and settings, if it is the same.

    Reads the guest's threads, by `observe` or the driver, and where its memory lies, by `memory` or now.
    """
    observation = (observe or driver.observe)(guest) if guest.active else None
    if before is not None and before.guest is guest and before.observation == observation:
        found = before
    else:
        found = _judged(driver, settings, seen, guest, observation)
    known = tuple(finding for finding in found.findings if finding.code is not FindingCode.MEMORY_CELL)
    findings = known + _memory(settings, seen, guest, memory or SeldomMemory())
    return found if findings == found.findings else structs.replace(found, findings=findings)


def _judged(driver: Driver, settings: HostSettings, seen: Survey, guest: HostGuest, observation: Observation | None) -> Verdict:
    """The result by the survey and the threads alone."""
    if guest.record is not None:
        return _ours(driver, settings, seen, guest, guest.record, observation)
    if guest.nova is not None and not guest.problem:
        return _nova(driver, settings, seen, guest, observation)
    return _other(driver, settings, seen, guest, observation)


def _ours(
    driver: Driver, settings: HostSettings, seen: Survey, guest: HostGuest, record: Record, observation: Observation | None
) -> Verdict:
    online = seen.state.topology.online
    verdict = compared(driver, settings, guest, observation, online=online)
    pools = outside_pools(subject_of(settings, guest), place_of(record.fit), seen.state.pools, online)
    return structs.replace(
        verdict,
        findings=(
            *verdict.findings,
            *pools,
            *(_siblings(settings, seen, guest, record.fit.pinned, kept=record.fit.taken) if record.fit.idle_siblings else ()),
        ),
    )


def _nova(driver: Driver, settings: HostSettings, seen: Survey, guest: HostGuest, observation: Observation | None) -> Verdict:
    subject, online = subject_of(settings, guest), seen.state.topology.online
    reading = reading_of(seen, subject, guest)
    pools = None if seen.configured is None else seen.state.pools
    return Verdict(
        guest=guest,
        policy=reading.policy,
        inferred=not reading.stated,
        masks=reading.wanted,
        observation=observation,
        findings=(
            *with_commands(driver, subject, nova.judged(subject, guest, reading, observation, pools, online)),
            *(_siblings(settings, seen, guest, reading.place.alone) if nova.keeps_siblings_idle(guest) else ()),
        ),
    )


def _other(driver: Driver, settings: HostSettings, seen: Survey, guest: HostGuest, observation: Observation | None) -> Verdict:
    subject, pools, online = subject_of(settings, guest), seen.state.pools, seen.state.topology.online
    findings: tuple[Finding, ...] = ()
    if guest.problem:
        findings = (record_unreadable(subject, guest.problem, driver.repair_command(subject, (ShutDown(),))),)
    own = own_pins(guest, seen.state.topology)
    if observation is not None:
        found = foreign_floating(subject, observation.threads, own, guest.vcpus, pools, online)
        findings += with_commands(driver, subject, found)
    return Verdict(guest=guest, observation=observation, findings=findings)


def _siblings(settings: HostSettings, seen: Survey, guest: HostGuest, own: CpuSet, *, kept: CpuSet = CpuSet()) -> tuple[Finding, ...]:
    """The finding if somebody is pinned to SMT siblings that a guest wants idle."""
    if not guest.active:
        return ()
    others = [holder for holder in owners(seen) if holder.guest_id != guest.id]
    return busy_siblings(subject_of(settings, guest), own, seen.state.topology.siblings, others, kept=kept)


def _recorded_memory(seen: Survey, fit: Fit) -> ExpectedMemory | None:
    """The cells for the memory of a guest of ours; None for a guest without cells, whose memory may be anywhere."""
    if not fit.cells:
        return None
    small = {cell.id: cell.small_page_kib for cell in seen.state.topology.cells}
    huge: dict[int, int] = {}
    for cell in fit.cells:
        if cell.page_kib > small.get(cell.host_cell, cell.page_kib):
            huge[cell.host_cell] = huge.get(cell.host_cell, 0) + cell.memory_mib
    return ExpectedMemory(cells=CpuSet(cell.host_cell for cell in fit.cells), huge_mib=huge)


def _novas_memory(seen: Survey, guest: HostGuest, place: Place) -> ExpectedMemory | None:
    """The cells for the memory of a pinned guest of Nova's: those of its pCPUs, as Nova binds it; None for other guests."""
    cell_of = seen.state.topology.cell_of
    cells = CpuSet(cell_of[cpu] for cpu in place.alone if cpu in cell_of)
    if not cells or place.floating:
        return None
    huge: dict[int, int] = {}
    for pages in guest.pages:
        huge[pages.cell] = huge.get(pages.cell, 0) + pages.size_kib * pages.count // 1024
    return ExpectedMemory(cells=cells, huge_mib=huge)


def _memory(settings: HostSettings, seen: Survey, guest: HostGuest, memory: SeldomMemory) -> tuple[Finding, ...]:
    """The finding for memory of a running guest on a wrong cell. Needs a host with several cells that this machine's procfs shows."""
    if len(seen.state.topology.cells) < 2 or not seen.own_machine or not guest.active or guest.pid is None:
        return ()
    wanted = None
    if guest.record is not None:
        wanted = _recorded_memory(seen, guest.record.fit)
    elif guest.nova is not None and not guest.problem:
        wanted = _novas_memory(seen, guest, reading_of(seen, subject_of(settings, guest), guest).place)
    if wanted is None:
        return ()
    areas, age = memory.areas(guest)
    return misplaced_memory(subject_of(settings, guest), wanted, areas, age)


def _pools_missing(driver: Driver, settings: HostSettings, seen: Survey) -> tuple[Finding, ...]:
    """The finding for guests, Nova's or without any manager, that cannot be judged because no pools are configured."""
    if seen.configured is not None:
        return ()
    theirs = [guest for guest in seen.guests if guest.record is None and guest.nova is not None]
    pinned = [guest.name for guest in theirs if reading_of(seen, Subject(name=guest.name), guest).place.alone]
    if driver.sole_manager:
        pinned += [guest.name for guest in seen.guests if guest.record is None and guest.pins.vcpus]
    return pools_missing(pinned, settings.source)


def _without_ended(driver: Driver, guests: list[Verdict]) -> list[Verdict]:
    """The results without the finding that no thread was seen of a guest which has ended, or was started anew, since the survey."""
    if not any(finding.code is FindingCode.THREADS_UNSEEN for verdict in guests for finding in verdict.findings):
        return guests
    still = {(guest.id, guest.pid) for guest in driver.guests() if guest.active}
    return [verdict if (verdict.guest.id, verdict.guest.pid) in still else _seen_to_end(verdict) for verdict in guests]


def _seen_to_end(verdict: Verdict) -> Verdict:
    told = tuple(finding for finding in verdict.findings if finding.code is not FindingCode.THREADS_UNSEEN)
    return verdict if len(told) == len(verdict.findings) else structs.replace(verdict, findings=told)


def _strangers(driver: Driver, seen: Survey, known: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings about processes that belong to no guest; `known` are those of an earlier audit.

    A virtual machine that is news may be a guest that was started after the survey, so the guests are listed again for it.
    """
    processes = foreign_processes({guest.pid for guest in seen.guests if guest.pid is not None})
    default, online = default_set(processes), seen.state.topology.online
    found = [(one, finding) for one in processes for finding in foreign_process(one, seen.state.pools, online, default)]
    if any(one.machine and finding not in known for one, finding in found):
        guests = {guest.pid for guest in driver.guests()}
        found = [(one, finding) for one, finding in found if not one.machine or not (one.pid in guests or procfs.state(one.pid) in _ENDED)]
    return tuple(finding for _, finding in found)


def _from_afar(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings that hold from another machine: none about schedulers, which are not seen there. Some have no command from there."""
    told = [finding for finding in findings if finding.code not in (FindingCode.REALTIME_MISSING, FindingCode.REALTIME_UNEXPECTED)]
    return tuple(structs.replace(finding, advice=_ON_THE_HOST) if finding.steps and not finding.repair else finding for finding in told)
