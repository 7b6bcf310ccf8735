"""Putting the threads of our guests back where they were recorded, and telling what is left. What counts as drift does not belong here."""

from __future__ import annotations

from dataclasses import dataclass

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding
from pinfold.core.errors import InvalidRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest
from pinfold.host.audit import GuestAudit, GuestOrigin, audit
from pinfold.host.lock import host_lock
from pinfold.host.survey import pick
from pinfold.host.verify import Verdict, record_of, verify

_OWNER = {GuestOrigin.NOVA: "the guest is Nova's", GuestOrigin.OTHER: "the guest is somebody else's"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairedGuest:
    """One guest that had drifted: the verdict before, and the one after it was pinned again (drift that is left is no longer ours)."""

    before: Verdict
    after: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainingFinding:
    """What a repair leaves as it is: the finding's sentence, and why it is left."""

    finding: Finding
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """The guests of ours that had drifted, ordered by id, and the drift of the whole host that is left."""

    done: tuple[RepairedGuest, ...] = ()
    left: tuple[RemainingFinding, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return not self.left and not any(one.after.drift for one in self.done)


def repair(driver: Driver, settings: HostSettings, key: str = "") -> Repair:
    """Pins every running guest of ours that has drifted, or only the one with that name or id, then tells what is left.

    What is left of the guests in `done` stands in their verdict after the repair; everything else that the audit finds is in `left`. With
    `key` it is left out. Raises `InvalidRequest` for a remote host or a guest that is not there or not ours, `Unavailable` when the
    hypervisor is away.
    """
    if not driver.local:
        raise InvalidRequest(f"threads are moved on their own host alone; {driver.uri} is remote and read-only", key="uri")
    with host_lock(settings):
        guests, online = driver.guests(), driver.topology().online
        if key:
            guests = (pick(guests, key),)
            record_of(guests[0])
        done = tuple(one for guest in guests if (one := _repaired(driver, settings, guest, online)) is not None)
    return Repair(done=done, left=() if key else _left(driver, settings, done))


def _repaired(driver: Driver, settings: HostSettings, guest: HostGuest, online: CpuSet) -> RepairedGuest | None:
    if guest.record is None or not guest.active:
        return None
    before = verify(driver, settings, guest, online=online)
    if not before.drift:
        return None
    driver.pin(guest.id, before.masks)
    fresh = pick(driver.guests(), guest.id)
    return RepairedGuest(before=before, after=verify(driver, settings, fresh, online=online))


def _left(driver: Driver, settings: HostSettings, done: tuple[RepairedGuest, ...]) -> tuple[RemainingFinding, ...]:
    known = {finding for one in done for finding in one.after.findings}
    found = audit(driver, settings)
    whose = {guest.guest.id: guest for guest in found.guests}
    return tuple(
        RemainingFinding(finding=finding, why=_why(whose.get(finding.guest_id))) for finding in found.drift if finding not in known
    )


def _why(guest: GuestAudit | None) -> str:
    if guest is None:
        return "it is about the host, not about one guest of ours"
    if guest.origin is not GuestOrigin.OURS:
        return f"{_OWNER[guest.origin]}, and a repair moves guests of ours alone"
    return "no pin undoes it" if guest.guest.active else "the guest does not run; a repair moves running guests alone"
