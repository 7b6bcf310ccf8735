"""Every guest of a host and every thread of it, recorded against observed; changes nothing. Repairing does not belong here (`host.repair`).

Guests of ours are judged by their record. Guests of Nova's are judged by the pools of the configuration, by what Nova wrote into their
definition, and by their pins. Everybody else's are judged by one rule: a dedicated pCPU is nobody's to float over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import (
    Finding,
    FindingCode,
    Severity,
    compare,
    compare_asked,
    foreign_floating,
    foreign_process,
    outside_pools,
    place_of,
    record_unreadable,
    two_owners,
)
from pinfold.core.overhead import Masks, ThreadClass
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, Record, Sight
from pinfold.host import nova
from pinfold.host.claims import holders, subject_of
from pinfold.host.strangers import default_set, strangers
from pinfold.host.survey import Survey, own_machine, own_pins, survey
from pinfold.host.verify import verify

_ON_THE_HOST = "run the audit on the host itself; from afar there is no word on single threads"


class Whose(Enum):
    """Who started a guest."""

    OURS = "pinfold"
    NOVA = "nova"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestAudit:
    """One guest judged. `policy` is None where there is none to be kept, `masks` None where nothing was recorded.

    `inferred` says that the policy was told from pins. `sight` is None for a guest that does not run.
    """

    guest: HostGuest
    whose: Whose
    policy: EmulatorPolicy | None = None
    inferred: bool = False
    masks: Masks | None = None
    sight: Sight | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Audit:
    """A whole host judged: its guests, ordered by id, and the findings about the host as a whole.

    `verified` is False for a remote hypervisor: then every finding rests on its word.
    """

    seen: Survey
    guests: tuple[GuestAudit, ...]
    host_findings: tuple[Finding, ...]
    verified: bool

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding: the host's, then each guest's."""
        return self.host_findings + tuple(finding for guest in self.guests for finding in guest.findings)

    @property
    def drift(self) -> tuple[Finding, ...]:
        """The findings that break a promise."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.DRIFT)


def audit(driver: Driver, settings: HostSettings) -> Audit:
    """The host judged as it is now. Raises `Unavailable` when the hypervisor or procfs is out of reach, `InvalidRequest` for bad pools."""
    seen = survey(driver, settings)
    guests = tuple(_judge(driver, settings, seen, guest) for guest in seen.guests)
    found = two_owners(holders(seen))
    if driver.local and own_machine(seen.state.topology):
        found += _strangers(seen)
    if not driver.local:
        guests = tuple(replace(guest, findings=_from_afar(guest.findings)) for guest in guests)
    return Audit(seen=seen, guests=guests, host_findings=found, verified=driver.local)


def _judge(driver: Driver, settings: HostSettings, seen: Survey, guest: HostGuest) -> GuestAudit:
    if guest.record is not None:
        return _ours(driver, settings, seen, guest, guest.record)
    if guest.nova is not None and not guest.problem:
        return _nova(driver, settings, seen, guest)
    return _other(driver, settings, seen, guest)


def _ours(driver: Driver, settings: HostSettings, seen: Survey, guest: HostGuest, record: Record) -> GuestAudit:
    online = seen.state.topology.online
    verdict = verify(driver, settings, guest, online=online)
    pools = outside_pools(subject_of(settings, guest), place_of(record.fit), seen.state.pools, online)
    return GuestAudit(
        guest=guest,
        whose=Whose.OURS,
        policy=record.policy,
        masks=verdict.masks,
        sight=verdict.sight,
        findings=verdict.findings + pools,
    )


def _nova(driver: Driver, settings: HostSettings, seen: Survey, guest: HostGuest) -> GuestAudit:
    subject, pools, online = subject_of(settings, guest), seen.state.pools, seen.state.topology.online
    reading = nova.read(subject, guest, pools, online)
    findings = reading.findings + nova.place_findings(subject, reading, pools, online)
    findings += compare_asked(subject, reading.masks, guest.pins, online, iothreads=guest.iothreads)
    sight = driver.observe(guest) if guest.active else None
    if sight is not None:
        findings += compare(subject, reading.masks, sight.threads, online, stable=sight.stable)
    return GuestAudit(
        guest=guest,
        whose=Whose.NOVA,
        policy=reading.policy,
        inferred=not reading.stated,
        masks=reading.masks,
        sight=sight,
        findings=findings,
    )


def _other(driver: Driver, settings: HostSettings, seen: Survey, guest: HostGuest) -> GuestAudit:
    subject, pools, online = subject_of(settings, guest), seen.state.pools, seen.state.topology.online
    findings: tuple[Finding, ...] = (record_unreadable(subject, guest.problem),) if guest.problem else ()
    own = own_pins(guest, seen.state.topology)
    sight = driver.observe(guest) if guest.active else None
    if sight is not None:
        mask = 0
        for thread in sight.threads:
            # Nothing in a definition holds the kernel's threads, which float by nature, nor thread contexts, which stay with the memory.
            mask |= 0 if thread.thread_class in (ThreadClass.KTHREAD, ThreadClass.THREAD_CONTEXT) else thread.allowed.mask
        findings += foreign_floating(subject, CpuSet.from_mask(mask) & online, own, guest.vcpus, pools)
    return GuestAudit(guest=guest, whose=Whose.OTHER, sight=sight, findings=findings)


def _strangers(seen: Survey) -> tuple[Finding, ...]:
    processes = strangers({guest.pid for guest in seen.guests if guest.pid is not None})
    default, online = default_set(processes), seen.state.topology.online
    return tuple(finding for process in processes for finding in foreign_process(process, seen.state.pools, online, default))


def _from_afar(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """What can be said from another machine: nothing of schedulers, which libvirt does not tell, and no command for a single thread."""
    told = [finding for finding in findings if finding.code not in (FindingCode.REALTIME_MISSING, FindingCode.REALTIME_UNEXPECTED)]
    return tuple(
        replace(finding, repair="", advice=_ON_THE_HOST) if finding.repair and not finding.repair.startswith("virsh ") else finding
        for finding in told
    )
