"""Compare one guest of ours with its record: its definition and every thread. `host.audit` covers foreign guests."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMasks, Finding, Severity, Subject, compare
from pinfold.core.errors import InvalidRequest, PinfoldError
from pinfold.core.overhead import masks
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, Observation, Record
from pinfold.host.claims import subject_of
from pinfold.host.nova import definitions_of
from pinfold.host.survey import Survey


class GuestOrigin(Enum):
    """Who created a guest."""

    OURS = "pinfold"
    NOVA = "nova"
    OTHER = "other"


class Verdict(Struct, frozen=True, kw_only=True):
    """One guest, its observed threads, and what is wrong. `masks` is None if the right place of its threads is unknown.

    `policy` is None if there is none; `inferred` means that it was inferred from pins. `observation` is None for a guest that does not run.
    """

    guest: HostGuest
    policy: EmulatorPolicy | None = None
    inferred: bool = False
    masks: ExpectedMasks | None = None
    observation: Observation | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def origin(self) -> GuestOrigin:
        """Who created the guest. A guest whose record cannot be read is somebody else's."""
        if self.guest.record is not None:
            return GuestOrigin.OURS
        return GuestOrigin.NOVA if self.guest.nova is not None and not self.guest.problem else GuestOrigin.OTHER

    @property
    def drift(self) -> tuple[Finding, ...]:
        """The findings that break a promise."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.DRIFT)


def record_of(guest: HostGuest) -> Record:
    """The guest's record. Raises `InvalidRequest` if the guest is not ours or its record cannot be read."""
    if guest.record is None:
        why = f"its record cannot be read: {guest.problem}" if guest.problem else "pinfold did not start it, and leaves it alone"
        raise InvalidRequest(f"guest {guest.name} is not ours: {why}", key="guest")
    return guest.record


def verify(driver: Driver, settings: HostSettings, guest: HostGuest, *, online: CpuSet) -> Verdict:
    """The verdict on one guest of ours; `online` is the host's online pCPUs.

    Raises `InvalidRequest` for a guest that is not ours, `Unavailable` if procfs or the hypervisor cannot be read.
    """
    record_of(guest)
    return compared(driver, settings, guest, driver.observe(guest) if guest.active else None, online=online)


def compared(driver: Driver, settings: HostSettings, guest: HostGuest, observation: Observation | None, *, online: CpuSet) -> Verdict:
    """The verdict on one guest of ours by an observation of its threads, None if it does not run. Raises `InvalidRequest` like `verify`."""
    record = record_of(guest)
    recorded = masks(record.fit)
    subject = subject_of(settings, guest)
    findings = compare(
        subject,
        recorded,
        None if observation is None else observation.threads,
        online,
        definitions=definitions_of(guest),
        stable=observation is None or observation.stable,
    )
    found = with_commands(driver, subject, findings)
    return Verdict(guest=guest, policy=record.policy, masks=recorded, observation=observation, findings=found)


def verdicts(driver: Driver, settings: HostSettings, seen: Survey) -> tuple[Verdict, ...]:
    """The verdicts on the guests of ours on a surveyed host, without those that cannot be read now."""
    found = []
    for guest in seen.ours:
        with suppress(PinfoldError):
            found.append(verify(driver, settings, guest, online=seen.state.topology.online))
    return tuple(found)


def with_commands(driver: Driver, subject: Subject, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings about `subject`, with the driver's commands that repair them."""
    return tuple(
        replace(finding, repair=driver.repair_command(subject, finding.steps)) if finding.steps else finding for finding in findings
    )
