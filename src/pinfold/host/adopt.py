"""Take a guest that pinfold did not start under management, without a restart, and release it. `host.adoption` decides on its record."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from pinfold.core.drift.remedy import OWNER
from pinfold.core.errors import InvalidRequest, PinfoldError, Unavailable
from pinfold.core.fit.answer import Fit
from pinfold.core.identity import ClaimId, GuestId
from pinfold.core.overhead import Masks, masks
from pinfold.core.printable import shell_word
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, Record, refuse_remote
from pinfold.host.adoption import Adoption, adoption
from pinfold.host.lock import host_lock, refuse_if_owned
from pinfold.host.pool_change import ThreadMove, moves_to
from pinfold.host.survey import Survey, pick, survey
from pinfold.host.verify import record_of

_SERVICE: Final = "its service adopts and releases guests (docs/how-to/adopt-a-guest.md)"


class NotAdopted(PinfoldError):
    """A guest is not adopted as its service has ordered: what conflicts, what has changed since the plan, or what failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptPlan:
    """What adopting a guest means on the host as surveyed, and the threads that move for it."""

    seen: Survey
    found: Adoption
    moves: tuple[ThreadMove, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedAdoption:
    """A plan that was carried out. `guest` is the guest now. `failure` says why it could not be adopted, '' for success; it was undone."""

    plan: AdoptPlan
    guest: HostGuest
    failure: str = ""

    @property
    def adopted(self) -> bool:
        """Whether the guest is ours now."""
        return not self.failure and self.plan.found.record is not None


def plan(driver: Driver, settings: HostSettings, key: str, *, policy: EmulatorPolicy | None = None) -> AdoptPlan:
    """What adopting the guest with that name or id means. Reads only.

    Raises `InvalidRequest` if there is no such guest, it is ours already or its record is damaged, if the pools do not fit the host, for a
    remote host and for guests without definitions; `Unavailable`.
    """
    refuse_remote(driver, "a guest is adopted on its own host")
    if driver.sole_manager:
        raise InvalidRequest(f"guests of {driver.uri} have no definition that could hold a record", key="uri")
    seen = survey(driver, settings)
    guest = seen.guest(key)
    if guest.record is not None:
        whose = "pinfold's" if guest.record.owner == OWNER else f"that of {guest.record.owner}"
        raise InvalidRequest(f"guest {guest.name} has a record already, {whose}", key="guest")
    if guest.problem and guest.nova is None:
        name = shell_word(guest.name)
        raise InvalidRequest(
            f"guest {guest.name} has a record that cannot be read: {guest.problem}; stop it, `pinfold guest replace {name} --flavor NAME`",
            key="guest",
        )
    observation = driver.observe(guest) if guest.active else None
    claim = ClaimId(str(uuid.uuid4()))
    found = adoption(settings, seen, guest, driver.shape(guest.id), observation, policy=policy, claim=claim)
    moves = () if found.after is None or observation is None else moves_to(observation, found.after)
    return AdoptPlan(seen=seen, found=found, moves=moves)


def adopt(driver: Driver, settings: HostSettings, key: str, *, policy: EmulatorPolicy | None = None) -> AppliedAdoption:
    """Make a plan and carry it out under the host's lock, unless something conflicts.

    1. Move the threads of a running guest, each read back.
    2. Write the record and the pins into its definition, and the record into the running guest.
    If a step fails, the record is removed, the definition gets its own pins back, and the threads are moved back. Raises
    `InvalidRequest` if an agent owns the host, and what `plan` raises.
    """
    refuse_if_owned(settings, "guest adopt --apply", instead=_SERVICE)
    with host_lock(settings):
        found = plan(driver, settings, key, policy=policy)
        guest, record, after = found.found.guest, found.found.record, found.found.after
        if record is None or after is None:
            return AppliedAdoption(plan=found, guest=guest)
        kept = driver.kept_definition(guest.id)
        try:
            _carry_out(driver, found.found, record, after)
        except PinfoldError as error:
            return AppliedAdoption(plan=found, guest=guest, failure=f"{error}{_undone(driver, found.found, kept)}")
        return AppliedAdoption(plan=found, guest=pick(driver.guests(), guest.id))


def adopt_as(driver: Driver, settings: HostSettings, record: Record, *, active: bool, agent: str) -> None:
    """Adopt a guest under the record that a service has made of a plan, as the agent that owns the host.

    The plan is made anew under the host's lock. Raises `NotAdopted` if it has another place by now, if the guest runs and should not
    (`active`) or the other way round, if something conflicts, or if it failed and was undone; and what `plan` raises. If the hypervisor is
    away, so that it could not be undone either, raises `Unavailable`: try again.
    """
    refuse_if_owned(settings, "guest adopt --apply", by=agent, instead=_SERVICE)
    with host_lock(settings):
        found = plan(driver, settings, record.guest, policy=record.policy).found
        if found.conflicts or found.record is None:
            raise NotAdopted("; ".join(found.conflicts))
        if found.guest.active != active:
            raise NotAdopted(f"guest {found.guest.name} has {'been started' if found.guest.active else 'ended'} since the plan was made")
        if _place(found.record) != _place(record):
            raise NotAdopted(
                f"guest {found.guest.name} has other pins, or its host other pools, than when the plan was made; look at it anew"
            )
        kept = driver.kept_definition(found.guest.id)
        try:
            _carry_out(driver, found, record, masks(record.fit))
        except PinfoldError as error:
            raise NotAdopted(f"{error}{_undone(driver, found, kept, tried_again=isinstance(error, Unavailable))}") from error


def _place(record: Record) -> Fit:
    """The place of a record, without what it books of the overhead pool: that depends on the other guests."""
    return replace(record.fit, overhead_millicpu=0, overhead_cells=(), warnings=())


def _carry_out(driver: Driver, found: Adoption, record: Record, after: Masks) -> None:
    """Move the threads, then write the record."""
    guest = found.guest
    if guest.active:
        driver.pin(guest.id, after, live_only=True)
    driver.adopt(guest.id, record)


def give_back(driver: Driver, settings: HostSettings, guest: GuestId, *, agent: str) -> None:
    """Remove the record of a guest of the agent that owns the host. Its pins stay; no record is no error."""
    refuse_if_owned(settings, "guest release", by=agent, instead=_SERVICE)
    with host_lock(settings):
        driver.forget(guest)


def release(driver: Driver, settings: HostSettings, key: str) -> HostGuest:
    """Remove the record of the guest with that name or id. It runs on as it is pinned, and its pins count as a stranger's.

    Raises `InvalidRequest` if there is no such guest, it is not ours or another owner's, for a remote host and one of an agent;
    `Unavailable`.
    """
    refuse_remote(driver, "a guest is released on its own host")
    refuse_if_owned(settings, "guest release", instead=_SERVICE)
    with host_lock(settings):
        guest = pick(driver.guests(), key)
        record = record_of(guest)
        if record.owner != OWNER:
            raise InvalidRequest(f"guest {guest.name} is of {record.owner}, which alone can release it", key="guest")
        driver.forget(guest.id)
        return pick(driver.guests(), guest.id)


def _undone(driver: Driver, found: Adoption, kept: str, *, tried_again: bool = False) -> str:
    """Remove the record, give the definition the pins of the `kept` one, and move the threads back.

    Returns what was undone, or why not all of it could be, as the rest of a sentence. Raises `Unavailable` only if the adoption is
    `tried_again` then.
    """
    guest = found.guest
    try:
        driver.forget(guest.id, pins_of=kept)
        if guest.active:
            driver.pin(guest.id, found.before, live_only=True)
    except PinfoldError as error:
        if tried_again and isinstance(error, Unavailable):
            raise
        return f"; not all of it could be undone: {error}"
    done = [*(["its definition has its own pins again"] if kept else []), *(["its threads were moved back"] if guest.active else [])]
    return f"; {' and '.join(done)}"
