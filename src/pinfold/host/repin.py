"""Re-pin the running guests of a host without a service: first the plan with its gain, then the steps. `core.repin` decides.

The steps are carried out one after another under the host's lock: the guest's threads move and are read back, then its record is amended.
If one fails, it and those before it are undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import structs

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.remedy import OWNER, replaced
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.capacity import FlavorDemand
from pinfold.core.identity import GuestId
from pinfold.core.overhead import masks
from pinfold.core.repin.gain import why_kept
from pinfold.core.repin.plan import Repin, Step, repin
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, refuse_remote
from pinfold.host.amend import moved
from pinfold.host.claims import contested, subject_of
from pinfold.host.lock import host_lock, refuse_if_owned
from pinfold.host.survey import Survey, pick, survey
from pinfold.host.verify import record_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """The retiring pCPUs that a guest keeps, and why."""

    guest: HostGuest
    pcpus: CpuSet
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepinPlan:
    """The host as surveyed, the steps and their gain, and the guests that keep retiring pCPUs, ordered by id."""

    seen: Survey
    found: Repin
    stays: tuple[Stay, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedRepin:
    """A plan that was carried out. `failure` says why a step failed, '' for success; then all steps were undone.

    `not_undone` maps the ids of guests that could not be moved back to the reason.
    """

    plan: RepinPlan
    failure: str = ""
    not_undone: Mapping[str, str]


def plan(driver: Driver, settings: HostSettings, flavors: Sequence[FlavorDemand] = ()) -> RepinPlan:
    """Which moves inside the host's cells help, and what they gain for guests of these flavors. Reads only.

    Raises `InvalidRequest` if the pools do not fit the host, for a remote host, and for `Driver.sole_manager`; `Unavailable`.
    """
    refuse_remote(driver, "guests are moved on their own host")
    if driver.sole_manager:
        raise InvalidRequest(f"guests of {driver.uri} have no record of their places, and nothing tells which pCPUs are theirs", key="uri")
    seen = survey(driver, settings)
    movable = {guest.id: guest.record.request for guest in seen.guests if guest.record and guest.record.request and not _why_not(guest)}
    found = repin(seen.state, {GuestId(guest): request for guest, request in movable.items() if request is not None}, flavors)
    guests = {guest.id: guest for guest in seen.guests}
    stays = tuple(_stay(settings, guests[left.guest], left.pcpus, seen.state.topology.offline) for left in found.stays)
    return RepinPlan(seen=seen, found=found, stays=stays)


def apply(driver: Driver, settings: HostSettings, flavors: Sequence[FlavorDemand] = ()) -> AppliedRepin:
    """Make a plan and carry it out. If a step fails, all are undone, the last one first.

    Raises `InvalidRequest` if an agent owns the host, and what `plan` raises.
    """
    refuse_if_owned(settings, "host repin --apply")
    with host_lock(settings):
        found = plan(driver, settings, flavors)
        looks = {step.guest: _look(driver, found.seen.guest(step.guest)) for step in found.found.steps}
        begun: list[Step] = []
        try:
            for step in found.found.steps:
                begun.append(step)
                _move(driver, step.guest, step.before, step.after)
                if lost := contested(survey(driver, settings), step.guest):
                    raise Conflict("; ".join(finding.sentence() for finding in lost))
        except PinfoldError as error:
            name = found.seen.guest(begun[-1].guest).name
            return AppliedRepin(plan=found, failure=f"guest {name} was not moved: {error}", not_undone=_undone(driver, begun, looks))
    return AppliedRepin(plan=found, not_undone={})


def _move(driver: Driver, key: GuestId, before: Fit, after: Fit) -> None:
    """Move the guest's threads from one fit to another, each read back, then amend its record."""
    record = record_of(pick(driver.guests(), key))
    driver.pin(key, moved(masks(before), masks(after)))
    driver.amend(key, structs.replace(record, fit=after))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A guest, and where each of its threads may run."""

    guest: HostGuest
    allowed: Mapping[int, CpuSet]


def _look(driver: Driver, guest: HostGuest) -> _Look:
    return _Look(guest=guest, allowed={thread.tid: thread.allowed for thread in driver.observe(guest).threads})


def _is_as_before(driver: Driver, before: _Look) -> bool:
    """Whether nothing of the guest has changed. A guest that cannot be looked at may have."""
    try:
        now = _look(driver, pick(driver.guests(), before.guest.id))
    except PinfoldError:
        return False
    return now.guest == before.guest and all(cpus == before.allowed.get(tid, cpus) for tid, cpus in now.allowed.items())


def _undone(driver: Driver, begun: Iterable[Step], before: Mapping[GuestId, _Look]) -> dict[str, str]:
    """Undo the steps, the last one first. Returns the guests that could not be moved back, with the reason.

    A guest that is as it was `before` is none of them, although its step cannot be undone where it could not be taken.
    """
    failed: dict[str, str] = {}
    for step in reversed(list(begun)):
        try:
            _move(driver, step.guest, step.after, step.before)
        except PinfoldError as error:
            if not _is_as_before(driver, before[step.guest]):
                failed[step.guest] = str(error)
    return failed


def _why_not(guest: HostGuest) -> str:
    """Why a guest of ours is not moved; '' if it can be."""
    record = record_of(guest)
    if record.owner != OWNER:
        return f"it is {record.owner}'s"
    if record.request is None:
        return "its record does not say what was asked for"
    if not guest.active:
        return "it does not run"
    return guest.hangs


def _stay(settings: HostSettings, guest: HostGuest, cpus: CpuSet, offline: CpuSet) -> Stay:
    record = record_of(guest)
    why = _why_not(guest) or why_kept(record.fit, record.request, cpus, offline)
    return Stay(guest=guest, pcpus=cpus, why=f"{why}; a new place would free them: {replaced(subject_of(settings, guest))}")
