"""Move the threads of our guests back to their recorded places, and report the drift that remains. `core.drift` finds drift."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cache

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMasks, Finding
from pinfold.core.drift.steps import Move, Pin, Pinned
from pinfold.core.errors import InvariantViolation, PinfoldError, Unavailable
from pinfold.core.identity import GuestId
from pinfold.core.overhead import Masks, masks
from pinfold.core.repairs import Drifted
from pinfold.core.settings import HostSettings, RepairScope
from pinfold.drivers.port import Driver, HostGuest, refuse_remote
from pinfold.host.audit import Audit, audit, judge
from pinfold.host.lock import host_lock
from pinfold.host.survey import Survey, pick, survey
from pinfold.host.undoer import undoer
from pinfold.host.verify import GuestOrigin, Verdict, record_of, verify

_OWNER = {GuestOrigin.NOVA: "the guest is Nova's", GuestOrigin.OTHER: "the guest is somebody else's"}


class RepairedGuest(Struct, frozen=True, kw_only=True):
    """One guest that had drifted: the verdict before the repair and the verdict after it was pinned again."""

    before: Verdict
    after: Verdict


class RemainingFinding(Struct, frozen=True, kw_only=True):
    """A finding that a repair does not change, and why."""

    finding: Finding
    why: str


class FailedRepair(Struct, frozen=True, kw_only=True):
    """A guest whose repair failed, and why: it could not be moved, or not looked at, before or afterwards."""

    id: GuestId
    name: str
    why: str


class Repair(Struct, frozen=True, kw_only=True):
    """Our guests that had drifted, the remaining drift of the whole host, and the guests whose repair failed. Guests are ordered by id."""

    done: tuple[RepairedGuest, ...] = ()
    left: tuple[RemainingFinding, ...] = ()
    named: str = ""
    """The name of the only guest that was asked for."""
    failed: tuple[FailedRepair, ...] = ()
    """Drift of theirs that the host shows afterwards is in `left`."""

    @property
    def complete(self) -> bool:
        """Whether no drift remains, and no repair failed."""
        return not self.failed and not self.left and not any(one.after.drift for one in self.done)


class GuestRepair(Struct, frozen=True, kw_only=True):
    """What a repair of one guest did: the drift that it was about, none if there was nothing to move; what of that is still there, as read
    back; and the drift that moving threads does not undo.
    """

    moved: tuple[Finding, ...] = ()
    left: tuple[Finding, ...] = ()
    stays: tuple[Finding, ...] = ()


def repair(driver: Driver, settings: HostSettings, key: str = "") -> Repair:
    """Pins all our running guests that have drifted, or only the one with that name or id, and reports the drift that remains.

    At `Driver.sole_manager`, it also moves the threads of guests without our record, off the pCPUs that are not theirs.
    Remaining drift of guests in `done` is in their verdict after the repair. All other drift is in `left`, with `key` that guest's alone.
    A guest whose repair fails is in `failed` with the reason, and stops no other guest's repair.
    Raises `InvalidRequest` for a remote host, and for a guest that does not exist or is not ours; `Unavailable` if the hypervisor is
    away, also if it goes away between two guests.
    """
    refuse_remote(driver, "threads are moved on their own host")
    with host_lock(settings):
        guests, online = driver.guests(), driver.topology().online
        if key:
            guests = (pick(guests, key),)
            if not driver.sole_manager:
                record_of(guests[0])
        surveyed = cache(lambda: survey(driver, settings))
        done: list[RepairedGuest] = []
        failed: list[FailedRepair] = []
        for guest in guests:
            try:
                repaired = _repaired(driver, settings, surveyed, guest, online)
            except InvariantViolation:
                raise
            except PinfoldError as error:
                failed.append(FailedRepair(id=guest.id, name=guest.name, why=str(error)))
                if isinstance(error, Unavailable):
                    driver.guests()  # raises if the hypervisor is away: each other guest would wait for it, too, with the host locked
                continue
            if repaired is not None:
                done.append(repaired)
    if key:
        left = () if done else _left_of(driver, settings, survey(driver, settings) if failed else surveyed(), guests[0], failed)
        return Repair(done=tuple(done), left=left, named=guests[0].name, failed=tuple(failed))
    return Repair(done=tuple(done), left=_left(driver, settings, done, failed), failed=tuple(failed))


def _repaired(
    driver: Driver, settings: HostSettings, surveyed: Callable[[], Survey], guest: HostGuest, online: CpuSet
) -> RepairedGuest | None:
    if guest.record is None and driver.sole_manager:
        return _moved(driver, settings, surveyed(), guest)
    if guest.record is None or not guest.active:
        return None
    before = verify(driver, settings, guest, online=online)
    if not before.drift:
        return None
    driver.pin(guest.id, masks(guest.record.fit))
    fresh = pick(driver.guests(), guest.id)
    return RepairedGuest(before=before, after=verify(driver, settings, fresh, online=online))


def _moved(driver: Driver, settings: HostSettings, seen: Survey, guest: HostGuest) -> RepairedGuest | None:
    """Move the threads of a guest without a record as an audit's findings say; None if they say nothing that can be done."""
    before = judge(driver, settings, seen, guest)
    wanted = _said_by_steps(before)
    if wanted is None:
        return None
    driver.pin(guest.id, wanted)
    after = judge(driver, settings, seen, pick(driver.guests(), guest.id))
    return RepairedGuest(before=replace(before, masks=wanted), after=replace(after, masks=wanted))


def _said_by_steps(found: Verdict) -> Masks | None:
    """The place that the findings' own steps give a guest without a record; None if they give none."""
    pins = [step for finding in found.findings for step in finding.steps if isinstance(step, Pin)]
    vcpus = {pin.index: pin.cpus for pin in pins if pin.what is Pinned.VCPU}
    overhead = next((pin.cpus for pin in pins if pin.what is Pinned.EMULATOR), None)
    if overhead is None:
        return None
    return Masks(vcpus=tuple(vcpus.get(vcpu, CpuSet()) for vcpu in range(found.guest.vcpus)), overhead=overhead)


def covers(scope: RepairScope, origin: GuestOrigin) -> bool:
    """Whether a guest of that origin may be repaired without being asked for.

    >>> covers(RepairScope.NOVA, GuestOrigin.OURS), covers(RepairScope.NOVA, GuestOrigin.OTHER), covers(RepairScope.OFF, GuestOrigin.OURS)
    (True, False, False)
    """
    order = (GuestOrigin.OURS, GuestOrigin.NOVA, GuestOrigin.OTHER)
    return origin in order[: list(RepairScope).index(scope)]


def repairable(found: Verdict, scope: RepairScope) -> tuple[Finding, ...]:
    """The drift of an audited guest that moving its threads undoes, if `scope` covers the guest and its place is known. Pure."""
    if not covers(scope, found.origin) or not found.guest.active or found.guest.pid is None or _place_of(found) is None:
        return ()
    return tuple(finding for finding in found.drift if any(isinstance(step, Pin | Move) for step in finding.steps))


def drifted_guests(driver: Driver, found: Audit, scope: RepairScope) -> tuple[Drifted, ...]:
    """The guests of an audited host that have drifted, and may and can be repaired, in the order of the audit."""
    return tuple(
        Drifted(
            guest_id=guest.guest.id,
            name=guest.guest.name,
            pid=guest.guest.pid,
            classes=tuple(sorted({"" if finding.thread_class is None else finding.thread_class.value for finding in drift})),
            undoer=undoer(guest, definitions=not driver.sole_manager),
        )
        for guest in found.guests
        if (drift := repairable(guest, scope)) and guest.guest.pid is not None
    )


def repair_guest(driver: Driver, settings: HostSettings, guest: GuestId, scope: RepairScope) -> GuestRepair:
    """Move the threads of one drifted guest back, and look at it again.

    The definition of a guest of Nova's stays, unless a finding says that it is wrong: when it was written is evidence of what Nova wants.
    Raises `InvalidRequest` if there is no such guest, `Unavailable`.
    """
    with host_lock(settings):
        seen = survey(driver, settings)
        before = judge(driver, settings, seen, seen.guest(guest))
        place, found = _place_of(before), repairable(before, scope)
        if place is None or not found:
            return GuestRepair(stays=before.drift)
        kept = any(isinstance(step, Pin) and step.kept for finding in found for step in finding.steps)
        driver.pin(guest, place, live_only=before.origin is GuestOrigin.NOVA and not kept)
        fresh = survey(driver, settings)
        after = judge(driver, settings, fresh, fresh.guest(guest))
        left = repairable(after, scope)
        return GuestRepair(moved=found, left=left, stays=tuple(one for one in after.drift if one not in left))


def _place_of(found: Verdict) -> ExpectedMasks | None:
    """Where the guest's threads belong; None if that is not known for its overhead threads."""
    return found.masks if found.masks is not None and found.masks.overhead else _said_by_steps(found)


def _left(
    driver: Driver, settings: HostSettings, done: Iterable[RepairedGuest], failed: Collection[FailedRepair]
) -> tuple[RemainingFinding, ...]:
    known = {finding for one in done for finding in one.after.findings}
    found = audit(driver, settings)
    whose = {guest.guest.id: guest for guest in found.guests}
    return tuple(
        _remaining(finding, whose.get(GuestId(finding.guest_id)), failed, alone=driver.sole_manager)
        for finding in found.drift
        if finding not in known
    )


def _left_of(
    driver: Driver, settings: HostSettings, seen: Survey, guest: HostGuest, failed: Collection[FailedRepair]
) -> tuple[RemainingFinding, ...]:
    found = judge(driver, settings, seen, seen.guest(guest.id) if failed else guest)
    return tuple(_remaining(finding, found, failed, alone=driver.sole_manager) for finding in found.drift)


def _remaining(finding: Finding, guest: Verdict | None, failed: Iterable[FailedRepair], *, alone: bool) -> RemainingFinding:
    """The finding and why it is left."""
    why = next((one.why for one in failed if one.id == finding.guest_id), None)
    if why is not None and any(isinstance(step, Pin | Move) for step in finding.steps):
        return RemainingFinding(finding=finding, why=f"it could not be moved: {why}")
    return RemainingFinding(finding=finding, why=_why(guest, alone=alone))


def _why(guest: Verdict | None, *, alone: bool) -> str:
    if guest is None:
        return "it is about the host, not about one guest of ours"
    if guest.origin is not GuestOrigin.OURS and not alone:
        return f"{_OWNER[guest.origin]}, and a repair moves guests of ours alone"
    return "no pin undoes it" if guest.guest.active else "the guest does not run; a repair moves running guests alone"
